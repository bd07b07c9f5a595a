//! Two threads for callers that cannot wait on a thread of their own: one leads the groups that asynchronous operations form,
//! one listens to the bell for asynchronous receivers. Both begin with the first such call and end with the store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

use crate::engine::leader::{Completion, Group};
use crate::engine::operation::Operation;
use crate::engine::threads::{join, lock, spawn};
use crate::engine::{Engine, bell};
use crate::error::Result;
use crate::sys::side::SideFile;

/// How long the listener sleeps at most before it looks whether it is still needed.
const LISTEN_FOR: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Background {
    leader: Mutex<Option<Leader>>,
    listener: Mutex<Option<JoinHandle<()>>>,
    rung: Arc<Notify>,
    stopped: Arc<AtomicBool>,
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

    /// Woken whenever any queue's bell rings, in any process.
    pub(crate) fn rung(&self, engine: &Arc<Engine>) -> Result<Arc<Notify>> {
        let mut listener = lock(&self.listener);
        if listener.is_none() {
            let side = Arc::clone(&engine.files.side);
            let (rung, stopped) = (Arc::clone(&self.rung), Arc::clone(&self.stopped));
            *listener = Some(spawn("onceward-bell", move || {
                side.word(bell::LISTENERS).fetch_add(1, Ordering::SeqCst);
                while !stopped.load(Ordering::SeqCst) {
                    let heard = bell::listen(&side, bell::ANY);
                    rung.notify_waiters();
                    bell::sleep(&side, bell::ANY, heard, LISTEN_FOR);
                }
                side.word(bell::LISTENERS).fetch_sub(1, Ordering::SeqCst);
                rung.notify_waiters();
            })?);
        }
        Ok(Arc::clone(&self.rung))
    }

    pub(crate) fn stop(&self, side: &SideFile) {
        self.stopped.store(true, Ordering::SeqCst);
        bell::ring_word(side, bell::ANY, u32::MAX);
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
