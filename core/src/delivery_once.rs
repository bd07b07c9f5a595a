//! Effects of a message: a delivery's own calls.

use crate::delivery::Delivery;
use crate::effect::{Begun, begin, run};
use crate::engine::Engine;
use crate::engine::effect::operation::{Scope, Subject};
use crate::engine::read;
use crate::error::{Error, Result};
use crate::once::{Called, OnceOptions, Probed};
use crate::semantics::Semantics;
use crate::types::check_name;

impl Delivery {
    /// Makes a call at a third party once for this message, under a name, and keeps its result.
    ///
    /// That the call starts is on disk before it is made, and how it ended before this returns. Asked for again, in a later
    /// delivery of the message, after a crash, a retry or a redrive, the kept result is returned and nothing is called. When a
    /// caller is gone in between, nobody knows, and the call is not repeated before somebody does:
    /// [`OnUnknown`](crate::OnUnknown) says how. A living caller is never guessed about, however long it takes: the message
    /// is given back meanwhile.
    ///
    /// Each effect has a name of its own within its message; in one delivery each name stands once. Acknowledge the
    /// delivery afterwards; what is kept is forgotten when the message is finished.
    ///
    /// ```
    /// use onceward::{Called, Message, OnceOptions, Semantics, Store};
    /// use std::time::Duration;
    ///
    /// let store = Store::open(":memory:")?;
    /// let payments = store.queue("payments", Semantics::ExactlyOnce)?;
    /// payments.send(Message::new("1999 cents").key("order-42"))?;
    /// let delivery = payments.receive(Duration::ZERO)?.expect("just sent");
    /// let receipt = delivery.once("charge", &OnceOptions::park(), || Called::Done(b"receipt 7".to_vec()))?;
    /// assert_eq!(receipt, b"receipt 7");
    /// delivery.ack()?;
    /// # Ok::<(), onceward::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InDoubt` when nobody knows whether it happened; `Failed` when the call said that it did not; `Busy` when another
    /// caller is at it. After `InDoubt` and such a `Busy` the delivery is settled: parked, dead-lettered or given back, as the
    /// error says. `LeaseLost` before anything is called; once the call is made, its outcome is recorded even when the lease
    /// was lost. `Invalid` for a name out of its limits or used before in this delivery, on an at-most-once queue, inside a
    /// transaction that has begun, when the options ask for a probe, and for a result over 1 MiB.
    pub fn once(&self, name: &str, options: &OnceOptions, call: impl FnOnce() -> Called) -> Result<Vec<u8>> {
        options.check_probe(false)?;
        run(self.begin_once(name, options)?, call, None)
    }

    /// As [`Delivery::once`] with [`OnceOptions::probe`]: when nobody knows whether an earlier call happened, `probe` asks the
    /// third party.
    ///
    /// # Errors
    /// As [`Delivery::once`], and `Busy` while the answer "it did not happen" does not count yet: the message is given back
    /// until it does.
    pub fn once_or_probe(
        &self,
        name: &str,
        options: &OnceOptions,
        call: impl FnOnce() -> Called,
        mut probe: impl FnMut() -> Probed,
    ) -> Result<Vec<u8>> {
        options.check_probe(true)?;
        run(self.begin_once(name, options)?, call, Some(&mut probe))
    }

    /// The first half of [`Delivery::once`], for callers whose call is no closure: says what to do now.
    ///
    /// # Errors
    /// As [`Delivery::once`].
    pub fn begin_once(&self, name: &str, options: &OnceOptions) -> Result<Begun> {
        check_name("effect name", name)?;
        options.check_in_delivery()?;
        let queue = self.subscription().queue();
        if queue.semantics() == Semantics::AtMostOnce {
            return Err(Error::invalid(format!(
                "queue {:?} is at-most-once: its messages are never delivered again, and have no effects to be recorded",
                queue.name()
            )));
        }
        let held = self.held()?;
        held.claim(name)?;
        let scope = Scope::Message { subscription: self.subscription().id(), receipt: self.receipt() };
        let subject = Subject { scope, name: name.to_owned() };
        let begun = begin(&queue.engine, subject, options, Some(held.clone()));
        if begun.is_err() {
            held.unclaim(name);
        }
        begun
    }

    /// A key for third parties that recognise repetitions by one: the same in every delivery of this message to its
    /// subscription, across retries, crashes and redrives, and no other effect's. It has the form of a UUID.
    ///
    /// # Errors
    /// `Invalid` for a name out of its limits.
    pub fn idempotency_key(&self, name: &str) -> Result<String> {
        check_name("effect name", name)?;
        let of = [
            b"message",
            &self.subscription().id().0.to_be_bytes()[..],
            &self.id().stored().to_be_bytes(),
            // A restored backup hands out ids again that messages of the time after it had.
            &self.sent_at().get().to_be_bytes(),
            self.key().unwrap_or_default().as_bytes(),
        ];
        self.subscription().queue().engine.idempotency_key(&of, name)
    }
}

impl Engine {
    /// A key of the form of a UUID, of the file, what an effect is of, and its name.
    pub(crate) fn idempotency_key(&self, of: &[&[u8]], name: &str) -> Result<String> {
        use sha2::Digest;
        let file = self.read(read::file_id)?;
        let mut hash = sha2::Sha256::new();
        hash.update(b"onceward effect\0");
        hash.update(&file);
        for part in of.iter().copied().chain([name.as_bytes()]) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        // Version 8: made by a rule of one's own.
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = format!("{:032x}", u128::from_be_bytes(bytes));
        Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
    }
}
