//! Iterating over messages as they come.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pyo3::prelude::*;

use crate::delivery::Delivery;
use crate::errors::{Released, call, lock};
use crate::wait::{Poll, in_slices};

/// An iterator over deliveries, from `consume()`. Close it, or use it in a with block.
///
/// Leases are extended while it lives. An acknowledgement of its deliveries is only noted, and committed together with
/// others: with the next receive, by `flush()`, or after 100 ms. A crash before that redelivers. When such an
/// acknowledgement came too late, iterating raises LeaseLostError, and may go on afterwards.
#[pyclass(frozen, module = "onceward")]
pub(crate) struct Consumer {
    store: Released<onceward::Store>,
    /// None once it is closed.
    inner: Released<Mutex<Option<onceward::Consumer>>>,
    stop: onceward::StopHandle,
    flush: onceward::FlushHandle,
    ended: AtomicBool,
    wait: Option<Duration>,
}

impl Consumer {
    pub(crate) fn new(store: onceward::Store, inner: onceward::Consumer, wait: Option<Duration>) -> Self {
        Consumer {
            store: Released::new(store),
            stop: inner.stop_handle(),
            flush: inner.flush_handle(),
            inner: Released::new(Mutex::new(Some(inner))),
            ended: AtomicBool::new(false),
            wait,
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
            self.flush.check_process()?;
            match lock(&self.inner).as_mut() {
                Some(consumer) => Ok(consumer.receive(slice)?.map_or(Poll::Nothing, Poll::Found)),
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

    /// Commits the noted acknowledgements, releases what was only prefetched, gives back as failed (nack) what was handed
    /// out and not settled, and ends the iteration. Closing again does nothing.
    ///
    /// Raises LeaseLostError when an acknowledgement came too late (the others are committed), BusyError, StorageError.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        call(py, || {
            self.flush.check_process()?;
            self.stop();
            let inner = lock(&self.inner).take();
            inner.map_or(Ok(()), onceward::Consumer::close)
        })
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (_kind, _error, _traceback, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self) -> &'static str {
        if self.ended.load(Ordering::Acquire) { "<onceward.Consumer, ended>" } else { "<onceward.Consumer>" }
    }
}
