//! Power cuts: every state the disk may be in when the power goes at some point of a trace.
//!
//! What was synced is there. Of what was not, anything may be: nothing, all, any prefix, any subset, sectors of 512 bytes
//! each on their own, and a file may have its new size without its new bytes. A file's name is durable once the file or
//! its folder was synced, and names become durable in their order. Bytes next to a write are never damaged: SQLite
//! assumes that, too.

use std::collections::BTreeMap;

use crate::random::Random;
use crate::trace::{Change, Record};

const SECTOR: u64 = 512;

/// The files of a folder, as the next boot finds them.
pub type Image = BTreeMap<String, Vec<u8>>;

#[derive(Debug, Clone)]
struct Pending {
    /// The position in the trace.
    at: usize,
    change: Change,
    /// A sync that was to cover it failed: later syncs do not make it durable.
    abandoned: bool,
}

#[derive(Debug, Clone, Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Debug, Clone)]
enum Naming {
    Bound(String, u32),
    Unlinked(String),
}

/// The disk at one point of a trace.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    files: BTreeMap<u32, File>,
    names: Vec<Naming>,
    /// So many of `names` are durable.
    names_durable: usize,
    sync_begins: BTreeMap<u64, usize>,
    at: usize,
}

/// What becomes of the writes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// None is there.
    DropAll,
    /// All are there.
    KeepAll,
    /// The first so many, over all files, are there.
    Prefix(usize),
    /// Each file has a fate of its own, by this seed.
    Random(u64),
}

impl Disk {
    /// Applies the next record of the trace.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Bind { file, name, size } => {
                assert_eq!(*size, 0, "{name} was there before the trace began");
                self.files.insert(*file, File::default());
                self.names.push(Naming::Bound(name.clone(), *file));
            }
            Record::Change { file, change } => {
                let pending = Pending { at: self.at, change: change.clone(), abandoned: false };
                self.file(*file).pending.push(pending);
            }
            Record::SyncBegin { ticket } => {
                self.sync_begins.insert(*ticket, self.at);
            }
            Record::SyncEnd { file, ticket } => {
                let begin = self.sync_begins.remove(ticket).expect("a sync that ends has begun");
                self.file(*file).make_durable(begin);
                let bound = |one: &Naming| matches!(one, Naming::Bound(_, number) if number == file);
                let named = self.names.iter().position(bound).map_or(0, |place| place + 1);
                self.names_durable = self.names_durable.max(named);
            }
            Record::SyncFailed { file, ticket } => {
                let begin = self.sync_begins.remove(ticket).expect("a sync that ends has begun");
                self.file(*file).pending.iter_mut().filter(|one| one.at < begin).for_each(|one| one.abandoned = true);
            }
            Record::Unlink { name } => self.names.push(Naming::Unlinked(name.clone())),
            Record::FolderSync => self.names_durable = self.names.len(),
            Record::Mark { .. } => {}
        }
        self.at += 1;
    }

    fn file(&mut self, number: u32) -> &mut File {
        self.files.get_mut(&number).expect("a file is bound before it is used")
    }

    /// How many changes no sync has made durable.
    pub fn pending(&self) -> usize {
        self.files.values().map(|file| file.pending.len()).sum()
    }

    /// The files as the next boot finds them, if this is what became of the unsynced changes.
    pub fn image(&self, fate: Fate) -> Image {
        let mut random = Random::new(match fate {
            Fate::Random(seed) => seed,
            _ => 0,
        });
        let unsynced_names = self.names.len() - self.names_durable;
        let names = match fate {
            Fate::DropAll => self.names_durable,
            Fate::KeepAll | Fate::Prefix(_) => self.names.len(),
            Fate::Random(_) => self.names_durable + random.index(unsynced_names + 1),
        };
        let mut bound: BTreeMap<&str, u32> = BTreeMap::new();
        for naming in &self.names[..names] {
            match naming {
                Naming::Bound(name, file) => bound.insert(name, *file),
                Naming::Unlinked(name) => bound.remove(name.as_str()),
            };
        }
        let limit = match fate {
            Fate::Prefix(count) => self.position_of_pending(count),
            _ => usize::MAX,
        };
        bound
            .into_iter()
            .map(|(name, number)| {
                let file = &self.files[&number];
                let bytes = match fate {
                    Fate::DropAll => file.durable.clone(),
                    Fate::KeepAll => file.with_prefix(usize::MAX),
                    Fate::Prefix(_) => file.with_prefix(limit),
                    Fate::Random(_) => file.at_random(&mut random),
                };
                (name.to_owned(), bytes)
            })
            .collect()
    }

    /// The position in the trace before which `count` pending changes stand.
    fn position_of_pending(&self, count: usize) -> usize {
        let mut positions: Vec<usize> =
            self.files.values().flat_map(|file| file.pending.iter().map(|one| one.at)).collect();
        positions.sort_unstable();
        positions.get(count).copied().unwrap_or(usize::MAX)
    }
}

impl File {
    fn make_durable(&mut self, begin: usize) {
        let mut left = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            if pending.at >= begin || pending.abandoned {
                left.push(pending);
                continue;
            }
            apply(&mut self.durable, &pending.change);
            // What was abandoned and is overwritten since no longer matters.
            if let Change::Write { at, data } = &pending.change {
                let written = *at..*at + data.len() as u64;
                left = left
                    .into_iter()
                    .flat_map(|old| if old.abandoned { old.outside(&written) } else { vec![old] })
                    .collect();
            }
        }
        self.pending = left;
    }

    fn with_prefix(&self, limit: usize) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        self.pending.iter().filter(|one| one.at < limit).for_each(|one| apply(&mut bytes, &one.change));
        bytes
    }

    fn at_random(&self, random: &mut Random) -> Vec<u8> {
        let count = self.pending.len();
        let mut bytes = self.durable.clone();
        let style = random.below(6);
        let cut = random.index(count + 1);
        let keep_percent = [10, 50, 90][random.index(3)];
        for (place, pending) in self.pending.iter().enumerate() {
            match style {
                1 => apply(&mut bytes, &pending.change),
                2 | 3 if place < cut => apply(&mut bytes, &pending.change),
                // A prefix whose last write is torn.
                3 if place == cut => apply_torn(&mut bytes, &pending.change, 50, random),
                4 if random.chance(keep_percent) => apply(&mut bytes, &pending.change),
                5 => apply_torn(&mut bytes, &pending.change, keep_percent, random),
                _ => {}
            }
        }
        self.resize_at_random(&mut bytes, random);
        bytes
    }

    /// Sizes are kept or lost on their own: a file may be long and empty, or short though its bytes were written.
    fn resize_at_random(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        let newest = self.with_prefix(usize::MAX).len();
        match random.below(4) {
            0 if newest > bytes.len() => bytes.resize(newest, 0),
            1 if self.durable.len() < bytes.len() => bytes.truncate(self.durable.len()),
            _ => {}
        }
    }
}

impl Pending {
    /// What of it lies outside `range`.
    fn outside(self, range: &std::ops::Range<u64>) -> Vec<Pending> {
        let Change::Write { at, data } = &self.change else { return vec![self] };
        let end = at + data.len() as u64;
        let parts = [*at..end.min(range.start), (*at).max(range.end)..end];
        let part = |part: std::ops::Range<u64>| {
            let data = data[(part.start - at) as usize..(part.end - at) as usize].to_vec();
            Pending { change: Change::Write { at: part.start, data }, ..self.clone() }
        };
        parts.into_iter().filter(|part| part.start < part.end).map(part).collect()
    }
}

fn write_at(bytes: &mut Vec<u8>, at: u64, data: &[u8]) {
    let (at, end) = (at as usize, at as usize + data.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(data);
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { at, data } => write_at(bytes, *at, data),
        Change::Truncate { size } => bytes.resize(*size as usize, 0),
        Change::Allocate { end } if bytes.len() < *end as usize => bytes.resize(*end as usize, 0),
        Change::Allocate { .. } => {}
    }
}

/// Each sector of a write arrives or does not.
fn apply_torn(bytes: &mut Vec<u8>, change: &Change, keep_percent: u64, random: &mut Random) {
    let Change::Write { at, data } = change else {
        if random.chance(keep_percent) {
            apply(bytes, change);
        }
        return;
    };
    let mut from = 0;
    while from < data.len() {
        let position = at + from as u64;
        let to = data.len().min(from + (SECTOR - position % SECTOR) as usize);
        if random.chance(keep_percent) {
            write_at(bytes, position, &data[from..to]);
        }
        from = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: u32, at: u64, data: &[u8]) -> Record {
        Record::Change { file, change: Change::Write { at, data: data.to_vec() } }
    }

    fn disk(records: &[Record]) -> Disk {
        let mut disk = Disk::default();
        for record in records {
            disk.apply(record);
        }
        disk
    }

    fn bind(file: u32, name: &str) -> Record {
        Record::Bind { file, name: name.to_owned(), size: 0 }
    }

    #[test]
    fn a_sync_covers_what_was_written_before_it_began() {
        let disk = disk(&[
            bind(1, "db"),
            write(1, 0, b"one"),
            Record::SyncBegin { ticket: 7 },
            write(1, 3, b"two"),
            Record::SyncEnd { file: 1, ticket: 7 },
        ]);
        assert_eq!(disk.image(Fate::DropAll)["db"], b"one");
        assert_eq!(disk.image(Fate::KeepAll)["db"], b"onetwo");
        assert_eq!(disk.pending(), 1);
    }

    #[test]
    fn a_sync_that_has_not_returned_promises_nothing() {
        let disk = disk(&[bind(1, "db"), write(1, 0, b"one"), Record::SyncBegin { ticket: 7 }]);
        assert!(disk.image(Fate::DropAll).is_empty(), "not even the name is durable");
        assert_eq!(disk.image(Fate::Prefix(0))["db"], b"");
    }

    #[test]
    fn what_a_failed_sync_was_to_cover_stays_lost_until_it_is_written_again() {
        let mut disk = disk(&[
            bind(1, "db"),
            Record::FolderSync,
            write(1, 0, b"one"),
            Record::SyncBegin { ticket: 1 },
            Record::SyncFailed { file: 1, ticket: 1 },
            Record::SyncBegin { ticket: 2 },
            Record::SyncEnd { file: 1, ticket: 2 },
        ]);
        assert_eq!(disk.image(Fate::DropAll)["db"], b"");
        for record in [write(1, 0, b"one"), Record::SyncBegin { ticket: 3 }, Record::SyncEnd { file: 1, ticket: 3 }] {
            disk.apply(&record);
        }
        assert_eq!((disk.image(Fate::DropAll)["db"].as_slice(), disk.pending()), (&b"one"[..], 0));
    }

    #[test]
    fn what_was_abandoned_does_not_come_back_where_it_was_written_over() {
        let failed = [
            bind(1, "db"),
            Record::FolderSync,
            write(1, 0, b"onetwothree"),
            Record::SyncBegin { ticket: 1 },
            Record::SyncFailed { file: 1, ticket: 1 },
        ];
        let again = [
            write(1, 3, b"TWO"),
            write(1, 0, b"ONE"),
            Record::SyncBegin { ticket: 2 },
            Record::SyncEnd { file: 1, ticket: 2 },
        ];
        let disk = disk(&[&failed[..], &again[..]].concat());
        let images: std::collections::BTreeSet<Vec<u8>> =
            (0..200).map(|seed| disk.image(Fate::Random(seed))["db"].clone()).collect();
        assert!(images.iter().all(|image| image.starts_with(b"ONETWO")), "{images:?}");
        assert!(images.contains(&b"ONETWO"[..]) && images.contains(&b"ONETWOthree"[..]), "{images:?}");
    }

    #[test]
    fn names_become_durable_in_their_order() {
        let disk = disk(&[bind(1, "db"), Record::FolderSync, Record::Unlink { name: "db".into() }, bind(2, "db")]);
        let sizes: std::collections::BTreeSet<usize> =
            (0..50).map(|seed| disk.image(Fate::Random(seed)).len()).collect();
        assert_eq!(sizes, [0, 1].into(), "the old file, no file, or the new one");
    }

    #[test]
    fn torn_writes_keep_or_lose_whole_sectors() {
        let data = vec![1u8; 2000];
        let disk = disk(&[bind(1, "db"), Record::FolderSync, write(1, 100, &data)]);
        let mut torn = 0;
        for seed in 0..200 {
            let image = disk.image(Fate::Random(seed));
            let file = &image["db"];
            for sector in file[100.min(file.len())..].chunk_by(|a, b| a == b) {
                torn += usize::from(sector.len() < 2000 && sector[0] == 1);
            }
            for (place, byte) in file.iter().enumerate().skip(100) {
                let first = (place / 512 * 512).max(100);
                assert_eq!(*byte, file[first], "seed {seed}: a sector is whole or missing");
            }
        }
        assert!(torn > 20, "{torn} torn states of 200");
    }
}
