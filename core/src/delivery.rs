//! A message in the hands of a receiver, and the ways to settle it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::consumer::Outstanding;
use crate::engine::effect::operation::Disposal;
use crate::engine::operation::{SubscriptionId, Verb};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{DELAY_MAX, TEXT_BYTES_MAX};
use crate::message::{Headers, decode_headers};
use crate::process_mutex::ProcessMutex;
use crate::queue::check_lease;
use crate::subscription::Subscription;
use crate::transaction::Transaction;
use crate::types::{MessageId, Millis, Receipt, Token};

/// A delivery as the engine hands it over.
#[derive(Debug)]
pub(crate) struct RawDelivery {
    pub(crate) id: MessageId,
    pub(crate) token: Token,
    pub(crate) attempt: u32,
    pub(crate) priority: u8,
    pub(crate) sent_at: Millis,
    pub(crate) lease_expires_at: Millis,
    pub(crate) key: Option<String>,
    pub(crate) ordering_key: Option<String>,
    pub(crate) headers: Option<Vec<u8>>,
    pub(crate) body: Vec<u8>,
}

impl RawDelivery {
    pub(crate) fn receipt(&self) -> Receipt {
        Receipt { message: self.id, token: self.token }
    }
}

/// How a failed message is given back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nack {
    delay: Option<Duration>,
    error: Option<String>,
}

impl Nack {
    /// Given back after the queue's backoff, with no word of why.
    pub fn new() -> Self {
        Self::default()
    }

    /// Offers it again after this delay instead of the queue's backoff; at most ten years.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Keeps this text with the message: it is shown with a dead letter. At most 4 KiB.
    #[must_use]
    pub fn error(mut self, error: impl Into<String>) -> Self {
        self.error = Some(error.into());
        self
    }

    pub(crate) fn verb(&self) -> Result<Verb> {
        if let Some(delay) = self.delay
            && delay > DELAY_MAX
        {
            return Err(Error::invalid(format!("delay is {delay:?}; the limit is {DELAY_MAX:?}")));
        }
        if let Some(error) = &self.error {
            check_words("error text", error)?;
        }
        Ok(Verb::Nack { delay: self.delay, error: self.error.clone() })
    }
}

/// Checks a reason or an error text that is kept with a message.
pub(crate) fn check_words(what: &str, text: &str) -> Result<()> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::invalid(format!("{what} is {} bytes; the limit is {TEXT_BYTES_MAX}", text.len())));
    }
    if text.contains('\0') {
        return Err(Error::invalid(format!("{what} holds a NUL character")));
    }
    Ok(())
}

/// A message handed to this receiver, its own until the lease ends. Settle it, in one of the ways below.
///
/// Dropping it settles nothing: the message is offered again when the lease has ended. A settle that failed with `Busy` or
/// `Full` may be repeated; one that succeeded is final, and another on the same delivery fails with `Invalid`: of threads that
/// settle it at once, one succeeds. (By [`receipt`](Delivery::receipt), through the [`Subscription`], the same settle repeated
/// gives the same answer.)
#[derive(Debug)]
pub struct Delivery {
    subscription: Subscription,
    raw: RawDelivery,
    headers: Headers,
    /// What was done with it, once something was.
    settled: OnceLock<Settled>,
    /// Held while it is settled: of threads that do it at once, one does, and the others are told.
    settling: ProcessMutex<()>,
    /// The names of its effects so far, once it has any.
    effects: OnceLock<Names>,
    /// The consumer it came from, if it did.
    outstanding: Option<Arc<Outstanding>>,
}

impl Delivery {
    pub(crate) fn new(
        subscription: Subscription,
        mut raw: RawDelivery,
        outstanding: Option<Arc<Outstanding>>,
    ) -> Result<Self> {
        let headers = decode_headers(raw.headers.take().map(std::borrow::Cow::Owned))?;
        Ok(Delivery {
            subscription,
            raw,
            headers,
            settled: OnceLock::new(),
            settling: ProcessMutex::new(()),
            effects: OnceLock::new(),
            outstanding,
        })
    }

    /// The message's id.
    pub fn id(&self) -> MessageId {
        self.raw.id
    }

    /// The fencing token of this delivery: larger than that of every earlier delivery of the message.
    pub fn token(&self) -> Token {
        self.raw.token
    }

    /// Id and token: what a settle needs.
    pub fn receipt(&self) -> Receipt {
        self.raw.receipt()
    }

    /// Which delivery of the message this is, from 1. Survives crashes.
    pub fn attempt(&self) -> u32 {
        self.raw.attempt
    }

    /// The body, as it was sent.
    pub fn body(&self) -> &[u8] {
        &self.raw.body
    }

    /// The body, taken out without a copy; the delivery has none afterwards.
    pub fn take_body(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.raw.body)
    }

    /// The headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The deduplication key it was sent with.
    pub fn key(&self) -> Option<&str> {
        self.raw.key.as_deref()
    }

    /// The ordering key it was sent with.
    pub fn ordering_key(&self) -> Option<&str> {
        self.raw.ordering_key.as_deref()
    }

    /// The priority, 0 (taken first) to 9.
    pub fn priority(&self) -> u8 {
        self.raw.priority
    }

    /// When it was sent, by the sender's clock.
    pub fn sent_at(&self) -> Millis {
        self.raw.sent_at
    }

    /// When the lease ends, as of the receive or of [`extend`](Delivery::extend). A consumer extends it in the background as
    /// well, which does not show here.
    pub fn lease_expires_at(&self) -> Millis {
        self.raw.lease_expires_at
    }

    /// The subscription it was received from.
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// Acknowledges: the message is done and never delivered again.
    ///
    /// On an exactly-once queue the acknowledgement is on disk when this returns. From a
    /// [`Consumer`](crate::Consumer) it is only noted, and committed with the next receive, `flush` or `close`.
    ///
    /// # Errors
    /// `LeaseLost` when the message was meanwhile given to someone else or finished.
    pub fn ack(&self) -> Result<()> {
        let Some(outstanding) = &self.outstanding else { return self.settle(&Verb::Ack) };
        let _alone = self.settling.lock()?;
        self.check_unsettled()?;
        outstanding.ack(self.receipt())?;
        self.mark_settled(&Verb::Ack);
        Ok(())
    }

    /// As [`ack`](Delivery::ack) where that waits for nothing: on a delivery from a [`Consumer`](crate::Consumer) that has
    /// not ended. Elsewhere it does nothing and returns false.
    ///
    /// # Errors
    /// As [`ack`](Delivery::ack).
    pub fn ack_at_once(&self) -> Result<bool> {
        let Some(outstanding) = &self.outstanding else { return Ok(false) };
        let Some(_alone) = self.settling.try_lock() else { return Ok(false) };
        self.check_unsettled()?;
        let noted = outstanding.ack_at_once(self.receipt())?;
        if noted {
            self.mark_settled(&Verb::Ack);
        }
        Ok(noted)
    }

    /// Whether its turn to be handled may come, for a delivery from [`Consumer::receive_ahead`](crate::Consumer::receive_ahead):
    /// false when the consumer has ended or its lease is known to be lost (never on an at-most-once queue). From here on it
    /// counts as handed out: when its consumer ends before it is settled, it is given back as failed, and before, as never
    /// delivered.
    pub fn hand_out(&self) -> bool {
        self.outstanding.as_ref().is_none_or(|outstanding| outstanding.hand_out(self.receipt()))
    }

    /// Lets the lease run out: its consumer, if it came from one, extends it no more. For who cannot even give it back.
    pub fn let_go(&self) {
        if let Some(outstanding) = &self.outstanding {
            outstanding.forget(self.receipt());
        }
    }

    /// Gives the message back as failed: it is offered again after a delay, or dead-lettered when its attempts are used up.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` on an at-most-once queue, or for a delay or text over its limit.
    pub fn nack(&self, nack: &Nack) -> Result<()> {
        self.settle(&nack.verb()?)
    }

    /// Dead-letters the message at once, with a reason of at most 4 KiB.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` on an at-most-once queue, or for a reason over its limit.
    pub fn dead_letter(&self, reason: &str) -> Result<()> {
        check_words("reason", reason)?;
        self.settle(&Verb::DeadLetter { reason: reason.to_owned() })
    }

    /// Gives the message back unused: it is due at once, and this delivery does not count as an attempt.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` on an at-most-once queue.
    pub fn release(&self) -> Result<()> {
        self.settle(&Verb::Release)
    }

    /// Makes the lease end this long from now.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` on an at-most-once queue, or for a lease out of range.
    pub fn extend(&mut self, lease: Duration) -> Result<()> {
        check_lease(lease)?;
        self.check_unsettled()?;
        self.settle_as(Verb::Extend { lease })?;
        self.raw.lease_expires_at = self.subscription.queue().engine.now().plus(lease);
        Ok(())
    }

    /// Begins a transaction whose commit also acknowledges this delivery: the effects and the acknowledgement happen
    /// together, or not at all.
    pub fn transaction(&self) -> Result<Transaction> {
        let engine = Arc::clone(&self.subscription.queue().engine);
        engine.check_usable()?;
        self.check_unsettled()?;
        let acknowledged = Acknowledged {
            subscription: self.subscription.id(),
            receipt: self.receipt(),
            settled: Arc::clone(self.settled.get_or_init(Settled::default)),
            outstanding: self.outstanding.clone(),
        };
        Ok(Transaction::new(engine, Some(acknowledged)))
    }

    /// Whether this handle was settled: by one of its calls, by its transaction, or by an effect that is in doubt.
    pub fn is_settled(&self) -> bool {
        self.settled.get().is_some_and(|settled| settled.get().is_some())
    }

    /// What an effect of this message keeps of the delivery.
    pub(crate) fn held(&self) -> Result<Held> {
        self.check_unsettled()?;
        Ok(Held {
            receipt: self.receipt(),
            ordering_key: self.raw.ordering_key.clone(),
            settled: Arc::clone(self.settled.get_or_init(Settled::default)),
            names: Arc::clone(self.effects.get_or_init(Names::default)),
            outstanding: self.outstanding.clone(),
        })
    }

    fn settle(&self, verb: &Verb) -> Result<()> {
        let _alone = self.settling.lock()?;
        self.check_unsettled()?;
        if let Some(outstanding) = &self.outstanding {
            // What was acknowledged before counts before.
            outstanding.flush()?;
        }
        self.settle_as(verb.clone())?;
        self.mark_settled(verb);
        if let Some(outstanding) = &self.outstanding {
            outstanding.forget(self.receipt());
            if let (Some(key), Verb::Nack { .. } | Verb::Release) = (self.ordering_key(), verb) {
                outstanding.forget_line(self.receipt(), key);
            }
        }
        Ok(())
    }

    fn check_unsettled(&self) -> Result<()> {
        match self.settled.get().and_then(|settled| settled.get()) {
            Some(how) => Err(Error::invalid(format!("this delivery of message {} was {how} already", self.id()))),
            None => Ok(()),
        }
    }

    fn mark_settled(&self, verb: &Verb) {
        // An effect or a transaction may have been first: that names what was done.
        let _ = self.settled.get_or_init(Settled::default).set(verb.name());
    }

    fn settle_as(&self, verb: Verb) -> Result<()> {
        let lost = self.subscription.settle(verb, vec![self.receipt()])?;
        if lost.is_empty() { Ok(()) } else { Err(lease_lost(self.receipt())) }
    }
}

/// What was done with a delivery, once something was. Shared with the transaction that acknowledges it.
type Settled = Arc<OnceLock<&'static str>>;

/// The names of a delivery's effects.
type Names = Arc<Mutex<BTreeSet<String>>>;

/// A delivery, as an effect of its message holds it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    receipt: Receipt,
    ordering_key: Option<String>,
    settled: Settled,
    names: Names,
    outstanding: Option<Arc<Outstanding>>,
}

impl Held {
    /// Takes a name for an effect: each stands once in a delivery.
    pub(crate) fn claim(&self, name: &str) -> Result<()> {
        if self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned()) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "effect {name:?} was asked for already in this delivery of message {}",
            self.receipt.message
        )))
    }

    /// Nothing came of it: the name is free again.
    pub(crate) fn unclaim(&self, name: &str) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Notes what became of the message because of an effect.
    pub(crate) fn disposed(&self, disposal: Disposal) {
        let how = match disposal {
            Disposal::NoMessage | Disposal::Lost | Disposal::Kept => return,
            Disposal::Parked => "parked, because an effect of it is in doubt,",
            Disposal::DeadLettered => Verb::DeadLetter { reason: String::new() }.name(),
            Disposal::GivenBack { .. } => "given back, because of an effect of it,",
        };
        let _ = self.settled.set(how);
        let Some(outstanding) = &self.outstanding else { return };
        outstanding.forget(self.receipt);
        if let (Some(key), Disposal::Parked | Disposal::GivenBack { .. }) = (&self.ordering_key, disposal) {
            outstanding.forget_line(self.receipt, key);
        }
    }
}

pub(crate) fn lease_lost(receipt: Receipt) -> Error {
    Error::new(
        ErrorKind::LeaseLost,
        format!(
            "the lease of message {} with token {} was lost: the message was given to someone else, or is finished",
            receipt.message,
            receipt.token.get()
        ),
    )
}

/// The delivery that a transaction acknowledges.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    pub(crate) subscription: SubscriptionId,
    pub(crate) receipt: Receipt,
    settled: Settled,
    outstanding: Option<Arc<Outstanding>>,
}

impl Acknowledged {
    /// The transaction has committed.
    pub(crate) fn done(&self) {
        let _ = self.settled.set(Verb::Ack.name());
        if let Some(outstanding) = &self.outstanding {
            outstanding.forget(self.receipt);
        }
    }
}
