//! The verdict: every invariant over one history.

use std::fmt;

use super::facts::Facts;
use super::{Entry, deliveries, ledger, order, settles};

/// What must hold. The letters are those of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// The file opens and is whole.
    Integrity,
    /// A send that answered ok is live or finished for ever.
    P1,
    /// What is delivered was sent, byte for byte.
    P2,
    /// One id per key; the same id for a repeat; another body is a conflict.
    P3,
    /// A send of unknown outcome, repeated, is one message.
    P4,
    /// A send in a transaction exists if and only if it committed.
    P5,
    /// An id stands for one message for ever.
    Id,
    /// A batch is sent whole or not at all.
    Batch,
    /// An error that promises that nothing was written wrote nothing.
    Refused,
    /// Tokens strictly increase per message.
    L1,
    /// A settle succeeds with the current token, and only with it.
    L2,
    /// The same settle repeated gives the same answer.
    L3,
    /// Finished stays finished.
    L4,
    /// Attempts are counted across crashes; past the limit a message is dead, with its reason.
    L5,
    /// Messages of an ordering key are handed over in order, one batch at a time.
    L6,
    /// At-most-once: one delivery, ever.
    AtMostOnce,
    /// A repeated delivery has a reason.
    AtLeastOnce,
    /// One committed effect per message; finished if and only if it is there.
    ExactlyOnce,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// The entry of the history where it shows.
    pub at: usize,
    /// What happened.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at entry {}: {}", self.invariant, self.at, self.text)
    }
}

/// Where the checks put what they find.
pub(super) struct Findings(Vec<Violation>);

impl Findings {
    pub(super) fn add(&mut self, invariant: Invariant, at: usize, text: String) {
        self.0.push(Violation { invariant, at, text });
    }
}

/// Checks a whole history. An empty answer means that every promise was kept.
pub fn check(entries: &[Entry]) -> Vec<Violation> {
    let facts = Facts::gather(entries);
    let mut findings = Findings(Vec::new());
    for (at, text) in &facts.damaged {
        findings.add(Invariant::Integrity, *at, text.clone());
    }
    ledger::check(&facts, &mut findings);
    deliveries::check(&facts, &mut findings);
    settles::check(&facts, &mut findings);
    order::check(&facts, &mut findings);
    let mut found = findings.0;
    found.sort_by_key(|violation| (violation.at, violation.invariant));
    found.dedup();
    found
}
