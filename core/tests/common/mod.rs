//! What the tests share: a store with a clock that stands still, and short ways to say what they mean.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use onceward::{
    Delivery, Error, ErrorKind, Liveness, ManualClock, Message, MessageId, Millis, Nack, Queue, QueueOptions, Receipt,
    ReceiveOptions, Result, SeededRandom, Semantics, Store, StoreOptions, Subscription,
};

/// Where every manual clock begins.
pub(crate) const START: Millis = Millis::new(1_000_000_000_000);
/// The seed of the jitter wherever a test does not choose its own.
pub(crate) const SEED: u64 = 42;
/// Longer than anything takes here; a wait that lasts this long is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// The smallest step of a store's time.
pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);

/// The last moment before `wait` is over.
pub(crate) fn almost(wait: Duration) -> Duration {
    wait.saturating_sub(MILLISECOND)
}

/// A folder that is removed when the test ends; in memory where the machine has a file system for that.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder for the test")
}

/// A store on a file of its own, and the clock that it goes by.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) path: PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|options| options)
    }

    pub(crate) fn with(adjust: impl FnOnce(StoreOptions) -> StoreOptions) -> Self {
        let folder = folder();
        let path = folder.path().join("app.db");
        let clock = Arc::new(ManualClock::new(START));
        let store = adjust(options(&clock)).open(&path).expect("the store opens");
        World { store, clock, path, _folder: folder }
    }

    /// One more store on the same file, with the same clock.
    pub(crate) fn another(&self) -> Store {
        options(&self.clock).open(&self.path).expect("the file opens again")
    }

    pub(crate) fn at_least_once(&self, name: &str) -> Queue {
        self.store.queue(name, Semantics::AtLeastOnce).expect("the queue opens")
    }

    pub(crate) fn at_least_once_with(&self, name: &str, options: QueueOptions) -> Queue {
        self.store.queue_with(name, Semantics::AtLeastOnce, options).expect("the queue opens")
    }

    /// A look at the file with a connection of the test's own. It has the same SQLite and so the same locks.
    pub(crate) fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(&self.path).expect("the file opens")
    }

    /// The number of rows that a query finds.
    pub(crate) fn count(&self, from: &str) -> i64 {
        self.sql()
            .query_row(&format!("SELECT count(*) FROM {from}"), [], |row| row.get(0))
            .unwrap_or_else(|error| panic!("{from}: {error}"))
    }

    /// How many messages the file holds.
    pub(crate) fn rows(&self) -> i64 {
        self.count("onceward_message")
    }
}

pub(crate) fn options(clock: &Arc<ManualClock>) -> StoreOptions {
    StoreOptions::new().clock(Arc::clone(clock) as Arc<_>).random(Arc::new(SeededRandom::new(SEED)))
}

/// A process that the test declares dead, by the slot of its store.
#[derive(Default)]
pub(crate) struct Obituaries {
    dead: Mutex<Vec<u32>>,
}

impl Obituaries {
    pub(crate) fn add(&self, slot: u32) {
        self.dead.lock().expect("no test thread panicked").push(slot);
    }

    pub(crate) fn clear(&self) {
        self.dead.lock().expect("no test thread panicked").clear();
    }
}

impl Liveness for Obituaries {
    fn is_alive(&self, slot: u32) -> bool {
        !self.dead.lock().expect("no test thread panicked").contains(&slot)
    }
}

/// Up to `max` messages of the default subscription, without waiting.
#[track_caller]
pub(crate) fn take(queue: &Queue, max: usize) -> Vec<Delivery> {
    queue.receive_many(&ReceiveOptions::new().max(max)).expect("receives")
}

/// Up to `max` messages, without waiting.
#[track_caller]
pub(crate) fn take_of(subscription: &Subscription, max: usize) -> Vec<Delivery> {
    subscription.receive_many(&ReceiveOptions::new().max(max)).expect("receives")
}

/// The one message that is there.
#[track_caller]
pub(crate) fn take_one(queue: &Queue) -> Delivery {
    let mut taken = take(queue, 2);
    assert_eq!(taken.len(), 1, "exactly one message is to be had, not {:?}", bodies(&taken));
    taken.remove(0)
}

pub(crate) fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(delivery.body()).into_owned()
}

pub(crate) fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(body).collect()
}

/// The bodies of what a receive brings now.
pub(crate) fn taken(queue: &Queue, max: usize) -> Vec<String> {
    bodies(&take(queue, max))
}

pub(crate) fn receipts(deliveries: &[Delivery]) -> Vec<Receipt> {
    deliveries.iter().map(Delivery::receipt).collect()
}

#[track_caller]
pub(crate) fn send_all(queue: &Queue, bodies: &[&str]) -> Vec<MessageId> {
    let sent = queue.send_many(bodies.iter().map(|body| Message::new(*body))).expect("sends");
    sent.into_iter().map(|sent| sent.id).collect()
}

/// Sends a message with an ordering key.
pub(crate) fn send_in_order(queue: &Queue, key: &str, body: &str) -> MessageId {
    queue.send(Message::new(body).ordering_key(key)).expect("sends").id
}

/// Given back as failed, to be offered again at once.
pub(crate) fn at_once() -> Nack {
    Nack::new().delay(Duration::ZERO)
}

/// Ready, delayed, blocked, in flight, dead.
#[track_caller]
pub(crate) fn counts_of(subscription: &Subscription) -> [u64; 5] {
    let stats = subscription.stats().expect("statistics");
    [stats.ready, stats.delayed, stats.blocked, stats.in_flight, stats.dead]
}

/// Ready, delayed, blocked, in flight, dead.
#[track_caller]
pub(crate) fn counts(queue: &Queue) -> [u64; 5] {
    counts_of(&queue.default_subscription().expect("the default subscription"))
}

/// The error of a call that must fail, checked for its kind and for the words its message must hold.
#[track_caller]
pub(crate) fn fails<T: Debug>(outcome: Result<T>, kind: ErrorKind, words: &[&str]) -> Error {
    let error = outcome.expect_err("the call must fail");
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.message().contains(word), "the message names {word:?}: {error}");
    }
    error
}

/// Waits until something has become true.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The content of a file. Only for files that no SQLite of this process has open.
#[expect(clippy::disallowed_methods, reason = "no SQLite of this process has the file open")]
pub(crate) fn bytes_of(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
