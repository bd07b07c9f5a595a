//! The calls of a queue's default subscription, as the queue's own.

use std::time::Duration;

use crate::consumer::{ConsumeOptions, Consumer};
use crate::delivery::{Delivery, Nack};
use crate::error::Result;
use crate::queue::Queue;
use crate::subscription::{DeadLetter, Peeked, ReceiveOptions, Stats};
use crate::types::{MessageId, Receipt};

/// Each is the same call of [`Queue::default_subscription`], and fails with `NotFound` where the queue has none.
impl Queue {
    /// As [`Subscription::receive`](crate::Subscription::receive).
    pub fn receive(&self, wait: Duration) -> Result<Option<Delivery>> {
        self.on_own(|own| own.receive(wait))
    }

    /// As [`Subscription::receive_many`](crate::Subscription::receive_many).
    pub fn receive_many(&self, options: &ReceiveOptions) -> Result<Vec<Delivery>> {
        self.on_own(|own| own.receive_many(options))
    }

    /// As [`Subscription::consume`](crate::Subscription::consume).
    pub fn consume(&self, options: ConsumeOptions) -> Result<Consumer> {
        self.default_subscription()?.consume(options)
    }

    /// As [`Subscription::ack`](crate::Subscription::ack).
    pub fn ack(&self, receipts: &[Receipt]) -> Result<Vec<Receipt>> {
        self.on_own(|own| own.ack(receipts))
    }

    /// As [`Subscription::nack`](crate::Subscription::nack).
    pub fn nack(&self, receipts: &[Receipt], nack: &Nack) -> Result<Vec<Receipt>> {
        self.on_own(|own| own.nack(receipts, nack))
    }

    /// As [`Subscription::dead_letter`](crate::Subscription::dead_letter).
    pub fn dead_letter(&self, receipts: &[Receipt], reason: &str) -> Result<Vec<Receipt>> {
        self.on_own(|own| own.dead_letter(receipts, reason))
    }

    /// As [`Subscription::extend`](crate::Subscription::extend).
    pub fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<Receipt>> {
        self.on_own(|own| own.extend(receipts, lease))
    }

    /// As [`Subscription::release`](crate::Subscription::release).
    pub fn release(&self, receipts: &[Receipt]) -> Result<Vec<Receipt>> {
        self.on_own(|own| own.release(receipts))
    }

    /// As [`Subscription::peek`](crate::Subscription::peek).
    pub fn peek(&self, max: usize) -> Result<Vec<Peeked>> {
        self.on_own(|own| own.peek(max))
    }

    /// As [`Subscription::unfinished`](crate::Subscription::unfinished).
    pub fn unfinished(&self, messages: &[MessageId]) -> Result<Vec<MessageId>> {
        self.on_own(|own| own.unfinished(messages))
    }

    /// As [`Subscription::stats`](crate::Subscription::stats).
    pub fn stats(&self) -> Result<Stats> {
        self.on_own(super::subscription::Subscription::stats)
    }

    /// As [`Subscription::dead_letters`](crate::Subscription::dead_letters).
    pub fn dead_letters(&self, after: Option<MessageId>, max: usize) -> Result<Vec<DeadLetter>> {
        self.on_own(|own| own.dead_letters(after, max))
    }

    /// As [`Subscription::redrive`](crate::Subscription::redrive).
    pub fn redrive(&self, messages: &[MessageId]) -> Result<u64> {
        self.on_own(|own| own.redrive(messages))
    }

    /// As [`Subscription::redrive_all`](crate::Subscription::redrive_all).
    pub fn redrive_all(&self) -> Result<u64> {
        self.on_own(super::subscription::Subscription::redrive_all)
    }

    /// As [`Subscription::purge_dead`](crate::Subscription::purge_dead).
    pub fn purge_dead(&self, messages: &[MessageId]) -> Result<u64> {
        self.on_own(|own| own.purge_dead(messages))
    }

    /// As [`Subscription::purge_dead_all`](crate::Subscription::purge_dead_all).
    pub fn purge_dead_all(&self) -> Result<u64> {
        self.on_own(super::subscription::Subscription::purge_dead_all)
    }
}
