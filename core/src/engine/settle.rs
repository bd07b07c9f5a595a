//! Settling: by the fencing token alone, never by the clock.

use crate::clock;
use crate::engine::context::{Context, Outcome, Terms, lane_of};
use crate::engine::operation::{QueueId, Settle, Verb};
use crate::engine::order::Retry;
use crate::engine::pending::{self, Death, Pending};
use crate::engine::settled::Settlement;
use crate::engine::{order, sql};
use crate::error::Error;
use crate::rules::interval::Interval;
use crate::rules::verdict;
use crate::semantics::Semantics;
use crate::types::{MessageId, Receipt, Token};

/// The reason kept with a message that failed its last attempt.
pub(crate) const REASON_ATTEMPTS: &str = "attempts exhausted";

/// Settles what may be settled and returns the receipts whose lease was lost.
pub(crate) fn settle(cx: &mut Context<'_>, settle: &Settle) -> Outcome<Vec<Receipt>> {
    let terms = cx.terms(settle.subscription)?;
    check(cx, &terms, settle)?;
    if terms.semantics == Semantics::AtMostOnce {
        return Ok(Vec::new());
    }
    let mut lost = Vec::new();
    let mut again = Vec::new();
    for (run, token) in runs(&settle.receipts) {
        let mut at = run.lo;
        while at < run.hi {
            let held = pending::holding(cx, terms.subscription, at)?
                .filter(|held| verdict::may_settle(held.owner.is_some(), held.token, token));
            let Some(held) = held else {
                if !settled_before(cx, settle, at, token) {
                    lost.push(Receipt { message: MessageId::from_stored(at), token });
                }
                at += 1;
                continue;
            };
            let part = held.span.intersect(Interval::new(at, run.hi));
            apply(cx, &terms, &settle.verb, &held, part)?;
            if matches!(settle.verb, Verb::Nack { .. } | Verb::Release) {
                again.push(part);
            }
            if !matches!(settle.verb, Verb::Extend { .. }) {
                let (subscription, verb) = (terms.subscription, settle.verb.name());
                cx.commit.settlements.push(Settlement { subscription, run: part, token, verb });
            }
            at = part.hi;
        }
    }
    if terms.ordered {
        for part in &again {
            order::retrying(cx, &terms, *part, Retry::GivenBack)?;
        }
    }
    if !again.is_empty() {
        cx.wake(terms.queue, terms.subscriptions, again.len());
    }
    cx.commit.needs_sync |= terms.semantics.syncs_settle() && !matches!(settle.verb, Verb::Extend { .. });
    Ok(lost)
}

/// Everything that is refused is refused before the first write.
fn check(cx: &Context<'_>, terms: &Terms, settle: &Settle) -> Outcome<()> {
    if terms.semantics == Semantics::AtMostOnce && settle.verb != Verb::Ack {
        return Err(Error::invalid(format!(
            "an at-most-once delivery is done when it is handed over; it cannot be {}",
            settle.verb.name()
        ))
        .into());
    }
    let mut last = 0;
    for receipt in &settle.receipts {
        let lane = lane_of(receipt.message.stored());
        if lane != last {
            check_queue(cx, terms.queue, receipt.message)?;
            last = lane;
        }
    }
    Ok(())
}

/// Refuses the id of a message of another queue.
pub(crate) fn check_queue(cx: &Context<'_>, queue: QueueId, message: MessageId) -> Outcome<()> {
    let of: Option<i64> = cx.row(sql::LANE_QUEUE, [lane_of(message.stored())], |row| row.get(0))?;
    if of == Some(queue.0) {
        return Ok(());
    }
    let whose = match of {
        Some(other) => cx.row(sql::QUEUE_BY_ID, [other], |row| row.get::<_, String>(0))?,
        None => None,
    };
    Err(of_another_queue(message, whose).into())
}

/// The error for a message of another queue, whose name is known, or of none.
pub(crate) fn of_another_queue(message: MessageId, whose: Option<String>) -> Error {
    match whose {
        Some(name) => Error::invalid(format!("message {message} belongs to another queue, {name:?}")),
        None => Error::invalid(format!("message {message} belongs to no queue of this file")),
    }
}

fn settled_before(cx: &Context<'_>, settle: &Settle, id: i64, token: Token) -> bool {
    let verb = settle.verb.name();
    cx.settled.has(settle.subscription, id, token, verb)
        || cx.commit.settlements.iter().any(|done| {
            done.subscription == settle.subscription
                && done.token == token
                && done.verb == verb
                && done.run.contains(id)
        })
}

/// The receipts as runs of neighbours with one token, sorted, each once.
fn runs(receipts: &[Receipt]) -> Vec<(Interval, Token)> {
    let mut sorted: Vec<(Token, i64)> = receipts.iter().map(|r| (r.token, r.message.stored())).collect();
    sorted.sort_unstable_by_key(|&(token, id)| (lane_of(id), token, id));
    sorted.dedup();
    let mut out: Vec<(Interval, Token)> = Vec::new();
    for (token, id) in sorted {
        match out.last_mut() {
            Some((run, of)) if *of == token && run.hi == id => run.hi += 1,
            _ => out.push((Interval::one(id), token)),
        }
    }
    out
}

fn apply(cx: &mut Context<'_>, terms: &Terms, verb: &Verb, held: &Pending, part: Interval) -> Outcome<()> {
    let subscription = terms.subscription;
    if let Verb::Extend { lease } = verb {
        let due_at = cx.now.plus(*lease).get();
        if part == held.span {
            cx.run(sql::PENDING_DUE_SET, (subscription.0, held.span.lo, due_at))?;
            return Ok(());
        }
        pending::cut(cx, subscription, held, part)?;
        return pending::insert(cx, subscription, &Pending { due_at, ..held.of(part) });
    }
    pending::cut(cx, subscription, held, part)?;
    match verb {
        Verb::Ack => pending::finish(cx, terms, part),
        Verb::DeadLetter { reason } => {
            let death = Death { attempts: held.attempt, reason, error: held.error.as_deref() };
            pending::bury(cx, terms, part, &death)
        }
        Verb::Nack { delay, error } => {
            let error = error.as_deref().or(held.error.as_deref());
            if !verdict::may_retry(held.attempt, terms.attempts_max) {
                let death = Death { attempts: held.attempt, reason: REASON_ATTEMPTS, error };
                return pending::bury(cx, terms, part, &death);
            }
            let wait = delay.unwrap_or_else(|| terms.backoff.wait(held.attempt, clock::unit(cx.random)));
            let retry = Pending {
                due_at: cx.now.plus(wait).get(),
                error: error.map(str::to_owned),
                ..held.of(part).released()
            };
            pending::insert(cx, subscription, &retry)
        }
        Verb::Release => {
            let attempt = held.attempt.saturating_sub(1);
            let back = Pending { due_at: cx.now.get(), attempt, ..held.of(part).released() };
            pending::insert(cx, subscription, &back)
        }
        Verb::Extend { .. } => Ok(()),
    }
}
