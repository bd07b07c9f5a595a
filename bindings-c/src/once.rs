//! Calls at a third party that are made once: options, callbacks, results.

use std::ffi::{c_char, c_void};
use std::sync::{Mutex, PoisonError};

use onceward::{Called, OnceOptions, Probed};

use crate::border::{self, Options, Out};
use crate::delivery::onceward_delivery;
use crate::handles::{self, Handle};
use crate::status::{Failure, Outcome, run};

/// An effect whose outcome nobody knows waits, listed, for a person to decide. A message waits with it, and is offered to nobody.
pub const ONCEWARD_PARK: i32 = 1;
/// The third party is asked whether it happened.
pub const ONCEWARD_PROBE: i32 = 2;
/// It is listed as in doubt, and a message goes to the dead letters at once.
pub const ONCEWARD_FAIL: i32 = 3;

/// A call happened. What was put down with onceward_outcome_set is its result.
pub const ONCEWARD_CALL_DONE: i32 = 0;
/// A call is known not to have happened, and may be made again. What was put down says why.
pub const ONCEWARD_CALL_FAILED: i32 = 1;
/// A call may have happened or not: a time-out, a broken connection. What was put down says what is known.
pub const ONCEWARD_CALL_UNKNOWN: i32 = 2;

/// A probe found that it happened. What was put down is its result.
pub const ONCEWARD_PROBE_APPLIED: i32 = 0;
/// A probe found that it did not happen.
pub const ONCEWARD_PROBE_NOT_APPLIED: i32 = 1;
/// A probe cannot tell. What was put down says why.
pub const ONCEWARD_PROBE_UNKNOWN: i32 = 2;

/// How an effect is made once. Set everything to zero, then size to sizeof(onceward_once_options), then on_unknown, which has no
/// default, and what else you need.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_once_options {
    /// sizeof(onceward_once_options).
    pub size: usize,
    /// What becomes of an effect whose outcome nobody knows: ONCEWARD_PARK, ONCEWARD_PROBE or ONCEWARD_FAIL. Required: only you know
    /// the third party.
    pub on_unknown: i32,
    /// With ONCEWARD_PROBE, and required there: "it did not happen" counts only when it was asked this many milliseconds after the
    /// earlier caller was found to be gone. Choose it longer than any request can take to arrive and be carried out.
    pub settle_ms: i64,
    /// For how many milliseconds the third party recognises repetitions by the idempotency key; 0 when it does not. Within this time of
    /// the first call an unknown outcome is simply called again. Declare it shorter than the third party does.
    pub idempotent_for_ms: i64,
    /// Of a ledger only: how many milliseconds to wait for somebody who is at the same effect, at most 24 h; 0 for not at all.
    pub wait_ms: i64,
    /// Of a ledger only: what is asked of the third party, or NULL. The same key with another request is a conflict.
    pub request: *const c_void,
    /// How many bytes the request has.
    pub request_size: usize,
}

impl Options for onceward_once_options {
    const NAME: &'static str = "onceward_once_options";

    fn unset() -> Self {
        onceward_once_options {
            size: size_of::<Self>(),
            on_unknown: 0,
            settle_ms: 0,
            idempotent_for_ms: 0,
            wait_ms: 0,
            request: std::ptr::null(),
            request_size: 0,
        }
    }
}

/// # Safety
/// `pointer` is as the header asks.
pub(crate) unsafe fn read(pointer: *const onceward_once_options) -> Outcome<OnceOptions> {
    if pointer.is_null() {
        return Err(Failure::invalid("the options are NULL; on_unknown has no default"));
    }
    // SAFETY: the caller's.
    let given = unsafe { border::options(pointer) }?;
    let settle = border::duration("settle_ms", given.settle_ms)?;
    let mut options = match (given.on_unknown, settle) {
        (ONCEWARD_PARK, None) => OnceOptions::park(),
        (ONCEWARD_FAIL, None) => OnceOptions::fail(),
        (ONCEWARD_PROBE, Some(settle)) => OnceOptions::probe(settle),
        (ONCEWARD_PROBE, None) => {
            return Err(Failure::invalid(
                "settle_ms is 0; a probe needs at least 1: how long a request may be under way",
            ));
        }
        (ONCEWARD_PARK | ONCEWARD_FAIL, Some(_)) => {
            return Err(Failure::invalid("settle_ms is set, and on_unknown is not ONCEWARD_PROBE"));
        }
        (other, _) => {
            return Err(Failure::invalid(format!(
                "on_unknown is {other}; it takes ONCEWARD_PARK, ONCEWARD_PROBE or ONCEWARD_FAIL, and has no default"
            )));
        }
    };
    if let Some(window) = border::duration("idempotent_for_ms", given.idempotent_for_ms)? {
        options = options.idempotent_for(window);
    }
    if let Some(wait) = border::duration("wait_ms", given.wait_ms)? {
        options = options.wait(wait);
    }
    if !given.request.is_null() || given.request_size != 0 {
        // SAFETY: the caller's.
        let request = unsafe { border::items("the request", given.request.cast::<u8>(), given.request_size) }?;
        options = options.request(request);
    }
    Ok(options)
}

/// Where a callback puts down the result, or the words, of what it returns. It lives as long as the callback runs.
pub struct onceward_outcome {
    data: Mutex<Vec<u8>>,
}

impl Handle for onceward_outcome {
    const KIND: &'static str = "onceward_outcome";
}

/// Puts down the result of a call or a probe (at most 1 MiB), or the words that say why it failed or is unknown (UTF-8, of which 4 KiB
/// are kept). It is copied. What was put down before is replaced.
///
/// ONCEWARD_INVALID outside of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_outcome_set(
    outcome: *mut onceward_outcome,
    data: *const c_void,
    data_size: usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let data = unsafe { border::items("the data", data.cast::<u8>(), data_size) }?.to_vec();
        *handles::get(outcome)?.data.lock().unwrap_or_else(PoisonError::into_inner) = data;
        Ok(())
    })
}

/// A call at a third party, or a probe of one. It is given the context that was passed along, and where to put down what came of it;
/// it returns one of ONCEWARD_CALL_DONE and so on, or of ONCEWARD_PROBE_APPLIED and so on. Any other number counts as unknown.
///
/// It runs on the thread that asked for the effect. It may call this library. No C++ exception may leave it: the process ends
/// then, and the effect is in doubt. What a longjmp out of it does is undefined.
pub type onceward_callback = Option<unsafe extern "C" fn(context: *mut c_void, outcome: *mut onceward_outcome) -> i32>;

/// The two callbacks of an effect.
#[derive(Clone, Copy)]
pub(crate) struct Callbacks {
    pub(crate) call: onceward_callback,
    pub(crate) probe: onceward_callback,
    pub(crate) context: *mut c_void,
}

impl Callbacks {
    /// Runs one, and takes what it put down. What cannot be run says nothing.
    fn run(&self, callback: onceward_callback) -> (i32, Vec<u8>) {
        let (mut pointer, Some(callback)) = (std::ptr::null_mut(), callback) else { return (-1, Vec::new()) };
        // SAFETY: `pointer` has room and outlives `out`.
        let Ok(out) = (unsafe { Out::new("outcome", &raw mut pointer) }) else { return (-1, Vec::new()) };
        handles::give(onceward_outcome { data: Mutex::default() }, &out);
        let outcome = handles::get(pointer);
        // SAFETY: the caller of the library says that it is such a function, for this context.
        let returned = unsafe { callback(self.context, pointer) };
        handles::free(pointer);
        let data =
            outcome.map(|outcome| std::mem::take(&mut *outcome.data.lock().unwrap_or_else(PoisonError::into_inner)));
        (returned, data.unwrap_or_default())
    }

    fn called(&self) -> Called {
        let (outcome, data) = self.run(self.call);
        called(outcome, data)
    }

    fn probed(&self) -> Probed {
        let (answer, data) = self.run(self.probe);
        probed(answer, data)
    }

    /// Makes the effect, with the probe if there is one.
    pub(crate) fn make(
        &self,
        once: impl FnOnce(&mut dyn FnMut() -> Called) -> onceward::Result<Vec<u8>>,
        once_or_probe: impl FnOnce(&mut dyn FnMut() -> Called, &mut dyn FnMut() -> Probed) -> onceward::Result<Vec<u8>>,
    ) -> Outcome<Vec<u8>> {
        if self.call.is_none() {
            return Err(Failure::invalid("the call is NULL"));
        }
        let made = match self.probe {
            None => once(&mut || self.called()),
            Some(_) => once_or_probe(&mut || self.called(), &mut || self.probed()),
        };
        Ok(made?)
    }
}

/// How a call ended, by its number and what was put down.
pub(crate) fn called(outcome: i32, data: Vec<u8>) -> Called {
    match outcome {
        ONCEWARD_CALL_DONE => Called::Done(data),
        ONCEWARD_CALL_FAILED => Called::Failed(words(&data, "the call said that it failed")),
        ONCEWARD_CALL_UNKNOWN => Called::Unknown(words(&data, "the call does not know whether it happened")),
        other => Called::Unknown(words(&data, &format!("the call returned {other}, which is no outcome"))),
    }
}

/// What a third party answered, by its number and what was put down.
pub(crate) fn probed(answer: i32, data: Vec<u8>) -> Probed {
    match answer {
        ONCEWARD_PROBE_APPLIED => Probed::Applied(data),
        ONCEWARD_PROBE_NOT_APPLIED => Probed::NotApplied,
        ONCEWARD_PROBE_UNKNOWN => Probed::Unknown(words(&data, "the probe cannot tell")),
        other => Probed::Unknown(words(&data, &format!("the probe returned {other}, which is no answer"))),
    }
}

fn words(given: &[u8], otherwise: &str) -> String {
    if given.is_empty() { otherwise.to_owned() } else { String::from_utf8_lossy(given).into_owned() }
}

/// Makes a call at a third party once for this message, under a name (1 to 512 bytes), and keeps its result.
///
/// That the call starts is on disk before it is made, and how it ended before this returns. Asked for again, in a later delivery of
/// the message, after a crash, a retry or a redrive, the kept result is returned and nothing is called. When a caller is gone in
/// between, nobody knows, and the call is not repeated before somebody does: options->on_unknown says how. `probe` is NULL, unless that
/// is ONCEWARD_PROBE. `context` is passed to both. `result` may be NULL; else `*result` is yours: free it with onceward_bytes_free.
/// Settle the delivery afterwards.
///
/// ONCEWARD_IN_DOUBT when nobody knows whether it happened; ONCEWARD_FAILED when the call said that it did not; ONCEWARD_BUSY when
/// another caller is at it. After ONCEWARD_IN_DOUBT and such an ONCEWARD_BUSY the delivery is settled: parked, dead-lettered or given
/// back, as the error says. ONCEWARD_LEASE_LOST before anything is called. ONCEWARD_INVALID for options or a name out of their limits, a
/// name used before in this delivery, on an at-most-once queue, and for a result over 1 MiB (it happened, and is now in doubt).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_delivery_once(
    delivery: *const onceward_delivery,
    name: *const c_char,
    options: *const onceward_once_options,
    call: onceward_callback,
    probe: onceward_callback,
    context: *mut c_void,
    result: *mut *mut onceward_bytes,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (out, name, options) =
            unsafe { (result_place(result)?, border::text("the effect's name", name)?, read(options)?) };
        let handle = handles::get(delivery)?;
        let delivery = handle.delivery();
        let made = Callbacks { call, probe, context }.make(
            |call| delivery.once(name, &options, call),
            |call, probe| delivery.once_or_probe(name, &options, call, probe),
        )?;
        give_result(made, out);
        Ok(())
    })
}

/// Where a result goes, or nowhere.
///
/// # Safety
/// `result` is NULL or has room for a handle.
pub(crate) unsafe fn result_place<'a>(result: *mut *mut onceward_bytes) -> Outcome<Option<Out<'a, onceward_bytes>>> {
    // SAFETY: the caller's.
    border::or_nowhere(result, |result| unsafe { Out::new("result", result) })
}

pub(crate) fn give_result(mut bytes: Vec<u8>, out: Option<Out<'_, onceward_bytes>>) {
    if let Some(out) = out {
        bytes.push(0);
        handles::give(onceward_bytes { bytes }, &out);
    }
}

/// Bytes: the result of an effect.
pub struct onceward_bytes {
    /// With a NUL at the end.
    bytes: Vec<u8>,
}

impl Handle for onceward_bytes {
    const KIND: &'static str = "onceward_bytes";
}

/// The bytes, followed by a NUL that onceward_bytes_size does not count. They live as long as the handle; NULL for what is no living
/// handle.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_bytes_data(bytes: *const onceward_bytes) -> *const c_void {
    let mut data = std::ptr::null();
    run(|| {
        data = handles::get(bytes)?.bytes.as_ptr().cast();
        Ok(())
    });
    data
}

/// How many bytes there are; 0 for what is no living handle.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_bytes_size(bytes: *const onceward_bytes) -> usize {
    let mut size = 0;
    run(|| {
        size = handles::get(bytes)?.bytes.len() - 1;
        Ok(())
    });
    size
}

/// Frees the bytes; NULL is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_bytes_free(bytes: *mut onceward_bytes) {
    handles::free(bytes);
}
