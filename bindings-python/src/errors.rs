//! The border: calls into the core with the GIL released, and the core's errors as Python exceptions.
//!
//! The exception classes are Python's own (`onceward/_errors.py`); this module finds the class of a kind by its number.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use onceward::{ErrorKind, ProcessMutex};
use pyo3::exceptions::{PyImportError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

/// The code and the number of an exception that reports a panic, a bug of ours.
const PANIC: (&str, i32) = ("Panic", 255);

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

struct Classes {
    base: Py<PyType>,
    by_kind: Vec<(ErrorKind, Py<PyType>)>,
}

/// Finds the class of every kind, and refuses to import when a name or a number differs from the core's.
pub(crate) fn load_classes(py: Python<'_>) -> PyResult<()> {
    let module = py.import("onceward._errors")?;
    let by_number = module.getattr("BY_NUMBER")?.cast_into::<PyDict>()?;
    let mut by_kind = Vec::with_capacity(ErrorKind::ALL.len());
    for kind in ErrorKind::ALL {
        let class = by_number.get_item(kind.code())?.ok_or_else(|| {
            PyImportError::new_err(format!("onceward has no exception for the kind {kind} ({})", kind.code()))
        })?;
        let code: String = class.getattr("code")?.extract()?;
        if code != kind.name() {
            return Err(PyImportError::new_err(format!("exception {code} stands for the kind {kind}")));
        }
        by_kind.push((kind, class.cast_into::<PyType>()?.unbind()));
    }
    let base = module.getattr("Error")?.cast_into::<PyType>()?.unbind();
    // A second import in the same process finds the classes set already; they are the same ones.
    let _ = CLASSES.set(py, Classes { base, by_kind });
    Ok(())
}

/// Runs `work` with the GIL released. Its error, or its panic, becomes an exception.
pub(crate) fn call<T, F>(py: Python<'_>, work: F) -> PyResult<T>
where
    F: FnOnce() -> onceward::Result<T> + Send,
    T: Send,
{
    match py.detach(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(of_kind(py, error.kind(), error.message())),
        Err(panic) => Err(of_panic(py, panic.as_ref())),
    }
}

/// The exception of a kind.
pub(crate) fn of_kind(py: Python<'_>, kind: ErrorKind, message: &str) -> PyErr {
    let Some(classes) = CLASSES.get(py) else { return PyImportError::new_err("onceward is not imported") };
    match classes.by_kind.iter().find(|(known, _)| *known == kind) {
        Some((_, class)) => PyErr::from_type(class.bind(py).clone(), (message.to_owned(),)),
        None => of_base(py, classes, kind.name(), kind.code(), message),
    }
}

/// The exception that an error of the core is.
pub(crate) fn exception(py: Python<'_>, error: &onceward::Error) -> PyErr {
    of_kind(py, error.kind(), error.message())
}

/// The exception for an argument that the core's types cannot even hold.
pub(crate) fn invalid(py: Python<'_>, message: impl AsRef<str>) -> PyErr {
    of_kind(py, ErrorKind::Invalid, message.as_ref())
}

/// The exception for an argument of a wrong type.
pub(crate) fn wrong_type(name: &str, expected: &str, given: &Bound<'_, PyAny>) -> PyErr {
    let given = given.get_type().name().map_or_else(|_| "another type".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!("{name} must be {expected}, not {given}"))
}

/// Locks a mutex whose holder may have panicked: what it guards is taken out before it is used, so it stays whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something short to what a mutex guards. While a thread is in a call with it, this waits for it without the GIL.
pub(crate) fn briefly<T: Send, R: Send>(
    py: Python<'_>,
    mutex: &ProcessMutex<T>,
    work: impl FnOnce(&mut T) -> R + Send,
) -> PyResult<R> {
    if let Some(mut value) = mutex.try_lock() {
        return Ok(work(&mut value));
    }
    call(py, || Ok(work(&mut *mutex.lock()?)))
}

/// The outcome of closing at the end of a with block: an exception of the block that is passing goes on, with a note.
pub(crate) fn closed(passing: &Bound<'_, PyAny>, outcome: PyResult<()>) -> PyResult<()> {
    match outcome {
        Err(error) if !passing.is_none() => {
            passing.call_method1("add_note", (format!("closing failed as well: {error}"),))?;
            Ok(())
        }
        outcome => outcome,
    }
}

fn of_panic(py: Python<'_>, panic: &(dyn Any + Send)) -> PyErr {
    let text = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text.as_str(),
        (None, None) => "no text",
    };
    let message = format!("a bug in onceward, please report it: {text}");
    match CLASSES.get(py) {
        Some(classes) => of_base(py, classes, PANIC.0, PANIC.1, &message),
        None => PyImportError::new_err(message),
    }
}

fn of_base(py: Python<'_>, classes: &Classes, code: &str, number: i32, message: &str) -> PyErr {
    let error = PyErr::from_type(classes.base.bind(py).clone(), (message.to_owned(),));
    let value = error.value(py);
    // Setting attributes of an exception of ours fails only without memory; the class's own values stand in then.
    let _ = value.setattr("code", code).and_then(|()| value.setattr("kind_number", number));
    error
}

/// A handle of the core that is dropped with the GIL released: dropping the last one closes the store.
pub(crate) struct Released<T: Send>(Option<T>);

impl<T: Send> Released<T> {
    pub(crate) fn new(value: T) -> Self {
        Released(Some(value))
    }
}

impl<T: Send> std::ops::Deref for Released<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("invariant: taken only when dropped")
    }
}

impl<T: Send> Drop for Released<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            let drop_value = AssertUnwindSafe(move || drop(value));
            // Without an interpreter (at its end) the closure, and with it the value, is dropped right here.
            let _ = Python::try_attach(move |py| py.detach(move || catch_unwind(drop_value)));
        }
    }
}
