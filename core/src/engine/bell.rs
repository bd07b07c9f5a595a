//! Waking sleeping receivers, in this process and in others, after a commit.
//!
//! A queue has a word in the side file; a commit with work for its receivers counts it up and wakes as many sleepers. The
//! bell only makes things prompt: who sleeps through it looks again by itself.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::engine::context::Wake;
use crate::engine::operation::QueueId;
use crate::sys::side::{SideFile, WORDS};

/// Rung by every commit that rings any queue's.
pub(crate) const ANY: usize = 0;
/// Shared by all queues whose number is past the words.
const OVERFLOW: usize = WORDS - 5;
/// Counts the commits with sends that must be on disk before they are answered, or handed over.
pub(crate) const SENT: usize = WORDS - 4;
/// Up to which of them the log is known to be on disk.
pub(crate) const SYNCED: usize = WORDS - 3;
/// Not zero while a sync of the log has failed and nobody has made up for it.
pub(crate) const LOG_DAMAGED: usize = WORDS - 2;

/// The count of the last commit with sends that belong together, or to other changes.
pub(crate) const TOGETHER: usize = WORDS - 1;

/// The word of a queue.
pub(crate) fn word_of(queue: QueueId) -> usize {
    usize::try_from(queue.0).map_or(OVERFLOW, |id| id.min(OVERFLOW))
}

/// What a receiver remembers before it looks, so that it cannot sleep through what comes after.
pub(crate) fn listen(side: &SideFile, word: usize) -> u32 {
    side.word(word).load(Ordering::SeqCst)
}

/// Sleeps until the word was rung since `heard`, or the time is up. Returns false if it was.
pub(crate) fn sleep(side: &SideFile, word: usize, heard: u32, timeout: Duration) -> bool {
    side.wait(word, heard, Some(timeout))
}

pub(crate) fn ring(side: &SideFile, wakes: &[Wake]) {
    if wakes.is_empty() {
        return;
    }
    for wake in wakes {
        let word = word_of(wake.queue);
        // Behind the shared word sleep receivers of several queues: all must look.
        let receivers = if word == OVERFLOW { u32::MAX } else { wake.receivers };
        ring_word(side, word, receivers);
    }
    ring_word(side, ANY, u32::MAX);
}

pub(crate) fn ring_word(side: &SideFile, word: usize, receivers: u32) {
    side.word(word).fetch_add(1, Ordering::SeqCst);
    side.wake(word, receivers.min(i32::MAX as u32));
}
