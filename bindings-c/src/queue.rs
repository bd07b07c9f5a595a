//! Queues: opening, sending, and what concerns all of their subscriptions.

use std::ffi::{CString, c_char};

use onceward::{Backoff, Queue, QueueOptions, Semantics, Sent, Window};

use crate::border::{self, Options, Out, Place, Places, View};
use crate::handles::{self, Handle};
use crate::listing::onceward_names;
use crate::message::{self, onceward_message};
use crate::status::{Failure, ONCEWARD_DUPLICATE, ONCEWARD_EMPTY, ONCEWARD_OK, Outcome, guard, run, text};
use crate::store::onceward_store;

/// A message is handed over at most once, ever; it may be lost.
pub const ONCEWARD_AT_MOST_ONCE: i32 = 1;
/// Once a send has returned, the message is delivered until it is acknowledged, dead-lettered or expired; it may come twice.
pub const ONCEWARD_AT_LEAST_ONCE: i32 = 2;
/// At least once, and: a send repeated with its key is one message, and the effects of a message are committed together with
/// its acknowledgement.
pub const ONCEWARD_EXACTLY_ONCE: i32 = 3;

/// A window that never ends: what is remembered is remembered for ever.
pub const ONCEWARD_FOREVER: i64 = -1;
/// No attempts limit.
pub const ONCEWARD_UNLIMITED: i64 = -1;

/// A queue of an open store. It may be shared between threads.
pub struct onceward_queue {
    pub(crate) queue: Queue,
    name: CString,
}

impl Handle for onceward_queue {
    const KIND: &'static str = "onceward_queue";
}

/// What a queue's settings should be. Set everything to zero, then size to sizeof(onceward_queue_options), then what you need:
/// what is zero stays as it stands in the file, or takes its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_queue_options {
    /// sizeof(onceward_queue_options).
    pub size: usize,
    /// How many milliseconds a delivery is the receiver's alone, 1 to 43,200,000 (12 h). Default: 30,000.
    pub lease_ms: i64,
    /// How often a message is delivered before it goes to the dead letters, 1 to 1,000,000, or ONCEWARD_UNLIMITED. Default: 20.
    pub attempts_max: i64,
    /// How many milliseconds deduplication keys are remembered, or ONCEWARD_FOREVER. Default: for ever on exactly-once queues, a
    /// day on the others.
    pub deduplication_window_ms: i64,
    /// Not zero when the four values of the backoff are set.
    pub has_backoff: i32,
    /// How many milliseconds a message waits after its first failure. Default: 1,000.
    pub backoff_first_ms: i64,
    /// What each further wait is multiplied by, 1 to 100. Default: 2.
    pub backoff_factor: f64,
    /// The longest wait, in milliseconds. Default: 3,600,000 (1 h).
    pub backoff_cap_ms: i64,
    /// The share of the wait that is random, 0 to 1. Default: 0.5.
    pub backoff_jitter: f64,
    /// The names of the subscriptions to create the queue with, instead of the one named "default"; NULL for that.
    pub subscriptions: *const *const c_char,
    /// How many subscriptions are named, at most 1,000.
    pub subscription_count: usize,
}

impl Options for onceward_queue_options {
    const NAME: &'static str = "onceward_queue_options";

    fn unset() -> Self {
        onceward_queue_options {
            size: size_of::<Self>(),
            lease_ms: 0,
            attempts_max: 0,
            deduplication_window_ms: 0,
            has_backoff: 0,
            backoff_first_ms: 0,
            backoff_factor: 0.0,
            backoff_cap_ms: 0,
            backoff_jitter: 0.0,
            subscriptions: std::ptr::null(),
            subscription_count: 0,
        }
    }
}

/// A window: milliseconds, or for ever; 0 is not set.
pub(crate) fn window(what: &str, millis: i64) -> Outcome<Option<Window>> {
    match millis {
        0 => Ok(None),
        ONCEWARD_FOREVER => Ok(Some(Window::Forever)),
        millis => Ok(Some(Window::For(border::wait(what, millis)?))),
    }
}

/// # Safety
/// The structure's pointers are what its fields say.
unsafe fn queue_options(given: &onceward_queue_options) -> Outcome<QueueOptions> {
    let mut options = QueueOptions::new();
    if let Some(lease) = border::duration("lease_ms", given.lease_ms)? {
        options = options.lease(lease);
    }
    match given.attempts_max {
        0 => {}
        ONCEWARD_UNLIMITED => options = options.attempts_max(None),
        attempts => {
            let attempts = u32::try_from(attempts).map_err(|_| {
                let limit = onceward::limits::ATTEMPTS_MAX;
                Failure::invalid(format!("attempts_max is {attempts}; it takes 1 to {limit}, or ONCEWARD_UNLIMITED"))
            })?;
            options = options.attempts_max(attempts);
        }
    }
    if let Some(window) = window("deduplication_window_ms", given.deduplication_window_ms)? {
        options = options.deduplication_window(window);
    }
    if given.has_backoff != 0 {
        options = options.backoff(Backoff {
            first: border::wait("backoff_first_ms", given.backoff_first_ms)?,
            factor: given.backoff_factor,
            cap: border::wait("backoff_cap_ms", given.backoff_cap_ms)?,
            jitter: given.backoff_jitter,
        });
    }
    if !given.subscriptions.is_null() || given.subscription_count != 0 {
        // SAFETY: the caller's.
        let names = unsafe { border::items("subscriptions", given.subscriptions, given.subscription_count) }?;
        // SAFETY: the caller's.
        let names = names.iter().map(|name| unsafe { border::text("a subscription's name", *name) });
        options = options.subscriptions(names.collect::<Outcome<Vec<_>>>()?);
    }
    Ok(options)
}

fn semantics(number: i32) -> Outcome<Semantics> {
    match number {
        ONCEWARD_AT_MOST_ONCE => Ok(Semantics::AtMostOnce),
        ONCEWARD_AT_LEAST_ONCE => Ok(Semantics::AtLeastOnce),
        ONCEWARD_EXACTLY_ONCE => Ok(Semantics::ExactlyOnce),
        other => {
            Err(Failure::invalid(format!("semantics is {other}; it takes one of ONCEWARD_AT_MOST_ONCE and so on")))
        }
    }
}

fn semantics_number(semantics: Semantics) -> i32 {
    match semantics {
        Semantics::AtMostOnce => ONCEWARD_AT_MOST_ONCE,
        Semantics::AtLeastOnce => ONCEWARD_AT_LEAST_ONCE,
        Semantics::ExactlyOnce => ONCEWARD_EXACTLY_ONCE,
    }
}

impl onceward_queue {
    fn new(queue: Queue) -> Self {
        let name = text(queue.name());
        onceward_queue { queue, name }
    }
}

/// Opens the queue of this name (1 to 512 bytes), creating it where it is missing. `options` may be NULL; those that are set are
/// stored in the file. `*queue` is yours: free it with onceward_queue_free.
///
/// ONCEWARD_CONFLICT when the queue exists with other semantics; ONCEWARD_INVALID for a name or an option out of range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_queue_open(
    store: *const onceward_store,
    name: *const c_char,
    semantics: i32,
    options: *const onceward_queue_options,
    queue: *mut *mut onceward_queue,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (queue, name, options) = unsafe {
            let queue = Out::new("queue", queue)?;
            (queue, border::text("the queue's name", name)?, queue_options(&border::options(options)?)?)
        };
        let opened = handles::get(store)?.store.queue_with(name, self::semantics(semantics)?, options)?;
        handles::give(onceward_queue::new(opened), &queue);
        Ok(())
    })
}

/// Opens a queue that exists, with the semantics it has. `options` may be NULL; those that are set are stored in the file.
/// `*queue` is yours: free it with onceward_queue_free.
///
/// ONCEWARD_NOT_FOUND when there is none of that name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_queue_open_existing(
    store: *const onceward_store,
    name: *const c_char,
    options: *const onceward_queue_options,
    queue: *mut *mut onceward_queue,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (queue, name, options) = unsafe {
            let queue = Out::new("queue", queue)?;
            (queue, border::text("the queue's name", name)?, queue_options(&border::options(options)?)?)
        };
        let opened = handles::get(store)?.store.open_queue_with(name, options)?;
        handles::give(onceward_queue::new(opened), &queue);
        Ok(())
    })
}

/// Frees the handle; NULL is left alone. The queue itself stays in the file.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_queue_free(queue: *mut onceward_queue) {
    handles::free(queue);
}

/// The queue's name. It lives as long as the handle; NULL for what is no living handle.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_queue_name(queue: *const onceward_queue) -> *const c_char {
    let mut name = std::ptr::null();
    run(|| {
        name = handles::get(queue)?.name.as_ptr();
        Ok(())
    });
    name
}

/// A queue's settings, as they stand in the file.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_queue_settings {
    /// ONCEWARD_AT_MOST_ONCE, ONCEWARD_AT_LEAST_ONCE or ONCEWARD_EXACTLY_ONCE.
    pub semantics: i32,
    /// Not zero when receiving is paused.
    pub is_paused: i32,
    /// How many milliseconds a delivery is the receiver's alone.
    pub lease_ms: i64,
    /// How often a message is delivered before it goes to the dead letters, or ONCEWARD_UNLIMITED.
    pub attempts_max: i64,
    /// How many milliseconds deduplication keys are remembered, or ONCEWARD_FOREVER.
    pub deduplication_window_ms: i64,
    /// How many milliseconds a message waits after its first failure.
    pub backoff_first_ms: i64,
    /// What each further wait is multiplied by.
    pub backoff_factor: f64,
    /// The longest wait, in milliseconds.
    pub backoff_cap_ms: i64,
    /// The share of the wait that is random, 0 to 1.
    pub backoff_jitter: f64,
}

/// The settings as they stand in the file now, into `*settings`. `settings_size` is sizeof(onceward_queue_settings).
///
/// ONCEWARD_INVALID for a size out of range; ONCEWARD_NOT_FOUND when the file no longer has the queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_queue_get_settings(
    queue: *const onceward_queue,
    settings: *mut onceward_queue_settings,
    settings_size: usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let settings = unsafe { View::new("settings", settings, settings_size) }?;
        let found = handles::get(queue)?.queue.settings()?;
        settings.set(&onceward_queue_settings {
            semantics: semantics_number(found.semantics),
            is_paused: found.paused.into(),
            lease_ms: border::millis(found.lease),
            attempts_max: found.attempts_max.map_or(ONCEWARD_UNLIMITED, i64::from),
            deduplication_window_ms: match found.deduplication_window {
                Window::Forever => ONCEWARD_FOREVER,
                Window::For(window) => border::millis(window),
            },
            backoff_first_ms: border::millis(found.backoff.first),
            backoff_factor: found.backoff.factor,
            backoff_cap_ms: border::millis(found.backoff.cap),
            backoff_jitter: found.backoff.jitter,
        });
        Ok(())
    })
}

/// Sends a message. When it returns, the message is on disk (at-most-once: it is in the file, and a power loss may take it).
/// `id` may be NULL; else `*id` is the message's id.
///
/// ONCEWARD_DUPLICATE, which is no error, when the queue remembers the key: nothing was written, and `*id` is the earlier
/// message's. ONCEWARD_CONFLICT when the key stands for another body; ONCEWARD_INVALID for a part out of its limits, or without
/// a key on an exactly-once queue; ONCEWARD_FULL when the disk is. With ONCEWARD_STORAGE the outcome is unknown: send again with
/// the same key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_queue_send(
    queue: *const onceward_queue,
    message: *const onceward_message,
    id: *mut u64,
) -> i32 {
    guard(|| {
        // SAFETY: as the header asks.
        let (id, message) = unsafe { (or_nowhere("id", id)?, message::read(message)?) };
        let sent = handles::get(queue)?.queue.send(message)?;
        Ok(sent_status(sent, id.as_ref()))
    })
}

/// Where an id or a count goes, zeroed, or nowhere.
///
/// # Safety
/// `pointer` is NULL or has room for a number.
pub(crate) unsafe fn or_nowhere<'a>(what: &str, pointer: *mut u64) -> Outcome<Option<Place<'a, u64>>> {
    // SAFETY: the caller's.
    let place = border::or_nowhere(pointer, |pointer| unsafe { Place::new(what, pointer) })?;
    if let Some(place) = &place {
        place.set(0);
    }
    Ok(place)
}

pub(crate) fn sent_status(sent: Sent, id: Option<&Place<'_, u64>>) -> i32 {
    if let Some(id) = id {
        id.set(sent.id.get());
    }
    if sent.duplicate { ONCEWARD_DUPLICATE } else { ONCEWARD_OK }
}

/// What became of one message of several that were sent.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_sent {
    /// The id: the message's, or the earlier one's of which it is a duplicate.
    pub id: u64,
    /// Not zero when the queue remembered the key, and nothing was written.
    pub is_duplicate: i32,
}

/// Sends messages in one commit: all of them, or, with an error, none. At most 10,000, with bodies of 256 MiB together. `sent`
/// may be NULL; else it has room for `count`, in the order of the messages. All messages have the same size.
///
/// As onceward_queue_send; duplicates are marked in `sent`, and the status is ONCEWARD_OK. ONCEWARD_INVALID also for more than one call
/// takes, and for messages of several sizes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_queue_send_many(
    queue: *const onceward_queue,
    messages: *const onceward_message,
    count: usize,
    sent: *mut onceward_sent,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (sent, messages) = unsafe {
            (border::or_nowhere(sent, |sent| Places::new("sent", sent, count))?, message::read_many(messages, count)?)
        };
        let done = handles::get(queue)?.queue.send_many(messages)?;
        if let Some(sent) = sent {
            let shown = |one: Sent| onceward_sent { id: one.id.get(), is_duplicate: one.duplicate.into() };
            sent.set(done.into_iter().map(shown));
        }
        Ok(())
    })
}

/// Takes a message away that is not in flight, for every subscription. Its key stays remembered.
///
/// ONCEWARD_EMPTY, which is no error, when it is finished or dead already; ONCEWARD_CONFLICT when a receiver has it in flight;
/// ONCEWARD_INVALID when it belongs to another queue.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_queue_cancel(queue: *const onceward_queue, message: u64) -> i32 {
    guard(|| {
        let cancelled = handles::get(queue)?.queue.cancel(message::id(message)?)?;
        Ok(if cancelled { ONCEWARD_OK } else { ONCEWARD_EMPTY })
    })
}

/// Takes every message away that is ready, delayed or blocked, for every subscription. What is in flight or dead stays, and keys
/// stay remembered. `purged` may be NULL; else `*purged` is how many, counting a message once for each subscription that still
/// had it to come.
///
/// ONCEWARD_BUSY or ONCEWARD_FULL; the messages may be out of reach all the same, for their rows leave the file afterwards, in pieces.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_queue_purge(queue: *const onceward_queue, purged: *mut u64) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let purged = unsafe { or_nowhere("purged", purged) }?;
        let count = handles::get(queue)?.queue.purge()?;
        if let Some(purged) = purged {
            purged.set(count);
        }
        Ok(())
    })
}

/// Stops handing out messages, for every subscription and in every process, until onceward_queue_resume. Sends and settles go on.
///
/// ONCEWARD_BUSY or ONCEWARD_FULL: then nothing has changed. It is no error when it was paused before.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_queue_pause(queue: *const onceward_queue) -> i32 {
    run(|| Ok(handles::get(queue)?.queue.pause()?))
}

/// Hands out messages again.
///
/// ONCEWARD_BUSY or ONCEWARD_FULL: then nothing has changed. It is no error when it was not paused.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_queue_resume(queue: *const onceward_queue) -> i32 {
    run(|| Ok(handles::get(queue)?.queue.resume()?))
}

/// The names of the queue's subscriptions, sorted. `*names` is yours: free it with onceward_names_free.
///
/// Gives the common statuses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_queue_subscriptions(
    queue: *const onceward_queue,
    names: *mut *mut onceward_names,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let names = unsafe { Out::new("names", names) }?;
        handles::give(onceward_names::new(handles::get(queue)?.queue.subscriptions()?), &names);
        Ok(())
    })
}

/// Ends a subscription. What it had not finished is gone for it, its dead letters too.
///
/// ONCEWARD_NOT_FOUND when there is none of that name; ONCEWARD_INVALID for a queue's last one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_queue_unsubscribe(queue: *const onceward_queue, name: *const c_char) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let name = unsafe { border::text("the subscription's name", name) }?;
        Ok(handles::get(queue)?.queue.unsubscribe(name)?)
    })
}
