//! The queues that every run works with: all three semantics, fan-out, ordering keys, and messages that are sent inside
//! transactions. And the bodies, which follow from the key, so that whoever audits can send again what was sent.

use std::path::Path;
use std::time::Duration;

use onceward::{Backoff, Queue, QueueOptions, Result, Semantics, Store, StoreOptions, Value, Window};

use crate::history::{Event, Promise};
use crate::journal::Journal;
use crate::random::hash;

/// The database of a run, in its folder.
pub const DATABASE: &str = "queue.db";
/// The history of a run, in its folder.
pub const HISTORY: &str = "run.history";

/// How a queue of the house is made.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Its name.
    pub name: &'static str,
    /// Its semantics.
    pub promise: Promise,
    /// Its subscriptions.
    pub subscriptions: &'static [&'static str],
    /// Its attempts limit.
    pub attempts_max: u32,
    /// Whether its messages carry ordering keys.
    pub ordered: bool,
}

/// Where the effects happen.
pub const EXACT: usize = 2;
/// Where the transactions send.
pub const CHILDREN: usize = 3;

/// All queues.
pub const PLANS: [Plan; 5] = [
    plan("once", Promise::AtMostOnce, &["default"], 1_000_000),
    plan("least", Promise::AtLeastOnce, &["a", "b"], 6),
    plan("exact", Promise::ExactlyOnce, &["default"], 8),
    plan("children", Promise::ExactlyOnce, &["default"], 1_000),
    Plan { ordered: true, ..plan("ordered", Promise::AtLeastOnce, &["default"], 1_000) },
];

const fn plan(name: &'static str, promise: Promise, subscriptions: &'static [&'static str], attempts_max: u32) -> Plan {
    Plan { name, promise, subscriptions, attempts_max, ordered: false }
}

impl Plan {
    /// The scope of each subscription.
    pub fn scopes(&self) -> impl Iterator<Item = String> {
        self.subscriptions.iter().map(|subscription| format!("{}/{subscription}", self.name))
    }
}

/// The queues of an open store, in the order of [`PLANS`].
#[derive(Debug, Clone)]
pub struct House {
    /// The store.
    pub store: Store,
    /// The queues.
    pub queues: Vec<Queue>,
}

/// Store options for all runs.
pub fn options() -> StoreOptions {
    StoreOptions::new()
}

impl House {
    /// Opens or builds it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn open(folder: &Path, options: StoreOptions, lease: Duration) -> Result<House> {
        let store = options.open(folder.join(DATABASE))?;
        let backoff =
            Backoff { first: Duration::from_millis(1), factor: 2.0, cap: Duration::from_millis(5), jitter: 0.5 };
        let mut queues = Vec::new();
        for plan in &PLANS {
            let semantics = match plan.promise {
                Promise::AtMostOnce => Semantics::AtMostOnce,
                Promise::AtLeastOnce => Semantics::AtLeastOnce,
                Promise::ExactlyOnce => Semantics::ExactlyOnce,
            };
            let mut queue = QueueOptions::new()
                .deduplication_window(Window::Forever)
                .subscriptions(plan.subscriptions.iter().copied());
            if plan.promise != Promise::AtMostOnce {
                queue = queue.attempts_max(plan.attempts_max).backoff(backoff).lease(lease);
            }
            queues.push(store.queue_with(plan.name, semantics, queue)?);
        }
        let mut transaction = store.transaction()?;
        transaction.execute(
            "CREATE TABLE IF NOT EXISTS effect (message INTEGER NOT NULL, commit_call INTEGER NOT NULL) STRICT",
            &[],
        )?;
        transaction.commit()?;
        Ok(House { store, queues })
    }

    /// Opens the store and the queues of a house that stands.
    ///
    /// # Errors
    /// Those of the store.
    pub fn join(folder: &Path, options: StoreOptions) -> Result<House> {
        let store = options.open(folder.join(DATABASE))?;
        let queues = PLANS.iter().map(|plan| store.open_queue(plan.name)).collect::<Result<Vec<_>>>()?;
        Ok(House { store, queues })
    }

    /// Says in the history how the queues are made.
    pub fn declare(journal: &Journal, lease: Duration) {
        for plan in &PLANS {
            journal.note(Event::Queue {
                queue: plan.name.to_owned(),
                promise: plan.promise,
                subscriptions: plan.subscriptions.iter().map(|&name| name.to_owned()).collect(),
                attempts_max: plan.attempts_max,
                lease_ms: lease.as_millis() as u64,
            });
        }
    }

    /// The rows of the application's table.
    ///
    /// # Errors
    /// Those of the store.
    pub fn effects(&self) -> Result<Vec<crate::history::Effect>> {
        let mut transaction = self.store.transaction()?;
        let rows = transaction.query("SELECT message, commit_call FROM effect ORDER BY rowid", &[])?;
        let number = |value: &Value| match value {
            Value::Integer(number) => *number as u64,
            other => panic!("the table of effects holds {other:?}"),
        };
        Ok(rows
            .rows
            .iter()
            .map(|row| crate::history::Effect { id: number(&row[0]), commit: number(&row[1]) })
            .collect())
    }
}

/// The body that belongs to a key (or another one, to provoke a conflict). Its length follows from its text; a key
/// "x100-…" asks for about 100 bytes.
pub fn body(queue: &str, key: &str, other: bool) -> Vec<u8> {
    let mut body = format!("{queue} {key} {other} ").into_bytes();
    let drawn = hash(&body);
    let asked = key.strip_prefix('x').and_then(|rest| rest.split_once('-')?.0.parse::<u64>().ok());
    let length = match asked {
        Some(bytes) => bytes.saturating_sub(body.len() as u64),
        None if drawn.is_multiple_of(10) => 3_000 + drawn % 9_000,
        None => drawn % 600,
    };
    let mut place = drawn;
    for _ in 0..length {
        place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        body.push((place >> 56) as u8);
    }
    body
}

/// The ordering key of a key "p12t…": a few for each dozen of processes, so that a long run does not end up with one line.
pub fn ordering(key: &str) -> String {
    let process = key.trim_start_matches('p').split('t').next().and_then(|digits| digits.parse::<u64>().ok());
    format!("order-{}-{}", process.unwrap_or(0) / 12, hash(key.as_bytes()) % 3)
}
