//! Consuming: one message after the other, with the batching, the leases and the acknowledgements taken care of.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::delivery::{Delivery, Nack, RawDelivery, lease_lost};
use crate::engine::bell;
use crate::engine::housekeeping::Keep;
use crate::engine::operation::{Operation, Reply, Settle, Verb};
use crate::error::{Error, Result};
use crate::limits::{LEASE_MAX, RECEIVE_MESSAGES_MAX, SETTLE_RECEIPTS_MAX, WAIT_MAX};
use crate::queue::check_lease;
use crate::semantics::Semantics;
use crate::subscription::{ReceiveOptions, Subscription};
use crate::types::Receipt;

/// A noted acknowledgement waits no longer than this for the next receive.
const FOLD_FOR: Duration = Duration::from_millis(100);
/// The error text kept with a message whose consumer ended before it was settled.
const ENDED: &str = "the consumer ended before the message was settled";

/// How to consume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumeOptions {
    batch: usize,
    wait: Option<Duration>,
    lease: Option<Duration>,
}

impl ConsumeOptions {
    /// Batches of 100, waiting for ever, under the queue's lease.
    pub fn new() -> Self {
        ConsumeOptions { batch: 100, wait: None, lease: None }
    }

    /// How many messages are received at a time, 1 to 10,000. On an at-most-once queue those of them that were not handed out
    /// when the consumer ends are lost, as they are in a crash.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Ends the consumption when nothing came for this long, at most 24 h; `None` waits for ever.
    #[must_use]
    pub fn wait(mut self, wait: impl Into<Option<Duration>>) -> Self {
        self.wait = wait.into();
        self
    }

    /// A lease other than the queue's. It is extended for as long as the consumer lives, up to 12 h for one batch.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    fn check(&self) -> Result<()> {
        if !(1..=RECEIVE_MESSAGES_MAX).contains(&self.batch) {
            return Err(Error::invalid(format!("batch is {}; it takes 1 to {RECEIVE_MESSAGES_MAX}", self.batch)));
        }
        if let Some(wait) = self.wait {
            crate::subscription::check_wait(wait)?;
        }
        self.lease.map_or(Ok(()), check_lease)
    }
}

impl Default for ConsumeOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What a consumer has received and not finished.
#[derive(Debug)]
pub(crate) struct Outstanding {
    subscription: Subscription,
    lease: Duration,
    state: Mutex<State>,
    /// Held from taking what is noted until it is committed, or noted again: who has it knows that nothing is on its way.
    committing: Mutex<()>,
}

/// An unsettled delivery.
#[derive(Debug)]
struct Held {
    handed_out: bool,
    /// When it came: its lease is not extended for ever.
    since: Instant,
    ordering_key: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    /// Unsettled deliveries.
    held: BTreeMap<Receipt, Held>,
    /// Acknowledged, not committed.
    noted: Vec<Receipt>,
    noted_since: Option<Instant>,
    /// When the leases must be extended.
    extend_at: Option<Instant>,
    /// Noted acknowledgements that turned out to be too late.
    lost: VecDeque<Receipt>,
    /// Nothing more is received or noted; what is in hand is still held.
    finished: bool,
    closed: bool,
}

impl Outstanding {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settles any number of deliveries. Returns those that came too late.
    fn settle(&self, verb: &Verb, receipts: &[Receipt]) -> Result<Vec<Receipt>> {
        let mut lost = Vec::new();
        for receipts in receipts.chunks(SETTLE_RECEIPTS_MAX) {
            lost.extend(self.subscription.settle(verb.clone(), receipts.to_vec())?);
        }
        Ok(lost)
    }

    /// Notes an acknowledgement, to be committed with the next receive.
    pub(crate) fn ack(&self, receipt: Receipt) -> Result<()> {
        if self.ack_at_once(receipt)? {
            return Ok(());
        }
        let lost = self.settle(&Verb::Ack, &[receipt])?;
        self.forget(receipt);
        lost.first().map_or(Ok(()), |receipt| Err(lease_lost(*receipt)))
    }

    /// Notes an acknowledgement, unless the consumer has ended. Waits for nothing.
    pub(crate) fn ack_at_once(&self, receipt: Receipt) -> Result<bool> {
        self.subscription.queue().engine.check_usable()?;
        let mut state = self.lock();
        if state.closed || state.finished {
            return Ok(false);
        }
        if state.held.remove(&receipt).is_none() {
            return Err(lease_lost(receipt));
        }
        state.noted.push(receipt);
        state.noted_since.get_or_insert_with(Instant::now);
        Ok(true)
    }

    /// Whether the delivery is still this consumer's; it counts as handed out from here on.
    pub(crate) fn hand_out(&self, receipt: Receipt) -> bool {
        let mut state = self.lock();
        if self.subscription.queue().semantics() == Semantics::AtMostOnce {
            // It is gone from the file: whatever became of its consumer, it is handed out now or never.
            if !state.closed {
                state.held.insert(receipt, Held { handed_out: true, since: Instant::now(), ordering_key: None });
            }
            return true;
        }
        match state.held.get_mut(&receipt) {
            Some(held) => {
                held.handed_out = true;
                true
            }
            None => false,
        }
    }

    /// The delivery was settled in another way.
    pub(crate) fn forget(&self, receipt: Receipt) {
        self.lock().held.remove(&receipt);
    }

    /// The delivery was given back: those behind it with its ordering key were taken back with it, and wait for it.
    pub(crate) fn forget_line(&self, receipt: Receipt, ordering_key: &str) {
        self.lock().held.retain(|other, held| {
            other.message < receipt.message || held.ordering_key.as_deref() != Some(ordering_key)
        });
    }

    fn take_noted(&self) -> Vec<Receipt> {
        let mut state = self.lock();
        state.noted_since = None;
        std::mem::take(&mut state.noted)
    }

    /// The noted acknowledgements could not be committed: they are noted still.
    fn note_again(&self, receipts: Vec<Receipt>) {
        let mut state = self.lock();
        state.noted.extend(receipts);
        if !state.noted.is_empty() {
            state.noted_since.get_or_insert_with(Instant::now);
        }
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.committing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits what is noted, and waits for whoever else is at that.
    pub(crate) fn flush(&self) -> Result<()> {
        // In a forked child the locks may be held by threads that are not there.
        self.check_process()?;
        self.commit_noted(&self.alone(), |noted| self.settle(&Verb::Ack, noted))
    }

    fn check_process(&self) -> Result<()> {
        self.subscription.queue().engine.check_process()
    }

    fn commit_noted(
        &self,
        _alone: &MutexGuard<'_, ()>,
        commit: impl FnOnce(&[Receipt]) -> Result<Vec<Receipt>>,
    ) -> Result<()> {
        let noted = self.take_noted();
        match commit(&noted) {
            Ok(lost) => {
                self.lock().lost.extend(lost);
                Ok(())
            }
            Err(error) => {
                self.note_again(noted);
                Err(error)
            }
        }
    }

    /// As [`Outstanding::settle`], but gives up soon when others are writing.
    fn settle_briefly(&self, verb: Verb, receipts: Vec<Receipt>) -> Result<Vec<Receipt>> {
        if receipts.is_empty() {
            return Ok(Vec::new());
        }
        let settle = Settle { subscription: self.subscription.id(), verb, receipts };
        match self.subscription.queue().engine.call_briefly(Operation::Settle(settle))? {
            Reply::Settled(lost) => Ok(lost),
            other => other.unexpected("a settlement"),
        }
    }

    fn is_noted_long(&self) -> bool {
        self.lock().noted_since.is_some_and(|since| since.elapsed() >= FOLD_FOR)
    }

    /// What must be extended now, which is then due again after a third of the lease.
    fn take_due(&self) -> Vec<Receipt> {
        let mut state = self.lock();
        let now = Instant::now();
        if state.closed || state.extend_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        state.extend_at = Some(now + self.lease / 3);
        let held = state.held.iter().filter(|(_, held)| now - held.since < LEASE_MAX);
        held.map(|(receipt, _)| receipt).chain(&state.noted).copied().collect()
    }

    /// Takes note of a batch that came.
    fn hold(&self, deliveries: &[RawDelivery]) {
        if deliveries.is_empty() {
            return;
        }
        let mut state = self.lock();
        let now = Instant::now();
        let at = now + self.lease / 3;
        // What came earlier and is still held is due earlier.
        let earlier = state.extend_at.filter(|_| !state.held.is_empty() || !state.noted.is_empty());
        state.extend_at = Some(earlier.map_or(at, |earlier| earlier.min(at)));
        for raw in deliveries {
            let held = Held { handed_out: false, since: now, ordering_key: raw.ordering_key.clone() };
            state.held.insert(raw.receipt(), held);
        }
    }
}

impl Keep for Outstanding {
    fn keep(&self) -> bool {
        // Whoever is committing now takes what is noted along, or the next look does.
        if self.is_noted_long()
            && let Ok(alone) = self.committing.try_lock()
        {
            // What fails is noted still.
            let _ = self.commit_noted(&alone, |noted| self.settle_briefly(Verb::Ack, noted.to_vec()));
        }
        match self.settle_briefly(Verb::Extend { lease: self.lease }, self.take_due()) {
            // A lost one is handed out no more.
            Ok(lost) => {
                let mut state = self.lock();
                for receipt in lost {
                    state.held.remove(&receipt);
                }
            }
            // At the next look.
            Err(_) => self.lock().extend_at = Some(Instant::now()),
        }
        let state = self.lock();
        let holds_nothing = state.closed || (state.finished && state.held.is_empty());
        !holds_nothing || !state.noted.is_empty()
    }
}

/// Commits a consumer's noted acknowledgements from another thread, also while the consumer waits for messages.
#[derive(Debug, Clone)]
pub struct FlushHandle {
    outstanding: Arc<Outstanding>,
}

impl FlushHandle {
    /// As [`Consumer::flush`].
    pub fn flush(&self) -> Result<()> {
        self.outstanding.flush()
    }
}

/// Ends a consumer from another thread.
#[derive(Debug, Clone)]
pub struct StopHandle {
    stopped: Arc<AtomicBool>,
    subscription: Subscription,
}

impl StopHandle {
    /// Lets the consumer end: it hands out nothing more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let queue = self.subscription.queue();
        // A forked child has the bell in common with its parent, and nobody of its own who waits.
        if !queue.engine.is_forked() {
            bell::ring_word(queue.engine.side(), bell::word_of(queue.id), u32::MAX);
        }
    }
}

/// An iterator over a subscription's messages.
///
/// It receives in batches and, while it lives, extends the leases of everything it has received and not finished (for one
/// batch, up to 12 h). The acknowledgements of its deliveries are noted and committed together: with the next receive, by
/// [`flush`](Consumer::flush), or after 100 ms, whichever comes first. A crash before that redelivers, as it would have a
/// moment earlier. A noted acknowledgement that came too late comes out of the iterator as a `LeaseLost` error, after which
/// it may be asked for more.
///
/// When it is dropped or closed, acknowledgements are committed, messages that were not handed out are released, and those
/// that were handed out and not settled are given back as failed. Where others still handle messages, call
/// [`finish`](Consumer::finish) first. On an at-most-once queue there is nothing to release: what was received and not handed
/// out is lost, so where that matters receive in [batches](ConsumeOptions::batch) of 1.
pub struct Consumer {
    subscription: Subscription,
    options: ConsumeOptions,
    buffer: VecDeque<RawDelivery>,
    outstanding: Arc<Outstanding>,
    stopped: Arc<AtomicBool>,
}

impl Consumer {
    pub(crate) fn new(subscription: Subscription, options: ConsumeOptions) -> Result<Self> {
        options.check()?;
        let settings = subscription.queue().settings()?;
        let lease = options.lease.unwrap_or(settings.lease);
        let outstanding = Arc::new(Outstanding {
            subscription: subscription.clone(),
            lease,
            state: Mutex::default(),
            committing: Mutex::default(),
        });
        let kept: Weak<dyn Keep> = Arc::downgrade(&outstanding) as Weak<dyn Keep>;
        subscription.queue().engine.house.keep(kept);
        Ok(Consumer { subscription, options, buffer: VecDeque::new(), outstanding, stopped: Arc::default() })
    }

    /// The next message, waiting for it at most this long. `None` when nothing came, or after [`StopHandle::stop`].
    ///
    /// # Errors
    /// As [`Subscription::receive_many`], and `LeaseLost` for a noted acknowledgement that came too late.
    pub fn receive(&mut self, wait: Duration) -> Result<Option<Delivery>> {
        crate::subscription::check_wait(wait)?;
        self.outstanding.check_process()?;
        while self.has_more(wait)? {
            while let Some(raw) = self.buffer.pop_front() {
                if self.outstanding.hand_out(raw.receipt()) {
                    return self.delivery(raw).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// As [`receive`](Consumer::receive), but everything that has been received at once, for callers to whom every wait is
    /// dear, such as another language's event loop. Empty when nothing came, or after [`StopHandle::stop`].
    ///
    /// Ask [`Delivery::hand_out`] of each when its turn has come: until then it counts as not handed out.
    ///
    /// # Errors
    /// As [`receive`](Consumer::receive).
    pub fn receive_ahead(&mut self, wait: Duration) -> Result<Vec<Delivery>> {
        crate::subscription::check_wait(wait)?;
        self.outstanding.check_process()?;
        if !self.has_more(wait)? {
            return Ok(Vec::new());
        }
        let received = std::mem::take(&mut self.buffer);
        received.into_iter().map(|raw| self.delivery(raw)).collect()
    }

    fn delivery(&self, raw: RawDelivery) -> Result<Delivery> {
        Delivery::new(self.subscription.clone(), raw, Some(Arc::clone(&self.outstanding)))
    }

    /// Whether there is something to hand out, when need be after receiving it. An acknowledgement that came too late comes
    /// first.
    fn has_more(&mut self, wait: Duration) -> Result<bool> {
        loop {
            if let Some(receipt) = self.outstanding.lock().lost.pop_front() {
                return Err(lease_lost(receipt));
            }
            if self.stopped.load(Ordering::SeqCst) {
                return Ok(false);
            }
            if !self.buffer.is_empty() {
                return Ok(true);
            }
            if !self.fill(wait)? {
                return Ok(false);
            }
        }
    }

    /// Receives the next batch. Returns false when nothing came.
    fn fill(&mut self, wait: Duration) -> Result<bool> {
        let outstanding = &*self.outstanding;
        let stopped = || self.stopped.load(Ordering::SeqCst);
        let mut receive =
            ReceiveOptions { max: self.options.batch, wait: Duration::ZERO, lease: Some(outstanding.lease) };
        let mut deliveries = Vec::new();
        {
            // The first look commits the acknowledgements. Nobody is to wait for more than that.
            let alone = outstanding.alone();
            if !outstanding.lock().noted.is_empty() {
                outstanding.commit_noted(&alone, |noted| {
                    let received = self.subscription.wait_for(&receive, noted.to_vec(), &stopped)?;
                    deliveries = received.deliveries;
                    Ok(received.lost)
                })?;
            }
        }
        if deliveries.is_empty() && outstanding.lock().lost.is_empty() && !stopped() {
            receive.wait = wait;
            deliveries = self.subscription.wait_for(&receive, Vec::new(), &stopped)?.deliveries;
        }
        outstanding.hold(&deliveries);
        self.buffer.extend(deliveries);
        Ok(!self.buffer.is_empty() || !outstanding.lock().lost.is_empty())
    }

    /// A handle that commits the noted acknowledgements from another thread.
    pub fn flush_handle(&self) -> FlushHandle {
        FlushHandle { outstanding: Arc::clone(&self.outstanding) }
    }

    /// Commits the noted acknowledgements now. One that came too late comes out of the next [`Consumer::receive`].
    pub fn flush(&self) -> Result<()> {
        self.outstanding.flush()
    }

    /// Whether [`StopHandle::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// A handle that ends this consumer from another thread.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle { stopped: Arc::clone(&self.stopped), subscription: self.subscription.clone() }
    }

    /// The subscription it consumes.
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// Hands out nothing more, and leaves what is in hand to those who handle it: commits the noted acknowledgements and
    /// releases what was not handed out. Returns how many deliveries are in hand and not settled. Their leases are extended
    /// until the last of them is settled or dropped, whether or not the consumer is; only [`close`](Consumer::close) gives them
    /// back.
    ///
    /// # Errors
    /// As [`close`](Consumer::close).
    pub fn finish(&mut self) -> Result<usize> {
        self.stopped.store(true, Ordering::SeqCst);
        self.end(true)?;
        Ok(self.outstanding.lock().held.len())
    }

    /// Ends: commits the noted acknowledgements, releases what was not handed out, and gives the rest back as failed.
    /// On an at-most-once queue what was not handed out is lost: it left the queue when it was received.
    ///
    /// # Errors
    /// `LeaseLost` for the first noted acknowledgement that came too late.
    pub fn close(mut self) -> Result<()> {
        self.end(false)
    }

    fn end(&mut self, keeps_in_hand: bool) -> Result<()> {
        let outstanding = &*self.outstanding;
        outstanding.check_process()?;
        self.buffer.clear();
        let alone = outstanding.alone();
        let (mut unsettled, mut prefetched) = (Vec::new(), Vec::new());
        {
            let mut state = outstanding.lock();
            if state.closed {
                return Ok(());
            }
            // From here on nothing is noted any more: what comes is settled by itself.
            state.finished = true;
            state.closed = !keeps_in_hand;
            for (receipt, held) in std::mem::take(&mut state.held) {
                if !held.handed_out {
                    prefetched.push(receipt);
                } else if keeps_in_hand {
                    state.held.insert(receipt, held);
                } else {
                    unsettled.push(receipt);
                }
            }
        }
        let acknowledged = outstanding.commit_noted(&alone, |noted| outstanding.settle(&Verb::Ack, noted));
        if self.subscription.queue().semantics() == Semantics::AtMostOnce {
            (unsettled, prefetched) = Default::default();
        }
        let released = outstanding.settle(&Verb::Release, &prefetched);
        let settled = outstanding.settle(&Nack::new().error(ENDED).verb()?, &unsettled);
        acknowledged?;
        released?;
        settled?;
        let lost = outstanding.lock().lost.pop_front();
        lost.map_or(Ok(()), |receipt| Err(lease_lost(receipt)))
    }
}

impl Iterator for Consumer {
    type Item = Result<Delivery>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.receive(self.options.wait.unwrap_or(WAIT_MAX)) {
                Ok(Some(delivery)) => return Some(Ok(delivery)),
                Ok(None) if self.options.wait.is_none() && !self.stopped.load(Ordering::SeqCst) => {}
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if self.subscription.queue().engine.check_usable().is_ok() && !self.outstanding.lock().finished {
            // What could not be given back comes back when its lease ends.
            let _ = self.end(false);
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("subscription", &self.subscription)
            .field("buffered", &self.buffer.len())
            .finish_non_exhaustive()
    }
}
