//! Stores: opening, closing, and what concerns the whole file.

use std::ffi::{OsStr, c_char};
use std::os::unix::ffi::OsStrExt;

use onceward::{Store, StoreOptions};

use crate::border::{self, Options, Out, View};
use crate::handles::{self, Handle};
use crate::listing::onceward_names;
use crate::status::{Outcome, run};

/// An open store: one SQLite file with its queues and its ledgers. It may be shared between threads. It belongs to the process
/// that opened it: in a forked child every call fails with ONCEWARD_CLOSED, and the child opens its own.
pub struct onceward_store {
    pub(crate) store: Store,
}

impl Handle for onceward_store {
    const KIND: &'static str = "onceward_store";
}

/// How to open a store. Set everything to zero, then size to sizeof(onceward_store_options), then what you need: zero stands
/// for the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_store_options {
    /// sizeof(onceward_store_options).
    pub size: usize,
    /// How many milliseconds a call waits for other writers before it fails with ONCEWARD_BUSY. Default: 5,000.
    pub busy_timeout_ms: i64,
    /// How many milliseconds a transaction may take from its first statement on. Default: 5,000.
    pub transaction_time_limit_ms: i64,
    /// The longest body that this store sends, in bytes. Default: 1 MiB; at most 256 MiB.
    pub body_bytes_max: usize,
    /// The write-ahead log's size past which sends fail with ONCEWARD_FULL, in bytes. Default: 256 MiB; at least 32 MiB.
    pub wal_bytes_max: u64,
    /// Not zero to fail with ONCEWARD_NOT_FOUND where the file is missing, instead of creating it with mode 0600.
    pub must_exist: i32,
    /// Not zero to open the file even on NFS, SMB and the like, where it is safe for processes of one machine at best.
    pub allow_remote_file_system: i32,
}

impl Options for onceward_store_options {
    const NAME: &'static str = "onceward_store_options";

    fn unset() -> Self {
        onceward_store_options {
            size: size_of::<Self>(),
            busy_timeout_ms: 0,
            transaction_time_limit_ms: 0,
            body_bytes_max: 0,
            wal_bytes_max: 0,
            must_exist: 0,
            allow_remote_file_system: 0,
        }
    }
}

fn store_options(given: &onceward_store_options) -> Outcome<StoreOptions> {
    let mut options =
        StoreOptions::new().create(given.must_exist == 0).allow_remote_file_system(given.allow_remote_file_system != 0);
    if let Some(timeout) = border::duration("busy_timeout_ms", given.busy_timeout_ms)? {
        options = options.busy_timeout(timeout);
    }
    if let Some(limit) = border::duration("transaction_time_limit_ms", given.transaction_time_limit_ms)? {
        options = options.transaction_time_limit(limit);
    }
    if given.body_bytes_max != 0 {
        options = options.body_bytes_max(given.body_bytes_max);
    }
    if given.wal_bytes_max != 0 {
        options = options.wal_bytes_max(given.wal_bytes_max);
    }
    Ok(options)
}

/// Opens the file, creating it where it is missing. The path ":memory:" opens a store in memory, for tests. `options` may be
/// NULL. `*store` is yours: close it with onceward_store_close, free it with onceward_store_free.
///
/// ONCEWARD_INVALID for a directory, for another application's file, or for an option out of range; ONCEWARD_NOT_FOUND for
/// a missing folder, or a missing file that must exist; ONCEWARD_DENIED, ONCEWARD_CORRUPT, ONCEWARD_UNSUPPORTED, ONCEWARD_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_store_open(
    path: *const c_char,
    options: *const onceward_store_options,
    store: *mut *mut onceward_store,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (store, path, options) = unsafe {
            let store = Out::new("store", store)?;
            border::filled("the path", path)?;
            (store, std::ffi::CStr::from_ptr(path), border::options(options)?)
        };
        let path = OsStr::from_bytes(path.to_bytes());
        handles::give(onceward_store { store: store_options(&options)?.open(path)? }, &store);
        Ok(())
    })
}

/// Closes the store for every handle made from it: what it held in flight is offered again, and every later call fails with
/// ONCEWARD_CLOSED. Closing again does nothing, and nothing is done in a forked child. The handles, this one too, still have to be freed.
///
/// ONCEWARD_STORAGE when the file could not be brought to an end as it should; it is closed all the same.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_store_close(store: *const onceward_store) -> i32 {
    run(|| Ok(handles::get(store)?.store.close()?))
}

/// Frees the handle; NULL is left alone. The store stays open as long as a handle made from it lives, unless it was closed.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_store_free(store: *mut onceward_store) {
    handles::free(store);
}

/// The names of all queues, sorted. `*names` is yours: free it with onceward_names_free.
///
/// Gives the common statuses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_store_queues(store: *const onceward_store, names: *mut *mut onceward_names) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let names = unsafe { Out::new("names", names) }?;
        handles::give(onceward_names::new(handles::get(store)?.store.queues()?), &names);
        Ok(())
    })
}

/// The names of all ledgers, sorted. `*names` is yours: free it with onceward_names_free.
///
/// Gives the common statuses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_store_ledgers(store: *const onceward_store, names: *mut *mut onceward_names) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let names = unsafe { Out::new("names", names) }?;
        handles::give(onceward_names::new(handles::get(store)?.store.ledgers()?), &names);
        Ok(())
    })
}

/// What can be said of the whole file.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_store_stats {
    /// The database's size on disk, in bytes; in memory, of its pages.
    pub file_bytes: u64,
    /// The size of the part of the write-ahead log in use, in bytes.
    pub wal_bytes: u64,
    /// Effects at third parties whose outcome is not known.
    pub in_doubt: u64,
    /// The number of queues.
    pub queues: u64,
}

/// Statistics of the whole file, into `*stats`. `stats_size` is sizeof(onceward_store_stats).
///
/// ONCEWARD_INVALID for a size out of range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_store_get_stats(
    store: *const onceward_store,
    stats: *mut onceward_store_stats,
    stats_size: usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let stats = unsafe { View::new("stats", stats, stats_size) }?;
        let found = handles::get(store)?.store.stats()?;
        stats.set(&onceward_store_stats {
            file_bytes: found.file_bytes,
            wal_bytes: found.wal_bytes,
            in_doubt: found.in_doubt,
            queues: found.queues,
        });
        Ok(())
    })
}
