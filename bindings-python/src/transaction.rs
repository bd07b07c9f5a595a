//! Effects, sends and acknowledgements in one commit.

use std::sync::Mutex;

use onceward::limits::TEXT_BYTES_MAX;
use onceward::{ProcessMutex, Value};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyFloat, PyInt, PyIterator, PyList, PyMemoryView, PyString, PyTuple};

use crate::convert;
use crate::delivery::{Delivery, Settling};
use crate::errors::{Released, call, invalid, lock, wrong_type};
use crate::message::Options;
use crate::queue::queue_or_name;
use crate::results::Sent;

/// One commit for SQL on the application's own tables, sends, acknowledgements, and the delivery it was started from.
///
/// Use it in a with block: a clean exit commits; an exception, also one of the commit, rolls back and gives the delivery
/// back (nack, with the exception as its error text). The write lock is taken at the first statement and held up to the store's
/// `transaction_time_limit`: think first, then write. A lost lease fails the commit with LeaseLostError, and nothing
/// of it happened. Raises ExpiredError past the time limit, SqlError for the application's own SQL.
#[pyclass(frozen, module = "onceward")]
pub(crate) struct Transaction {
    store: Released<onceward::Store>,
    /// None once it is over.
    inner: Released<ProcessMutex<Option<onceward::Transaction>>>,
    delivery: Option<Py<Delivery>>,
    acknowledged: Mutex<Vec<Py<Delivery>>>,
}

impl Transaction {
    pub(crate) fn new(store: onceward::Store, inner: onceward::Transaction, delivery: Option<Py<Delivery>>) -> Self {
        Transaction {
            store: Released::new(store),
            inner: Released::new(ProcessMutex::new(Some(inner))),
            delivery,
            acknowledged: Mutex::new(Vec::new()),
        }
    }

    /// Runs `work` on the open transaction.
    fn call<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut onceward::Transaction) -> onceward::Result<T> + Send,
    ) -> PyResult<T> {
        let done = call(py, || self.inner.lock()?.as_mut().map(work).transpose())?;
        done.ok_or_else(|| over(py))
    }

    /// Takes the transaction out, so that it ends exactly once.
    fn end(&self, py: Python<'_>) -> PyResult<Option<onceward::Transaction>> {
        call(py, || Ok(self.inner.lock()?.take()))
    }

    fn commit_taken(&self, py: Python<'_>, inner: onceward::Transaction) -> PyResult<()> {
        let acknowledged = std::mem::take(&mut *lock(&self.acknowledged));
        call(py, || inner.commit())?;
        for delivery in acknowledged.iter().chain(&self.delivery) {
            delivery.get().set_settled(py);
        }
        Ok(())
    }

    /// Rolls back and gives the delivery back.
    fn fail(&self, py: Python<'_>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Some(inner) = self.end(py)? {
            call(py, || {
                inner.rollback();
                Ok(())
            })?;
            self.give_back(py, error);
        }
        Ok(())
    }

    fn give_back(&self, py: Python<'_>, error: &Bound<'_, PyAny>) {
        if let Some(delivery) = &self.delivery {
            delivery.get().give_back(py, &onceward::Nack::new().error(error_text(error)));
        }
    }
}

fn over(py: Python<'_>) -> PyErr {
    invalid(py, "the transaction is over: it was committed or rolled back")
}

/// The last line of a traceback, cut to what is kept with a message.
pub(crate) fn error_text(error: &Bound<'_, PyAny>) -> String {
    let name = error.get_type().name().map_or_else(|_| "exception".to_owned(), |name| name.to_string());
    let mut text = match error.str() {
        Ok(text) if !text.to_string_lossy().is_empty() => format!("{name}: {}", text.to_string_lossy()),
        _ => name,
    };
    text = text.replace('\0', "\u{fffd}");
    let cut = (0..=TEXT_BYTES_MAX).rev().find(|&cut| text.is_char_boundary(cut));
    text.truncate(cut.unwrap_or(0));
    text
}

#[pymethods]
impl Transaction {
    /// Runs one statement and returns how many rows it changed. `parameters` fill its `?` marks: None, int (64 bits),
    /// float, str, or bytes.
    ///
    /// Raises SqlError when SQLite refuses it, InvalidArgumentError for tables named onceward_*, PRAGMA, ATTACH, BEGIN
    /// and COMMIT, BusyError, ExpiredError.
    #[pyo3(signature = (sql, parameters=None, /), text_signature = "($self, sql, parameters=(), /)")]
    fn execute(&self, sql: &Bound<'_, PyAny>, parameters: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
        let (text, values) = (convert::text("sql", sql)?, row(parameters)?);
        self.call(sql.py(), |inner| inner.execute(&text, &values))
    }

    /// Runs one statement for each of the parameter rows and returns how many rows it changed in all. See `execute`.
    #[pyo3(signature = (sql, parameters, /))]
    fn executemany(&self, sql: &Bound<'_, PyAny>, parameters: &Bound<'_, PyAny>) -> PyResult<u64> {
        let text = convert::text("sql", sql)?;
        let rows = parameters.try_iter()?.map(|values| row(Some(&values?))).collect::<PyResult<Vec<_>>>()?;
        self.call(sql.py(), |inner| inner.execute_many(&text, &rows))
    }

    /// Runs one query and returns its rows. It sees what the transaction wrote. See `execute`.
    #[pyo3(signature = (sql, parameters=None, /), text_signature = "($self, sql, parameters=(), /)")]
    fn query(&self, sql: &Bound<'_, PyAny>, parameters: Option<&Bound<'_, PyAny>>) -> PyResult<Rows> {
        let (text, values) = (convert::text("sql", sql)?, row(parameters)?);
        let rows = self.call(sql.py(), |inner| inner.query(&text, &values))?;
        Rows::new(sql.py(), rows)
    }

    /// Sends to a queue (or to the name of an existing one): the message exists if and only if the transaction commits.
    /// Options and errors are those of `Queue.send`.
    #[pyo3(signature = (queue, body, *, key=None, headers=None, priority=None, delay=None, deliver_at=None,
        time_to_live=None, ordering_key=None))]
    fn send(
        &self,
        queue: &Bound<'_, PyAny>,
        body: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        priority: Option<&Bound<'_, PyAny>>,
        delay: Option<&Bound<'_, PyAny>>,
        deliver_at: Option<&Bound<'_, PyAny>>,
        time_to_live: Option<&Bound<'_, PyAny>>,
        ordering_key: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Sent> {
        let py = body.py();
        let options = Options { key, headers, priority, delay, deliver_at, time_to_live, ordering_key };
        let message = options.parse(py)?.into_message(convert::bytes("body", body)?);
        let queue = queue_or_name(&self.store, queue)?;
        self.call(py, |inner| inner.send(&queue, message)).map(Sent::from)
    }

    /// Acknowledges further deliveries of `receiver` (a queue or a subscription) in this commit. Raises LeaseLostError
    /// when one is lost; the transaction cannot commit then.
    fn ack(&self, receiver: &Bound<'_, crate::receiver::Receiver>, deliveries: &Bound<'_, PyAny>) -> PyResult<()> {
        let settling = Settling::parse(deliveries)?;
        let subscription = receiver.get().resolve(deliveries.py())?;
        self.call(deliveries.py(), |inner| inner.ack(&subscription, &settling.receipts))?;
        lock(&self.acknowledged).extend(settling.into_deliveries());
        Ok(())
    }

    /// Commits, and acknowledges the delivery it was started from. On disk when it returns, on exactly-once queues.
    ///
    /// Raises LeaseLostError (rolled back: nothing of it happened), ExpiredError, SqlError, BusyError, FullError;
    /// InvalidArgumentError when the transaction is over. After StorageError the outcome is unknown.
    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        let inner = self.end(py)?.ok_or_else(|| over(py))?;
        self.commit_taken(py, inner)
    }

    /// Rolls back: nothing of it happened. The delivery stays in your hands. A transaction that is over stays as it is.
    fn rollback(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(inner) = self.end(py)? {
            call(py, || {
                inner.rollback();
                Ok(())
            })?;
        }
        Ok(())
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (kind, error, _traceback, /))]
    fn __exit__(
        &self,
        kind: &Bound<'_, PyAny>,
        error: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = kind.py();
        if !kind.is_none() {
            return self.fail(py, error);
        }
        let settled = self.delivery.as_ref().map_or(Ok(false), |own| own.get().is_settled(py))?;
        match self.end(py)? {
            // Nothing was begun, and an effect has already said what becomes of the message.
            Some(inner) if !inner.is_begun() && settled => Ok(()),
            // The token decides: after a commit that took effect all the same, giving the message back does nothing.
            Some(inner) => {
                self.commit_taken(py, inner).inspect_err(|error| self.give_back(py, error.value(py).as_any()))
            }
            None => Ok(()),
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let open = call(py, || Ok(self.inner.lock()?.is_some()))?;
        Ok(format!("<onceward.Transaction, {}>", if open { "open" } else { "over" }))
    }
}

/// The rows of a query: a sequence of tuples, and the names of the columns.
#[pyclass(frozen, module = "onceward")]
pub(crate) struct Rows {
    columns: Py<PyTuple>,
    rows: Py<PyList>,
}

impl Rows {
    fn new(py: Python<'_>, rows: onceward::Rows) -> PyResult<Self> {
        let tuples = PyList::empty(py);
        for values in rows.rows {
            let values = values.into_iter().map(|value| from_value(py, value)).collect::<PyResult<Vec<_>>>()?;
            tuples.append(PyTuple::new(py, values)?)?;
        }
        Ok(Rows { columns: PyTuple::new(py, rows.columns)?.unbind(), rows: tuples.unbind() })
    }
}

#[pymethods]
impl Rows {
    /// The names of the columns.
    #[getter]
    fn columns(&self, py: Python<'_>) -> Py<PyTuple> {
        self.columns.clone_ref(py)
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.rows.bind(py).len()
    }

    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.rows.bind(index.py()).as_any().get_item(index)
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.rows.bind(py).try_iter()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Rows(columns={}, rows=<{} rows>)", self.columns.bind(py).repr()?, self.__len__(py)))
    }
}

/// A row of parameters.
fn row(parameters: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<Value>> {
    let Some(parameters) = parameters else { return Ok(Vec::new()) };
    let sequence = parameters.is_instance_of::<PyTuple>() || parameters.is_instance_of::<PyList>();
    if !sequence {
        return Err(wrong_type("parameters", "a tuple or a list", parameters));
    }
    parameters.try_iter()?.enumerate().map(|(index, value)| to_value(index + 1, &value?)).collect()
}

fn to_value(number: usize, value: &Bound<'_, PyAny>) -> PyResult<Value> {
    let name = format!("parameter {number}");
    if value.is_none() {
        Ok(Value::Null)
    } else if let Ok(int) = value.cast::<PyInt>() {
        let int = int.extract::<i64>();
        int.map(Value::Integer)
            .map_err(|_| invalid(value.py(), format!("{name} is {value}; an integer of SQL takes 64 bits")))
    } else if let Ok(float) = value.cast::<PyFloat>() {
        Ok(Value::Real(float.extract()?))
    } else if value.is_instance_of::<PyString>() {
        convert::text(&name, value).map(Value::Text)
    } else if value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyByteArray>()
        || value.is_instance_of::<PyMemoryView>()
    {
        convert::bytes(&name, value).map(Value::Blob)
    } else {
        Err(wrong_type(&name, "None, int, float, str or bytes", value))
    }
}

fn from_value(py: Python<'_>, value: Value) -> PyResult<Bound<'_, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Integer(value) => value.into_pyobject(py)?.into_any(),
        Value::Real(value) => value.into_pyobject(py)?.into_any(),
        Value::Text(value) => value.into_pyobject(py)?.into_any(),
        Value::Blob(value) => PyBytes::new(py, &value).into_any(),
    })
}
