//! Operations, as plain data: what the API asks of the engine, and what it answers.
//!
//! Nothing here knows how an operation is carried out. An engine takes operations, runs as many of them as wait in one
//! commit, syncs if one of them needs it, and answers each.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::delivery::RawDelivery;
use crate::engine::effect::operation::{EffectOperation, EffectReply};
use crate::error::{Error, Result};
use crate::message::Message;
use crate::queue::{QueueOptions, Start};
use crate::rules::verdict::Fingerprint;
use crate::semantics::Semantics;
use crate::types::{MessageId, Millis, Receipt};

/// The number of a queue in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct QueueId(pub(crate) i64);

/// The number of a subscription in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SubscriptionId(pub(crate) i64);

/// A checked message, with what can be computed before anyone waits for it.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) message: Message,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) headers: Option<Vec<u8>>,
}

/// What a settle does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verb {
    Ack,
    Nack { delay: Option<Duration>, error: Option<String> },
    DeadLetter { reason: String },
    Extend { lease: Duration },
    Release,
}

impl Verb {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Verb::Ack => "acknowledged",
            Verb::Nack { .. } => "negatively acknowledged",
            Verb::DeadLetter { .. } => "dead-lettered",
            Verb::Extend { .. } => "extended",
            Verb::Release => "released",
        }
    }
}

/// Receipts of one subscription, settled together.
#[derive(Debug, Clone)]
pub(crate) struct Settle {
    pub(crate) subscription: SubscriptionId,
    pub(crate) verb: Verb,
    pub(crate) receipts: Vec<Receipt>,
}

/// A receive, and the acknowledgements folded into it.
#[derive(Debug, Clone)]
pub(crate) struct Receive {
    pub(crate) subscription: SubscriptionId,
    pub(crate) max: usize,
    pub(crate) lease: Option<Duration>,
    pub(crate) folded: Vec<Receipt>,
}

/// Which dead letters.
#[derive(Debug, Clone)]
pub(crate) enum Letters {
    These(Vec<MessageId>),
    /// The next ones after this id, a bounded number of them.
    After(Option<MessageId>),
}

#[derive(Debug)]
pub(crate) enum Operation {
    /// `synced` where the caller waits for the disk.
    Send {
        queue: QueueId,
        messages: Arc<Vec<Prepared>>,
        synced: bool,
    },
    Receive(Receive),
    Settle(Settle),
    OpenQueue {
        name: String,
        semantics: Option<Semantics>,
        options: Box<QueueOptions>,
    },
    Subscribe {
        queue: QueueId,
        name: String,
        start: Start,
    },
    Unsubscribe {
        queue: QueueId,
        name: String,
    },
    SetPaused {
        queue: QueueId,
        paused: bool,
    },
    Cancel {
        queue: QueueId,
        message: MessageId,
    },
    Purge {
        queue: QueueId,
    },
    ClearTrash,
    Redrive {
        subscription: SubscriptionId,
        letters: Letters,
    },
    PurgeDead {
        subscription: SubscriptionId,
        letters: Letters,
    },
    Register {
        slot: u32,
        process: u32,
        only_one: bool,
    },
    Unregister,
    Reclaim,
    Expire {
        after: (i64, i64),
    },
    ForgetKeys,
    Effect(Box<EffectOperation>),
    /// Nothing of its own: what programs did through SQL is dealt with before every operation.
    Absorb,
}

impl Operation {
    /// About how many bytes the operation adds to the file; 0 for what only shrinks it or moves things about, which must
    /// work on a full disk too.
    pub(crate) fn bytes_added(&self) -> u64 {
        match self {
            Operation::Send { messages, .. } => messages.iter().map(Prepared::bytes_added).sum(),
            Operation::OpenQueue { .. } | Operation::Subscribe { .. } => 4 * PAGE,
            Operation::Effect(operation) => operation.bytes_added(),
            _ => 0,
        }
    }
}

const PAGE: u64 = 4096;
/// A row, its ledger entry and their share of the index pages.
const ROW_OVERHEAD: u64 = 128;

impl Prepared {
    pub(crate) fn new(message: Message, body_bytes_max: usize, now: Millis) -> Result<Self> {
        message.check(body_bytes_max, now)?;
        let fingerprint = message.key.as_ref().map(|_| fingerprint(&message.body));
        let headers = crate::message::encode_headers(&message.headers);
        Ok(Prepared { message, fingerprint, headers })
    }

    pub(crate) fn bytes_added(&self) -> u64 {
        let keys = self.message.key.as_ref().map_or(0, |key| 2 * key.len())
            + self.message.ordering_key.as_ref().map_or(0, |key| 3 * key.len());
        let row = self.message.body.len() + self.headers.as_ref().map_or(0, Vec::len) + keys;
        row as u64 + ROW_OVERHEAD
    }
}

/// What the ledger keeps of a body.
pub(crate) fn fingerprint(body: &[u8]) -> Fingerprint {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(body);
    let mut half = Fingerprint::default();
    let bytes = half.len();
    half.copy_from_slice(&digest[..bytes]);
    half
}

/// What became of one message sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sent {
    /// The message: the new one, or the one that the key already stood for.
    pub id: MessageId,
    /// Whether the key was already known, so that nothing was written.
    pub duplicate: bool,
}

/// What a receive brought.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) deliveries: Vec<RawDelivery>,
    /// The folded acknowledgements whose lease was lost.
    pub(crate) lost: Vec<Receipt>,
    /// When something now waiting falls due, if nothing was there.
    pub(crate) next_due: Option<Millis>,
}

/// What became of the messages of a send, in order: most often of one.
pub(crate) type Sents = SmallVec<[Sent; 1]>;

#[derive(Debug)]
pub(crate) enum Reply {
    Sent(Sents),
    Received(Received),
    Settled(Vec<Receipt>),
    Queue { id: QueueId, semantics: Semantics },
    Subscription(SubscriptionId),
    Flag(bool),
    Count(u64),
    Letters(Vec<MessageId>),
    Instance(i64),
    Swept { next: Option<(i64, i64)> },
    Effect(EffectReply),
    Done,
}

impl Reply {
    /// For answers of another kind than the operation has: a bug of the engine.
    pub(crate) fn unexpected<T>(self, wanted: &str) -> Result<T> {
        Err(Error::new(crate::ErrorKind::Storage, format!("invariant: the engine answered {self:?}, not {wanted}")))
    }
}
