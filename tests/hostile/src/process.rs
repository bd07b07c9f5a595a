//! Starts driver processes, with or without something between them and their disk.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A temporary folder, in memory where the system has such a file system: what a sync costs does not matter here.
///
/// # Panics
/// When none can be created.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("hostile-").tempdir_in(parent).expect("a temporary folder")
}

/// What the preloaded library does with a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncs {
    /// Passes it on.
    Real,
    /// Sleeps instead, so that other threads run while it lasts.
    Pause,
    /// Answers 0 and does nothing: the seeded bug.
    Ignore,
}

/// A driver process to be.
#[derive(Debug)]
pub struct Driver {
    command: Command,
    folder: PathBuf,
}

impl Driver {
    /// The driver at `program`, working in `folder`, with these words.
    ///
    /// # Panics
    /// When there is no such folder.
    pub fn new(program: &str, folder: &Path, words: &[&str]) -> Driver {
        let folder = folder.canonicalize().expect("the folder exists");
        let mut command = Command::new(program);
        command.arg(&folder).args(words).stdin(Stdio::null());
        Driver { command, folder }
    }

    fn preload(&mut self) {
        self.command.env("LD_PRELOAD", env!("ONCEWARD_PRELOAD")).env("HOSTILE_WATCH", &self.folder);
    }

    /// Records what it does to its disk.
    #[must_use]
    pub fn traced(mut self, trace: &Path, syncs: Syncs) -> Driver {
        self.preload();
        let word = match syncs {
            Syncs::Real => "real",
            Syncs::Pause => "pause",
            Syncs::Ignore => "ignore",
        };
        self.command.env("HOSTILE_TRACE", trace).env("HOSTILE_SYNC", word);
        self
    }

    /// Makes calls fail: `class:nth:error:once|sticky:file`, as the preloaded library describes it.
    #[must_use]
    pub fn faulty(mut self, fault: &str) -> Driver {
        self.preload();
        self.command.env("HOSTILE_FAULT", fault);
        self
    }

    /// The command, for callers that keep the process.
    pub fn command(self) -> Command {
        self.command
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// What it said, when it did not end well.
    ///
    /// # Panics
    /// When it does not start.
    pub fn run(mut self) -> Result<String, String> {
        let output = self.command.output().expect("the driver starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("the driver ended with {}: {text}{said}", output.status))
    }
}
