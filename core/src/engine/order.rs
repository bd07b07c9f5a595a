//! Ordering keys: messages that share one are handed over in commit order, across retries, and one batch of a key at a
//! time is in flight.
//!
//! `onceward_order` holds, per key, the messages that were looked at and are not finished. The first of them is the head:
//! it alone may be taken, and those behind it only together with it. The others are parked, and the head's end releases
//! the next one.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::context::{Context, Outcome, Terms};
use crate::engine::operation::SubscriptionId;
use crate::engine::pending::{self, PARKED};
use crate::engine::sql;
use crate::rules::interval::Interval;

/// Puts a message in its key's line.
pub(crate) fn enter(cx: &Context<'_>, subscription: SubscriptionId, key: &str, id: i64) -> Outcome<()> {
    cx.run(sql::ORDER_INSERT, (subscription.0, key, id))?;
    Ok(())
}

/// The message at a place in its key's line.
pub(crate) fn nth(cx: &Context<'_>, subscription: SubscriptionId, key: &str, place: usize) -> Outcome<Option<i64>> {
    Ok(cx.row(sql::ORDER_NTH, (subscription.0, key, place as i64), |row| row.get(0))?)
}

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

/// These messages wait for a retry: whatever is behind them waits too, even where it is in flight, so that nobody
/// handles it before the retry.
pub(crate) fn retrying(cx: &mut Context<'_>, terms: &Terms, run: Interval) -> Outcome<()> {
    for (key, ids) in keys_of(cx, terms.subscription, run)? {
        let first = *ids.first().expect("invariant: a key is listed with its messages");
        let behind = cx.rows(sql::ORDER_AFTER, (terms.subscription.0, &key, first, -1), |row| row.get::<_, i64>(0))?;
        for id in behind {
            let Some(held) = pending::holding(cx, terms.subscription, id)? else { continue };
            if held.due_at == PARKED {
                continue;
            }
            let part = Interval::one(id);
            pending::cut(cx, terms.subscription, &held, part)?;
            // Revoked, not failed: the attempt does not count.
            let attempt = if held.owner.is_some() { held.attempt.saturating_sub(1) } else { held.attempt };
            let parked = pending::Pending { due_at: PARKED, attempt, ..held.of(part).released() };
            pending::insert(cx, terms.subscription, &parked)?;
        }
        if nth(cx, terms.subscription, &key, 0)? != Some(first) {
            park(cx, terms.subscription, first)?;
        }
    }
    Ok(())
}

fn park(cx: &Context<'_>, subscription: SubscriptionId, id: i64) -> Outcome<()> {
    if let Some(held) = pending::holding(cx, subscription, id)?
        && held.due_at != PARKED
    {
        pending::cut(cx, subscription, &held, Interval::one(id))?;
        let parked = pending::Pending { due_at: PARKED, ..held.of(Interval::one(id)).released() };
        pending::insert(cx, subscription, &parked)?;
    }
    Ok(())
}

fn release_head(cx: &mut Context<'_>, terms: &Terms, key: &str) -> Outcome<()> {
    let Some(head) = nth(cx, terms.subscription, key, 0)? else { return Ok(()) };
    let Some(held) = pending::holding(cx, terms.subscription, head)? else { return Ok(()) };
    if held.due_at == PARKED {
        let part = Interval::one(head);
        pending::cut(cx, terms.subscription, &held, part)?;
        let due = pending::Pending { due_at: cx.now.get(), ..held.of(part) };
        pending::insert(cx, terms.subscription, &due)?;
        cx.wake(terms.queue, terms.subscriptions, 1);
    }
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
