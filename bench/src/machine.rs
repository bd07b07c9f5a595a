//! The machine a run was made on: without it a figure says nothing.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use crate::args::Plan;
use crate::measure::{Outcome, Spread, micros, verify};
use crate::targets::singles::THREADS;

const SYNC_BYTES: usize = 4096;
/// Long enough for a processor with nothing to do to fall asleep.
const IDLE: Duration = Duration::from_millis(3);

/// A folder of our own, removed at the end.
#[derive(Debug)]
pub(crate) struct WorkFolder {
    path: PathBuf,
}

impl WorkFolder {
    /// Creates a fresh folder under `parent`, or beside this program. Refuses file systems that live in memory.
    pub(crate) fn create(parent: Option<&Path>) -> Outcome<Self> {
        let program = std::env::current_exe()?;
        let beside = program.parent().ok_or("this program has no folder")?;
        let parent = std::fs::canonicalize(parent.unwrap_or(beside))?;
        let file_system = file_system(&parent)?;
        verify(!matches!(file_system.as_str(), "tmpfs" | "ramfs"), || {
            format!("{} is on {file_system}, which never syncs; give another folder with --dir", parent.display())
        })?;
        let path = parent.join(format!("onceward-bench-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        Ok(WorkFolder { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Processor, kernel, file system, SQLite, and what a sync and the waking of threads cost, as a list of Markdown.
pub(crate) fn describe(plan: &Plan) -> Outcome<String> {
    let cpu = read("/proc/cpuinfo")?;
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']).trim());
    let cores = std::thread::available_parallelism()?;
    let kernel = read("/proc/sys/kernel/osrelease")?;
    let memory_kib = field(&read("/proc/meminfo")?, "MemTotal:").unwrap_or(0);
    let (append, overwrite) = sync_micros(plan)?;
    let wake = wake_micros(plan)?;
    let meeting = meeting_micros(plan)?;
    let spread = |spread: Spread| format!("{:.0} µs ({:.0} – {:.0})", spread.median, spread.min, spread.max);
    Ok(format!(
        "- machine: {model}, {cores} cores, {:.0} GiB of memory, Linux {}\n\
         - file system of the work folder: {}\n\
         - one fdatasync of 4 KiB, median (min – max): appended {}, overwritten {}\n\
         - waking a thread that has slept for a few milliseconds: {}; {THREADS} threads that meet at a barrier and go on: {}\n\
         - SQLite {}; onceward-bench {}, {} build",
        memory_kib as f64 / 1024.0 / 1024.0,
        kernel.trim(),
        file_system(&plan.dir)?,
        spread(append),
        spread(overwrite),
        spread(wake),
        spread(meeting),
        rusqlite::version(),
        env!("CARGO_PKG_VERSION"),
        if cfg!(debug_assertions) { "debug" } else { "release" },
    ))
}

/// The type of the file system that holds the path: that of the longest mount point above it.
fn file_system(path: &Path) -> Outcome<String> {
    let mounts = read("/proc/self/mounts")?;
    let found = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(mount_point, _)| path.starts_with(mount_point))
        .max_by_key(|(mount_point, _)| mount_point.len());
    Ok(found.ok_or_else(|| format!("no mount point holds {}", path.display()))?.1.to_owned())
}

/// What a sync costs when the file grows, and when it does not.
fn sync_micros(plan: &Plan) -> Outcome<(Spread, Spread)> {
    let path = plan.file("sync");
    let mut file = std::fs::File::create(&path)?;
    let count = plan.size(300, 5);
    let mut once = || {
        micros(|| {
            file.write_all(&[7; SYNC_BYTES])?;
            Ok(file.sync_data()?)
        })
    };
    let append = (0..count).map(|_| once()).collect::<Outcome<Vec<_>>>()?;
    let mut overwrite = Vec::with_capacity(count);
    for _ in 0..count {
        file.seek(SeekFrom::Start(0))?;
        overwrite.push(micros(|| {
            file.write_all(&[8; SYNC_BYTES])?;
            Ok(file.sync_data()?)
        })?);
    }
    std::fs::remove_file(&path)?;
    Ok((Spread::of(&append), Spread::of(&overwrite)))
}

/// How long it takes until a thread that slept runs, which is the least that waking a receiver takes.
fn wake_micros(plan: &Plan) -> Outcome<Spread> {
    let (wake, sleeps) = mpsc::sync_channel::<Instant>(1);
    let sleeper =
        std::thread::spawn(move || sleeps.iter().map(|at| at.elapsed().as_secs_f64() * 1e6).collect::<Vec<_>>());
    for _ in 0..plan.size(200, 5) {
        std::thread::sleep(IDLE);
        wake.send(Instant::now())?;
    }
    drop(wake);
    Ok(Spread::of(&sleeper.join().map_err(|_| "a sleeping thread panicked")?))
}

/// How long it takes until each of many threads was woken by the last one and sleeps again, which is the least that a commit
/// for all of them takes.
fn meeting_micros(plan: &Plan) -> Outcome<Spread> {
    let barrier = Arc::new(Barrier::new(THREADS));
    let rounds = plan.size(300, 5);
    let others: Vec<_> = (1..THREADS)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            std::thread::spawn(move || {
                for _ in 0..=rounds {
                    barrier.wait();
                }
            })
        })
        .collect();
    barrier.wait();
    let meet = || {
        barrier.wait();
        Ok(())
    };
    let times = (0..rounds).map(|_| micros(meet)).collect::<Outcome<Vec<_>>>()?;
    for other in others {
        other.join().map_err(|_| "a waiting thread panicked")?;
    }
    Ok(Spread::of(&times))
}

/// How busy the machine was with others while we measured.
#[derive(Debug)]
pub(crate) struct Usage {
    ticks: Vec<u64>,
    start: Instant,
}

impl Usage {
    pub(crate) fn now() -> Self {
        Usage { ticks: cpu_ticks(), start: Instant::now() }
    }

    /// The time taken, and the share of processor time that the host gave to other machines.
    pub(crate) fn since(&self) -> String {
        let spent: Vec<u64> =
            cpu_ticks().iter().zip(&self.ticks).map(|(now, then)| now.saturating_sub(*then)).collect();
        let all: u64 = spent.iter().take(8).sum();
        let stolen = spent.get(7).copied().unwrap_or(0);
        let seconds = self.start.elapsed().as_secs();
        format!("took {seconds} s; {:.1}% of the processor time was stolen by the host", percent(stolen, all))
    }
}

fn percent(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 * 100.0 / all as f64 }
}

/// The counters of the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, …
fn cpu_ticks() -> Vec<u64> {
    let stat = read("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect()
}

/// The number behind a name in a file of the form `Name:  123 kB`.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Nanoseconds of processor time that all threads of a process have used.
pub(crate) fn cpu_ns(process: u32) -> Outcome<u64> {
    let mut total = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let path = thread?.path().join("schedstat");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        total += text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(total)
}

fn read(path: &str) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}").into())
}
