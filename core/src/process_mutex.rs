//! A lock that knows of forks.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::error::{Error, ErrorKind, Result};
use crate::sys::fork;

/// A mutex that in a forked child refuses instead of waiting: its holder may be a thread that is not there. For deliveries, and
/// for the modules of other languages, whose objects may be used from every thread.
///
/// It is not poisoned by a panic.
#[derive(Debug)]
pub struct ProcessMutex<T> {
    generation: u32,
    value: Mutex<T>,
}

impl<T> ProcessMutex<T> {
    /// It belongs to this process.
    pub fn new(value: T) -> Self {
        ProcessMutex { generation: fork::generation(), value: Mutex::new(value) }
    }

    /// Locks it, waiting for the thread that holds it.
    ///
    /// # Errors
    /// `Closed` in a process that was forked from its own.
    pub fn lock(&self) -> Result<MutexGuard<'_, T>> {
        self.check_process()?;
        Ok(self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it may be locked here.
    ///
    /// # Errors
    /// `Closed` in a process that was forked from its own.
    pub fn check_process(&self) -> Result<()> {
        check_generation(self.generation)
    }

    /// Locks it, unless a thread holds it. Waits for nothing, and works in a forked child as well.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.value.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Refuses what was made before this process was forked.
pub(crate) fn check_generation(made_in: u32) -> Result<()> {
    if made_in == fork::generation() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Closed,
        "the store was opened before this process was forked; open it again in this process",
    ))
}
