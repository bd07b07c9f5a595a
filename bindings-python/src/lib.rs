//! The Python module `onceward._onceward`: converts arguments, makes one call of the core, converts the result or the error.
//!
//! It must never hold SQL or a rule of the queue. Its invariants: the GIL is released around every storage call
//! ([`errors::call`] is the only way into the core); no lock is held while waiting for the GIL; no thread made in Rust ever
//! enters Python; a call that waits looks for signals every [`wait::SLICE`]; a panic of the core becomes an exception.
// Python's keyword arguments arrive as one Rust parameter each, by value.
#![allow(clippy::too_many_arguments, clippy::needless_pass_by_value)]
// Comments on classes and methods are Python docstrings, which mark up names their own way.
#![allow(clippy::doc_markdown)]

mod consumer;
mod convert;
mod delivery;
mod effect;
mod errors;
mod ledger;
mod message;
mod queue;
mod receiver;
mod results;
mod store;
mod transaction;
mod wait;

use pyo3::prelude::*;

/// The compiled part of the package `onceward`; import that one instead.
#[pymodule(gil_used = false)]
mod _onceward {
    #[pymodule_export]
    use super::consumer::Consumer;
    #[pymodule_export]
    use super::delivery::{Delivery, Receipt};
    #[pymodule_export]
    use super::effect::{Effect, Options, Probe};
    #[pymodule_export]
    use super::ledger::{InDoubt, Ledger, Resolved};
    #[pymodule_export]
    use super::message::Message;
    #[pymodule_export]
    use super::queue::Queue;
    #[pymodule_export]
    use super::receiver::{Receiver, Subscription};
    #[pymodule_export]
    use super::results::{Backoff, DeadLetter, Peeked, QueueSettings, Sent, Stats, StoreStats};
    #[pymodule_export]
    use super::store::{Store, open};
    #[pymodule_export]
    use super::transaction::{Rows, Transaction};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        super::errors::load_classes(module.py())
    }
}
