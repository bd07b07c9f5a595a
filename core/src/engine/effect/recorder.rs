//! What an open store must not lose of its calls: its slot's lock while one runs, and outcomes that could not be recorded.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::Engine;
use crate::engine::effect::operation::{EffectOperation, EffectReply, Finish};
use crate::engine::operation::{Operation, Reply};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::fork;
use crate::sys::side::SideFile;

/// The lock on a store's slot: while it is held, everyone takes the store for alive. Held by the open store, and beyond its
/// closing by each call that still runs.
#[derive(Debug)]
pub(crate) struct Slot {
    side: Arc<SideFile>,
    number: u32,
    generation: u32,
}

impl Slot {
    pub(crate) fn new(side: Arc<SideFile>, number: u32) -> Self {
        Slot { side, number, generation: fork::generation() }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // In a forked child the lock is the parent's, and so may a mutex be that some thread of it held.
        if self.generation == fork::generation() {
            self.side.release_slot(self.number);
        }
    }
}

/// The calls of one open store.
#[derive(Debug)]
pub(crate) struct Recorder {
    slot: Mutex<Option<Arc<Slot>>>,
    tickets: AtomicI64,
    /// Outcomes that are known and could not be written down: tried again by housekeeping until the store closes.
    unrecorded: Mutex<Vec<Finish>>,
}

impl Recorder {
    pub(crate) fn new(slot: Slot) -> Self {
        Recorder { slot: Mutex::new(Some(Arc::new(slot))), tickets: AtomicI64::new(1), unrecorded: Mutex::default() }
    }

    /// Lets the slot go, unless a call still runs.
    pub(crate) fn close(&self) {
        drop(self.slot.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn unrecorded(&self) -> MutexGuard<'_, Vec<Finish>> {
        self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Holds this store's slot for a call. Take it before the call is recorded as started.
    pub(crate) fn hold_slot(&self) -> Result<Arc<Slot>> {
        self.check_usable()?;
        let slot = self.recorder.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.clone().ok_or_else(|| Error::new(ErrorKind::Closed, "the store is closed"))
    }

    /// A number for a call that no other call of this store has.
    pub(crate) fn next_ticket(&self) -> i64 {
        self.recorder.tickets.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn call_effect(&self, operation: EffectOperation) -> Result<EffectReply> {
        match self.call(Operation::Effect(Box::new(operation)))? {
            Reply::Effect(reply) => Ok(reply),
            other => other.unexpected("an effect"),
        }
    }

    /// Writes down how a call ended. What cannot be written now is kept, and written as soon as it can be.
    pub(crate) fn record(&self, finish: Finish) -> Result<EffectReply> {
        let outcome = self.call_effect(EffectOperation::Finish(finish.clone()));
        if let Err(error) = &outcome
            && error.kind() != ErrorKind::Conflict
            && !self.is_forked()
        {
            self.record_later(finish);
        }
        outcome
    }

    /// Leaves it to housekeeping to write down how a call ended.
    pub(crate) fn record_later(&self, finish: Finish) {
        self.recorder.unrecorded().push(finish);
        self.house.poke();
    }

    /// Tries once more to write down what could not be.
    pub(crate) fn record_again(&self) {
        let waiting = std::mem::take(&mut *self.recorder.unrecorded());
        for finish in waiting {
            let again = self.call_briefly(Operation::Effect(Box::new(EffectOperation::Finish(finish.clone()))));
            if again.is_err_and(|error| error.kind() != ErrorKind::Conflict) {
                self.recorder.unrecorded().push(finish);
            }
        }
    }
}
