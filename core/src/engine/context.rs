//! What an operation works with: the open transaction, the time, and what this commit has gathered so far.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row};

use crate::clock::{Clock, Random};
use crate::engine::operation::{QueueId, SubscriptionId};
use crate::engine::send::Tables;
use crate::engine::sending::Sending;
use crate::engine::settled::Settlement;
use crate::engine::sql;
use crate::error::Error;
use crate::limits::LANES_MAX;
use crate::rules::backoff::Backoff;
use crate::rules::interval::Interval;
use crate::semantics::Semantics;
use crate::types::{MessageId, Millis};

/// Each subscription has 2^32 tokens of its own; all stay below 2^52, exact in every language.
const TOKENS_BITS: u32 = 32;
const TOKEN_RANGES: i64 = 1 << 20;

/// Why an operation did not go through.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The rules refuse it. The operation has written nothing, and the others of the commit go on.
    Refused(Error),
    /// SQLite failed: the whole commit is rolled back.
    Failed(rusqlite::Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Refused(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Failed(error)
    }
}

pub(crate) type Outcome<T> = Result<T, Fault>;

/// One open write transaction.
pub(crate) struct Context<'a> {
    conn: &'a Connection,
    pub(crate) now: Millis,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) random: &'a dyn Random,
    pub(crate) liveness: &'a dyn crate::clock::Liveness,
    /// The number of this open store.
    pub(crate) instance: i64,
    /// Earlier settlements of this store, so that a repeat gets the same answer.
    pub(crate) settled: &'a crate::engine::settled::Settled,
    /// The table of the messages of a send.
    pub(crate) sending: &'a Sending,
    /// The statements of the last send.
    pub(crate) tables: Option<Tables<'a>>,
    pub(crate) commit: Commit,
}

/// What one commit gathers: what to do before it, and what follows from it.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    pub(crate) needs_sync: bool,
    /// The count of sends that must be on disk before what is handed over is; somebody else is syncing them.
    pub(crate) awaits: Option<u32>,
    pub(crate) wakes: Vec<Wake>,
    pub(crate) settlements: Vec<Settlement>,
    /// Sends that must be on disk before they are answered or handed over.
    pub(crate) sends: bool,
    /// The sends belong together, or to other changes: a power loss must not leave a receiver with a part of it.
    pub(crate) together: bool,
    /// Where lanes ended when they were received from.
    pub(crate) lane_ends: Vec<LaneEnd>,
    /// Tokens handed out, and how far they were reserved then.
    pub(crate) tokens: Vec<TokenUse>,
    /// The last message of each lane that is handed over, of those that may be before they are on disk and of the others.
    pub(crate) handed_over: Vec<HandedOver>,
    /// What was read of the tables that seldom change.
    pub(crate) known: Known,
}

/// Rows that are read at every turn. They hold as long as nobody else changes the database, and are then read anew.
#[derive(Debug, Default)]
pub(crate) struct Known {
    lanes: Vec<LaneTail>,
    queues: Vec<Arc<QueueRow>>,
    terms: Vec<Arc<Terms>>,
}

/// Rows of one kind kept from one commit to the next: past it, all are read anew.
const KNOWN_MAX: usize = 64;

impl Known {
    /// Whether it is small enough to be kept.
    pub(crate) fn is_small(&self) -> bool {
        self.lanes.len().max(self.queues.len()).max(self.terms.len()) <= KNOWN_MAX
    }
}

/// Whom a commit wakes: the receivers of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wake {
    pub(crate) queue: QueueId,
    /// How many receivers there is work for; all of them when the queue has several subscriptions.
    pub(crate) receivers: u32,
}

/// A token that was handed out: it must be within what is reserved durably, or a power loss brings it back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenUse {
    pub(crate) subscription: i64,
    pub(crate) lane: i64,
    pub(crate) token: i64,
    pub(crate) reserved: i64,
}

/// Where a lane ends, and which of its ids are given to no other message whatever becomes of theirs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneEnd {
    pub(crate) lane: i64,
    pub(crate) end: i64,
    pub(crate) reserved: i64,
}

/// A message that is handed over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HandedOver {
    pub(crate) lane: i64,
    pub(crate) id: i64,
    /// It may be handed over before it is on disk, if its id is reserved: whoever sends it again makes another one anyway.
    pub(crate) early: bool,
}

#[derive(Debug)]
struct LaneTail {
    queue: QueueId,
    priority: u8,
    lane: i64,
    next: i64,
    reserved: i64,
}

/// Ids reserved in a lane at a time; when half of them are used, the next ones are, so that the reservation is on disk when
/// it is needed.
const IDS_RESERVED: i64 = 1 << 10;

#[derive(Debug, Clone)]
pub(crate) struct QueueRow {
    pub(crate) id: QueueId,
    pub(crate) name: String,
    pub(crate) semantics: Semantics,
    pub(crate) window_ms: Option<i64>,
    pub(crate) ordered: bool,
    pub(crate) subscriptions: u32,
}

/// What a subscription's queue lays down for its deliveries.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) subscription: SubscriptionId,
    pub(crate) queue: QueueId,
    pub(crate) semantics: Semantics,
    pub(crate) paused: bool,
    pub(crate) ordered: bool,
    /// Whether its messages may have effects recorded.
    pub(crate) effects: bool,
    pub(crate) subscriptions: u32,
    pub(crate) lease_ms: i64,
    pub(crate) attempts_max: Option<u32>,
    pub(crate) backoff: Backoff,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        conn: &'a Connection,
        now: Millis,
        outside: (&'a dyn Clock, &'a dyn Random, &'a dyn crate::clock::Liveness),
        instance: i64,
        settled: &'a crate::engine::settled::Settled,
        sending: &'a Sending,
    ) -> Self {
        let (clock, random, liveness) = outside;
        Context {
            conn,
            now,
            clock,
            random,
            liveness,
            instance,
            settled,
            sending,
            tables: None,
            commit: Commit::default(),
        }
    }

    pub(crate) fn connection(&self) -> &'a Connection {
        self.conn
    }

    pub(crate) fn statement(&self, sql: &'static str) -> rusqlite::Result<CachedStatement<'a>> {
        self.conn.prepare_cached(sql)
    }

    pub(crate) fn run(&self, sql: &'static str, params: impl Params) -> rusqlite::Result<usize> {
        self.statement(sql)?.execute(params)
    }

    pub(crate) fn row<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.statement(sql)?.query_row(params, read).optional()
    }

    pub(crate) fn rows<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.statement(sql)?.query_map(params, read)?.collect()
    }

    pub(crate) fn last_insert_rowid(&self) -> i64 {
        self.conn.last_insert_rowid()
    }

    /// The queue with this number.
    pub(crate) fn queue(&mut self, id: QueueId) -> Outcome<Arc<QueueRow>> {
        if let Some(row) = self.commit.known.queues.iter().find(|row| row.id == id) {
            return Ok(Arc::clone(row));
        }
        let row = self
            .row(sql::QUEUE_BY_ID, [id.0], |row| {
                Ok(QueueRow {
                    id,
                    name: row.get(0)?,
                    semantics: semantics(row, 1)?,
                    window_ms: row.get(2)?,
                    ordered: row.get(3)?,
                    subscriptions: row.get(4)?,
                })
            })?
            .ok_or_else(|| Error::not_found("the queue no longer exists"))?;
        let row = Arc::new(row);
        self.commit.known.queues.push(Arc::clone(&row));
        Ok(row)
    }

    /// Forgets what was read of queues and subscriptions, after one changed.
    pub(crate) fn queue_changed(&mut self) {
        self.commit.known.queues.clear();
        self.commit.known.terms.clear();
    }

    pub(crate) fn terms(&mut self, subscription: SubscriptionId) -> Outcome<Arc<Terms>> {
        if let Some(terms) = self.commit.known.terms.iter().find(|terms| terms.subscription == subscription) {
            return Ok(Arc::clone(terms));
        }
        let terms = self.row(sql::SUBSCRIPTION_TERMS, [subscription.0], |row| {
            Ok(Terms {
                subscription,
                queue: QueueId(row.get(0)?),
                semantics: semantics(row, 1)?,
                paused: row.get(2)?,
                ordered: row.get(3)?,
                effects: row.get(11)?,
                subscriptions: row.get(4)?,
                lease_ms: row.get(5)?,
                attempts_max: row.get(6)?,
                backoff: Backoff {
                    first: millis(row, 7)?,
                    factor: row.get(8)?,
                    cap: millis(row, 9)?,
                    jitter: row.get(10)?,
                },
            })
        })?;
        let terms = Arc::new(terms.ok_or_else(|| Error::not_found("the subscription no longer exists"))?);
        self.commit.known.terms.push(Arc::clone(&terms));
        Ok(terms)
    }

    /// The next id of a priority of a queue: past the last message of the lane, and past every one there ever was.
    pub(crate) fn next_id(&mut self, queue: QueueId, priority: u8) -> Outcome<i64> {
        let index = self.lane_tail(queue, priority)?;
        let tail = &mut self.commit.known.lanes[index];
        let id = tail.next;
        tail.next += 1;
        Ok(id)
    }

    /// Reserves, durably with this commit, the next ids of a priority of a queue whose messages may be handed over early.
    pub(crate) fn reserve_ids(&mut self, queue: QueueId, priority: u8) -> Outcome<()> {
        let Some(index) = self.find_tail(queue, priority)? else { return Ok(()) };
        let tail = &mut self.commit.known.lanes[index];
        if tail.next <= tail.reserved - IDS_RESERVED / 2 || tail.reserved == lane_end(tail.lane) {
            return Ok(());
        }
        tail.reserved = (tail.next + IDS_RESERVED).min(lane_end(tail.lane));
        let (lane, reserved) = (tail.lane, tail.reserved);
        self.run(sql::LANE_RESERVE, (lane, reserved))?;
        Ok(())
    }

    /// Checks, before anything is written, that `count` more ids can be given out.
    pub(crate) fn check_lanes_left(&mut self) -> Outcome<()> {
        let last: i64 = self.row(sql::LANE_LAST, [], |row| row.get(0))?.unwrap_or(0);
        // One send needs at most one new lane per priority.
        if last as u64 + u64::from(crate::limits::PRIORITY_MAX) + 1 > LANES_MAX {
            return Err(Error::new(
                crate::ErrorKind::Full,
                format!("the file has used {last} lanes; the limit is {LANES_MAX}"),
            )
            .into());
        }
        Ok(())
    }

    /// Whether a send of `count` messages at this priority stays within the lane that is open now.
    pub(crate) fn fits_lane(&mut self, queue: QueueId, priority: u8, count: usize) -> Outcome<bool> {
        let found = self.find_tail(queue, priority)?;
        Ok(found.is_some_and(|index| {
            let tail = &self.commit.known.lanes[index];
            tail.next + count as i64 <= lane_end(tail.lane)
        }))
    }

    fn find_tail(&mut self, queue: QueueId, priority: u8) -> Outcome<Option<usize>> {
        let known = self.commit.known.lanes.iter().position(|tail| tail.queue == queue && tail.priority == priority);
        if known.is_some() {
            return Ok(known);
        }
        let row = self.row(sql::LANE_TAIL, (queue.0, priority), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(row.map(|(lane, next, reserved)| {
            self.commit.known.lanes.push(LaneTail { queue, priority, lane, next, reserved });
            self.commit.known.lanes.len() - 1
        }))
    }

    fn lane_tail(&mut self, queue: QueueId, priority: u8) -> Outcome<usize> {
        if let Some(index) = self.find_tail(queue, priority)? {
            let tail = &self.commit.known.lanes[index];
            if tail.next < lane_end(tail.lane) {
                return Ok(index);
            }
            self.commit.known.lanes.remove(index);
        }
        let last: i64 = self.row(sql::LANE_LAST, [], |row| row.get(0))?.unwrap_or(0);
        let lane = last + 1;
        let next = MessageId::first_of(lane as u64).stored();
        self.run(sql::LANE_INSERT, (lane, queue.0, priority, next))?;
        for subscription in self.rows(sql::SUBSCRIPTION_IDS, [queue.0], |row| row.get::<_, i64>(0))? {
            self.insert_cursor(SubscriptionId(subscription), lane, next, 0)?;
        }
        self.commit.known.lanes.push(LaneTail { queue, priority, lane, next, reserved: 0 });
        Ok(self.commit.known.lanes.len() - 1)
    }

    /// A subscription's cursor in a lane. Its tokens begin where no other subscription's are, so that a receipt of one that
    /// was ended settles nothing of another that took its name.
    pub(crate) fn insert_cursor(&self, subscription: SubscriptionId, lane: i64, next: i64, gaps: i64) -> Outcome<()> {
        let first_token = (subscription.0 % TOKEN_RANGES) << TOKENS_BITS;
        self.run(sql::CURSOR_INSERT, (subscription.0, lane, next, gaps, first_token))?;
        Ok(())
    }

    /// Deletes a lane's messages. The lane remembers where it ended when the last of them goes, so that no id comes twice.
    pub(crate) fn delete_messages(&self, run: Interval) -> Outcome<()> {
        self.run(sql::MESSAGES_DELETE, (run.lo, run.hi))?;
        self.run(sql::LANE_NEXT_RAISE, (lane_of(run.lo), run.hi))?;
        Ok(())
    }

    pub(crate) fn wake(&mut self, queue: QueueId, subscriptions: u32, messages: usize) {
        let receivers = if subscriptions == 1 { u32::try_from(messages).unwrap_or(u32::MAX) } else { u32::MAX };
        match self.commit.wakes.iter_mut().find(|wake| wake.queue == queue) {
            Some(wake) => wake.receivers = wake.receivers.saturating_add(receivers),
            None => self.commit.wakes.push(Wake { queue, receivers }),
        }
    }
}

/// The id past the last one of a lane.
pub(crate) fn lane_end(lane: i64) -> i64 {
    (lane + 1) << 38
}

/// The lane of an id.
pub(crate) fn lane_of(id: i64) -> i64 {
    id >> 38
}

fn semantics(row: &Row<'_>, index: usize) -> rusqlite::Result<Semantics> {
    let stored: i64 = row.get(index)?;
    Semantics::from_stored(stored).ok_or(rusqlite::Error::IntegralValueOutOfRange(index, stored))
}

fn millis(row: &Row<'_>, index: usize) -> rusqlite::Result<std::time::Duration> {
    let stored: i64 = row.get(index)?;
    u64::try_from(stored)
        .map(std::time::Duration::from_millis)
        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(index, stored))
}
