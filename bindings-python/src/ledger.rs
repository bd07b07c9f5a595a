//! Effects outside of a queue, and what is in doubt.

use onceward::{EffectOf, LedgerOptions, Resolution, Window};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDateTime};

use crate::convert::{self, datetime, shown};
use crate::effect::{Given, Options, begun, driver};
use crate::errors::{Released, call};
use crate::results::FOREVER;
use crate::store::unless_word;

/// A ledger of effects at third parties that are made once, by keys of your own: in an HTTP handler, a job of a clock, a
/// script. Every call is safe from any thread.
#[pyclass(frozen, module = "onceward")]
pub(crate) struct Ledger {
    inner: Released<onceward::Ledger>,
}

impl Ledger {
    pub(crate) fn open(
        py: Python<'_>,
        store: &onceward::Store,
        name: &Bound<'_, PyAny>,
        window: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let name = convert::text("ledger name", name)?;
        let mut options = LedgerOptions::new();
        if let Some(window) = window {
            let window = unless_word(window, FOREVER, |value| convert::duration("window", value))?;
            options = options.window(window.map_or(Window::Forever, Window::For));
        }
        let inner = call(py, || store.ledger_with(&name, &options))?;
        Ok(Ledger { inner: Released::new(inner) })
    }
}

#[pymethods]
impl Ledger {
    /// The name.
    #[getter]
    fn name(&self) -> &str {
        self.inner.name()
    }

    /// Calls `call()` once for this key (1 to 512 bytes) and returns its bytes; later calls for the key return the same bytes
    /// and call nothing. Everything that `Delivery.once` says of names holds for keys; there is no message to park.
    ///
    /// `wait`: how long to wait for another caller that is at it (seconds or a timedelta, at first not at all).
    /// `request`: what is asked of the third party, as bytes; the same key with another request raises ConflictError.
    ///
    /// Raises InDoubtError each time until it is resolved, BusyError (another caller is at it; or a probe said too early that
    /// it did not happen, and the text says until when), ConflictError, InvalidArgumentError, and what `call` raises.
    #[pyo3(signature = (key, call, *, on_unknown, probe=None, settle=None, failed_on=None, idempotent_for=None,
        wait=None, request=None), text_signature = "($self, key, call, *, on_unknown, probe=None, settle=None, \
failed_on=(), idempotent_for=None, wait=0.0, request=None)")]
    fn once<'py>(
        slf: Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        call: &Bound<'py, PyAny>,
        on_unknown: &Bound<'py, PyAny>,
        probe: Option<&Bound<'py, PyAny>>,
        settle: Option<&Bound<'py, PyAny>>,
        failed_on: Option<&Bound<'py, PyAny>>,
        idempotent_for: Option<&Bound<'py, PyAny>>,
        wait: Option<&Bound<'py, PyAny>>,
        request: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let given = Given { on_unknown, probe, settle, idempotent_for, wait, request };
        let options = given.parse(call)?;
        driver(slf.py(), "once")?.call1((slf, key, call, probe, failed_on, options))
    }

    /// `once` for asyncio: `call` and `probe` are coroutine functions. Await it.
    #[pyo3(signature = (key, call, *, on_unknown, probe=None, settle=None, failed_on=None, idempotent_for=None,
        wait=None, request=None), text_signature = "($self, key, call, *, on_unknown, probe=None, settle=None, \
failed_on=(), idempotent_for=None, wait=0.0, request=None)")]
    fn once_async<'py>(
        slf: Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        call: &Bound<'py, PyAny>,
        on_unknown: &Bound<'py, PyAny>,
        probe: Option<&Bound<'py, PyAny>>,
        settle: Option<&Bound<'py, PyAny>>,
        failed_on: Option<&Bound<'py, PyAny>>,
        idempotent_for: Option<&Bound<'py, PyAny>>,
        wait: Option<&Bound<'py, PyAny>>,
        request: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let given = Given { on_unknown, probe, settle, idempotent_for, wait, request };
        let options = given.parse(call)?;
        driver(slf.py(), "once_async")?.call1((slf, key, call, probe, failed_on, options))
    }

    fn _begin(&self, py: Python<'_>, key: &Bound<'_, PyAny>, options: &Bound<'_, Options>) -> PyResult<Py<PyAny>> {
        let key = convert::text("effect key", key)?;
        begun(py, options.get().begin_in(py, &self.inner, &key)?, None)
    }

    /// A key for third parties that recognise repetitions by one: always the same for this ledger and key, and no other
    /// effect's. It has the form of a UUID.
    fn idempotency_key(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<String> {
        let key = convert::text("effect key", key)?;
        call(py, || self.inner.idempotency_key(&key))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Ledger(name={})", shown(py, Some(self.name()))?))
    }
}

/// The result of a resolution; None for "it did not happen".
pub(crate) fn resolution(value: &Bound<'_, PyAny>) -> PyResult<Resolution> {
    let result = driver(value.py(), "result_of")?.call1((value,))?;
    if result.is_none() {
        return Ok(Resolution::NotApplied);
    }
    convert::bytes("result", &result).map(Resolution::Applied)
}

/// Whose effect it is, taken apart.
fn parts(of: &EffectOf) -> (Option<&str>, Option<&str>, Option<u64>, Option<&str>) {
    match of {
        EffectOf::Message { queue, subscription, message } => {
            (Some(queue), subscription.as_deref(), Some(message.get()), None)
        }
        EffectOf::Ledger { ledger } => (None, None, None, Some(ledger)),
        _ => (None, None, None, None),
    }
}

/// An effect of which nobody knows whether it happened. Find out, then `Store.resolve` it.
#[pyclass(frozen, module = "onceward")]
pub(crate) struct InDoubt {
    inner: onceward::InDoubt,
}

impl From<onceward::InDoubt> for InDoubt {
    fn from(inner: onceward::InDoubt) -> Self {
        InDoubt { inner }
    }
}

#[pymethods]
impl InDoubt {
    /// The number of this doubt, to resolve it by. An effect that comes to be in doubt again has another.
    #[getter]
    fn doubt(&self) -> u64 {
        self.inner.doubt
    }

    /// The queue of its message; None in a ledger.
    #[getter]
    fn queue(&self) -> Option<&str> {
        parts(&self.inner.of).0
    }

    /// The subscription of its message; None in a ledger, and when it was ended meanwhile.
    #[getter]
    fn subscription(&self) -> Option<&str> {
        parts(&self.inner.of).1
    }

    /// The id of its message; None in a ledger.
    #[getter]
    fn message(&self) -> Option<u64> {
        parts(&self.inner.of).2
    }

    /// The ledger it is in; None for a message's effect.
    #[getter]
    fn ledger(&self) -> Option<&str> {
        parts(&self.inner.of).3
    }

    /// The deduplication key of its message: what the third party may know the effect by. None in a ledger (where `name` is
    /// the key), for a message without one, and once the message is gone.
    #[getter]
    fn key(&self) -> Option<&str> {
        self.inner.key.as_deref()
    }

    /// The name of the effect; in a ledger, its key.
    #[getter]
    fn name(&self) -> &str {
        &self.inner.name
    }

    /// Since when it is in doubt, in UTC.
    #[getter]
    fn since<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        datetime(py, self.inner.since)
    }

    /// When the first call was begun that may have happened, in UTC.
    #[getter]
    fn called_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        datetime(py, self.inner.called_at)
    }

    /// What is known of it.
    #[getter]
    fn error(&self) -> &str {
        &self.inner.error
    }

    /// The process that made the last call.
    #[getter]
    fn process(&self) -> u32 {
        self.inner.process
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (name, error) = (shown(py, Some(self.name()))?, shown(py, Some(self.error()))?);
        Ok(format!("InDoubt(doubt={}, name={name}, error={error})", self.inner.doubt))
    }
}

/// A doubt that a person has resolved, and how. Kept for ever.
#[pyclass(frozen, module = "onceward")]
pub(crate) struct Resolved {
    inner: onceward::Resolved,
}

impl From<onceward::Resolved> for Resolved {
    fn from(inner: onceward::Resolved) -> Self {
        Resolved { inner }
    }
}

#[pymethods]
impl Resolved {
    /// The number of the doubt.
    #[getter]
    fn doubt(&self) -> u64 {
        self.inner.doubt
    }

    /// The queue of its message; None in a ledger.
    #[getter]
    fn queue(&self) -> Option<&str> {
        parts(&self.inner.of).0
    }

    /// The subscription of its message; None in a ledger, and when it was ended before.
    #[getter]
    fn subscription(&self) -> Option<&str> {
        parts(&self.inner.of).1
    }

    /// The id of its message; None in a ledger.
    #[getter]
    fn message(&self) -> Option<u64> {
        parts(&self.inner.of).2
    }

    /// The ledger it is in; None for a message's effect.
    #[getter]
    fn ledger(&self) -> Option<&str> {
        parts(&self.inner.of).3
    }

    /// The name of the effect; in a ledger, its key.
    #[getter]
    fn name(&self) -> &str {
        &self.inner.name
    }

    /// Since when it had been in doubt, in UTC.
    #[getter]
    fn since<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        datetime(py, self.inner.since)
    }

    /// What was known of it.
    #[getter]
    fn error(&self) -> &str {
        &self.inner.error
    }

    /// What was found out: Applied with its result, or NOT_APPLIED.
    #[getter]
    fn resolution<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.inner.resolution {
            Resolution::Applied(result) => driver(py, "Applied")?.call1((PyBytes::new(py, result),)),
            Resolution::NotApplied => driver(py, "NOT_APPLIED"),
        }
    }

    /// How it was found out.
    #[getter]
    fn evidence(&self) -> &str {
        &self.inner.evidence
    }

    /// Who did.
    #[getter]
    fn actor(&self) -> &str {
        &self.inner.actor
    }

    /// When it was resolved, in UTC.
    #[getter]
    fn resolved_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        datetime(py, self.inner.resolved_at)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (name, actor) = (shown(py, Some(self.name()))?, shown(py, Some(self.actor()))?);
        let resolution = self.resolution(py)?.repr()?;
        Ok(format!("Resolved(doubt={}, name={name}, resolution={resolution}, actor={actor})", self.inner.doubt))
    }
}
