//! What nobody asks for and still must happen: dead holders' leases are offered again, expired messages and forgotten keys
//! leave. Each sweep does a bounded piece and says where the next begins.

use crate::engine::context::{Context, Outcome, lane_of};
use crate::engine::operation::{QueueId, SubscriptionId};
use crate::engine::pending::{self, Death};
use crate::engine::receive::{self, REASON_EXPIRED};
use crate::engine::{clear, effect, sql};
use crate::rules::interval::Interval;

/// Messages or keys per sweep.
const SWEEP_ROWS: i64 = 500;
/// Messages that a cursor passes in one commit on its way to an expired one.
const SET_ASIDE_ROWS: i64 = 5_000;

/// Registers this store as the holder of `slot`. `only_one` says that no other store has the file open: there may have
/// been a power loss since.
pub(crate) fn register(cx: &mut Context<'_>, slot: u32, process: u32, only_one: bool) -> Outcome<i64> {
    if let Some(former) = cx.row(sql::INSTANCE_DELETE_SLOT, [slot], |row| row.get(0))? {
        reclaim(cx, former)?;
    }
    let instance: i64 = cx.row(sql::INSTANCE_NEXT, [], |row| row.get(0))?.unwrap_or(1);
    cx.run(sql::INSTANCE_INSERT, (instance, slot, process, cx.now.get()))?;
    if only_one {
        cx.run(sql::TOKENS_SKIP, [])?;
        skip_reserved_ids(cx)?;
        cx.commit.needs_sync = true;
    }
    cx.instance = instance;
    reclaim_dead(cx)?;
    Ok(instance)
}

/// Leaves out the ids that may have been handed over and then lost with the power. No message has them.
fn skip_reserved_ids(cx: &Context<'_>) -> Outcome<()> {
    let lanes: Vec<(i64, i64, i64)> =
        cx.rows(sql::LANES_RESERVED, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    for (lane, reserved, end) in lanes {
        if end < reserved {
            cx.run(sql::LANE_SKIP, (lane, reserved))?;
            cx.run(sql::LANE_GAPS_ADD, (lane, reserved - end))?;
        }
    }
    Ok(())
}

/// This store closes: what it held is offered again, as after its death. That it closed does not tell that what it held
/// is harmless: a handler that panics closes its store on the way.
pub(crate) fn unregister(cx: &mut Context<'_>) -> Outcome<()> {
    give_up_leases(cx, cx.instance)?;
    // While a call of this store still runs, its slot stays locked: whoever finds the lock gone then takes over.
    if !effect::any_started(cx, cx.instance)? {
        cx.run(sql::INSTANCE_DELETE, [cx.instance])?;
    }
    Ok(())
}

/// Offers again what stores held whose process is gone. Returns whether there were any.
pub(crate) fn reclaim_dead(cx: &mut Context<'_>) -> Outcome<bool> {
    let others: Vec<(i64, u32)> = cx.rows(sql::INSTANCES_OTHER, [cx.instance], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut any = false;
    for (instance, slot) in others {
        if !cx.liveness.is_alive(slot) {
            reclaim(cx, instance)?;
            any = true;
        }
    }
    Ok(any)
}

fn reclaim(cx: &mut Context<'_>, instance: i64) -> Outcome<()> {
    give_up_leases(cx, instance)?;
    effect::owner_died(cx, instance)?;
    cx.run(sql::INSTANCE_DELETE, [instance])?;
    Ok(())
}

fn give_up_leases(cx: &mut Context<'_>, instance: i64) -> Outcome<()> {
    wake_holders_queues(cx, instance)?;
    let now = cx.now.get();
    let held: Vec<(i64, i64)> =
        cx.rows(sql::PENDING_OF_OWNER, (instance, now), |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (subscription, lo) in held {
        // The owner stays: it marks what its holder left behind, to be offered in smaller pieces.
        cx.run(sql::PENDING_DUE_SET, (subscription, lo, now))?;
    }
    Ok(())
}

fn wake_holders_queues(cx: &mut Context<'_>, instance: i64) -> Outcome<()> {
    let mut held: Vec<i64> = cx.rows(sql::PENDING_OF_OWNER, (instance, i64::MIN), |row| row.get(0))?;
    held.dedup();
    for subscription in held {
        let terms = cx.terms(SubscriptionId(subscription))?;
        cx.wake(terms.queue, terms.subscriptions, usize::MAX);
    }
    Ok(())
}

/// Dead-letters expired messages (at-most-once: drops them), from `after` on. Returns where to go on.
pub(crate) fn expire(cx: &mut Context<'_>, after: (i64, i64)) -> Outcome<Option<(i64, i64)>> {
    let expired: Vec<(i64, i64)> =
        cx.rows(sql::MESSAGES_EXPIRED, (cx.now.get(), after.0, after.1, SWEEP_ROWS), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let mut last = after;
    for &(expires_at, id) in &expired {
        if !expire_one(cx, id)? {
            // The cursor is still on its way there: the next sweep goes on from here.
            return Ok(Some(last));
        }
        last = (expires_at, id);
    }
    Ok((expired.len() as i64 == SWEEP_ROWS).then_some(last))
}

/// Returns false when the message is too far behind a cursor to be reached in one commit.
fn expire_one(cx: &mut Context<'_>, id: i64) -> Outcome<bool> {
    let Some(queue) = cx.row(sql::LANE_QUEUE, [lane_of(id)], |row| row.get(0))?.map(QueueId) else {
        return Ok(true);
    };
    let mut in_flight = false;
    for subscription in clear::subscriptions(cx, queue)? {
        let cursor: i64 =
            cx.row(sql::CURSOR_OF_LANE, (subscription.0, lane_of(id)), |row| row.get(0))?.unwrap_or(i64::MAX);
        if id >= cursor {
            // Looking at it is what makes it dead.
            if receive::set_aside(cx, subscription, lane_of(id), SET_ASIDE_ROWS)? <= id {
                return Ok(false);
            }
        } else if let Some(held) = pending::holding(cx, subscription, id)? {
            if held.owner.is_some() {
                // Handed over in time: when its lease ends without an end of the message, receiving finds it expired.
                in_flight = true;
                continue;
            }
            let terms = cx.terms(subscription)?;
            pending::cut(cx, subscription, &held, Interval::one(id))?;
            let death = Death { attempts: held.attempt, reason: REASON_EXPIRED, error: held.error.as_deref() };
            pending::bury(cx, &terms, Interval::one(id), &death)?;
        }
    }
    if !in_flight {
        cx.run(sql::MESSAGE_EXPIRY_CLEAR, [id])?;
    }
    Ok(true)
}

/// Forgets effects of ledgers whose window has passed. Returns how many.
pub(crate) fn forget_effects(cx: &Context<'_>) -> Outcome<u64> {
    Ok(cx.run(sql::EFFECTS_FORGET, (cx.now.get(), SWEEP_ROWS))? as u64)
}

/// Forgets keys whose deduplication window has passed. Returns how many.
pub(crate) fn forget_keys(cx: &Context<'_>) -> Outcome<u64> {
    Ok(cx.run(sql::LEDGER_FORGET, (cx.now.get(), SWEEP_ROWS))? as u64)
}
