//! What the scenarios must cover: every public function, every kind of error, every limit. The lists are taken from the
//! source; what no scenario can do is named here, with the reason and the test that does it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use onceward::ErrorKind;

use crate::record;
use crate::scenario::{Scenario, all, folder};
use crate::step::words;

/// Public functions that no scenario calls, the reason, and the file of the test that does.
const NOT_CALLED: &[(&str, &str, &str)] = &[
    ("StoreOptions::clock", "only Rust has it", "core/tests/common/mod.rs"),
    ("StoreOptions::random", "only Rust has it", "core/tests/common/mod.rs"),
    ("StoreOptions::liveness", "only Rust has it", "core/tests/receiving.rs"),
    ("ManualClock::new", "only Rust has it", "core/tests/common/mod.rs"),
    ("ManualClock::advance", "only Rust has it", "core/tests/clocks.rs"),
    ("ManualClock::set", "only Rust has it", "core/tests/clocks.rs"),
    ("SeededRandom::new", "only Rust has it", "core/tests/common/mod.rs"),
    ("SeededRandom::from_entropy", "what a store has unless it is given another", "core/tests/clocks.rs"),
    ("Steady::since", "only Rust has it", "core/tests/clocks.rs"),
    ("Subscription::readiness", "Python and Node have their own event loops", "core/tests/readiness.rs"),
    ("Readiness::clear", "Python and Node have their own event loops", "core/tests/readiness.rs"),
    ("Readiness::subscription", "Python and Node have their own event loops", "core/tests/readiness.rs"),
    ("Consumer::receive_ahead", "the modules of other languages call it in their consumers", "core/tests/consuming.rs"),
    ("Consumer::finish", "the modules of other languages call it in their consumers", "core/tests/consuming.rs"),
    ("Consumer::flush_handle", "the modules of other languages call it in their consumers", "core/tests/consuming.rs"),
    ("FlushHandle::flush", "the modules of other languages call it in their consumers", "core/tests/consuming.rs"),
    ("ProcessMutex::new", "the modules of other languages keep their handles in it", "core/tests/process_mutex.rs"),
    ("ProcessMutex::lock", "the modules of other languages keep their handles in it", "core/tests/process_mutex.rs"),
    (
        "ProcessMutex::try_lock",
        "the modules of other languages keep their handles in it",
        "core/tests/process_mutex.rs",
    ),
    (
        "ProcessMutex::check_process",
        "the modules of other languages keep their handles in it",
        "core/tests/process_mutex.rs",
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

/// Limits that refuse nothing, so that no error names them, and what they do.
const NOT_REFUSING: &[(&str, &str)] = &[
    ("RECEIVE_BYTES_MAX", "a receive stops there, and the next goes on"),
    ("PRIORITY_DEFAULT", "it is what a message has that names none"),
];

/// The limits by their names, and as an error shows them.
fn as_shown() -> Vec<(&'static str, String)> {
    macro_rules! shown {
        ($($name:ident)*) => { vec![$((stringify!($name), format!("{:?}", onceward::limits::$name))),*] };
    }
    shown! {
        BODY_BYTES_MAX_DEFAULT BODY_BYTES_MAX KEY_BYTES_MAX NAME_BYTES_MAX HEADERS_BYTES_MAX TEXT_BYTES_MAX RESULT_BYTES_MAX
        LEASE_MIN LEASE_MAX DELAY_MAX PRIORITY_MAX PRIORITY_DEFAULT SEND_MESSAGES_MAX SEND_BYTES_MAX RECEIVE_MESSAGES_MAX
        RECEIVE_BYTES_MAX SETTLE_RECEIPTS_MAX LIST_MAX WAIT_MAX ATTEMPTS_MAX SUBSCRIPTIONS_MAX LANES_MAX LANE_SEQUENCE_MAX
        STORES_MAX
    }
}

fn tree() -> std::path::PathBuf {
    folder().join("../..")
}

/// The code of the test that is named instead: not what it says of itself, nor what the scenarios do.
fn test_elsewhere(what: &str, file: &str) -> String {
    let path = Path::new(file);
    assert!(path.iter().any(|folder| folder == "tests"), "{what}: {file} is no test");
    assert!(!path.starts_with("core/tests/scenarios"), "{what}: {file} is of the scenarios");
    let text = std::fs::read_to_string(tree().join(file)).unwrap_or_else(|error| panic!("{what}: {file}: {error}"));
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// A function is called there: by its type's name, or as a method where the type is named, or a variable as it.
fn is_called_elsewhere(function: &str, file: &str) {
    let (owner, method) = function.split_once("::").expect("a type and its function");
    let code = test_elsewhere(function, file);
    let names_owner = has_word(&code, owner) || code.contains(&snake_case(owner));
    assert!(
        code.contains(&format!("{function}(")) || (names_owner && code.contains(&format!(".{method}("))),
        "{function} is not called in {file}"
    );
}

fn is_named_elsewhere(what: &str, file: &str) {
    assert!(has_word(&test_elsewhere(what, file), what), "{what} is not in {file}");
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|found| found == word)
}

/// `FlushHandle` as `flush_handle`.
fn snake_case(name: &str) -> String {
    let mut found = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !found.is_empty() {
            found.push('_');
        }
        found.push(letter.to_ascii_lowercase());
    }
    found
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
        is_called_elsewhere(function, file);
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
            is_named_elsewhere(kind.name(), file);
        }
    }
    let strange: Vec<_> = found.iter().filter(|name| ErrorKind::ALL.iter().all(|kind| kind.name() != **name)).collect();
    assert!(strange.is_empty(), "{strange:?} are no kinds");
}

pub(crate) fn every_limit_is_covered() {
    let source = std::fs::read_to_string(tree().join("core/src/limits.rs")).expect("reads");
    let limits: BTreeSet<&str> = source.lines().filter_map(|line| line.strip_prefix("pub const ")).map(name).collect();
    let shown: BTreeMap<&str, String> = as_shown().into_iter().collect();
    assert_eq!(limits, shown.keys().copied().collect(), "the limits of the source, and those here");
    let scenarios = all();
    let covered: BTreeSet<&str> = scenarios
        .iter()
        .flat_map(|scenario| scenario.limits().inspect(|limit| refuses(scenario, limit, &shown)))
        .collect();
    for limit in &limits {
        let excepted = NOT_REACHED.iter().find(|(name, ..)| name == limit);
        assert_ne!(covered.contains(limit), excepted.is_some(), "{limit} is covered by a scenario, or excepted");
        if let Some((_, _, file)) = excepted {
            is_named_elsewhere(limit, file);
        }
    }
}

/// A scenario that covers a limit has an error that names it: the value in a word of its own (`512`, `43200s`), or after
/// "limit is" where the languages show the unit each in its way.
fn refuses(scenario: &Scenario, limit: &str, shown: &BTreeMap<&str, String>) {
    let value = shown.get(limit).unwrap_or_else(|| panic!("{}: {limit} is no limit", scenario.title));
    let number = value.trim_end_matches(char::is_alphabetic);
    let names = |word: &str| word == value || word.strip_prefix("limit is ") == Some(number);
    let is_named = scenario.errors().any(|error| words(error).iter().any(|(word, _)| names(word)));
    let excepted = NOT_REFUSING.iter().find(|(name, _)| *name == limit);
    assert_ne!(is_named, excepted.is_some(), "{limit}: {}: an error names {value}, or it is excepted", scenario.title);
}
