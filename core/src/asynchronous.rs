//! The calls that wait, as futures, for programs on the tokio runtime.
//!
//! Each is its namesake without `_async`, with the same guarantee and the same errors. No runtime thread is blocked: the
//! store leads and listens on threads of its own. What is not here (transactions, statistics, listings) is short; call it
//! through `tokio::task::spawn_blocking`.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::delivery::{Delivery, Nack, check_words};
use crate::engine::operation::{Operation, Receive, Received, Reply, Sent, Settle, Verb};
use crate::engine::{Engine, LOOK_AGAIN, bell};
use crate::error::{Error, ErrorKind, Result};
use crate::message::Message;
use crate::queue::{Queue, check_lease};
use crate::semantics::Semantics;
use crate::subscription::{ReceiveOptions, Subscription};
use crate::types::Receipt;

/// An answer on its way. Deliveries that nobody takes, because the future was dropped, are given back.
struct Answer {
    reply: Option<Result<Reply>>,
    /// Where deliveries go back to.
    from: Option<(Weak<Engine>, Subscription)>,
}

impl Answer {
    fn take(mut self) -> Result<Reply> {
        self.reply.take().unwrap_or_else(|| Err(Error::new(ErrorKind::Closed, "the store is closed")))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let (Some(Ok(Reply::Received(received))), Some((engine, subscription))) = (self.reply.take(), &self.from)
        else {
            return;
        };
        let receipts: Vec<Receipt> = received.deliveries.iter().map(super::delivery::RawDelivery::receipt).collect();
        if receipts.is_empty() || subscription.queue().semantics() == Semantics::AtMostOnce {
            return;
        }
        if let Some(engine) = engine.upgrade() {
            let release = Settle { subscription: subscription.id(), verb: Verb::Release, receipts };
            // If the store is closing, closing gives them back.
            let _ = engine.submit(Operation::Settle(release), Box::new(|_| ()));
        }
    }
}

async fn call(engine: &Arc<Engine>, operation: Operation, from: Option<Subscription>) -> Result<Reply> {
    let (answer, answered) = oneshot::channel();
    let from = from.map(|subscription| (Arc::downgrade(engine), subscription));
    engine.submit(
        operation,
        Box::new(move |reply| {
            let _ = answer.send(Answer { reply: Some(reply), from });
        }),
    )?;
    match answered.await {
        Ok(answer) => answer.take(),
        Err(_) => Err(Error::new(ErrorKind::Closed, "the store is closed")),
    }
}

impl Queue {
    /// As [`Queue::send`].
    pub async fn send_async(&self, message: impl Into<Message>) -> Result<Sent> {
        let messages = vec![self.prepare(message.into())?];
        match call(&self.engine, self.sending(messages), None).await? {
            Reply::Sent(sent) if sent.len() == 1 => Ok(sent[0]),
            other => other.unexpected("one message sent"),
        }
    }

    /// As [`Queue::send_many`].
    pub async fn send_many_async<I: IntoIterator<Item = M>, M: Into<Message>>(&self, messages: I) -> Result<Vec<Sent>> {
        let messages = self.prepare_many(messages)?;
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        match call(&self.engine, self.sending(messages), None).await? {
            Reply::Sent(sent) => Ok(sent.into_vec()),
            other => other.unexpected("messages sent"),
        }
    }

    /// As [`Queue::receive`].
    pub async fn receive_async(&self, wait: Duration) -> Result<Option<Delivery>> {
        self.default_subscription()?.receive_async(wait).await
    }

    /// As [`Queue::receive_many`].
    pub async fn receive_many_async(&self, options: &ReceiveOptions) -> Result<Vec<Delivery>> {
        self.default_subscription()?.receive_many_async(options).await
    }
}

impl Subscription {
    /// As [`Subscription::receive`]. A future that is dropped gives back what it had received.
    pub async fn receive_async(&self, wait: Duration) -> Result<Option<Delivery>> {
        Ok(self.receive_many_async(&ReceiveOptions::new().wait(wait)).await?.pop())
    }

    /// As [`Subscription::receive_many`]. A future that is dropped gives back what it had received.
    pub async fn receive_many_async(&self, options: &ReceiveOptions) -> Result<Vec<Delivery>> {
        options.check()?;
        let engine = Arc::clone(&self.queue().engine);
        engine.check_usable()?;
        let mut hearing = None;
        let word = bell::word_of(self.queue().id);
        let until = Instant::now() + options.wait;
        loop {
            let heard = bell::listen(engine.side(), word);
            let received = self.look_async(options).await?;
            let left = until.saturating_duration_since(Instant::now());
            if !received.deliveries.is_empty() || left.is_zero() {
                return received.deliveries.into_iter().map(|raw| Delivery::new(self.clone(), raw, None)).collect();
            }
            let hearing = match &mut hearing {
                Some(hearing) => hearing,
                none => none.insert(engine.background.hear(&engine)?),
            };
            let due = received.next_due.map(|due| due.since(engine.now()));
            let pause = left.min(LOOK_AGAIN).min(due.unwrap_or(LOOK_AGAIN));
            let _asleep = engine.house.sleeper(word);
            let look_at = Instant::now() + pause;
            loop {
                let ring = hearing.rung();
                if bell::listen(engine.side(), word) != heard || tokio::time::timeout_at(look_at, ring).await.is_err() {
                    break;
                }
            }
        }
    }

    async fn look_async(&self, options: &ReceiveOptions) -> Result<Received> {
        let receive = Receive { subscription: self.id(), max: options.max, lease: options.lease, folded: Vec::new() };
        match call(&self.queue().engine, Operation::Receive(receive), Some(self.clone())).await? {
            Reply::Received(received) => Ok(received),
            other => other.unexpected("deliveries"),
        }
    }

    /// As [`Subscription::ack`].
    pub async fn ack_async(&self, receipts: &[Receipt]) -> Result<Vec<Receipt>> {
        self.settle_async(Verb::Ack, receipts).await
    }

    /// As [`Subscription::nack`].
    pub async fn nack_async(&self, receipts: &[Receipt], nack: &Nack) -> Result<Vec<Receipt>> {
        self.settle_async(nack.verb()?, receipts).await
    }

    /// As [`Subscription::dead_letter`].
    pub async fn dead_letter_async(&self, receipts: &[Receipt], reason: &str) -> Result<Vec<Receipt>> {
        check_words("reason", reason)?;
        self.settle_async(Verb::DeadLetter { reason: reason.to_owned() }, receipts).await
    }

    /// As [`Subscription::extend`].
    pub async fn extend_async(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<Receipt>> {
        check_lease(lease)?;
        self.settle_async(Verb::Extend { lease }, receipts).await
    }

    /// As [`Subscription::release`].
    pub async fn release_async(&self, receipts: &[Receipt]) -> Result<Vec<Receipt>> {
        self.settle_async(Verb::Release, receipts).await
    }

    async fn settle_async(&self, verb: Verb, receipts: &[Receipt]) -> Result<Vec<Receipt>> {
        let settle = self.checked(verb, receipts.to_vec())?;
        match call(&self.queue().engine, Operation::Settle(settle), None).await? {
            Reply::Settled(lost) => Ok(lost),
            other => other.unexpected("a settlement"),
        }
    }
}
