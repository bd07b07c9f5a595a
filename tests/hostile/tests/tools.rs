//! The tools are tested on plain SQLite, whose behaviour is known: NORMAL loses acknowledged commits, FULL does not.

use onceward_hostile::history::Invariant;
use onceward_hostile::process::{Driver, Syncs, scratch};
use onceward_hostile::survey::{Bounds, Survey, assert_nothing_escaped, survey};
use onceward_hostile::{plain, trace};

const DRIVER: &str = env!("CARGO_BIN_EXE_hostile-driver");

fn plain_survey(synchronous: &str, syncs: Syncs) -> Survey {
    let bounds = Bounds::of(1500);
    let folder = scratch();
    let records = folder.path().join("records");
    let work = tempfile::tempdir_in(folder.path()).expect("a folder");
    let words = ["plain", synchronous, "60", &bounds.seed.to_string()];
    Driver::new(DRIVER, work.path(), &words).traced(&records, syncs).run().expect("the driver ends well");
    let trace = trace::read(&records);
    assert_nothing_escaped(&trace, work.path());
    let found = survey(&trace, bounds, |folder, journal, _, _| plain::audit(folder, journal));
    println!("plain SQLite, {synchronous}, syncs {syncs:?}: {found}");
    assert!(found.lossy > found.states / 3, "most states must have lost something, or they prove nothing");
    found
}

#[test]
fn plain_sqlite_at_full_loses_nothing_in_any_crash_state() {
    let found = plain_survey("FULL", Syncs::Pause);
    assert!(found.broken.is_empty(), "{found}");
}

#[test]
fn plain_sqlite_at_normal_loses_acknowledged_commits_and_is_never_damaged() {
    let found = plain_survey("NORMAL", Syncs::Pause);
    assert!(found.count(Invariant::P1) > 0, "{found}");
    assert_eq!(found.count(Invariant::P1), found.broken.len(), "{found}");
}

#[test]
fn plain_sqlite_at_full_on_a_disk_that_ignores_syncs_is_caught() {
    let found = plain_survey("FULL", Syncs::Ignore);
    assert!(found.count(Invariant::P1) > 0, "{found}");
}
