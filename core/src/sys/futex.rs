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

/// As [`wait`], until a wake for one of `marks`.
pub(crate) fn wait_marked(word: &AtomicU32, expected: u32, timeout: Option<Duration>, marks: u32) -> bool {
    let until = timeout.map(|timeout| add(monotonic_now(), timeout));
    let until = until.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let operation = libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG;
    let unused = std::ptr::null::<u32>();
    // SAFETY: the word and the time limit are valid for the whole call; the kernel only reads them.
    let result = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, expected, until, unused, marks) };
    slept(result)
}

/// Wakes up to `count` threads that sleep in [`wait`], or in [`wait_marked`] with one of `marks`.
pub(crate) fn wake_marked(word: &AtomicU32, count: u32, marks: u32) {
    let count = libc::c_int::try_from(count).unwrap_or(libc::c_int::MAX);
    let operation = libc::FUTEX_WAKE_BITSET | libc::FUTEX_PRIVATE_FLAG;
    let unused = std::ptr::null::<u32>();
    // SAFETY: FUTEX_WAKE_BITSET uses the address as a key and does not write to it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, count, unused, unused, marks) };
}

/// A mark of the processor that this thread runs on. From 32 on, processors share marks.
pub(crate) fn processor_mark() -> u32 {
    // SAFETY: takes nothing and touches no memory.
    let processor = unsafe { libc::sched_getcpu() };
    1 << (processor.max(0) % 32)
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
    let limit = timeout.map(|timeout| add(libc::timespec { tv_sec: 0, tv_nsec: 0 }, timeout));
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word and the time limit are valid for the whole call; the kernel only reads them.
    let result = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT | flag, expected, limit) };
    slept(result)
}

fn slept(result: libc::c_long) -> bool {
    result == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ETIMEDOUT)
}

fn monotonic_now() -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` has room for the answer, and this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now
}

fn add(time: libc::timespec, duration: Duration) -> libc::timespec {
    const SECOND_NS: libc::c_long = 1_000_000_000;
    let nanos = time.tv_nsec + libc::c_long::from(duration.subsec_nanos().cast_signed());
    // A century is as good as for ever, and cannot overflow `time_t`.
    let seconds = duration.as_secs().min(3_000_000_000) as libc::time_t;
    libc::timespec { tv_sec: time.tv_sec + seconds + nanos / SECOND_NS, tv_nsec: nanos % SECOND_NS }
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
        assert!(wait_marked(&word, 6, None, 1));
        assert!(!wait_marked(&word, 7, Some(Duration::from_millis(2)), 1));
        assert!(!wait_marked(&word, 7, Some(Duration::ZERO), 1));
        assert!(wait_marked(&word, 6, Some(Duration::MAX), 1));
    }

    #[test]
    fn only_sleepers_with_one_of_the_marks_are_woken() {
        let word = AtomicU32::new(0);
        std::thread::scope(|scope| {
            let word = &word;
            let sleepers = [1, 2].map(|mark| scope.spawn(move || wait_marked(word, 0, None, mark)));
            // However late they fall asleep: a wake for the other mark never ends the first one's sleep.
            while !sleepers[1].is_finished() {
                wake_marked(&word, u32::MAX, 2 | 4);
            }
            assert!(!sleepers[0].is_finished());
            while !sleepers[0].is_finished() {
                wake_marked(&word, u32::MAX, 1);
            }
        });
    }

    #[test]
    fn a_sleeper_is_woken() {
        let wait_here = |word: &AtomicU32, expected: u32, timeout: Option<Duration>| {
            wait_marked(word, expected, timeout, processor_mark())
        };
        for (sleep, rouse) in [
            (wait as fn(&AtomicU32, u32, Option<Duration>) -> bool, wake as fn(&AtomicU32, u32)),
            (wait_shared, wake_shared),
            (wait_here, wake),
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
