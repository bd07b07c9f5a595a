//! Iterating over messages as they come.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use onceward::ProcessMutex;
use pyo3::prelude::*;

use crate::delivery::Delivery;
use crate::errors::{Released, call, closed};
use crate::wait::{Poll, in_slices};

/// An iterator over deliveries, from `consume()`. Close it, or use it in a with block.
///
/// Leases are extended while it lives. An acknowledgement of its deliveries is only noted, and committed together with
/// others: with the next receive, by `flush()`, or after 100 ms. A crash before that redelivers. When such an
/// acknowledgement came too late, iterating raises LeaseLostError, and may go on afterwards.
#[pyclass(frozen, module = "onceward")]
pub(crate) struct Consumer {
    /// None once it is closed.
    inner: Released<ProcessMutex<Option<onceward::Consumer>>>,
    stop: onceward::StopHandle,
    flush: onceward::FlushHandle,
    ended: AtomicBool,
    wait: Option<Duration>,
    /// Dropped last, and so with the GIL released: the last of all handles closes the store.
    store: Released<onceward::Store>,
}

/// How often a thread looks whether another has ended its turn.
const TURN: Duration = Duration::from_millis(5);

impl Consumer {
    pub(crate) fn new(store: onceward::Store, inner: onceward::Consumer, wait: Option<Duration>) -> Self {
        Consumer {
            stop: inner.stop_handle(),
            flush: inner.flush_handle(),
            inner: Released::new(ProcessMutex::new(Some(inner))),
            ended: AtomicBool::new(false),
            wait,
            store: Released::new(store),
        }
    }
}

#[pymethods]
impl Consumer {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Delivery>> {
        let found = in_slices(py, self.wait, |slice| {
            if self.ended.load(Ordering::Acquire) {
                return Ok(Poll::Ended);
            }
            let since = Instant::now();
            let left = || slice.saturating_sub(since.elapsed());
            let mut inner = loop {
                if let Some(inner) = self.inner.try_lock() {
                    break inner;
                }
                // Another thread's turn. Waiting for the lock itself would hide Ctrl-C from this one.
                self.inner.check_process()?;
                if left().is_zero() {
                    return Ok(Poll::Nothing);
                }
                std::thread::sleep(left().min(TURN));
            };
            match inner.as_mut() {
                Some(consumer) => Ok(consumer.receive(left())?.map_or(Poll::Nothing, Poll::Found)),
                None => Ok(Poll::Ended),
            }
        })?;
        if found.is_none() {
            self.ended.store(true, Ordering::Release);
        }
        Ok(found.map(|delivery| Delivery::new(py, &self.store, delivery)))
    }

    /// Commits the noted acknowledgements now. For one that came too late, the next iteration (or `close()`) raises
    /// LeaseLostError.
    ///
    /// Raises BusyError, StorageError; then they are noted still.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        call(py, || self.flush.flush())
    }

    /// Ends the iteration, from any thread: the iterator stops after the delivery it is at.
    fn stop(&self) {
        self.ended.store(true, Ordering::Release);
        self.stop.stop();
    }

    /// Commits the noted acknowledgements, releases what was only prefetched (on an at-most-once queue it is lost), gives
    /// back as failed (nack) what was handed out and not settled, and ends the iteration. Closing again does nothing.
    ///
    /// Raises LeaseLostError when an acknowledgement came too late (the others are committed), BusyError, StorageError.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        call(py, || {
            self.stop();
            let inner = self.inner.lock()?.take();
            inner.map_or(Ok(()), onceward::Consumer::close)
        })
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (_kind, error, _traceback, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        error: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        closed(error, self.close(py))
    }

    fn __repr__(&self) -> &'static str {
        if self.ended.load(Ordering::Acquire) { "<onceward.Consumer, ended>" } else { "<onceward.Consumer>" }
    }
}
