//! A full disk, for real: a small file system in memory, filled to the last byte.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use onceward_hostile::audit::audit;
use onceward_hostile::history::{Event, check, parse};
use onceward_hostile::house::{House, options};
use onceward_hostile::journal::Journal;
use onceward_hostile::process::{Driver, scratch};
use onceward_hostile::survey::AUDITOR;
use onceward_hostile::workload::LONG_LEASE;

const DRIVER: &str = env!("CARGO_BIN_EXE_hostile-driver");
const DISK_BYTES: u64 = 24 << 20;
/// Set in a process that was started in its own mount namespace.
const UNSHARED: &str = "ONCEWARD_HOSTILE_UNSHARED";

/// A mounted small file system; the mount ends with it.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Result<Disk, String> {
        std::fs::create_dir(at).map_err(|error| error.to_string())?;
        let size = format!("size={DISK_BYTES},mode=0700");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "onceward-hostile"]).arg(at).output();
        let output = output.map_err(|error| format!("`mount` does not start: {error}"))?;
        if output.status.success() {
            return Ok(Disk(at.to_owned()));
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes every byte that is left.
    fn fill_up(&self) {
        let mut file = std::fs::File::create(self.ballast()).expect("an empty file takes no block");
        for part in [1 << 20, 4096, 1] {
            let zeros = vec![0u8; part];
            while file.write(&zeros).is_ok_and(|written| written > 0) {}
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Runs the test where mounting is permitted: here, or else as root of its own namespace.
fn where_mounting_is_permitted(test: &str, body: impl Fn(&Path, &Disk)) {
    let folder = scratch();
    let path = folder.path().canonicalize().expect("the folder").join("disk");
    let refused = match Disk::mount(&path) {
        Ok(disk) => return body(&path, &disk),
        Err(reason) => reason,
    };
    assert!(std::env::var_os(UNSHARED).is_none(), "cannot mount, even in an own namespace: {refused}");
    let itself = std::env::current_exe().expect("the path of this test");
    let output = Command::new("unshare")
        .arg("-rm")
        .arg(itself)
        .args([test, "--exact", "--nocapture"])
        .env(UNSHARED, "1")
        .output();
    let output =
        output.unwrap_or_else(|error| panic!("cannot mount ({refused}), and `unshare` does not start: {error}"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "this test needs a mount; mount: {refused}; under unshare -rm: {said}");
}

struct Filler {
    child: Child,
    words: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Filler {
    fn start(folder: &Path, process: u32, bytes: usize) -> Filler {
        let driver = Driver::new(DRIVER, folder, &["fill", &process.to_string(), &bytes.to_string()]);
        let mut child =
            driver.command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the driver starts");
        let words = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Filler { child, words, answers }
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.words, "{word}").expect("the driver listens");
    }

    /// The number in the answer.
    fn hear(&mut self, word: &str) -> u64 {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the driver answers");
        if line.is_empty() {
            let status = self.child.wait().expect("the driver ended");
            panic!("{word}: the driver ended with {status}");
        }
        let rest = line.trim_end().strip_prefix("ok").unwrap_or_else(|| panic!("{word}: {line}"));
        rest.trim().parse().unwrap_or(0)
    }
}

/// Tells all, then hears all, so that they work at the same time. The answer is the sum of theirs.
fn all(fillers: &mut [Filler], word: &str) -> u64 {
    for filler in fillers.iter_mut() {
        filler.tell(word);
    }
    fillers.iter_mut().map(|filler| filler.hear(word)).sum()
}

fn fill_and_empty(folder: &Path, disk: &Disk, bytes: usize, processes: u32) {
    let history = folder.with_extension("history");
    House::declare(&Journal::append(&history, 100), LONG_LEASE);
    House::open(folder, options(), LONG_LEASE).expect("builds the queues").store.close().expect("closes");
    let mut fillers: Vec<Filler> = (1..=processes).map(|process| Filler::start(folder, process, bytes)).collect();

    let sent = all(&mut fillers, "fill");
    assert!(sent * bytes as u64 > DISK_BYTES / 10, "{sent} messages do not fill this disk");
    disk.fill_up();
    let mut taken = all(&mut fillers, "drain");
    // What one had in hand while the other looked.
    taken += all(&mut fillers, "drain");
    assert!(taken >= sent, "{taken} taken of {sent} sent, on a disk without a free byte");
    std::fs::remove_file(disk.ballast()).expect("the ballast goes");
    all(&mut fillers, "send");
    let again = all(&mut fillers, "drain") + all(&mut fillers, "drain");
    assert!(again > 0, "what was sent afterwards comes out");
    all(&mut fillers, "close");
    for mut filler in fillers {
        drop(filler.words);
        assert!(filler.child.wait().expect("the driver ends").success());
    }
    let text = std::fs::read_to_string(&history).expect("the history");
    let mut entries = parse(&text);
    let journal = Journal::memory(AUDITOR);
    (1..=processes).for_each(|process| journal.note(Event::Crash { process }));
    entries.extend(audit(folder, journal, &[], 1));
    let violations = check(&entries);
    println!("{bytes} bytes, {processes} processes: {sent} sent until full, {} entries", entries.len());
    assert!(violations.is_empty(), "{} violations, the first: {}", violations.len(), violations[0]);
}

#[test]
fn a_full_disk_refuses_small_sends_and_nothing_else() {
    where_mounting_is_permitted("a_full_disk_refuses_small_sends_and_nothing_else", |folder, disk| {
        fill_and_empty(folder, disk, 100, 1);
    });
}

#[test]
fn a_full_disk_refuses_big_sends_and_nothing_else() {
    where_mounting_is_permitted("a_full_disk_refuses_big_sends_and_nothing_else", |folder, disk| {
        fill_and_empty(folder, disk, 20 << 10, 1);
    });
}

#[test]
fn a_full_disk_refuses_sends_of_two_processes_and_nothing_else() {
    where_mounting_is_permitted("a_full_disk_refuses_sends_of_two_processes_and_nothing_else", |folder, disk| {
        fill_and_empty(folder, disk, 1_000, 2);
    });
}
