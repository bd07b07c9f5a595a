//! Receiving, settling and looking: the calls that a queue and a subscription share, and the class of a subscription.

use std::time::Duration;

use onceward::limits::{LIST_MAX, RECEIVE_MESSAGES_MAX};
use onceward::{ConsumeOptions, MessageId, ReceiveOptions};
use pyo3::prelude::*;

use crate::consumer::Consumer;
use crate::convert::{self, Given};
use crate::delivery::{Delivery, Receipt, Settling, nack_of};
use crate::errors::{Released, call};
use crate::queue::Queue;
use crate::results::{DeadLetter, Peeked, Stats};
use crate::wait::{self, Poll};

/// What messages are received from: a subscription, or a queue by its subscription "default".
///
/// Every call is safe from any thread. All raise ClosedError after the store was closed and in a forked child, BusyError
/// when others kept the store busy, StorageError, CorruptError or DetachedError when the file is in trouble.
#[pyclass(frozen, subclass, module = "onceward")]
pub(crate) struct Receiver {
    source: Source,
    /// Dropped last, and so with the GIL released: the last of all handles closes the store.
    store: Released<onceward::Store>,
}

/// Where a receiver's messages come from.
pub(crate) enum Source {
    Queue(onceward::Queue),
    Subscription(onceward::Subscription),
}

impl Source {
    fn subscription(&self) -> onceward::Result<onceward::Subscription> {
        match self {
            Source::Queue(queue) => queue.default_subscription(),
            Source::Subscription(subscription) => Ok(subscription.clone()),
        }
    }
}

impl Receiver {
    pub(crate) fn new(store: onceward::Store, source: Source) -> Self {
        Receiver { store: Released::new(store), source }
    }

    pub(crate) fn store(&self) -> &onceward::Store {
        &self.store
    }

    pub(crate) fn resolve(&self, py: Python<'_>) -> PyResult<onceward::Subscription> {
        call(py, || self.source.subscription())
    }

    fn call<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&onceward::Subscription) -> onceward::Result<T> + Send,
    ) -> PyResult<T> {
        call(py, || work(&self.source.subscription()?))
    }

    fn settle(
        &self,
        deliveries: &Bound<'_, PyAny>,
        verb: impl FnOnce(&onceward::Subscription, &[onceward::Receipt]) -> onceward::Result<Vec<onceward::Receipt>> + Send,
    ) -> PyResult<Vec<Receipt>> {
        let settling = Settling::parse(deliveries)?;
        let receipts = &settling.receipts;
        let lost = self.call(deliveries.py(), |subscription| verb(subscription, receipts))?;
        Ok(settling.finish(deliveries.py(), lost))
    }

    fn take(&self, py: Python<'_>, options: Take) -> PyResult<Vec<Delivery>> {
        let wait = wait::check(py, options.wait)?;
        let subscription = self.resolve(py)?;
        let found = wait::in_slices(py, Some(wait), |slice| {
            let mut receive = ReceiveOptions::new().max(options.max).wait(slice);
            if let Some(lease) = options.lease {
                receive = receive.lease(lease);
            }
            let deliveries = subscription.receive_many(&receive)?;
            Ok(if deliveries.is_empty() { Poll::Nothing } else { Poll::Found(deliveries) })
        })?;
        Ok(found.unwrap_or_default().into_iter().map(|delivery| Delivery::new(py, &self.store, delivery)).collect())
    }
}

/// The options of a receive.
struct Take {
    max: usize,
    wait: Duration,
    lease: Option<Duration>,
}

impl Take {
    fn parse(max: usize, wait: &Given<'_>, lease: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let wait = wait.0.as_ref().map_or(Ok(Duration::ZERO), |wait| convert::duration("wait", wait))?;
        Ok(Take { max, wait, lease: convert::duration_or_none("lease", lease)? })
    }
}

fn listed(name: &str, max: &Bound<'_, PyAny>) -> PyResult<usize> {
    convert::whole(name, &format!("1 to {LIST_MAX}"), max)
}

#[pymethods]
impl Receiver {
    /// Takes one message under a lease, waiting up to `wait` for it (seconds or a timedelta, at most 24 h); None when
    /// there is none. `lease` (seconds or a timedelta, 1 ms to 12 h) is used instead of the queue's.
    ///
    /// At-most-once: the message is gone, on disk, before it is handed over. Waiting releases the GIL and ends with
    /// KeyboardInterrupt on Ctrl-C. Raises InvalidArgumentError for a wait or a lease outside its limits.
    #[pyo3(signature = (*, wait=Given(None), lease=None), text_signature = "($self, *, wait=0.0, lease=None)")]
    fn receive(&self, py: Python<'_>, wait: Given<'_>, lease: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Delivery>> {
        Ok(self.take(py, Take::parse(1, &wait, lease)?)?.pop())
    }

    /// Takes up to `max` messages (1 to 10,000) under one lease each; empty when the wait ran out. It returns as soon as
    /// there is at least one. See `receive`.
    #[pyo3(signature = (max, *, wait=Given(None), lease=None), text_signature = "($self, max, *, wait=0.0, lease=None)")]
    fn receive_many(
        &self,
        max: &Bound<'_, PyAny>,
        wait: Given<'_>,
        lease: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<Delivery>> {
        let py = max.py();
        let max = convert::whole("max", &format!("1 to {RECEIVE_MESSAGES_MAX}"), max)?;
        self.take(py, Take::parse(max, &wait, lease)?)
    }

    /// Iterates over messages as they come: receives in batches, extends leases while you work, and folds finished
    /// acknowledgements into the next receive (one commit per batch). `wait` is how long it stays without a message
    /// before it ends (seconds or a timedelta; None: for ever). Best used in a with block, which closes it. On an
    /// at-most-once queue what was received and not handed out when it ends is lost: with batch=1 nothing is.
    ///
    /// Raises InvalidArgumentError for a batch, wait or lease outside its limits.
    #[pyo3(signature = (*, batch=None, wait=None, lease=None),
        text_signature = "($self, *, batch=100, wait=None, lease=None)")]
    fn consume(
        &self,
        py: Python<'_>,
        batch: Option<&Bound<'_, PyAny>>,
        wait: Option<&Bound<'_, PyAny>>,
        lease: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Consumer> {
        let mut options = ConsumeOptions::new();
        if let Some(batch) = batch {
            options = options.batch(convert::whole("batch", &format!("1 to {RECEIVE_MESSAGES_MAX}"), batch)?);
        }
        if let Some(lease) = convert::duration_or_none("lease", lease)? {
            options = options.lease(lease);
        }
        let wait = convert::duration_or_none("wait", wait)?.map(|wait| wait::check(py, wait)).transpose()?;
        let inner = self.call(py, |subscription| subscription.consume(options))?;
        Ok(Consumer::new(self.store().clone(), inner, wait))
    }

    /// Acknowledges many deliveries or receipts in one commit. Returns the receipts whose lease was lost; empty means
    /// that all are finished. Repeating a receipt gives the same answer.
    ///
    /// Raises InvalidArgumentError for a delivery already settled and for a message of another queue; then nothing was
    /// written.
    fn ack(&self, deliveries: &Bound<'_, PyAny>) -> PyResult<Vec<Receipt>> {
        self.settle(deliveries, onceward::Subscription::ack)
    }

    /// Gives many deliveries back after a failure; see `Delivery.nack`. Returns the receipts whose lease was lost.
    ///
    /// Raises InvalidArgumentError for a delivery already settled, for a message of another queue, and on at-most-once.
    #[pyo3(signature = (deliveries, *, delay=None, error=None))]
    fn nack(
        &self,
        deliveries: &Bound<'_, PyAny>,
        delay: Option<&Bound<'_, PyAny>>,
        error: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<Receipt>> {
        let nack = nack_of(delay, error)?;
        self.settle(deliveries, |subscription, receipts| subscription.nack(receipts, &nack))
    }

    /// Gives many deliveries up, with the reason; see `Delivery.dead_letter`. Returns the receipts whose lease was lost.
    ///
    /// Raises InvalidArgumentError for a delivery already settled, for a message of another queue, and on at-most-once.
    fn dead_letter(&self, deliveries: &Bound<'_, PyAny>, reason: &Bound<'_, PyAny>) -> PyResult<Vec<Receipt>> {
        let reason = convert::text("reason", reason)?;
        self.settle(deliveries, |subscription, receipts| subscription.dead_letter(receipts, &reason))
    }

    /// Gives many deliveries back unused; see `Delivery.release`. Returns the receipts whose lease was lost.
    ///
    /// Raises InvalidArgumentError for a delivery already settled, for a message of another queue, and on at-most-once.
    fn release(&self, deliveries: &Bound<'_, PyAny>) -> PyResult<Vec<Receipt>> {
        self.settle(deliveries, onceward::Subscription::release)
    }

    /// Lets many leases end `lease` from now (seconds or a timedelta, 1 ms to 12 h). Returns the receipts whose lease was
    /// lost.
    ///
    /// Raises InvalidArgumentError for a delivery already settled, for a message of another queue, and on at-most-once.
    fn extend(&self, deliveries: &Bound<'_, PyAny>, lease: &Bound<'_, PyAny>) -> PyResult<Vec<Receipt>> {
        let py = deliveries.py();
        let lease = convert::duration("lease", lease)?;
        let receipts = Settling::parse(deliveries)?.receipts;
        let lost = self.call(py, |subscription| subscription.extend(&receipts, lease))?;
        Ok(lost.into_iter().map(Receipt::from).collect())
    }

    /// The next `max` messages (1 to 10,000), in the order in which they would be received, without taking them.
    #[pyo3(signature = (max), text_signature = "($self, max)")]
    fn peek(&self, max: &Bound<'_, PyAny>) -> PyResult<Vec<Peeked>> {
        let count = listed("max", max)?;
        let peeked = self.call(max.py(), |subscription| subscription.peek(count))?;
        Ok(peeked.into_iter().map(Peeked::from).collect())
    }

    /// Of these messages (ids, at most 10,000), those that could still be delivered here: ready, delayed, blocked, in
    /// flight, in doubt, or dead (a dead letter can be redriven). An id that no message has had yet is among them. The
    /// others are finished, for ever and on disk: what was kept elsewhere to recognise a repeat of them may be deleted.
    ///
    /// Raises InvalidArgumentError for a message of another queue, NotFoundError when the subscription was ended.
    fn unfinished(&self, ids: &Bound<'_, PyAny>) -> PyResult<Vec<u64>> {
        let wanted = convert::message_ids(ids)?;
        let found = self.call(ids.py(), |subscription| subscription.unfinished(&wanted))?;
        Ok(found.into_iter().map(MessageId::get).collect())
    }

    /// How many messages are ready, delayed, blocked, in flight, dead and in doubt. It costs the same at any backlog.
    fn stats(&self, py: Python<'_>) -> PyResult<Stats> {
        self.call(py, onceward::Subscription::stats).map(Stats::from)
    }

    /// The dead letters, oldest id first: up to `max` (1 to 10,000) of those with an id above `after`.
    #[pyo3(signature = (*, after=None, max=None), text_signature = "($self, *, after=None, max=100)")]
    fn dead_letters(
        &self,
        py: Python<'_>,
        after: Option<&Bound<'_, PyAny>>,
        max: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<DeadLetter>> {
        const DEFAULT: usize = 100;
        let after: Option<MessageId> = after.map(convert::message_id).transpose()?;
        let max = max.map_or(Ok(DEFAULT), |max| listed("max", max))?;
        let letters = self.call(py, |subscription| subscription.dead_letters(after, max))?;
        Ok(letters.into_iter().map(DeadLetter::from).collect())
    }

    /// Offers dead letters again under the same ids, with the attempts counted anew; deduplication does not eat them.
    /// `ids` are those of the dead letters, None is all of them. Returns how many there were.
    #[pyo3(signature = (ids=None))]
    fn redrive(&self, py: Python<'_>, ids: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
        match ids.map(convert::message_ids).transpose()? {
            Some(ids) => self.call(py, |subscription| subscription.redrive(&ids)),
            None => self.call(py, onceward::Subscription::redrive_all),
        }
    }

    /// Deletes dead letters for good. `ids` are those of the dead letters, None is all of them. Returns how many there
    /// were.
    #[pyo3(signature = (ids=None))]
    fn purge_dead(&self, py: Python<'_>, ids: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
        match ids.map(convert::message_ids).transpose()? {
            Some(ids) => self.call(py, |subscription| subscription.purge_dead(&ids)),
            None => self.call(py, onceward::Subscription::purge_dead_all),
        }
    }
}

/// One of several subscriptions of a queue: each sees every message, and settles it for itself.
#[pyclass(frozen, extends = Receiver, module = "onceward")]
pub(crate) struct Subscription {
    /// The name.
    #[pyo3(get)]
    name: String,
    queue: Released<onceward::Queue>,
}

impl Subscription {
    pub(crate) fn create(
        py: Python<'_>,
        store: onceward::Store,
        name: String,
        subscription: onceward::Subscription,
    ) -> PyResult<Py<Self>> {
        let queue = Released::new(subscription.queue().clone());
        let receiver = Receiver::new(store, Source::Subscription(subscription));
        Py::new(py, PyClassInitializer::from(receiver).add_subclass(Subscription { name, queue }))
    }
}

#[pymethods]
impl Subscription {
    /// The queue whose messages it sees.
    #[getter]
    fn queue(slf: Bound<'_, Self>) -> PyResult<Py<Queue>> {
        let store = slf.as_super().get().store().clone();
        Queue::create(slf.py(), store, slf.get().queue.clone())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Subscription(name={})", convert::shown(py, Some(&self.name))?))
    }
}
