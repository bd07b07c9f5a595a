//! The native part of the Node module: converts arguments, makes one call of the core off the event loop, converts the
//! result or the error.
//!
//! It must never hold SQL or a rule of the queue. Its invariants: no call that can wait runs on the event loop, dropping a
//! handle included ([`work::Released`]); what waits runs on threads of this module, never on libuv's pool; only a call that
//! runs keeps the process alive, no open store does. The classes that users see are in `lib/`, in JavaScript.
#![allow(unsafe_code, reason = "what napi's macros generate; nothing here is unsafe by hand")]
#![allow(missing_docs, unreachable_pub, reason = "only lib/ sees these names; index.d.cts documents what users see")]
#![allow(clippy::needless_pass_by_value, reason = "arguments arrive from JavaScript by value")]

mod consumer;
mod convert;
mod delivery;
mod effect;
mod ledger;
mod source;
mod store;
mod transaction;
mod work;

use napi_derive::napi;
pub use store::{OpenOptions, open};

/// Threads that calls of short duration may run on at a time; further ones wait for one of them.
const SHORT_CALLS_MAX: usize = 32;

#[napi_derive::module_init]
fn start() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(SHORT_CALLS_MAX)
        .thread_name("onceward-node")
        .enable_all()
        .build()
        .expect("invariant: the operating system gives us one thread");
    napi::bindgen_prelude::create_custom_tokio_runtime(runtime);
}

/// The version of the library.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The names of the error kinds, in the order of their numbers from 1.
#[napi]
pub fn kinds() -> Vec<&'static str> {
    onceward::ErrorKind::ALL.iter().map(|kind| kind.name()).collect()
}
