//! Effects at third parties: what `onceward/_once.py` drives, and what it drives them on.

use std::sync::Mutex;
use std::time::Duration;

use onceward::{Begun, OnUnknown, OnceOptions};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::convert;
use crate::delivery::Delivery;
use crate::errors::{Released, call, exception, invalid, lock, wrong_type};
use crate::transaction::error_text;
use crate::wait::{self, SLICE};

/// How an effect is made once, as it was asked for.
#[pyclass(frozen, name = "_OnceOptions", module = "onceward")]
pub(crate) struct Options {
    pub(crate) inner: OnceOptions,
    /// How long to wait for another caller.
    wait: Duration,
}

/// The keyword arguments of `once`.
pub(crate) struct Given<'a, 'py> {
    pub(crate) on_unknown: &'a Bound<'py, PyAny>,
    pub(crate) probe: Option<&'a Bound<'py, PyAny>>,
    pub(crate) settle: Option<&'a Bound<'py, PyAny>>,
    pub(crate) idempotent_for: Option<&'a Bound<'py, PyAny>>,
    pub(crate) wait: Option<&'a Bound<'py, PyAny>>,
    pub(crate) request: Option<&'a Bound<'py, PyAny>>,
}

impl Given<'_, '_> {
    pub(crate) fn parse(&self, callee: &Bound<'_, PyAny>) -> PyResult<Options> {
        let py = self.on_unknown.py();
        for (name, value) in [("call", Some(callee)), ("probe", self.probe)] {
            if let Some(value) = value.filter(|value| !value.is_callable()) {
                return Err(wrong_type(name, "callable without arguments", value));
            }
        }
        let on_unknown = convert::text("on_unknown", self.on_unknown)?;
        let settle = convert::duration_or_none("settle", self.settle)?;
        let on_unknown = match (on_unknown.as_str(), self.probe, settle) {
            ("park", None, None) => OnUnknown::Park,
            ("fail", None, None) => OnUnknown::Fail,
            ("park" | "fail", _, _) => {
                return Err(invalid(py, "probe and settle go with on_unknown=\"probe\", and with nothing else"));
            }
            ("probe", Some(_), Some(settle)) => OnUnknown::Probe { settle },
            ("probe", _, _) => {
                return Err(invalid(py, "on_unknown=\"probe\" takes a probe and a settle delay: give both"));
            }
            (other, _, _) => {
                let shown = PyString::new(py, other).repr()?;
                return Err(invalid(py, format!("on_unknown is {shown}; it takes \"park\", \"probe\" or \"fail\"")));
            }
        };
        let mut inner = OnceOptions::new(on_unknown);
        if let Some(window) = convert::duration_or_none("idempotent_for", self.idempotent_for)? {
            inner = inner.idempotent_for(window);
        }
        if let Some(request) = self.request {
            inner = inner.request(convert::bytes("request", request)?);
        }
        let wait = convert::duration_or_none("wait", self.wait)?.unwrap_or_default();
        Ok(Options { inner, wait: wait::check(py, wait)? })
    }
}

#[pymethods]
impl Options {
    /// How long to wait for another caller, in seconds.
    #[getter]
    fn wait(&self) -> f64 {
        self.wait.as_secs_f64()
    }

    /// The same without waiting, for callers that wait by other means than a thread.
    fn at_once(&self) -> Options {
        Options { inner: self.inner.clone(), wait: Duration::ZERO }
    }
}

impl Options {
    /// Begins an effect of a ledger, waiting for another caller in slices, so that Ctrl-C works.
    pub(crate) fn begin_in(&self, py: Python<'_>, ledger: &onceward::Ledger, key: &str) -> PyResult<Begun> {
        let since = std::time::Instant::now();
        loop {
            let left = self.wait.saturating_sub(since.elapsed());
            let last = left <= SLICE;
            let options = self.inner.clone().wait(left.min(SLICE));
            let begun = call(py, || match ledger.begin_once(key, &options) {
                Err(error) if error.kind() == onceward::ErrorKind::Busy && !last => Ok(None),
                begun => begun.map(Some),
            })?;
            match begun {
                Some(begun) => return Ok(begun),
                None => py.check_signals()?,
            }
        }
    }
}

/// A call that is recorded as started, or a result, or a question.
pub(crate) fn begun(py: Python<'_>, begun: Begun, delivery: Option<&Py<Delivery>>) -> PyResult<Py<PyAny>> {
    let delivery = delivery.map(|delivery| delivery.clone_ref(py));
    match begun {
        Begun::Done(result) => PyBytes::new(py, &result).into_py_any(py),
        Begun::Call(effect) => Effect { inner: Released::new(Mutex::new(Some(effect))), delivery }.into_py_any(py),
        Begun::Probe(probe) => Probe { inner: Released::new(Mutex::new(Some(probe))), delivery }.into_py_any(py),
    }
}

/// Takes out what is used once.
fn take<T: Send>(py: Python<'_>, inner: &Mutex<Option<T>>) -> PyResult<T> {
    lock(inner).take().ok_or_else(|| invalid(py, "it was said already how this ended"))
}

/// What to keep of an exception, or of words.
fn words(why: &Bound<'_, PyAny>) -> String {
    match why.cast::<PyString>() {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => error_text(why),
    }
}

/// A call that may be made now, and that is recorded as started.
#[pyclass(frozen, name = "_Effect", module = "onceward")]
pub(crate) struct Effect {
    inner: Released<Mutex<Option<onceward::Effect>>>,
    delivery: Option<Py<Delivery>>,
}

#[pymethods]
impl Effect {
    /// It happened.
    fn done(&self, py: Python<'_>, result: &Bound<'_, PyAny>) -> PyResult<Py<PyBytes>> {
        let result = convert::bytes("the result of the call", result)?;
        let effect = take(py, &self.inner)?;
        let done = call(py, || effect.done(result));
        self.note(py);
        done.map(|result| PyBytes::new(py, &result).unbind())
    }

    /// It is known not to have happened. Returns the exception that says so.
    fn failed(&self, py: Python<'_>, why: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let (effect, why) = (take(py, &self.inner)?, words(why));
        let error = call(py, || Ok(effect.failed(&why)))?;
        exception(py, &error).into_py_any(py)
    }

    /// Nobody knows. Returns the exception that says so.
    fn unknown(&self, py: Python<'_>, why: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let (effect, why) = (take(py, &self.inner)?, words(why));
        let error = call(py, || Ok(effect.unknown(&why)))?;
        self.note(py);
        exception(py, &error).into_py_any(py)
    }

    /// It was never made.
    fn not_called(&self, py: Python<'_>) -> PyResult<()> {
        let effect = take(py, &self.inner)?;
        call(py, || effect.not_called())
    }
}

impl Effect {
    fn note(&self, py: Python<'_>) {
        if let Some(delivery) = &self.delivery {
            delivery.get().note_settled(py);
        }
    }
}

/// A question to the third party.
#[pyclass(frozen, name = "_Probe", module = "onceward")]
pub(crate) struct Probe {
    inner: Released<Mutex<Option<onceward::Probe>>>,
    delivery: Option<Py<Delivery>>,
}

#[pymethods]
impl Probe {
    /// It happened.
    fn applied(&self, py: Python<'_>, result: &Bound<'_, PyAny>) -> PyResult<Py<PyBytes>> {
        let result = convert::bytes("the result of the probe", result)?;
        let probe = take(py, &self.inner)?;
        let applied = call(py, || probe.applied(result));
        self.note(py);
        applied.map(|result| PyBytes::new(py, &result).unbind())
    }

    /// It did not happen: what to do now.
    fn not_applied(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let probe = take(py, &self.inner)?;
        let next = call(py, || probe.not_applied());
        self.note(py);
        begun(py, next?, self.delivery.as_ref())
    }

    /// It cannot tell. Returns the exception that says so.
    fn unknown(&self, py: Python<'_>, why: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let (probe, why) = (take(py, &self.inner)?, words(why));
        let error = call(py, || Ok(probe.unknown(&why)))?;
        self.note(py);
        exception(py, &error).into_py_any(py)
    }
}

impl Probe {
    fn note(&self, py: Python<'_>) {
        if let Some(delivery) = &self.delivery {
            delivery.get().note_settled(py);
        }
    }
}

/// A function of `onceward/_once.py`.
pub(crate) fn driver<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("onceward._once")?.getattr(name)
}
