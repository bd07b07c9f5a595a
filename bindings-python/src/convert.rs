//! Python values to the core's, and back. Errors name the argument and its value; limits that the core can check are its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use onceward::{HeaderValue, Headers, MessageId, Millis};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyOverflowError};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDateTime, PyDelta, PyDeltaAccess, PyDict, PyFloat, PyInt, PyMapping, PyMemoryView,
    PyString, PyTzInfo, PyTzInfoAccess,
};

use crate::errors::{invalid, wrong_type};

/// An optional argument for which `None` is no value: leaving it out and passing `None` differ.
pub(crate) struct Given<'py>(pub(crate) Option<Bound<'py, PyAny>>);

impl<'py> FromPyObject<'_, 'py> for Given<'py> {
    type Error = std::convert::Infallible;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> Result<Self, Self::Error> {
        Ok(Given(Some(object.to_owned())))
    }
}

/// A duration: seconds as a number, or a `timedelta`. Not negative, finite.
pub(crate) fn duration(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let py = value.py();
    let refused = |shown: &dyn std::fmt::Display| {
        invalid(py, format!("{name} is {shown} seconds; it takes a finite number of 0 or more, below 2^64"))
    };
    if let Ok(delta) = value.cast::<PyDelta>() {
        let seconds = i64::from(delta.get_days()) * 86_400 + i64::from(delta.get_seconds());
        let Ok(whole) = u64::try_from(seconds) else {
            return Err(refused(&delta.call_method0("total_seconds")?));
        };
        return Ok(Duration::new(whole, delta.get_microseconds().unsigned_abs() * 1_000));
    }
    let seconds = number(name, "a number of seconds or a timedelta", value)?;
    Duration::try_from_secs_f64(seconds).map_err(|_| refused(value))
}

/// A duration that may be left out.
pub(crate) fn duration_or_none(name: &str, value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Duration>> {
    value.map(|value| duration(name, value)).transpose()
}

/// A number as the nearest float; NaN and the infinities are the caller's to refuse.
pub(crate) fn number(name: &str, expected: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    if value.is_instance_of::<PyBool>() {
        return Err(wrong_type(name, expected, value));
    }
    if let Ok(float) = value.cast::<PyFloat>() {
        return Ok(float.value());
    }
    value.extract::<f64>().map_err(|error| {
        if error.is_instance_of::<PyOverflowError>(value.py()) {
            invalid(value.py(), format!("{name} is {value}; that is more than a float holds"))
        } else {
            wrong_type(name, expected, value)
        }
    })
}

/// A point in time: an aware `datetime`, or seconds since the Unix epoch.
pub(crate) fn time(name: &str, value: &Bound<'_, PyAny>) -> PyResult<SystemTime> {
    let py = value.py();
    let seconds: f64 = match value.cast::<PyDateTime>() {
        Ok(datetime) if datetime.get_tzinfo().is_none() => {
            return Err(invalid(py, format!("{name} is {value}, a datetime without a time zone; give it one")));
        }
        Ok(datetime) => datetime.call_method0("timestamp")?.extract()?,
        Err(_) => number(name, "an aware datetime or a number of seconds since the epoch", value)?,
    };
    // A float holds such a time to the microsecond and no better: rounded to that, a whole millisecond stays one.
    let microseconds = (seconds.abs() * 1e6).round();
    let magnitude = (microseconds < u64::MAX as f64).then(|| Duration::from_micros(microseconds as u64));
    magnitude
        .and_then(
            |magnitude| {
                if seconds < 0.0 { UNIX_EPOCH.checked_sub(magnitude) } else { UNIX_EPOCH.checked_add(magnitude) }
            },
        )
        .ok_or_else(|| invalid(py, format!("{name} is {value}; it must be a time that the system's clock can show")))
}

/// A stored time as an aware `datetime` in UTC, to the millisecond.
pub(crate) fn datetime(py: Python<'_>, time: Millis) -> PyResult<Bound<'_, PyDateTime>> {
    PyDateTime::from_timestamp(py, time.get() as f64 / 1_000.0, Some(&*PyTzInfo::utc(py)?))
}

/// A text argument.
pub(crate) fn text(name: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    let string = value.cast::<PyString>().map_err(|_| wrong_type(name, "a str", value))?;
    match string.to_str() {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(invalid(value.py(), format!("{name} {} is not valid Unicode text", string.repr()?))),
    }
}

/// A text argument that may be left out.
pub(crate) fn text_or_none(name: &str, value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<String>> {
    value.map(|value| text(name, value)).transpose()
}

/// A whole number that fits `T`; the limits inside that are the core's.
pub(crate) fn whole<T: TryFrom<i128>>(name: &str, limits: &str, value: &Bound<'_, PyAny>) -> PyResult<T> {
    let int = value.cast::<PyInt>().ok().filter(|int| !int.is_instance_of::<PyBool>());
    let int = int.ok_or_else(|| wrong_type(name, "an int", value))?;
    int.extract::<i64>()
        .ok()
        .and_then(|number| T::try_from(i128::from(number)).ok())
        .ok_or_else(|| invalid(value.py(), format!("{name} is {value}; it takes {limits}")))
}

/// The id of a message.
pub(crate) fn message_id(value: &Bound<'_, PyAny>) -> PyResult<MessageId> {
    let number: u64 = whole("message id", "a number below 2^53", value)?;
    MessageId::new(number).map_err(|error| invalid(value.py(), error.message()))
}

/// The ids of messages.
pub(crate) fn message_ids(values: &Bound<'_, PyAny>) -> PyResult<Vec<MessageId>> {
    values.try_iter()?.map(|value| message_id(&value?)).collect()
}

/// A body or another run of bytes, copied once.
pub(crate) fn bytes(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    check_bytes(name, value)?;
    match PyBuffer::<u8>::get(value) {
        Ok(buffer) => buffer.to_vec(value.py()),
        Err(error) if error.is_instance_of::<PyBufferError>(value.py()) => {
            Err(wrong_type(name, "a buffer of unsigned bytes (cast the memoryview to \"B\")", value))
        }
        Err(error) => Err(error),
    }
}

/// Refuses what [`bytes`] will not take.
pub(crate) fn check_bytes(name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    if value.is_instance_of::<PyString>() {
        return Err(wrong_type(name, "bytes, bytearray or memoryview (a str needs .encode())", value));
    }
    let fits = value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyByteArray>()
        || value.is_instance_of::<PyMemoryView>();
    if fits { Ok(()) } else { Err(wrong_type(name, "bytes, bytearray or memoryview", value)) }
}

/// Headers: a mapping of str to str or bytes.
pub(crate) fn headers(value: &Bound<'_, PyAny>) -> PyResult<Headers> {
    let mapping =
        value.cast::<PyMapping>().map_err(|_| wrong_type("headers", "a mapping of str to str or bytes", value))?;
    let mut headers = Headers::new();
    for item in mapping.items()?.iter() {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
        let name = text("header name", &name)?;
        let label = format!("header {name:?}");
        let value = if value.is_instance_of::<PyString>() {
            HeaderValue::Text(text(&label, &value)?)
        } else if check_bytes(&label, &value).is_ok() {
            HeaderValue::Bytes(bytes(&label, &value)?)
        } else {
            return Err(wrong_type(&label, "str or bytes", &value));
        };
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Headers as a new dict.
pub(crate) fn headers_dict<'py>(py: Python<'py>, headers: &Headers) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in headers {
        match value {
            HeaderValue::Text(text) => dict.set_item(name, text)?,
            HeaderValue::Bytes(bytes) => dict.set_item(name, PyBytes::new(py, bytes))?,
        }
    }
    Ok(dict)
}

/// `repr` of a text that may be missing.
pub(crate) fn shown(py: Python<'_>, text: Option<&str>) -> PyResult<String> {
    match text {
        Some(text) => Ok(PyString::new(py, text).repr()?.to_string()),
        None => Ok("None".to_owned()),
    }
}

/// `repr` of a bool.
pub(crate) fn shown_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
