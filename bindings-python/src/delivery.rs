//! A message in a consumer's hands, and the receipt that settles it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};

use onceward::{MessageId, ProcessMutex, Token};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDateTime, PyDict};

use crate::convert::{self, datetime, headers_dict, shown, text_or_none};
use crate::effect::{self, Given, Options};
use crate::errors::{Released, briefly, call, invalid, wrong_type};
use crate::queue::Queue;
use crate::receiver::Subscription;
use crate::transaction::Transaction;

/// What settles a delivery: the message, and the fencing token that came with it. Keep it, or build it again, when the
/// delivery itself is out of reach.
#[pyclass(frozen, eq, hash, module = "onceward")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Receipt {
    /// The id of the message.
    #[pyo3(get)]
    id: u64,
    /// The fencing token of the delivery.
    #[pyo3(get)]
    token: u64,
}

#[pymethods]
impl Receipt {
    #[new]
    #[pyo3(signature = (id, token))]
    fn new(id: &Bound<'_, PyAny>, token: &Bound<'_, PyAny>) -> PyResult<Self> {
        let token: i64 = convert::whole("token", "a number of 0 or more", token)?;
        let token = u64::try_from(token)
            .map_err(|_| invalid(id.py(), format!("token is {token}; it takes a number of 0 or more")))?;
        Ok(Receipt { id: convert::message_id(id)?.get(), token })
    }

    fn __repr__(&self) -> String {
        format!("Receipt(id={}, token={})", self.id, self.token)
    }
}

impl Receipt {
    fn to_core(&self) -> onceward::Result<onceward::Receipt> {
        Ok(onceward::Receipt { message: MessageId::new(self.id)?, token: Token::new(self.token) })
    }
}

impl From<onceward::Receipt> for Receipt {
    fn from(receipt: onceward::Receipt) -> Self {
        Receipt { id: receipt.message.get(), token: receipt.token.get() }
    }
}

/// A message under a lease: work on it, then settle it once with ack, nack, dead_letter, release, or a transaction.
///
/// Only the holder of the current token can settle it; after the lease was lost every attempt raises LeaseLostError, and
/// the message belongs to someone else. A delivery that is dropped unsettled comes again when its lease runs out.
#[pyclass(frozen, module = "onceward")]
pub(crate) struct Delivery {
    /// None once it is settled.
    handle: ProcessMutex<Option<onceward::Delivery>>,
    subscription: onceward::Subscription,
    receipt: onceward::Receipt,
    attempt: u32,
    body: Py<PyBytes>,
    key: Option<String>,
    headers: onceward::Headers,
    ordering_key: Option<String>,
    priority: u8,
    sent_at: onceward::Millis,
    /// In milliseconds since 1970.
    lease_expires_at: AtomicI64,
    /// Dropped last, and so with the GIL released: the last of all handles closes the store.
    store: Released<onceward::Store>,
}

impl Delivery {
    pub(crate) fn new(py: Python<'_>, store: &onceward::Store, mut delivery: onceward::Delivery) -> Self {
        Delivery {
            store: Released::new(store.clone()),
            subscription: delivery.subscription().clone(),
            receipt: delivery.receipt(),
            attempt: delivery.attempt(),
            // Python's bytes are the only copy that stays.
            body: PyBytes::new(py, &delivery.take_body()).unbind(),
            key: delivery.key().map(str::to_owned),
            headers: delivery.headers().clone(),
            ordering_key: delivery.ordering_key().map(str::to_owned),
            priority: delivery.priority(),
            sent_at: delivery.sent_at(),
            lease_expires_at: AtomicI64::new(delivery.lease_expires_at().get()),
            handle: ProcessMutex::new(Some(delivery)),
        }
    }

    /// Refuses a delivery that was settled before.
    pub(crate) fn check_open(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_settled(py)? { Err(self.already_settled(py)) } else { Ok(()) }
    }

    /// Notes that the delivery was settled by another call than its own.
    pub(crate) fn set_settled(&self, py: Python<'_>) {
        // It fails in a forked child only, where nothing can have been settled.
        let _ = briefly(py, &self.handle, |handle| drop(handle.take()));
    }

    pub(crate) fn is_settled(&self, py: Python<'_>) -> PyResult<bool> {
        briefly(py, &self.handle, |handle| handle.is_none())
    }

    /// Notes it when an effect has settled the delivery.
    pub(crate) fn note_settled(&self, py: Python<'_>) {
        let settled = briefly(py, &self.handle, |handle| handle.take_if(|handle| handle.is_settled()));
        // What it holds of the store is let go without the GIL.
        py.detach(|| drop(settled.ok()));
    }

    fn already_settled(&self, py: Python<'_>) -> PyErr {
        invalid(py, format!("the delivery of message {} is already settled", self.receipt.message))
    }

    fn settle(
        &self,
        py: Python<'_>,
        verb: impl FnOnce(&onceward::Delivery) -> onceward::Result<()> + Send,
    ) -> PyResult<()> {
        let handle = briefly(py, &self.handle, Option::take)?.ok_or_else(|| self.already_settled(py))?;
        let outcome = call(py, || verb(&handle));
        if outcome.is_err() {
            // What failed may be tried again. Meanwhile another thread found the delivery settled.
            briefly(py, &self.handle, |empty| *empty = Some(handle))?;
        }
        outcome
    }

    pub(crate) fn nack_with(&self, py: Python<'_>, nack: &onceward::Nack) -> PyResult<()> {
        self.settle(py, |handle| handle.nack(nack))
    }

    /// Gives the delivery back as failed. Where that cannot be done, its lease ends, which does the same.
    pub(crate) fn give_back(&self, py: Python<'_>, nack: &onceward::Nack) {
        if self.nack_with(py, nack).is_err() {
            self.let_go(py);
        }
    }
}

#[pymethods]
impl Delivery {
    /// The id of the message, below 2^53; the same in every delivery of it.
    #[getter]
    fn id(&self) -> u64 {
        self.receipt.message.get()
    }

    /// The fencing token of this delivery; it grows with every delivery of the message.
    #[getter]
    fn token(&self) -> u64 {
        self.receipt.token.get()
    }

    /// The queue it came from.
    #[getter]
    fn queue(&self, py: Python<'_>) -> PyResult<Py<Queue>> {
        Queue::create(py, (*self.store).clone(), self.subscription.queue().clone())
    }

    /// The subscription it was received from: "default" where the queue names no others.
    #[getter]
    fn subscription(&self, py: Python<'_>) -> PyResult<Py<Subscription>> {
        let name = self.subscription.name().to_owned();
        Subscription::create(py, (*self.store).clone(), name, self.subscription.clone())
    }

    /// The id and the token, to settle it from elsewhere.
    #[getter]
    fn receipt(&self) -> Receipt {
        self.receipt.into()
    }

    /// Which delivery of the message this is, from 1. It survives crashes.
    #[getter]
    fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The body, byte for byte as it was sent.
    #[getter]
    fn body(&self, py: Python<'_>) -> Py<PyBytes> {
        self.body.clone_ref(py)
    }

    /// The deduplication key it was sent with.
    #[getter]
    fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The headers, in a new dict: str or bytes, as they were sent.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        headers_dict(py, &self.headers)
    }

    /// The ordering key it was sent with.
    #[getter]
    fn ordering_key(&self) -> Option<&str> {
        self.ordering_key.as_deref()
    }

    /// The priority, 0 (taken first) to 9.
    #[getter]
    fn priority(&self) -> u8 {
        self.priority
    }

    /// When it was sent, in UTC, to the millisecond.
    #[getter]
    fn sent_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        datetime(py, self.sent_at)
    }

    /// When the lease ends, in UTC, as of the receive or of `extend`. A consumer extends it in the background as well,
    /// which does not show.
    #[getter]
    fn lease_expires_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        datetime(py, onceward::Millis::new(self.lease_expires_at.load(Ordering::Relaxed)))
    }

    /// Whether it was settled through this object, or in a call that was given it.
    #[getter]
    fn settled(&self, py: Python<'_>) -> PyResult<bool> {
        self.is_settled(py)
    }

    /// Finishes the message: it is never delivered again. On exactly-once it is on disk when the call returns.
    ///
    /// From `consume()` it is only noted, and committed with the next receive, by `Consumer.flush()` or `close()`, or
    /// after 100 ms. Raises LeaseLostError, InvalidArgumentError (already settled), BusyError, StorageError.
    fn ack(&self, py: Python<'_>) -> PyResult<()> {
        self.settle(py, onceward::Delivery::ack)
    }

    /// Gives the message back after a failure: offered again after `delay` (seconds or a timedelta; without one the
    /// queue's backoff), dead-lettered when its attempts are used up. `error` is kept with it.
    ///
    /// Raises LeaseLostError, InvalidArgumentError (already settled, at-most-once), BusyError, StorageError.
    #[pyo3(signature = (*, delay=None, error=None))]
    fn nack(&self, py: Python<'_>, delay: Option<&Bound<'_, PyAny>>, error: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.nack_with(py, &nack_of(delay, error)?)
    }

    /// Gives the message up at once, with the reason. It stays among the dead letters.
    ///
    /// Raises LeaseLostError, InvalidArgumentError (already settled, at-most-once), BusyError, StorageError.
    fn dead_letter(&self, py: Python<'_>, reason: &Bound<'_, PyAny>) -> PyResult<()> {
        let reason = convert::text("reason", reason)?;
        self.settle(py, |handle| handle.dead_letter(&reason))
    }

    /// Gives the message back unused: offered again at once, and the attempt is not counted.
    ///
    /// Raises LeaseLostError, InvalidArgumentError (already settled, at-most-once), BusyError, StorageError.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        self.settle(py, onceward::Delivery::release)
    }

    /// Lets the lease end `lease` from now (seconds or a timedelta, 1 ms to 12 h).
    ///
    /// Raises LeaseLostError, InvalidArgumentError (already settled, at-most-once), BusyError, StorageError.
    fn extend(&self, py: Python<'_>, lease: &Bound<'_, PyAny>) -> PyResult<()> {
        let lease = convert::duration("lease", lease)?;
        self.check_open(py)?;
        let extended = call(py, || match self.handle.lock()?.as_mut() {
            Some(handle) => handle.extend(lease).map(|()| Some(handle.lease_expires_at())),
            None => Ok(None),
        })?;
        let ends = extended.ok_or_else(|| self.already_settled(py))?;
        self.lease_expires_at.store(ends.get(), Ordering::Relaxed);
        Ok(())
    }

    /// Starts a transaction whose commit also acknowledges this delivery: its effects in the same file happen exactly
    /// once. Use it in a with block: a clean exit commits, an exception rolls back and gives the message back (nack).
    ///
    /// Nothing is locked before the first statement. Raises InvalidArgumentError (already settled), ClosedError.
    fn transaction(slf: Bound<'_, Self>) -> PyResult<Transaction> {
        let py = slf.py();
        let this = slf.get();
        this.check_open(py)?;
        let begun = call(py, || this.handle.lock()?.as_ref().map(onceward::Delivery::transaction).transpose())?;
        let inner = begun.ok_or_else(|| this.already_settled(py))?;
        Ok(Transaction::new((*this.store).clone(), inner, Some(slf.clone().unbind())))
    }

    /// Calls `call()` once for this message, under a name, and returns its bytes (at most 1 MiB). That the call starts is on
    /// disk before it is made, and its result before this returns. In a later delivery of the message, after a crash, a
    /// retry or a redrive, the same bytes are returned and nothing is called. Acknowledge the delivery afterwards.
    ///
    /// When the caller dies, or `call` raises, nobody knows whether it happened, and it is not repeated before somebody does.
    /// `on_unknown` says how, and has no default: "park" (the message waits, listed by `Store.in_doubt()`, until a person
    /// decides with `Store.resolve()`), "fail" (the message is dead-lettered), or "probe": in the next delivery `probe()` asks
    /// the third party and returns `Applied(result)`, NOT_APPLIED or UNKNOWN. NOT_APPLIED counts when it was asked `settle`
    /// (seconds or a timedelta) after the caller was found to be gone: longer than a request of its can still be under way.
    /// `failed_on`: exceptions of `call` that say that it did not happen; they are raised as they are, and the call may be
    /// made again. `idempotent_for`: the third party recognises repetitions by `idempotency_key(name)` for that long, so an
    /// unknown outcome is simply called again within it.
    ///
    /// Raises InDoubtError (the delivery is then settled: parked, dead-lettered or given back), BusyError when another caller
    /// is at it or NOT_APPLIED was said too early (given back, and not counted as an attempt), LeaseLostError before anything
    /// is called, InvalidArgumentError for a name used before in this delivery, on an at-most-once queue, in a transaction
    /// that has begun, or for a result over the limit (it happened, and is in doubt), TypeError for a result that is not bytes
    /// (in doubt too).
    #[pyo3(signature = (name, call, *, on_unknown, probe=None, settle=None, failed_on=None, idempotent_for=None),
        text_signature = "($self, name, call, *, on_unknown, probe=None, settle=None, failed_on=(), idempotent_for=None)")]
    fn once<'py>(
        slf: Bound<'py, Self>,
        name: &Bound<'py, PyAny>,
        call: &Bound<'py, PyAny>,
        on_unknown: &Bound<'py, PyAny>,
        probe: Option<&Bound<'py, PyAny>>,
        settle: Option<&Bound<'py, PyAny>>,
        failed_on: Option<&Bound<'py, PyAny>>,
        idempotent_for: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let given = Given { on_unknown, probe, settle, idempotent_for, wait: None, request: None };
        let options = given.parse(call)?;
        effect::driver(slf.py(), "once")?.call1((slf, name, call, probe, failed_on, options))
    }

    /// `once` for asyncio: `call` and `probe` are coroutine functions. Await it. A call that is cancelled is in doubt.
    #[pyo3(signature = (name, call, *, on_unknown, probe=None, settle=None, failed_on=None, idempotent_for=None),
        text_signature = "($self, name, call, *, on_unknown, probe=None, settle=None, failed_on=(), idempotent_for=None)")]
    fn once_async<'py>(
        slf: Bound<'py, Self>,
        name: &Bound<'py, PyAny>,
        call: &Bound<'py, PyAny>,
        on_unknown: &Bound<'py, PyAny>,
        probe: Option<&Bound<'py, PyAny>>,
        settle: Option<&Bound<'py, PyAny>>,
        failed_on: Option<&Bound<'py, PyAny>>,
        idempotent_for: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let given = Given { on_unknown, probe, settle, idempotent_for, wait: None, request: None };
        let options = given.parse(call)?;
        effect::driver(slf.py(), "once_async")?.call1((slf, name, call, probe, failed_on, options))
    }

    /// Lets the lease run out, which a consumer would extend, where the delivery could not be given back.
    #[pyo3(name = "_let_go")]
    fn let_go(&self, py: Python<'_>) {
        // It fails in a forked child only, which extends nothing.
        let _ = briefly(py, &self.handle, |handle| handle.as_ref().map(onceward::Delivery::let_go));
    }

    fn _begin(slf: Bound<'_, Self>, name: &Bound<'_, PyAny>, options: &Bound<'_, Options>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let name = convert::text("effect name", name)?;
        let options = &options.get().inner;
        this.check_open(py)?;
        let begun =
            call(py, || this.handle.lock()?.as_ref().map(|handle| handle.begin_once(&name, options)).transpose());
        this.note_settled(py);
        let begun = begun?.ok_or_else(|| this.already_settled(py))?;
        effect::begun(py, begun, Some(&slf.clone().unbind()))
    }

    /// A key for third parties that recognise repetitions by one: the same in every delivery of this message to its
    /// subscription, across retries, crashes and redrives, and no other effect's. It has the form of a UUID.
    ///
    /// Raises InvalidArgumentError (already settled, or a name out of its limits), ClosedError.
    fn idempotency_key(&self, name: &Bound<'_, PyAny>) -> PyResult<String> {
        let py = name.py();
        let name = convert::text("effect name", name)?;
        let key = call(py, || self.handle.lock()?.as_ref().map(|handle| handle.idempotency_key(&name)).transpose())?;
        key.ok_or_else(|| self.already_settled(py))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "Delivery(id={}, token={}, attempt={}, body=<{} bytes>, key={})",
            self.receipt.message,
            self.receipt.token.get(),
            self.attempt,
            self.body.bind(py).as_bytes().len(),
            shown(py, self.key())?
        ))
    }
}

/// The options of a nack.
pub(crate) fn nack_of(delay: Option<&Bound<'_, PyAny>>, error: Option<&Bound<'_, PyAny>>) -> PyResult<onceward::Nack> {
    let mut nack = onceward::Nack::new();
    if let Some(delay) = convert::duration_or_none("delay", delay)? {
        nack = nack.delay(delay);
    }
    if let Some(error) = text_or_none("error", error)? {
        nack = nack.error(error);
    }
    Ok(nack)
}

/// What a settling call of a queue takes: deliveries and receipts, mixed.
pub(crate) struct Settling {
    pub(crate) receipts: Vec<onceward::Receipt>,
    deliveries: Vec<Py<Delivery>>,
}

impl Settling {
    pub(crate) fn parse(values: &Bound<'_, PyAny>) -> PyResult<Self> {
        let expected = "an iterable of Delivery or Receipt";
        let mut settling = Settling { receipts: Vec::new(), deliveries: Vec::new() };
        for value in values.try_iter().map_err(|_| wrong_type("deliveries", expected, values))? {
            let value = value?;
            if let Ok(delivery) = value.cast::<Delivery>() {
                delivery.get().check_open(value.py())?;
                settling.receipts.push(delivery.get().receipt);
                settling.deliveries.push(delivery.clone().unbind());
            } else if let Ok(receipt) = value.cast::<Receipt>() {
                settling.receipts.push(receipt.get().to_core().map_err(|error| invalid(value.py(), error.message()))?);
            } else {
                return Err(wrong_type("deliveries", expected, &value));
            }
        }
        Ok(settling)
    }

    pub(crate) fn into_deliveries(self) -> Vec<Py<Delivery>> {
        self.deliveries
    }

    /// Notes what is settled now: everything but the lost ones.
    pub(crate) fn finish(self, py: Python<'_>, lost: Vec<onceward::Receipt>) -> Vec<Receipt> {
        let unsettled: HashSet<_> = lost.iter().copied().collect();
        for delivery in self.deliveries {
            let delivery = delivery.get();
            if !unsettled.contains(&delivery.receipt) {
                delivery.set_settled(py);
            }
        }
        lost.into_iter().map(Receipt::from).collect()
    }
}
