//! Opening a store, and what concerns the whole file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Liveness, Random, SeededRandom, SystemClock};
use crate::engine::Engine;
use crate::engine::operation::{Operation, Reply};
use crate::engine::read;
use crate::error::{Error, Result};
use crate::limits::{BODY_BYTES_MAX, BODY_BYTES_MAX_DEFAULT, WAIT_MAX};
use crate::queue::{self, Queue, QueueOptions};
use crate::semantics::Semantics;
use crate::transaction::Transaction;
use crate::types::check_name;

/// The path that opens a store in memory, for tests: it has every promise but durability, and ends with its last handle.
pub const IN_MEMORY: &str = ":memory:";

/// The shortest log limit: below it ordinary work would be refused.
const WAL_BYTES_MAX_LEAST: u64 = 32 << 20;
const WAL_BYTES_MAX_DEFAULT: u64 = 256 << 20;
const BUSY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const TRANSACTION_TIME_LIMIT_LEAST: Duration = Duration::from_millis(1);
const TRANSACTION_TIME_LIMIT_DEFAULT: Duration = Duration::from_secs(5);

/// How to open a store.
#[derive(Clone)]
pub struct StoreOptions {
    pub(crate) busy_timeout: Duration,
    pub(crate) body_bytes_max: usize,
    pub(crate) wal_bytes_max: u64,
    pub(crate) allow_remote_file_system: bool,
    pub(crate) create: bool,
    pub(crate) transaction_time_limit: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) liveness: Option<Arc<dyn Liveness>>,
}

impl StoreOptions {
    /// The defaults.
    pub fn new() -> Self {
        StoreOptions {
            busy_timeout: BUSY_TIMEOUT_DEFAULT,
            body_bytes_max: BODY_BYTES_MAX_DEFAULT,
            wal_bytes_max: WAL_BYTES_MAX_DEFAULT,
            allow_remote_file_system: false,
            create: true,
            transaction_time_limit: TRANSACTION_TIME_LIMIT_DEFAULT,
            clock: Arc::new(SystemClock),
            random: Arc::new(SeededRandom::from_entropy()),
            liveness: None,
        }
    }

    /// How long a call waits for other writers before it fails with `Busy`. Default: 5 s.
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// The longest body that this store sends, in bytes. Default: 1 MiB; at most 256 MiB.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// The write-ahead log's size past which sends fail with `Full`, in bytes. It starts over by itself long before, unless
    /// a reader that does not end keeps it from that. Default: 256 MiB; at least 32 MiB.
    #[must_use]
    pub fn wal_bytes_max(mut self, bytes: u64) -> Self {
        self.wal_bytes_max = bytes;
        self
    }

    /// Opens the file even on NFS, SMB and the like, where a write-ahead log is safe for processes of one machine at best.
    #[must_use]
    pub fn allow_remote_file_system(mut self, allow: bool) -> Self {
        self.allow_remote_file_system = allow;
        self
    }

    /// Whether a missing file is created, with mode 0600. Default: yes.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// How long a transaction of the application may run from its first statement on. Default: 5 s.
    #[must_use]
    pub fn transaction_time_limit(mut self, limit: Duration) -> Self {
        self.transaction_time_limit = limit;
        self
    }

    /// Where the time comes from. Default: the system's clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Where the jitter of backoff comes from. Default: a generator seeded at random.
    #[must_use]
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// Who is alive. Default: whoever holds the operating system's lock on its slot.
    #[must_use]
    pub fn liveness(mut self, liveness: Arc<dyn Liveness>) -> Self {
        self.liveness = Some(liveness);
        self
    }

    /// Opens the store.
    ///
    /// # Errors
    /// `Invalid` for a directory, for another application's file, or for an option out of range; `NotFound` for a missing
    /// folder, or a missing file that is not to be created; `Denied` without permission or for a read-only file; `Corrupt`
    /// for a file that is no SQLite database or is damaged; `Unsupported` for a newer format or a remote file system;
    /// `Busy` when others keep the file busy, or have begun to open it and not finished.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Store> {
        self.check()?;
        let path = path.as_ref();
        let engine = Engine::open((path != Path::new(IN_MEMORY)).then_some(path), self)?;
        Ok(Store { engine })
    }

    fn check(&self) -> Result<()> {
        if self.body_bytes_max > BODY_BYTES_MAX {
            return Err(Error::invalid(format!(
                "body_bytes_max is {}; the limit is {BODY_BYTES_MAX}",
                self.body_bytes_max
            )));
        }
        if self.wal_bytes_max < WAL_BYTES_MAX_LEAST {
            return Err(Error::invalid(format!(
                "wal_bytes_max is {}; it takes at least {WAL_BYTES_MAX_LEAST}",
                self.wal_bytes_max
            )));
        }
        for (name, value) in
            [("busy_timeout", self.busy_timeout), ("transaction_time_limit", self.transaction_time_limit)]
        {
            if value > WAIT_MAX {
                return Err(Error::invalid(format!("{name} is {value:?}; the limit is {WAIT_MAX:?}")));
            }
        }
        if self.transaction_time_limit < TRANSACTION_TIME_LIMIT_LEAST {
            return Err(Error::invalid(format!(
                "transaction_time_limit is {:?}; it takes at least {TRANSACTION_TIME_LIMIT_LEAST:?}",
                self.transaction_time_limit
            )));
        }
        Ok(())
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("busy_timeout", &self.busy_timeout)
            .field("body_bytes_max", &self.body_bytes_max)
            .field("wal_bytes_max", &self.wal_bytes_max)
            .field("allow_remote_file_system", &self.allow_remote_file_system)
            .field("create", &self.create)
            .field("transaction_time_limit", &self.transaction_time_limit)
            .finish_non_exhaustive()
    }
}

/// What can be said of the whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// The database's size on disk, in bytes; in memory, of its pages.
    pub file_bytes: u64,
    /// The size of the part of the write-ahead log in use, in bytes.
    pub wal_bytes: u64,
    /// Effects at third parties whose outcome is not known.
    pub in_doubt: u64,
    /// The number of queues.
    pub queues: u64,
    /// The version of SQLite inside.
    pub sqlite_version: String,
}

/// An open store: one SQLite file with its queues and its ledger. Cheap to clone; every clone is the same store.
///
/// It may be shared between threads. It belongs to the process that opened it: in a forked child every call fails with
/// `Closed`, and the child opens its own.
///
/// ```
/// use onceward::{Semantics, Store};
/// use std::time::Duration;
///
/// let store = Store::open(":memory:")?;
/// let jobs = store.queue("jobs", Semantics::AtLeastOnce)?;
/// jobs.send("hello")?;
/// let delivery = jobs.receive(Duration::ZERO)?.expect("just sent");
/// assert_eq!(delivery.body(), b"hello");
/// delivery.ack()?;
/// # Ok::<(), onceward::Error>(())
/// ```
#[derive(Clone)]
pub struct Store {
    pub(crate) engine: Arc<Engine>,
}

impl Store {
    /// Opens the file, creating it where it is missing, with the default [`StoreOptions`]. `:memory:` opens a store in memory.
    ///
    /// # Errors
    /// As [`StoreOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Store> {
        StoreOptions::new().open(path)
    }

    /// Opens the queue, creating it where it is missing.
    ///
    /// # Errors
    /// `Conflict` when the queue exists with other semantics; `Invalid` for an empty or over-long name.
    pub fn queue(&self, name: &str, semantics: Semantics) -> Result<Queue> {
        self.queue_with(name, semantics, QueueOptions::new())
    }

    /// Opens the queue, creating it where it is missing. Options that are set are stored in the file; the others stay.
    ///
    /// # Errors
    /// As [`Store::queue`], and `Invalid` for an option out of range.
    pub fn queue_with(&self, name: &str, semantics: Semantics, options: QueueOptions) -> Result<Queue> {
        self.queue_as(name, Some(semantics), options)
    }

    /// Opens a queue that exists, with the semantics it has.
    ///
    /// # Errors
    /// `NotFound` when there is none of that name.
    pub fn open_queue(&self, name: &str) -> Result<Queue> {
        self.queue_as(name, None, QueueOptions::new())
    }

    /// Opens a queue that exists and stores the options that are set.
    ///
    /// # Errors
    /// `NotFound` when there is none of that name; `Invalid` for an option out of range.
    pub fn open_queue_with(&self, name: &str, options: QueueOptions) -> Result<Queue> {
        self.queue_as(name, None, options)
    }

    fn queue_as(&self, name: &str, semantics: Option<Semantics>, options: QueueOptions) -> Result<Queue> {
        check_name("queue name", name)?;
        options.check()?;
        if !options.is_set() {
            // A queue that is there already is opened without waiting for anybody who writes.
            if let Some((id, found)) = self.engine.read(|conn| read::queue(conn, name))? {
                queue::check_semantics(name, found, semantics)?;
                return Ok(Queue::new(Arc::clone(&self.engine), id, name, found));
            }
            if semantics.is_none() {
                return Err(Error::not_found(format!("there is no queue {name:?}")));
            }
        }
        let operation = Operation::OpenQueue { name: name.to_owned(), semantics, options: Box::new(options) };
        match self.engine.call(operation)? {
            Reply::Queue { id, semantics } => Ok(Queue::new(Arc::clone(&self.engine), id, name, semantics)),
            other => other.unexpected("a queue"),
        }
    }

    /// The names of all queues, sorted.
    pub fn queues(&self) -> Result<Vec<String>> {
        self.engine.read(read::queue_names)
    }

    /// Begins a transaction: the application's SQL, sends and acknowledgements in one commit. Nothing is locked before its
    /// first statement.
    pub fn transaction(&self) -> Result<Transaction> {
        self.engine.check_usable()?;
        Ok(Transaction::new(Arc::clone(&self.engine), None))
    }

    /// Statistics of the whole file.
    pub fn stats(&self) -> Result<StoreStats> {
        let frames = self.engine.frames.load(std::sync::atomic::Ordering::Relaxed);
        self.engine.read(|conn| read::store_stats(conn, frames))
    }

    /// The file's path; `:memory:` for a store in memory.
    pub fn path(&self) -> PathBuf {
        self.engine.files.path.clone().unwrap_or_else(|| PathBuf::from(IN_MEMORY))
    }

    /// Closes the store for every handle made from it: what it held in flight is offered again, and every later call
    /// fails with `Closed`. Closing again does nothing.
    pub fn close(&self) -> Result<()> {
        self.engine.close()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path()).field("closed", &self.engine.is_closed()).finish()
    }
}
