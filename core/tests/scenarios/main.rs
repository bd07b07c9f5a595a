//! The scenarios of `tests/scenarios/`, run in Rust; and what the scenarios must cover. Their grammar is in the README there.

#[macro_use]
mod record;
mod coverage;
mod effects;
mod managing;
#[path = "../common/process.rs"]
mod process;
mod receiving;
mod scenario;
mod sending;
mod show;
mod step;
mod storing;
mod world;

use std::sync::Mutex;

use scenario::{Scenario, all, folder};
use world::{Form, World};

/// Not a test of its own: a process of a scenario, which takes steps and answers.
#[test]
fn helper() {
    let Some((role, folder)) = process::role() else { return };
    let form = if role == "Plain" { Form::Plain } else { Form::Other };
    let mut world = World::new(&folder, form);
    loop {
        let line = process::hear();
        if line.is_empty() {
            return;
        }
        process::say(&world.answer(&line));
    }
}

/// Scenarios that run at the same time: they wait more than they work.
const AT_ONCE: usize = 4;

fn run_all(form: Form) {
    let scenarios = all();
    let rest = Mutex::new(scenarios.iter());
    let take = || rest.lock().expect("no scenario panics").next();
    let run = || std::iter::from_fn(take).filter_map(|scenario| scenario.run(form).err()).collect::<Vec<String>>();
    let failures: Vec<String> = std::thread::scope(|scope| {
        let runners: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(run)).collect();
        runners.into_iter().flat_map(|runner| runner.join().expect("no scenario panics")).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_scenario_holds_in_rust() {
    run_all(Form::Plain);
    run_all(Form::Other);
    coverage::every_public_function_was_called();
}

#[test]
fn every_kind_of_error_and_every_limit_occurs_in_a_scenario() {
    coverage::every_kind_of_error_is_expected();
    coverage::every_limit_is_covered();
}

/// A runner that agreed with everything would prove nothing.
#[test]
fn a_wrong_step_fails() {
    let text = std::fs::read_to_string(folder().join("wrong.steps")).expect("reads");
    let wrong: Vec<(&str, &str)> =
        text.split("\n\n").filter_map(|part| part.strip_prefix("fails ")?.split_once('\n')).collect();
    assert!(wrong.len() >= 10, "they are found");
    for (found, steps) in wrong {
        let scenario = Scenario::of("wrong", steps);
        let failure = scenario.run(Form::Plain).expect_err(steps);
        assert!(failure.contains(found), "{steps}: {failure}");
    }
}
