//! Group sync: commits that wait for the disk together share one `fdatasync`, outside the write lock.
//!
//! Sound because the write-ahead log is a prefix log: one sync makes every earlier commit durable.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};

#[derive(Debug, Default)]
pub(crate) struct SyncStage {
    committed: AtomicU64,
    state: Mutex<State>,
    turn: Condvar,
}

#[derive(Debug, Default)]
struct State {
    synced: u64,
    syncing: bool,
    waiting: usize,
}

impl SyncStage {
    /// Counts a commit. Call before the write lock is let go.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The number of the last commit that is known to be on disk.
    pub(crate) fn synced(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).synced
    }

    /// Returns once the commit with this number is on disk.
    pub(crate) fn ensure(&self, commit: u64, sync: impl Fn() -> std::io::Result<()>) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.synced >= commit {
                return Ok(());
            }
            if state.syncing {
                state.waiting += 1;
                state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.waiting -= 1;
                continue;
            }
            state.syncing = true;
            drop(state);
            let covers = self.committed.load(Ordering::SeqCst);
            let outcome = sync();
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.syncing = false;
            if state.waiting > 0 {
                self.turn.notify_all();
            }
            match outcome {
                Ok(()) => state.synced = state.synced.max(covers),
                Err(error) => {
                    return Err(Error::with_source(
                        ErrorKind::Storage,
                        format!("syncing the write-ahead log: {error}; whether the call took effect is unknown"),
                        error,
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn every_waiter_is_covered_by_a_sync_that_began_after_its_commit() {
        let stage = Arc::new(SyncStage::default());
        let begun = Arc::new(AtomicU64::new(0));
        let syncs = Arc::new(AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let mine = stage.committed();
                        stage
                            .ensure(mine, || {
                                begun.store(stage.committed.load(Ordering::SeqCst), Ordering::SeqCst);
                                syncs.fetch_add(1, Ordering::SeqCst);
                                Ok(())
                            })
                            .expect("syncs");
                        assert!(stage.state.lock().expect("not poisoned").synced >= mine);
                    }
                });
            }
        });
        assert!(syncs.load(Ordering::SeqCst) <= 400);
        assert!(begun.load(Ordering::SeqCst) > 0);
    }
}
