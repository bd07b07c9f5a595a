//! Sleeping until a 32-bit word changes.
//!
//! It owns no state. It must never be what correctness depends on: a waiter may be woken for nothing, and a waiter whose
//! waker died is woken by nobody, so every caller looks again and limits its wait.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps while `word` is `expected`, among threads of this process. Returns false only if the time ran out.
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> bool {
    futex_wait(word, expected, timeout, libc::FUTEX_PRIVATE_FLAG)
}

/// Wakes up to `count` threads that sleep in [`wait`] on `word`.
pub(crate) fn wake(word: &AtomicU32, count: u32) {
    futex_wake(word, count, libc::FUTEX_PRIVATE_FLAG);
}

/// As [`wait`], for a word in memory that several processes map.
pub(crate) fn wait_shared(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> bool {
    futex_wait(word, expected, timeout, 0)
}

/// As [`wake`], for a word in memory that several processes map.
pub(crate) fn wake_shared(word: &AtomicU32, count: u32) {
    futex_wake(word, count, 0);
}

fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>, flag: libc::c_int) -> bool {
    // SAFETY: `timespec` is a plain C structure for which all zeros is a valid value.
    let mut limit: libc::timespec = unsafe { std::mem::zeroed() };
    let mut limit_ptr = std::ptr::null::<libc::timespec>();
    if let Some(timeout) = timeout {
        // A century is as good as for ever, and cannot overflow `time_t`.
        limit.tv_sec = timeout.as_secs().min(3_000_000_000) as libc::time_t;
        limit.tv_nsec = libc::c_long::from(timeout.subsec_nanos().cast_signed());
        limit_ptr = &raw const limit;
    }
    // SAFETY: the word and the time limit are valid for the whole call; the kernel only reads them.
    let result = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT | flag, expected, limit_ptr) };
    result == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ETIMEDOUT)
}

fn futex_wake(word: &AtomicU32, count: u32, flag: libc::c_int) {
    let count = libc::c_int::try_from(count).unwrap_or(libc::c_int::MAX);
    // SAFETY: FUTEX_WAKE uses the address as a key and does not write to it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | flag, count) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_changed_word_does_not_sleep_and_an_unchanged_one_times_out() {
        let word = AtomicU32::new(7);
        assert!(wait(&word, 6, None));
        assert!(!wait(&word, 7, Some(Duration::from_millis(2))));
        assert!(!wait_shared(&word, 7, Some(Duration::ZERO)));
        assert!(wait(&word, 6, Some(Duration::MAX)));
    }

    #[test]
    fn a_sleeper_is_woken() {
        for (sleep, rouse) in [
            (wait as fn(&AtomicU32, u32, Option<Duration>) -> bool, wake as fn(&AtomicU32, u32)),
            (wait_shared, wake_shared),
        ] {
            let word = AtomicU32::new(0);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while word.load(Ordering::Acquire) == 0 {
                        sleep(&word, 0, None);
                    }
                });
                word.store(1, Ordering::Release);
                rouse(&word, u32::MAX);
            });
        }
    }
}
