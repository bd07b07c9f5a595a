//! Frozen classes for what calls return: plain values with a `repr`.

use std::time::Duration;

use onceward::{MessageId, Window};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDateTime, PyDict, PyString};

use crate::convert::{self, datetime, headers_dict, shown, shown_bool};

/// The word for a deduplication window without end.
pub(crate) const FOREVER: &str = "forever";
/// The word for attempts without a limit.
pub(crate) const UNLIMITED: &str = "unlimited";

/// What became of a message sent.
#[pyclass(frozen, eq, hash, module = "onceward")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Sent {
    /// The id of the message: the new one, or the one that the key already stood for. Below 2^53.
    #[pyo3(get)]
    id: u64,
    /// Whether the key was already known, so that nothing was written.
    #[pyo3(get)]
    duplicate: bool,
}

impl From<onceward::Sent> for Sent {
    fn from(sent: onceward::Sent) -> Self {
        Sent { id: sent.id.get(), duplicate: sent.duplicate }
    }
}

#[pymethods]
impl Sent {
    fn __repr__(&self) -> String {
        format!("Sent(id={}, duplicate={})", self.id, shown_bool(self.duplicate))
    }
}

/// How long a message waits for its next attempt: `first` seconds, then `factor` times as long each time, up to `cap`
/// seconds, of which a random part up to `jitter` (0 to 1) is taken off.
#[pyclass(frozen, eq, module = "onceward")]
#[derive(PartialEq)]
pub(crate) struct Backoff {
    pub(crate) inner: onceward::Backoff,
}

#[pymethods]
impl Backoff {
    #[new]
    #[pyo3(signature = (*, first=None, factor=None, cap=None, jitter=None),
        text_signature = "(*, first=1.0, factor=2.0, cap=3600.0, jitter=0.5)")]
    fn new(
        first: Option<&Bound<'_, PyAny>>,
        factor: Option<&Bound<'_, PyAny>>,
        cap: Option<&Bound<'_, PyAny>>,
        jitter: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let mut inner = onceward::Backoff::default();
        if let Some(first) = convert::duration_or_none("first", first)? {
            inner.first = first;
        }
        if let Some(factor) = factor {
            inner.factor = convert::number("factor", "a number", factor)?;
        }
        if let Some(cap) = convert::duration_or_none("cap", cap)? {
            inner.cap = cap;
        }
        if let Some(jitter) = jitter {
            inner.jitter = convert::number("jitter", "a number", jitter)?;
        }
        Ok(Backoff { inner })
    }

    /// Seconds before the second attempt.
    #[getter]
    fn first(&self) -> f64 {
        self.inner.first.as_secs_f64()
    }

    /// How many times as long each further wait is.
    #[getter]
    fn factor(&self) -> f64 {
        self.inner.factor
    }

    /// Seconds of the longest wait.
    #[getter]
    fn cap(&self) -> f64 {
        self.inner.cap.as_secs_f64()
    }

    /// The part of a wait, 0 to 1, that chance may take off.
    #[getter]
    fn jitter(&self) -> f64 {
        self.inner.jitter
    }

    fn __repr__(&self) -> String {
        let Backoff { inner } = self;
        format!(
            "Backoff(first={:?}, factor={:?}, cap={:?}, jitter={:?})",
            inner.first.as_secs_f64(),
            inner.factor,
            inner.cap.as_secs_f64(),
            inner.jitter
        )
    }
}

/// The settings of a queue, as the file holds them.
#[pyclass(frozen, module = "onceward")]
pub(crate) struct QueueSettings {
    inner: onceward::QueueSettings,
}

impl From<onceward::QueueSettings> for QueueSettings {
    fn from(inner: onceward::QueueSettings) -> Self {
        QueueSettings { inner }
    }
}

#[pymethods]
impl QueueSettings {
    /// The promise: "at-most-once", "at-least-once" or "exactly-once".
    #[getter]
    fn semantics(&self) -> &'static str {
        self.inner.semantics.name()
    }

    /// The lease in seconds.
    #[getter]
    fn lease(&self) -> f64 {
        self.inner.lease.as_secs_f64()
    }

    /// Deliveries before a message is dead-lettered, or "unlimited".
    #[getter]
    fn attempts_max<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.inner.attempts_max {
            Some(attempts) => Ok(attempts.into_pyobject(py)?.into_any()),
            None => Ok(PyString::intern(py, UNLIMITED).into_any()),
        }
    }

    /// The wait between attempts.
    #[getter]
    fn backoff(&self) -> Backoff {
        Backoff { inner: self.inner.backoff }
    }

    /// How long a key is remembered, in seconds, or "forever".
    #[getter]
    fn deduplication_window<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.inner.deduplication_window {
            Window::For(window) => Ok(window.as_secs_f64().into_pyobject(py)?.into_any()),
            Window::Forever => Ok(PyString::intern(py, FOREVER).into_any()),
        }
    }

    /// Whether receiving is paused.
    #[getter]
    fn paused(&self) -> bool {
        self.inner.paused
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "QueueSettings(semantics='{}', lease={:?}, attempts_max={}, backoff={}, deduplication_window={}, paused={})",
            self.semantics(),
            self.lease(),
            self.attempts_max(py)?.repr()?,
            self.backoff().__repr__(),
            self.deduplication_window(py)?.repr()?,
            shown_bool(self.paused()),
        ))
    }
}

/// How many messages a subscription has, by state.
#[pyclass(frozen, module = "onceward", get_all)]
pub(crate) struct Stats {
    /// Messages that a receive would hand over now.
    ready: u64,
    /// Messages that wait for their time: a delay, or a retry.
    delayed: u64,
    /// Messages that wait for an earlier one with the same ordering key.
    blocked: u64,
    /// Messages under a lease.
    in_flight: u64,
    /// Dead letters.
    dead: u64,
    /// Messages with an effect whose outcome is unknown.
    in_doubt: u64,
    /// Seconds since the oldest unfinished message was sent; None when there is none.
    oldest_age: Option<f64>,
}

impl From<onceward::Stats> for Stats {
    fn from(stats: onceward::Stats) -> Self {
        Stats {
            ready: stats.ready,
            delayed: stats.delayed,
            blocked: stats.blocked,
            in_flight: stats.in_flight,
            dead: stats.dead,
            in_doubt: stats.in_doubt,
            oldest_age: stats.oldest_age.map(|age: Duration| age.as_secs_f64()),
        }
    }
}

#[pymethods]
impl Stats {
    fn __repr__(&self) -> String {
        let age = self.oldest_age.map_or_else(|| "None".to_owned(), |age| format!("{age:?}"));
        format!(
            "Stats(ready={}, delayed={}, blocked={}, in_flight={}, dead={}, in_doubt={}, oldest_age={age})",
            self.ready, self.delayed, self.blocked, self.in_flight, self.dead, self.in_doubt
        )
    }
}

/// Figures of a whole store.
#[pyclass(frozen, module = "onceward", get_all)]
pub(crate) struct StoreStats {
    /// Bytes of the database file.
    file_bytes: u64,
    /// Bytes of the write-ahead log beside it.
    wal_bytes: u64,
    /// Effects at third parties whose outcome is unknown, in all queues.
    in_doubt: u64,
    /// The number of queues.
    queues: u64,
    /// The version of the SQLite inside this module.
    sqlite_version: String,
}

impl From<onceward::StoreStats> for StoreStats {
    fn from(stats: onceward::StoreStats) -> Self {
        StoreStats {
            file_bytes: stats.file_bytes,
            wal_bytes: stats.wal_bytes,
            in_doubt: stats.in_doubt,
            queues: stats.queues,
            sqlite_version: stats.sqlite_version,
        }
    }
}

#[pymethods]
impl StoreStats {
    fn __repr__(&self) -> String {
        format!(
            "StoreStats(file_bytes={}, wal_bytes={}, in_doubt={}, queues={}, sqlite_version='{}')",
            self.file_bytes, self.wal_bytes, self.in_doubt, self.queues, self.sqlite_version
        )
    }
}

/// A message that was looked at, not received: nothing about it changed.
#[pyclass(frozen, module = "onceward")]
pub(crate) struct Peeked {
    inner: onceward::Peeked,
}

impl From<onceward::Peeked> for Peeked {
    fn from(inner: onceward::Peeked) -> Self {
        Peeked { inner }
    }
}

#[pymethods]
impl Peeked {
    /// The id of the message.
    #[getter]
    fn id(&self) -> u64 {
        MessageId::get(self.inner.id)
    }

    /// The body.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.body)
    }

    /// The headers, in a new dict.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        headers_dict(py, &self.inner.headers)
    }

    /// The deduplication key.
    #[getter]
    fn key(&self) -> Option<&str> {
        self.inner.key.as_deref()
    }

    /// The ordering key.
    #[getter]
    fn ordering_key(&self) -> Option<&str> {
        self.inner.ordering_key.as_deref()
    }

    /// The priority, 0 (taken first) to 9.
    #[getter]
    fn priority(&self) -> u8 {
        self.inner.priority
    }

    /// When it was sent, in UTC.
    #[getter]
    fn sent_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        datetime(py, self.inner.sent_at)
    }

    /// How often it was delivered so far.
    #[getter]
    fn attempts(&self) -> u32 {
        self.inner.attempts
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let Peeked { inner } = self;
        let key = shown(py, self.key())?;
        Ok(format!(
            "Peeked(id={}, body=<{} bytes>, key={key}, attempts={})",
            inner.id,
            inner.body.len(),
            inner.attempts
        ))
    }
}

/// A message that was given up, with the reason. Redrive it or purge it.
#[pyclass(frozen, module = "onceward")]
pub(crate) struct DeadLetter {
    inner: onceward::DeadLetter,
}

impl From<onceward::DeadLetter> for DeadLetter {
    fn from(inner: onceward::DeadLetter) -> Self {
        DeadLetter { inner }
    }
}

#[pymethods]
impl DeadLetter {
    /// The id of the message.
    #[getter]
    fn id(&self) -> u64 {
        MessageId::get(self.inner.message.id)
    }

    /// The body.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.message.body)
    }

    /// The headers, in a new dict.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        headers_dict(py, &self.inner.message.headers)
    }

    /// The deduplication key.
    #[getter]
    fn key(&self) -> Option<&str> {
        self.inner.message.key.as_deref()
    }

    /// The ordering key.
    #[getter]
    fn ordering_key(&self) -> Option<&str> {
        self.inner.message.ordering_key.as_deref()
    }

    /// The priority, 0 (taken first) to 9.
    #[getter]
    fn priority(&self) -> u8 {
        self.inner.message.priority
    }

    /// How often it was delivered.
    #[getter]
    fn attempts(&self) -> u32 {
        self.inner.message.attempts
    }

    /// Why it was given up.
    #[getter]
    fn reason(&self) -> &str {
        &self.inner.reason
    }

    /// The last error text that a nack left with it.
    #[getter]
    fn error(&self) -> Option<&str> {
        self.inner.error.as_deref()
    }

    /// When it was given up, in UTC.
    #[getter]
    fn died_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        datetime(py, self.inner.died_at)
    }

    /// When it was sent, in UTC.
    #[getter]
    fn sent_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        datetime(py, self.inner.message.sent_at)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "DeadLetter(id={}, attempts={}, reason={}, error={}, key={})",
            self.inner.message.id,
            self.inner.message.attempts,
            shown(py, Some(self.reason()))?,
            shown(py, self.error())?,
            shown(py, self.key())?
        ))
    }
}
