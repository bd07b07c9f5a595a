//! Two threads for callers that cannot wait on a thread of their own: one leads the groups that asynchronous operations form,
//! one listens to the bell for asynchronous receivers that wait. Both begin with the first such call and end with the store.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::engine::leader::{Completion, Group};
use crate::engine::operation::Operation;
use crate::engine::threads::{join, lock, spawn};
use crate::engine::{Engine, bell};
use crate::error::Result;
use crate::sys::futex;
use crate::sys::side::SideFile;

/// How long the listener sleeps at most before it looks whether anybody still waits, and how long it listens for nobody:
/// while it does not, a ring of the bell costs the sender no call.
const LISTEN_FOR: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Background {
    leader: Mutex<Option<Leader>>,
    listener: Mutex<Option<JoinHandle<()>>>,
    ears: Arc<Ears>,
}

/// What the listener and those who wait for it share.
#[derive(Default)]
struct Ears {
    rung: Notify,
    /// How many wait. The listener sleeps on it while it is 0.
    waiting: AtomicU32,
    stopped: AtomicBool,
}

impl Ears {
    /// Listens while anybody waits, until it is stopped.
    fn listen(&self, side: &SideFile) {
        while !self.stopped.load(Ordering::SeqCst) {
            futex::wait(&self.waiting, 0, None);
            let mut needed = Instant::now();
            while needed.elapsed() < LISTEN_FOR && !self.stopped.load(Ordering::SeqCst) {
                let heard = bell::listen(side, bell::ANY);
                self.rung.notify_waiters();
                bell::sleep(side, bell::ANY, heard, LISTEN_FOR);
                if self.waiting.load(Ordering::SeqCst) > 0 {
                    needed = Instant::now();
                }
            }
        }
        self.rung.notify_waiters();
    }

    fn hear(self: &Arc<Self>) -> Hearing {
        self.add_waiting();
        Hearing(Arc::clone(self))
    }

    fn add_waiting(&self) {
        if self.waiting.fetch_add(1, Ordering::SeqCst) == 0 {
            futex::wake(&self.waiting, 1);
        }
    }

    fn stop(&self, side: &SideFile) {
        self.stopped.store(true, Ordering::SeqCst);
        // It sleeps on one of the two.
        self.add_waiting();
        bell::ring_word(side, bell::ANY, u32::MAX);
    }
}

/// Somebody waits for the bell, as long as it lives.
pub(crate) struct Hearing(Arc<Ears>);

impl Hearing {
    /// Ends when any queue's bell rings, in any process, and at times for nothing.
    pub(crate) fn rung(&self) -> Notified<'_> {
        self.0.rung.notified()
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Leader {
    groups: Sender<Arc<Group>>,
    thread: JoinHandle<()>,
}

impl Background {
    /// Adds an operation to those that wait, and sees to it that its group is led.
    pub(crate) fn submit(&self, engine: &Arc<Engine>, operation: Operation, completion: Completion) -> Result<()> {
        // Held until the group is on its way: the thread takes groups one after the other, and an earlier one that comes
        // after a later one would wait for itself.
        let mut leader = lock(&self.leader);
        let running = match leader.take() {
            Some(running) => running,
            None => {
                let (groups, waiting) = channel::<Arc<Group>>();
                let weak = Arc::downgrade(engine);
                let thread = spawn("onceward-async", move || {
                    for group in waiting {
                        let Some(engine) = weak.upgrade() else { return };
                        // Following without patience ends only with the group.
                        let _ = engine.turn.follow(&group, None, &*engine);
                    }
                })?;
                Leader { groups, thread }
            }
        };
        let group = engine.turn.submit(operation, completion);
        // The thread outlives its sender, which is here.
        let _ = running.groups.send(group);
        *leader = Some(running);
        Ok(())
    }

    /// Listens to the bell until the result is dropped. What rings from now on is heard: compare the
    /// word of the queue after this, not before.
    pub(crate) fn hear(&self, engine: &Arc<Engine>) -> Result<Hearing> {
        let mut listener = lock(&self.listener);
        if listener.is_none() {
            let (side, ears) = (Arc::clone(&engine.files.side), Arc::clone(&self.ears));
            *listener = Some(spawn("onceward-bell", move || ears.listen(&side))?);
        }
        Ok(self.ears.hear())
    }

    pub(crate) fn stop(&self, side: &SideFile) {
        self.ears.stop(side);
        let leader = lock(&self.leader).take();
        let threads = leader.map(|Leader { groups, thread }| {
            drop(groups);
            thread
        });
        let listener = lock(&self.listener).take();
        threads.into_iter().chain(listener).for_each(join);
    }

    /// In a forked child there are no threads to join.
    pub(crate) fn forget(&mut self) {
        std::mem::forget(self.leader.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        std::mem::forget(self.listener.get_mut().unwrap_or_else(PoisonError::into_inner).take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until so many sleep on the bell, or fails.
    fn until_listeners(side: &SideFile, count: u32) {
        let since = Instant::now();
        while side.sleeping(bell::ANY) != count {
            assert!(since.elapsed() < Duration::from_secs(20), "the number of listeners never became {count}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_bell_is_listened_to_while_somebody_waits_and_not_for_long_after() {
        let (side, ears) = (Arc::new(SideFile::private()), Arc::new(Ears::default()));
        let listener = std::thread::spawn({
            let (side, ears) = (Arc::clone(&side), Arc::clone(&ears));
            move || ears.listen(&side)
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for _ in 0..2 {
            assert_eq!(side.sleeping(bell::ANY), 0);
            let hearing = ears.hear();
            until_listeners(&side, 1);
            let rung = hearing.rung();
            bell::ring_word(&side, bell::ANY, u32::MAX);
            runtime.block_on(rung);
            drop(hearing);
            until_listeners(&side, 0);
        }
        ears.stop(&side);
        listener.join().expect("it ends when it is stopped, while it sleeps for good as well");
    }
}
