//! Onceward as a program would use it: filling, sending and draining, with every answer checked.

use std::path::Path;
use std::time::Duration;

use onceward::{Message, Queue, QueueOptions, Receipt, ReceiveOptions, Semantics, Store};

use crate::load::{self, Tally};
use crate::measure::{Outcome, verify};

const FILL_BATCH: usize = 1000;
/// Longer than any measurement here, so that no lease runs out under it.
const LEASE: Duration = Duration::from_secs(600);

/// The one queue of a store, opened or created.
#[derive(Clone)]
pub(crate) struct Ours {
    pub(crate) store: Store,
    pub(crate) queue: Queue,
}

impl Ours {
    pub(crate) fn open(path: &Path, semantics: Semantics) -> Outcome<Self> {
        let store = Store::open(path)?;
        let queue = store.queue_with("bench", semantics, QueueOptions::new().lease(LEASE))?;
        Ok(Ours { store, queue })
    }

    /// Makes a file whose queue holds these messages, and opens it anew.
    pub(crate) fn filled(path: &Path, semantics: Semantics, count: usize) -> Outcome<Self> {
        let fill = Ours::open(path, semantics)?;
        fill.fill(count)?;
        fill.store.close()?;
        drop(fill);
        Ours::open(path, semantics)
    }

    /// Sends the bodies numbered from 0 on, in big batches.
    pub(crate) fn fill(&self, count: usize) -> Outcome<()> {
        for first in (0..count).step_by(FILL_BATCH) {
            let size = FILL_BATCH.min(count - first);
            for bodies in load::batches(first as u64, size, size) {
                self.send(self.messages(bodies, first as u64))?;
            }
        }
        Ok(())
    }

    /// The bodies as messages; where the queue asks for keys they get sequential ones, from `first` on.
    pub(crate) fn messages(&self, bodies: Vec<Vec<u8>>, first: u64) -> Vec<Message> {
        if self.queue.semantics() != Semantics::ExactlyOnce {
            return bodies.into_iter().map(Message::new).collect();
        }
        let keyed = |(body, number): (Vec<u8>, u64)| Message::new(body).key(load::sequential_key(number));
        bodies.into_iter().zip(first..).map(keyed).collect()
    }

    /// Sends the messages in one commit; none may be a duplicate.
    pub(crate) fn send(&self, messages: Vec<Message>) -> Outcome<()> {
        let count = messages.len();
        let sent = self.queue.send_many(messages)?;
        verify(sent.len() == count && !sent.iter().any(|sent| sent.duplicate), || format!("{count} sends were not new"))
    }

    /// Sends one message; it may not be a duplicate.
    pub(crate) fn send_one(&self, message: Message) -> Outcome<()> {
        verify(!self.queue.send(message)?.duplicate, || "a new message was called a duplicate".to_owned())
    }

    /// Receives up to `max` messages and acknowledges them all: two calls, as a program without a consumer makes them.
    pub(crate) fn receive_and_ack(&self, max: usize, tally: &mut Tally) -> Outcome<usize> {
        let deliveries = self.queue.receive_many(&ReceiveOptions::new().max(max))?;
        for delivery in &deliveries {
            tally.add(delivery.body())?;
        }
        let receipts: Vec<Receipt> = deliveries.iter().map(onceward::Delivery::receipt).collect();
        self.ack(&receipts)?;
        Ok(deliveries.len())
    }

    /// Acknowledges; no lease may be lost.
    pub(crate) fn ack(&self, receipts: &[Receipt]) -> Outcome<()> {
        let lost = self.queue.ack(receipts)?;
        verify(lost.is_empty(), || format!("{} of {} leases were lost", lost.len(), receipts.len()))
    }

    /// Fails unless `count` messages are ready and none is anywhere else.
    pub(crate) fn verify_ready(&self, count: usize) -> Outcome<()> {
        let stats = self.queue.stats()?;
        let expected = stats.ready == count as u64 && stats.in_flight == 0 && stats.dead == 0 && stats.delayed == 0;
        verify(expected, || format!("{count} messages should be ready, but the queue holds {stats:?}"))
    }
}
