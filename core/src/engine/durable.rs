//! What is known to be on disk, so that nobody is handed a message that a power loss could still take back.
//!
//! A send is visible to receivers when it is committed, a little before it is synced. Were it handed over in between and the
//! power lost, its id would be given to another message, and whoever keeps ids elsewhere would take the one for the other.
//! So a receive waits for a sync if what it hands over is younger than the last known one. All processes count commits with
//! sends, and syncs, in two words of the side file.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use crate::engine::bell::{SENT, SYNCED};
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
    pub(crate) fn observe(&mut self, sent: u32, synced: u32, ends: &[(i64, i64)]) {
        for &(lane, end) in ends {
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

/// Counts a commit with sends. Call under the write lock, before the commit is visible.
pub(crate) fn count_sent(side: &SideFile) {
    side.word(SENT).fetch_add(1, Ordering::SeqCst);
}

/// How many commits with sends there are. Under the write lock, all of them are committed.
pub(crate) fn sent(side: &SideFile) -> u32 {
    side.word(SENT).load(Ordering::SeqCst)
}

pub(crate) fn synced(side: &SideFile) -> u32 {
    side.word(SYNCED).load(Ordering::SeqCst)
}

/// Notes that a sync which began when `count` commits were done has ended.
pub(crate) fn note_synced(side: &SideFile, count: u32) {
    let word = side.word(SYNCED);
    let mut known = word.load(Ordering::SeqCst);
    while !reached(known, count) {
        match word.compare_exchange(known, count, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => return,
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
        durable.observe(5, 4, &[(1, 100)]);
        assert!(!durable.is_below(1, 99));
        durable.observe(6, 5, &[(1, 120)]);
        assert!(durable.is_below(1, 99) && !durable.is_below(1, 100) && !durable.is_below(2, 1));
        durable.observe(6, 6, &[]);
        assert!(durable.is_below(1, 119) && !durable.is_below(1, 120));
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
