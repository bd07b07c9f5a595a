//! Subscriptions: looking them up, what can be seen of them, and their dead letters.

use std::ffi::c_char;

use onceward::{DEFAULT_SUBSCRIPTION, MessageId, Start, Subscription};

use crate::border::{self, Out, Place, Places, View};
use crate::handles::{self, Handle};
use crate::listing::{onceward_dead_letters, onceward_messages};
use crate::message;
use crate::queue::{onceward_queue, or_nowhere};
use crate::status::{Failure, Outcome, run};

/// A new subscription begins with the next message sent.
pub const ONCEWARD_START_NOW: i32 = 0;
/// A new subscription begins with the oldest message that is still in the queue.
pub const ONCEWARD_START_OLDEST: i32 = 1;

/// A subscription of a queue: it sees every message, at its own pace, and is what messages are received from. It may be shared
/// between threads.
pub struct onceward_subscription {
    pub(crate) subscription: Subscription,
}

impl Handle for onceward_subscription {
    const KIND: &'static str = "onceward_subscription";
}

/// A subscription that exists. `name` may be NULL: then the one named "default", which a queue has unless it was created with
/// others instead. `*subscription` is yours: free it with onceward_subscription_free.
///
/// ONCEWARD_NOT_FOUND when there is none of that name; the error's message lists those there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_open(
    queue: *const onceward_queue,
    name: *const c_char,
    subscription: *mut *mut onceward_subscription,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (out, name) = unsafe {
            let out = Out::new("subscription", subscription)?;
            (out, border::text_or_none("the subscription's name", name)?)
        };
        let subscription = handles::get(queue)?.queue.subscription(name.unwrap_or(DEFAULT_SUBSCRIPTION))?;
        handles::give(onceward_subscription { subscription }, &out);
        Ok(())
    })
}

/// The subscription of this name (1 to 512 bytes), created where it is missing, beginning at `start`: ONCEWARD_START_NOW or
/// ONCEWARD_START_OLDEST. Each subscription sees every message from its start on. `*subscription` is yours: free it with
/// onceward_subscription_free.
///
/// ONCEWARD_INVALID for a name out of its limits, or when the queue has 1,000 already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_create(
    queue: *const onceward_queue,
    name: *const c_char,
    start: i32,
    subscription: *mut *mut onceward_subscription,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (out, name) = unsafe {
            let out = Out::new("subscription", subscription)?;
            (out, border::text("the subscription's name", name)?)
        };
        let start = match start {
            ONCEWARD_START_NOW => Start::Now,
            ONCEWARD_START_OLDEST => Start::Oldest,
            other => return Err(Failure::invalid(format!("start is {other}; it takes 0 or 1"))),
        };
        let subscription = handles::get(queue)?.queue.subscribe(name, start)?;
        handles::give(onceward_subscription { subscription }, &out);
        Ok(())
    })
}

/// Frees the handle; NULL is left alone. The subscription itself stays in the file.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_subscription_free(subscription: *mut onceward_subscription) {
    handles::free(subscription);
}

/// What can be counted of a subscription, by arithmetic, without reading its messages.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_stats {
    /// Messages that a receive would bring now, if the queue is not paused.
    pub ready: u64,
    /// Messages that wait for a time: a delay, or a retry.
    pub delayed: u64,
    /// Messages that wait for an earlier one with their ordering key.
    pub blocked: u64,
    /// Messages in the hands of receivers.
    pub in_flight: u64,
    /// Dead letters.
    pub dead: u64,
    /// Effects at third parties whose outcome is not known.
    pub in_doubt: u64,
    /// The age of the oldest message that is neither finished nor dead, in milliseconds; -1 when there is none.
    pub oldest_age_ms: i64,
}

/// Counts, without reading messages, into `*stats`. `stats_size` is sizeof(onceward_stats).
///
/// ONCEWARD_NOT_FOUND when the subscription was ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_get_stats(
    subscription: *const onceward_subscription,
    stats: *mut onceward_stats,
    stats_size: usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let stats = unsafe { View::new("stats", stats, stats_size) }?;
        let found = handles::get(subscription)?.subscription.stats()?;
        stats.set(&onceward_stats {
            ready: found.ready,
            delayed: found.delayed,
            blocked: found.blocked,
            in_flight: found.in_flight,
            dead: found.dead,
            in_doubt: found.in_doubt,
            oldest_age_ms: found.oldest_age.map_or(-1, border::millis),
        });
        Ok(())
    })
}

/// Looks at up to `max` (1 to 10,000) messages that a receive would bring, in its order, without taking them. `*messages` is
/// yours: free it with onceward_messages_free.
///
/// ONCEWARD_INVALID for a `max` out of range. A subscription that was ended has no messages, which is no error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_peek(
    subscription: *const onceward_subscription,
    max: usize,
    messages: *mut *mut onceward_messages,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new("messages", messages) }?;
        handles::give(onceward_messages::new(handles::get(subscription)?.subscription.peek(max)?), &out);
        Ok(())
    })
}

/// Lists up to `max` (1 to 10,000) dead letters in the order of their ids, from the one after the id `after` on; 0 begins at the
/// first. `*letters` is yours: free it with onceward_dead_letters_free.
///
/// ONCEWARD_INVALID for a `max` out of range, or an `after` that is no message's id. A subscription that was ended has no dead letters,
/// which is no error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_dead_letters(
    subscription: *const onceward_subscription,
    after: u64,
    max: usize,
    letters: *mut *mut onceward_dead_letters,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new("letters", letters) }?;
        let after = if after == 0 { None } else { Some(message::id(after)?) };
        let found = handles::get(subscription)?.subscription.dead_letters(after, max)?;
        handles::give(onceward_dead_letters::new(found), &out);
        Ok(())
    })
}

/// # Safety
/// `messages` points to `count` numbers.
unsafe fn ids(messages: *const u64, count: usize) -> Outcome<Vec<MessageId>> {
    // SAFETY: the caller's.
    let ids = unsafe { border::items("messages", messages, count) }?;
    ids.iter().map(|id| message::id(*id)).collect()
}

/// Offers dead letters again, under their ids, with their attempts counted anew and without a time to live. `done` may be NULL;
/// else `*done` is how many there were.
///
/// ONCEWARD_INVALID for a message of another queue, or for more than 10,000; ONCEWARD_NOT_FOUND when the subscription was ended; then
/// none is redriven.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_redrive(
    subscription: *const onceward_subscription,
    messages: *const u64,
    count: usize,
    done: *mut u64,
) -> i32 {
    // SAFETY: as the header asks.
    unsafe { letters(done, || ids(messages, count), |ids| Ok(handles::get(subscription)?.subscription.redrive(&ids)?)) }
}

/// Offers all dead letters again. `done` may be NULL; else `*done` is how many there were.
///
/// ONCEWARD_NOT_FOUND when the subscription was ended. With ONCEWARD_BUSY, ONCEWARD_FULL or ONCEWARD_STORAGE some may be offered again
/// all the same, for there is a commit for each 1,000: call it again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_redrive_all(
    subscription: *const onceward_subscription,
    done: *mut u64,
) -> i32 {
    // SAFETY: as the header asks.
    unsafe { letters(done, || Ok(()), |()| Ok(handles::get(subscription)?.subscription.redrive_all()?)) }
}

/// Throws dead letters away. `done` may be NULL; else `*done` is how many there were.
///
/// ONCEWARD_INVALID for a message of another queue, or for more than 10,000; ONCEWARD_NOT_FOUND when the subscription was ended; then
/// none is thrown away.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_purge_dead(
    subscription: *const onceward_subscription,
    messages: *const u64,
    count: usize,
    done: *mut u64,
) -> i32 {
    let purge = |ids: Vec<MessageId>| Ok(handles::get(subscription)?.subscription.purge_dead(&ids)?);
    // SAFETY: as the header asks.
    unsafe { letters(done, || ids(messages, count), purge) }
}

/// Throws all dead letters away. `done` may be NULL; else `*done` is how many there were.
///
/// ONCEWARD_NOT_FOUND when the subscription was ended. With ONCEWARD_BUSY, ONCEWARD_FULL or ONCEWARD_STORAGE some may be gone all the
/// same, for there is a commit for each 1,000: call it again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_purge_dead_all(
    subscription: *const onceward_subscription,
    done: *mut u64,
) -> i32 {
    // SAFETY: as the header asks.
    unsafe { letters(done, || Ok(()), |()| Ok(handles::get(subscription)?.subscription.purge_dead_all()?)) }
}

/// Does something with dead letters and says how many there were.
///
/// # Safety
/// `done` is NULL or has room for a number.
unsafe fn letters<T>(done: *mut u64, ids: impl FnOnce() -> Outcome<T>, call: impl FnOnce(T) -> Outcome<u64>) -> i32 {
    run(|| {
        // SAFETY: the caller's.
        let done = unsafe { or_nowhere("done", done) }?;
        let count = call(ids()?)?;
        if let Some(done) = done {
            done.set(count);
        }
        Ok(())
    })
}

/// Of these messages, those that could still be delivered to this subscription, into `unfinished`, which has room for `count`;
/// `*unfinished_count` is how many. The others are finished, for ever and on disk: what was kept elsewhere to recognise a
/// repeat of them may be deleted. `messages` and `unfinished` may be the same array.
///
/// ONCEWARD_INVALID for a message of another queue, or for more than 10,000; ONCEWARD_NOT_FOUND when the subscription was ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_unfinished(
    subscription: *const onceward_subscription,
    messages: *const u64,
    count: usize,
    unfinished: *mut u64,
    unfinished_count: *mut usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (places, out, ids) = unsafe {
            (
                Places::new("unfinished", unfinished, count)?,
                Place::new("unfinished_count", unfinished_count)?,
                ids(messages, count)?,
            )
        };
        out.set(0);
        let found = handles::get(subscription)?.subscription.unfinished(&ids)?;
        places.set(found.iter().map(|id| id.get()));
        out.set(found.len());
        Ok(())
    })
}
