//! What the driver processes do: everything the library offers, in an order drawn from a seed.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::Connection;

use onceward::{Delivery, Receipt, Result};

use crate::actor::{Actor, Errors, Parcel};
use crate::history::{Event, Promise, Verb};
use crate::house::{DATABASE, EXACT, HISTORY, House, PLANS, options};
use crate::journal::Journal;
use crate::random::Random;

/// How many parcels and receipts a thread remembers, to use them again.
const REMEMBERED: usize = 40;

/// The state of one thread's work.
#[derive(Debug)]
pub struct Worker {
    actor: Actor,
    random: Random,
    name: String,
    made: u64,
    sent: VecDeque<Parcel>,
    held: VecDeque<(String, Verb, Receipt)>,
}

impl Worker {
    /// A worker whose parcels start with `name`, which no other life of a worker uses.
    pub fn new(actor: Actor, name: String, seed: u64) -> Worker {
        Worker { actor, random: Random::new(seed), name, made: 0, sent: VecDeque::new(), held: VecDeque::new() }
    }

    /// Does one thing.
    pub fn step(&mut self) {
        match self.random.below(100) {
            0..=29 => self.send(1),
            30..=41 => {
                let count = 2 + self.random.index(10);
                self.send(count);
            }
            42..=49 => self.send_again(false),
            50..=53 => self.send_again(true),
            54..=87 => self.receive(),
            88..=91 => self.consume(),
            92..=96 => self.settle_again(),
            _ => self.redrive(),
        }
    }

    fn send(&mut self, count: usize) {
        // The children are sent by transactions only.
        let queue = [0, 1, 2, 2, 4][self.random.index(5)];
        let keyed = PLANS[queue].promise == Promise::ExactlyOnce || self.random.chance(70);
        let mut parcels = Vec::new();
        for _ in 0..count {
            self.made += 1;
            parcels.push(Parcel { queue, name: format!("{}-{}", self.name, self.made), keyed, other: false });
        }
        let delay = (!PLANS[queue].ordered && self.random.chance(10)).then(|| Duration::from_millis(2));
        self.actor.send(&parcels, delay);
        for parcel in parcels.into_iter().filter(|parcel| parcel.keyed) {
            self.sent.push_back(parcel);
        }
        while self.sent.len() > REMEMBERED {
            self.sent.pop_front();
        }
    }

    fn send_again(&mut self, other: bool) {
        if !self.sent.is_empty() {
            let parcel = self.sent[self.random.index(self.sent.len())].clone();
            self.actor.send(&[Parcel { other, ..parcel }], None);
        }
    }

    fn receive(&mut self) {
        let queue = [0, 1, 2, 2, 3, 4][self.random.index(6)];
        let plan = &PLANS[queue];
        let scope = format!("{}/{}", plan.name, plan.subscriptions[self.random.index(plan.subscriptions.len())]);
        let max = 1 + self.random.index(12);
        let wait = Duration::from_millis(self.random.below(3));
        let deliveries = self.actor.receive(&scope, max, wait);
        match plan.promise {
            Promise::AtMostOnce => {}
            _ if queue == EXACT && self.random.chance(80) => self.have_effects(&scope, &deliveries),
            _ => self.settle(&scope, &deliveries),
        }
    }

    fn consume(&mut self) {
        let plan = &PLANS[[0, 1, 2, 3, 4][self.random.index(5)]];
        let scope = format!("{}/{}", plan.name, plan.subscriptions[self.random.index(plan.subscriptions.len())]);
        let count = 1 + self.random.index(9);
        self.actor.consume(&scope, count);
    }

    fn have_effects(&mut self, scope: &str, deliveries: &[Delivery]) {
        for delivery in deliveries {
            match self.random.below(10) {
                0 => self.actor.transact(scope, delivery, false),
                1 => {}
                _ => self.actor.transact(scope, delivery, true),
            }
            self.remember(scope, Verb::Ack, delivery.receipt());
        }
    }

    fn settle(&mut self, scope: &str, deliveries: &[Delivery]) {
        let mut rest: Vec<Receipt> = deliveries.iter().map(Delivery::receipt).collect();
        while !rest.is_empty() {
            let count = 1 + self.random.index(rest.len());
            let part: Vec<Receipt> = rest.drain(..count).collect();
            let ordered = scope.starts_with("ordered");
            let verb = match self.random.below(20) {
                13..=14 => Verb::Nack,
                15 => Verb::Release,
                16 if !ordered => Verb::DeadLetter,
                17 => Verb::Extend,
                // Left to lie: a crash or the end of the lease frees it.
                18 => continue,
                _ => Verb::Ack,
            };
            self.actor.settle(scope, verb, &part);
            if verb == Verb::Extend {
                self.actor.settle(scope, Verb::Ack, &part);
            }
            for receipt in part {
                self.remember(scope, if verb == Verb::Extend { Verb::Ack } else { verb }, receipt);
            }
        }
    }

    fn remember(&mut self, scope: &str, verb: Verb, receipt: Receipt) {
        self.held.push_back((scope.to_owned(), verb, receipt));
        if self.held.len() > REMEMBERED {
            self.held.pop_front();
        }
    }

    /// Settles with an old receipt: the same verb must give the same answer, and a stale token must settle nothing.
    fn settle_again(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let (scope, verb, receipt) = self.held[self.random.index(self.held.len())].clone();
        let verb = if self.random.chance(30) { Verb::Ack } else { verb };
        self.actor.settle(&scope, verb, &[receipt]);
    }

    fn redrive(&mut self) {
        let dead = self.actor.dead("least/a", false);
        if let Some(first) = dead.first() {
            self.actor.redrive("least/a", &[*first]);
        }
    }
}

/// A run of one process: some lives of a store, one after the other, with several threads each.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// How often the store is opened and closed again.
    pub lives: u32,
    /// Threads per life.
    pub threads: u64,
    /// Steps per thread.
    pub steps: u64,
    /// Draws everything else.
    pub seed: u64,
}

/// The lease of runs in which none expires.
pub const LONG_LEASE: Duration = Duration::from_secs(3600);

/// Does a run in `folder`. The answer says which errors came, none of which a healthy disk explains.
///
/// # Errors
/// When a store does not open or close.
pub fn run(folder: &Path, run: Run) -> Result<Errors> {
    let errors = Errors::default();
    for life in 1..=run.lives {
        let journal = Arc::new(Journal::append(&folder.join(HISTORY), life));
        if life == 1 {
            House::declare(&journal, LONG_LEASE);
        }
        let house = House::open(folder, options(), LONG_LEASE)?;
        let seed = run.seed + u64::from(life) * 1_000;
        while_checkpointing(&folder.join(DATABASE), seed, || live(&house, &journal, &errors, Run { seed, ..run }));
        // What a closed store held is offered again, as if its process had died.
        journal.note(Event::Crash { process: life });
        house.store.close()?;
    }
    Ok(errors)
}

/// Lets several threads work on one store.
pub fn live(house: &House, journal: &Arc<Journal>, errors: &Errors, run: Run) {
    std::thread::scope(|scope| {
        for thread in 0..run.threads {
            let actor = Actor { house: house.clone(), journal: journal.clone(), errors: errors.clone() };
            let name = format!("p{}t{thread}", journal.process());
            let mut worker = Worker::new(actor, name, run.seed + thread);
            scope.spawn(move || (0..run.steps).for_each(|_| worker.step()));
        }
    });
}

/// Checkpoints now and then while `work` runs. The store does so only after megabytes; crash states of small runs must
/// have checkpoints in them, too, and any program may make one.
///
/// # Panics
/// When the database does not open.
pub fn while_checkpointing<T>(path: &Path, seed: u64, work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random::new(seed);
            let connection = Connection::open(path).expect("a database that a store has open");
            connection.pragma_update(None, "synchronous", "NORMAL").expect("a pragma");
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_micros(1_000 + random.below(10_000)));
                let mode = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"][random.index(4)];
                // It may find the database busy, or the disk failing: then it tries again later.
                let _ = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()));
            }
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        done
    })
}
