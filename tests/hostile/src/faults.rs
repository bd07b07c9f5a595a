//! A run whose disk fails: builds the queues on a healthy disk, works while calls fail, and works on when they no longer do.

use std::path::Path;
use std::sync::Arc;

use crate::actor::Errors;
use crate::history::Event;
use crate::house::{HISTORY, House, options};
use crate::journal::Journal;
use crate::workload::{LONG_LEASE, Run, live};

/// The preloaded library arms its fault at this note, and disarms it at the other.
const FAULT_ON: &str = "fault on";
const FAULT_OFF: &str = "fault off";

/// Works in `folder`. The answer says which errors came while the disk failed.
///
/// # Errors
/// When something fails on the healthy disk, before or after.
pub fn work(folder: &Path, threads: u64, steps: u64, seed: u64) -> Result<Errors, String> {
    let path = folder.join(HISTORY);
    let errors = Errors::default();
    let journal = Arc::new(Journal::append(&path, 1));
    House::declare(&journal, LONG_LEASE);
    let house = House::open(folder, options(), LONG_LEASE).map_err(|error| format!("before: {error}"))?;
    let run = Run { lives: 1, threads, steps, seed };
    healthy(&house, &journal, Run { steps: 10, ..run }, "before")?;
    journal.note(Event::Note { text: FAULT_ON.to_owned() });
    live(&house, &journal, &errors, Run { seed: seed + 500, ..run });
    journal.note(Event::Note { text: FAULT_OFF.to_owned() });
    // What the store answers in the same process may still be an error: it may have to be opened again. Never a wrong ok.
    let after = Errors::default();
    live(&house, &journal, &after, Run { seed: seed + 600, steps: 10, ..run });
    journal.note(Event::Crash { process: 1 });
    // After a failed sync, closing may report that again.
    let _ = house.store.close();
    drop(house);

    let journal = Arc::new(Journal::append(&path, 2));
    let house = House::open(folder, options(), LONG_LEASE).map_err(|error| format!("opening again: {error}"))?;
    healthy(&house, &journal, Run { seed: seed + 700, steps: 20, ..run }, "after")?;
    journal.note(Event::Crash { process: 2 });
    house.store.close().map_err(|error| format!("closing at the end: {error}"))?;
    Ok(errors)
}

fn healthy(house: &House, journal: &Arc<Journal>, run: Run, when: &str) -> Result<(), String> {
    let errors = Errors::default();
    live(house, journal, &errors, run);
    let errors = errors.lock().expect("no panic while counting");
    match errors.iter().find(|(kind, _)| !matches!(**kind, "Conflict" | "LeaseLost")) {
        Some((kind, (count, text))) => Err(format!("{count} errors {kind} {when} the fault: {text}")),
        None => Ok(()),
    }
}
