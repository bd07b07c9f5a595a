//! The one connection that writes, and one commit on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use crate::clock::{Clock, Liveness, Random};
use crate::engine::bell::LOG_DAMAGED;
use crate::engine::context::{Commit, Context, Fault, HandedOver, Known};
use crate::engine::durable::{self, Durable, DurableTokens};
use crate::engine::execute::execute;
use crate::engine::foreign;
use crate::engine::guard::Guard;
use crate::engine::operation::{Operation, Reply};
use crate::engine::sending::Sending;
use crate::engine::settled::Settled;
use crate::engine::space;
use crate::engine::store_files::Opened;
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::failpoint;
use crate::storage::convert::{kind_of, storage_error};
use crate::sys::side::SideFile;
use crate::sys::version::data_version;
use crate::types::Millis;

pub(crate) const BEGIN: &str = "BEGIN IMMEDIATE";
pub(crate) const COMMIT: &str = "COMMIT";
pub(crate) const ROLLBACK: &str = "ROLLBACK";
/// Frames in the log that make a checkpoint worth its syncs: 4 MiB.
pub(crate) const CHECKPOINT_FRAMES: u64 = 1_000;
/// Frames more after which one is tried again that a reader kept from its end.
const CHECKPOINT_AGAIN_FRAMES: u64 = 200;
const CHECKPOINT_PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
const CHECKPOINT_RESTART: &str = "PRAGMA wal_checkpoint(RESTART)";

/// The writing connection and what belongs to it.
pub(crate) struct Writer {
    pub(crate) conn: Connection,
    pub(crate) opened: Option<Opened>,
    pub(crate) settled: Settled,
    /// The table of the messages of a send.
    pub(crate) sending: Sending,
    pub(crate) instance: i64,
    /// Frames in the log, as of this connection's last commit.
    pub(crate) frames: Arc<AtomicU64>,
    /// Keeps the application's statements from our tables.
    pub(crate) guard: Arc<Guard>,
    pub(crate) wal_bytes_max: u64,
    /// The messages that are on disk.
    durable: Durable,
    /// The reservations of ids that are on disk.
    reserved_ids: Durable,
    pub(crate) tokens: DurableTokens,
    /// What the last commit had read, and the version of the database that it left behind.
    known: Option<(u32, Known)>,
    /// What is known to be reserved on the disk.
    reserved: space::Reserved,
    /// Frames at which the log is next tried to be started over.
    checkpoint_at: u64,
}

/// What the outside world says, for one commit.
#[derive(Clone, Copy)]
pub(crate) struct Outside<'a> {
    pub(crate) now: Millis,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) random: &'a dyn Random,
    pub(crate) liveness: &'a dyn Liveness,
    pub(crate) side: &'a SideFile,
}

/// The answers to a group of operations, and what follows from their commit.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    pub(crate) answers: Vec<Result<Reply>>,
    pub(crate) commit: Commit,
    /// How many commits with sends there were with this one. None if nothing was committed.
    pub(crate) sent: Option<u32>,
}

impl Writer {
    pub(crate) fn new(
        conn: Connection,
        opened: Option<Opened>,
        frames: Arc<AtomicU64>,
        guard: Arc<Guard>,
        sending: Sending,
        wal_bytes_max: u64,
    ) -> Self {
        Writer {
            conn,
            opened,
            settled: Settled::default(),
            sending,
            instance: 0,
            frames,
            guard,
            wal_bytes_max,
            durable: Durable::default(),
            reserved_ids: Durable::default(),
            tokens: DurableTokens::default(),
            known: None,
            reserved: space::Reserved::default(),
            checkpoint_at: CHECKPOINT_FRAMES,
        }
    }

    /// Runs the operations in one commit. What SQLite fails on is tried once more by itself, so that one operation's
    /// trouble is not another's.
    pub(crate) fn run(&mut self, operations: &[Operation], outside: Outside<'_>) -> Committed {
        if self.log_is_full() {
            // The reader that made it so may have ended.
            self.checkpoint(outside.side, CHECKPOINT_PASSIVE);
        }
        match self.attempt(operations, outside) {
            Ok(committed) => committed,
            Err(error) if kind_of(&error) == Some(ErrorKind::Full) => {
                // The log may be full of frames that are no longer needed: start it over, in the space it has.
                self.checkpoint(outside.side, CHECKPOINT_RESTART);
                self.each(operations, outside)
            }
            Err(error) if operations.len() > 1 && kind_of(&error) != Some(ErrorKind::Busy) => {
                drop(error);
                self.each(operations, outside)
            }
            Err(error) => {
                let error = storage_error("writing", &error);
                Committed { answers: operations.iter().map(|_| Err(error.clone())).collect(), ..Committed::default() }
            }
        }
    }

    fn each(&mut self, operations: &[Operation], outside: Outside<'_>) -> Committed {
        let mut all = Committed::default();
        for operation in operations {
            match self.attempt(std::slice::from_ref(operation), outside) {
                Ok(one) => {
                    all.answers.extend(one.answers);
                    all.commit.needs_sync |= one.commit.needs_sync;
                    all.commit.awaits = one.commit.awaits.or(all.commit.awaits);
                    all.commit.wakes.extend(one.commit.wakes);
                    all.commit.tokens.extend(one.commit.tokens);
                    all.sent = one.sent.or(all.sent);
                }
                Err(error) => all.answers.push(Err(storage_error("writing", &error))),
            }
        }
        all
    }

    fn attempt(&mut self, operations: &[Operation], outside: Outside<'_>) -> rusqlite::Result<Committed> {
        let mut committed = Committed::default();
        self.begin()?;
        let known = self.known.take().filter(|(version, _)| data_version(&self.conn) == Some(*version));
        let alone = known.is_some();
        committed.commit.known = known.map(|(_, known)| known).unwrap_or_default();
        match self.fill(operations, outside, alone, &mut committed) {
            Ok(()) => {}
            Err(error) => {
                self.roll_back();
                return Err(error);
            }
        }
        let sent = self.count_sends(&committed.commit, outside.side);
        failpoint("counted");
        if let Err(error) = self.commit() {
            self.roll_back();
            return Err(error);
        }
        committed.sent = Some(sent);
        let known = std::mem::take(&mut committed.commit.known);
        self.known = data_version(&self.conn).filter(|_| known.is_small()).map(|version| (version, known));
        self.check_durable(&mut committed.commit, outside.side);
        self.settled.remember(std::mem::take(&mut committed.commit.settlements));
        Ok(committed)
    }

    /// `alone` says that nobody else has written since the last commit, and nothing through SQL.
    fn fill(
        &mut self,
        operations: &[Operation],
        outside: Outside<'_>,
        alone: bool,
        committed: &mut Committed,
    ) -> rusqlite::Result<()> {
        let added: u64 = operations.iter().map(Operation::bytes_added).sum();
        let room = if added > 0 { self.make_room(added) } else { Ok(()) };
        let parts = (outside.clock, outside.random, outside.liveness);
        let mut cx = Context::new(&self.conn, outside.now, parts, self.instance, &self.settled, &self.sending);
        cx.commit = std::mem::take(&mut committed.commit);
        if !alone {
            match foreign::absorb(&mut cx) {
                Ok(()) => {}
                Err(Fault::Failed(error)) => return Err(error),
                Err(Fault::Refused(error)) => unreachable!("invariant: what was done is not refused: {error}"),
            }
        }
        for operation in operations {
            if let (Err(full), true) = (&room, operation.bytes_added() > 0) {
                committed.answers.push(Err(full.clone()));
                continue;
            }
            match execute(&mut cx, operation) {
                Ok(reply) => committed.answers.push(Ok(reply)),
                Err(Fault::Refused(error)) => committed.answers.push(Err(error)),
                Err(Fault::Failed(error)) => return Err(error),
            }
        }
        let instance = cx.instance;
        committed.commit = cx.commit;
        self.instance = instance;
        Ok(())
    }

    fn log_is_full(&self) -> bool {
        self.opened.is_some() && self.frames.load(Ordering::Relaxed) * 4096 > self.wal_bytes_max
    }

    /// Makes sure that a commit that adds `bytes` finds room, without touching what is kept back for settling.
    pub(crate) fn make_room(&mut self, bytes: u64) -> Result<()> {
        let Some(opened) = &self.opened else { return Ok(()) };
        let frames = self.frames.load(Ordering::Relaxed);
        if self.log_is_full() {
            return Err(Error::new(
                ErrorKind::Full,
                format!(
                    "the write-ahead log has {} bytes; the limit is {}: a reader that does not end keeps it from \
                     starting over",
                    frames * 4096,
                    self.wal_bytes_max
                ),
            ));
        }
        space::reserve(&self.conn, opened, &mut self.reserved, bytes, frames)
    }

    pub(crate) fn begin(&self) -> rusqlite::Result<()> {
        self.conn.prepare_cached(BEGIN)?.execute([]).map(|_| ())
    }

    pub(crate) fn commit(&self) -> rusqlite::Result<()> {
        self.conn.prepare_cached(COMMIT)?.execute([]).map(|_| ())
    }

    pub(crate) fn roll_back(&self) {
        if !self.conn.is_autocommit() {
            // What cannot be rolled back was rolled back by SQLite itself.
            let _ = self.conn.execute_batch(ROLLBACK);
        }
    }

    /// Counts a commit with sends, before it is visible: in a file only, for in memory nothing is ever synced. Returns how many
    /// there are with it: SQLite's lock ends with the commit, and after it others may have counted what they are still to
    /// commit.
    pub(crate) fn count_sends(&self, commit: &Commit, side: &SideFile) -> u32 {
        if commit.sends && self.opened.is_some() {
            durable::count_sent(side, commit.together);
        }
        durable::sent(side)
    }

    /// After the commit, still under the write lock: what is handed over must be on disk.
    fn check_durable(&mut self, commit: &mut Commit, side: &SideFile) {
        if self.opened.is_none() || commit.lane_ends.is_empty() {
            return;
        }
        let (sent, synced) = (durable::sent(side), durable::synced(side));
        let lanes = &commit.lane_ends;
        self.durable.observe(sent, synced, lanes.iter().map(|lane| (lane.lane, lane.end)));
        self.reserved_ids.observe(sent, synced, lanes.iter().map(|lane| (lane.lane, lane.reserved)));
        let all_alone = durable::are_alone(side);
        let young = |one: &HandedOver| {
            let reserved = one.early && all_alone && self.reserved_ids.is_below(one.lane, one.id);
            !reserved && !self.durable.is_below(one.lane, one.id)
        };
        if sent != synced && commit.handed_over.iter().any(young) {
            commit.awaits = Some(sent);
        }
    }

    /// Starts the log over when it has grown enough, so that it is written over rather than made longer, which costs a
    /// sync about twice as much. Where a reader keeps it from that, it is tried again soon: readers come and go.
    pub(crate) fn tend_log(&mut self, side: &SideFile) {
        let frames = self.frames.load(Ordering::Relaxed);
        if frames < self.checkpoint_at {
            self.checkpoint_at = self.checkpoint_at.min(CHECKPOINT_FRAMES.max(frames + CHECKPOINT_AGAIN_FRAMES));
            return;
        }
        self.checkpoint(side, CHECKPOINT_PASSIVE);
        let left = self.frames.load(Ordering::Relaxed);
        self.checkpoint_at = if left == 0 { CHECKPOINT_FRAMES } else { left + CHECKPOINT_AGAIN_FRAMES };
    }

    fn checkpoint(&self, side: &SideFile, sql: &'static str) {
        // Half a checkpoint of a log that is not on disk would be worse than none.
        if durable::log_is_damaged(side) {
            return;
        }
        let done = self.conn.prepare_cached(sql).and_then(|mut statement| {
            statement.query_row([], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
        });
        match done {
            // The next commit starts the log over.
            Ok((frames, moved)) if frames == moved => self.frames.store(0, Ordering::Relaxed),
            // Perhaps of the log: what the kernel then holds for written is not.
            Err(rusqlite::Error::SqliteFailure(error, _))
                if error.extended_code == rusqlite::ffi::SQLITE_IOERR_FSYNC =>
            {
                side.word(LOG_DAMAGED).store(1, Ordering::SeqCst);
            }
            _ => {}
        }
    }
}
