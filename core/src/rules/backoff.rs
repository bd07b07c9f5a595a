//! How long a failed message waits before it is offered again.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::limits::DELAY_MAX;

/// Exponential backoff with jitter and a cap: attempt `n` waits `first * factor^(n-1)`, at most `cap`, of which the last
/// share `jitter` is drawn at random, so that messages that failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The wait after the first attempt.
    pub first: Duration,
    /// What each further wait is multiplied by, 1.0 to 100.0.
    pub factor: f64,
    /// The longest wait.
    pub cap: Duration,
    /// The share of the wait that is random: 0.0 (none) to 1.0 (all of it).
    pub jitter: f64,
}

impl Backoff {
    /// The highest factor.
    pub const FACTOR_MAX: f64 = 100.0;

    /// The same wait after every attempt.
    pub const fn constant(wait: Duration) -> Self {
        Backoff { first: wait, factor: 1.0, cap: wait, jitter: 0.0 }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if !(1.0..=Self::FACTOR_MAX).contains(&self.factor) {
            return Err(Error::invalid(format!(
                "backoff factor is {}; it takes 1 to {}",
                self.factor,
                Self::FACTOR_MAX
            )));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err(Error::invalid(format!("backoff jitter is {}; it takes 0 to 1", self.jitter)));
        }
        if self.cap > DELAY_MAX || self.first > self.cap {
            return Err(Error::invalid(format!(
                "backoff waits from {:?} to {:?}; the first is at most the cap and the cap at most {DELAY_MAX:?}",
                self.first, self.cap
            )));
        }
        Ok(())
    }

    /// The wait after `attempt` failed. `chance` is in `0.0..1.0`.
    pub(crate) fn wait(&self, attempt: u32, chance: f64) -> Duration {
        if self.first.is_zero() {
            return Duration::ZERO;
        }
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let whole = (self.first.as_secs_f64() * self.factor.powi(exponent)).min(self.cap.as_secs_f64());
        Duration::from_secs_f64(whole * (1.0 - self.jitter * chance))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { first: Duration::from_secs(1), factor: 2.0, cap: Duration::from_secs(3600), jitter: 0.5 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let backoff = Backoff { jitter: 0.0, ..Backoff::default() };
        let seconds: Vec<u64> = [1, 2, 3, 12, 13, u32::MAX].map(|n| backoff.wait(n, 0.9).as_secs()).to_vec();
        assert_eq!(seconds, [1, 2, 4, 2048, 3600, 3600]);
    }

    #[test]
    fn settings_out_of_range_are_refused_with_the_value() {
        for (backoff, named) in [
            (Backoff { factor: 0.5, ..Backoff::default() }, "0.5"),
            (Backoff { factor: f64::NAN, ..Backoff::default() }, "NaN"),
            (Backoff { jitter: 1.5, ..Backoff::default() }, "1.5"),
            (Backoff { first: Duration::from_secs(7200), ..Backoff::default() }, "7200s"),
        ] {
            assert!(backoff.check().expect_err("out of range").message().contains(named));
        }
    }

    proptest! {
        #[test]
        fn jitter_only_shortens_and_by_no_more_than_its_share(
            attempt in 1u32..60, chance in 0.0f64..1.0, jitter in 0.0f64..=1.0
        ) {
            let backoff = Backoff { jitter, ..Backoff::default() };
            let whole = Backoff { jitter: 0.0, ..backoff }.wait(attempt, 0.0);
            let wait = backoff.wait(attempt, chance);
            prop_assert!(wait <= whole);
            prop_assert!(wait.as_secs_f64() >= whole.as_secs_f64() * (1.0 - jitter) - 1e-6);
        }
    }
}
