//! The C library: converts arguments, makes one call of the core, maps the error. No SQL and no rules.
//!
//! Every exported function is safe to reach with any handle: handles are looked up in a table (`handles`), so that NULL, one
//! that was freed, one of another type and one that never was are told apart from one that lives, without touching what they
//! point to. What cannot be checked is what every C interface takes on trust: that a text ends with NUL, that an array has as
//! many items as was said, and that an output has room. `border` and `handles` hold nearly all of the unsafe code.
//!
//! Each call runs behind `guard`: a panic never leaves it, and an error is kept for the thread.

#![allow(unsafe_code, reason = "a C interface reads and writes what C points to")]
#![allow(non_camel_case_types, reason = "types are named here as they are in the header")]
#![allow(clippy::missing_safety_doc, reason = "the header says for each function what its arguments must be")]
#![allow(clippy::doc_markdown, reason = "the documentation is written for the header, which is no Markdown")]

pub mod border;
pub mod consumer;
pub mod delivery;
pub mod doubt;
pub mod handles;
pub mod ledger;
pub mod listing;
pub mod message;
pub mod once;
pub mod queue;
pub mod receive;
pub mod settle;
pub mod status;
pub mod store;
pub mod subscription;
pub mod transaction;
