//! Effects in doubt: listing them, and resolving them by hand.

use std::ffi::{CString, c_char, c_void};
use std::ptr;

use onceward::{EffectOf, InDoubt, Resolution, Resolved};

use crate::border::{self, Out, View, at};
use crate::handles::{self, Handle};
use crate::status::{Failure, run, text};
use crate::store::onceward_store;

/// A person found out that an effect happened.
pub const ONCEWARD_APPLIED: i32 = 1;
/// A person found out that an effect did not happen, and that no request for it is under way.
pub const ONCEWARD_NOT_APPLIED: i32 = 2;

/// An effect of which nobody knows, or knew, whether it happened. The pointers live as long as the list.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_doubt_view {
    /// The number of this doubt, to resolve it by. An effect that comes to be in doubt again has another.
    pub doubt: u64,
    /// The message's id; 0 in a ledger.
    pub message: u64,
    /// The message's queue; NULL in a ledger.
    pub queue: *const c_char,
    /// The message's subscription; NULL in a ledger, and when it was ended meanwhile.
    pub subscription: *const c_char,
    /// The ledger; NULL for a message's effect.
    pub ledger: *const c_char,
    /// The effect's name; in a ledger, its key.
    pub name: *const c_char,
    /// What is known of it.
    pub error: *const c_char,
    /// Since when it is in doubt, in milliseconds since 1970.
    pub since_ms: i64,
    /// When the first call was begun that may have happened, in milliseconds since 1970; 0 in a resolution.
    pub called_at_ms: i64,
    /// The process that made the last call; 0 in a resolution.
    pub process: u32,
    /// The message's deduplication key: what the third party may know the effect by. NULL in a ledger (where the name is the
    /// key), in a resolution, for a message without one, and once the message is gone.
    pub key: *const c_char,
}

/// How a doubt was resolved. The pointers live as long as the list.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_resolution_view {
    /// ONCEWARD_APPLIED or ONCEWARD_NOT_APPLIED.
    pub resolution: i32,
    /// The effect's result, followed by a NUL that result_size does not count; NULL when it did not happen.
    pub result: *const c_void,
    /// How many bytes the result has.
    pub result_size: usize,
    /// How it was found out.
    pub evidence: *const c_char,
    /// Who did.
    pub actor: *const c_char,
    /// When it was resolved, in milliseconds since 1970.
    pub resolved_at_ms: i64,
}

/// What both lists keep of an effect.
struct Subject {
    doubt: u64,
    message: u64,
    queue: Option<CString>,
    subscription: Option<CString>,
    ledger: Option<CString>,
    name: CString,
    error: CString,
    since_ms: i64,
    called_at_ms: i64,
    process: u32,
    key: Option<CString>,
}

fn pointer(text: Option<&CString>) -> *const c_char {
    text.map_or(ptr::null(), |text| text.as_ptr())
}

impl Subject {
    fn new(doubt: u64, of: EffectOf, name: String, error: String) -> Self {
        let mut subject = Subject {
            doubt,
            message: 0,
            queue: None,
            subscription: None,
            ledger: None,
            name: text(name),
            error: text(error),
            since_ms: 0,
            called_at_ms: 0,
            process: 0,
            key: None,
        };
        match of {
            EffectOf::Message { queue, subscription, message } => {
                subject.message = message.get();
                subject.queue = Some(text(queue));
                subject.subscription = subscription.map(text);
            }
            EffectOf::Ledger { ledger } => subject.ledger = Some(text(ledger)),
            _ => {}
        }
        subject
    }

    fn view(&self) -> onceward_doubt_view {
        onceward_doubt_view {
            doubt: self.doubt,
            message: self.message,
            queue: pointer(self.queue.as_ref()),
            subscription: pointer(self.subscription.as_ref()),
            ledger: pointer(self.ledger.as_ref()),
            name: self.name.as_ptr(),
            error: self.error.as_ptr(),
            since_ms: self.since_ms,
            called_at_ms: self.called_at_ms,
            process: self.process,
            key: pointer(self.key.as_ref()),
        }
    }
}

/// A list of effects in doubt.
pub struct onceward_doubts {
    doubts: Vec<Subject>,
}

impl Handle for onceward_doubts {
    const KIND: &'static str = "onceward_doubts";
}

fn subject(found: InDoubt) -> Subject {
    let mut subject = Subject::new(found.doubt, found.of, found.name, found.error);
    subject.since_ms = found.since.get();
    subject.called_at_ms = found.called_at.get();
    subject.process = found.process;
    subject.key = found.key.map(text);
    subject
}

/// Lists up to `max` (1 to 10,000) effects in doubt in the order of their numbers, from the one after `after` on; 0 begins at the
/// first. What is listed is on disk; the calls of processes that died are looked for first. `*doubts` is yours: free it with
/// onceward_doubts_free.
///
/// ONCEWARD_INVALID for a `max` out of range; ONCEWARD_STORAGE also when what was found could not be brought to the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_store_in_doubt(
    store: *const onceward_store,
    after: u64,
    max: usize,
    doubts: *mut *mut onceward_doubts,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new("doubts", doubts) }?;
        let found = handles::get(store)?.store.in_doubt((after != 0).then_some(after), max)?;
        handles::give(onceward_doubts { doubts: found.into_iter().map(subject).collect() }, &out);
        Ok(())
    })
}

/// How many doubts the list has; 0 for what is no living handle.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_doubts_count(doubts: *const onceward_doubts) -> usize {
    let mut count = 0;
    run(|| {
        count = handles::get(doubts)?.doubts.len();
        Ok(())
    });
    count
}

/// The doubt at `index`, counted from 0, into `*view`. `view_size` is sizeof(onceward_doubt_view). ONCEWARD_INVALID past the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_doubts_get(
    doubts: *const onceward_doubts,
    index: usize,
    view: *mut onceward_doubt_view,
    view_size: usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let view = unsafe { View::new("view", view, view_size) }?;
        view.set(&at(&handles::get(doubts)?.doubts, index)?.view());
        Ok(())
    })
}

/// Frees the list; NULL is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_doubts_free(doubts: *mut onceward_doubts) {
    handles::free(doubts);
}

/// Resolves a doubt: says whether the effect happened, with its result (of ONCEWARD_APPLIED only; at most 1 MiB; it may be empty), the
/// evidence, and who says so (each 1 to 4,096 bytes). They are kept for ever. A parked message goes on by itself: its next
/// delivery's once returns the result, or makes the call. A dead letter waits to be redriven. The same answer once more changes nothing
/// and is no error.
///
/// ONCEWARD_CONFLICT when the doubt was resolved with another answer; ONCEWARD_INVALID when it is over for another reason, or for an
/// argument out of its limits; ONCEWARD_NOT_FOUND when there never was such a doubt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_store_resolve(
    store: *const onceward_store,
    doubt: u64,
    resolution: i32,
    result: *const c_void,
    result_size: usize,
    evidence: *const c_char,
    actor: *const c_char,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (result, evidence, actor) = unsafe {
            (
                border::items("the result", result.cast::<u8>(), result_size)?,
                border::text("the evidence", evidence)?,
                border::text("the actor", actor)?,
            )
        };
        let resolution = match resolution {
            ONCEWARD_APPLIED => Resolution::Applied(result.to_vec()),
            ONCEWARD_NOT_APPLIED if result.is_empty() => Resolution::NotApplied,
            ONCEWARD_NOT_APPLIED => return Err(Failure::invalid("there is a result of what did not happen")),
            other => {
                let takes = "it takes ONCEWARD_APPLIED or ONCEWARD_NOT_APPLIED";
                return Err(Failure::invalid(format!("resolution is {other}; {takes}")));
            }
        };
        Ok(handles::get(store)?.store.resolve(doubt, resolution, evidence, actor)?)
    })
}

struct Answer {
    subject: Subject,
    /// With a NUL at the end.
    result: Option<Vec<u8>>,
    evidence: CString,
    actor: CString,
    resolved_at_ms: i64,
}

/// A list of doubts that persons have resolved, and how.
pub struct onceward_resolutions {
    answers: Vec<Answer>,
}

impl Handle for onceward_resolutions {
    const KIND: &'static str = "onceward_resolutions";
}

fn answer(found: Resolved) -> Answer {
    let mut subject = Subject::new(found.doubt, found.of, found.name, found.error);
    subject.since_ms = found.since.get();
    Answer {
        subject,
        result: match found.resolution {
            Resolution::NotApplied => None,
            Resolution::Applied(mut result) => {
                result.push(0);
                Some(result)
            }
        },
        evidence: text(found.evidence),
        actor: text(found.actor),
        resolved_at_ms: found.resolved_at.get(),
    }
}

/// Lists up to `max` (1 to 10,000) resolutions in the order of their doubts, from the one after `after` on; 0 begins at the first.
/// `*resolutions` is yours: free it with onceward_resolutions_free.
///
/// ONCEWARD_INVALID for a `max` out of range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_store_resolutions(
    store: *const onceward_store,
    after: u64,
    max: usize,
    resolutions: *mut *mut onceward_resolutions,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new("resolutions", resolutions) }?;
        let found = handles::get(store)?.store.resolutions((after != 0).then_some(after), max)?;
        handles::give(onceward_resolutions { answers: found.into_iter().map(answer).collect() }, &out);
        Ok(())
    })
}

/// How many resolutions the list has; 0 for what is no living handle.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_resolutions_count(resolutions: *const onceward_resolutions) -> usize {
    let mut count = 0;
    run(|| {
        count = handles::get(resolutions)?.answers.len();
        Ok(())
    });
    count
}

/// The doubt of the resolution at `index`, counted from 0, into `*view`. `view_size` is sizeof(onceward_doubt_view). ONCEWARD_INVALID
/// past the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_resolutions_get(
    resolutions: *const onceward_resolutions,
    index: usize,
    view: *mut onceward_doubt_view,
    view_size: usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let view = unsafe { View::new("view", view, view_size) }?;
        view.set(&at(&handles::get(resolutions)?.answers, index)?.subject.view());
        Ok(())
    })
}

/// How the doubt of the resolution at `index` was resolved, into `*answer`. `answer_size` is sizeof(onceward_resolution_view).
/// ONCEWARD_INVALID past the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_resolutions_answer(
    resolutions: *const onceward_resolutions,
    index: usize,
    answer: *mut onceward_resolution_view,
    answer_size: usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let answer = unsafe { View::new("answer", answer, answer_size) }?;
        let resolutions = handles::get(resolutions)?;
        let found = at(&resolutions.answers, index)?;
        answer.set(&onceward_resolution_view {
            resolution: if found.result.is_some() { ONCEWARD_APPLIED } else { ONCEWARD_NOT_APPLIED },
            result: found.result.as_ref().map_or(ptr::null(), |result| result.as_ptr().cast()),
            result_size: found.result.as_ref().map_or(0, |result| result.len() - 1),
            evidence: found.evidence.as_ptr(),
            actor: found.actor.as_ptr(),
            resolved_at_ms: found.resolved_at_ms,
        });
        Ok(())
    })
}

/// Frees the list; NULL is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_resolutions_free(resolutions: *mut onceward_resolutions) {
    handles::free(resolutions);
}
