//! Real processes: the test binary runs itself again, as a helper that plays one role.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const ROLE: &str = "ONCEWARD_TEST_ROLE";
const PATH: &str = "ONCEWARD_TEST_PATH";
/// Begins what a helper says, so that it is told from the words of the test harness.
const MARK: &str = "helper: ";

/// The role and the file of this process, if it is a helper.
pub(crate) fn role() -> Option<(String, PathBuf)> {
    Some((std::env::var(ROLE).ok()?, std::env::var_os(PATH)?.into()))
}

/// In a helper: says a line to whoever started it.
pub(crate) fn say(line: &str) {
    println!("\n{MARK}{line}");
    std::io::stdout().flush().expect("the other end is there");
}

/// In a helper: waits for a line, or for the end of the one who started it.
pub(crate) fn hear() -> String {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).expect("reads");
    line.trim().to_owned()
}

/// A helper, from outside. It is killed when this is dropped.
pub(crate) struct Helper {
    child: Child,
    says: BufReader<ChildStdout>,
    hears: ChildStdin,
}

impl Helper {
    /// Starts this test binary again, to run only the test named `helper` with a role and a file.
    pub(crate) fn start(role: &str, path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("the test binary"))
            .args(["--exact", "helper", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(PATH, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the helper starts");
        let says = BufReader::new(child.stdout.take().expect("it is piped"));
        let hears = child.stdin.take().expect("it is piped");
        Helper { child, says, hears }
    }

    /// The next line it says; `None` when it has ended.
    pub(crate) fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        while self.says.read_line(&mut line).expect("reads") > 0 {
            if let Some(said) = line.trim().strip_prefix(MARK) {
                return Some(said.to_owned());
            }
            line.clear();
        }
        None
    }

    pub(crate) fn expect(&mut self, line: &str) {
        assert_eq!(self.hear().as_deref(), Some(line));
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.hears, "{line}").expect("the helper listens");
    }

    /// As `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it has ended");
    }

    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(done.expect("kill is there").success(), "{name}");
    }

    /// Waits until it has ended by itself. Returns whether it said that all was well.
    pub(crate) fn wait(mut self) -> bool {
        self.child.wait().expect("it ends").success()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
