//! Taking messages away: cancel one, purge a queue, and clear what a purge left behind.

use crate::engine::context::{Context, Outcome, lane_of};
use crate::engine::manage::lane_span;
use crate::engine::operation::{QueueId, SubscriptionId};
use crate::engine::pending::{self, Pending};
use crate::engine::settle::check_queue;
use crate::engine::{effect, order, sql};
use crate::error::Error;
use crate::rules::interval::Interval;
use crate::types::MessageId;

/// Messages cleared in one commit.
const CLEAR_ROWS: i64 = 2_000;

/// Where a message stands with one subscription.
enum Place {
    Unseen,
    Waiting(Box<Pending>),
    Dead,
    Done,
}

/// Takes a message that is not in flight away from every subscription. Returns whether there was something to take.
pub(crate) fn cancel(cx: &mut Context<'_>, queue: QueueId, message: MessageId) -> Outcome<bool> {
    check_queue(cx, queue, message)?;
    let id = message.stored();
    if cx.row(sql::MESSAGE_EXISTS, [id], |_| Ok(()))?.is_none() {
        return Ok(false);
    }
    let mut places = Vec::new();
    for subscription in subscriptions(cx, queue)? {
        effect::check_none_open(cx, subscription, message)?;
        let place = place(cx, subscription, message)?;
        places.push((subscription, place));
    }
    if !places.iter().any(|(_, place)| matches!(place, Place::Unseen | Place::Waiting(_))) {
        return Ok(false);
    }
    for (subscription, place) in places {
        let terms = cx.terms(subscription)?;
        match place {
            Place::Unseen => {
                cx.run(sql::CURSOR_GAPS_ADD, (subscription.0, lane_of(id), 1))?;
            }
            Place::Waiting(held) => {
                pending::cut(cx, subscription, &held, Interval::one(id))?;
                order::finished(cx, &terms, Interval::one(id))?;
            }
            Place::Dead => {
                cx.run(sql::DEAD_DELETE, (subscription.0, id))?;
                cx.run(sql::SUBSCRIPTION_DEAD_ADD, (subscription.0, -1))?;
            }
            Place::Done => {}
        }
        effect::forget(cx, subscription, Interval::one(id))?;
    }
    cx.delete_messages(Interval::one(id))?;
    cx.commit.needs_sync = true;
    Ok(true)
}

fn place(cx: &Context<'_>, subscription: SubscriptionId, message: MessageId) -> Outcome<Place> {
    let id = message.stored();
    let cursor: Option<i64> = cx.row(sql::CURSOR_OF_LANE, (subscription.0, lane_of(id)), |row| row.get(0))?;
    if cursor.is_some_and(|next| id >= next) {
        return Ok(Place::Unseen);
    }
    if let Some(held) = pending::holding(cx, subscription, id)? {
        if held.is_leased(cx.now.get()) {
            return Err(Error::conflict(format!(
                "message {message} is in flight (attempt {}) and cannot be cancelled",
                held.attempt
            ))
            .into());
        }
        return Ok(Place::Waiting(Box::new(held)));
    }
    let dead = cx.row(sql::DEAD_GET, (subscription.0, id), |_| Ok(()))?;
    Ok(if dead.is_some() { Place::Dead } else { Place::Done })
}

/// Takes away everything that is ready, delayed or blocked, for every subscription. What is in flight, dead, or parked
/// because an effect of it is in doubt stays.
/// Returns how many deliveries that were still to come will not.
pub(crate) fn purge(cx: &mut Context<'_>, queue: QueueId) -> Outcome<u64> {
    cx.queue(queue)?;
    let lanes: Vec<(i64, i64)> = cx.rows(sql::LANES_OF_QUEUE, [queue.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut purged = 0;
    for subscription in subscriptions(cx, queue)? {
        for &(lane, lane_next) in &lanes {
            purged += purge_lane(cx, subscription, lane, lane_next)?;
        }
    }
    trash_queue(cx, queue)?;
    cx.commit.needs_sync = true;
    Ok(purged as u64)
}

/// Marks the queue's whole log to be looked through for messages that nobody needs any more.
pub(crate) fn trash_queue(cx: &mut Context<'_>, queue: QueueId) -> Outcome<()> {
    for (lane, next) in cx.rows(sql::LANES_OF_QUEUE, [queue.0], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))? {
        let span = lane_span(lane, next);
        if !span.is_empty() {
            cx.run(sql::TRASH_INSERT, (span.lo, span.hi, queue.0))?;
        }
    }
    Ok(())
}

fn purge_lane(cx: &mut Context<'_>, subscription: SubscriptionId, lane: i64, lane_next: i64) -> Outcome<i64> {
    let unseen = cx
        .rows(sql::CURSORS, [subscription.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(2)?, row.get(4)?)))?
        .into_iter()
        .find(|(of, _, _)| *of == lane)
        .map_or(0, |(_, next, gaps): (i64, i64, i64)| lane_next - next - gaps);
    cx.run(sql::CURSOR_TO_END, (subscription.0, lane, lane_next))?;
    let whole = Interval::new(lane << 38, (lane + 1) << 38);
    let waiting: Vec<Interval> = pending::overlapping(cx, subscription, whole)?
        .into_iter()
        .filter(|held| !held.is_leased(cx.now.get()) && !held.is_in_doubt())
        .map(|held| held.span)
        .collect();
    cx.run(sql::PENDING_DELETE_UNLEASED, (subscription.0, lane, cx.now.get(), pending::IN_DOUBT))?;
    for span in &waiting {
        cx.run(sql::ORDER_DELETE_BETWEEN, (subscription.0, span.lo, span.hi))?;
        effect::forget(cx, subscription, *span)?;
    }
    Ok(unseen + waiting.iter().map(|span| span.len()).sum::<i64>())
}

/// Clears a bounded piece of what purges and ended subscriptions left behind. Returns whether there is more.
pub(crate) fn clear_trash(cx: &mut Context<'_>) -> Outcome<bool> {
    let first =
        cx.row(sql::TRASH_FIRST, [], |row| Ok((Interval::new(row.get(0)?, row.get(1)?), QueueId(row.get(2)?))))?;
    let Some((trash, queue)) = first else { return Ok(false) };
    let ids = cx.rows(sql::MESSAGE_IDS_BETWEEN, (trash.lo, trash.hi, CLEAR_ROWS), |row| row.get::<_, i64>(0))?;
    let end = match ids.last() {
        Some(last) if ids.len() as i64 == CLEAR_ROWS => last + 1,
        _ => trash.hi,
    };
    let subscriptions = subscriptions(cx, queue)?;
    pending::delete_unneeded(cx, &subscriptions, Interval::new(trash.lo, end))?;
    cx.run(sql::TRASH_DELETE, [trash.lo])?;
    if end < trash.hi {
        cx.run(sql::TRASH_INSERT, (end, trash.hi, queue.0))?;
    }
    Ok(true)
}

pub(crate) fn subscriptions(cx: &Context<'_>, queue: QueueId) -> Outcome<Vec<SubscriptionId>> {
    Ok(cx.rows(sql::SUBSCRIPTION_IDS, [queue.0], |row| row.get(0).map(SubscriptionId))?)
}
