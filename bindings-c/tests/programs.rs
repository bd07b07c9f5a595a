//! C programs against the library as it is built: compiled as C99 and as C++11 with every warning an error, linked with the
//! shared and with the static library, run, and run again under valgrind.

mod common;
#[path = "../../core/tests/common/several.rs"]
mod several;

use common::{Built, run, tree};
use several::several_at_once;

const PROGRAMS: [&str; 10] =
    ["queues", "managing", "transactions", "once", "consumer", "readiness", "hostile", "arguments", "closed", "forked"];
/// A child has the memory of the threads that it has not, so this one is not asked for leaks.
const FORKS: &str = "forked";

#[test]
fn the_programs_run_as_c99_with_the_shared_library() {
    let built = Built::new();
    for name in PROGRAMS {
        let program = built.compile(&["gcc", "-std=c99"], name, &built.shared());
        run(&[program.to_str().expect("a path")], built.folder(name).as_path());
    }
}

#[test]
fn the_programs_run_as_cpp11_with_the_static_library() {
    let built = Built::new();
    for name in PROGRAMS {
        let program = built.compile(&["g++", "-x", "c++", "-std=c++11"], name, &built.fixed());
        run(&[program.to_str().expect("a path")], built.folder(name).as_path());
    }
}

#[test]
fn the_programs_lose_no_memory_and_touch_none_that_is_not_theirs() {
    let built = Built::new();
    several_at_once(PROGRAMS, |name| {
        let program = built.compile(&["gcc", "-std=c99", "-g"], name, &built.shared());
        let program = program.to_str().expect("a path");
        let leaks = if name == FORKS { "--leak-check=no" } else { "--leak-check=full" };
        // Without turns, the thread that never waits would be the only one that valgrind runs.
        let turns = "--fair-sched=yes";
        let checks = ["valgrind", "--quiet", turns, "--error-exitcode=9", "--errors-for-leak-kinds=definite", leaks];
        run(&[&checks[..], &[program]].concat(), built.folder(name).as_path());
    });
}

#[test]
fn the_programs_are_clean_under_the_address_sanitizer() {
    let built = Built::new();
    // In a forked child of several threads the sanitizer's own allocator may be locked for ever.
    for name in PROGRAMS.into_iter().filter(|&name| name != FORKS) {
        let compiler = ["gcc", "-std=c99", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
        let program = built.compile(&compiler, name, &built.shared());
        run(&[program.to_str().expect("a path")], built.folder(name).as_path());
    }
}

#[test]
fn the_event_loop_of_the_page_handles_everything_and_ends_with_the_store() {
    let built = Built::new();
    let page = std::fs::read_to_string(tree().join("docs/c.md")).expect("reads the page");
    let part = page.split_once("\n## Event loops\n").expect("the page has the part").1;
    let code = part.split_once("```c\n").and_then(|(_, rest)| rest.split_once("```")).expect("the part has code").0;
    std::fs::write(built.root().join("event_loop.inc"), code).expect("writes the code");
    let compiler = ["gcc", "-std=c99", "-iquote", built.root().to_str().expect("a path")];
    let program = built.compile(&compiler, "event_loop", &built.shared());
    run(&[program.to_str().expect("a path")], &built.folder("event_loop"));
}

#[test]
fn the_program_of_the_readme_compiles_without_a_warning_and_runs() {
    let built = Built::new();
    let page = std::fs::read_to_string(tree().join("README.md")).expect("reads the page");
    let code = page.split_once("```c\n").and_then(|(_, rest)| rest.split_once("```")).expect("the page has code").0;
    std::fs::write(built.root().join("readme.inc"), code).expect("writes the code");
    let strict = ["-Wall", "-Wpedantic", "-Werror"];
    let compiler = [&["gcc", "-std=c99", "-iquote", built.root().to_str().expect("a path")][..], &strict].concat();
    let program = built.compile(&compiler, "readme", &built.shared());
    let folder = built.folder("readme");
    run(&[program.to_str().expect("a path")], &folder);
    assert!(folder.join("app.db").exists(), "it ran in its folder");
}

#[test]
fn only_our_own_names_leave_the_shared_library() {
    let built = Built::new();
    let listed = run(&["nm", "-D", "--defined-only", built.so().to_str().expect("a path")], built.root());
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert!(names.len() > 100, "the library has its functions: {names:?}");
    let strange: Vec<_> = names.iter().filter(|name| !name.starts_with("onceward_")).collect();
    assert!(strange.is_empty(), "{strange:?}");
}
