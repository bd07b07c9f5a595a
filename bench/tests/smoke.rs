//! The program itself: every measurement runs to its end at small sizes, and says what it should.

use std::process::{Command, Output};

fn bench(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_onceward-bench")).args(words).output().expect("the program starts")
}

#[test]
fn every_measurement_runs_at_small_sizes_and_is_in_the_table() {
    // The C library must stand beside the program; `make test-rust` has built the modules of Python and Node.
    let built = Command::new(env!("CARGO")).args(["build", "--quiet", "--package", "onceward-c"]).status();
    assert!(built.expect("cargo starts").success());
    let output = bench(&["--small", "--check"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for part in [
        "- machine: ",
        "fdatasync",
        "SQLite 3.",
        "| send x100, at-least-once, synced |",
        "| send x1000, at-least-once, synced |",
        "| receive+ack x100, at-least-once, not synced |",
        "| receive+ack x1000, at-least-once, not synced |",
        "| one synced send over the bare commit, at-least-once |",
        "| 64 threads, one synced send at a time, beside one thread |",
        "| 64 threads, one synced send at a time, bare SQLite with the least of group commits, beside one thread of it |",
        "| 64 threads, one synced send at a time, beside that |",
        "| receive+ack x100, time at a backlog of ",
        "| statistics at a backlog of ",
        "| send with a random key, ",
        "| send with a sequential key, ",
        "| 4 processes on one file, x100, total rate beside 1 |",
        "| 4 processes on one file, x100, longest call of any process |",
        "| wake-up across processes, send call to body, p50 |",
        "| wake-up across processes, send call to body, p99 |",
        "| most resident memory, ",
        "| C: a send in memory over the same in Rust |",
        "| C: receive, read, ack, free in memory over Rust, per call |",
        "| Python: send x100 beside Rust, synced |",
        "| Python: receive+ack x100 beside Rust, not synced |",
        "| Node: send x100 beside Rust, synced |",
        "| Python: consume() x100 beside Rust, not synced |",
        "| Node: six loops at once, receive+ack x100 beside Rust, not synced |",
        "| Node: one loop, receive+ack x100 beside Rust, not synced |",
        "| Node: consume() x100 beside Rust, not synced |",
        "no target was judged",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

#[test]
fn a_folder_in_memory_is_refused_because_nothing_would_be_synced() {
    let output = bench(&["--small", "--dir", "/dev/shm", "--only", "send"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("tmpfs"), "{text}");
}

#[test]
fn an_unknown_measurement_is_named() {
    let output = bench(&["--only", "warp-speed"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("warp-speed"), "{text}");
}
