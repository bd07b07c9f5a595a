//! What is known to be on disk, so that nobody is handed a message that a power loss could still take back.
//!
//! A send is visible to receivers when it is committed, a little before it is synced. Were it handed over in between and the
//! power lost, its id would be given to another message, and whoever keeps ids elsewhere would take the one for the other.
//! So a receive waits for a sync if what it hands over is younger than the last known one. All processes count commits with
//! sends, and syncs, in two words of the side file.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::engine::bell::{LOG_DAMAGED, SENT, SYNCED, TOGETHER};
use crate::engine::context::TokenUse;
use crate::sys::side::SideFile;

/// Observations kept: past it the oldest go, and a receive may wait for a sync that it did not need.
const OBSERVATIONS_MAX: usize = 256;

/// What one store has seen of the lanes' ends, and which of it is on disk.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    /// Per lane, the id below which everything is on disk.
    below: Vec<(i64, i64)>,
    /// Commit counts, and the end a lane had then: on disk once the count is synced.
    seen: VecDeque<(u32, i64, i64)>,
}

impl Durable {
    /// Notes, under the write lock, where lanes end.
    pub(crate) fn observe(&mut self, sent: u32, synced: u32, ends: impl IntoIterator<Item = (i64, i64)>) {
        for (lane, end) in ends {
            let known = self.seen.iter().rev().find(|(_, of, _)| *of == lane).map(|(_, _, end)| *end);
            if known != Some(end) && !self.is_below(lane, end - 1) {
                if self.seen.len() == OBSERVATIONS_MAX {
                    self.seen.pop_front();
                }
                self.seen.push_back((sent, lane, end));
            }
        }
        while let Some(&(count, lane, end)) = self.seen.front() {
            if !reached(synced, count) {
                break;
            }
            self.seen.pop_front();
            match self.below.iter_mut().find(|(of, _)| *of == lane) {
                Some((_, below)) => *below = end.max(*below),
                None => self.below.push((lane, end)),
            }
        }
    }

    /// Whether the message is known to be on disk.
    pub(crate) fn is_below(&self, lane: i64, id: i64) -> bool {
        self.below.iter().any(|(of, below)| *of == lane && id < *below)
    }
}

/// Which reservations of tokens this store knows to be on disk. Another store, or another receive, may have reserved what
/// it has not synced yet.
#[derive(Debug, Default)]
pub(crate) struct DurableTokens {
    known: HashMap<(i64, i64), i64>,
    /// Reservations, and the commit of this store that they were seen in.
    seen: VecDeque<(u64, TokenUse)>,
}

impl DurableTokens {
    /// Takes note of the tokens that a commit hands out. Returns whether it must be synced before they are.
    pub(crate) fn must_sync(&mut self, commit: u64, synced: u64, used: &[TokenUse]) -> bool {
        while let Some((_, seen)) = self.seen.front().filter(|(number, _)| *number <= synced) {
            let known = self.known.entry((seen.subscription, seen.lane)).or_default();
            *known = seen.reserved.max(*known);
            self.seen.pop_front();
        }
        let mut must = false;
        for token in used {
            let known = self.known.get(&(token.subscription, token.lane)).copied().unwrap_or(0);
            if known < token.token {
                must = true;
            }
            if known < token.reserved {
                self.seen.push_back((commit, *token));
            }
        }
        must
    }
}

/// Counts a commit with sends, which may belong together. Call under the write lock, before the commit is visible.
pub(crate) fn count_sent(side: &SideFile, together: bool) {
    let count = side.word(SENT).fetch_add(1, Ordering::SeqCst).wrapping_add(1);
    if together {
        side.word(TOGETHER).store(count, Ordering::SeqCst);
    }
}

/// Whether each send that is not known to be on disk is one by itself: nothing else is lost with it. Under the write lock.
pub(crate) fn are_alone(side: &SideFile) -> bool {
    reached(synced(side), side.word(TOGETHER).load(Ordering::SeqCst))
}

/// How many commits with sends there are. Under the write lock, all of them are committed.
pub(crate) fn sent(side: &SideFile) -> u32 {
    side.word(SENT).load(Ordering::SeqCst)
}

pub(crate) fn synced(side: &SideFile) -> u32 {
    side.word(SYNCED).load(Ordering::SeqCst)
}

/// Whether a sync of the log has failed, and nobody has made up for it yet.
pub(crate) fn log_is_damaged(side: &SideFile) -> bool {
    side.word(LOG_DAMAGED).load(Ordering::SeqCst) != 0
}

/// Waits until somebody has synced so many sends, for a bounded time. False if nobody has.
pub(crate) fn await_synced(side: &SideFile, count: u32, patience: Duration) -> bool {
    let since = Instant::now();
    loop {
        let known = synced(side);
        if reached(known, count) {
            return true;
        }
        let left = patience.saturating_sub(since.elapsed());
        if left.is_zero() {
            return false;
        }
        side.wait(SYNCED, known, Some(left));
    }
}

/// Notes that a sync which began when `count` commits were done has ended.
pub(crate) fn note_synced(side: &SideFile, count: u32) {
    let word = side.word(SYNCED);
    let mut known = word.load(Ordering::SeqCst);
    while !reached(known, count) {
        match word.compare_exchange(known, count, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => return side.wake(SYNCED, i32::MAX as u32),
            Err(now) => known = now,
        }
    }
}

/// Whether a count that wraps around has reached another.
fn reached(count: u32, other: u32) -> bool {
    count.wrapping_sub(other) < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_durable_once_the_commits_up_to_its_own_are_synced() {
        let mut durable = Durable::default();
        durable.observe(5, 4, [(1, 100)]);
        assert!(!durable.is_below(1, 99));
        durable.observe(6, 5, [(1, 120)]);
        assert!(durable.is_below(1, 99) && !durable.is_below(1, 100) && !durable.is_below(2, 1));
        durable.observe(6, 6, []);
        assert!(durable.is_below(1, 119) && !durable.is_below(1, 120));
    }

    #[test]
    fn a_token_is_handed_out_only_within_a_reservation_that_is_on_disk() {
        let mut tokens = DurableTokens::default();
        let used = |token, reserved| [TokenUse { subscription: 1, lane: 1, token, reserved }];
        assert!(tokens.must_sync(1, 0, &used(1, 100)), "the first of a store waits, whoever reserved it");
        assert!(tokens.must_sync(2, 0, &used(2, 100)), "and so does the next while the first is not synced");
        assert!(!tokens.must_sync(3, 1, &used(3, 100)));
        assert!(tokens.must_sync(4, 3, &used(101, 200)));
    }

    #[test]
    fn sends_that_belong_together_are_not_alone_until_they_are_on_disk() {
        let side = SideFile::private();
        count_sent(&side, false);
        assert!(are_alone(&side));
        count_sent(&side, true);
        count_sent(&side, false);
        assert!(!are_alone(&side));
        note_synced(&side, 1);
        assert!(!are_alone(&side));
        note_synced(&side, 2);
        assert!(are_alone(&side));
    }

    #[test]
    fn counts_wrap_around() {
        let side = SideFile::private();
        side.word(SYNCED).store(u32::MAX, Ordering::SeqCst);
        note_synced(&side, 1);
        assert_eq!(synced(&side), 1);
        note_synced(&side, u32::MAX);
        assert_eq!(synced(&side), 1, "it never goes back");
    }
}
