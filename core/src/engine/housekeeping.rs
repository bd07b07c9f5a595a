//! One thread per open store that does what nobody waits for: checkpoints, expired messages and keys, leases of handlers
//! that still work, transactions that forgot themselves; and that looks, while receivers sleep, for what rings no bell:
//! dead processes, and commits of programs that write the file through SQL.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::engine::effect::operation::{EffectOperation, EffectReply};
use crate::engine::operation::{Operation, Reply};
use crate::engine::store_files::Opened;
use crate::engine::threads::{join, lock};
use crate::engine::writer::CHECKPOINT_FRAMES;
use crate::engine::{Engine, bell, durable, sql};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::connection::{self, Role};
use crate::sys::files::LOG_HEAD_BYTES;
use crate::sys::side::SideFile;

/// How often sleeping receivers are looked after: the longest that a dead process or a foreign commit goes unnoticed.
pub(crate) const WATCH_EVERY: Duration = Duration::from_millis(30);
/// How often a store that nobody waits on is looked after.
const IDLE_EVERY: Duration = Duration::from_millis(500);
/// How often expired messages and keys are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Sweeps of one kind in a row, so that others get their turn.
const SWEEPS_MAX: usize = 20;

/// Something that is kept going while it lives: a consumer's leases.
pub(crate) trait Keep: Send + Sync {
    /// Returns whether it is to be kept on.
    fn keep(&self) -> bool;
}

/// The housekeeping of one store.
pub(crate) struct House {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stop: bool,
    /// How many receivers of this process sleep on each word.
    sleepers: BTreeMap<usize, usize>,
    pace: Pace,
    kept: Vec<Weak<dyn Keep>>,
    /// Something came that must be looked at now.
    poked: bool,
}

/// Whether the next look comes soon.
#[derive(Default, PartialEq, Eq)]
enum Pace {
    /// It is so far off that who goes to sleep must ask for one.
    #[default]
    Resting,
    Awake,
    /// It comes soon, and somebody went to sleep since the last one.
    Dozed,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poke(&self) {
        self.lock().poked = true;
        self.changed.notify_one();
    }
}

/// A receiver's place among the sleepers, left on drop.
pub(crate) struct Sleeper {
    shared: Arc<Shared>,
    word: usize,
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if let Some(count) = state.sleepers.get_mut(&self.word) {
            *count -= 1;
            if *count == 0 {
                state.sleepers.remove(&self.word);
            }
        }
    }
}

impl House {
    pub(crate) fn new() -> Self {
        House { shared: Arc::new(Shared::default()), thread: Mutex::new(None) }
    }

    /// Counts a receiver that is about to sleep on a word. One that often does so for a moment wakes nobody by it.
    pub(crate) fn sleeper(&self, word: usize) -> Sleeper {
        let mut state = self.shared.lock();
        *state.sleepers.entry(word).or_default() += 1;
        let before = std::mem::replace(&mut state.pace, Pace::Dozed);
        drop(state);
        if before == Pace::Resting {
            self.shared.poke();
        }
        Sleeper { shared: Arc::clone(&self.shared), word }
    }

    /// Keeps something going for as long as it lives.
    pub(crate) fn keep(&self, kept: Weak<dyn Keep>) {
        self.shared.lock().kept.push(kept);
        self.shared.poke();
    }

    pub(crate) fn transaction_began(&self) {
        self.shared.poke();
    }

    /// Lets the thread look now for what there is to do.
    pub(crate) fn poke(&self) {
        self.shared.poke();
    }

    /// Wakes every receiver of this process, and of others that sleep on the same words.
    pub(crate) fn wake_sleepers(&self, side: &SideFile) {
        let words: Vec<usize> = self.shared.lock().sleepers.keys().copied().collect();
        for word in words {
            bell::ring_word(side, word, u32::MAX);
        }
        bell::ring_word(side, bell::ANY, u32::MAX);
    }

    pub(crate) fn stop(&self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        let thread = lock(&self.thread).take();
        thread.into_iter().for_each(join);
    }

    /// In a forked child there is no thread to join.
    pub(crate) fn forget(&mut self) {
        std::mem::forget(self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take());
    }
}

pub(crate) fn start(engine: &Arc<Engine>) -> Result<()> {
    let weak = Arc::downgrade(engine);
    let shared = Arc::clone(&engine.house.shared);
    let conn = match &engine.files.path {
        Some(path) => Some(connection::open(Some(path), Role::Reader, &engine.patience)?),
        None => None,
    };
    let thread = std::thread::Builder::new()
        .name("onceward".to_owned())
        .spawn(move || Housekeeper::new(shared, conn).run(&weak))
        .map_err(|error| {
            Error::with_source(ErrorKind::Storage, format!("starting the housekeeping thread: {error}"), error)
        })?;
    *lock(&engine.house.thread) = Some(thread);
    Ok(())
}

struct Housekeeper {
    shared: Arc<Shared>,
    /// For checkpoints and looks; none in memory.
    conn: Option<Connection>,
    swept_at: Instant,
    /// When somebody was last seen to sleep, or to have slept.
    dozed_at: Option<Instant>,
    data_version: i64,
    /// The head of the log's shared memory at the last look.
    log_head: Option<[u8; LOG_HEAD_BYTES]>,
    /// The slots of the other stores that have the file open, as last read.
    others: Option<Vec<u32>>,
    expire_after: (i64, i64),
    /// Frames in the log at the last look: what does not grow rests.
    frames_seen: u64,
}

impl Housekeeper {
    fn new(shared: Arc<Shared>, conn: Option<Connection>) -> Self {
        Housekeeper {
            shared,
            conn,
            swept_at: Instant::now(),
            dozed_at: None,
            data_version: 0,
            log_head: None,
            others: None,
            expire_after: (i64::MIN, 0),
            frames_seen: 0,
        }
    }

    fn run(mut self, engine: &Weak<Engine>) {
        let mut pause = IDLE_EVERY;
        loop {
            let work = {
                let state = self.shared.lock();
                let (mut state, _) = self
                    .shared
                    .changed
                    .wait_timeout_while(state, pause, |state| !state.stop && !state.poked)
                    .unwrap_or_else(PoisonError::into_inner);
                if state.stop {
                    return;
                }
                state.poked = false;
                state.kept.retain(|kept| kept.strong_count() > 0);
                let watched = !state.sleepers.is_empty();
                if state.pace == Pace::Dozed || watched {
                    self.dozed_at = Some(Instant::now());
                }
                let awake = !state.kept.is_empty() || self.dozed_at.is_some_and(|at| at.elapsed() < IDLE_EVERY);
                state.pace = if awake { Pace::Awake } else { Pace::Resting };
                Work { awake, watched, kept: state.kept.clone() }
            };
            let Some(engine) = engine.upgrade() else { return };
            pause = self.tick(&engine, &work);
        }
    }

    /// Does what is due, and says when to look again.
    fn tick(&mut self, engine: &Engine, work: &Work) -> Duration {
        let mut pause = if work.awake { WATCH_EVERY } else { IDLE_EVERY };
        if let Some(left) = engine.end_overdue_transaction() {
            pause = pause.min(left);
        }
        engine.record_again();
        let frames = engine.frames.load(Ordering::Relaxed);
        if frames >= CHECKPOINT_FRAMES && frames == self.frames_seen && !durable::log_is_damaged(engine.side()) {
            self.checkpoint();
        }
        self.frames_seen = frames;
        let is_over = |kept: &&Weak<dyn Keep>| kept.upgrade().is_some_and(|kept| !kept.keep());
        let over: Vec<_> = work.kept.iter().filter(is_over).collect();
        if !over.is_empty() {
            self.shared.lock().kept.retain(|kept| !over.iter().any(|over| over.ptr_eq(kept)));
        }
        if work.watched {
            self.watch(engine);
        }
        if self.swept_at.elapsed() >= SWEEP_EVERY {
            self.swept_at = Instant::now();
            self.sweep(engine);
        }
        pause
    }

    /// Moves the log into the database, beside the writers: when they rest, it can start over.
    fn checkpoint(&self) {
        let Some(conn) = &self.conn else { return };
        // That it could not be done now is no error: there is a next time.
        let _ = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    }

    /// Looks for commits that rang no bell, and for processes that died.
    fn watch(&mut self, engine: &Engine) {
        if let Ok(writer) = engine.try_writer()
            && let Some(writer) = writer.as_ref()
            && self.log_moved(writer.opened.as_ref())
            && let Ok(version) = writer
                .conn
                .prepare_cached("PRAGMA data_version")
                .and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(0)))
            && version != self.data_version
        {
            self.data_version = version;
            self.others = None;
            engine.house.wake_sleepers(engine.side());
        }
        self.reclaim(engine);
    }

    /// Whether anybody may have committed since the last look: the head of the shared memory, where SQLite keeps the end
    /// of the log, is another one. A look that costs one system call.
    fn log_moved(&mut self, opened: Option<&Opened>) -> bool {
        let head = opened.and_then(|opened| opened.shared_memory.file.head().ok());
        let same = head.is_some() && head == self.log_head;
        self.log_head = head;
        !same
    }

    /// Offers again what dead processes held. Which stores are open is read again only when somebody else has written.
    fn reclaim(&mut self, engine: &Engine) {
        if self.others.is_none()
            && let Some(conn) = &self.conn
        {
            let others = conn.prepare_cached(sql::INSTANCES_OTHER).and_then(|mut statement| {
                statement
                    .query_map([engine.instance()], |row| row.get::<_, u32>(1))?
                    .collect::<rusqlite::Result<Vec<u32>>>()
            });
            self.others = others.ok();
        }
        let dead = |slot: &u32| !engine.liveness.is_alive(*slot);
        if self.others.as_ref().is_some_and(|others| others.iter().any(dead)) {
            self.others = None;
            // Should it fail, the next look finds the same.
            let _ = engine.call_briefly(Operation::Reclaim);
        }
    }

    fn sweep(&mut self, engine: &Engine) {
        self.others = None;
        self.reclaim(engine);
        let now = engine.now().get();
        // Each read first deals with what programs did through SQL.
        if engine.any(sql::ANY_EXPIRED, now) {
            for _ in 0..SWEEPS_MAX {
                let swept = engine.call_briefly(Operation::Expire { after: self.expire_after });
                let Ok(Reply::Swept { next: Some(next) }) = swept else {
                    self.expire_after = (i64::MIN, 0);
                    break;
                };
                self.expire_after = next;
            }
        }
        if engine.any(sql::ANY_FORGOTTEN, now) {
            for _ in 0..SWEEPS_MAX {
                if !matches!(engine.call_briefly(Operation::ForgetKeys), Ok(Reply::Count(count)) if count > 0) {
                    break;
                }
            }
        }
        if engine.any(sql::ANY_EFFECT_FORGOTTEN, now) {
            for _ in 0..SWEEPS_MAX {
                let forgotten = engine.call_briefly(Operation::Effect(Box::new(EffectOperation::Forget)));
                if !matches!(forgotten, Ok(Reply::Effect(EffectReply::Forgotten(count))) if count > 0) {
                    break;
                }
            }
        }
        if engine.any(sql::ANY_TRASH, now) {
            for _ in 0..SWEEPS_MAX {
                if !matches!(engine.call_briefly(Operation::ClearTrash), Ok(Reply::Flag(true))) {
                    break;
                }
            }
        }
    }
}

struct Work {
    /// Somebody sleeps, did a moment ago, or is kept going.
    awake: bool,
    watched: bool,
    kept: Vec<Weak<dyn Keep>>,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::{IN_MEMORY, Semantics, Store};

    /// Needed for two looks.
    #[derive(Default)]
    struct Brief(AtomicU64);

    impl Keep for Brief {
        fn keep(&self) -> bool {
            self.0.fetch_add(1, Ordering::SeqCst) == 0
        }
    }

    #[test]
    fn what_is_over_is_looked_after_no_more_though_it_lives() {
        let store = Store::open(IN_MEMORY).expect("opens");
        let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
        let brief = Arc::new(Brief::default());
        let house = &queue.engine.house;
        house.keep(Arc::downgrade(&brief) as Weak<dyn Keep>);
        let since = Instant::now();
        while !house.shared.lock().kept.is_empty() {
            assert!(since.elapsed() < Duration::from_secs(20), "it is kept for ever");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(brief.0.load(Ordering::SeqCst), 2);

        let consumer = queue.consume(crate::ConsumeOptions::new()).expect("consumes");
        let flush = consumer.flush_handle();
        consumer.close().expect("closes");
        while !house.shared.lock().kept.is_empty() {
            assert!(since.elapsed() < Duration::from_secs(20), "a closed consumer is kept for ever");
            std::thread::sleep(Duration::from_millis(5));
        }
        flush.flush().expect("there is nothing to commit");
    }
}
