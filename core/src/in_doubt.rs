//! Effects in doubt: listing them, and resolving them by hand.

use crate::delivery::check_words;
use crate::engine::effect::operation::{EffectOperation, Resolve};
use crate::engine::read;
use crate::error::{Error, Result};
use crate::limits::RESULT_BYTES_MAX;
use crate::store::Store;
use crate::subscription::check_list;
use crate::types::{MessageId, Millis};

/// Whose effect it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EffectOf {
    /// A message's.
    Message {
        /// The queue.
        queue: String,
        /// The subscription; `None` when it was ended meanwhile.
        subscription: Option<String>,
        /// The message.
        message: MessageId,
    },
    /// A ledger's.
    Ledger {
        /// The ledger.
        ledger: String,
    },
}

/// An effect of which nobody knows whether it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InDoubt {
    /// The number of this doubt, to resolve it by. An effect that comes to be in doubt again has another.
    pub doubt: u64,
    /// Whose effect it is.
    pub of: EffectOf,
    /// The message's deduplication key: what the third party may know the effect by. `None` in a ledger, where `name` is the
    /// key, for a message without one, and once the message is gone (cancelled, purged, or its time to live over).
    pub key: Option<String>,
    /// The effect's name; in a ledger, its key.
    pub name: String,
    /// Since when it is in doubt.
    pub since: Millis,
    /// When the first call was begun that may have happened.
    pub called_at: Millis,
    /// What is known of it.
    pub error: String,
    /// The process that made the last call.
    pub process: u32,
}

/// What a person found out about an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// It happened, with this result, at most 1 MiB: whoever asks for the effect gets it.
    Applied(Vec<u8>),
    /// It did not happen, and no request for it is under way: it may be called again.
    NotApplied,
}

impl Resolution {
    pub(crate) fn result(&self) -> Option<&[u8]> {
        match self {
            Resolution::Applied(result) => Some(result),
            Resolution::NotApplied => None,
        }
    }
}

/// A doubt that a person has resolved, and how. Kept for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// The number of the doubt.
    pub doubt: u64,
    /// Whose effect it was.
    pub of: EffectOf,
    /// The effect's name; in a ledger, its key.
    pub name: String,
    /// Since when it had been in doubt.
    pub since: Millis,
    /// What was known of it.
    pub error: String,
    /// What was found out.
    pub resolution: Resolution,
    /// How it was found out.
    pub evidence: String,
    /// Who did.
    pub actor: String,
    /// When it was resolved.
    pub resolved_at: Millis,
}

impl Store {
    /// Lists up to `max` (1 to 10,000) effects in doubt in the order of their numbers, from the one after `after` on. What is
    /// listed is on disk; the calls of processes that died are looked for first.
    ///
    /// # Errors
    /// `Invalid` for a `max` out of range.
    pub fn in_doubt(&self, after: Option<u64>, max: usize) -> Result<Vec<InDoubt>> {
        check_list(max)?;
        self.engine.check_usable()?;
        // Whoever has the file busy, or a transaction open, is told what is known; housekeeping finds the rest.
        let _ = self.engine.look_for_dead();
        let listed = self.engine.read(|conn| read::in_doubt(conn, after.unwrap_or(0), max))?;
        if !listed.is_empty() {
            self.engine.sync_now()?;
        }
        Ok(listed)
    }

    /// Resolves a doubt: says whether the effect happened, with the evidence, and who says so (each 1 to 4,096 bytes). The three
    /// are kept for ever.
    ///
    /// A parked message goes on by itself: its next delivery's `once` returns the result, or makes the call. A dead letter
    /// waits to be redriven. The same answer once more changes nothing and is no error.
    ///
    /// # Errors
    /// `Conflict` when the doubt was resolved with another answer; `Invalid` when it is over for another reason, for a result
    /// over 1 MiB, or for evidence or an actor out of their limits; `NotFound` when there never was such a doubt.
    pub fn resolve(&self, doubt: u64, resolution: Resolution, evidence: &str, actor: &str) -> Result<()> {
        for (what, text) in [("evidence", evidence), ("actor", actor)] {
            if text.trim().is_empty() {
                return Err(Error::invalid(format!("{what} is empty; it is kept with the resolution")));
            }
            check_words(what, text)?;
        }
        if let Resolution::Applied(result) = &resolution
            && result.len() > RESULT_BYTES_MAX
        {
            return Err(Error::invalid(format!("result is {} bytes; the limit is {RESULT_BYTES_MAX}", result.len())));
        }
        let number = i64::try_from(doubt).map_err(|_| Error::not_found(format!("there is no doubt {doubt}")))?;
        let (evidence, actor) = (evidence.to_owned(), actor.to_owned());
        let resolve = Resolve { doubt: number, resolution, evidence, actor };
        self.engine.call_effect(EffectOperation::Resolve(resolve)).map(|_| ())
    }

    /// Lists up to `max` (1 to 10,000) resolutions in the order of their doubts, from the one after `after` on.
    ///
    /// # Errors
    /// `Invalid` for a `max` out of range.
    pub fn resolutions(&self, after: Option<u64>, max: usize) -> Result<Vec<Resolved>> {
        check_list(max)?;
        self.engine.read(|conn| read::resolutions(conn, after.unwrap_or(0), max))
    }
}
