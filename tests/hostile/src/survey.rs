//! A survey of power cuts: many crash states of one trace, each booted, audited and judged.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, mpsc};

use crate::history::{Entry, Event, Invariant, Violation, check, parse};
use crate::journal::Journal;
use crate::power::{Disk, Fate, Image};
use crate::process::scratch;
use crate::random::{Random, hash, setting};
use crate::trace::Record;

/// The number of the process that looks at a crash state.
pub const AUDITOR: u32 = 4_000_000_000;

/// How many states to look at, and which.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// About so many, before duplicates are taken out.
    pub states: u64,
    /// Chooses them.
    pub seed: u64,
}

impl Bounds {
    /// `states`, unless a soak run asks for more (`ONCEWARD_HOSTILE_STATES`), by the seed of the run (`ONCEWARD_HOSTILE_SEED`).
    pub fn of(states: u64) -> Bounds {
        Bounds { states: setting("ONCEWARD_HOSTILE_STATES", states), seed: setting("ONCEWARD_HOSTILE_SEED", 1) }
    }
}

/// A state that broke a promise.
#[derive(Debug, Clone)]
pub struct Broken {
    /// Where the power was cut, and what became of the unsynced writes.
    pub state: String,
    /// The first promise broken.
    pub violation: Violation,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.state, self.violation)
    }
}

/// What a survey found.
#[derive(Debug, Default)]
pub struct Survey {
    /// Distinct states looked at.
    pub states: u64,
    /// Of these, states in which something written was missing.
    pub lossy: u64,
    /// Those that broke a promise, one violation each.
    pub broken: Vec<Broken>,
}

impl Survey {
    /// Adds what another survey found.
    pub fn add(&mut self, other: Survey) {
        self.states += other.states;
        self.lossy += other.lossy;
        self.broken.extend(other.broken);
    }

    /// How many states broke this promise first.
    pub fn count(&self, invariant: Invariant) -> usize {
        self.broken.iter().filter(|one| one.violation.invariant == invariant).count()
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} states ({} lossy), {} broken", self.states, self.lossy, self.broken.len())?;
        let kinds: BTreeSet<Invariant> = self.broken.iter().map(|one| one.violation.invariant).collect();
        for kind in kinds {
            writeln!(f, "  {kind:?}: {} states", self.count(kind))?;
            for one in self.broken.iter().filter(|one| one.violation.invariant == kind).take(5) {
                writeln!(f, "    {one}")?;
            }
        }
        Ok(())
    }
}

struct State {
    name: String,
    image: Image,
    lossy: bool,
    history: Vec<Entry>,
}

/// Boots crash states of `trace` and judges each: `audit` looks at the files in the folder it is given, notes in the
/// journal what it sees and does, and gives back the entries of the journal.
///
/// # Panics
/// When the files of a state cannot be written.
pub fn survey(
    trace: &[Record],
    bounds: Bounds,
    audit: impl Fn(&Path, Journal, &[Entry], u64) -> Vec<Entry> + Sync,
) -> Survey {
    let found = Mutex::new(Survey::default());
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let (states, queue) = mpsc::sync_channel::<State>(workers * 2);
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no panic while taking").recv();
                    let Ok(state) = next else { break };
                    let violation = judge(&state, &audit);
                    let mut found = found.lock().expect("no panic while counting");
                    found.states += 1;
                    found.lossy += u64::from(state.lossy);
                    if let Some(violation) = violation {
                        found.broken.push(Broken { state: state.name, violation });
                    }
                }
            });
        }
        enumerate(trace, bounds, |state| states.send(state).is_ok());
        drop(states);
    });
    found.into_inner().expect("no panic while counting")
}

/// Walks the trace and gives out distinct states: before each change of the disk (what the program said until then binds
/// it most), spread evenly, fates by seed.
fn enumerate(trace: &[Record], bounds: Bounds, mut give: impl FnMut(State) -> bool) {
    let mut random = Random::new(bounds.seed);
    let cuts = trace.iter().filter(|record| !matches!(record, Record::Mark { .. } | Record::SyncBegin { .. })).count();
    let mut disk = Disk::default();
    let mut history: Vec<Entry> = Vec::new();
    let mut met = BTreeSet::new();
    for at in 0..=trace.len() {
        let record = trace.get(at);
        if !matches!(record, Some(Record::Mark { .. } | Record::SyncBegin { .. })) {
            let share = bounds.states as f64 / (cuts + 1) as f64;
            let extra = u64::from(random.below(1 << 20) < (share.fract() * f64::from(1 << 20)) as u64);
            for _ in 0..share as u64 + extra {
                let fate = choose(&disk, &mut random);
                let image = disk.image(fate);
                let print = image.iter().fold(history.len() as u64, |print, (name, bytes)| {
                    hash(&print.to_le_bytes()) ^ hash(name.as_bytes()).rotate_left(7) ^ hash(bytes)
                });
                let lossy = fate != Fate::KeepAll && disk.pending() > 0;
                let name = format!("seed {}, cut {at} of {}, {fate:?}", bounds.seed, trace.len());
                if met.insert(print) && !give(State { name, image, lossy, history: history.clone() }) {
                    return;
                }
            }
        }
        match record {
            Some(Record::Mark { text }) => {
                history.extend(parse(text));
                disk.apply(record.expect("just matched"));
            }
            Some(record) => disk.apply(record),
            None => {}
        }
    }
}

fn choose(disk: &Disk, random: &mut Random) -> Fate {
    match random.below(20) {
        0..=2 => Fate::DropAll,
        3 => Fate::KeepAll,
        4..=7 => Fate::Prefix(random.index(disk.pending() + 1)),
        _ => Fate::Random(random.draw()),
    }
}

fn judge(state: &State, audit: &(impl Fn(&Path, Journal, &[Entry], u64) -> Vec<Entry> + Sync)) -> Option<Violation> {
    let folder = scratch();
    for (name, bytes) in &state.image {
        std::fs::write(folder.path().join(name), bytes).expect("the state can be written");
    }
    let journal = Journal::memory(AUDITOR);
    journal.note(Event::PowerCut);
    let seed = hash(state.name.as_bytes());
    let audited = catch_unwind(AssertUnwindSafe(|| audit(folder.path(), journal, &state.history, seed)));
    let mut history = state.history.clone();
    match audited {
        Ok(entries) => history.extend(entries),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let text = format!("panic: {}", text.unwrap_or_default());
            return Some(Violation { invariant: Invariant::Integrity, at: history.len(), text });
        }
    }
    let violation = check(&history).into_iter().next();
    if let (Some(_), Ok(keep)) = (&violation, std::env::var("ONCEWARD_HOSTILE_KEEP")) {
        keep_state(state, &history, Path::new(&keep));
    }
    violation
}

/// For a closer look: the state before the audit, and the history with it.
fn keep_state(state: &State, history: &[Entry], keep: &Path) {
    let folder = keep.join(state.name.replace([' ', ',', '(', ')'], "_"));
    std::fs::create_dir_all(&folder).expect("the folder to keep states in");
    for (name, bytes) in &state.image {
        std::fs::write(folder.join(name), bytes).expect("the state can be written");
    }
    let text: String = history.iter().map(crate::history::format_entry).collect();
    std::fs::write(folder.join("judged.history"), text).expect("the history can be written");
}

/// Asserts that replaying a whole trace gives the files that are in the folder: nothing escaped the recorder.
///
/// # Panics
/// When it does not.
pub fn assert_nothing_escaped(trace: &[Record], folder: &Path) {
    let mut disk = Disk::default();
    for record in trace {
        disk.apply(record);
    }
    let replayed = disk.image(Fate::KeepAll);
    let watched = |name: &str| !name.ends_with("-shm") && !name.ends_with("-onceward") && !name.ends_with(".history");
    let mut found = Image::new();
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("names are text");
        if watched(&name) {
            found.insert(name, std::fs::read(entry.path()).expect("a file"));
        }
    }
    let names = |image: &Image| image.iter().map(|(name, bytes)| (name.clone(), bytes.len())).collect::<Vec<_>>();
    assert_eq!(names(&replayed), names(&found), "names and sizes, replayed and found");
    assert!(replayed == found, "the bytes of a file differ: a write escaped the recorder");
}
