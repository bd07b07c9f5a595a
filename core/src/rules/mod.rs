//! The rules: what follows from what. Pure functions over plain values.
//!
//! Nothing here reads a clock, draws a random number, or knows of SQLite or the engine; both are built on top.

pub(crate) mod backoff;
pub(crate) mod effect;
pub(crate) mod interval;
pub(crate) mod isolation;
pub(crate) mod verdict;
