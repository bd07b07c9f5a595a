//! A queue: sending, and what concerns all of its subscriptions.

use onceward::Start;
use pyo3::prelude::*;

use crate::convert;
use crate::errors::{Released, call, invalid, wrong_type};
use crate::message::Options;
use crate::receiver::{Receiver, Source, Subscription};
use crate::results::{QueueSettings, Sent};

/// A named queue with one promise. Send to it, and receive from it.
///
/// Every call is safe from any thread. All raise ClosedError after the store was closed and in a forked child, BusyError
/// when others kept the store busy, StorageError, CorruptError or DetachedError when the file is in trouble.
#[pyclass(frozen, extends = Receiver, module = "onceward")]
pub(crate) struct Queue {
    inner: Released<onceward::Queue>,
}

impl Queue {
    pub(crate) fn create(py: Python<'_>, store: onceward::Store, queue: onceward::Queue) -> PyResult<Py<Self>> {
        let receiver = Receiver::new(store, Source::Queue(queue.clone()));
        let queue = Queue { inner: Released::new(queue) };
        Py::new(py, PyClassInitializer::from(receiver).add_subclass(queue))
    }

    pub(crate) fn core(&self) -> &onceward::Queue {
        &self.inner
    }
}

fn store_of(queue: &Bound<'_, Queue>) -> onceward::Store {
    queue.as_super().get().store().clone()
}

#[pymethods]
impl Queue {
    /// The name.
    #[getter]
    fn name(&self) -> &str {
        self.inner.name()
    }

    /// The promise: "at-most-once", "at-least-once" or "exactly-once".
    #[getter]
    fn semantics(&self) -> &'static str {
        self.inner.semantics().name()
    }

    /// The settings, as the file holds them.
    fn settings(&self, py: Python<'_>) -> PyResult<QueueSettings> {
        call(py, || self.inner.settings()).map(QueueSettings::from)
    }

    /// Sends one message. When the call returns it is on disk (at-most-once: it will be soon).
    ///
    /// `body` is bytes, bytearray or memoryview, at most the store's limit (1 MiB unless set). `key` (str, at most 512
    /// bytes, required on exactly-once): a send repeated with it is one message, and `duplicate` says so. `headers` maps
    /// str to str or bytes, 64 KiB together. `priority` is 0 (taken first) to 9, 4 without. `delay` (seconds or a
    /// timedelta, at most ten years) or `deliver_at` (an aware datetime or seconds since the epoch) offers it later.
    /// `time_to_live` dead-letters it when it was not finished in time. `ordering_key` keeps messages that share it in
    /// order, across retries.
    ///
    /// Raises InvalidArgumentError for anything outside its limits, ConflictError when the key stands for another body,
    /// FullError when the disk is full; nothing is written then. After StorageError the outcome is unknown: repeat the
    /// send with its key.
    #[pyo3(signature = (body, *, key=None, headers=None, priority=None, delay=None, deliver_at=None, time_to_live=None,
        ordering_key=None))]
    fn send(
        &self,
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
        call(py, || self.inner.send(message)).map(Sent::from)
    }

    /// Sends many messages (Message, or bare bytes; at most 10,000) in one commit, all or nothing. Returns one Sent each,
    /// in order. Limits and errors are those of `send`.
    fn send_many(&self, messages: &Bound<'_, PyAny>) -> PyResult<Vec<Sent>> {
        let parsed = crate::message::messages(messages)?;
        let sent = call(messages.py(), || self.inner.send_many(parsed))?;
        Ok(sent.into_iter().map(Sent::from).collect())
    }

    /// An existing subscription. Raises NotFoundError.
    fn subscription(slf: Bound<'_, Self>, name: &Bound<'_, PyAny>) -> PyResult<Py<Subscription>> {
        let py = slf.py();
        let name = convert::text("subscription name", name)?;
        let queue = slf.get().core();
        let subscription = call(py, || queue.subscription(&name))?;
        Subscription::create(py, store_of(&slf), name, subscription)
    }

    /// A subscription, created when it is missing. A new one sees what is sent from now on (`start="now"`), or everything
    /// that is still kept (`start="oldest"`).
    #[pyo3(signature = (name, *, start="now"))]
    fn subscribe(slf: Bound<'_, Self>, name: &Bound<'_, PyAny>, start: &str) -> PyResult<Py<Subscription>> {
        let py = slf.py();
        let name = convert::text("subscription name", name)?;
        let start = match start {
            "now" => Start::Now,
            "oldest" => Start::Oldest,
            _ => return Err(invalid(py, format!("start {} is none of now, oldest", convert::shown(py, Some(start))?))),
        };
        let queue = slf.get().core();
        let subscription = call(py, || queue.subscribe(&name, start))?;
        Subscription::create(py, store_of(&slf), name, subscription)
    }

    /// Removes a subscription, with its dead letters. Raises NotFoundError.
    fn unsubscribe(&self, py: Python<'_>, name: &Bound<'_, PyAny>) -> PyResult<()> {
        let name = convert::text("subscription name", name)?;
        call(py, || self.inner.unsubscribe(&name))
    }

    /// The names of the subscriptions.
    fn subscriptions(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        call(py, || self.inner.subscriptions())
    }

    /// Takes a message back that is not in flight. True: it is cancelled; False: there was nothing left to cancel.
    ///
    /// Raises ConflictError when it is in flight, InvalidArgumentError when the id belongs to another queue.
    fn cancel(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        let id = convert::message_id(id)?;
        call(py, || self.inner.cancel(id))
    }

    /// Deletes everything ready or delayed, for every subscription; what is in flight or dead stays. Returns how many
    /// there were.
    fn purge(&self, py: Python<'_>) -> PyResult<u64> {
        call(py, || self.inner.purge())
    }

    /// Hands over nothing until `resume`, in every process. Sends and settles go on.
    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        call(py, || self.inner.pause())
    }

    /// Ends a pause.
    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        call(py, || self.inner.resume())
    }

    /// Whether the queue is paused.
    fn is_paused(&self, py: Python<'_>) -> PyResult<bool> {
        call(py, || self.inner.is_paused())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let name = convert::shown(py, Some(self.name()))?;
        Ok(format!("Queue(name={name}, semantics='{}')", self.semantics()))
    }
}

/// What `tx.send` takes: a queue, or the name of an existing one.
pub(crate) fn queue_or_name(store: &onceward::Store, value: &Bound<'_, PyAny>) -> PyResult<onceward::Queue> {
    if let Ok(queue) = value.cast::<Queue>() {
        return Ok(queue.get().core().clone());
    }
    if !value.is_instance_of::<pyo3::types::PyString>() {
        return Err(wrong_type("queue", "a Queue or the name of one", value));
    }
    let name = convert::text("queue name", value)?;
    call(value.py(), || store.open_queue(&name))
}
