//! The handing over: tokens, attempts, and why a message came again.

use super::checker::{Findings, Invariant};
use super::facts::{Delivery, Facts, Seen};
use super::{Promise, Verb};

pub(super) fn check(facts: &Facts, findings: &mut Findings) {
    for (seen, indexes) in &facts.by_seen {
        let all: Vec<&Delivery> = indexes.iter().map(|index| &facts.deliveries[*index]).collect();
        tokens_increase(findings, seen, &all);
        attempts_count(facts, findings, seen, &all);
        match facts.queue(&seen.0).promise {
            Promise::AtMostOnce => {
                for again in &all[1..] {
                    findings.add(Invariant::AtMostOnce, again.end, format!("{seen:?} came again"));
                }
            }
            Promise::AtLeastOnce | Promise::ExactlyOnce => repeats_have_reasons(facts, findings, seen, &all),
        }
    }
    the_dead_have_reasons(facts, findings);
}

/// L1. Deliveries come in the order of their tokens.
fn tokens_increase(findings: &mut Findings, seen: &Seen, all: &[&Delivery]) {
    for (place, later) in all.iter().enumerate() {
        for earlier in &all[..place] {
            let (a, b) = (earlier.handed.token, later.handed.token);
            if a == b || later.end < earlier.begin {
                let text = format!("{seen:?}: token {a} at {}, token {b} at {}", earlier.end, later.end);
                findings.add(Invariant::L1, later.end.max(earlier.end), text);
            }
        }
    }
}

/// At-least-once: a nack, an expiry, a crash or a redrive stands between two deliveries.
fn repeats_have_reasons(facts: &Facts, findings: &mut Findings, seen: &Seen, all: &[&Delivery]) {
    for pair in all.windows(2) {
        let (earlier, later) = (pair[0], pair[1]);
        let reason = facts.given_back(earlier, later.end, &[Verb::Nack, Verb::Release])
            || facts.taken_back_in_order(earlier, later.end)
            || facts.holder_gone(earlier, later.end)
            || facts.redriven_between(seen, earlier.begin, later.end)
            || facts.expired(earlier, later.end_ms);
        if !reason {
            let text = format!("{seen:?} came at {} and again at {} for no reason", earlier.end, later.end);
            findings.add(Invariant::AtLeastOnce, later.end, text);
        }
    }
}

/// L5. Attempts go up by one, except for those that nobody saw because a process died or an error hid them.
fn attempts_count(facts: &Facts, findings: &mut Findings, seen: &Seen, all: &[&Delivery]) {
    let attempts_max = facts.queue(&seen.0).attempts_max;
    let before_end = |all: &[usize], end: usize| all.partition_point(|at| *at < end);
    for (place, later) in all.iter().enumerate() {
        let attempt = later.handed.attempt;
        let unseen = before_end(&facts.blind, later.end);
        let (least, before) = match place.checked_sub(1).map(|before| all[before]) {
            None => (1, 0),
            Some(earlier)
                if facts.power_cut_between(earlier.begin, later.end)
                    || facts.redriven_between(seen, earlier.begin, later.end) =>
            {
                (1, earlier.handed.attempt)
            }
            Some(earlier)
                if facts.given_back(earlier, later.end, &[Verb::Release])
                    || facts.taken_back_in_order(earlier, later.end) =>
            {
                (earlier.handed.attempt, earlier.handed.attempt)
            }
            Some(earlier) => (earlier.handed.attempt + 1, earlier.handed.attempt),
        };
        if attempt < least || attempt > attempts_max || u64::from(attempt) > u64::from(before) + 1 + unseen as u64 {
            let text = format!("{seen:?}: attempt {attempt} after {before}; at least {least}, at most {attempts_max}");
            findings.add(Invariant::L5, later.end, text);
        }
    }
}

fn the_dead_have_reasons(facts: &Facts, findings: &mut Findings) {
    for (at, scope, letters) in &facts.dead {
        let attempts_max = facts.queue(scope).attempts_max;
        for letter in letters {
            let asked = facts
                .settles_of(&(scope.clone(), letter.id))
                .any(|settle| settle.verb == Verb::DeadLetter && settle.begin < *at);
            if !letter.has_reason || (!asked && letter.attempts < attempts_max) {
                let text =
                    format!("{} of {scope} is dead after {} attempts, without a reason", letter.id, letter.attempts);
                findings.add(Invariant::L5, *at, text);
            }
        }
    }
}
