//! The write lock between stores, fair and with a time limit.
//!
//! There are two locks: the turnstile and the lock itself. Who wants the lock holds the turnstile while waiting for it,
//! so nobody who lets go and comes back at once can pass a waiter. A store that got its turn may take the lock again
//! without the turnstile for [`TURN`], as long as nobody else had a turn since: handing over at each commit would cost a
//! process switch per commit, while a turn of a few milliseconds keeps both throughput and waits in bounds.
//!
//! It must never depend on the shared words for more than promptness: a bell tells waiters to look again at once, and
//! they look again by themselves every few milliseconds, since a killed holder rings no bell. There are no signals and
//! no helper threads.

use super::futex;
use super::os::{self, Lock};
use super::side::{SideFile, TURNSTILE_BYTE, WRITE_BYTE};
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long one store may keep taking the lock while others wait.
const TURN: Duration = Duration::from_millis(2);
/// The first and the longest sleep of a waiter to whom no bell is rung.
const NAP_MIN: Duration = Duration::from_millis(1);
const NAP_MAX: Duration = Duration::from_millis(4);

/// Header word: how many turns there were, so that a store knows whether the last was its own.
const TURNS_WORD: usize = 16;

/// One of the two locks, with its bell and the flag that someone may be waiting for the bell. Each pair of words has a
/// cache line to itself.
#[derive(Clone, Copy)]
struct Gate {
    byte: i64,
    bell_word: usize,
    waiting_word: usize,
}

const TURNSTILE: Gate = Gate { byte: TURNSTILE_BYTE, bell_word: 32, waiting_word: 33 };
const WRITE: Gate = Gate { byte: WRITE_BYTE, bell_word: 48, waiting_word: 49 };

const _: () = assert!(WRITE_BYTE == TURNSTILE_BYTE + 1, "both are taken in one call");

/// The write lock; let go on drop.
#[derive(Debug)]
pub(crate) struct WriteGuard<'a> {
    side: &'a SideFile,
    _this_store: MutexGuard<'a, ()>,
}

impl SideFile {
    /// Takes the write lock, waiting in turn for at most `timeout`. None if it was not granted in time.
    ///
    /// Threads of one store wait for each other first, without that limit: none holds the lock for longer than a commit.
    pub(crate) fn write_lock(&self, timeout: Duration) -> io::Result<Option<WriteGuard<'_>>> {
        let this_store = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let granted = self.take_write_lock(timeout)?;
        Ok(granted.then(|| WriteGuard { side: self, _this_store: this_store }))
    }

    fn take_write_lock(&self, timeout: Duration) -> io::Result<bool> {
        let Some(fd) = self.lock_fd() else { return Ok(true) };
        let now = Instant::now();
        if self.is_own_turn(now) && os::try_lock(fd, Lock::Exclusive, WRITE.byte, 1)? {
            return Ok(true);
        }
        if os::try_lock(fd, Lock::Exclusive, TURNSTILE.byte, 2)? {
            self.begin_turn();
            self.open_gate(fd, TURNSTILE);
            return Ok(true);
        }
        let deadline = now.checked_add(timeout);
        if !self.pass_gate(fd, TURNSTILE, deadline)? {
            return Ok(false);
        }
        let passed = self.pass_gate(fd, WRITE, deadline);
        if matches!(passed, Ok(true)) {
            self.begin_turn();
        }
        self.open_gate(fd, TURNSTILE);
        passed
    }

    fn is_own_turn(&self, now: Instant) -> bool {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        turn.started.is_some_and(|started| now.saturating_duration_since(started) < TURN)
            && self.header_word(TURNS_WORD).load(Ordering::Relaxed) == turn.number
    }

    fn begin_turn(&self) {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        turn.number = self.header_word(TURNS_WORD).fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        turn.started = Some(Instant::now());
    }

    /// Waits for one of the locks. False if the deadline passed; None is no deadline.
    fn pass_gate(&self, fd: RawFd, gate: Gate, deadline: Option<Instant>) -> io::Result<bool> {
        let bell = self.header_word(gate.bell_word);
        let mut nap = NAP_MIN;
        loop {
            // Flag first, bell second, lock last: a holder that lets go after our attempt sees the flag, and its ring
            // changes the bell that we compare with. The flag stays up when the lock is granted, because whoever rang
            // took it down for all that wait.
            self.header_word(gate.waiting_word).store(1, Ordering::SeqCst);
            let heard = bell.load(Ordering::SeqCst);
            if os::try_lock(fd, Lock::Exclusive, gate.byte, 1)? {
                return Ok(true);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            futex::wait_shared(bell, heard, Some(left.map_or(nap, |left| left.min(nap))));
            nap = (nap * 2).min(NAP_MAX);
        }
    }

    /// Lets go of one of the locks and wakes a waiter, if any.
    fn open_gate(&self, fd: RawFd, gate: Gate) {
        // It fails only in a forked child, whose descriptor carries no lock.
        let _ = os::try_lock(fd, Lock::None, gate.byte, 1);
        if self.header_word(gate.waiting_word).swap(0, Ordering::SeqCst) != 0 {
            let bell = self.header_word(gate.bell_word);
            bell.fetch_add(1, Ordering::SeqCst);
            futex::wake_shared(bell, 1);
        }
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        if let Some(fd) = self.side.lock_fd() {
            self.side.open_gate(fd, WRITE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_not_granted_the_lock_lets_go_of_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || SideFile::open(&folder.path().join("db-onceward"), Duration::ZERO).expect("opened");
        let (holder, other) = (open(), open());
        let held = holder.write_lock(Duration::ZERO).expect("an answer").expect("granted");
        let (bell, waiting) = (holder.header_word(WRITE.bell_word), holder.header_word(WRITE.waiting_word));
        waiting.store(1, Ordering::SeqCst);
        let rung = bell.load(Ordering::SeqCst);
        // It queues at the turnstile, and waits for the lock in vain.
        assert!(other.write_lock(Duration::ZERO).expect("an answer").is_none());
        assert_eq!((waiting.load(Ordering::SeqCst), bell.load(Ordering::SeqCst)), (1, rung));
        drop(held);
        assert_eq!((waiting.load(Ordering::SeqCst), bell.load(Ordering::SeqCst)), (0, rung.wrapping_add(1)));
    }
}
