//! How a call at a third party is made once: its options, and what its caller and a probe have to say.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::limits::DELAY_MAX;
pub use crate::rules::effect::OnUnknown;
use crate::rules::verdict::Fingerprint;
use crate::subscription::check_wait;

/// How an effect is made once. What becomes of one whose outcome is unknown has no default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnceOptions {
    pub(crate) on_unknown: OnUnknown,
    pub(crate) idempotent_for: Option<Duration>,
    pub(crate) wait: Option<Duration>,
    pub(crate) request: Option<Vec<u8>>,
}

impl OnceOptions {
    /// With this for an unknown outcome.
    pub fn new(on_unknown: OnUnknown) -> Self {
        OnceOptions { on_unknown, idempotent_for: None, wait: None, request: None }
    }

    /// An unknown outcome waits for a person: [`OnUnknown::Park`].
    pub fn park() -> Self {
        Self::new(OnUnknown::Park)
    }

    /// The third party is asked: [`OnUnknown::Probe`].
    pub fn probe(settle: Duration) -> Self {
        Self::new(OnUnknown::Probe { settle })
    }

    /// An unknown outcome goes to the dead letters: [`OnUnknown::Fail`].
    pub fn fail() -> Self {
        Self::new(OnUnknown::Fail)
    }

    /// The third party recognises repetitions by their
    /// [idempotency key](crate::Delivery::idempotency_key) for this long, at most ten years: an unknown outcome is simply
    /// called again with the same key within this time of the first call, and goes its ordinary way afterwards. Declare it
    /// shorter than the third party does, by what the clocks and a request under way may differ.
    #[must_use]
    pub fn idempotent_for(mut self, window: Duration) -> Self {
        self.idempotent_for = Some(window);
        self
    }

    /// How long to wait for somebody who is at the same effect, at most 24 h. Of a ledger only; default: not at all.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// What is asked of the third party: the same key with another request is a `Conflict`. Of a ledger only.
    #[must_use]
    pub fn request(mut self, request: impl Into<Vec<u8>>) -> Self {
        self.request = Some(request.into());
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let OnUnknown::Probe { settle } = self.on_unknown
            && settle > DELAY_MAX
        {
            return Err(Error::invalid(format!("settle delay is {settle:?}; the limit is {DELAY_MAX:?}")));
        }
        if let Some(window) = self.idempotent_for
            && window > DELAY_MAX
        {
            return Err(Error::invalid(format!("idempotent_for is {window:?}; the limit is {DELAY_MAX:?}")));
        }
        check_wait(self.wait.unwrap_or_default())
    }

    /// The same in a delivery, which has neither of the ledger's options.
    pub(crate) fn check_in_delivery(&self) -> Result<()> {
        if self.wait.is_some() || self.request.is_some() {
            return Err(Error::invalid("wait and request are for the effects of a ledger, not for those of a message"));
        }
        self.check()
    }

    /// Refuses options that ask for a probe where there is none, or the other way round.
    pub(crate) fn check_probe(&self, there: bool) -> Result<()> {
        match (self.on_unknown, there) {
            (OnUnknown::Probe { .. }, false) => {
                Err(Error::invalid("the options ask for a probe, and the call has none: use once_or_probe"))
            }
            (OnUnknown::Park | OnUnknown::Fail, true) => {
                Err(Error::invalid("there is a probe, and the options do not ask for it: use OnceOptions::probe"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn fingerprint(&self) -> Option<Fingerprint> {
        self.request.as_deref().map(crate::engine::operation::fingerprint)
    }
}

/// How a call at a third party ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Called {
    /// It happened. The result is kept and given to everyone who asks for the same effect again; at most 1 MiB.
    Done(Vec<u8>),
    /// It is known not to have happened, and this is why: it may be called again.
    Failed(String),
    /// It may have happened or not, and this is what is known: a time-out, a broken connection.
    Unknown(String),
}

/// What the third party says of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// It happened, with this result; at most 1 MiB.
    Applied(Vec<u8>),
    /// It did not happen. This counts when it was asked long enough after the earlier caller was found to be gone.
    NotApplied,
    /// It cannot tell, and this is why.
    Unknown(String),
}
