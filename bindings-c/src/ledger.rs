//! Ledgers: effects made once outside of a queue, by keys of the application's own.

use std::ffi::{c_char, c_void};

use onceward::{Ledger, LedgerOptions};

use crate::border::{self, Options, Out, TextPlace};
use crate::handles::{self, Handle};
use crate::once::{self, Callbacks, onceward_bytes, onceward_callback, onceward_once_options};
use crate::queue::window;
use crate::status::run;
use crate::store::onceward_store;

/// Effects at third parties that are made once, by keys of the application's own. It may be shared between threads.
pub struct onceward_ledger {
    pub(crate) ledger: Ledger,
}

impl Handle for onceward_ledger {
    const KIND: &'static str = "onceward_ledger";
}

/// A ledger's settings. Set everything to zero, then size to sizeof(onceward_ledger_options), then what you need.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_ledger_options {
    /// sizeof(onceward_ledger_options).
    pub size: usize,
    /// How many milliseconds an effect that is done is remembered, or ONCEWARD_FOREVER; 0 for what stands in the file. Default: for
    /// ever. What is in doubt is never forgotten.
    pub window_ms: i64,
}

impl Options for onceward_ledger_options {
    const NAME: &'static str = "onceward_ledger_options";

    fn unset() -> Self {
        onceward_ledger_options { size: size_of::<Self>(), window_ms: 0 }
    }
}

/// The ledger of this name (1 to 512 bytes), created where it is missing. `options` may be NULL; those that are set are stored in the
/// file. `*ledger` is yours: free it with onceward_ledger_free.
///
/// ONCEWARD_INVALID for a name or an option out of its limits. One that exists is opened without waiting for anybody who writes;
/// ONCEWARD_BUSY or ONCEWARD_FULL when it is to be created, or an option to be stored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_ledger_open(
    store: *const onceward_store,
    name: *const c_char,
    options: *const onceward_ledger_options,
    ledger: *mut *mut onceward_ledger,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (out, name, given) = unsafe {
            (Out::new("ledger", ledger)?, border::text("the ledger's name", name)?, border::options(options)?)
        };
        let mut options = LedgerOptions::new();
        if let Some(window) = window("window_ms", given.window_ms)? {
            options = options.window(window);
        }
        let ledger = handles::get(store)?.store.ledger_with(name, &options)?;
        handles::give(onceward_ledger { ledger }, &out);
        Ok(())
    })
}

/// Makes the call once for this key (1 to 512 bytes), and keeps its result. Everything that onceward_delivery_once says of names holds
/// for keys; there is no message to park or to give up. `result` may be NULL; else `*result` is yours: free it with
/// onceward_bytes_free.
///
/// ONCEWARD_IN_DOUBT when nobody knows whether it happened, each time until it is resolved; ONCEWARD_FAILED when the call said that it
/// did not; ONCEWARD_BUSY when another caller is still at it after options->wait_ms, or while the probe's "it did not happen" does not
/// count yet; ONCEWARD_CONFLICT for another request under the same key; ONCEWARD_INVALID for a key or options out of their limits, and
/// for a result over 1 MiB (it happened, and is now in doubt).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_ledger_once(
    ledger: *const onceward_ledger,
    key: *const c_char,
    options: *const onceward_once_options,
    call: onceward_callback,
    probe: onceward_callback,
    context: *mut c_void,
    result: *mut *mut onceward_bytes,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (out, key, options) =
            unsafe { (once::result_place(result)?, border::text("the key", key)?, once::read(options)?) };
        let handle = handles::get(ledger)?;
        let made = Callbacks { call, probe, context }.make(
            |call| handle.ledger.once(key, &options, call),
            |call, probe| handle.ledger.once_or_probe(key, &options, call, probe),
        )?;
        once::give_result(made, out);
        Ok(())
    })
}

/// A key for third parties that recognise repetitions by one, into `key`, which has room for `key_size` bytes, at least
/// ONCEWARD_IDEMPOTENCY_KEY_SIZE: always the same for this ledger and effect, and no other effect's. It has the form of a UUID.
///
/// ONCEWARD_INVALID for a key out of its limits, or when there is too little room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_ledger_idempotency_key(
    ledger: *const onceward_ledger,
    effect: *const c_char,
    key: *mut c_char,
    key_size: usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (effect, key) =
            unsafe { (border::text("the effect's key", effect)?, TextPlace::new("key", key, key_size)?) };
        key.set(&handles::get(ledger)?.ledger.idempotency_key(effect)?)
    })
}

/// Frees the handle; NULL is left alone. The ledger itself stays in the file.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_ledger_free(ledger: *mut onceward_ledger) {
    handles::free(ledger);
}
