//! L6: the messages of an ordering key are handed over in commit order, one batch at a time.
//!
//! A long run hands over thousands of messages of a key, so both checks keep a list of what is open and drop from it what
//! is over for good.

use std::collections::{BTreeMap, HashMap};

use super::Verb;
use super::checker::{Findings, Invariant};
use super::facts::{Answer, Delivery, Facts, Settled, Stands, queue_of};

/// A message that was certainly sent, and where in the history.
#[derive(Clone, Copy)]
struct Sent {
    id: u64,
    end: usize,
}

pub(super) fn check(facts: &Facts, findings: &mut Findings) {
    let mut groups: BTreeMap<(&str, &str), Vec<&Delivery>> = BTreeMap::new();
    for delivery in &facts.deliveries {
        if let Some(key) = &delivery.handed.item.ordering {
            groups.entry((&delivery.scope, key)).or_default().push(delivery);
        }
    }
    let mut sent: HashMap<(&str, &str), Vec<Sent>> = HashMap::new();
    for send in facts.sends.iter().filter(|send| send.stands == Stands::Yes) {
        if let (Some(key), Answer::Ok(answer), Some(end)) = (&send.item.ordering, &send.answer, send.end) {
            sent.entry((&send.queue, key)).or_default().push(Sent { id: answer.id, end });
        }
    }
    for ((scope, key), mut deliveries) in groups {
        deliveries.sort_by_key(|one| (one.begin, one.place));
        let mut sent = sent.get(&(queue_of(scope), key)).cloned().unwrap_or_default();
        sent.sort_by_key(|one| one.end);
        nothing_is_overtaken(facts, findings, &sent, &deliveries);
        one_batch_is_in_flight(facts, findings, &deliveries);
    }
}

/// Ids grow in commit order, so every smaller id of the key that was there is finished, or comes first in the batch.
fn nothing_is_overtaken(facts: &Facts, findings: &mut Findings, sent: &[Sent], deliveries: &[&Delivery]) {
    let (mut rest, mut open) = (sent.iter(), Vec::<Sent>::new());
    for (place, later) in deliveries.iter().enumerate() {
        let there = rest.as_slice().partition_point(|one| one.end < later.begin);
        open.extend(rest.by_ref().take(there));
        open.retain(|one| !is_finished(facts, &later.scope, one.id, later.begin));
        for one in open.iter().filter(|one| one.id < later.handed.id) {
            let batch = deliveries[..place].iter().rev().take_while(|other| other.begin == later.begin);
            let mut here = batch.filter(|other| other.call == later.call).map(|other| other.handed.id);
            if !is_finished(facts, &later.scope, one.id, later.end) && !here.any(|id| id == one.id) {
                let text = format!("{} overtook {} (sent at {}) in {}", later.handed.id, one.id, one.end, later.scope);
                findings.add(Invariant::L6, later.end, text);
            }
        }
    }
}

fn is_finished(facts: &Facts, scope: &str, id: u64, by: usize) -> bool {
    let seen = (scope.to_owned(), id);
    let settled = facts.settles_of(&seen).any(|settle| {
        matches!(settle.verb, Verb::Ack | Verb::Commit | Verb::DeadLetter)
            && settle.begin < by
            && !matches!(settle.answer, Settled::Lost | Settled::Refused)
    });
    settled || facts.died(&seen)
}

fn one_batch_is_in_flight(facts: &Facts, findings: &mut Findings, deliveries: &[&Delivery]) {
    let mut open: Vec<&Delivery> = Vec::new();
    for later in deliveries {
        open.retain(|one| !is_over(facts, one, later.begin, later.begin_ms));
        for one in open.iter().filter(|one| one.call != later.call && one.end < later.begin) {
            if !is_over(facts, one, later.end, later.end_ms) {
                let text =
                    format!("{} was handed over while {} of its key was in flight", later.handed.id, one.handed.id);
                findings.add(Invariant::L6, later.end, text);
            }
        }
        open.push(later);
    }
}

/// Whether a delivery no longer holds its message: settled, given up, or its holder gone.
fn is_over(facts: &Facts, delivery: &Delivery, by: usize, by_ms: u64) -> bool {
    let seen = (delivery.scope.clone(), delivery.handed.id);
    let settled = facts
        .settles_of(&seen)
        .any(|settle| settle.proof.token == delivery.handed.token && settle.verb != Verb::Extend && settle.begin < by);
    settled
        || facts.expired(delivery, by_ms)
        || facts.holder_gone(delivery, by)
        || facts.taken_back_in_order(delivery, by)
}
