//! What stores go by unless they are given another: the time, and chance; and the clock that tests set by hand.

use std::time::Duration;

use onceward::{Clock, ManualClock, Millis, Random, SeededRandom, Steady, SystemClock};

#[test]
fn a_manual_clock_moves_only_when_it_is_told_to() {
    let clock = ManualClock::new(Millis::new(1_000));
    assert_eq!((clock.now(), clock.now()), (Millis::new(1_000), Millis::new(1_000)));
    clock.advance(Duration::from_millis(5));
    assert_eq!(clock.now(), Millis::new(1_005));
    clock.set(Millis::new(7));
    assert_eq!(clock.now(), Millis::new(7), "backwards too");
}

#[test]
fn readings_of_two_starts_of_the_machine_are_not_compared() {
    let (first, second) = (SystemClock.steady(), SystemClock.steady());
    assert!(second.since(first).is_some(), "it only goes forward");
    let later = Steady { at: first.at.plus(Duration::from_secs(1)), ..first };
    assert_eq!(later.since(first), Some(Duration::from_secs(1)));
    assert_eq!(Steady { boot: first.boot + 1, ..later }.since(first), None);
}

#[test]
fn generators_from_entropy_differ_and_those_of_one_seed_do_not() {
    let drawn = |random: &SeededRandom| [random.next(), random.next()];
    assert_ne!(drawn(&SeededRandom::from_entropy()), drawn(&SeededRandom::from_entropy()));
    assert_eq!(drawn(&SeededRandom::new(7)), drawn(&SeededRandom::new(7)));
}
