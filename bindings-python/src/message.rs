//! What is sent: the options of a send, and the class `Message` that carries them to `send_many`.

use std::time::{Duration, SystemTime};

use onceward::Headers;
use onceward::limits::PRIORITY_MAX;
use pyo3::prelude::*;
use pyo3::types::{PyDateTime, PyDict, PyString};

use crate::convert::{self, headers_dict, shown};
use crate::errors::wrong_type;

/// The options of a send as Python gives them.
pub(crate) struct Options<'a, 'py> {
    pub(crate) key: Option<&'a Bound<'py, PyAny>>,
    pub(crate) headers: Option<&'a Bound<'py, PyAny>>,
    pub(crate) priority: Option<&'a Bound<'py, PyAny>>,
    pub(crate) delay: Option<&'a Bound<'py, PyAny>>,
    pub(crate) deliver_at: Option<&'a Bound<'py, PyAny>>,
    pub(crate) time_to_live: Option<&'a Bound<'py, PyAny>>,
    pub(crate) ordering_key: Option<&'a Bound<'py, PyAny>>,
}

impl Options<'_, '_> {
    pub(crate) fn parse(&self, py: Python<'_>) -> PyResult<Parsed> {
        if self.delay.is_some() && self.deliver_at.is_some() {
            return Err(crate::errors::invalid(py, "delay and deliver_at exclude each other"));
        }
        let limits = format!("0 to {PRIORITY_MAX}");
        Ok(Parsed {
            key: convert::text_or_none("key", self.key)?,
            headers: self.headers.map(convert::headers).transpose()?.unwrap_or_default(),
            priority: self.priority.map(|value| convert::whole("priority", &limits, value)).transpose()?,
            delay: convert::duration_or_none("delay", self.delay)?,
            deliver_at: self.deliver_at.map(|value| convert::time("deliver_at", value)).transpose()?,
            time_to_live: convert::duration_or_none("time_to_live", self.time_to_live)?,
            ordering_key: convert::text_or_none("ordering_key", self.ordering_key)?,
        })
    }
}

/// The options of a send as the core takes them.
#[derive(Clone)]
pub(crate) struct Parsed {
    key: Option<String>,
    headers: Headers,
    priority: Option<u8>,
    delay: Option<Duration>,
    deliver_at: Option<SystemTime>,
    time_to_live: Option<Duration>,
    ordering_key: Option<String>,
}

impl Parsed {
    pub(crate) fn into_message(self, body: Vec<u8>) -> onceward::Message {
        let mut message = onceward::Message::new(body);
        for (name, value) in self.headers {
            message = message.header(name, value);
        }
        if let Some(key) = self.key {
            message = message.key(key);
        }
        if let Some(priority) = self.priority {
            message = message.priority(priority);
        }
        if let Some(delay) = self.delay {
            message = message.delay(delay);
        }
        if let Some(time) = self.deliver_at {
            message = message.deliver_at(time);
        }
        if let Some(time_to_live) = self.time_to_live {
            message = message.time_to_live(time_to_live);
        }
        if let Some(key) = self.ordering_key {
            message = message.ordering_key(key);
        }
        message
    }
}

/// One message for `send_many`: a body and the options that `send` takes.
///
/// The body (bytes, bytearray or memoryview) is copied when the message is sent, not before. The limits are checked
/// then, too. Raises TypeError for a wrong type, InvalidArgumentError for a duration that is negative or not finite.
#[pyclass(frozen, module = "onceward")]
pub(crate) struct Message {
    body: Py<PyAny>,
    parsed: Parsed,
}

#[pymethods]
impl Message {
    #[new]
    #[pyo3(signature = (body, *, key=None, headers=None, priority=None, delay=None, deliver_at=None, time_to_live=None,
        ordering_key=None))]
    fn new(
        body: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        priority: Option<&Bound<'_, PyAny>>,
        delay: Option<&Bound<'_, PyAny>>,
        deliver_at: Option<&Bound<'_, PyAny>>,
        time_to_live: Option<&Bound<'_, PyAny>>,
        ordering_key: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        convert::check_bytes("body", body)?;
        let options = Options { key, headers, priority, delay, deliver_at, time_to_live, ordering_key };
        Ok(Message { parsed: options.parse(body.py())?, body: body.clone().unbind() })
    }

    /// The body, as it was given.
    #[getter]
    fn body(&self, py: Python<'_>) -> Py<PyAny> {
        self.body.clone_ref(py)
    }

    /// The deduplication key.
    #[getter]
    fn key(&self) -> Option<&str> {
        self.parsed.key.as_deref()
    }

    /// The headers, in a new dict.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        headers_dict(py, &self.parsed.headers)
    }

    /// The priority, 0 (taken first) to 9; None is 4.
    #[getter]
    fn priority(&self) -> Option<u8> {
        self.parsed.priority
    }

    /// The delay in seconds.
    #[getter]
    fn delay(&self) -> Option<f64> {
        self.parsed.delay.map(|delay| delay.as_secs_f64())
    }

    /// The time from which it is offered, in UTC.
    #[getter]
    fn deliver_at<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDateTime>>> {
        self.parsed.deliver_at.map(|time| convert::datetime(py, time.into())).transpose()
    }

    /// The time to live in seconds.
    #[getter]
    fn time_to_live(&self) -> Option<f64> {
        self.parsed.time_to_live.map(|time| time.as_secs_f64())
    }

    /// The ordering key.
    #[getter]
    fn ordering_key(&self) -> Option<&str> {
        self.parsed.ordering_key.as_deref()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let bytes = self.body.bind(py).len()?;
        Ok(format!("Message(body=<{bytes} bytes>, key={})", shown(py, self.key())?))
    }
}

/// What `send_many` takes: messages, or bare bodies.
pub(crate) fn messages(values: &Bound<'_, PyAny>) -> PyResult<Vec<onceward::Message>> {
    let expected = "an iterable of Message or bytes";
    if values.is_instance_of::<PyString>() || convert::check_bytes("messages", values).is_ok() {
        return Err(wrong_type("messages", expected, values));
    }
    let iterator = values.try_iter().map_err(|_| wrong_type("messages", expected, values))?;
    iterator
        .map(|value| {
            let value = value?;
            match value.cast::<Message>() {
                Ok(message) => {
                    let message = message.get();
                    let body = convert::bytes("body", message.body.bind(value.py()))?;
                    Ok(message.parsed.clone().into_message(body))
                }
                Err(_) => Ok(onceward::Message::new(convert::bytes("message", &value)?)),
            }
        })
        .collect()
}
