//! What is asked about effects, and what is answered, as plain data.

use std::time::Duration;

use crate::clock::Steady;
use crate::engine::operation::SubscriptionId;
use crate::in_doubt::Resolution;
use crate::queue::Window;
use crate::rules::effect::{Ended, OnUnknown};
use crate::rules::verdict::Fingerprint;
use crate::types::{MessageId, Millis, Receipt};

/// The number of a ledger in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LedgerId(pub(crate) i64);

/// Whose effect it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Message { subscription: SubscriptionId, receipt: Receipt },
    Ledger(LedgerId),
}

/// One effect: whose it is, and its name among those.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) scope: Scope,
    pub(crate) name: String,
}

impl Subject {
    /// The key of its row.
    pub(crate) fn key(&self) -> (i64, i64, &str) {
        match self.scope {
            Scope::Message { subscription, receipt } => (subscription.0, receipt.message.stored(), &self.name),
            Scope::Ledger(LedgerId(id)) => (-id, 0, &self.name),
        }
    }
}

/// Somebody wants to make a call.
#[derive(Debug, Clone)]
pub(crate) struct Begin {
    pub(crate) subject: Subject,
    /// A number of this store's own for this call, should it be made.
    pub(crate) ticket: i64,
    pub(crate) on_unknown: OnUnknown,
    pub(crate) idempotent_for: Option<Duration>,
    pub(crate) request: Option<Fingerprint>,
    pub(crate) process: u32,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Done(Vec<u8>),
    Failed(String),
    NotCalled,
    Unknown(String),
}

impl Outcome {
    pub(crate) fn ended(&self) -> Ended {
        match self {
            Outcome::Done(_) => Ended::Done,
            Outcome::Failed(_) => Ended::Failed,
            Outcome::NotCalled => Ended::NotCalled,
            Outcome::Unknown(_) => Ended::Unknown,
        }
    }

    /// What is kept of it in words.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Outcome::Failed(text) | Outcome::Unknown(text) => Some(text),
            Outcome::Done(_) | Outcome::NotCalled => None,
        }
    }
}

/// A call has ended.
#[derive(Debug, Clone)]
pub(crate) struct Finish {
    pub(crate) subject: Subject,
    pub(crate) ticket: i64,
    pub(crate) on_unknown: OnUnknown,
    pub(crate) outcome: Outcome,
}

/// What the third party answered to a probe.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Applied(Vec<u8>),
    NotApplied,
    Unknown(String),
}

/// A probe has ended.
#[derive(Debug, Clone)]
pub(crate) struct Probed {
    pub(crate) begin: Begin,
    pub(crate) doubt: i64,
    /// When the probe began, at the earliest.
    pub(crate) asked: Steady,
    pub(crate) answer: Answer,
}

/// A person has looked.
#[derive(Debug, Clone)]
pub(crate) struct Resolve {
    pub(crate) doubt: i64,
    pub(crate) resolution: Resolution,
    pub(crate) evidence: String,
    pub(crate) actor: String,
}

#[derive(Debug)]
pub(crate) enum EffectOperation {
    Begin(Begin),
    Finish(Finish),
    Probed(Probed),
    Resolve(Resolve),
    OpenLedger { name: String, window: Option<Window> },
    Forget,
}

/// What an effect adds to the file when it is first recorded: a row and its share of the indexes.
const ROW_BYTES: u64 = 512;

impl EffectOperation {
    /// As [`Operation::bytes_added`](crate::engine::operation::Operation::bytes_added). What is known of a call that was
    /// made must find its place on a full disk too.
    pub(crate) fn bytes_added(&self) -> u64 {
        match self {
            EffectOperation::Begin(begin) => ROW_BYTES + 2 * begin.subject.name.len() as u64,
            EffectOperation::OpenLedger { name, .. } => ROW_BYTES + 2 * name.len() as u64,
            _ => 0,
        }
    }
}

/// What became of the message whose effect is in doubt, or busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposal {
    /// It has none: it is a ledger's.
    NoMessage,
    /// It waits for the effect to be resolved.
    Parked,
    DeadLettered,
    /// It is offered again then.
    GivenBack {
        at: Millis,
    },
    /// Somebody else has it now.
    Lost,
    /// Its holder keeps it.
    Kept,
}

#[derive(Debug)]
pub(crate) enum EffectReply {
    /// It is on disk that the call starts.
    Call,
    Result(Vec<u8>),
    /// Somebody else, a process, is at it.
    Wait {
        process: u32,
        disposal: Disposal,
    },
    Probe {
        doubt: i64,
        asked: Steady,
    },
    InDoubt {
        doubt: i64,
        text: String,
        disposal: Disposal,
    },
    /// The third party was asked too early.
    Settling {
        left: Duration,
        disposal: Disposal,
    },
    /// The outcome of a call is recorded.
    Recorded,
    Ledger(LedgerId),
    Forgotten(u64),
    /// What was resolved, in words.
    Resolved,
}

/// Where a message is, in words for people.
pub(crate) fn label(subject: &Subject) -> String {
    match subject.scope {
        Scope::Message { receipt, .. } => message_label(&subject.name, receipt.message),
        Scope::Ledger(_) => format!("effect {:?}", subject.name),
    }
}

fn message_label(name: &str, message: MessageId) -> String {
    format!("effect {name:?} of message {message}")
}
