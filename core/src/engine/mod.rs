//! The engine: takes operations, runs those that wait together in one commit, syncs where a promise needs it, answers.
//!
//! Owns the connections of an open store and the order of everything that is written. Rules live in `rules`, statements in
//! `sql`; what an operation does to the tables is one small module each.

#[cfg(feature = "tokio")]
pub(crate) mod background;
pub(crate) mod bell;
mod clear;
mod context;
mod durable;
pub(crate) mod effect;
mod execute;
mod foreign;
mod guard;
pub(crate) mod housekeeping;
mod leader;
mod letters;
mod manage;
pub(crate) mod operation;
mod order;
pub(crate) mod pending;
pub(crate) mod read;
mod receive;
mod send;
#[allow(unsafe_code, reason = "a table of SQLite's is laid out as SQLite asks; nothing else in it is unsafe")]
mod sending;
pub(crate) mod settle;
mod settled;
mod space;
mod sql;
mod store_files;
mod sweep;
mod sync;
mod threads;
mod unfinished;
pub(crate) mod user_transaction;
pub(crate) mod watcher;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::hooks::AuthContext;

use crate::clock::{Clock, Liveness, Random};
use crate::engine::effect::recorder::{Recorder, Slot};
use crate::engine::guard::Guard;
use crate::engine::leader::{Finished, Run, Turn};
use crate::engine::operation::{Operation, Reply};
use crate::engine::sending::Sending;
use crate::engine::store_files::{OpenedFile, SlotLiveness, StoreFiles, io_error};
use crate::engine::sync::SyncStage;
use crate::engine::user_transaction::Running;
use crate::engine::writer::{Outside, Writer};
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::failpoint;
use crate::limits::STORES_MAX;
use crate::process_mutex::check_generation;
use crate::storage::connection::{self, Patience, Role};
use crate::storage::convert::storage_error;
use crate::storage::schema;
use crate::store::{IN_MEMORY, StoreOptions};
use crate::sys::fork;
use crate::sys::side::SideFile;

/// Operations in one commit: enough to share its cost, few enough that no other process waits long.
const OPERATIONS_PER_COMMIT: usize = 256;
/// Bytes in one commit, unless a single operation has more.
const BYTES_PER_COMMIT: u64 = 8 << 20;

/// How long a receive waits for the sync of whoever sent what it hands over, before it syncs by itself.
const OTHERS_SYNC_MAX: Duration = Duration::from_millis(3);

/// How long closing waits for other writers.
const CLOSING_PATIENCE: Duration = Duration::from_millis(100);

/// An open store's engine, shared by every handle.
pub(crate) struct Engine {
    pub(crate) options: StoreOptions,
    pub(crate) files: StoreFiles,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    liveness: Arc<dyn Liveness>,
    /// The process that opened the store, as the number of forks before it.
    generation: u32,
    instance: AtomicI64,
    closed: AtomicBool,
    detached: AtomicBool,
    turn: Turn,
    writer: Mutex<Option<Writer>>,
    reader: Mutex<Option<Connection>>,
    sync: SyncStage,
    /// The write-ahead log, for syncs outside the write lock; none in memory.
    log: Option<Arc<OpenedFile>>,
    /// The count of commits with sends, as of this store's last commit.
    last_sent: AtomicU32,
    pub(crate) frames: Arc<AtomicU64>,
    running: Mutex<Option<Running>>,
    pub(crate) patience: Patience,
    pub(crate) house: housekeeping::House,
    pub(crate) recorder: Recorder,
    pub(crate) watcher: watcher::Watcher,
    #[cfg(feature = "tokio")]
    pub(crate) background: background::Background,
}

impl Engine {
    /// Opens the file, or a store in memory, and starts housekeeping.
    pub(crate) fn open(path: Option<&Path>, options: StoreOptions) -> Result<Arc<Self>> {
        let files = StoreFiles::prepare(path, &options)?;
        let side = Arc::clone(&files.side);
        let place = files.path.as_deref().unwrap_or(Path::new(IN_MEMORY));
        let guard = side.open_guard(options.busy_timeout).map_err(|error| io_error("opening", place, error))?;
        let slot = files.side.claim_slot().map_err(|error| {
            Error::with_source(ErrorKind::Storage, format!("claiming a slot in the side file: {error}"), error)
        })?;
        let slot = slot.ok_or_else(|| {
            Error::new(ErrorKind::Busy, format!("the file is open in {STORES_MAX} stores; that is the limit"))
        })?;
        let held = Slot::new(Arc::clone(&files.side), slot);
        let frames = Arc::new(AtomicU64::new(0));
        let patience = Patience::new(options.busy_timeout);
        let writer = open_writer(&files, &options, &frames, &patience)?;
        let reader = match &files.path {
            Some(path) => Some(connection::open(Some(path), Role::Reader, &patience)?),
            None => None,
        };
        let log = writer.opened.as_ref().map(|opened| Arc::clone(&opened.wal));
        let only_one = is_only_one(&files.side, slot);
        let liveness: Arc<dyn Liveness> = match &options.liveness {
            Some(liveness) => Arc::clone(liveness),
            None => Arc::new(SlotLiveness { side: Arc::clone(&files.side) }),
        };
        let engine = Arc::new(Engine {
            clock: Arc::clone(&options.clock),
            random: Arc::clone(&options.random),
            liveness,
            generation: fork::generation(),
            instance: AtomicI64::new(0),
            closed: AtomicBool::new(false),
            detached: AtomicBool::new(false),
            turn: Turn::new(),
            writer: Mutex::new(Some(writer)),
            reader: Mutex::new(reader),
            sync: SyncStage::default(),
            log,
            last_sent: AtomicU32::new(0),
            frames,
            running: Mutex::new(None),
            patience,
            house: housekeeping::House::new(),
            recorder: Recorder::new(held),
            watcher: watcher::Watcher::default(),
            #[cfg(feature = "tokio")]
            background: background::Background::default(),
            files,
            options,
        });
        match engine.call(Operation::Register { slot, process: std::process::id(), only_one })? {
            Reply::Instance(instance) => engine.instance.store(instance, Ordering::Relaxed),
            other => return other.unexpected("an instance"),
        }
        // Before it, nobody else may send or receive: what a power loss left open is settled with the registration.
        drop(guard);
        housekeeping::start(&engine)?;
        Ok(engine)
    }

    /// Runs an operation: this thread waits, or leads.
    pub(crate) fn call(&self, operation: Operation) -> Result<Reply> {
        self.check_usable()?;
        self.check_no_transaction_here()?;
        self.turn.call(operation, self.patience.get(), self)
    }

    /// The same for housekeeping, which has other things to do than to wait for a transaction of the application.
    pub(crate) fn call_briefly(&self, operation: Operation) -> Result<Reply> {
        self.check_usable()?;
        self.turn.call(operation, housekeeping::WATCH_EVERY, self)
    }

    /// Runs an operation elsewhere and hands its answer to `completion`.
    #[cfg(feature = "tokio")]
    pub(crate) fn submit(self: &Arc<Self>, operation: Operation, completion: leader::Completion) -> Result<()> {
        self.check_usable()?;
        self.background.submit(self, operation, completion)
    }

    /// Makes everything durable that is committed, by whomever.
    pub(crate) fn sync_now(&self) -> Result<()> {
        self.ensure_synced(self.sync.committed())
    }

    /// Offers again what dead stores held, and finds their calls in doubt, if there are any dead.
    pub(crate) fn look_for_dead(&self) -> Result<()> {
        let instance = self.instance();
        let others = self.read(|conn| {
            let mut statement = conn.prepare_cached(sql::INSTANCES_OTHER)?;
            let slots = statement.query_map([instance], |row| row.get::<_, u32>(1))?;
            slots.collect::<rusqlite::Result<Vec<u32>>>()
        })?;
        if others.into_iter().any(|slot| !self.liveness.is_alive(slot)) {
            self.call(Operation::Reclaim)?;
        }
        Ok(())
    }

    pub(crate) fn now(&self) -> crate::types::Millis {
        self.clock.now()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Whether this process is a fork of the one that opened the store.
    pub(crate) fn is_forked(&self) -> bool {
        self.generation != fork::generation()
    }

    pub(crate) fn check_process(&self) -> Result<()> {
        check_generation(self.generation)
    }

    pub(crate) fn check_usable(&self) -> Result<()> {
        self.check_process()?;
        if self.is_closed() {
            return Err(Error::new(ErrorKind::Closed, "the store is closed"));
        }
        if self.detached.load(Ordering::SeqCst) {
            return Err(self.detached_error());
        }
        Ok(())
    }

    fn detached_error(&self) -> Error {
        let path = self.files.path.as_deref().unwrap_or(Path::new(IN_MEMORY));
        Error::new(
            ErrorKind::Detached,
            format!(
                "{}, its -wal or its -onceward was moved, deleted or replaced while the store was open; what was not \
                 acknowledged before may be lost",
                path.display()
            ),
        )
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a read. In memory there is one connection only; in a file readers have their own.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        self.check_usable()?;
        self.absorb_foreign();
        let gone = || Error::new(ErrorKind::Closed, "the store is closed");
        let outcome = if self.files.path.is_some() {
            let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            read(reader.as_ref().ok_or_else(gone)?)
        } else {
            read(&self.writer().as_ref().ok_or_else(gone)?.conn)
        };
        outcome.map_err(|error| storage_error("reading", &error))
    }

    /// Deals with what programs did through SQL since the last commit, unless others are writing: then theirs does.
    pub(crate) fn absorb_foreign(&self) {
        let any = {
            let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            let exists = |conn: &Connection| conn.prepare_cached(sql::ANY_FOREIGN)?.exists([]);
            reader.as_ref().is_some_and(|conn| matches!(exists(conn), Ok(true)))
        };
        if any {
            // Should it fail, the next commit does it.
            let _ = self.call_briefly(Operation::Absorb);
        }
    }

    /// The writing connection, unless somebody is writing.
    pub(crate) fn try_writer(&self) -> std::result::Result<MutexGuard<'_, Option<Writer>>, ()> {
        match self.writer.try_lock() {
            Ok(guard) => Ok(guard),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => Err(()),
        }
    }

    /// This store's number among those that were ever open on the file.
    pub(crate) fn instance(&self) -> i64 {
        self.instance.load(Ordering::Relaxed)
    }

    /// Whether a query for the time `now` finds anything.
    pub(crate) fn any(&self, sql: &'static str, now: i64) -> bool {
        let found = self.read(|conn| {
            use rusqlite::OptionalExtension;
            conn.prepare_cached(sql)?.query_row([now], |_| Ok(())).optional()
        });
        matches!(found, Ok(Some(())))
    }

    pub(crate) fn side(&self) -> &SideFile {
        &self.files.side
    }

    fn commit_chunk(&self, operations: &[Operation], finished: &mut Finished) {
        let refuse = |finished: &mut Finished, error: Error| {
            finished.answers.extend(operations.iter().map(|_| Err(error.clone())));
        };
        let guard = match self.files.side.write_lock(self.patience.get()) {
            Ok(Some(guard)) => guard,
            Ok(None) => return refuse(finished, self.busy_error()),
            Err(error) => {
                let text = format!("taking the write lock: {error}");
                return refuse(finished, Error::with_source(ErrorKind::Storage, text, error));
            }
        };
        let mut writer = self.writer();
        let Some(writer) = writer.as_mut() else {
            return refuse(finished, Error::new(ErrorKind::Closed, "the store is closed"));
        };
        let outside = Outside {
            now: self.clock.now(),
            clock: &*self.clock,
            random: &*self.random,
            liveness: &*self.liveness,
            side: self.side(),
        };
        // A panic is a bug of ours; it must not leave the callers of a whole group waiting for ever.
        let run = std::panic::AssertUnwindSafe(|| writer.run(operations, outside));
        let Ok(committed) = std::panic::catch_unwind(run) else {
            writer.roll_back();
            return refuse(finished, Error::new(ErrorKind::Storage, "invariant: an operation panicked"));
        };
        let number = self.committed(committed.sent);
        let tokens = &committed.commit.tokens;
        let tokens_unsafe = writer.opened.is_some()
            && !tokens.is_empty()
            && writer.tokens.must_sync(number, self.sync.synced(), tokens);
        drop(guard);
        // First of all, and before the sync: who wakes looks while it runs, and waits for its end before it hands anything
        // over.
        bell::ring(self.side(), &committed.commit.wakes);
        finished.answers.extend(committed.answers.into_iter().map(|answer| match answer {
            Err(error) if error.kind() == ErrorKind::Busy => Err(self.busy_error()),
            answer => answer,
        }));
        if let Some(sent) = committed.commit.awaits {
            finished.awaits = Some((sent, number));
        }
        if committed.commit.needs_sync || tokens_unsafe {
            finished.sync = Some(number);
        }
        if let Some(opened) = &writer.opened
            && !opened.still_attached(self.side())
        {
            self.detached.store(true, Ordering::SeqCst);
            let error = self.detached_error();
            for answer in &mut finished.answers {
                *answer = Err(error.clone());
            }
        }
        writer.tend_log(self.side());
    }

    /// Counts a commit, after which a sync covers `sent` commits with sends, if it did commit anything.
    fn committed(&self, sent: Option<u32>) -> u64 {
        if let Some(sent) = sent {
            self.last_sent.store(sent, Ordering::SeqCst);
        }
        self.sync.committed()
    }

    pub(crate) fn busy_error(&self) -> Error {
        Error::new(
            ErrorKind::Busy,
            format!("others kept the file locked for {:?}; nothing was written", self.options.busy_timeout),
        )
    }

    /// Waits until the commit with this number is on disk.
    pub(crate) fn ensure_synced(&self, commit: u64) -> Result<()> {
        match &self.log {
            Some(log) => self.sync.ensure(commit, || self.sync_log(log)),
            None => Ok(()),
        }
    }

    fn sync_log(&self, log: &OpenedFile) -> std::io::Result<()> {
        let damaged = self.side().word(bell::LOG_DAMAGED);
        if damaged.load(Ordering::SeqCst) != 0 {
            return self.rescue_log(log);
        }
        let sent = self.last_sent.load(Ordering::SeqCst);
        failpoint("log-sync");
        match log.file.sync_data() {
            Ok(()) if damaged.load(Ordering::SeqCst) == 0 => {
                durable::note_synced(self.side(), sent);
                Ok(())
            }
            // Another process's sync of the same pages failed meanwhile, and the kernel told only that one.
            Ok(()) => self.rescue_log(log),
            Err(error) => {
                damaged.store(1, Ordering::SeqCst);
                self.rescue_log(log).map_err(|_| error)
            }
        }
    }

    /// After a failed sync the kernel may hold for clean what never reached the disk, and no later sync can be believed,
    /// of any process. So the log is written once more, as it stands, and synced; until that works nothing is answered.
    fn rescue_log(&self, log: &OpenedFile) -> std::io::Result<()> {
        let busy = || std::io::Error::from(std::io::ErrorKind::ResourceBusy);
        let turn = self.files.side.write_lock(self.patience.get())?;
        let writer = self.writer();
        let writer = writer.as_ref().ok_or_else(busy)?;
        if turn.is_none() || !writer.conn.is_autocommit() {
            return Err(busy());
        }
        writer.begin().map_err(std::io::Error::other)?;
        // Under SQLite's lock, as for every commit.
        let sent = durable::sent(self.side());
        let rescued = log.file.rewrite();
        writer.roll_back();
        rescued?;
        self.side().word(bell::LOG_DAMAGED).store(0, Ordering::SeqCst);
        durable::note_synced(self.side(), sent);
        Ok(())
    }

    /// Closes: what this store held is offered again, and every handle answers `Closed` from then on.
    pub(crate) fn close(&self) -> Result<()> {
        if self.is_forked() || self.is_closed() {
            return Ok(());
        }
        self.abandon_transaction("the store was closed");
        self.record_again();
        // Should others keep the file busy, the slot's lock tells all the same that this store is gone.
        self.patience.set(CLOSING_PATIENCE.min(self.options.busy_timeout));
        let released = self.turn.call(Operation::Unregister, self.patience.get(), self);
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        // One may have begun since; from here on none does.
        self.abandon_transaction("the store was closed");
        self.house.stop();
        // Whoever sleeps for a message looks again, and finds the store closed.
        self.house.wake_sleepers(self.side());
        self.watcher.stop(self.side());
        #[cfg(feature = "tokio")]
        self.background.stop(self.side());
        drop(self.reader.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(self.writer().take());
        self.recorder.close();
        match released {
            Err(error) if !matches!(error.kind(), ErrorKind::Detached | ErrorKind::Full | ErrorKind::Busy) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

impl Run for Engine {
    fn commit(&self, operations: &[Operation]) -> Finished {
        let mut finished = Finished { answers: Vec::with_capacity(operations.len()), sync: None, awaits: None };
        let mut rest = operations;
        while !rest.is_empty() {
            let (mut count, mut bytes) = (0, 0);
            while count < rest.len().min(OPERATIONS_PER_COMMIT) && (count == 0 || bytes < BYTES_PER_COMMIT) {
                bytes += rest[count].bytes_added();
                count += 1;
            }
            let (chunk, after) = rest.split_at(count);
            self.commit_chunk(chunk, &mut finished);
            rest = after;
        }
        finished
    }

    fn finish(&self, finished: &mut Finished) {
        failpoint("before-sync");
        // Chunks of one group may ask for both: a sync that was to cover an earlier chunk says nothing of a later one.
        if let Some((sent, number)) = finished.awaits
            && finished.sync.is_none_or(|sync| sync < number)
            && !durable::await_synced(self.side(), sent, OTHERS_SYNC_MAX)
        {
            finished.sync = Some(number);
        }
        if let Some(number) = finished.sync
            && let Err(error) = self.ensure_synced(number)
        {
            for answer in finished.answers.iter_mut().filter(|answer| answer.is_ok()) {
                *answer = Err(error.clone());
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.is_forked() {
            // The connections are the parent's: closing them here would touch its file. The child leaks them.
            std::mem::forget(self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take());
            std::mem::forget(self.reader.get_mut().unwrap_or_else(PoisonError::into_inner).take());
            self.house.forget();
            self.watcher.forget();
            #[cfg(feature = "tokio")]
            self.background.forget();
            return;
        }
        // A store that nobody closed is closed as well as it can be.
        let _ = self.close();
    }
}

fn open_writer(
    files: &StoreFiles,
    options: &StoreOptions,
    frames: &Arc<AtomicU64>,
    patience: &Patience,
) -> Result<Writer> {
    let mut conn = connection::open(files.path.as_deref(), Role::Writer, patience)?;
    schema::migrate(&conn)?;
    let seen = Arc::clone(frames);
    conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: std::os::raw::c_int| {
        seen.store(u64::try_from(pages).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }))
    .map_err(|error| storage_error("watching the log", &error))?;
    let guard = Arc::new(Guard::default());
    let authorizer = Arc::clone(&guard);
    conn.authorizer(Some(move |context: AuthContext<'_>| authorizer.check(&context)))
        .map_err(|error| storage_error("guarding the tables", &error))?;
    let sending = Sending::attach(&conn).map_err(|error| storage_error("adding a table of what is sent", &error))?;
    let opened = match &files.path {
        Some(path) => Some(StoreFiles::opened(path, options.allow_remote_file_system)?),
        None => None,
    };
    Ok(Writer::new(conn, opened, Arc::clone(frames), guard, sending, options.wal_bytes_max))
}

/// Whether no other store has the file open. Then there may have been a power loss since the last one did.
fn is_only_one(side: &SideFile, slot: u32) -> bool {
    (0..STORES_MAX as u32).filter(|other| *other != slot).all(|other| !side.is_slot_held(other).unwrap_or(true))
}

/// How long a receiver sleeps at most before it looks again by itself, whatever it was told.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(1);
