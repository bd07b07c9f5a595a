//! The three promises a queue can make.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// What a queue promises, fixed when it is created and kept in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Semantics {
    /// A message is handed over at most once, ever; it may be lost. For metrics and hints.
    AtMostOnce,
    /// Once `send` returned, the message is delivered until it is acknowledged, dead-lettered or expired; it may come twice.
    AtLeastOnce,
    /// At least once, and: a send repeated with its key is one message, and the effects of a message are committed
    /// together with its acknowledgement.
    ExactlyOnce,
}

impl Semantics {
    /// All three.
    pub const ALL: [Semantics; 3] = [Semantics::AtMostOnce, Semantics::AtLeastOnce, Semantics::ExactlyOnce];

    /// The name, the same in every language.
    pub const fn name(self) -> &'static str {
        match self {
            Semantics::AtMostOnce => "at-most-once",
            Semantics::AtLeastOnce => "at-least-once",
            Semantics::ExactlyOnce => "exactly-once",
        }
    }

    pub(crate) const fn stored(self) -> i64 {
        match self {
            Semantics::AtMostOnce => 0,
            Semantics::AtLeastOnce => 1,
            Semantics::ExactlyOnce => 2,
        }
    }

    pub(crate) fn from_stored(value: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|semantics| semantics.stored() == value)
    }

    /// Whether a send must be on disk before it returns.
    pub(crate) const fn syncs_send(self) -> bool {
        !matches!(self, Semantics::AtMostOnce)
    }

    /// Whether a receive must be on disk before the hand-over.
    pub(crate) const fn syncs_receive(self) -> bool {
        matches!(self, Semantics::AtMostOnce)
    }

    /// Whether a settle must be on disk before it returns.
    pub(crate) const fn syncs_settle(self) -> bool {
        matches!(self, Semantics::ExactlyOnce)
    }
}

impl fmt::Display for Semantics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Semantics {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|semantics| semantics.name() == text).ok_or_else(|| {
            Error::invalid(format!("semantics {text:?} is none of at-most-once, at-least-once, exactly-once"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_stored_numbers_come_back_as_they_went() {
        for semantics in Semantics::ALL {
            assert_eq!(semantics.name().parse::<Semantics>().expect("a name"), semantics);
            assert_eq!(Semantics::from_stored(semantics.stored()), Some(semantics));
        }
    }

    #[test]
    fn each_call_pays_for_the_sync_of_its_promise_and_no_other() {
        let paid = Semantics::ALL.map(|s| (s.syncs_send(), s.syncs_receive(), s.syncs_settle()));
        assert_eq!(paid, [(false, true, false), (true, false, false), (true, false, true)]);
    }
}
