//! The time since the machine was started: it goes on while the machine sleeps, and nobody can set it.

use std::sync::OnceLock;

/// A number for this start of the machine, other after the next one.
static BOOT: OnceLock<i64> = OnceLock::new();

/// Which start of the machine this is, and how many milliseconds ago it was.
pub(crate) fn clock() -> (i64, i64) {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid, exclusively borrowed `struct timespec` for the whole call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    // It fails only for a clock that the kernel does not have; then every reading is of a start of its own.
    let at = if result == 0 { now.tv_sec * 1_000 + now.tv_nsec / 1_000_000 } else { 0 };
    (*BOOT.get_or_init(boot), at)
}

/// Made of the random id that the kernel gives each start. Where there is none to be read, this process is a start of its
/// own: what was measured by others then counts for nothing, which delays and decides nothing.
fn boot() -> i64 {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(15).collect();
    let own = || {
        use std::hash::{BuildHasher, Hasher};
        std::collections::hash_map::RandomState::new().build_hasher().finish() >> 4
    };
    u64::from_str_radix(&digits, 16).ok().filter(|number| *number != 0).unwrap_or_else(own) as i64
}
