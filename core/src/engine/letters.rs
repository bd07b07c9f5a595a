//! Dead letters: redriving them and throwing them away.

use crate::engine::context::{Context, Outcome, Terms};
use crate::engine::operation::{Letters, SubscriptionId};
use crate::engine::pending::{self, Pending};
use crate::engine::settle::check_queue;
use crate::engine::{clear, effect, order, sql};
use crate::rules::interval::Interval;
use crate::types::MessageId;

/// Dead letters handled in one commit.
pub(crate) const LETTERS_MAX: i64 = 1_000;

/// Offers dead letters again: the same ids, their attempts counted anew. Returns how many, and the last.
pub(crate) fn redrive(
    cx: &mut Context<'_>,
    subscription: SubscriptionId,
    letters: &Letters,
) -> Outcome<Vec<MessageId>> {
    let terms = cx.terms(subscription)?;
    let dead = dead(cx, &terms, letters)?;
    for id in &dead {
        remove(cx, &terms, id.stored())?;
        cx.run(sql::MESSAGE_EXPIRY_CLEAR, [id.stored()])?;
        revive(cx, &terms, id.stored())?;
    }
    if !dead.is_empty() {
        cx.wake(terms.queue, terms.subscriptions, dead.len());
        cx.commit.needs_sync = true;
    }
    Ok(dead)
}

/// Throws dead letters away. Returns which.
pub(crate) fn purge(cx: &mut Context<'_>, subscription: SubscriptionId, letters: &Letters) -> Outcome<Vec<MessageId>> {
    let terms = cx.terms(subscription)?;
    let dead = dead(cx, &terms, letters)?;
    let all = clear::subscriptions(cx, terms.queue)?;
    for id in &dead {
        let id = id.stored();
        remove(cx, &terms, id)?;
        effect::forget(cx, subscription, Interval::one(id))?;
        pending::delete_unneeded(cx, &all, Interval::one(id))?;
    }
    cx.commit.needs_sync |= !dead.is_empty();
    Ok(dead)
}

fn dead(cx: &Context<'_>, terms: &Terms, letters: &Letters) -> Outcome<Vec<MessageId>> {
    match letters {
        Letters::After(after) => {
            let after = after.map_or(0, MessageId::stored);
            Ok(cx.rows(sql::DEAD_AFTER, (terms.subscription.0, after, LETTERS_MAX), |row| {
                row.get(0).map(MessageId::from_stored)
            })?)
        }
        Letters::These(ids) => {
            for id in ids {
                check_queue(cx, terms.queue, *id)?;
            }
            let mut found = Vec::new();
            for id in ids {
                if cx.row(sql::DEAD_GET, (terms.subscription.0, id.stored()), |_| Ok(()))?.is_some()
                    && !found.contains(id)
                {
                    found.push(*id);
                }
            }
            Ok(found)
        }
    }
}

fn remove(cx: &Context<'_>, terms: &Terms, id: i64) -> Outcome<()> {
    cx.run(sql::DEAD_DELETE, (terms.subscription.0, id))?;
    cx.run(sql::SUBSCRIPTION_DEAD_ADD, (terms.subscription.0, -1))?;
    Ok(())
}

fn revive(cx: &mut Context<'_>, terms: &Terms, id: i64) -> Outcome<()> {
    let key: Option<String> = cx.row(sql::MESSAGE_ORDERING_KEY, [id], |row| row.get(0))?.flatten();
    let mut revived = Pending::waiting(Interval::one(id), cx.now.get(), 0);
    if let Some(key) = key {
        // Of a key, one batch is in flight at a time: the revived message waits for the one that is.
        if order::re_enter(cx, terms.subscription, &key, id)? {
            revived = Pending { token: order::HELD_BACK, ..revived.parked(cx.now.get()) };
        }
    }
    pending::insert(cx, terms.subscription, &revived)
}
