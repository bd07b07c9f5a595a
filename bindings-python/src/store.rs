//! Opening a file, and the store that it becomes.

use std::path::PathBuf;

use onceward::{QueueOptions, Semantics, StoreOptions, Window};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::convert;
use crate::errors::{Released, call, closed, invalid, wrong_type};
use crate::ledger::{self, InDoubt, Ledger, Resolved};
use crate::queue::Queue;
use crate::results::{Backoff, FOREVER, StoreStats, UNLIMITED};
use crate::transaction::Transaction;

/// Opens the store in the file at `path` (":memory:" for one that ends with the program), creating it with mode 0600.
///
/// `busy_timeout` and `transaction_time_limit` are seconds or timedeltas. `body_bytes_max` is at most 256 MiB.
/// `wal_bytes_max`: past it sends raise FullError, while some reader keeps the write-ahead log from being reset.
/// `allow_remote_file_system`: open on NFS or SMB too, where the promises may not hold. `create=False` raises
/// NotFoundError when the file is missing.
///
/// Raises InvalidArgumentError for a path that is a directory or an option outside its limits, DeniedError,
/// CorruptError (no database, or a damaged one), UnsupportedError (a newer format, a remote file system), BusyError (others
/// keep the file busy, or have begun to open it and not finished), StorageError.
#[pyfunction]
#[pyo3(signature = (path, *, busy_timeout=None, body_bytes_max=None, wal_bytes_max=None, allow_remote_file_system=false,
    create=true, transaction_time_limit=None),
    text_signature = "(path, *, busy_timeout=5.0, body_bytes_max=1048576, wal_bytes_max=268435456, \
allow_remote_file_system=False, create=True, transaction_time_limit=5.0)")]
pub(crate) fn open(
    py: Python<'_>,
    path: PathBuf,
    busy_timeout: Option<&Bound<'_, PyAny>>,
    body_bytes_max: Option<&Bound<'_, PyAny>>,
    wal_bytes_max: Option<&Bound<'_, PyAny>>,
    allow_remote_file_system: bool,
    create: bool,
    transaction_time_limit: Option<&Bound<'_, PyAny>>,
) -> PyResult<Store> {
    let mut options = StoreOptions::new().allow_remote_file_system(allow_remote_file_system).create(create);
    if let Some(timeout) = convert::duration_or_none("busy_timeout", busy_timeout)? {
        options = options.busy_timeout(timeout);
    }
    if let Some(bytes) = body_bytes_max {
        options = options.body_bytes_max(convert::whole("body_bytes_max", "a number of bytes", bytes)?);
    }
    if let Some(bytes) = wal_bytes_max {
        options = options.wal_bytes_max(convert::whole("wal_bytes_max", "a number of bytes", bytes)?);
    }
    if let Some(limit) = convert::duration_or_none("transaction_time_limit", transaction_time_limit)? {
        options = options.transaction_time_limit(limit);
    }
    let inner = call(py, || options.open(&path))?;
    Ok(Store { inner: Released::new(inner) })
}

/// An open file with its queues. Close it, or use it in a with block.
///
/// Every call is safe from any thread. All raise ClosedError after `close()` and in a forked child, which opens its own.
#[pyclass(frozen, module = "onceward")]
pub(crate) struct Store {
    inner: Released<onceward::Store>,
}

#[pymethods]
impl Store {
    /// The path of the file.
    #[getter]
    fn path(&self) -> String {
        self.inner.path().to_string_lossy().into_owned()
    }

    /// A queue. With `semantics` ("at-most-once", "at-least-once", "exactly-once") it is created when it is missing;
    /// without, it must exist. Options that are given are stored in the file, the others stay as they are:
    ///
    /// `lease` (seconds or a timedelta, 1 ms to 12 h, 30 s at first), `attempts_max` (1 to 1,000,000, 20 at first, or
    /// "unlimited"), `backoff`, `deduplication_window` (seconds, a timedelta, or "forever"; at first "forever" on
    /// exactly-once, 24 h elsewhere), and, at creation only, `subscriptions`: names, instead of the one "default".
    ///
    /// Raises ConflictError when the queue has other semantics (naming both), NotFoundError without semantics when
    /// there is no such queue, InvalidArgumentError for anything outside its limits.
    #[pyo3(signature = (name, *, semantics=None, lease=None, attempts_max=None, backoff=None, deduplication_window=None,
        subscriptions=None))]
    fn queue(
        &self,
        py: Python<'_>,
        name: &Bound<'_, PyAny>,
        semantics: Option<&Bound<'_, PyAny>>,
        lease: Option<&Bound<'_, PyAny>>,
        attempts_max: Option<&Bound<'_, PyAny>>,
        backoff: Option<&Bound<'_, Backoff>>,
        deduplication_window: Option<&Bound<'_, PyAny>>,
        subscriptions: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<Queue>> {
        let name = convert::text("queue name", name)?;
        let semantics = convert::text_or_none("semantics", semantics)?;
        let options = queue_options(lease, attempts_max, backoff, deduplication_window, subscriptions)?;
        let store = &*self.inner;
        let queue = call(py, || match semantics {
            Some(semantics) => store.queue_with(&name, semantics.parse::<Semantics>()?, options),
            None => store.open_queue_with(&name, options),
        })?;
        Queue::create(py, store.clone(), queue)
    }

    /// The names of all queues.
    fn queues(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        call(py, || self.inner.queues())
    }

    /// A transaction of its own, for SQL, sends and acknowledgements in one commit. Use it in a with block: a clean exit
    /// commits, an exception rolls back. Nothing is locked before the first statement.
    fn transaction(&self, py: Python<'_>) -> PyResult<Transaction> {
        let inner = call(py, || self.inner.transaction())?;
        Ok(Transaction::new(self.inner.clone(), inner, None))
    }

    /// A ledger of effects at third parties, created where it is missing. `window` is how long an effect that is done is
    /// remembered (seconds, a timedelta, or "forever", as at first); when it is given, it is stored in the file.
    #[pyo3(signature = (name, *, window=None))]
    fn ledger(&self, py: Python<'_>, name: &Bound<'_, PyAny>, window: Option<&Bound<'_, PyAny>>) -> PyResult<Ledger> {
        Ledger::open(py, &self.inner, name, window)
    }

    /// The names of all ledgers.
    fn ledgers(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        call(py, || self.inner.ledgers())
    }

    /// Up to `max` (1 to 10,000) effects in doubt in the order of their numbers, from the one after `after` on.
    #[pyo3(signature = (*, after=None, max=None), text_signature = "($self, *, after=None, max=100)")]
    fn in_doubt(
        &self,
        py: Python<'_>,
        after: Option<&Bound<'_, PyAny>>,
        max: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<InDoubt>> {
        let (after, max) = page(after, max)?;
        let listed = call(py, || self.inner.in_doubt(after, max))?;
        Ok(listed.into_iter().map(InDoubt::from).collect())
    }

    /// Resolves a doubt: `Applied(result)` when the effect happened, NOT_APPLIED when it did not and no request for it is under
    /// way; with the evidence, and who says so. They are kept for ever. A parked message then goes on by itself; a dead
    /// letter waits to be redriven. The same answer once more changes nothing.
    ///
    /// Raises ConflictError when it was resolved with another answer, InvalidArgumentError when the doubt is over for another
    /// reason or an argument is out of its limits, NotFoundError.
    #[pyo3(signature = (doubt, resolution, *, evidence, actor))]
    fn resolve(
        &self,
        py: Python<'_>,
        doubt: &Bound<'_, PyAny>,
        resolution: &Bound<'_, PyAny>,
        evidence: &Bound<'_, PyAny>,
        actor: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let doubt: u64 = convert::whole("doubt", "a number of 0 or more", doubt)?;
        let resolution = ledger::resolution(resolution)?;
        let (evidence, actor) = (convert::text("evidence", evidence)?, convert::text("actor", actor)?);
        call(py, || self.inner.resolve(doubt, resolution, &evidence, &actor))
    }

    /// Up to `max` (1 to 10,000) resolutions in the order of their doubts, from the one after `after` on.
    #[pyo3(signature = (*, after=None, max=None), text_signature = "($self, *, after=None, max=100)")]
    fn resolutions(
        &self,
        py: Python<'_>,
        after: Option<&Bound<'_, PyAny>>,
        max: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<Resolved>> {
        let (after, max) = page(after, max)?;
        let listed = call(py, || self.inner.resolutions(after, max))?;
        Ok(listed.into_iter().map(Resolved::from).collect())
    }

    /// Sizes of the file and its log, and what is in doubt.
    fn stats(&self, py: Python<'_>) -> PyResult<StoreStats> {
        call(py, || self.inner.stats()).map(StoreStats::from)
    }

    /// Closes the file. Everything made from this store raises ClosedError afterwards; waiting calls in other threads do
    /// at once. Closing again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        call(py, || self.inner.close())
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

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Store(path={})", convert::shown(py, Some(&self.path()))?))
    }
}

/// Which part of a listing.
fn page(after: Option<&Bound<'_, PyAny>>, max: Option<&Bound<'_, PyAny>>) -> PyResult<(Option<u64>, usize)> {
    let after = after.map(|after| convert::whole("after", "a number of 0 or more", after)).transpose()?;
    let max = max.map(|max| convert::whole("max", "1 to 10000", max)).transpose()?;
    Ok((after, max.unwrap_or(100)))
}

fn queue_options(
    lease: Option<&Bound<'_, PyAny>>,
    attempts_max: Option<&Bound<'_, PyAny>>,
    backoff: Option<&Bound<'_, Backoff>>,
    deduplication_window: Option<&Bound<'_, PyAny>>,
    subscriptions: Option<&Bound<'_, PyAny>>,
) -> PyResult<QueueOptions> {
    let mut options = QueueOptions::new();
    if let Some(lease) = convert::duration_or_none("lease", lease)? {
        options = options.lease(lease);
    }
    if let Some(attempts) = attempts_max {
        options = options.attempts_max(unless_word(attempts, UNLIMITED, |value| {
            convert::whole::<u32>("attempts_max", "1 to 1000000, or \"unlimited\"", value)
        })?);
    }
    if let Some(backoff) = backoff {
        options = options.backoff(backoff.get().inner);
    }
    if let Some(window) = deduplication_window {
        let window = unless_word(window, FOREVER, |value| convert::duration("deduplication_window", value))?;
        options = options.deduplication_window(window.map_or(Window::Forever, Window::For));
    }
    if let Some(names) = subscriptions {
        if names.is_instance_of::<PyString>() || names.is_instance_of::<PyDict>() {
            return Err(wrong_type("subscriptions", "an iterable of str", names));
        }
        let names = names.try_iter()?.map(|name| convert::text("subscription name", &name?));
        options = options.subscriptions(names.collect::<PyResult<Vec<_>>>()?);
    }
    Ok(options)
}

/// A value, or None for the one word that means "no limit".
pub(crate) fn unless_word<T>(
    value: &Bound<'_, PyAny>,
    word: &str,
    parse: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T>,
) -> PyResult<Option<T>> {
    match value.cast::<PyString>() {
        Ok(text) if text.to_str().is_ok_and(|text| text == word) => Ok(None),
        Ok(text) => Err(invalid(value.py(), format!("{} is neither a number nor \"{word}\"", text.repr()?))),
        Err(_) => parse(value).map(Some),
    }
}
