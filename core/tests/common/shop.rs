//! A queue of payments with one message, and the bank that it is paid at.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::time::Duration;

use onceward::{InDoubt, Message, Queue, QueueOptions, Resolution, Semantics};

use crate::bank::Bank;
use crate::common::World;

pub(crate) const SETTLE: Duration = Duration::from_secs(30);

pub(crate) struct Shop {
    pub(crate) world: World,
    pub(crate) queue: Queue,
    pub(crate) bank: Bank,
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self::with(QueueOptions::new())
    }

    pub(crate) fn with(options: QueueOptions) -> Self {
        let world = World::new();
        let queue = world.store.queue_with("payments", Semantics::ExactlyOnce, options).expect("opens");
        queue.send(Message::new("x").key("x")).expect("sends");
        Shop { world, queue, bank: Bank::default() }
    }

    pub(crate) fn in_doubt(&self) -> Vec<InDoubt> {
        self.world.store.in_doubt(None, 10).expect("lists")
    }

    pub(crate) fn resolve(&self, resolution: Resolution) {
        let doubt = self.in_doubt()[0].doubt;
        self.world.store.resolve(doubt, resolution, "asked the bank", "alice").expect("resolves");
    }

    /// Offers again what is parked or delayed.
    pub(crate) fn offer_again(&self) {
        self.world.sql().execute("UPDATE onceward_pending SET due_at = 0", []).expect("is due");
    }

    pub(crate) fn in_doubt_count(&self) -> (u64, u64) {
        let stats = self.queue.stats().expect("counts");
        (stats.in_doubt, self.world.store.stats().expect("counts").in_doubt)
    }
}
