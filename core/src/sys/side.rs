//! The side file `<db>-onceward`: what processes with the same store open share besides the database.
//!
//! It owns the file, a mapping of its words (doorbells and counters), and locks on byte ranges beyond its end: one per
//! open store (a *slot*), one for opening and migrating, and the two of the write lock (see `turns`).
//!
//! It must never hold anything that has to survive: after a power cut it may read as zeros.
//!
//! Invariants:
//! - Each `SideFile` takes its locks through an open file description of its own, which is never mapped: two stores
//!   exclude each other within a process as well, and a forked child cannot keep a lock.
//! - The file is written in full before it is mapped, so that no access needs disk space later.
//! - A file that is not ours is never changed.

use super::fork::{self, Role};
use super::futex;
use super::os::{self, Identity, Lock};
use super::pool;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many words the callers share.
pub(crate) const WORDS: usize = 1024;
/// How many stores may have one file open at the same time.
pub(crate) const SLOTS_MAX: u32 = 1024;

const MAGIC: [u8; 8] = *b"ONCEWARD";
const LAYOUT_VERSION: u32 = 1;
const HEADER_BYTES: usize = 4096;
const FILE_BYTES: usize = HEADER_BYTES + WORDS * 4;
const MAPPED_WORDS: usize = FILE_BYTES / 4;
const WORDS_START: usize = HEADER_BYTES / 4;

/// Header words that count the sleepers on the words.
const SLEEPERS_START: usize = WORDS_START - SLEEPERS;
const SLEEPERS: usize = 512;

const SLOTS_START: i64 = 1 << 20;
const OPEN_BYTE: i64 = 1 << 21;
const CREATE_BYTE: i64 = OPEN_BYTE + 1;
/// Creating takes microseconds: who waits for nothing else waits for this.
const CREATE_WAIT_MIN: Duration = Duration::from_secs(1);
/// The turnstile and, in the next byte, the write lock: adjacent, so that one call can take both.
pub(super) const TURNSTILE_BYTE: i64 = OPEN_BYTE + 2;
pub(super) const WRITE_BYTE: i64 = OPEN_BYTE + 3;

const _: () = assert!(FILE_BYTES == 8192, "the layout is fixed by its version");
const _: () = assert!(SLOTS_START + (SLOTS_MAX as i64) <= OPEN_BYTE, "slots and other locks must not meet");

/// The side file of one open store, or its stand-in for a store in memory.
#[derive(Debug)]
pub(crate) struct SideFile {
    shared: Shared,
    /// The slots of this store: a lock query does not see one's own locks.
    claimed: Mutex<Vec<u32>>,
    opening: Mutex<()>,
    pub(super) turn: Mutex<Turn>,
    /// Held with the write lock: a descriptor's locks do not exclude its own threads.
    pub(super) writing: Mutex<()>,
}

#[derive(Debug)]
enum Shared {
    File { mapping: Mapping, file: Descriptor, path: CString, identity: Identity },
    Memory(Box<[AtomicU32; MAPPED_WORDS]>),
}

/// When this store last got the write lock by queueing for it, and which turn that was.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) started: Option<Instant>,
    pub(super) number: u32,
}

/// The lock for opening and migrating; let go on drop.
#[derive(Debug)]
pub(crate) struct Guard<'a> {
    side: &'a SideFile,
    _this_process: MutexGuard<'a, ()>,
}

impl SideFile {
    /// Opens the side file, creating it with mode 0600 if it is missing.
    ///
    /// `InvalidData` if something else is at the path, or a newer layout; it is left as it is. `TimedOut` if another store has
    /// not finished creating it within `timeout`, or a second where that is longer.
    pub(crate) fn open(path: &Path, timeout: Duration) -> io::Result<SideFile> {
        let c_path = os::c_path(path)?;
        let file = Descriptor::open(&c_path, libc::O_CREAT)?;
        let patience = timeout.max(CREATE_WAIT_MIN);
        if !os::lock_within(file.fd(), CREATE_BYTE, 1, patience)? {
            return Err(still_opening(patience));
        }
        let prepared = file.prepare(path);
        os::try_lock(file.fd(), Lock::None, CREATE_BYTE, 1)?;
        prepared?;
        let identity = os::fstat(file.fd())?.identity;
        // A mapping keeps its open file description alive, also in a forked child: it must not be the one with the locks.
        let mapped = Descriptor::open(&c_path, 0)?;
        if os::fstat(mapped.fd())?.identity != identity {
            let message = format!("{} was replaced while it was being opened", path.display());
            return Err(io::Error::other(message));
        }
        let mapping = Mapping::of(mapped.fd())?;
        Ok(SideFile::with(Shared::File { mapping, file, path: c_path, identity }))
    }

    /// The stand-in for a store in memory, which no other process can open: locks are always granted.
    pub(crate) fn private() -> SideFile {
        SideFile::with(Shared::Memory(Box::new([const { AtomicU32::new(0) }; MAPPED_WORDS])))
    }

    /// A shared word. Zero in a new file.
    pub(crate) fn word(&self, index: usize) -> &AtomicU32 {
        assert!(index < WORDS, "invariant: word {index} is within {WORDS}");
        &self.all_words()[WORDS_START + index]
    }

    /// Sleeps while the word is `expected`. Returns false only if the time ran out.
    pub(crate) fn wait(&self, index: usize, expected: u32, timeout: Option<Duration>) -> bool {
        // Counted first, asleep second: who changes the word after this sleeper last looked sees it in the count.
        self.sleepers(index).fetch_add(1, Ordering::SeqCst);
        let woken = match self.shared {
            Shared::File { .. } => futex::wait_shared(self.word(index), expected, timeout),
            Shared::Memory(_) => futex::wait(self.word(index), expected, timeout),
        };
        self.sleepers(index).fetch_sub(1, Ordering::SeqCst);
        woken
    }

    /// Wakes up to `count` threads that sleep on the word, in any process. Call after changing the word, with `SeqCst`.
    pub(crate) fn wake(&self, index: usize, count: u32) {
        if self.sleepers(index).load(Ordering::SeqCst) == 0 {
            return;
        }
        match self.shared {
            Shared::File { .. } => futex::wake_shared(self.word(index), count),
            Shared::Memory(_) => futex::wake(self.word(index), count),
        }
    }

    /// Claims the first free slot, until it is released, drop or death. None if all are taken.
    pub(crate) fn claim_slot(&self) -> io::Result<Option<u32>> {
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in (0..SLOTS_MAX).filter(|slot| !claimed.contains(slot)) {
            let granted = match self.lock_fd() {
                Some(fd) => os::try_lock(fd, Lock::Exclusive, slot_byte(slot), 1)?,
                None => true,
            };
            if granted {
                claimed.push(slot);
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    /// Lets a slot go that this store has claimed.
    pub(crate) fn release_slot(&self, slot: u32) {
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fd) = self.lock_fd() {
            // What cannot be let go now is let go with the descriptor.
            let _ = os::try_lock(fd, Lock::None, slot_byte(slot), 1);
        }
        claimed.retain(|other| *other != slot);
    }

    /// Whether a living store, this one or another, has claimed the slot.
    pub(crate) fn is_slot_held(&self, slot: u32) -> io::Result<bool> {
        if slot >= SLOTS_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("slot is {slot}; the limit is {SLOTS_MAX}"),
            ));
        }
        if self.claimed.lock().unwrap_or_else(PoisonError::into_inner).contains(&slot) {
            return Ok(true);
        }
        match self.lock_fd() {
            Some(fd) => os::is_locked_by_another(fd, slot_byte(slot), 1),
            None => Ok(false),
        }
    }

    /// Waits until no other store is opening or migrating the file, and keeps others from it until drop. `TimedOut` if one
    /// still is after `timeout`.
    pub(crate) fn open_guard(&self, timeout: Duration) -> io::Result<Guard<'_>> {
        let this_process = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fd) = self.lock_fd()
            && !os::lock_within(fd, OPEN_BYTE, 1, timeout)?
        {
            return Err(still_opening(timeout));
        }
        Ok(Guard { side: self, _this_process: this_process })
    }

    /// Whether the path still names this side file. A deleted one no longer connects to the others.
    pub(crate) fn still_at_path(&self) -> bool {
        match &self.shared {
            Shared::File { path, identity, .. } => {
                os::stat(path, false).is_ok_and(|status| status.identity == *identity)
            }
            Shared::Memory(_) => true,
        }
    }

    #[cfg(test)]
    pub(crate) fn sleeping(&self, index: usize) -> u32 {
        self.sleepers(index).load(Ordering::SeqCst)
    }

    /// How many sleep on the word, or on one that it shares the count with; more when some were killed in their sleep,
    /// which costs those who wake a call and nothing else.
    fn sleepers(&self, index: usize) -> &AtomicU32 {
        self.header_word(SLEEPERS_START + index % SLEEPERS)
    }

    /// The descriptor that carries this store's locks, if locks are needed at all.
    pub(super) fn lock_fd(&self) -> Option<RawFd> {
        match &self.shared {
            Shared::File { file, .. } => Some(file.fd()),
            Shared::Memory(_) => None,
        }
    }

    /// A word of the header, for this module's own use. The first words are the magic and the version.
    pub(super) fn header_word(&self, index: usize) -> &AtomicU32 {
        debug_assert!((3..WORDS_START).contains(&index), "invariant: header word {index} is free to use");
        &self.all_words()[index]
    }

    fn with(shared: Shared) -> SideFile {
        SideFile {
            shared,
            claimed: Mutex::default(),
            opening: Mutex::default(),
            turn: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    fn all_words(&self) -> &[AtomicU32; MAPPED_WORDS] {
        match &self.shared {
            Shared::File { mapping, .. } => mapping.words(),
            Shared::Memory(words) => words,
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(fd) = self.side.lock_fd() {
            // In a forked child the descriptor is no longer ours, and this fails as it should.
            let _ = os::try_lock(fd, Lock::None, OPEN_BYTE, 1);
        }
    }
}

fn still_opening(timeout: Duration) -> io::Error {
    let message = format!("another store began to open the file and did not finish within {timeout:?}");
    io::Error::new(io::ErrorKind::TimedOut, message)
}

fn slot_byte(slot: u32) -> i64 {
    SLOTS_START + i64::from(slot)
}

/// A descriptor that a forked child lets go of.
#[derive(Debug)]
struct Descriptor {
    file: Option<File>,
    generation: u32,
}

impl Descriptor {
    fn open(path: &CString, flags: libc::c_int) -> io::Result<Descriptor> {
        // The tables' mutex keeps a fork from coming between opening and listing.
        let tables = pool::tables();
        os::occupy_standard_descriptors();
        let fd = os::open(path, libc::O_RDWR | libc::O_NOFOLLOW | flags, 0o600)?;
        // SAFETY: the descriptor was just opened and has no other owner.
        let file = unsafe { File::from_raw_fd(fd) };
        fork::set_role(&tables, fd, Role::Kept)?;
        Ok(Descriptor { file: Some(file), generation: fork::generation() })
    }

    fn file(&self) -> &File {
        self.file.as_ref().expect("invariant: the file is there until drop")
    }

    fn fd(&self) -> RawFd {
        self.file().as_raw_fd()
    }

    /// Completes a new file and checks an old one. The caller holds the lock for it.
    ///
    /// Zeros come first and the header last, so a creation cut short leaves nothing but zeros and is simply repeated.
    fn prepare(&self, path: &Path) -> io::Result<()> {
        let len_bytes = os::fstat(self.fd())?.len_bytes;
        let foreign =
            |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display())));
        if len_bytes > FILE_BYTES as u64 {
            return foreign(format!("not an Onceward side file: {len_bytes} bytes; the size is {FILE_BYTES}"));
        }
        let mut content = vec![0; len_bytes as usize];
        self.file().read_exact_at(&mut content, 0)?;
        if content.iter().all(|byte| *byte == 0) {
            self.file().write_all_at(&[0; FILE_BYTES], 0)?;
            self.file().write_all_at(&LAYOUT_VERSION.to_le_bytes(), MAGIC.len() as u64)?;
            return self.file().write_all_at(&MAGIC, 0);
        }
        match content.get(MAGIC.len()..MAGIC.len() + 4) {
            Some(version) if content.starts_with(&MAGIC) => {
                let version = u32::from_le_bytes(version.try_into().expect("invariant: four bytes"));
                if version != LAYOUT_VERSION {
                    return foreign(format!("side file has layout {version}; this Onceward knows {LAYOUT_VERSION}"));
                }
            }
            _ => return foreign("not an Onceward side file: wrong magic".to_owned()),
        }
        if content.len() == FILE_BYTES {
            Ok(())
        } else {
            foreign(format!("side file has {len_bytes} bytes; the size is {FILE_BYTES}"))
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let tables = pool::tables();
        let Some(file) = self.file.take() else { return };
        if self.generation == fork::generation() || fork::role(file.as_raw_fd()) == Role::Inherited {
            let _ = fork::set_role(&tables, file.as_raw_fd(), Role::Foreign);
            drop(file);
        } else {
            // In a forked child, and the number is already another's.
            let _ = file.into_raw_fd();
        }
    }
}

/// The whole file in memory, shared with every process that has it open.
#[derive(Debug)]
struct Mapping(NonNull<[AtomicU32; MAPPED_WORDS]>);

// SAFETY: the mapping belongs to this value, and atomics may be used from any thread.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn of(fd: RawFd) -> io::Result<Mapping> {
        // SAFETY: a new mapping, at an address of the kernel's choice, of a file that has this size.
        let base = unsafe {
            libc::mmap(std::ptr::null_mut(), FILE_BYTES, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, fd, 0)
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(base.cast()).map(Mapping).ok_or_else(|| io::Error::other("the side file was mapped at address 0"))
    }

    fn words(&self) -> &[AtomicU32; MAPPED_WORDS] {
        // SAFETY: page-aligned, as long as the file, mapped until drop, and accessed only through atomics; any bits are
        // a valid AtomicU32.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `of` with this length; no reference outlives `self`.
        unsafe { libc::munmap(self.0.as_ptr().cast(), FILE_BYTES) };
    }
}
