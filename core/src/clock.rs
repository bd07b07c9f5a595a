//! What the outside world tells a store: the time, chance, and who is alive. Passed in, so that a run can be simulated.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::sys::boot;
use crate::types::Millis;

/// The wall clock. It decides only *when* something is offered again, never *who* may settle it.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Millis;

    /// A time that nobody can set, for what must have passed for certain. Unless overridden, the wall clock's, which can.
    fn steady(&self) -> Steady {
        Steady { boot: 0, at: self.now() }
    }
}

/// A reading of a clock that only goes forward, from the start of the machine on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steady {
    /// Which start of which machine. Readings of two different ones cannot be compared.
    pub boot: i64,
    /// Milliseconds since then.
    pub at: Millis,
}

impl Steady {
    /// The time from `earlier` to this; `None` when the machine was started in between.
    pub fn since(self, earlier: Steady) -> Option<Duration> {
        (self.boot == earlier.boot).then(|| self.at.since(earlier.at))
    }
}

/// The operating system's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the system's time comes in")]
    fn now(&self) -> Millis {
        Millis::from(std::time::SystemTime::now())
    }

    fn steady(&self) -> Steady {
        let (boot, at) = boot::clock();
        Steady { boot, at: Millis::new(at) }
    }
}

/// A clock that moves only when it is told to, for tests. Share it between the test and the store with an `Arc`.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ms: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn new(start: Millis) -> Self {
        ManualClock { now_ms: AtomicI64::new(start.get()) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.now_ms.fetch_add(crate::types::duration_ms(by), Ordering::SeqCst);
    }

    /// Sets the clock, backwards too.
    pub fn set(&self, now: Millis) {
        self.now_ms.store(now.get(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        Millis::new(self.now_ms.load(Ordering::SeqCst))
    }
}

/// Where jitter comes from. Never used for anything a promise rests on.
pub trait Random: Send + Sync {
    /// The next 64 random bits.
    fn next(&self) -> u64;
}

/// A small generator (splitmix64): equal seeds give equal sequences.
#[derive(Debug)]
pub struct SeededRandom {
    state: Mutex<u64>,
}

impl SeededRandom {
    /// A generator with this seed.
    pub fn new(seed: u64) -> Self {
        SeededRandom { state: Mutex::new(seed) }
    }

    /// A generator whose seed differs between processes and stores.
    pub fn from_entropy() -> Self {
        use std::hash::{BuildHasher, Hasher};
        Self::new(std::collections::hash_map::RandomState::new().build_hasher().finish())
    }
}

impl Random for SeededRandom {
    fn next(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// A number in `0.0..1.0` from 64 random bits.
pub(crate) fn unit(random: &dyn Random) -> f64 {
    (random.next() >> 11) as f64 / (1u64 << 53) as f64
}

/// Who is alive. A store holds a slot for as long as it is open; the default asks the operating system, whose lock on the
/// slot ends with the process.
pub trait Liveness: Send + Sync {
    /// Whether the store that holds `slot` is still open in a living process. Must never say "dead" of a living one.
    fn is_alive(&self, slot: u32) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_steady_clock_goes_forward_and_knows_its_boot() {
        let (first, second) = (SystemClock.steady(), SystemClock.steady());
        assert!(second.since(first).is_some_and(|passed| passed < Duration::from_secs(60)));
        assert!(first.at.get() > 0 && first.boot != 0);
        assert_eq!(Steady { boot: first.boot + 1, ..second }.since(first), None);
    }

    #[test]
    fn equal_seeds_give_equal_sequences() {
        let (a, b) = (SeededRandom::new(7), SeededRandom::new(7));
        let drawn: Vec<u64> = (0..4).map(|_| a.next()).collect();
        assert_eq!(drawn, (0..4).map(|_| b.next()).collect::<Vec<_>>());
        assert!((0..1000).map(|_| unit(&a)).all(|x| (0.0..1.0).contains(&x)));
    }
}
