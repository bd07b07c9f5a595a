//! Effects at third parties under power cuts: that a call starts is on disk before it is made, and its outcome before it is
//! answered.
//!
//! The history is a line of words for each thing that happened outside the file: `called N`, when the third party carried
//! out the call of message N; `returned N`, when its result was handed out; `doubted N` and `resolved N`, when a person was
//! shown a doubt, and told that it is resolved.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use onceward::{Called, EffectOf, ErrorKind, Message, OnceOptions, Queue, Resolution, Result, Semantics, Store};

use crate::power::{Disk, Fate};
use crate::process::scratch;
use crate::random::Random;
use crate::trace::Record;

const FILE: &str = "queue.db";

fn open(folder: &Path) -> Result<(Store, Queue)> {
    let store = Store::open(folder.join(FILE))?;
    let queue = store.queue("payments", Semantics::ExactlyOnce)?;
    Ok((store, queue))
}

/// Pays for some messages. Every third call loses its answer, and a person resolves it.
///
/// # Errors
/// Those of the store.
///
/// # Panics
/// When the history cannot be written.
pub fn work(folder: &Path, messages: u64) -> Result<()> {
    let mut history =
        OpenOptions::new().append(true).create(true).open(folder.join("run.history")).expect("the history");
    let mut note =
        |what: &str, message: u64| history.write_all(format!("{what} {message}\n").as_bytes()).expect("notes");
    let (store, queue) = open(folder)?;
    for number in 0..messages {
        queue.send(Message::new("x").key(number.to_string()))?;
        let delivery = queue.receive(Duration::ZERO)?.expect("it was just sent");
        let id = delivery.id().get();
        let paid = delivery.once("charge", &OnceOptions::park(), || {
            note("called", id);
            if number % 3 == 2 { Called::Unknown("no answer".to_owned()) } else { Called::Done(result(id)) }
        });
        match paid {
            Ok(_) => {
                note("returned", id);
                if number % 3 == 1 {
                    delivery.ack()?;
                }
            }
            Err(error) if error.kind() == ErrorKind::InDoubt => {
                let doubt = store.in_doubt(None, 1)?.remove(0).doubt;
                note("doubted", id);
                store.resolve(doubt, Resolution::Applied(result(id)), "the history", "the driver")?;
                note("resolved", id);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn result(message: u64) -> Vec<u8> {
    format!("paid {message}").into_bytes()
}

/// What the program had said, of which messages.
#[derive(Debug, Default)]
struct Said {
    called: BTreeSet<u64>,
    returned: BTreeSet<u64>,
    doubted: BTreeSet<u64>,
    resolved: BTreeSet<u64>,
}

impl Said {
    fn note(&mut self, text: &str) {
        for line in text.lines() {
            let (what, message) = line.split_once(' ').expect("a word and a message");
            let of = match what {
                "called" => &mut self.called,
                "returned" => &mut self.returned,
                "doubted" => &mut self.doubted,
                _ => &mut self.resolved,
            };
            of.insert(message.parse().expect("a message"));
        }
    }
}

/// How many crash states there were, and what was wrong with some of them.
#[derive(Debug, Default)]
pub struct Found {
    /// States that were looked at.
    pub states: u64,
    /// In words.
    pub broken: Vec<String>,
}

/// Boots the disk as it may be when the power goes at each point of the trace, and goes on.
///
/// # Panics
/// When a state cannot be written.
pub fn survey(trace: &[Record], seed: u64) -> Found {
    let mut random = Random::new(seed);
    let (mut disk, mut said, mut found) = (Disk::default(), Said::default(), Found::default());
    for (at, record) in trace.iter().enumerate() {
        if let Record::Mark { text } = record {
            said.note(text);
        } else if !said.called.is_empty() {
            let prefix = Fate::Prefix(random.index(disk.pending() + 1));
            for fate in [Fate::DropAll, prefix, Fate::Random(random.draw())] {
                let folder = scratch();
                for (name, bytes) in disk.image(fate) {
                    std::fs::write(folder.path().join(name), bytes).expect("the state can be written");
                }
                found.states += 1;
                let wrong = boot(folder.path(), &said);
                found.broken.extend(wrong.into_iter().map(|wrong| format!("cut {at}, {fate:?}: {wrong}")));
            }
        }
        disk.apply(record);
    }
    found
}

/// Goes on after the power came back. Returns what is wrong.
fn boot(folder: &Path, said: &Said) -> Vec<String> {
    let (store, queue) = match open(folder) {
        Ok(opened) => opened,
        Err(error) => return vec![format!("the state does not open: {error}")],
    };
    let mut wrong = Vec::new();
    let mut offered = BTreeSet::new();
    let options = OnceOptions::park();
    while let Some(delivery) = queue.receive(Duration::ZERO).expect("receives") {
        let id = delivery.id().get();
        offered.insert(id);
        let paid = delivery.once("charge", &options, || {
            if said.called.contains(&id) {
                wrong.push(format!("message {id} is called twice"));
            }
            Called::Done(result(id))
        });
        match paid {
            Ok(kept) if kept == result(id) => delivery.ack().expect("acks"),
            Ok(kept) => wrong.push(format!("message {id} has the result {kept:?}")),
            Err(error) if error.kind() == ErrorKind::InDoubt => {}
            Err(error) => wrong.push(format!("message {id}: {error}")),
        }
    }
    let in_doubt: BTreeSet<u64> = store
        .in_doubt(None, 100)
        .expect("lists")
        .into_iter()
        .filter_map(|doubt| match doubt.of {
            EffectOf::Message { message, .. } => Some(message.get()),
            _ => None,
        })
        .collect();
    let resolved = store.resolutions(None, 100).expect("lists").len();
    if resolved < said.resolved.len() {
        wrong.push(format!("{resolved} resolutions are kept of {:?}", said.resolved));
    }
    for id in in_doubt.intersection(&said.returned).chain(in_doubt.intersection(&said.resolved)) {
        wrong.push(format!("message {id} is in doubt though its outcome was answered"));
    }
    for id in said.doubted.difference(&said.resolved) {
        if !in_doubt.contains(id) && !offered.contains(id) {
            wrong.push(format!("message {id} was shown as in doubt and is gone"));
        }
    }
    wrong
}
