//! Tests of the module as a whole: with SQLite on top, with other processes, and with a stand-in for a second SQLite.

mod forks;
mod locks;
mod sides;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::side::SideFile;

const ROLE: &str = "ONCEWARD_SYS_TEST_PATH";

/// Longer than anything here takes on a busy machine; reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// The side file, which must be there or be made.
fn side_at(path: &Path) -> SideFile {
    SideFile::open(path, PATIENCE).expect("a side file")
}

/// Where this process works, if it is the helper process of a test rather than the test.
fn helper_path() -> Option<PathBuf> {
    std::env::var_os(ROLE).map(PathBuf::from)
}

/// Another process that runs the same test, with [`helper_path`] set. It is killed on drop.
struct Helper {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Helper {
    /// `test` is the test's full name, with the crate's in front.
    fn start(test: &str, path: &Path) -> Helper {
        let name = test.split_once("::").expect("a path with the crate's name").1;
        let mut process = Command::new(std::env::current_exe().expect("the test binary"))
            .args(["--exact", name, "--nocapture", "--include-ignored"])
            .env(ROLE, path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a helper process");
        let output = BufReader::new(process.stdout.take().expect("a pipe"));
        Helper { process, output }
    }

    /// What the helper said after `word`, in the first line that begins with it.
    fn said(&mut self, word: &str) -> String {
        for line in (&mut self.output).lines() {
            // The test harness writes the test's name without a newline before the helper's first line.
            if let Some((_, rest)) = line.expect("a line of text").split_once(word) {
                return rest.trim().to_owned();
            }
        }
        panic!("the helper ended without saying {word}");
    }

    fn kill(&mut self) {
        self.process.kill().expect("SIGKILL");
        self.process.wait().expect("its status");
    }

    fn succeeded(mut self) -> bool {
        let status = self.process.wait().expect("its status").success();
        std::mem::forget(self);
        status
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How many descriptors of this process lead to paths that begin with `path`.
fn descriptors_of(path: &Path) -> usize {
    let path = path.to_str().expect("a readable path");
    let links = std::fs::read_dir("/proc/self/fd").expect("/proc");
    links
        .filter_map(|link| std::fs::read_link(link.ok()?.path()).ok())
        .filter(|target| target.to_str().is_some_and(|target| target.starts_with(path)))
        .count()
}
