//! Queues and subscriptions: creating, opening, configuring, ending.

use crate::engine::context::{Context, Outcome};
use crate::engine::operation::{QueueId, SubscriptionId};
use crate::engine::{clear, effect, sql};
use crate::error::Error;
use crate::limits::SUBSCRIPTIONS_MAX;
use crate::queue::{DEFAULT_SUBSCRIPTION, QueueOptions, QueueSettings, Start, check_semantics};
use crate::rules::interval::Interval;
use crate::semantics::Semantics;
use crate::types::{MessageId, duration_ms};

/// Opens the queue, or creates it where `semantics` says as what.
pub(crate) fn open_queue(
    cx: &mut Context<'_>,
    name: &str,
    semantics: Option<Semantics>,
    options: &QueueOptions,
) -> Outcome<(QueueId, Semantics)> {
    let found = cx.row(sql::QUEUE_BY_NAME, [name], |row| Ok((QueueId(row.get(0)?), row.get::<_, i64>(1)?)))?;
    let Some((id, stored)) = found else {
        let semantics = semantics.ok_or_else(|| Error::not_found(format!("there is no queue {name:?}")))?;
        return Ok((create_queue(cx, name, semantics, options)?, semantics));
    };
    let stored = Semantics::from_stored(stored).ok_or_else(|| {
        Error::new(crate::ErrorKind::Corrupt, format!("queue {name:?} has semantics number {stored}"))
    })?;
    check_semantics(name, stored, semantics)?;
    if options.is_set() {
        configure(cx, id, stored, options)?;
    }
    Ok((id, stored))
}

fn create_queue(cx: &mut Context<'_>, name: &str, semantics: Semantics, options: &QueueOptions) -> Outcome<QueueId> {
    let settings = options.over(&QueueSettings::defaults(semantics));
    cx.run(
        sql::QUEUE_INSERT,
        (
            name,
            semantics.stored(),
            duration_ms(settings.lease),
            settings.attempts_max,
            duration_ms(settings.backoff.first),
            settings.backoff.factor,
            duration_ms(settings.backoff.cap),
            settings.backoff.jitter,
            settings.window_ms(),
            cx.now.get(),
        ),
    )?;
    let id = QueueId(cx.last_insert_rowid());
    let names = options.subscriptions.as_deref().unwrap_or_default();
    if names.is_empty() {
        insert_subscription(cx, id, DEFAULT_SUBSCRIPTION)?;
    }
    for name in names {
        if cx.row(sql::SUBSCRIPTION_BY_NAME, (id.0, name), |_| Ok(()))?.is_none() {
            insert_subscription(cx, id, name)?;
        }
    }
    cx.commit.needs_sync = true;
    Ok(id)
}

fn configure(cx: &mut Context<'_>, id: QueueId, semantics: Semantics, options: &QueueOptions) -> Outcome<()> {
    let stored = cx
        .row(sql::QUEUE_SETTINGS, [id.0], |row| QueueSettings::read(row, semantics))?
        .ok_or_else(|| Error::not_found("the queue no longer exists"))?;
    let settings = options.over(&stored);
    settings.backoff.check()?;
    if settings == stored {
        return Ok(());
    }
    cx.run(
        sql::QUEUE_CONFIGURE,
        (
            id.0,
            duration_ms(settings.lease),
            settings.attempts_max,
            duration_ms(settings.backoff.first),
            settings.backoff.factor,
            duration_ms(settings.backoff.cap),
            settings.backoff.jitter,
            settings.window_ms(),
        ),
    )?;
    cx.queue_changed();
    cx.commit.needs_sync = true;
    Ok(())
}

fn insert_subscription(cx: &mut Context<'_>, queue: QueueId, name: &str) -> Outcome<SubscriptionId> {
    cx.run(sql::SUBSCRIPTION_INSERT, (queue.0, name, cx.now.get()))?;
    let id = SubscriptionId(cx.last_insert_rowid());
    cx.run(sql::QUEUE_SUBSCRIPTIONS_ADD, (queue.0, 1))?;
    cx.queue_changed();
    Ok(id)
}

/// The subscription of this name, created where it is missing.
pub(crate) fn subscribe(cx: &mut Context<'_>, queue: QueueId, name: &str, start: Start) -> Outcome<SubscriptionId> {
    if let Some(id) = cx.row(sql::SUBSCRIPTION_BY_NAME, (queue.0, name), |row| row.get(0))? {
        return Ok(SubscriptionId(id));
    }
    let row = cx.queue(queue)?;
    if row.subscriptions as usize >= SUBSCRIPTIONS_MAX {
        return Err(Error::invalid(format!(
            "queue {:?} has {} subscriptions; the limit is {SUBSCRIPTIONS_MAX}",
            row.name, row.subscriptions
        ))
        .into());
    }
    let id = insert_subscription(cx, queue, name)?;
    for (lane, next) in cx.rows(sql::LANES_OF_QUEUE, [queue.0], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))? {
        let (cursor, gaps) = match start {
            Start::Now => (next, 0),
            Start::Oldest => {
                let first = MessageId::first_of(lane as u64).stored();
                let oldest = cx.rows(sql::MESSAGE_IDS_BETWEEN, (first, next, 1), |row| row.get::<_, i64>(0))?;
                let from = oldest.first().copied().unwrap_or(next);
                let there: i64 = cx.row(sql::MESSAGES_COUNT_BETWEEN, (from, next), |row| row.get(0))?.unwrap_or(0);
                (from, next - from - there)
            }
        };
        cx.insert_cursor(id, lane, cursor, gaps)?;
    }
    cx.commit.needs_sync = true;
    Ok(id)
}

/// Ends a subscription: what it had not finished is finished for it.
pub(crate) fn unsubscribe(cx: &mut Context<'_>, queue: QueueId, name: &str) -> Outcome<()> {
    let row = cx.queue(queue)?;
    let id: i64 = cx
        .row(sql::SUBSCRIPTION_BY_NAME, (queue.0, name), |row| row.get(0))?
        .ok_or_else(|| Error::not_found(format!("queue {:?} has no subscription {name:?}", row.name)))?;
    if row.subscriptions <= 1 {
        return Err(Error::invalid(format!(
            "{name:?} is the last subscription of queue {:?}; a queue keeps at least one",
            row.name
        ))
        .into());
    }
    effect::forget(cx, SubscriptionId(id), Interval::new(0, i64::MAX))?;
    for delete in [
        sql::PENDING_DELETE_ALL,
        sql::ORDER_DELETE_ALL,
        sql::DEAD_DELETE_ALL,
        sql::CURSORS_DELETE,
        sql::SUBSCRIPTION_DELETE,
    ] {
        cx.run(delete, [id])?;
    }
    cx.run(sql::QUEUE_SUBSCRIPTIONS_ADD, (queue.0, -1))?;
    cx.queue_changed();
    clear::trash_queue(cx, queue)?;
    cx.commit.needs_sync = true;
    Ok(())
}

pub(crate) fn set_paused(cx: &mut Context<'_>, queue: QueueId, paused: bool) -> Outcome<()> {
    let row = cx.queue(queue)?;
    cx.run(sql::QUEUE_PAUSE, (queue.0, paused))?;
    cx.queue_changed();
    if !paused {
        cx.wake(queue, row.subscriptions, usize::MAX);
    }
    cx.commit.needs_sync = true;
    Ok(())
}

/// The whole of a lane, as an interval.
pub(crate) fn lane_span(lane: i64, next: i64) -> Interval {
    Interval::new(MessageId::first_of(lane as u64).stored(), next)
}
