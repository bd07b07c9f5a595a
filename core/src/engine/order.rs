//! Ordering keys: messages that share one are handed over in commit order, across retries, and one batch of a key at a
//! time is in flight.
//!
//! `onceward_order` holds, per key, the messages that were looked at and are not finished. The first of them is the head:
//! it alone may be taken, and those behind it only together with it. The others are parked, and the head's end releases
//! the next one.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::context::{Context, Outcome, Terms};
use crate::engine::operation::SubscriptionId;
use crate::engine::pending::{self, PARKED, Pending};
use crate::engine::sql;
use crate::rules::interval::Interval;
use crate::types::Token;

/// Puts a message in its key's line.
pub(crate) fn enter(cx: &Context<'_>, subscription: SubscriptionId, key: &str, id: i64) -> Outcome<()> {
    cx.run(sql::ORDER_INSERT, (subscription.0, key, id))?;
    Ok(())
}

/// The message at a place in its key's line.
pub(crate) fn nth(cx: &Context<'_>, subscription: SubscriptionId, key: &str, place: usize) -> Outcome<Option<i64>> {
    Ok(cx.row(sql::ORDER_NTH, (subscription.0, key, place as i64), |row| row.get(0))?)
}

/// The token of a parked message that was redriven into a line whose later messages are in flight. Any other parked head has
/// nothing in flight behind it.
pub(crate) const HELD_BACK: Token = Token::new(u64::MAX >> 1);

/// Messages of a key that can be in flight at once: what one receive takes at most.
const IN_FLIGHT_MAX: i64 = crate::limits::RECEIVE_MESSAGES_MAX as i64;

/// These messages have left the line for good: the next of each key is released.
pub(crate) fn finished(cx: &mut Context<'_>, terms: &Terms, run: Interval) -> Outcome<()> {
    let keys = keys_of(cx, terms.subscription, run)?;
    if keys.is_empty() {
        return Ok(());
    }
    cx.run(sql::ORDER_DELETE_BETWEEN, (terms.subscription.0, run.lo, run.hi))?;
    for key in keys.keys() {
        release_head(cx, terms, key)?;
    }
    Ok(())
}

/// Why messages are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Their holder gave them back.
    GivenBack,
    /// Their holder died, or let the lease end.
    HolderLost,
}

/// These messages are to be tried again: whatever is behind them waits, even where it is in flight, so that nobody handles
/// it before the retry.
pub(crate) fn retrying(cx: &mut Context<'_>, terms: &Terms, run: Interval, why: Retry) -> Outcome<()> {
    for (key, ids) in keys_of(cx, terms.subscription, run)? {
        let first = *ids.first().expect("invariant: a key is listed with its messages");
        for id in behind(cx, terms.subscription, &key, first)? {
            let Some(held) = pending::holding(cx, terms.subscription, id)? else { continue };
            if held.token == HELD_BACK {
                continue;
            }
            if held.due_at == PARKED {
                // What is behind it was parked before.
                break;
            }
            let behind = held.of(Interval::one(id));
            let behind = match (held.owner, why) {
                (None, _) => behind,
                // Revoked, not failed: its consumer knows, and the attempt does not count.
                (Some(_), Retry::GivenBack) => Pending { attempt: held.attempt.saturating_sub(1), ..behind },
                // It may be what its holder was lost over.
                (Some(_), Retry::HolderLost) => Pending { piece: Some(1), ..behind },
            };
            park(cx, terms.subscription, &held, behind)?;
        }
        if nth(cx, terms.subscription, &key, 0)? != Some(first)
            && let Some(held) = pending::holding(cx, terms.subscription, first)?
            && held.due_at != PARKED
        {
            let part = held.of(Interval::one(first));
            park(cx, terms.subscription, &held, part)?;
        }
        release_head(cx, terms, &key)?;
    }
    Ok(())
}

/// A redriven message enters its line again. Returns whether it must wait for those of its key that are in flight.
pub(crate) fn re_enter(cx: &mut Context<'_>, subscription: SubscriptionId, key: &str, id: i64) -> Outcome<bool> {
    let waits = any_in_flight(cx, subscription, key, 0)?;
    enter(cx, subscription, key, id)?;
    Ok(waits)
}

fn behind(cx: &Context<'_>, subscription: SubscriptionId, key: &str, id: i64) -> Outcome<Vec<i64>> {
    Ok(cx.rows(sql::ORDER_AFTER, (subscription.0, key, id, IN_FLIGHT_MAX), |row| row.get(0))?)
}

fn any_in_flight(cx: &Context<'_>, subscription: SubscriptionId, key: &str, after: i64) -> Outcome<bool> {
    for id in behind(cx, subscription, key, after)? {
        if pending::holding(cx, subscription, id)?.is_some_and(|held| held.owner.is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Cuts a part out of an interval and parks it.
fn park(cx: &Context<'_>, subscription: SubscriptionId, held: &Pending, part: Pending) -> Outcome<()> {
    pending::cut(cx, subscription, held, part.span)?;
    pending::insert(cx, subscription, &part.parked(cx.now.get()))
}

/// Lets the head of a key's line go, if it is parked and nothing of the key is in flight.
pub(crate) fn release_head(cx: &mut Context<'_>, terms: &Terms, key: &str) -> Outcome<()> {
    let subscription = terms.subscription;
    let Some(head) = nth(cx, subscription, key, 0)? else { return Ok(()) };
    let Some(held) = pending::holding(cx, subscription, head)?.filter(|held| held.due_at == PARKED) else {
        return Ok(());
    };
    if held.token == HELD_BACK && any_in_flight(cx, subscription, key, head)? {
        return Ok(());
    }
    let part = Interval::one(head);
    pending::cut(cx, subscription, &held, part)?;
    pending::insert(cx, subscription, &held.of(part).unparked(cx.now.get()))?;
    cx.wake(terms.queue, terms.subscriptions, 1);
    Ok(())
}

fn keys_of(cx: &Context<'_>, subscription: SubscriptionId, run: Interval) -> Outcome<BTreeMap<String, BTreeSet<i64>>> {
    let mut keys: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    let rows = cx.rows(sql::ORDER_BETWEEN, (subscription.0, run.lo, run.hi), |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
    })?;
    for (key, id) in rows {
        keys.entry(key).or_default().insert(id);
    }
    Ok(keys)
}
