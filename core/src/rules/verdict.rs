//! Verdicts: what a send with a key is, and whether a settle may have its way.

use crate::types::{Millis, Token};

/// A fingerprint of a body: the first half of its SHA-256. Two bodies under one key differ when these differ.
pub(crate) type Fingerprint = [u8; 16];

/// What the ledger remembers of an earlier send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) message: i64,
    /// None where it can no longer be known: then no other body is taken for the same.
    pub(crate) fingerprint: Option<Vec<u8>>,
    pub(crate) expires_at: Option<i64>,
}

/// What a send with a key turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendVerdict {
    New,
    Duplicate { message: i64 },
    Conflict { message: i64 },
}

pub(crate) fn send(remembered: Option<&Remembered>, fingerprint: &Fingerprint, now: Millis) -> SendVerdict {
    match remembered {
        Some(entry) if entry.expires_at.is_some_and(|at| at <= now.get()) => SendVerdict::New,
        Some(entry) if entry.fingerprint.as_deref() == Some(fingerprint.as_slice()) => {
            SendVerdict::Duplicate { message: entry.message }
        }
        Some(entry) => SendVerdict::Conflict { message: entry.message },
        None => SendVerdict::New,
    }
}

/// Whether a settle with `shown` may act on a pending interval. The clock has no say: an expired lease that nobody took
/// over is still its holder's.
pub(crate) fn may_settle(leased: bool, current: Token, shown: Token) -> bool {
    leased && current == shown
}

/// Whether a message that was delivered `attempt` times may be delivered once more.
pub(crate) fn may_retry(attempt: u32, attempts_max: Option<u32>) -> bool {
    attempts_max.is_none_or(|max| attempt < max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_new_or_a_duplicate_or_a_conflict() {
        let entry = Remembered { message: 9, fingerprint: Some(vec![1; 16]), expires_at: Some(100) };
        let at = |ms| Millis::new(ms);
        assert_eq!(send(None, &[1; 16], at(0)), SendVerdict::New);
        assert_eq!(send(Some(&entry), &[1; 16], at(99)), SendVerdict::Duplicate { message: 9 });
        assert_eq!(send(Some(&entry), &[2; 16], at(99)), SendVerdict::Conflict { message: 9 });
        assert_eq!(send(Some(&entry), &[2; 16], at(100)), SendVerdict::New);
        let unknown = Remembered { fingerprint: None, ..entry.clone() };
        assert_eq!(send(Some(&unknown), &[1; 16], at(99)), SendVerdict::Conflict { message: 9 });
        let kept = Remembered { expires_at: None, ..entry };
        assert_eq!(send(Some(&kept), &[1; 16], at(i64::MAX)), SendVerdict::Duplicate { message: 9 });
    }

    #[test]
    fn only_the_current_token_settles_and_only_while_leased() {
        assert!(may_settle(true, Token::new(5), Token::new(5)));
        assert!(!may_settle(true, Token::new(6), Token::new(5)));
        assert!(!may_settle(false, Token::new(5), Token::new(5)));
    }

    #[test]
    fn the_attempts_limit_counts_deliveries() {
        assert!(may_retry(1, Some(2)) && !may_retry(2, Some(2)) && !may_retry(3, Some(2)) && may_retry(u32::MAX, None));
    }
}
