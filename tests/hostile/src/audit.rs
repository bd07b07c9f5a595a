//! What someone finds who opens the store afterwards: is it whole, is everything promised there, is anything there that
//! was not promised. All of it through the public interface, noted in the history, for the checker to judge.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use onceward::{Clock, Delivery, Millis, Receipt, SystemClock};
use rusqlite::{Connection, OpenFlags};

use crate::actor::{Actor, Errors, Parcel};
use crate::history::{Entry, Event, Promise, Verb};
use crate::house::{DATABASE, EXACT, House, PLANS, body, options};
use crate::journal::Journal;
use crate::random::{Random, hash};
use crate::workload::LONG_LEASE;

/// A clock that runs ahead of every delay and backoff of the runs, so that an audit need not wait.
#[derive(Debug)]
struct Ahead;

impl Clock for Ahead {
    fn now(&self) -> Millis {
        SystemClock.now().plus(Duration::from_secs(2 * 3600))
    }
}

/// Opens the store in `folder`, looks, sends everything again, and takes everything out.
///
/// # Panics
/// When something fails that nothing excuses.
pub fn audit(folder: &Path, journal: Journal, history: &[Entry], seed: u64) -> Vec<Entry> {
    let journal = Arc::new(journal);
    let random = &mut Random::new(seed);
    match House::open(folder, options().clock(Arc::new(Ahead)), LONG_LEASE) {
        Err(error) => {
            journal.note(Event::Damaged { text: format!("{}: {error}", error.kind()) });
        }
        Ok(house) => {
            let actor = Actor { house, journal: journal.clone(), errors: Errors::default() };
            integrity(folder, &journal);
            look_and_drain(&actor, history, random);
            for (kind, (count, text)) in actor.errors.lock().expect("no panic while counting").iter() {
                if !matches!(*kind, "Conflict") {
                    journal.note(Event::Damaged { text: format!("{count} errors {kind} in the audit: {text}") });
                }
            }
            if let Err(error) = actor.house.store.close() {
                journal.note(Event::Damaged { text: format!("close: {}: {error}", error.kind()) });
            }
        }
    }
    Arc::into_inner(journal).expect("the actor is gone").into_entries()
}

fn integrity(folder: &Path, journal: &Journal) {
    let verdict = Connection::open_with_flags(folder.join(DATABASE), OpenFlags::SQLITE_OPEN_READ_WRITE)
        .and_then(|connection| connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)));
    match verdict {
        Ok(text) if text == "ok" => {}
        other => journal.note(Event::Damaged { text: format!("integrity_check: {other:?}") }),
    }
}

fn look_and_drain(actor: &Actor, history: &[Entry], random: &mut Random) {
    let parcels = parcels_of(history);
    actor.note_effects();
    for plan in &PLANS {
        plan.scopes().for_each(|scope| drop(actor.dead(&scope, true)));
    }
    // They get the ids that come next: none may be one that somebody knows already.
    send_new(actor);
    if random.chance(50) {
        send_all_again(actor, &parcels);
    }
    drain_all(actor, random);
    // Finished messages must still be known by their keys: nothing may come out that was there before.
    send_all_again(actor, &parcels);
    drain_all(actor, random);
    actor.note_effects();
}

/// What was ever sent in this history by a plain send, refused or not: keyed parcels only.
fn parcels_of(history: &[Entry]) -> Vec<Parcel> {
    let mut met = BTreeSet::new();
    let mut parcels = Vec::new();
    for entry in history {
        let Event::SendBegin { queue, within: None, items, .. } = &entry.event else { continue };
        let place = PLANS.iter().position(|plan| plan.name == queue).expect("a queue of the house");
        for item in items {
            let Some(key) = &item.key else { continue };
            let first = item.hash == hash(&body(queue, key, false));
            if first && met.insert((place, key)) {
                parcels.push(Parcel { queue: place, name: key.clone(), keyed: true, other: false });
            }
        }
    }
    parcels
}

/// Sends what was never sent before, to each queue.
fn send_new(actor: &Actor) {
    for (queue, plan) in PLANS.iter().enumerate() {
        let keyed = plan.promise == Promise::ExactlyOnce;
        let parcels: Vec<Parcel> =
            (0..3).map(|n| Parcel { queue, name: format!("new-{}-{n}", plan.name), keyed, other: false }).collect();
        actor.send(&parcels, None);
    }
}

fn send_all_again(actor: &Actor, parcels: &[Parcel]) {
    for (queue, _) in PLANS.iter().enumerate() {
        let mine: Vec<Parcel> = parcels.iter().filter(|parcel| parcel.queue == queue).cloned().collect();
        for part in mine.chunks(50) {
            // One key that stands for another body refuses the whole batch: then each is sent by itself.
            if !actor.send(part, None) {
                for one in part {
                    actor.send(std::slice::from_ref(one), None);
                }
            }
        }
    }
}

fn drain_all(actor: &Actor, random: &mut Random) {
    for (place, plan) in PLANS.iter().enumerate() {
        for scope in plan.scopes() {
            drain(actor, &scope, place, random);
            actor.dead(&scope, true);
            actor.journal.note(Event::Drained { scope });
        }
    }
}

/// Takes everything out of a scope. A few messages have effects, as in life; the rest is acknowledged.
fn drain(actor: &Actor, scope: &str, place: usize, random: &mut Random) {
    // Batches of one ordering key come one after the other, so an empty answer is the only end.
    for _ in 0..100_000 {
        let deliveries = actor.receive(scope, 100, Duration::ZERO);
        if deliveries.is_empty() {
            return;
        }
        if PLANS[place].promise == Promise::AtMostOnce {
            continue;
        }
        let effects = if place == EXACT { random.index(deliveries.len().min(4) + 1) } else { 0 };
        deliveries[..effects].iter().for_each(|delivery| actor.transact(scope, delivery, true));
        let rest: Vec<Receipt> = deliveries[effects..].iter().map(Delivery::receipt).collect();
        if !rest.is_empty() {
            actor.settle(scope, Verb::Ack, &rest);
        }
    }
    actor.journal.note(Event::Damaged { text: format!("{scope} does not drain") });
}
