//! What happened, as the processes saw it, and whether the promises held.
//!
//! A history is a list of entries in one order that respects real time: a call's `…Begin` stands before anything it can
//! have caused, its `…End` after everything it caused. A call without an end was cut off by a crash, so its outcome is
//! unknown. The order is that of one file that every process appends to; nothing here reads a clock, a disk or a store.

mod checker;
mod deliveries;
mod facts;
mod ledger;
mod order;
mod settles;
#[cfg(test)]
mod tests;
mod text;

pub use checker::{Invariant, Violation, check};
pub use text::{format_entry, parse};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Monotonic milliseconds, the same clock in every process. Only explains expired leases.
    pub at_ms: u64,
    /// The process (one life of it).
    pub process: u32,
    /// What happened.
    pub event: Event,
}

/// The number of a call, unique in a history.
pub type Call = u64;

/// What a queue was created as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// At-most-once.
    AtMostOnce,
    /// At-least-once.
    AtLeastOnce,
    /// Exactly-once.
    ExactlyOnce,
}

/// One message of a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The deduplication key.
    pub key: Option<String>,
    /// The hash of the body. Bodies are unique per key, so a hash names what was sent.
    pub hash: u64,
    /// The ordering key.
    pub ordering: Option<String>,
}

/// The answer to one message of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentItem {
    /// The id.
    pub id: u64,
    /// Whether it was there before.
    pub duplicate: bool,
}

/// One message as it was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// The id.
    pub id: u64,
    /// The fencing token.
    pub token: u64,
    /// The attempt number.
    pub attempt: u32,
    /// What was in it.
    pub item: Item,
}

/// A message and the token shown for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proof {
    /// The message.
    pub id: u64,
    /// The token.
    pub token: u64,
}

/// What a settle does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Finished.
    Ack,
    /// Finished in one commit with its effects.
    Commit,
    /// Give it back, to be tried again.
    Nack,
    /// Give it back unused.
    Release,
    /// Keep it longer.
    Extend,
    /// Set it aside.
    DeadLetter,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    /// With an answer.
    Ok(T),
    /// With an error (its name) that promises that nothing was written.
    Refused(String),
    /// With an error that leaves open what happened.
    Unknown(String),
}

/// One row of the application's table of effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// The message that had the effect.
    pub id: u64,
    /// The commit that wrote it.
    pub commit: Call,
}

/// One dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadOne {
    /// The message.
    pub id: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// Whether a reason stands with it.
    pub has_reason: bool,
}

/// Everything that can happen. A scope is `queue/subscription`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the arguments and answers of the calls they name")]
pub enum Event {
    /// A queue and how it was created.
    Queue {
        queue: String,
        promise: Promise,
        subscriptions: Vec<String>,
        attempts_max: u32,
        lease_ms: u64,
    },
    /// From here on this process may be dead; it is when the next observation is made. Written just before the kill: the
    /// next process may learn of the death sooner than the killer.
    Crash {
        process: u32,
    },
    /// The power was cut: every process is gone, and what was not synced may be.
    PowerCut,
    /// A send; `within` is the transaction it belongs to.
    SendBegin {
        call: Call,
        queue: String,
        within: Option<Call>,
        items: Vec<Item>,
    },
    SendEnd {
        call: Call,
        outcome: Outcome<Vec<SentItem>>,
    },
    ReceiveBegin {
        call: Call,
        scope: String,
    },
    ReceiveEnd {
        call: Call,
        outcome: Outcome<Vec<Handed>>,
    },
    /// A receive that goes on (a consumer) handed this out.
    HandedOut {
        call: Call,
        handed: Handed,
    },
    SettleBegin {
        call: Call,
        scope: String,
        verb: Verb,
        proofs: Vec<Proof>,
    },
    /// The answer names those whose lease was lost.
    SettleEnd {
        call: Call,
        outcome: Outcome<Vec<Proof>>,
    },
    /// The commit of a transaction, which acknowledges `proof` if there is one, and writes an effect row for it.
    CommitBegin {
        call: Call,
        scope: String,
        proof: Option<Proof>,
        effect: bool,
    },
    CommitEnd {
        call: Call,
        outcome: Outcome<()>,
    },
    /// A transaction that will never commit.
    RolledBack {
        call: Call,
    },
    RedriveBegin {
        call: Call,
        scope: String,
        ids: Vec<u64>,
    },
    RedriveEnd {
        call: Call,
        outcome: Outcome<()>,
    },
    /// Observed: the application's table of effects, all of it.
    Effects {
        scope: String,
        rows: Vec<Effect>,
    },
    /// Observed: the dead letters, all of them.
    Dead {
        scope: String,
        letters: Vec<DeadOne>,
    },
    /// Observed, with nobody else working: everything was due and offered, and nothing is left.
    Drained {
        scope: String,
    },
    /// Observed: the file does not open, or is damaged.
    Damaged {
        text: String,
    },
    /// The environment changed ("fault on", "reopened", …). Means nothing to the checker.
    Note {
        text: String,
    },
}
