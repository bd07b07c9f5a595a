//! Hostile tests of Onceward: what its promises are worth when the power goes, the disk fails or fills, and processes
//! are killed.
//!
//! A real driver process runs a workload; a preloaded library records, or breaks, what it does to its disk; a history
//! says what the process was promised; and one pure checker ([`history`]) decides whether the promises held.
#![cfg(target_os = "linux")]

pub mod actor;
pub mod audit;
pub mod effects;
pub mod faults;
pub mod full;
pub mod history;
pub mod house;
pub mod journal;
pub mod kills;
pub mod plain;
pub mod power;
pub mod process;
pub mod random;
pub mod survey;
pub mod trace;
pub mod workload;
