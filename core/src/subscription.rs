//! A subscription: receiving, settling, dead letters, statistics.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::consumer::{ConsumeOptions, Consumer};
use crate::delivery::{Delivery, Nack, check_words};
use crate::engine::operation::{Letters, Operation, Receive, Received, Reply, Settle, SubscriptionId, Verb};
use crate::engine::{LOOK_AGAIN, bell, read};
use crate::error::{Error, Result};
use crate::limits::{LIST_MAX, RECEIVE_MESSAGES_MAX, SETTLE_RECEIPTS_MAX, WAIT_MAX};
use crate::message::{Headers, decode_headers};
use crate::queue::{Queue, check_lease};
use crate::readiness::Readiness;
use crate::types::{MessageId, Millis, Receipt};

/// How to receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiveOptions {
    pub(crate) max: usize,
    pub(crate) wait: Duration,
    pub(crate) lease: Option<Duration>,
}

impl ReceiveOptions {
    /// One message, without waiting, under the queue's lease.
    pub fn new() -> Self {
        ReceiveOptions { max: 1, wait: Duration::ZERO, lease: None }
    }

    /// At most this many messages, 1 to 10,000. They are one batch under one lease.
    #[must_use]
    pub fn max(mut self, max: usize) -> Self {
        self.max = max;
        self
    }

    /// How long to wait for a first message, at most 24 h.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// A lease other than the queue's.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if !(1..=RECEIVE_MESSAGES_MAX).contains(&self.max) {
            return Err(Error::invalid(format!("max is {}; it takes 1 to {RECEIVE_MESSAGES_MAX}", self.max)));
        }
        check_wait(self.wait)?;
        self.lease.map_or(Ok(()), check_lease)
    }
}

impl Default for ReceiveOptions {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) fn check_wait(wait: Duration) -> Result<()> {
    if wait > WAIT_MAX {
        return Err(Error::invalid(format!("wait is {wait:?}; the limit is {WAIT_MAX:?}")));
    }
    Ok(())
}

/// What can be counted of a subscription, by arithmetic, without reading its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages that a receive would bring now, if the queue is not paused.
    pub ready: u64,
    /// Messages that wait for a time: a delay, or a retry.
    pub delayed: u64,
    /// Messages that wait for an earlier one with their ordering key.
    pub blocked: u64,
    /// Messages in the hands of receivers.
    pub in_flight: u64,
    /// Dead letters.
    pub dead: u64,
    /// Effects at third parties whose outcome is not known.
    pub in_doubt: u64,
    /// The age of the oldest message that is neither finished nor dead.
    pub oldest_age: Option<Duration>,
}

/// A message that was looked at without taking it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peeked {
    /// The id.
    pub id: MessageId,
    /// The body.
    pub body: Vec<u8>,
    /// The headers.
    pub headers: Headers,
    /// The deduplication key.
    pub key: Option<String>,
    /// The ordering key.
    pub ordering_key: Option<String>,
    /// The priority.
    pub priority: u8,
    /// When it was sent, by the sender's clock.
    pub sent_at: Millis,
    /// How often it was delivered so far.
    pub attempts: u32,
}

/// A message that is not delivered any more, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The message; its `attempts` say how often it was delivered.
    pub message: Peeked,
    /// Why it is dead.
    pub reason: String,
    /// The error text of its last `nack`, if there was one.
    pub error: Option<String>,
    /// When it died.
    pub died_at: Millis,
}

fn peeked(seen: read::Seen) -> Result<Peeked> {
    Ok(Peeked {
        id: seen.id,
        body: seen.body,
        headers: decode_headers(seen.headers.map(std::borrow::Cow::Owned))?,
        key: seen.key,
        ordering_key: seen.ordering_key,
        priority: seen.priority,
        sent_at: seen.sent_at,
        attempts: seen.attempt,
    })
}

/// A subscription of a queue: it sees every message, at its own pace. Cheap to clone and to share between threads.
#[derive(Clone)]
pub struct Subscription {
    inner: Arc<Inner>,
}

struct Inner {
    queue: Queue,
    id: SubscriptionId,
    name: String,
}

impl Subscription {
    pub(crate) fn new(queue: Queue, id: SubscriptionId, name: &str) -> Self {
        Subscription { inner: Arc::new(Inner { queue, id, name: name.to_owned() }) }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The queue.
    pub fn queue(&self) -> &Queue {
        &self.inner.queue
    }

    pub(crate) fn id(&self) -> SubscriptionId {
        self.inner.id
    }

    /// Receives one message, waiting for it at most this long (and at most 24 h). `None` when there was none.
    ///
    /// # Errors
    /// As [`Subscription::receive_many`].
    pub fn receive(&self, wait: Duration) -> Result<Option<Delivery>> {
        Ok(self.receive_many(&ReceiveOptions::new().wait(wait))?.pop())
    }

    /// Receives up to `max` messages as one batch under one lease. Returns as soon as there is one; nothing when the wait
    /// has passed. On an at-most-once queue the messages are gone from the file, on disk, before this returns.
    ///
    /// # Errors
    /// `Invalid` for an option out of range; `NotFound` when the subscription was ended; `Busy` when others kept the store
    /// busy.
    pub fn receive_many(&self, options: &ReceiveOptions) -> Result<Vec<Delivery>> {
        options.check()?;
        let received = self.wait_for(options, Vec::new(), &|| false)?;
        received.deliveries.into_iter().map(|raw| Delivery::new(self.clone(), raw, None)).collect()
    }

    /// Receives, sleeping in between, until something is there, the wait is over, or `stop` says so. The first look
    /// commits the folded acknowledgements.
    pub(crate) fn wait_for(
        &self,
        options: &ReceiveOptions,
        mut folded: Vec<Receipt>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Received> {
        let engine = &self.inner.queue.engine;
        let word = bell::word_of(self.inner.queue.id);
        let until = Instant::now() + options.wait;
        let mut lost = Vec::new();
        loop {
            let heard = bell::listen(engine.side(), word);
            let mut received = self.look(options, std::mem::take(&mut folded))?;
            lost.append(&mut received.lost);
            let left = until.saturating_duration_since(Instant::now());
            if !received.deliveries.is_empty() || !lost.is_empty() || left.is_zero() || stop() {
                received.lost = lost;
                return Ok(received);
            }
            let due = received.next_due.map(|due| due.since(engine.now()));
            let pause = left.min(LOOK_AGAIN).min(due.unwrap_or(LOOK_AGAIN));
            if !pause.is_zero() {
                let _asleep = engine.house.sleeper(word);
                bell::sleep(engine.side(), word, heard, pause);
            }
        }
    }

    fn look(&self, options: &ReceiveOptions, folded: Vec<Receipt>) -> Result<Received> {
        let receive = Receive { subscription: self.inner.id, max: options.max, lease: options.lease, folded };
        match self.inner.queue.engine.call(Operation::Receive(receive))? {
            Reply::Received(received) => Ok(received),
            other => other.unexpected("deliveries"),
        }
    }

    /// Consumes messages one by one: receives in batches, extends leases while handlers work, and folds acknowledgements.
    ///
    /// # Errors
    /// `Invalid` for an option out of range.
    pub fn consume(&self, options: ConsumeOptions) -> Result<Consumer> {
        Consumer::new(self.clone(), options)
    }

    /// A descriptor that an event loop can wait on for messages of this subscription, instead of a thread in `receive`.
    ///
    /// # Errors
    /// `Storage` when the process can open no more files or start no more threads, or when the file cannot be read.
    pub fn readiness(&self) -> Result<Readiness> {
        Readiness::new(self.clone())
    }

    /// Acknowledges deliveries, in one commit. Returns the receipts whose lease was lost: all others are done. The same
    /// call repeated gives the same answer.
    ///
    /// # Errors
    /// `Invalid` for a message of another queue, or for more than 10,000 receipts; then nothing is settled.
    pub fn ack(&self, receipts: &[Receipt]) -> Result<Vec<Receipt>> {
        self.settle(Verb::Ack, receipts.to_vec())
    }

    /// Gives deliveries back as failed, in one commit. Returns the receipts whose lease was lost.
    ///
    /// # Errors
    /// As [`Subscription::ack`], and `Invalid` on an at-most-once queue or for a delay or text over its limit.
    pub fn nack(&self, receipts: &[Receipt], nack: &Nack) -> Result<Vec<Receipt>> {
        self.settle(nack.verb()?, receipts.to_vec())
    }

    /// Dead-letters deliveries, in one commit. Returns the receipts whose lease was lost.
    ///
    /// # Errors
    /// As [`Subscription::nack`].
    pub fn dead_letter(&self, receipts: &[Receipt], reason: &str) -> Result<Vec<Receipt>> {
        check_words("reason", reason)?;
        self.settle(Verb::DeadLetter { reason: reason.to_owned() }, receipts.to_vec())
    }

    /// Makes the leases end this long from now. Returns the receipts whose lease was lost.
    ///
    /// # Errors
    /// As [`Subscription::nack`], and `Invalid` for a lease out of range.
    pub fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<Receipt>> {
        check_lease(lease)?;
        self.settle(Verb::Extend { lease }, receipts.to_vec())
    }

    /// Gives deliveries back unused: due at once, the attempt not counted. Returns the receipts whose lease was lost.
    ///
    /// # Errors
    /// As [`Subscription::nack`].
    pub fn release(&self, receipts: &[Receipt]) -> Result<Vec<Receipt>> {
        self.settle(Verb::Release, receipts.to_vec())
    }

    pub(crate) fn settle(&self, verb: Verb, receipts: Vec<Receipt>) -> Result<Vec<Receipt>> {
        let settle = self.checked(verb, receipts)?;
        match self.inner.queue.engine.call(Operation::Settle(settle))? {
            Reply::Settled(lost) => Ok(lost),
            other => other.unexpected("a settlement"),
        }
    }

    pub(crate) fn checked(&self, verb: Verb, receipts: Vec<Receipt>) -> Result<Settle> {
        if receipts.len() > SETTLE_RECEIPTS_MAX {
            return Err(Error::invalid(format!(
                "{} receipts in one call; the limit is {SETTLE_RECEIPTS_MAX}",
                receipts.len()
            )));
        }
        Ok(Settle { subscription: self.inner.id, verb, receipts })
    }

    /// Looks at up to `max` (1 to 10,000) messages that a receive would bring, in its order, without taking them.
    pub fn peek(&self, max: usize) -> Result<Vec<Peeked>> {
        check_list(max)?;
        let now = self.inner.queue.engine.now();
        let seen = self.inner.queue.engine.read(|conn| read::peek(conn, self.inner.id, max, now))?;
        seen.into_iter().map(peeked).collect()
    }

    /// Of these messages, those that could still be delivered to this subscription: ready, delayed, blocked, in flight,
    /// in doubt, or dead (a dead letter can be redriven). An id that no message has had yet is among them.
    ///
    /// The others are finished, for ever and on disk, even on a queue whose acknowledgements are not synced: what was kept
    /// elsewhere to recognise a repeat of them may be deleted. Two events can offer one again all the same: the file is
    /// replaced by an older copy of itself, or the subscription is ended and begun anew from the oldest message.
    ///
    /// # Errors
    /// `Invalid` for a message of another queue, or for more than 10,000; `NotFound` when the subscription was ended;
    /// `Storage` when the sync failed; `Busy` in memory while a transaction of the application is open.
    pub fn unfinished(&self, messages: &[MessageId]) -> Result<Vec<MessageId>> {
        check_count(messages)?;
        self.inner.queue.engine.unfinished(self.inner.queue.id, self.inner.id, messages)
    }

    /// Counts, without reading messages.
    ///
    /// # Errors
    /// `NotFound` when the subscription was ended.
    pub fn stats(&self) -> Result<Stats> {
        let now = self.inner.queue.engine.now();
        let counts = self.inner.queue.engine.read(|conn| read::counts(conn, self.inner.id, now))?;
        let counts = counts.ok_or_else(|| Error::not_found("the subscription no longer exists"))?;
        let count = |value: i64| u64::try_from(value).unwrap_or(0);
        Ok(Stats {
            ready: count(counts.ready),
            delayed: count(counts.delayed),
            blocked: count(counts.blocked),
            in_flight: count(counts.in_flight),
            dead: count(counts.dead),
            in_doubt: count(counts.in_doubt),
            oldest_age: counts.oldest_sent_at.map(|sent_at| now.since(Millis::new(sent_at))),
        })
    }

    /// Lists up to `max` (1 to 10,000) dead letters in the order of their ids, from the one after `after` on.
    pub fn dead_letters(&self, after: Option<MessageId>, max: usize) -> Result<Vec<DeadLetter>> {
        check_list(max)?;
        let letters = self.inner.queue.engine.read(|conn| read::letters(conn, self.inner.id, after, max))?;
        let letter = |letter: read::Letter| {
            Ok(DeadLetter {
                message: peeked(letter.seen)?,
                reason: letter.reason,
                error: letter.error,
                died_at: letter.died_at,
            })
        };
        letters.into_iter().map(letter).collect()
    }

    /// Offers dead letters again, under their ids, with their attempts counted anew and without a time to live (for
    /// other subscriptions of the queue too). No deduplication stands in their way. Returns how many there were.
    ///
    /// # Errors
    /// `Invalid` for a message of another queue, or for more than 10,000; then none is redriven.
    pub fn redrive(&self, messages: &[MessageId]) -> Result<u64> {
        let letters = Self::named(messages)?;
        self.letters(Operation::Redrive { subscription: self.inner.id, letters }).map(|done| done.len() as u64)
    }

    /// Offers all dead letters again. Returns how many there were.
    pub fn redrive_all(&self) -> Result<u64> {
        self.all_letters(|letters| Operation::Redrive { subscription: self.inner.id, letters })
    }

    /// Throws dead letters away. Returns how many there were.
    ///
    /// # Errors
    /// `Invalid` for a message of another queue, or for more than 10,000; then none is thrown away.
    pub fn purge_dead(&self, messages: &[MessageId]) -> Result<u64> {
        let letters = Self::named(messages)?;
        self.letters(Operation::PurgeDead { subscription: self.inner.id, letters }).map(|done| done.len() as u64)
    }

    /// Throws all dead letters away. Returns how many there were.
    pub fn purge_dead_all(&self) -> Result<u64> {
        self.all_letters(|letters| Operation::PurgeDead { subscription: self.inner.id, letters })
    }

    /// The letters with these ids, if there are not too many of them.
    fn named(messages: &[MessageId]) -> Result<Letters> {
        check_count(messages)?;
        Ok(Letters::These(messages.to_vec()))
    }

    fn letters(&self, operation: Operation) -> Result<Vec<MessageId>> {
        match self.inner.queue.engine.call(operation)? {
            Reply::Letters(done) => Ok(done),
            other => other.unexpected("dead letters"),
        }
    }

    fn all_letters(&self, operation: impl Fn(Letters) -> Operation) -> Result<u64> {
        let (mut total, mut after) = (0, None);
        loop {
            let done = self.letters(operation(Letters::After(after)))?;
            total += done.len() as u64;
            match done.last() {
                Some(last) => after = Some(*last),
                None => return Ok(total),
            }
        }
    }
}

fn check_count(messages: &[MessageId]) -> Result<()> {
    if messages.len() > LIST_MAX {
        return Err(Error::invalid(format!("{} messages in one call; the limit is {LIST_MAX}", messages.len())));
    }
    Ok(())
}

pub(crate) fn check_list(max: usize) -> Result<()> {
    if !(1..=LIST_MAX).contains(&max) {
        return Err(Error::invalid(format!("max is {max}; it takes 1 to {LIST_MAX}")));
    }
    Ok(())
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("name", &self.inner.name)
            .field("queue", &self.inner.queue.name())
            .finish_non_exhaustive()
    }
}
