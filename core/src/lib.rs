//! Onceward: an embedded, durable message queue and deduplication ledger over one SQLite file.
//!
//! A program that already has a disk gets queues that keep one of three promises, under `kill -9` at any instruction and
//! power loss at any write:
//!
//! | semantics | promise |
//! | --- | --- |
//! | [`AtMostOnce`](Semantics::AtMostOnce) | handed over at most once, ever; may be lost |
//! | [`AtLeastOnce`](Semantics::AtLeastOnce) | never lost; may be handed over again |
//! | [`ExactlyOnce`](Semantics::ExactlyOnce) | a repeated send is one message, and its effects are committed with its acknowledgement |
//!
//! Open a [`Store`], get a [`Queue`], [`send`](Queue::send) to it, [`receive`](Queue::receive) or
//! [`consume`](Queue::consume) from it. Several threads and processes may share one file; no server is involved.
//!
//! ```
//! use onceward::{ConsumeOptions, Message, Semantics, Store};
//! use std::time::Duration;
//!
//! let store = Store::open(":memory:")?;
//! let payments = store.queue("payments", Semantics::ExactlyOnce)?;
//! payments.send(Message::new("1999 cents").key("order-42"))?;
//! assert!(payments.send(Message::new("1999 cents").key("order-42"))?.duplicate);
//!
//! for delivery in payments.consume(ConsumeOptions::new().wait(Duration::ZERO))? {
//!     let delivery = delivery?;
//!     assert_eq!(delivery.body(), b"1999 cents");
//!     delivery.ack()?;
//! }
//! # Ok::<(), onceward::Error>(())
//! ```
//!
//! No promise depends on a clock: clocks decide only when a message is offered again. Who may settle a delivery is decided
//! by its fencing [`Token`]. Errors are of one type, [`Error`], whose [`kind`](Error::kind) says what to do.
//!
//! Linux only, for now: the locks that make it safe beside another SQLite in the same process are Linux's.

#[cfg(not(target_os = "linux"))]
compile_error!("onceward needs Linux: it locks files with open file description locks");

#[cfg(feature = "tokio")]
mod asynchronous;
mod clock;
mod consumer;
mod delivery;
mod delivery_once;
mod effect;
mod engine;
mod error;
mod failpoint;
mod in_doubt;
mod ledger;
pub mod limits;
mod message;
mod once;
mod process_mutex;
mod queue;
mod queue_default;
mod readiness;
mod rules;
mod semantics;
mod storage;
mod store;
mod subscription;
#[allow(
    unsafe_code,
    reason = "locks, futexes and shared memory are the operating system's; beside it only engine::sending is unsafe"
)]
mod sys;
mod transaction;
mod types;

pub use clock::{Clock, Liveness, ManualClock, Random, SeededRandom, Steady, SystemClock};
pub use consumer::{ConsumeOptions, Consumer, FlushHandle, StopHandle};
pub use delivery::{Delivery, Nack};
pub use effect::{Begun, Effect, Probe};
pub use engine::operation::Sent;
pub use error::{Error, ErrorKind, Result};
pub use in_doubt::{EffectOf, InDoubt, Resolution, Resolved};
pub use ledger::{Ledger, LedgerOptions};
pub use message::{HeaderValue, Headers, Message};
pub use once::{Called, OnUnknown, OnceOptions, Probed};
pub use process_mutex::ProcessMutex;
pub use queue::{DEFAULT_SUBSCRIPTION, Queue, QueueOptions, QueueSettings, Start, Window};
pub use readiness::Readiness;
pub use rules::backoff::Backoff;
pub use semantics::Semantics;
pub use store::{IN_MEMORY, Store, StoreOptions, StoreStats};
pub use subscription::{DeadLetter, Peeked, ReceiveOptions, Stats, Subscription};
pub use transaction::{Rows, Transaction, Value};
pub use types::{MessageId, Millis, Receipt, Token};

/// The example of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
