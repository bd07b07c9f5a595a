//! Effects at third parties when the power goes: nothing is called twice, and what was answered stays so.

use onceward_hostile::effects::{Found, survey};
use onceward_hostile::process::{Driver, Syncs, scratch};
use onceward_hostile::random::setting;
use onceward_hostile::trace;

const DRIVER: &str = env!("CARGO_BIN_EXE_hostile-driver");

fn survey_run(syncs: Syncs) -> Found {
    let seed = setting("ONCEWARD_HOSTILE_SEED", 1);
    let folder = scratch();
    let work = tempfile::tempdir_in(folder.path()).expect("a folder");
    let records = folder.path().join("records");
    let messages = setting("ONCEWARD_HOSTILE_MESSAGES", 4).to_string();
    Driver::new(DRIVER, work.path(), &["effects", &messages]).traced(&records, syncs).run().expect("the run ends well");
    let found = survey(&trace::read(&records), seed);
    println!("seed {seed}, syncs {syncs:?}: {} states, {} broken", found.states, found.broken.len());
    found
}

#[test]
fn nothing_is_called_twice_when_the_power_goes() {
    let found = survey_run(Syncs::Pause);
    assert!(found.states > 50, "{found:?}");
    assert_eq!(found.broken, Vec::<String>::new());
}

#[test]
fn a_store_that_does_not_sync_is_caught_calling_twice() {
    let found = survey_run(Syncs::Ignore);
    assert!(found.broken.iter().any(|wrong| wrong.contains("called twice")), "{found:?}");
}
