//! The halves of a call that is made once, for callers that cannot make it within a callback.

use std::ffi::{c_char, c_void};

use onceward::{Begun, Effect, Probe, ProcessMutex};

use crate::border::{self, Out, Place};
use crate::delivery::onceward_delivery;
use crate::handles::{self, Handle};
use crate::ledger::onceward_ledger;
use crate::once::{self, onceward_bytes, onceward_once_options};
use crate::status::{Failure, Outcome, run};

/// There is nothing to do: it happened before, and the result is that of then.
pub const ONCEWARD_TODO_NOTHING: i32 = 0;
/// It is on disk that the call starts: make it, then say how it ended with onceward_effect_ended.
pub const ONCEWARD_TODO_CALL: i32 = 1;
/// An earlier caller is gone, and whether its call took effect is not known: ask the third party, then say what it answered with
/// onceward_effect_probed. Only with ONCEWARD_PROBE.
pub const ONCEWARD_TODO_PROBE: i32 = 2;

/// A call that may be made now, or a question to be asked. As long as it lives, nobody else makes the same call. Freed without a word, a
/// call is in doubt, for nobody knows then; of a question nothing changes.
pub struct onceward_effect {
    open: ProcessMutex<Option<Open>>,
}

enum Open {
    Call(Effect),
    Probe(Probe),
}

impl Handle for onceward_effect {
    const KIND: &'static str = "onceward_effect";
}

/// The outputs of a beginning.
struct Outputs<'a> {
    todo: Place<'a, i32>,
    effect: Out<'a, onceward_effect>,
    result: Option<Out<'a, onceward_bytes>>,
}

impl Outputs<'_> {
    /// # Safety
    /// As the header asks of the outputs.
    unsafe fn new(
        todo: *mut i32,
        effect: *mut *mut onceward_effect,
        result: *mut *mut onceward_bytes,
    ) -> Outcome<Self> {
        // SAFETY: the caller's.
        unsafe {
            let outputs = Outputs {
                todo: Place::new("todo", todo)?,
                effect: Out::new("effect", effect)?,
                result: once::result_place(result)?,
            };
            outputs.todo.set(ONCEWARD_TODO_NOTHING);
            Ok(outputs)
        }
    }

    fn give(self, begun: Begun) {
        let open = match begun {
            Begun::Done(result) => return once::give_result(result, self.result),
            Begun::Call(effect) => Open::Call(effect),
            Begun::Probe(probe) => Open::Probe(probe),
        };
        self.todo.set(todo_of(&open));
        handles::give(onceward_effect { open: ProcessMutex::new(Some(open)) }, &self.effect);
    }
}

fn todo_of(open: &Open) -> i32 {
    match open {
        Open::Call(_) => ONCEWARD_TODO_CALL,
        Open::Probe(_) => ONCEWARD_TODO_PROBE,
    }
}

/// The first half of onceward_delivery_once, for a call that cannot be made within a callback: says in `*todo` what to do now,
/// ONCEWARD_TODO_CALL, ONCEWARD_TODO_PROBE or ONCEWARD_TODO_NOTHING. `*effect` is yours where there is something to do, else NULL: free
/// it with onceward_effect_free. `result` may be NULL; else `*result` is yours where nothing is to do: free it with
/// onceward_bytes_free.
///
/// The statuses are those of onceward_delivery_once before anything is called: ONCEWARD_IN_DOUBT, ONCEWARD_BUSY, ONCEWARD_LEASE_LOST
/// and ONCEWARD_INVALID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_delivery_once_begin(
    delivery: *const onceward_delivery,
    name: *const c_char,
    options: *const onceward_once_options,
    todo: *mut i32,
    effect: *mut *mut onceward_effect,
    result: *mut *mut onceward_bytes,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (outputs, name, options) = unsafe {
            (Outputs::new(todo, effect, result)?, border::text("the effect's name", name)?, once::read(options)?)
        };
        outputs.give(handles::get(delivery)?.delivery().begin_once(name, &options)?);
        Ok(())
    })
}

/// The first half of onceward_ledger_once, as onceward_delivery_once_begin is that of onceward_delivery_once.
///
/// The statuses are those of onceward_ledger_once before anything is called: ONCEWARD_IN_DOUBT, ONCEWARD_BUSY, ONCEWARD_CONFLICT and
/// ONCEWARD_INVALID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_ledger_once_begin(
    ledger: *const onceward_ledger,
    key: *const c_char,
    options: *const onceward_once_options,
    todo: *mut i32,
    effect: *mut *mut onceward_effect,
    result: *mut *mut onceward_bytes,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (outputs, key, options) =
            unsafe { (Outputs::new(todo, effect, result)?, border::text("the key", key)?, once::read(options)?) };
        outputs.give(handles::get(ledger)?.ledger.begin_once(key, &options)?);
        Ok(())
    })
}

/// Says how a call ended: ONCEWARD_CALL_DONE with its result (at most 1 MiB), or ONCEWARD_CALL_FAILED or ONCEWARD_CALL_UNKNOWN with words
/// (UTF-8, of which 4 KiB are kept); every other number counts as unknown. It is recorded even when the lease was lost meanwhile.
///
/// ONCEWARD_OK when it is done; ONCEWARD_FAILED and ONCEWARD_IN_DOUBT as from onceward_delivery_once, and so ONCEWARD_INVALID for a result
/// that is too long: it happened, and is now in doubt. ONCEWARD_STORAGE, ONCEWARD_FULL or ONCEWARD_BUSY when it could not be recorded yet: it
/// is as soon as it can be, while the store is open. Then it has been said: saying it again, or of what is no call, is ONCEWARD_INVALID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_effect_ended(
    effect: *const onceward_effect,
    outcome: i32,
    data: *const c_void,
    data_size: usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let data = unsafe { border::items("the data", data.cast::<u8>(), data_size) }?;
        let handle = handles::get(effect)?;
        let call = take_call(&handle)?;
        call.ended(once::called(outcome, data.to_vec())).map(drop)?;
        Ok(())
    })
}

/// Says that the call was never made: as if it had not begun.
///
/// ONCEWARD_STORAGE, ONCEWARD_FULL or ONCEWARD_BUSY when that could not be recorded yet; ONCEWARD_INVALID for what is no call, or has ended.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_effect_not_called(effect: *const onceward_effect) -> i32 {
    run(|| Ok(take_call(&*handles::get(effect)?)?.not_called()?))
}

fn take_call(effect: &onceward_effect) -> Outcome<Effect> {
    let mut open = effect.open.lock()?;
    match open.take() {
        Some(Open::Call(call)) => Ok(call),
        other => {
            let why = if other.is_some() { "is a question, and no call" } else { "has ended" };
            *open = other;
            Err(Failure::invalid(format!("the onceward_effect {why}")))
        }
    }
}

/// Says what the third party answered: ONCEWARD_PROBE_APPLIED with the result, ONCEWARD_PROBE_NOT_APPLIED, or ONCEWARD_PROBE_UNKNOWN with
/// words; every other number counts as unknown. `*todo` says what to do now: nothing, or the call, for which the same effect stands then.
/// `result` may be NULL; else `*result` is yours where nothing is to do.
///
/// ONCEWARD_IN_DOUBT when the answer is unknown: the message is parked. ONCEWARD_BUSY when "it did not happen" does not count yet: the
/// delivery was given back. ONCEWARD_LEASE_LOST; ONCEWARD_INVALID for a result over 1 MiB, and for what is no question, or was answered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_effect_probed(
    effect: *const onceward_effect,
    answer: i32,
    data: *const c_void,
    data_size: usize,
    todo: *mut i32,
    result: *mut *mut onceward_bytes,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (todo, result, data) = unsafe {
            let (todo, result) = (Place::new("todo", todo)?, once::result_place(result)?);
            todo.set(ONCEWARD_TODO_NOTHING);
            (todo, result, border::items("the data", data.cast::<u8>(), data_size)?)
        };
        let handle = handles::get(effect)?;
        let mut open = handle.open.lock()?;
        let probe = match open.take() {
            Some(Open::Probe(probe)) => probe,
            other => {
                let why = if other.is_some() { "is a call, and no question" } else { "has ended" };
                *open = other;
                return Err(Failure::invalid(format!("the onceward_effect {why}")));
            }
        };
        let begun = match once::probed(answer, data.to_vec()) {
            onceward::Probed::Applied(found) => Begun::Done(probe.applied(found)?),
            onceward::Probed::NotApplied => probe.not_applied()?,
            onceward::Probed::Unknown(why) => return Err(probe.unknown(&why).into()),
        };
        let now = match begun {
            Begun::Done(found) => {
                once::give_result(found, result);
                return Ok(());
            }
            Begun::Call(call) => Open::Call(call),
            Begun::Probe(probe) => Open::Probe(probe),
        };
        todo.set(todo_of(&now));
        *open = Some(now);
        Ok(())
    })
}

/// Frees the handle; NULL is left alone. A call of which it was not said how it ended is in doubt from now on.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_effect_free(effect: *mut onceward_effect) {
    handles::free(effect);
}
