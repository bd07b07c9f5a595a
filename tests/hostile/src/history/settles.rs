//! The settling: only with the current token, the same answer again, for good; and the effects that go with it.

use std::collections::{BTreeMap, HashMap};

use super::checker::{Findings, Invariant};
use super::facts::{Delivery, Facts, Seen, Settle, Settled};
use super::{Call, Promise, Verb};

pub(super) fn check(facts: &Facts, findings: &mut Findings) {
    for settle in &facts.settles {
        let seen = (settle.scope.clone(), settle.proof.id);
        if facts.queue(&settle.scope).promise == Promise::AtMostOnce {
            continue;
        }
        match settle.answer {
            Settled::Ok => {
                only_with_the_current_token(facts, findings, &seen, settle);
                finished_stays_finished(facts, findings, &seen, settle);
            }
            Settled::Lost => never_lost_for_nothing(facts, findings, &seen, settle),
            Settled::Refused | Settled::Unknown => {}
        }
    }
    the_same_answer_again(facts, findings);
    effects(facts, findings);
}

/// L2. What succeeds was handed over with that token, and nobody had a later one yet.
fn only_with_the_current_token(facts: &Facts, findings: &mut Findings, seen: &Seen, settle: &Settle) {
    let end = settle.end.unwrap_or(settle.begin);
    let shown = settle.proof;
    if !facts.deliveries_of(seen).any(|one| one.handed.token == shown.token && one.begin < end) {
        findings.add(Invariant::L2, end, format!("{:?} of {shown:?} succeeded with a made-up token", settle.verb));
    }
    let repeated = is_a_repeat(facts, seen, settle);
    let later = facts.deliveries_of(seen).find(|one| one.handed.token > shown.token && one.end < settle.begin);
    if let (Some(later), false) = (later, repeated) {
        let text = format!("{:?} of {shown:?} succeeded after token {} was out", settle.verb, later.handed.token);
        findings.add(Invariant::L2, end, text);
    }
}

/// Whether the same was asked before, perhaps with success: then its first time is what counts.
fn is_a_repeat(facts: &Facts, seen: &Seen, settle: &Settle) -> bool {
    facts.settles_of(seen).any(|other| {
        other.begin < settle.begin
            && (other.verb, other.proof) == (settle.verb, settle.proof)
            && matches!(other.answer, Settled::Ok | Settled::Unknown)
    })
}

/// The other half of L2: the current holder, in time, is never told that its lease is lost.
fn never_lost_for_nothing(facts: &Facts, findings: &mut Findings, seen: &Seen, settle: &Settle) {
    let end = settle.end.unwrap_or(settle.begin);
    let Some(delivery) = facts.deliveries_of(seen).find(|one| one.handed.token == settle.proof.token) else { return };
    let moved_on = facts.deliveries_of(seen).any(|one| one.handed.token > settle.proof.token && one.begin < end);
    let settled = facts.settles_of(seen).any(|other| {
        other.call != settle.call
            && other.proof == settle.proof
            && other.verb != Verb::Extend
            && other.begin < end
            && !matches!(other.answer, Settled::Lost | Settled::Refused)
    });
    let taken_back = facts.taken_back_in_order(delivery, end);
    if !moved_on
        && !settled
        && !taken_back
        && !facts.expired(delivery, settle.end_ms)
        && !facts.holder_gone(delivery, end)
    {
        findings.add(
            Invariant::L2,
            end,
            format!("{:?} of {:?} lost a lease that nobody took", settle.verb, settle.proof),
        );
    }
}

/// L4. No later token is ever handed out for what is finished.
fn finished_stays_finished(facts: &Facts, findings: &mut Findings, seen: &Seen, settle: &Settle) {
    if !matches!(settle.verb, Verb::Ack | Verb::Commit | Verb::DeadLetter) || is_a_repeat(facts, seen, settle) {
        return;
    }
    let synced = facts.queue(&settle.scope).promise == Promise::ExactlyOnce && settle.verb != Verb::DeadLetter;
    for later in facts.deliveries_of(seen).filter(|one| one.handed.token > settle.proof.token) {
        let reverted = !synced && facts.power_cut_between(settle.begin, later.end);
        let redriven = settle.verb == Verb::DeadLetter && facts.redriven_between(seen, settle.begin, later.end);
        if !reverted && !redriven {
            let text = format!("{:?} of {:?} succeeded, and it came again", settle.verb, settle.proof);
            findings.add(Invariant::L4, later.end, text);
        }
    }
}

/// L3.
fn the_same_answer_again(facts: &Facts, findings: &mut Findings) {
    let mut groups: HashMap<(&str, u64, u64, Verb), Vec<&Settle>> = HashMap::new();
    for settle in facts.settles.iter().filter(|settle| matches!(settle.answer, Settled::Ok | Settled::Lost)) {
        // To extend is not to settle, and a commit is not repeated but made again.
        if !matches!(settle.verb, Verb::Extend | Verb::Commit) {
            let group = (settle.scope.as_str(), settle.proof.id, settle.proof.token, settle.verb);
            groups.entry(group).or_default().push(settle);
        }
    }
    for ((scope, id, token, verb), group) in groups {
        for pair in group.windows(2) {
            let (Some(first_end), Some(end)) = (pair[0].end, pair[1].end) else { continue };
            let comparable = first_end < pair[1].begin
                && !facts.power_cut_between(pair[0].begin, end)
                // What was given back may be with somebody else by now, and then both answers are right.
                && (matches!(verb, Verb::Ack | Verb::DeadLetter) || pair[0].answer == Settled::Lost);
            let redriven = facts.redriven_between(&(scope.to_owned(), id), pair[0].begin, end);
            if comparable && !redriven && pair[0].answer != pair[1].answer {
                let text = format!(
                    "{verb:?} of {id} in {scope} with token {token}: {:?}, then {:?}",
                    pair[0].answer, pair[1].answer
                );
                findings.add(Invariant::L3, end, text);
            }
        }
    }
}

/// EO-local: at most one row per message, one for each commit that answered ok, none for one that did not happen, and no
/// delivery of a message whose row was seen.
fn effects(facts: &Facts, findings: &mut Findings) {
    let commits: HashMap<Call, &Settle> =
        facts.settles.iter().filter(|one| one.verb == Verb::Commit && one.effect).map(|one| (one.call, one)).collect();
    for (at, rows) in &facts.effects {
        let mut seen_once: BTreeMap<u64, Call> = BTreeMap::new();
        for row in rows {
            if let Some(first) = seen_once.insert(row.id, row.commit) {
                let text = format!("{} had its effect twice, by commits {first} and {}", row.id, row.commit);
                findings.add(Invariant::ExactlyOnce, *at, text);
            }
            let begun = commits.get(&row.commit).filter(|settle| settle.begin < *at && settle.proof.id == row.id);
            if begun.is_none_or(|settle| matches!(settle.answer, Settled::Lost | Settled::Refused)) {
                let text = format!("the effect of {} is there; its commit {} is not", row.id, row.commit);
                findings.add(Invariant::ExactlyOnce, *at, text);
            }
            let again = |one: &&Delivery| begun.is_some_and(|settle| settle.scope == one.scope) && one.begin > *at;
            if let Some(delivery) = facts.deliveries.iter().filter(|one| one.handed.id == row.id).find(again) {
                let text = format!("{} had its effect, and came again at {}", row.id, delivery.end);
                findings.add(Invariant::ExactlyOnce, delivery.end, text);
            }
        }
        for (call, settle) in &commits {
            let done = settle.answer == Settled::Ok && settle.end.is_some_and(|end| end < *at);
            if done && seen_once.get(&settle.proof.id) != Some(call) {
                let text = format!("commit {call} of {} answered ok; its effect is gone", settle.proof.id);
                findings.add(Invariant::ExactlyOnce, *at, text);
            }
        }
    }
}
