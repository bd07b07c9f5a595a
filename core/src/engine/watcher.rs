//! Telling event loops that there may be something to receive: a thread that sleeps for those that cannot sleep in a receive.
//!
//! Each of them has a flag with a descriptor ([`Watched`]). While its flag is not set it is *armed*: the thread listens to the
//! bell of its queue and knows when something falls due; whenever one of both comes, it looks, and sets the flag if a receive
//! would find something. The thread begins with the first such flag and ends with the store.
//!
//! Invariants: what is not armed has its flag set, or somebody is arming it. Who arms has remembered the bell before the look
//! that found nothing, so that nothing is slept through in between.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::engine::housekeeping::Sleeper;
use crate::engine::operation::{QueueId, SubscriptionId};
use crate::engine::threads::{join, lock, spawn};
use crate::engine::{Engine, LOOK_AGAIN, bell, read};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::event::Event;
use crate::sys::side::SideFile;

/// A flag that says that a subscription may have something to receive.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) event: Event,
    subscription: SubscriptionId,
    word: usize,
    /// Held by whoever arms it.
    arming: Mutex<()>,
}

impl Watched {
    /// A flag that is set.
    pub(crate) fn new(queue: QueueId, subscription: SubscriptionId) -> Result<Self> {
        let event = Event::new()
            .map_err(|error| Error::with_source(ErrorKind::Storage, format!("making a descriptor: {error}"), error))?;
        event.set();
        Ok(Watched { event, subscription, word: bell::word_of(queue), arming: Mutex::new(()) })
    }
}

/// The flags of one store.
#[derive(Default)]
pub(crate) struct Watcher {
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
    stopped: bool,
    armed: Vec<Armed>,
    /// Counts what is armed, which tells one time of a flag from the next.
    rounds: u64,
    /// Until when the thread sleeps on the bell; none while nothing is armed.
    listens_until: Option<Instant>,
}

struct Armed {
    watched: Arc<Watched>,
    round: u64,
    heard: u32,
    look_at: Instant,
    /// While it is armed, dead processes and foreign commits are looked for.
    _sleeper: Sleeper,
}

impl State {
    fn disarm(&mut self, watched: &Arc<Watched>) -> Option<Armed> {
        let index = self.armed.iter().position(|armed| Arc::ptr_eq(&armed.watched, watched))?;
        Some(self.armed.swap_remove(index))
    }
}

impl Engine {
    /// Looks whether there is something to receive. If so the flag is set; else it is cleared, and set as soon as there may be.
    /// After an error it is set.
    pub(crate) fn arm(self: &Arc<Self>, watched: &Arc<Watched>) -> Result<()> {
        if let Err(error) = self.check_usable() {
            // A forked child has the parent's flag.
            if !self.is_forked() {
                watched.event.set();
            }
            return Err(error);
        }
        let _arming = lock(&watched.arming);
        self.watcher.start(self)?;
        self.disarm(watched);
        watched.event.clear();
        let sleeper = self.house.sleeper(watched.word);
        let heard = bell::listen(self.side(), watched.word);
        match self.pause_before_look(watched.subscription) {
            Ok(Some(pause)) => {
                let armed = (Arc::clone(watched), heard, Instant::now() + pause, sleeper);
                self.watcher.add(self.side(), armed);
                Ok(())
            }
            Ok(None) => {
                watched.event.set();
                Ok(())
            }
            Err(error) => {
                watched.event.set();
                Err(error)
            }
        }
    }

    /// Forgets a flag that nobody waits for any more.
    pub(crate) fn disarm(&self, watched: &Arc<Watched>) {
        // In a forked child the lock may be held by a thread that is not there.
        if !self.is_forked() {
            let disarmed = lock(&self.watcher.shared.state).disarm(watched);
            drop(disarmed);
        }
    }

    /// How long nobody needs to look, unless the bell rings; none when a receive may find something now.
    fn pause_before_look(&self, subscription: SubscriptionId) -> Result<Option<Duration>> {
        let now = self.now();
        let due = self.read(|conn| read::next_due(conn, subscription, now))?;
        let pause = due.map_or(LOOK_AGAIN, |due| due.since(now));
        Ok(if pause.is_zero() { None } else { Some(pause.min(LOOK_AGAIN)) })
    }
}

impl Watcher {
    fn start(&self, engine: &Arc<Engine>) -> Result<()> {
        let mut thread = lock(&self.thread);
        if thread.is_some() {
            return Ok(());
        }
        let (shared, side, weak) = (Arc::clone(&self.shared), Arc::clone(&engine.files.side), Arc::downgrade(engine));
        *thread = Some(spawn("onceward-ready", move || run(&shared, &side, &weak))?);
        Ok(())
    }

    fn add(&self, side: &SideFile, (watched, heard, look_at, sleeper): (Arc<Watched>, u32, Instant, Sleeper)) {
        let word = watched.word;
        let mut state = lock(&self.shared.state);
        if state.stopped {
            // The store was closed meanwhile, which is what a receive will say.
            watched.event.set();
            return;
        }
        state.rounds += 1;
        let round = state.rounds;
        state.armed.push(Armed { watched, round, heard, look_at, _sleeper: sleeper });
        let listens_until = state.listens_until;
        drop(state);
        self.shared.changed.notify_one();
        // The thread may sleep for longer than this one can wait, or have heard its bell before it could know of it.
        if listens_until.is_some_and(|until| look_at < until) || bell::listen(side, word) != heard {
            bell::ring_word(side, bell::ANY, u32::MAX);
        }
    }

    /// Ends the thread, and sets every flag: each receive will say that the store is closed.
    pub(crate) fn stop(&self, side: &SideFile) {
        let armed = {
            let mut state = lock(&self.shared.state);
            state.stopped = true;
            std::mem::take(&mut state.armed)
        };
        for armed in &armed {
            armed.watched.event.set();
        }
        self.shared.changed.notify_all();
        bell::ring_word(side, bell::ANY, u32::MAX);
        let thread = lock(&self.thread).take();
        thread.into_iter().for_each(join);
    }

    /// In a forked child there is no thread to join.
    pub(crate) fn forget(&mut self) {
        std::mem::forget(self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take());
    }
}

fn run(shared: &Shared, side: &SideFile, engine: &Weak<Engine>) {
    loop {
        let state = lock(&shared.state);
        let idle = |state: &mut State| !state.stopped && state.armed.is_empty();
        let state = shared.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return;
        }
        drop(state);
        if !watch(shared, side, engine) {
            return;
        }
    }
}

/// Watches until nothing is armed any more. False when the store was closed.
fn watch(shared: &Shared, side: &SideFile, engine: &Weak<Engine>) -> bool {
    loop {
        // Before the flags are looked at: a ring that comes after this ends the sleep below.
        let any = bell::listen(side, bell::ANY);
        let Some(engine) = engine.upgrade() else { return false };
        look(shared, side, &engine);
        drop(engine);
        let until = {
            let mut state = lock(&shared.state);
            state.listens_until = state.armed.iter().map(|armed| armed.look_at).min();
            if state.stopped {
                return false;
            }
            match state.listens_until {
                Some(until) => until,
                None => return true,
            }
        };
        bell::sleep(side, bell::ANY, any, until.saturating_duration_since(Instant::now()));
    }
}

/// Looks for each flag whose bell has rung or whose time has come.
fn look(shared: &Shared, side: &SideFile, engine: &Engine) {
    let now = Instant::now();
    let woken: Vec<(u64, Arc<Watched>, u32)> = {
        let state = lock(&shared.state);
        let rung = state.armed.iter().map(|armed| (armed, bell::listen(side, armed.watched.word)));
        rung.filter(|(armed, heard)| *heard != armed.heard || now >= armed.look_at)
            .map(|(armed, heard)| (armed.round, Arc::clone(&armed.watched), heard))
            .collect()
    };
    for (round, watched, heard) in woken {
        // What cannot be looked at is the receiver's to find out.
        let pause = engine.pause_before_look(watched.subscription).unwrap_or(None);
        let mut state = lock(&shared.state);
        let Some(index) = state.armed.iter().position(|armed| armed.round == round) else { continue };
        if let Some(pause) = pause {
            let armed = &mut state.armed[index];
            (armed.heard, armed.look_at) = (heard, Instant::now() + pause);
        } else {
            let ready = state.armed.swap_remove(index);
            ready.watched.event.set();
            drop(state);
            drop(ready);
        }
    }
}
