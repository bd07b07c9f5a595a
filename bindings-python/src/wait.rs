//! Waiting so that Ctrl-C works: in slices, with a look for signals between them.

use std::time::{Duration, Instant};

use onceward::limits::WAIT_MAX;
use pyo3::prelude::*;

use crate::errors::{call, invalid};

/// The longest time between two looks for a signal.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

/// Calls `poll` with at most a slice of time, with the GIL released, until it finds something or the wait is over.
/// No wait means for ever. A signal handler that raises (Ctrl-C does) ends it with that exception.
pub(crate) fn in_slices<T: Send>(
    py: Python<'_>,
    wait: Option<Duration>,
    mut poll: impl FnMut(Duration) -> onceward::Result<Poll<T>> + Send,
) -> PyResult<Option<T>> {
    let deadline = wait.map(|wait| Instant::now() + wait);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let slice = left.map_or(SLICE, |left| left.min(SLICE));
        match call(py, || poll(slice))? {
            Poll::Found(found) => return Ok(Some(found)),
            Poll::Ended => return Ok(None),
            Poll::Nothing => py.check_signals()?,
        }
        if left.is_some_and(|left| left <= SLICE) {
            return Ok(None);
        }
    }
}

/// What one slice of waiting brought.
pub(crate) enum Poll<T> {
    /// It is here.
    Found(T),
    /// Nothing yet.
    Nothing,
    /// Nothing, and nothing will come.
    Ended,
}

/// Refuses a wait past the limit, which the core would see only in slices.
pub(crate) fn check(py: Python<'_>, wait: Duration) -> PyResult<Duration> {
    if wait > WAIT_MAX {
        return Err(invalid(
            py,
            format!("wait is {} seconds; the limit is {}", wait.as_secs_f64(), WAIT_MAX.as_secs()),
        ));
    }
    Ok(wait)
}
