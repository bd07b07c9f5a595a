//! How a process writes its history: one line before each call, one after it, each in one appending `write`.
//!
//! All processes append to one file, so the order of lines is the order of events; and what a killed process wrote
//! stays, because the kernel has it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::history::{Call, Entry, Event, format_entry};

/// The history of one process, or of one life of a store within it.
#[derive(Debug)]
pub struct Journal {
    process: u32,
    calls: AtomicU64,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    File(File),
    Memory(Mutex<Vec<Entry>>),
}

/// Milliseconds of the monotonic clock, which all processes of a machine share.
pub fn now_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

impl Journal {
    /// Appends to the history at `path` as `process`, a number that no other life of a process has.
    ///
    /// # Panics
    /// When the file cannot be opened.
    pub fn append(path: &Path, process: u32) -> Journal {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.unwrap_or_else(|error| panic!("the history {}: {error}", path.display()));
        Journal { process, calls: AtomicU64::new(0), sink: Sink::File(file) }
    }

    /// Keeps the history in memory.
    pub fn memory(process: u32) -> Journal {
        Journal { process, calls: AtomicU64::new(0), sink: Sink::Memory(Mutex::new(Vec::new())) }
    }

    /// The number of this process.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// A number for a new call, unique in the history.
    pub fn call(&self) -> Call {
        u64::from(self.process) << 32 | self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes one entry.
    ///
    /// # Panics
    /// When the history cannot be written: without it a run proves nothing.
    pub fn note(&self, event: Event) {
        let entry = Entry { at_ms: now_ms(), process: self.process, event };
        match &self.sink {
            Sink::File(file) => {
                let mut file = file;
                file.write_all(format_entry(&entry).as_bytes()).expect("the history can be written");
            }
            Sink::Memory(entries) => entries.lock().expect("no panic while noting").push(entry),
        }
    }

    /// The entries of a history kept in memory.
    ///
    /// # Panics
    /// When the history is a file.
    pub fn into_entries(self) -> Vec<Entry> {
        match self.sink {
            Sink::Memory(entries) => entries.into_inner().expect("no panic while noting"),
            Sink::File(_) => panic!("this history is in its file"),
        }
    }
}
