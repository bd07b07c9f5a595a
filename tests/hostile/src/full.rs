//! A process on a disk that fills up. It does what it is told line by line, so that a test can fill and empty the disk
//! in between.

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use onceward::{Delivery, Receipt};

use crate::actor::{Actor, Errors, Parcel};
use crate::history::Verb;
use crate::house::{House, options};
use crate::journal::Journal;

/// The queues that are filled: at-least-once with two subscriptions, and exactly-once.
const FILLED: [usize; 2] = [1, 2];
/// What empties them.
const SCOPES: [&str; 3] = ["least/a", "least/b", "exact/default"];

/// Serves the words `fill`, `drain`, `send` and `close`, one per line, each with one line of answer that starts with
/// `ok` or says what went wrong. Bodies have about `bytes` bytes. The history is not on the full disk, but beside it.
///
/// # Errors
/// When the store does not open.
pub fn fill(folder: &Path, process: u32, bytes: usize) -> Result<(), String> {
    let journal = Arc::new(Journal::append(&folder.with_extension("history"), process));
    let house = House::join(folder, options()).map_err(|error| error.to_string())?;
    let actor = Actor { house, journal, errors: Errors::default() };
    let mut filler = Filler { actor, bytes, made: 0 };
    for line in std::io::stdin().lock().lines() {
        let answer = match line.map_err(|error| error.to_string())?.as_str() {
            "fill" => filler.fill(),
            "drain" => filler.drain(),
            "send" => filler.send(),
            "close" => filler.actor.house.store.close().map_or_else(|error| error.to_string(), |()| "ok".to_owned()),
            other => format!("unknown word {other}"),
        };
        println!("{answer}");
        std::io::stdout().flush().map_err(|error| error.to_string())?;
    }
    Ok(())
}

struct Filler {
    actor: Actor,
    bytes: usize,
    made: u64,
}

impl Filler {
    fn parcels(&mut self, queue: usize, count: usize) -> Vec<Parcel> {
        let process = self.actor.journal.process();
        (0..count)
            .map(|_| {
                self.made += 1;
                let name = format!("x{}-p{process}-{}", self.bytes, self.made);
                Parcel { queue, name, keyed: true, other: false }
            })
            .collect()
    }

    /// The errors met since the last look.
    fn errors(&self) -> Vec<(&'static str, u64, String)> {
        let met = std::mem::take(&mut *self.actor.errors.lock().expect("no panic while counting"));
        met.into_iter().map(|(kind, (count, text))| (kind, count, text)).collect()
    }

    /// Sends until the disk is full: batches first, then single messages.
    fn fill(&mut self) -> String {
        let mut sent = 0;
        for count in [100_000 / self.bytes.max(1_000), 1] {
            for turn in 0..1_000_000 {
                let parcels = self.parcels(FILLED[turn % 2], count);
                if !self.actor.send(&parcels, None) {
                    break;
                }
                sent += count;
            }
        }
        match self.errors()[..] {
            [("Full", ..)] => format!("ok {sent}"),
            ref others => format!("not only Full: {others:?}"),
        }
    }

    /// Receives and acknowledges everything.
    fn drain(&mut self) -> String {
        let mut taken = 0;
        for scope in SCOPES {
            loop {
                let deliveries = self.actor.receive(scope, 50, Duration::ZERO);
                if deliveries.is_empty() {
                    break;
                }
                taken += deliveries.len();
                let receipts: Vec<Receipt> = deliveries.iter().map(Delivery::receipt).collect();
                self.actor.settle(scope, Verb::Ack, &receipts);
            }
        }
        match self.errors()[..] {
            [] => format!("ok {taken}"),
            ref errors => format!("errors: {errors:?}"),
        }
    }

    fn send(&mut self) -> String {
        for queue in FILLED {
            for count in [1, 10] {
                let parcels = self.parcels(queue, count);
                self.actor.send(&parcels, None);
            }
        }
        match self.errors()[..] {
            [] => "ok".to_owned(),
            ref errors => format!("errors: {errors:?}"),
        }
    }
}
