//! The sending side: nothing lost, nothing made up, one message per key.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::checker::{Findings, Invariant};
use super::facts::{Answer, Delivery, Facts, Send, Settled, Stands, queue_of};
use super::{Promise, SentItem, Verb};

pub(super) fn check(facts: &Facts, findings: &mut Findings) {
    nothing_is_lost(facts, findings);
    nothing_is_made_up(facts, findings);
    one_message_per_key(facts, findings);
    conflicts_have_reasons(facts, findings);
    one_message_per_id(facts, findings);
    batches_are_whole(facts, findings);
}

/// Sends that certainly stand, with what they answered.
fn standing(facts: &Facts) -> impl Iterator<Item = (&Send, SentItem, usize)> {
    facts.sends.iter().filter_map(|send| match (&send.answer, send.stands, send.end) {
        (Answer::Ok(sent), Stands::Yes, Some(end)) => Some((send, *sent, end)),
        _ => None,
    })
}

/// P1: when a subscription was drained, everything sent before was finished by somebody.
fn nothing_is_lost(facts: &Facts, findings: &mut Findings) {
    for (send, sent, end) in standing(facts) {
        let queue = facts.queue(&send.queue);
        if queue.promise == Promise::AtMostOnce {
            continue;
        }
        for subscription in &queue.subscriptions {
            let seen = (format!("{}/{subscription}", send.queue), sent.id);
            for (drained, _) in facts.drained.iter().filter(|(at, scope)| *scope == seen.0 && *at > end) {
                let finished = facts.settles_of(&seen).any(|settle| {
                    matches!(settle.verb, Verb::Ack | Verb::Commit | Verb::DeadLetter)
                        && settle.begin < *drained
                        && matches!(settle.answer, Settled::Ok | Settled::Unknown)
                });
                if !finished && !facts.died(&seen) {
                    let text = format!("{seen:?} sent at {end} (key {:?}) is gone unfinished", send.item.key);
                    findings.add(Invariant::P1, *drained, text);
                }
            }
        }
    }
}

/// P2, P5 and "nothing was written": what comes out went in, and by a send that may stand.
fn nothing_is_made_up(facts: &Facts, findings: &mut Findings) {
    let mut by_hash: HashMap<(&str, u64), Vec<&Send>> = HashMap::new();
    for send in &facts.sends {
        by_hash.entry((&send.queue, send.item.hash)).or_default().push(send);
    }
    for delivery in &facts.deliveries {
        let handed = &delivery.handed;
        let sends = by_hash.get(&(queue_of(&delivery.scope), handed.item.hash)).map_or(&[][..], Vec::as_slice);
        let begun: Vec<&&Send> =
            sends.iter().filter(|send| send.begin < delivery.end && send.item == handed.item).collect();
        if begun.is_empty() {
            findings.add(Invariant::P2, delivery.end, format!("{} of {} was never sent", handed.id, delivery.scope));
        } else if begun.iter().all(|send| send.stands == Stands::No) {
            let conflict = begun.iter().any(|send| send.answer == Answer::Refused("Conflict".to_owned()));
            let invariant = match (begun[0].within, conflict) {
                (_, true) => Invariant::P3,
                (Some(_), _) => Invariant::P5,
                (None, _) => Invariant::Refused,
            };
            let text = format!("{} of {} was refused or rolled back, and is delivered", handed.id, delivery.scope);
            findings.add(invariant, delivery.end, text);
        }
    }
}

/// P3 and P4, per queue and key.
fn one_message_per_key(facts: &Facts, findings: &mut Findings) {
    type Key<'a> = (&'a str, &'a str);
    let mut sends: BTreeMap<Key<'_>, Vec<&Send>> = BTreeMap::new();
    let mut deliveries: HashMap<Key<'_>, Vec<&Delivery>> = HashMap::new();
    for send in &facts.sends {
        if let Some(key) = &send.item.key {
            sends.entry((&send.queue, key)).or_default().push(send);
        }
    }
    for delivery in &facts.deliveries {
        if let Some(key) = &delivery.handed.item.key {
            deliveries.entry((queue_of(&delivery.scope), key)).or_default().push(delivery);
        }
    }
    for (key, all) in &sends {
        let standing = all.iter().filter_map(|send| match (&send.answer, send.stands, send.end) {
            (Answer::Ok(sent), Stands::Yes, Some(end)) => Some((*send, *sent, end)),
            _ => None,
        });
        answers_agree(facts, findings, *key, all, &standing.collect::<Vec<_>>());
        let delivered = deliveries.get(key).map_or(&[][..], Vec::as_slice);
        deliveries_agree(facts, findings, *key, all, delivered);
    }
}

/// An at-most-once send does not wait for the disk, so a power cut may take it and its key back.
fn comparable(facts: &Facts, queue: &str, a: usize, b: usize) -> bool {
    facts.queue(queue).promise != Promise::AtMostOnce || !facts.power_cut_between(a.min(b), a.max(b))
}

fn answers_agree(
    facts: &Facts,
    findings: &mut Findings,
    (queue, key): (&str, &str),
    all: &[&Send],
    standing: &[(&Send, SentItem, usize)],
) {
    for (place, (send, sent, end)) in standing.iter().enumerate() {
        let earlier = standing[..place].iter().rev().find(|(.., other)| comparable(facts, queue, *other, *end));
        if let Some((other, other_sent, _)) = earlier {
            let text =
                format!("key {key} of {queue}: {} at {}, {} at {}", other_sent.id, other.begin, sent.id, send.begin);
            if other_sent.id != sent.id {
                findings.add(Invariant::P3, *end, format!("two ids, {text}"));
            } else if other.item.hash != send.item.hash {
                findings.add(Invariant::P3, *end, format!("two bodies, {text}"));
            } else if !sent.duplicate && !other_sent.duplicate {
                findings.add(Invariant::P3, *end, format!("sent twice, neither a duplicate, {text}"));
            }
        }
        let first = !all.iter().any(|other| other.begin < *end && (other.call, other.begin) != (send.call, send.begin));
        if sent.duplicate && first {
            findings.add(Invariant::P3, *end, format!("key {key} of {queue}: a duplicate of nothing"));
        }
    }
}

/// P3, the other way round: a conflict is answered only where another body was sent under one of the call's keys.
fn conflicts_have_reasons(facts: &Facts, findings: &mut Findings) {
    let mut bodies: HashMap<(&str, &str), Vec<(u64, usize)>> = HashMap::new();
    let mut refused: BTreeMap<super::Call, Vec<&Send>> = BTreeMap::new();
    for send in &facts.sends {
        if let Some(key) = &send.item.key {
            bodies.entry((&send.queue, key)).or_default().push((send.item.hash, send.begin));
        }
        if send.answer == Answer::Refused("Conflict".to_owned()) {
            refused.entry(send.call).or_default().push(send);
        }
    }
    for (call, sends) in refused {
        let end = sends[0].end.unwrap_or(sends[0].begin);
        let founded = sends.iter().filter_map(|send| Some((send, send.item.key.as_deref()?))).any(|(send, key)| {
            bodies[&(send.queue.as_str(), key)].iter().any(|(hash, begin)| *hash != send.item.hash && *begin < end)
        });
        if !founded {
            let text = format!("call {call} to {} is a conflict with nothing", sends[0].queue);
            findings.add(Invariant::P3, end, text);
        }
    }
}

fn deliveries_agree(
    facts: &Facts,
    findings: &mut Findings,
    (queue, key): (&str, &str),
    all: &[&Send],
    delivered: &[&Delivery],
) {
    let Some(first) = delivered.first() else { return };
    for other in delivered.iter().filter(|other| other.handed.id != first.handed.id) {
        let text = format!(
            "key {key} of {queue} is two messages: {} delivered at {}, {} at {}",
            first.handed.id, first.end, other.handed.id, other.end
        );
        findings.add(Invariant::P4, other.end, text);
    }
    for send in all.iter().filter(|send| send.stands == Stands::Yes) {
        let (Answer::Ok(sent), Some(end)) = (&send.answer, send.end) else { continue };
        // Handed over is durable on every queue whose ids a consumer may keep, so later answers must agree.
        if sent.id != first.handed.id && comparable(facts, queue, end, first.begin) {
            let text = format!("key {key} of {queue}: answered {} at {end}, delivered as {}", sent.id, first.handed.id);
            findings.add(Invariant::P4, end.max(first.end), text);
        }
    }
}

/// An id that was answered or handed over never becomes another message.
fn one_message_per_id(facts: &Facts, findings: &mut Findings) {
    let mut first: HashMap<u64, (&str, &super::Item)> = HashMap::new();
    let mut meet = |at: usize, id: u64, queue, item| {
        let known = first.entry(id).or_insert((queue, item));
        if *known != (queue, item) {
            findings.add(Invariant::Id, at, format!("{id} was {known:?} and is {:?}", (queue, item)));
        }
    };
    for delivery in &facts.deliveries {
        meet(delivery.end, delivery.handed.id, queue_of(&delivery.scope), &delivery.handed.item);
    }
    for (send, sent, end) in standing(facts) {
        let durable = facts.queue(&send.queue).promise != Promise::AtMostOnce;
        if durable || !facts.power_cut_between(end, usize::MAX) {
            meet(end, sent.id, &send.queue, &send.item);
        }
    }
}

/// A batch of unknown outcome is delivered whole or not at all.
fn batches_are_whole(facts: &Facts, findings: &mut Findings) {
    let mut delivered: HashMap<(&str, u64), usize> = HashMap::new();
    for one in &facts.deliveries {
        let first = delivered.entry((one.scope.as_str(), one.handed.item.hash)).or_insert(one.end);
        *first = one.end.min(*first);
    }
    let mut sent: HashMap<(&str, u64), Vec<usize>> = HashMap::new();
    let mut batches: BTreeMap<super::Call, Vec<&Send>> = BTreeMap::new();
    for send in &facts.sends {
        sent.entry((&send.queue, send.item.hash)).or_default().push(send.begin);
        if send.stands == Stands::Maybe {
            batches.entry(send.call).or_default().push(send);
        }
    }
    for batch in batches.values().filter(|batch| batch.len() > 1) {
        let queue = facts.queue(&batch[0].queue);
        // At-most-once may lose any of it.
        if queue.promise == Promise::AtMostOnce {
            continue;
        }
        for subscription in &queue.subscriptions {
            let scope = format!("{}/{subscription}", batch[0].queue);
            let drained = facts.drained.iter().find(|(at, one)| *one == scope && *at > batch[0].begin);
            let Some((at, _)) = drained else { continue };
            // What was sent again by then may be there for that reason.
            let again = |send: &&Send| {
                sent[&(send.queue.as_str(), send.item.hash)].iter().any(|begin| *begin != send.begin && begin < at)
            };
            let there: BTreeSet<bool> = batch
                .iter()
                .map(|send| delivered.get(&(scope.as_str(), send.item.hash)).is_some_and(|end| end < at))
                .collect();
            if there.len() > 1 && !batch.iter().any(again) {
                findings.add(Invariant::Batch, *at, format!("the batch of call {} came out in part", batch[0].call));
            }
        }
    }
}
