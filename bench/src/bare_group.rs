//! The least that many threads which each wait for their own synced insert can cost: bare SQLite behind the simplest group
//! commit. One thread inserts what all that wait have brought, in one commit, and wakes them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::thread::futex;

use crate::bare::Bare;
use crate::measure::Outcome;

const FORMING: u32 = 0;
/// One of those who wait in it must lead.
const LEADERLESS: u32 = 1;
const LED: u32 = 2;
const DONE: u32 = 3;
const FAILED: u32 = 4;

/// A table that many threads insert into at a time.
#[derive(Debug)]
pub(crate) struct BareGroup {
    turn: Mutex<Turn>,
    bare: Mutex<Bare>,
}

#[derive(Debug, Default)]
struct Turn {
    busy: bool,
    group: Arc<AtomicU32>,
    bodies: Vec<Vec<u8>>,
}

impl Turn {
    fn take(&mut self) -> Vec<Vec<u8>> {
        self.busy = true;
        self.group.store(LED, Ordering::SeqCst);
        self.group = Arc::default();
        let next = Vec::with_capacity(self.bodies.len());
        std::mem::replace(&mut self.bodies, next)
    }
}

impl BareGroup {
    pub(crate) fn new(bare: Bare) -> Self {
        BareGroup { turn: Mutex::default(), bare: Mutex::new(bare) }
    }

    /// Returns once the body is on disk.
    pub(crate) fn insert(&self, body: Vec<u8>) -> Outcome<()> {
        let mut turn = lock(&self.turn);
        let group = Arc::clone(&turn.group);
        turn.bodies.push(body);
        let mut led = (!turn.busy).then(|| turn.take());
        drop(turn);
        loop {
            if let Some(bodies) = led {
                return self.lead(&group, &bodies);
            }
            match group.load(Ordering::SeqCst) {
                DONE => return Ok(()),
                FAILED => return Err("the commit of the group failed".into()),
                LEADERLESS => {
                    let mut turn = lock(&self.turn);
                    led = (group.load(Ordering::SeqCst) == LEADERLESS).then(|| turn.take());
                }
                waiting => {
                    // Woken or not, it looks again.
                    let _ = futex::wait(&group, futex::Flags::PRIVATE, waiting, None);
                    led = None;
                }
            }
        }
    }

    fn lead(&self, group: &AtomicU32, bodies: &[Vec<u8>]) -> Outcome<()> {
        let outcome = lock(&self.bare).insert(bodies);
        group.store(if outcome.is_ok() { DONE } else { FAILED }, Ordering::SeqCst);
        if bodies.len() > 1 {
            futex::wake(group, futex::Flags::PRIVATE, i32::MAX as u32)?;
        }
        let mut turn = lock(&self.turn);
        turn.busy = !turn.bodies.is_empty();
        if turn.busy {
            let next = Arc::clone(&turn.group);
            next.store(LEADERLESS, Ordering::SeqCst);
            drop(turn);
            futex::wake(&next, futex::Flags::PRIVATE, 1)?;
        }
        outcome
    }

    pub(crate) fn count(&self) -> Outcome<usize> {
        lock(&self.bare).count()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const _: () = assert!(FORMING == 0, "a new group is forming");
