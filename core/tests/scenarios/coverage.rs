//! What the scenarios must cover: every public function, every kind of error, every limit. The lists are taken from the
//! source; what no scenario can do is named here, with the reason and the test that does it.

use std::collections::BTreeSet;
use std::path::Path;

use onceward::ErrorKind;

use crate::record;
use crate::scenario::{Scenario, all, folder};

/// Public functions that no scenario calls, the reason, and the file of the test that does.
const NOT_CALLED: &[(&str, &str, &str)] = &[
    ("StoreOptions::clock", "only Rust has it", "core/tests/common/mod.rs"),
    ("StoreOptions::random", "only Rust has it", "core/tests/common/mod.rs"),
    ("StoreOptions::liveness", "only Rust has it", "core/tests/receiving.rs"),
    ("ManualClock::new", "only Rust has it", "core/tests/common/mod.rs"),
    ("ManualClock::advance", "only Rust has it", "core/tests/receiving.rs"),
    ("ManualClock::set", "only Rust has it", "core/tests/receiving.rs"),
    ("SeededRandom::new", "only Rust has it", "core/tests/common/mod.rs"),
    ("SeededRandom::from_entropy", "what a store has unless it is given another", "core/src/store.rs"),
    ("Steady::since", "only Rust has it", "core/src/clock.rs"),
    ("Subscription::readiness", "Python and Node have their own event loops", "core/tests/readiness.rs"),
    ("Readiness::clear", "Python and Node have their own event loops", "core/tests/readiness.rs"),
    ("Readiness::subscription", "Python and Node have their own event loops", "core/src/readiness.rs"),
    ("Consumer::receive_ahead", "the modules of other languages call it in their consumers", "core/tests/consuming.rs"),
    ("Consumer::finish", "the modules of other languages call it in their consumers", "core/tests/consuming.rs"),
    ("Consumer::flush_handle", "the modules of other languages call it in their consumers", "core/tests/consuming.rs"),
    ("FlushHandle::flush", "the modules of other languages call it in their consumers", "core/tests/consuming.rs"),
    ("ProcessMutex::new", "the modules of other languages keep their handles in it", "core/src/process_mutex.rs"),
    ("ProcessMutex::lock", "the modules of other languages keep their handles in it", "core/src/process_mutex.rs"),
    ("ProcessMutex::try_lock", "the modules of other languages keep their handles in it", "core/src/process_mutex.rs"),
    (
        "ProcessMutex::check_process",
        "the modules of other languages keep their handles in it",
        "core/src/process_mutex.rs",
    ),
    ("Delivery::let_go", "the modules of other languages call it in their consumers", "core/tests/consuming.rs"),
    ("Delivery::hand_out", "the modules of other languages call it in their consumers", "core/tests/consuming.rs"),
    ("Delivery::ack_at_once", "the modules of other languages call it in their consumers", "core/tests/consuming.rs"),
    ("Effect::not_called", "other languages call it for a coroutine that cannot be begun", "core/tests/once.rs"),
];

/// Kinds of errors that no scenario can provoke, the reason, and the file of the test that does.
const NOT_PROVOKED: &[(ErrorKind, &str, &str)] =
    &[(ErrorKind::Storage, "it takes a disk that fails", "tests/hostile/tests/io_faults.rs")];

/// Limits that no scenario reaches, the reason, and the file of the test that does.
const NOT_REACHED: &[(&str, &str, &str)] = &[
    ("LANE_SEQUENCE_MAX", "it takes 274,877,906,943 messages", "core/tests/lanes.rs"),
    ("LANES_MAX", "it takes 3,277 queues with ten priorities each", "core/tests/lanes.rs"),
    ("STORES_MAX", "it takes the descriptors and threads of 1,024 stores", "core/tests/opening.rs"),
];

fn tree() -> std::path::PathBuf {
    folder().join("../..")
}

/// The test that is named instead must be there, and must speak of it.
fn is_tested_elsewhere(what: &str, file: &str) {
    let word = what.rsplit("::").next().expect("a name");
    let text = std::fs::read_to_string(tree().join(file)).unwrap_or_else(|error| panic!("{what}: {file}: {error}"));
    assert!(text.contains(word), "{what} is not in {file}");
}

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("the source is there") {
        let path = entry.expect("reads").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(std::fs::read_to_string(path).expect("reads"));
        }
    }
}

/// The name that follows, up to what cannot be part of one.
fn name(text: &str) -> &str {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default()
}

/// Every public function of the types that the crate shows, as `Type::function`.
fn public_functions() -> BTreeSet<String> {
    let root = std::fs::read_to_string(tree().join("core/src/lib.rs")).expect("reads");
    let shown: BTreeSet<&str> = root
        .split("pub use ")
        .skip(1)
        .filter_map(|used| used.split_once(';'))
        .flat_map(|(used, _)| used.split([':', '{', '}', ',', ' ']))
        .collect();
    let (mut texts, mut found) = (Vec::new(), BTreeSet::new());
    sources(&tree().join("core/src"), &mut texts);
    for text in &texts {
        let mut owner = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("impl") {
                let plain = rest.split_once('>').filter(|_| rest.starts_with('<')).map_or(rest, |(_, rest)| rest);
                owner = if line.contains(" for ") { "" } else { name(plain.trim_start()) };
            }
            let function = line.strip_prefix("    pub ").and_then(|rest| {
                let rest = rest.strip_prefix("const ").unwrap_or(rest);
                rest.strip_prefix("async ").unwrap_or(rest).strip_prefix("fn ")
            });
            if let Some(function) = function
                && shown.contains(owner)
            {
                found.insert(format!("{owner}::{}", name(function)));
            }
        }
    }
    assert!(found.len() > 100, "the functions are found: {found:?}");
    found
}

pub(crate) fn every_public_function_was_called() {
    let (public, called) = (public_functions(), record::all());
    for (function, reason, file) in NOT_CALLED {
        assert!(public.contains(*function), "{function} is excepted ({reason}), and is no public function");
        assert!(!called.contains(function), "{function} is excepted ({reason}), and is called");
        is_tested_elsewhere(function, file);
    }
    let excepted = |function: &str| NOT_CALLED.iter().any(|(name, ..)| *name == function);
    let missing: Vec<_> =
        public.iter().filter(|function| !called.contains(function.as_str()) && !excepted(function)).collect();
    assert!(missing.is_empty(), "no scenario calls {missing:?}");
}

pub(crate) fn every_kind_of_error_is_expected() {
    let scenarios = all();
    let found: BTreeSet<&str> =
        scenarios.iter().flat_map(Scenario::errors).map(|error| error.split(' ').next().unwrap_or(error)).collect();
    for kind in ErrorKind::ALL {
        let excepted = NOT_PROVOKED.iter().find(|(name, ..)| *name == kind);
        assert_ne!(found.contains(kind.name()), excepted.is_some(), "{kind}: {found:?}");
        if let Some((_, _, file)) = excepted {
            is_tested_elsewhere(kind.name(), file);
        }
    }
    let strange: Vec<_> = found.iter().filter(|name| ErrorKind::ALL.iter().all(|kind| kind.name() != **name)).collect();
    assert!(strange.is_empty(), "{strange:?} are no kinds");
}

pub(crate) fn every_limit_is_covered() {
    let limits = std::fs::read_to_string(tree().join("core/src/limits.rs")).expect("reads");
    let limits: BTreeSet<&str> = limits.lines().filter_map(|line| line.strip_prefix("pub const ")).map(name).collect();
    assert!(limits.len() > 20, "the limits are found: {limits:?}");
    let scenarios = all();
    let covered: BTreeSet<&str> = scenarios
        .iter()
        .flat_map(|scenario| {
            let limits = scenario.covers.iter().filter_map(|covered| covered.strip_prefix("limit "));
            limits.inspect(|limit| {
                assert!(
                    scenario.errors().next().is_some() || limit.ends_with("DEFAULT"),
                    "{limit}: {}: nothing is refused",
                    scenario.title
                );
            })
        })
        .collect();
    for limit in &limits {
        let excepted = NOT_REACHED.iter().find(|(name, ..)| name == limit);
        assert_ne!(covered.contains(limit), excepted.is_some(), "{limit} is covered by a scenario, or excepted");
        if let Some((_, _, file)) = excepted {
            is_tested_elsewhere(limit, file);
        }
    }
    let strange: Vec<_> = covered.difference(&limits).collect();
    assert!(strange.is_empty(), "{strange:?} are no limits");
}
