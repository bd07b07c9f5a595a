//! The scenarios of `tests/scenarios/`, which every language runs, in C; and that they use every function of the header.

mod common;
#[path = "../../core/tests/common/several.rs"]
mod several;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};

use common::{Built, tree};
use several::several_at_once;

/// Functions that no scenario calls, the reason, and the program that does.
const NOT_CALLED: &[(&str, &str, &str)] = &[
    ("onceward_readiness_open", "Python and Node have their own event loops", "readiness"),
    ("onceward_readiness_descriptor", "Python and Node have their own event loops", "readiness"),
    ("onceward_readiness_clear", "Python and Node have their own event loops", "readiness"),
    ("onceward_readiness_free", "Python and Node have their own event loops", "readiness"),
    ("onceward_effect_not_called", "Python and Node call it where a coroutine cannot be begun", "consumer"),
];

struct Runner {
    built: Built,
    program: PathBuf,
}

impl Runner {
    fn new() -> Self {
        let built = Built::new();
        let program = built.compile(&["gcc", "-std=c99", "-g"], "scenarios", &built.shared());
        Runner { built, program }
    }

    /// Runs the scenarios of these files in a folder of its own.
    fn run(&self, name: &str, files: &[PathBuf], by_hand: bool) -> (Output, PathBuf) {
        let folder = self.built.folder(name);
        let mut command = Command::new(&self.program);
        if by_hand {
            command.env("BY_HAND", "yes");
        }
        let done = command.args(files).current_dir(&folder).output().expect("it starts");
        (done, folder)
    }
}

/// The functions that the header declares.
fn declared() -> BTreeSet<String> {
    let header = std::fs::read_to_string(tree().join("include/onceward.h")).expect("reads");
    let code = header.split("extern \"C\" {").nth(1).expect("there are functions");
    let found = code
        .split('(')
        .filter_map(|before| before.rsplit(|letter: char| !letter.is_alphanumeric() && letter != '_').next());
    let functions: BTreeSet<String> = found.filter(|name| name.starts_with("onceward_")).map(str::to_owned).collect();
    assert!(functions.len() > 100, "the functions are found: {functions:?}");
    functions
}

#[test]
fn every_scenario_holds_in_c_and_they_call_every_function() {
    let runner = Runner::new();
    let folder = std::fs::read_dir(tree().join("tests/scenarios")).expect("the scenarios are there");
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.expect("reads").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "scenario"));
    files.sort();
    assert!(!files.is_empty(), "there are scenarios");
    let runs = files.iter().flat_map(|file| [(file, false), (file, true)]);
    let lists = several_at_once(runs, |(file, by_hand): (&PathBuf, bool)| {
        let name = format!("{}-{by_hand}", file.file_stem().expect("a file").to_string_lossy());
        let (done, folder) = runner.run(&name, std::slice::from_ref(file), by_hand);
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&done.stderr));
        std::fs::read_to_string(folder.join("called")).expect("it says what it called")
    });
    let called: BTreeSet<String> = lists.iter().flat_map(|list| list.lines()).map(str::to_owned).collect();
    for (name, _, program) in NOT_CALLED {
        let path = tree().join(format!("bindings-c/tests/c/{program}.c"));
        assert!(std::fs::read_to_string(path).expect("reads").contains(name), "{name} is called by {program}");
    }
    let excepted: BTreeSet<String> = NOT_CALLED.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let missing: BTreeSet<String> = declared().difference(&called).cloned().collect();
    assert_eq!(missing, excepted, "no scenario calls these");
}

/// A runner that agreed with everything would prove nothing.
#[test]
fn a_wrong_step_fails() {
    let runner = Runner::new();
    let text = std::fs::read_to_string(tree().join("tests/scenarios/wrong.steps")).expect("reads");
    let wrong: Vec<(&str, &str)> =
        text.split("\n\n").filter_map(|part| part.strip_prefix("fails ")?.split_once('\n')).collect();
    assert!(wrong.len() >= 10, "they are found");
    for (number, (found, steps)) in wrong.into_iter().enumerate() {
        let file = runner.built.root().join(format!("{number}.scenario"));
        std::fs::write(&file, format!("scenario wrong\n{steps}\n")).expect("writes");
        let (done, _) = runner.run(&number.to_string(), &[file], false);
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(!done.status.success() && said.contains("found:") && said.contains(found), "{steps}: {said}");
    }
}
