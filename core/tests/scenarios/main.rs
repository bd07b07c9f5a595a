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
#[path = "../common/several.rs"]
mod several;
mod show;
mod step;
mod storing;
mod world;

use scenario::{Scenario, all, folder};
use several::several_at_once;
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

fn run_all(form: Form) {
    let outcomes = several_at_once(all(), |scenario| scenario.run(form));
    let failures: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
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
