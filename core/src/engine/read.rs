//! What only reads: statistics, listings, settings. Each is one short read.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::engine::context::lane_of;
use crate::engine::effect::operation::LedgerId;
use crate::engine::operation::{QueueId, SubscriptionId};
use crate::engine::pending::{self, PARKED};
use crate::engine::sql;
use crate::in_doubt::{EffectOf, InDoubt, Resolution, Resolved};
use crate::queue::QueueSettings;
use crate::rules::interval::Interval;
use crate::semantics::Semantics;
use crate::store::StoreStats;
use crate::types::{MessageId, Millis};

/// Due intervals that one peek looks at.
const PEEK_INTERVALS: i64 = 1_000;
/// Messages that one peek looks at in an interval or at the cursor: delayed ones are passed over.
const PEEK_ROWS: i64 = 100_000;

/// What can be counted of a subscription.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) ready: i64,
    pub(crate) delayed: i64,
    pub(crate) blocked: i64,
    pub(crate) in_flight: i64,
    pub(crate) dead: i64,
    pub(crate) in_doubt: i64,
    pub(crate) oldest_sent_at: Option<i64>,
}

/// A message as it stands in the log.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) id: MessageId,
    pub(crate) sent_at: Millis,
    pub(crate) key: Option<String>,
    pub(crate) ordering_key: Option<String>,
    pub(crate) headers: Option<Vec<u8>>,
    pub(crate) body: Vec<u8>,
    pub(crate) priority: u8,
    pub(crate) attempt: u32,
}

/// A dead letter as it stands in the file.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) seen: Seen,
    pub(crate) reason: String,
    pub(crate) error: Option<String>,
    pub(crate) died_at: Millis,
}

/// Runs a read in one snapshot.
pub(crate) fn snapshot<T>(conn: &Connection, read: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    // In memory the one connection may be inside a transaction of the application: then that is the snapshot.
    if !conn.is_autocommit() {
        return read();
    }
    conn.execute_batch("BEGIN")?;
    let outcome = read();
    conn.execute_batch("COMMIT")?;
    outcome
}

fn rows<T>(
    conn: &Connection,
    sql: &'static str,
    params: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    conn.prepare_cached(sql)?.query_map(params, read)?.collect()
}

pub(crate) fn queue_names(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    rows(conn, sql::QUEUE_NAMES, [], |row| row.get(0))
}

/// The queue of this name, if its semantics are known ones.
pub(crate) fn queue(conn: &Connection, name: &str) -> rusqlite::Result<Option<(QueueId, Semantics)>> {
    let found = conn
        .prepare_cached(sql::QUEUE_BY_NAME)?
        .query_row([name], |row| Ok((QueueId(row.get(0)?), Semantics::from_stored(row.get(1)?))))
        .optional()?;
    Ok(found.and_then(|(id, semantics)| semantics.map(|semantics| (id, semantics))))
}

pub(crate) fn queue_settings(
    conn: &Connection,
    queue: QueueId,
    semantics: Semantics,
) -> rusqlite::Result<Option<QueueSettings>> {
    conn.prepare_cached(sql::QUEUE_SETTINGS)?.query_row([queue.0], |row| QueueSettings::read(row, semantics)).optional()
}

pub(crate) fn subscription_id(
    conn: &Connection,
    queue: QueueId,
    name: &str,
) -> rusqlite::Result<Option<SubscriptionId>> {
    conn.prepare_cached(sql::SUBSCRIPTION_BY_NAME)?
        .query_row((queue.0, name), |row| row.get(0).map(SubscriptionId))
        .optional()
}

pub(crate) fn subscription_names(conn: &Connection, queue: QueueId) -> rusqlite::Result<Vec<String>> {
    rows(conn, sql::SUBSCRIPTION_NAMES, [queue.0], |row| row.get(0))
}

pub(crate) fn store_stats(conn: &Connection, frames: u64) -> rusqlite::Result<StoreStats> {
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|value| value as u64);
    snapshot(conn, || {
        Ok(StoreStats {
            file_bytes: number(sql::PAGE_COUNT)? * number("PRAGMA page_size")?,
            wal_bytes: frames * (number("PRAGMA page_size")? + 24),
            in_doubt: number(sql::IN_DOUBT_COUNT_ALL)?,
            queues: number("SELECT count(*) FROM onceward_queue")?,
            sqlite_version: rusqlite::version().to_owned(),
        })
    })
}

/// A lane and where a subscription stands in it.
pub(crate) struct Place {
    pub(crate) lane: i64,
    priority: u8,
    pub(crate) cursor: i64,
    pub(crate) next: i64,
    gaps: i64,
}

pub(crate) fn places(conn: &Connection, subscription: SubscriptionId) -> rusqlite::Result<Vec<Place>> {
    rows(conn, sql::CURSORS, [subscription.0], |row| {
        Ok(Place {
            lane: row.get(0)?,
            priority: row.get(1)?,
            cursor: row.get(2)?,
            next: row.get(3)?,
            gaps: row.get(4)?,
        })
    })
}

/// When a receive may find something: `now` if it may at once, `None` if nothing that is there falls due by itself. A
/// subscription that is gone answers at once, so that whoever waits for it is told.
pub(crate) fn next_due(
    conn: &Connection,
    subscription: SubscriptionId,
    now: Millis,
) -> rusqlite::Result<Option<Millis>> {
    snapshot(conn, || {
        let paused = conn
            .prepare_cached(sql::SUBSCRIPTION_TERMS)?
            .query_row([subscription.0], |row| row.get::<_, bool>(2))
            .optional()?;
        match paused {
            None => return Ok(Some(now)),
            Some(true) => return Ok(None),
            Some(false) => {}
        }
        let mut next: Option<i64> = None;
        for place in places(conn, subscription)? {
            if place.cursor < place.next {
                return Ok(Some(now));
            }
            for sql in [sql::PENDING_NEXT_WAITING, sql::PENDING_NEXT_LEASED] {
                let due: Option<i64> =
                    conn.prepare_cached(sql)?.query_row((subscription.0, place.lane, i64::MIN), |row| row.get(0))?;
                next = next.into_iter().chain(due).min();
            }
        }
        Ok(next.filter(|due| *due != PARKED).map(|due| Millis::new(due).max(now)))
    })
}

/// Counts by arithmetic on sequences and intervals; `None` when there is no such subscription any more.
pub(crate) fn counts(conn: &Connection, subscription: SubscriptionId, now: Millis) -> rusqlite::Result<Option<Counts>> {
    snapshot(conn, || {
        let dead =
            conn.prepare_cached(sql::SUBSCRIPTION_DEAD)?.query_row([subscription.0], |row| row.get(0)).optional()?;
        let Some(dead) = dead else { return Ok(None) };
        let in_doubt = conn.prepare_cached(sql::IN_DOUBT_COUNT)?.query_row([subscription.0], |row| row.get(0))?;
        let mut counts = Counts { dead, in_doubt, ..Counts::default() };
        for place in places(conn, subscription)? {
            count_lane(conn, subscription, now, &place, &mut counts)?;
        }
        Ok(Some(counts))
    })
}

fn count_lane(
    conn: &Connection,
    subscription: SubscriptionId,
    now: Millis,
    place: &Place,
    counts: &mut Counts,
) -> rusqlite::Result<()> {
    let unseen = place.next - place.cursor - place.gaps;
    let delayed: i64 = if unseen == 0 {
        0
    } else {
        conn.prepare_cached(sql::MESSAGES_DELAYED_COUNT)?
            .query_row((place.lane, now.get(), place.cursor), |row| row.get(0))?
    };
    let params = (subscription.0, place.lane, now.get(), PARKED);
    let first = conn.prepare_cached(sql::PENDING_SUMS)?.query_row(params, |row| {
        counts.in_flight += row.get::<_, i64>(0)?;
        counts.delayed += row.get::<_, i64>(1)?;
        counts.blocked += row.get::<_, i64>(2)?;
        counts.ready += row.get::<_, i64>(3)?;
        row.get::<_, Option<i64>>(4)
    })?;
    counts.ready += unseen - delayed;
    counts.delayed += delayed;
    for from in first.into_iter().chain((unseen > 0).then_some(place.cursor)) {
        let sent_at: Option<i64> =
            conn.prepare_cached(sql::MESSAGE_SENT_AT)?.query_row((from, place.next), |row| row.get(0)).optional()?;
        counts.oldest_sent_at = counts.oldest_sent_at.into_iter().chain(sent_at).min();
    }
    Ok(())
}

/// What a receive would bring, without taking it.
pub(crate) fn peek(
    conn: &Connection,
    subscription: SubscriptionId,
    max: usize,
    now: Millis,
) -> rusqlite::Result<Vec<Seen>> {
    snapshot(conn, || {
        let mut seen: Vec<Seen> = Vec::new();
        for place in places(conn, subscription)? {
            for due in pending::due(conn, subscription.0, place.lane, now.get(), PEEK_INTERVALS)? {
                offered(conn, due.span, (place.priority, Some(due.attempt), now), max, &mut seen)?;
            }
            offered(conn, Interval::new(place.cursor, place.next), (place.priority, None, now), max, &mut seen)?;
        }
        Ok(seen)
    })
}

/// Adds the messages of a span that would be offered now, until there are `max`. Those of an interval, which has an
/// attempt, are due with it, whatever delay they were sent with.
fn offered(
    conn: &Connection,
    span: Interval,
    (priority, attempt, now): (u8, Option<u32>, Millis),
    max: usize,
    seen: &mut Vec<Seen>,
) -> rusqlite::Result<()> {
    let mut found = conn.prepare_cached(sql::MESSAGES_BETWEEN)?;
    let mut found = found.query((span.lo, span.hi, PEEK_ROWS))?;
    while seen.len() < max
        && let Some(row) = found.next()?
    {
        let due = attempt.is_some() || row.get::<_, Option<i64>>(2)?.is_none_or(|at| at <= now.get());
        let live = row.get::<_, Option<i64>>(3)?.is_none_or(|at| at > now.get());
        if due && live {
            seen.push(Seen {
                id: MessageId::from_stored(row.get(0)?),
                sent_at: Millis::new(row.get(1)?),
                key: row.get(4)?,
                ordering_key: row.get(5)?,
                headers: row.get(6)?,
                body: row.get(7)?,
                priority,
                attempt: attempt.unwrap_or(0),
            });
        }
    }
    Ok(())
}

pub(crate) fn letters(
    conn: &Connection,
    subscription: SubscriptionId,
    after: Option<MessageId>,
    max: usize,
) -> rusqlite::Result<Vec<Letter>> {
    let after = after.map_or(0, MessageId::stored);
    snapshot(conn, || {
        let priorities: Vec<(i64, u8)> =
            places(conn, subscription)?.into_iter().map(|place| (place.lane, place.priority)).collect();
        rows(conn, sql::DEAD_LIST, (subscription.0, after, max as i64), |row| {
            let id: i64 = row.get(0)?;
            let lane = priorities.iter().find(|(lane, _)| *lane == lane_of(id));
            Ok(Letter {
                seen: Seen {
                    id: MessageId::from_stored(id),
                    attempt: row.get(1)?,
                    sent_at: Millis::new(row.get(5)?),
                    key: row.get(6)?,
                    ordering_key: row.get(7)?,
                    headers: row.get(8)?,
                    body: row.get(9)?,
                    priority: lane.map_or(crate::limits::PRIORITY_DEFAULT, |(_, priority)| *priority),
                },
                reason: row.get(2)?,
                error: row.get(3)?,
                died_at: Millis::new(row.get(4)?),
            })
        })
    })
}

pub(crate) fn file_id(conn: &Connection) -> rusqlite::Result<Vec<u8>> {
    conn.prepare_cached(sql::FILE_ID)?.query_row([], |row| row.get(0))
}

pub(crate) fn ledger_id(conn: &Connection, name: &str) -> rusqlite::Result<Option<LedgerId>> {
    conn.prepare_cached(sql::LEDGER_BY_NAME)?.query_row([name], |row| row.get(0).map(LedgerId)).optional()
}

pub(crate) fn ledger_names(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    rows(conn, sql::LEDGER_NAMES, [], |row| row.get(0))
}

/// Whose effect it is, by the names that were found.
fn effect_of(
    message: Option<i64>,
    queue: Option<String>,
    subscription: Option<String>,
    ledger: Option<String>,
) -> EffectOf {
    match message.filter(|message| *message != 0) {
        Some(message) => EffectOf::Message {
            queue: queue.unwrap_or_default(),
            subscription,
            message: MessageId::from_stored(message),
        },
        None => EffectOf::Ledger { ledger: ledger.unwrap_or_default() },
    }
}

/// Effects in doubt whose number is past `after`.
pub(crate) fn in_doubt(conn: &Connection, after: u64, max: usize) -> rusqlite::Result<Vec<InDoubt>> {
    rows(conn, sql::IN_DOUBT_LIST, (i64::try_from(after).unwrap_or(i64::MAX), max as i64), |row| {
        Ok(InDoubt {
            doubt: row.get::<_, i64>(0)?.unsigned_abs(),
            of: effect_of(row.get(2)?, row.get(8)?, row.get(9)?, row.get(10)?),
            key: row.get(11)?,
            name: row.get(3)?,
            since: Millis::new(row.get(4)?),
            called_at: Millis::new(row.get(5)?),
            error: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
            process: row.get(7)?,
        })
    })
}

/// Resolutions of doubts whose number is past `after`.
pub(crate) fn resolutions(conn: &Connection, after: u64, max: usize) -> rusqlite::Result<Vec<Resolved>> {
    rows(conn, sql::RESOLUTION_LIST, (i64::try_from(after).unwrap_or(i64::MAX), max as i64), |row| {
        let result: Option<Vec<u8>> = row.get(8)?;
        Ok(Resolved {
            doubt: row.get::<_, i64>(0)?.unsigned_abs(),
            of: effect_of(row.get(3)?, row.get(1)?, row.get(2)?, row.get(4)?),
            name: row.get(5)?,
            since: Millis::new(row.get(6)?),
            error: row.get::<_, Option<String>>(7)?.unwrap_or_default(),
            resolution: result.map_or(Resolution::NotApplied, Resolution::Applied),
            evidence: row.get(9)?,
            actor: row.get(10)?,
            resolved_at: Millis::new(row.get(11)?),
        })
    })
}
