//! Input/output faults: a failing disk gives clean errors, and never a wrong answer.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use onceward_hostile::audit::audit;
use onceward_hostile::history::{Event, check, parse};
use onceward_hostile::house::HISTORY;
use onceward_hostile::journal::Journal;
use onceward_hostile::process::{Driver, Syncs, scratch};
use onceward_hostile::random::{Random, setting};
use onceward_hostile::survey::{AUDITOR, Bounds, survey};
use onceward_hostile::trace;

const DRIVER: &str = env!("CARGO_BIN_EXE_hostile-driver");

/// What a call may answer while the disk fails: its own verdicts, and these two.
const CLEAN: [&str; 4] = ["Conflict", "LeaseLost", "Storage", "Full"];

/// Every fault that is tried: `class:nth:error:once|sticky:file`.
fn faults(seed: u64) -> Vec<String> {
    let mut random = Random::new(seed);
    let mut all = Vec::new();
    for (class, errors, files, nth_max) in [
        ("write", &["EIO", "ENOSPC", "SHORT"][..], &["wal", "db", "any"][..], 120),
        ("sync", &["EIO", "ENOSPC"], &["wal", "db", "any"], 25),
        ("truncate", &["EIO"], &["any"], 3),
        ("allocate", &["EIO", "ENOSPC"], &["wal", "db", "shm", "any"], 4),
        ("open", &["EIO"], &["any"], 3),
    ] {
        for error in errors {
            for file in files {
                for repeat in ["once", "sticky"] {
                    for nth in [1, 2 + random.below(nth_max)] {
                        all.push(format!("{class}:{nth}:{error}:{repeat}:{file}"));
                    }
                }
            }
        }
    }
    all
}

/// Runs `one` for each fault on all cores; panics are collected.
fn for_each_fault(faults: &[String], one: impl Fn(&str) -> Result<(), String> + Sync) -> Vec<String> {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(text) = one(fault) {
                        failures.lock().expect("no panic while adding").push(format!("{fault}: {text}"));
                    }
                }
            });
        }
    });
    failures.into_inner().expect("no panic while adding")
}

fn assert_clean(errors: &str) -> Result<(), String> {
    match errors.lines().find(|line| !CLEAN.contains(&line.split(' ').next().unwrap_or_default())) {
        Some(line) => Err(format!("not a clean error: {line}")),
        None => Ok(()),
    }
}

#[test]
fn a_failing_disk_gives_clean_errors_and_breaks_no_promise() {
    let seed = setting("ONCEWARD_HOSTILE_SEED", 1);
    let faults = faults(seed);
    let (felt, kinds) = (AtomicU64::new(0), Mutex::new(BTreeSet::new()));
    let failures = for_each_fault(&faults, |fault| {
        let folder = scratch();
        let words = ["faulty", "2", "25", &seed.to_string()];
        let errors = Driver::new(DRIVER, folder.path(), &words).faulty(fault).run()?;
        assert_clean(&errors)?;
        let mut met: Vec<String> =
            errors.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
        met.retain(|kind| kind == "Storage" || kind == "Full");
        felt.fetch_add(u64::from(!met.is_empty()), Ordering::Relaxed);
        kinds.lock().expect("no panic while adding").extend(met);
        let text = std::fs::read_to_string(folder.path().join(HISTORY)).expect("the history");
        let mut history = parse(&text);
        let audited = audit(folder.path(), Journal::memory(AUDITOR), &history, seed);
        history.extend(audited);
        let violations = check(&history);
        if violations.is_empty() { Ok(()) } else { Err(violations[0].to_string()) }
    });
    let felt = felt.into_inner();
    println!("seed {seed}: {} faults, {felt} felt by the program, kinds {kinds:?}", faults.len());
    for failure in &failures {
        println!("  {failure}");
    }
    assert!(failures.is_empty(), "seed {seed}: {} of {} faults broke something", failures.len(), faults.len());
    assert!(felt > faults.len() as u64 / 6, "seed {seed}: only {felt} faults were felt");
}

#[test]
fn a_sync_that_failed_is_never_made_up_for_by_a_later_one() {
    let bounds = Bounds::of(60);
    let faults: Vec<String> = [1, 2, 5, 9]
        .iter()
        .flat_map(|nth| ["once", "sticky"].map(|often| format!("sync:{nth}:EIO:{often}:wal")))
        .collect();
    let (states, seed) = (AtomicU64::new(0), bounds.seed);
    let failures = for_each_fault(&faults, |fault| {
        let folder = scratch();
        let work = tempfile::tempdir_in(folder.path()).expect("a folder");
        let records = folder.path().join("records");
        let driver = Driver::new(DRIVER, work.path(), &["faulty", "2", "25", &seed.to_string()]);
        let errors = driver.traced(&records, Syncs::Pause).faulty(fault).run()?;
        assert_clean(&errors)?;
        let trace = trace::read(&records);
        let found = survey(&trace, bounds, audit);
        states.fetch_add(found.states, Ordering::Relaxed);
        if found.broken.is_empty() { Ok(()) } else { Err(found.to_string()) }
    });
    println!("seed {seed}: {} faults, {} states", faults.len(), states.into_inner());
    assert!(failures.is_empty(), "seed {seed}: {}", failures.join("\n"));
}

#[test]
fn the_faults_are_noted_so_that_they_arm() {
    let folder = scratch();
    let words = ["faulty", "1", "25", "1"];
    let errors = Driver::new(DRIVER, folder.path(), &words).faulty("write:1:EIO:sticky:wal").run().expect("ends well");
    assert!(errors.contains("Storage"), "a disk that takes no write at all must be felt: {errors:?}");
    let text = std::fs::read_to_string(folder.path().join(HISTORY)).expect("the history");
    let notes = parse(&text).into_iter().filter(|entry| matches!(entry.event, Event::Note { .. })).count();
    assert_eq!(notes, 2);
}
