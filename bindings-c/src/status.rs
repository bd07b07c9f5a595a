//! Statuses, the last error of a thread, and the border that no panic crosses.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use onceward::ErrorKind;

/// The call did what it says.
pub const ONCEWARD_OK: i32 = 0;
/// Correct the call: an argument is out of its limits, or is no living handle. Nothing was written.
pub const ONCEWARD_INVALID: i32 = 1;
/// Create it first, or look elsewhere: no such queue, subscription, message, doubt or file.
pub const ONCEWARD_NOT_FOUND: i32 = 2;
/// Decide which one is right: something else already stands under that name or key. Nothing was written.
pub const ONCEWARD_CONFLICT: i32 = 3;
/// Drop the work: the delivery has been given to someone else, or its message is no longer there.
pub const ONCEWARD_LEASE_LOST: i32 = 4;
/// Try again: others kept the store busy for longer than the busy timeout, or somebody is at the same effect.
pub const ONCEWARD_BUSY: i32 = 5;
/// Free disk space (or end the reader that the message names), then try again. Nothing was written.
pub const ONCEWARD_FULL: i32 = 6;
/// Open a store in this process: this one was closed, or it was opened before a fork.
pub const ONCEWARD_CLOSED: i32 = 7;
/// Stop and look: the file was moved, deleted or replaced while open. What was not acknowledged may be lost.
pub const ONCEWARD_DETACHED: i32 = 8;
/// Restore a backup or open another file: this one is no SQLite database, or it is damaged.
pub const ONCEWARD_CORRUPT: i32 = 9;
/// Look at the disk: the operating system reported an input/output error. The outcome of the call is unknown.
pub const ONCEWARD_STORAGE: i32 = 10;
/// Upgrade the library or move the file: its format is newer, or its file system cannot keep the promises.
pub const ONCEWARD_UNSUPPORTED: i32 = 11;
/// Grant access: the operating system refused to open or to write the file.
pub const ONCEWARD_DENIED: i32 = 12;
/// Correct the statement: the application's own SQL failed inside a transaction.
pub const ONCEWARD_SQL: i32 = 13;
/// Run the work again, faster: the transaction passed its time limit and was rolled back.
pub const ONCEWARD_EXPIRED: i32 = 14;
/// Find out what happened at the third party and resolve it: whether the call took effect is not known.
pub const ONCEWARD_IN_DOUBT: i32 = 15;
/// Repeat it later: the call is known not to have happened.
pub const ONCEWARD_FAILED: i32 = 16;
/// An error of a kind that this version of the C library has no number for.
pub const ONCEWARD_OTHER: i32 = 99;
/// No error: there was nothing to receive or to take away.
pub const ONCEWARD_EMPTY: i32 = 100;
/// No error: the key was sent before; nothing was written, and the id is that of the earlier message.
pub const ONCEWARD_DUPLICATE: i32 = 101;
/// No error of the call: some of the receipts had lost their lease and are listed; all others were settled.
pub const ONCEWARD_SOME_LOST: i32 = 102;
/// A defect of the library: it stopped at the border. The message says where. Close the store.
pub const ONCEWARD_PANIC: i32 = 255;

/// The version of the binary interface. It changes when programs built against an older header no longer work.
pub const ONCEWARD_ABI_VERSION: u32 = 0;

/// Why a call failed: its status, and words.
pub(crate) struct Failure {
    status: i32,
    message: String,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Failure { status: kind.code(), message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// The same, said of a part.
    pub(crate) fn within(self, part: &str) -> Self {
        Failure { status: self.status, message: format!("{part}: {}", self.message) }
    }
}

impl From<onceward::Error> for Failure {
    fn from(error: onceward::Error) -> Self {
        let code = error.kind().code();
        let status = if (1..=ONCEWARD_FAILED).contains(&code) { code } else { ONCEWARD_OTHER };
        Failure { status, message: error.message().to_owned() }
    }
}

/// What a call comes to: `Ok` with a status that is no error, or a failure.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

struct Last {
    status: i32,
    message: CString,
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

fn keep(failure: Failure) -> i32 {
    let Failure { status, message } = failure;
    let message = text(message);
    // A thread that is ending has no place for it any more: its status says the kind all the same.
    let _ = LAST.try_with(|last| *last.borrow_mut() = Some(Last { status, message }));
    status
}

/// A C string of this text, up to its first NUL.
pub(crate) fn text(text: impl Into<Vec<u8>>) -> CString {
    let mut bytes = text.into();
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    CString::new(bytes).unwrap_or_default()
}

/// Runs a call: no panic leaves it, and an error is kept for this thread.
pub(crate) fn guard(call: impl FnOnce() -> Outcome<i32>) -> i32 {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(status)) => status,
        Ok(Err(failure)) => keep(failure),
        Err(panic) => {
            let what = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no words");
            keep(Failure { status: ONCEWARD_PANIC, message: format!("a defect of the library: {what}") })
        }
    }
}

/// As [`guard`], for calls that only succeed or fail.
pub(crate) fn run(call: impl FnOnce() -> Outcome) -> i32 {
    guard(|| call().map(|()| ONCEWARD_OK))
}

/// The status of the last call that failed on this thread; ONCEWARD_OK when none has. Successful calls leave it as it is.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_error_status() -> i32 {
    LAST.try_with(|last| last.borrow().as_ref().map_or(ONCEWARD_OK, |last| last.status)).unwrap_or(ONCEWARD_OK)
}

/// What happened in the last call that failed on this thread: lowercase UTF-8, naming the value and the limit. Empty when
/// none has failed. Never NULL. It stands until the next call that fails on this thread, or until the thread ends.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_error_message() -> *const c_char {
    const NONE: &CStr = c"";
    LAST.try_with(|last| last.borrow().as_ref().map_or(NONE.as_ptr(), |last| last.message.as_ptr()))
        .unwrap_or(NONE.as_ptr())
}

/// The name of a status, the same in every language: "LeaseLost" for ONCEWARD_LEASE_LOST, for instance. "Unknown" for a
/// number that is none. A constant; never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_status_name(status: i32) -> *const c_char {
    let name = match status {
        ONCEWARD_OK => c"Ok",
        ONCEWARD_INVALID => c"Invalid",
        ONCEWARD_NOT_FOUND => c"NotFound",
        ONCEWARD_CONFLICT => c"Conflict",
        ONCEWARD_LEASE_LOST => c"LeaseLost",
        ONCEWARD_BUSY => c"Busy",
        ONCEWARD_FULL => c"Full",
        ONCEWARD_CLOSED => c"Closed",
        ONCEWARD_DETACHED => c"Detached",
        ONCEWARD_CORRUPT => c"Corrupt",
        ONCEWARD_STORAGE => c"Storage",
        ONCEWARD_UNSUPPORTED => c"Unsupported",
        ONCEWARD_DENIED => c"Denied",
        ONCEWARD_SQL => c"Sql",
        ONCEWARD_EXPIRED => c"Expired",
        ONCEWARD_IN_DOUBT => c"InDoubt",
        ONCEWARD_FAILED => c"Failed",
        ONCEWARD_OTHER => c"Other",
        ONCEWARD_EMPTY => c"Empty",
        ONCEWARD_DUPLICATE => c"Duplicate",
        ONCEWARD_SOME_LOST => c"SomeLost",
        ONCEWARD_PANIC => c"Panic",
        _ => c"Unknown",
    };
    name.as_ptr()
}

/// The version of the binary interface that this library has. Compare it with ONCEWARD_ABI_VERSION of your header.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_abi_version() -> u32 {
    ONCEWARD_ABI_VERSION
}

/// The version of the library, "0.1.0" for instance. A constant.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// The version of the SQLite inside. A constant.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_sqlite_version() -> *const c_char {
    rusqlite::ffi::SQLITE_VERSION.as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last() -> (i32, String) {
        // SAFETY: never NULL, and ended by NUL.
        let message = unsafe { CStr::from_ptr(onceward_error_message()) };
        (onceward_error_status(), message.to_str().expect("UTF-8").to_owned())
    }

    #[test]
    fn a_panic_stops_at_the_border() {
        assert_eq!(run(|| panic!("number {}", 7)), ONCEWARD_PANIC);
        assert_eq!(last(), (ONCEWARD_PANIC, "a defect of the library: number 7".to_owned()));
        assert_eq!(guard(|| Ok(ONCEWARD_EMPTY)), ONCEWARD_EMPTY);
        assert_eq!(last().0, ONCEWARD_PANIC, "what succeeds leaves the last error as it is");
    }

    #[test]
    fn every_kind_of_error_has_its_number_and_its_name() {
        for kind in ErrorKind::ALL {
            let status = run(|| Err(Failure::new(kind, "words\0and more")));
            assert_eq!(status, kind.code());
            assert_eq!(last(), (status, "words".to_owned()));
            // SAFETY: never NULL, and ended by NUL.
            let name = unsafe { CStr::from_ptr(onceward_status_name(status)) };
            assert_eq!(name.to_str(), Ok(kind.name()));
        }
        assert_eq!(ErrorKind::ALL.len(), ONCEWARD_FAILED as usize, "a new kind needs a status");
    }

    #[test]
    fn an_error_is_its_threads_own() {
        run(|| Err(Failure::invalid("ours")));
        std::thread::spawn(|| assert_eq!(last(), (ONCEWARD_OK, String::new()))).join().expect("the thread ends");
        assert_eq!(last(), (ONCEWARD_INVALID, "ours".to_owned()));
    }
}
