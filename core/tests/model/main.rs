//! A state machine: random steps on two open stores of one file, each compared with a reference that knows only the
//! promises. More cases with `PROPTEST_CASES`; the seed that a failure prints runs again with `ONCEWARD_SEED`.

#[path = "../common/mod.rs"]
mod common;
mod compare;
mod driver;
mod operation;
mod reference;

use std::hash::{BuildHasher, Hasher};

use proptest::collection::vec;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use driver::Driver;

const CASES: u32 = 400;
const STEPS: usize = 60;
/// Each runs its share of the cases, with a seed of its own.
const THREADS: u64 = 2;

fn seed() -> u64 {
    let given = std::env::var("ONCEWARD_SEED").ok();
    given.map_or_else(
        || std::collections::hash_map::RandomState::new().build_hasher().finish(),
        |given| given.parse().expect("ONCEWARD_SEED is a number"),
    )
}

#[test]
fn whatever_is_done_the_store_does_what_the_reference_says() {
    let seed = seed();
    let cases = std::env::var("PROPTEST_CASES").ok().map_or(CASES, |cases| cases.parse().expect("a number"));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || run(seed.wrapping_add(thread), cases.div_ceil(THREADS as u32)));
        }
    });
}

fn run(seed: u64, cases: u32) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 3_000, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let outcome = runner.run(&(operation::terms(), vec(operation::step(), 1..STEPS)), |(terms, steps)| {
        let mut driver = Driver::new(&terms);
        for step in &steps {
            driver.step(step);
        }
        driver.drain();
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("ONCEWARD_SEED={seed}\n{failure}");
    }
}
