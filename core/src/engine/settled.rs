//! What this store settled lately, so that the same settle repeated gives the same answer.
//!
//! A settled interval is gone from the file; only the process that held the token can repeat its settle, so its own memory
//! of a bounded number of settlements is enough.

use std::collections::VecDeque;

use crate::engine::operation::SubscriptionId;
use crate::rules::interval::Interval;
use crate::types::Token;

/// Settlements remembered.
pub(crate) const SETTLEMENTS_MAX: usize = 16_384;

/// One settled run of ids.
#[derive(Debug, Clone)]
pub(crate) struct Settlement {
    pub(crate) subscription: SubscriptionId,
    pub(crate) run: Interval,
    pub(crate) token: Token,
    /// What was done: the verb's name.
    pub(crate) verb: &'static str,
}

#[derive(Debug, Default)]
pub(crate) struct Settled {
    recent: VecDeque<Settlement>,
}

impl Settled {
    pub(crate) fn remember(&mut self, settlements: Vec<Settlement>) {
        for settlement in settlements {
            // Settling one by one in order extends the last run.
            if let Some(last) = self.recent.back_mut()
                && last.subscription == settlement.subscription
                && last.token == settlement.token
                && last.verb == settlement.verb
                && last.run.hi == settlement.run.lo
            {
                last.run.hi = settlement.run.hi;
                continue;
            }
            if self.recent.len() == SETTLEMENTS_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back(settlement);
        }
    }

    /// Whether this store settled `id` with that token and verb before.
    pub(crate) fn has(&self, subscription: SubscriptionId, id: i64, token: Token, verb: &str) -> bool {
        self.recent.iter().rev().any(|settlement| {
            settlement.token == token
                && settlement.subscription == subscription
                && settlement.verb == verb
                && settlement.run.contains(id)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settlement(lo: i64, hi: i64, token: u64) -> Settlement {
        Settlement {
            subscription: SubscriptionId(1),
            run: Interval::new(lo, hi),
            token: Token::new(token),
            verb: "acknowledged",
        }
    }

    #[test]
    fn a_settlement_is_remembered_with_its_token_and_verb_up_to_the_limit() {
        let mut settled = Settled::default();
        settled.remember(vec![settlement(10, 12, 1), settlement(12, 13, 1)]);
        assert_eq!(settled.recent.len(), 1, "neighbours are one run");
        let has = |settled: &Settled, id, token, verb| settled.has(SubscriptionId(1), id, Token::new(token), verb);
        assert!(has(&settled, 12, 1, "acknowledged"));
        assert!(!has(&settled, 12, 2, "acknowledged") && !has(&settled, 12, 1, "released"));
        assert!(!has(&settled, 13, 1, "acknowledged"));
        settled.remember((0..SETTLEMENTS_MAX as i64).map(|n| settlement(100 + 2 * n, 101 + 2 * n, 7)).collect());
        assert_eq!(settled.recent.len(), SETTLEMENTS_MAX);
        assert!(!has(&settled, 12, 1, "acknowledged"), "the oldest is forgotten first");
    }
}
