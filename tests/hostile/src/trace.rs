//! What the preloaded library recorded: every change of the watched files, in order, with the data.

use std::path::Path;

/// One recorded event. Files are named by number; [`Record::Bind`] says what the number stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// `file` was created (or found, `size` bytes long) under `name`.
    Bind {
        /// Its number from here on.
        file: u32,
        /// Its name in the watched folder.
        name: String,
        /// Its size when it was first seen.
        size: u64,
    },
    /// A change of one file.
    Change {
        /// Which one.
        file: u32,
        /// What changed.
        change: Change,
    },
    /// A sync began: what was written before it is durable once it returned.
    SyncBegin {
        /// The number of the sync.
        ticket: u64,
    },
    /// The sync of `file` returned without an error.
    SyncEnd {
        /// The file it was for.
        file: u32,
        /// The number of the sync.
        ticket: u64,
    },
    /// The sync of `file` failed: what it was to cover may never reach the disk, whatever later syncs answer.
    SyncFailed {
        /// The file it was for.
        file: u32,
        /// The number of the sync.
        ticket: u64,
    },
    /// The name is gone.
    Unlink {
        /// Its name in the watched folder.
        name: String,
    },
    /// The folder was synced.
    FolderSync,
    /// The program said something in its history.
    Mark {
        /// The text it appended.
        text: String,
    },
}

/// A change of a file's bytes or size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Bytes at an offset.
    Write {
        /// Where.
        at: u64,
        /// What.
        data: Vec<u8>,
    },
    /// A new size.
    Truncate {
        /// In bytes.
        size: u64,
    },
    /// The file is at least this long.
    Allocate {
        /// In bytes.
        end: u64,
    },
}

/// Reads a trace.
///
/// # Panics
/// When the trace is damaged, or holds what cannot be replayed (a writable map of a database file).
pub fn read(path: &Path) -> Vec<Record> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("the trace {}: {error}", path.display()));
    let mut rest = bytes.as_slice();
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (record, tail) = one(rest).expect("the trace ends in the middle of a record");
        records.push(record);
        rest = tail;
    }
    records
}

fn one(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (kind, rest) = bytes.split_first_chunk::<4>()?;
    let (file, rest) = rest.split_first_chunk::<4>()?;
    let (a, rest) = rest.split_first_chunk::<8>()?;
    let (b, rest) = rest.split_first_chunk::<8>()?;
    let (len, rest) = rest.split_first_chunk::<8>()?;
    let (data, rest) = rest.split_at_checked(usize::try_from(u64::from_ne_bytes(*len)).ok()?)?;
    let (file, a, b) = (u32::from_ne_bytes(*file), u64::from_ne_bytes(*a), u64::from_ne_bytes(*b));
    let text = || String::from_utf8(data.to_vec()).expect("names and histories are text");
    let record = match u32::from_ne_bytes(*kind) {
        1 => Record::Bind { file, name: text(), size: a },
        2 => Record::Change { file, change: Change::Write { at: a, data: data.to_vec() } },
        3 => Record::Change { file, change: Change::Truncate { size: a } },
        4 => Record::Change { file, change: Change::Allocate { end: a + b } },
        5 => Record::SyncBegin { ticket: a },
        6 => Record::SyncEnd { file, ticket: a },
        7 => Record::SyncFailed { file, ticket: a },
        8 => Record::Unlink { name: text() },
        10 => Record::FolderSync,
        11 => Record::Mark { text: text() },
        12 => panic!("file {file} was mapped writable and shared: its changes cannot be recorded"),
        other => panic!("record kind {other} in the trace"),
    };
    Some((record, rest))
}
