//! A process that works until it is killed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::actor::{Actor, Errors};
use crate::history::Event;
use crate::house::{HISTORY, House, options};
use crate::journal::Journal;
use crate::workload::Worker;

/// Short, so that a stopped process loses its leases while the test watches.
pub const SHORT_LEASE: Duration = Duration::from_millis(250);

/// Works in `folder` as `process` for ever. Errors that no other process explains go into the history, as damage.
///
/// # Errors
/// When the store does not open.
pub fn work(folder: &Path, process: u32, seed: u64) -> Result<(), String> {
    let journal = Arc::new(Journal::append(&folder.join(HISTORY), process));
    let house = House::join(folder, options()).map_err(|error| {
        let text = format!("process {process} cannot open: {}: {error}", error.kind());
        journal.note(Event::Damaged { text: text.clone() });
        text
    })?;
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let errors = Errors::default();
            let actor = Actor { house: house.clone(), journal: journal.clone(), errors: errors.clone() };
            let mut worker = Worker::new(actor, format!("p{process}t{thread}"), seed + thread);
            let journal = journal.clone();
            scope.spawn(move || {
                loop {
                    worker.step();
                    let met = std::mem::take(&mut *errors.lock().expect("no panic while counting"));
                    for (kind, (_, text)) in met {
                        if !matches!(kind, "Conflict" | "LeaseLost") {
                            journal.note(Event::Damaged { text: format!("{kind} in process {process}: {text}") });
                        }
                    }
                }
            });
        }
    });
    Ok(())
}
