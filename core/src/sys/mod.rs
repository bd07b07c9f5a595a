//! Everything that needs the operating system by hand, behind a safe API: the only unsafe code of the crate.
//!
//! It owns:
//! - `files`: how our copy of SQLite opens, locks and closes files, so that a second copy of SQLite in the same process
//!   (Python's `sqlite3`, another extension) can use the same file. `pool` holds the descriptors behind it.
//! - `fork`: what a forked child may not inherit, and the number that tells a child from its parent.
//! - `side`: the side file `<db>-onceward`: shared words, one lock per open store; `turns` is its fair write lock.
//! - `boot`: the time since the machine was started, and which start that was.
//! - `event`: a flag that `poll` can wait for.
//! - `futex`: sleeping on a word until another thread or process changes it.
//! - `space`: free space, and file systems on which WAL cannot work.
//! - `version`: whether a database has changed.
//!
//! It must never know what a message is, run SQL, or read the wall clock.
//!
//! Invariants:
//! - No descriptor of a file that SQLite may have locked is closed unless no lock of this process can be lost by it.
//! - Each descriptor of ours that carries a lock is listed in `fork`, so that a forked child lets go of it at once.
//! - Words in shared memory only make things prompt; who holds what is decided by kernel locks alone.

pub(crate) mod boot;
pub(crate) mod event;
pub(crate) mod files;
pub(crate) mod fork;
pub(crate) mod futex;
mod os;
mod pool;
pub(crate) mod side;
pub(crate) mod space;
mod turns;
pub(crate) mod version;

#[cfg(test)]
mod tests;
