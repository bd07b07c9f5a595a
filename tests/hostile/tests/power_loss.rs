//! Power loss: the promises hold in every state the disk may be in when the power goes.

use onceward_hostile::audit::audit;
use onceward_hostile::process::{Driver, Syncs, scratch};
use onceward_hostile::random::setting;
use onceward_hostile::survey::{Bounds, Survey, assert_nothing_escaped, survey};
use onceward_hostile::trace;

const DRIVER: &str = env!("CARGO_BIN_EXE_hostile-driver");

/// Runs the workload once per seed, and looks at crash states of each run.
///
/// A soak run raises `ONCEWARD_HOSTILE_RUNS`, `…_STATES` and `…_STEPS` (past some hundred steps the store's own checkpoints
/// are in the trace, too).
fn survey_runs(runs: u64, states_each: u64, threads: u64, steps: u64, syncs: Syncs) -> Survey {
    let mut found = Survey::default();
    let steps = setting("ONCEWARD_HOSTILE_STEPS", steps);
    let first = Bounds::of(states_each).seed;
    for seed in first..first + setting("ONCEWARD_HOSTILE_RUNS", runs) {
        let folder = scratch();
        let work = tempfile::tempdir_in(folder.path()).expect("a folder");
        let records = folder.path().join("records");
        let words = ["run", "3", &threads.to_string(), &steps.to_string(), &seed.to_string()];
        let errors = Driver::new(DRIVER, work.path(), &words).traced(&records, syncs).run().expect("the run ends well");
        for line in errors.lines() {
            assert!(line.starts_with("Conflict") || line.starts_with("LeaseLost"), "seed {seed}: {line}");
        }
        let trace = trace::read(&records);
        assert_nothing_escaped(&trace, work.path());
        found.add(survey(&trace, Bounds { seed, ..Bounds::of(states_each) }, audit));
    }
    println!("{threads} threads, {steps} steps, syncs {syncs:?}: {found}");
    assert!(found.lossy > found.states / 4, "states must have lost something, or they prove nothing");
    found
}

#[test]
fn no_promise_breaks_when_the_power_goes_under_one_thread() {
    let found = survey_runs(2, 150, 1, 50, Syncs::Pause);
    assert!(found.broken.is_empty(), "{found}");
}

#[test]
fn no_promise_breaks_when_the_power_goes_under_several_threads() {
    let found = survey_runs(3, 150, 4, 20, Syncs::Pause);
    assert!(found.broken.is_empty(), "{found}");
}

#[test]
fn a_store_that_does_not_sync_is_caught() {
    let found = survey_runs(1, 60, 2, 25, Syncs::Ignore);
    assert!(!found.broken.is_empty(), "{found}");
}
