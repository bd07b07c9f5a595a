//! kill -9 at any instruction, many times a second, and processes that are stopped for longer than their leases.

use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use onceward_hostile::audit::audit;
use onceward_hostile::history::{Entry, Event, Outcome, check, parse};
use onceward_hostile::house::{HISTORY, House, options};
use onceward_hostile::journal::Journal;
use onceward_hostile::kills::SHORT_LEASE;
use onceward_hostile::process::{Driver, scratch};
use onceward_hostile::random::{Random, setting};
use onceward_hostile::survey::AUDITOR;
use rustix::process::{Pid, Signal, kill_process};

const DRIVER: &str = env!("CARGO_BIN_EXE_hostile-driver");
/// The history's number for this test itself.
const PARENT: u32 = 3_000_000_000;

struct Killer<'a> {
    folder: &'a Path,
    journal: &'a Journal,
    lives: &'a AtomicU32,
    seed: u64,
}

impl Killer<'_> {
    fn start(&self) -> (u32, Child) {
        let process = self.lives.fetch_add(1, Ordering::Relaxed);
        let seed = (self.seed + u64::from(process) * 10).to_string();
        let driver = Driver::new(DRIVER, self.folder, &["worker", &process.to_string(), &seed]);
        (process, driver.command().spawn().expect("the worker starts"))
    }

    fn kill(&self, process: u32, child: &mut Child) {
        self.journal.note(Event::Crash { process });
        child.kill().expect("a child can be killed");
        child.wait().expect("a killed child ends");
    }

    /// Keeps `count` workers running and kills them at random. The answer is the number of kills.
    fn kill_at_random(&self, count: usize, over: &AtomicBool) -> u64 {
        let mut random = Random::new(self.seed);
        let mut workers: Vec<(u32, Child)> = (0..count).map(|_| self.start()).collect();
        let mut kills = 0;
        while !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_micros(random.below(20_000)));
            let place = random.index(count);
            let (process, child) = &mut workers[place];
            self.kill(*process, child);
            kills += 1;
            workers[place] = self.start();
        }
        for (process, child) in &mut workers {
            self.kill(*process, child);
        }
        kills
    }

    /// Stops one worker for longer than its leases, again and again.
    fn stop_and_go(&self, over: &AtomicBool) -> u64 {
        let (process, mut child) = self.start();
        let pid = Pid::from_child(&child);
        let mut stops = 0;
        while !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
            kill_process(pid, Signal::STOP).expect("a child can be stopped");
            std::thread::sleep(SHORT_LEASE + Duration::from_millis(50));
            kill_process(pid, Signal::CONT).expect("a child can be continued");
            stops += 1;
        }
        self.kill(process, &mut child);
        stops
    }
}

fn settles_told_lost(entries: &[Entry]) -> usize {
    let lost = |entry: &&Entry| match &entry.event {
        Event::SettleEnd { outcome: Outcome::Ok(lost), .. } => !lost.is_empty(),
        Event::CommitEnd { outcome: Outcome::Refused(kind), .. } => kind == "LeaseLost",
        _ => false,
    };
    entries.iter().filter(lost).count()
}

/// Kills that hit a process in the middle of a call.
fn kills_in_a_call(entries: &[Entry]) -> usize {
    let mut open = std::collections::HashMap::<u32, i64>::new();
    let mut hits = 0;
    for entry in entries {
        let process = entry.process;
        match &entry.event {
            Event::SendBegin { .. }
            | Event::ReceiveBegin { .. }
            | Event::SettleBegin { .. }
            | Event::CommitBegin { .. } => {
                *open.entry(process).or_default() += 1;
            }
            Event::SendEnd { .. } | Event::ReceiveEnd { .. } | Event::SettleEnd { .. } | Event::CommitEnd { .. } => {
                *open.entry(process).or_default() -= 1;
            }
            _ => {}
        }
    }
    for (_, calls) in open {
        hits += usize::from(calls > 0);
    }
    hits
}

#[test]
fn no_promise_breaks_under_kill_nine_and_stopped_processes() {
    let seed = setting("ONCEWARD_HOSTILE_SEED", 1);
    let time = Duration::from_secs(setting("ONCEWARD_HOSTILE_SECONDS", 15));
    let folder = scratch();
    let path = folder.path().canonicalize().expect("the folder");
    let journal = Journal::append(&path.join(HISTORY), PARENT);
    House::declare(&journal, SHORT_LEASE);
    House::open(&path, options(), SHORT_LEASE).expect("builds the queues").store.close().expect("closes");

    let (over, lives) = (AtomicBool::new(false), AtomicU32::new(1));
    let killer = Killer { folder: &path, journal: &journal, lives: &lives, seed };
    let begin = Instant::now();
    let (kills, stops) = std::thread::scope(|scope| {
        let kills = scope.spawn(|| killer.kill_at_random(4, &over));
        let stops = scope.spawn(|| killer.stop_and_go(&over));
        std::thread::sleep(time);
        over.store(true, Ordering::Relaxed);
        (kills.join().expect("the killer ends"), stops.join().expect("the stopper ends"))
    });
    let took = begin.elapsed();

    let text = std::fs::read_to_string(path.join(HISTORY)).expect("the history");
    let mut entries = parse(&text);
    let audited = audit(&path, Journal::memory(AUDITOR), &entries, seed);
    let (worked, lost, hit) = (entries.len(), settles_told_lost(&entries), kills_in_a_call(&entries));
    entries.extend(audited);
    let violations = check(&entries);
    println!(
        "seed {seed}: {kills} kills in {took:?} ({hit} in the middle of a call), {stops} stops, {worked} entries, \
         {lost} late settles refused, {} violations",
        violations.len()
    );
    for violation in violations.iter().take(20) {
        println!("  {violation}");
    }
    if let (false, Ok(keep)) = (violations.is_empty(), std::env::var("ONCEWARD_HOSTILE_KEEP")) {
        let text: String = entries.iter().map(onceward_hostile::history::format_entry).collect();
        std::fs::write(Path::new(&keep).join("kills.history"), text).expect("the history can be kept");
    }
    assert!(violations.is_empty(), "seed {seed}: {} violations, the first: {}", violations.len(), violations[0]);
    assert!(hit as u64 > kills / 10, "seed {seed}: only {hit} of {kills} kills hit a call");
    assert!(lost > 0, "seed {seed}: no late settle was refused, so stopping proved nothing");
}
