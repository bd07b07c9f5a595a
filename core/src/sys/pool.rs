//! The descriptors of the files that our SQLite opens.
//!
//! A close of *any* descriptor of a file drops all POSIX locks that this process has on it, another SQLite's included.
//! So a descriptor that SQLite closes is kept idle here, reused for the next open of the same file, and really closed
//! only when that provably loses nothing: SQLite has the file closed, and one exclusive lock on the whole file, taken
//! without waiting and on the open file description, was granted. Then nobody holds a POSIX lock on it, nobody can take
//! one meanwhile, and the descriptor that carries the lock goes last: a close drops the process's POSIX locks (there
//! are none) before the description lets go of its own.
//!
//! It owns the tables of files and their mutex. It must never call SQLite: SQLite calls us under its own mutexes.
//!
//! Invariants:
//! - A file is known by (device, inode), never by path; its entry lives as long as a descriptor of it, so the inode
//!   cannot be given to another file meanwhile.
//! - All locks of SQLite on a file go through one descriptor. It changes only while no lock is held through it.
//! - Descriptors that share an open file description are never both in SQLite's hands: they share a file offset.

use super::fork::{self, Role};
use super::os::{self, Identity, Lock};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{CString, c_int};
use std::io;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Files looked at again per call, so that no open or close pays for all.
const RETRIES_PER_CALL: usize = 2;

static TABLES: Mutex<Tables> =
    Mutex::new(Tables { generation: 0, files: BTreeMap::new(), file_of: BTreeMap::new(), unproven: VecDeque::new() });

/// All files that our SQLite has or had open.
pub(super) struct Tables {
    generation: u32,
    files: BTreeMap<Identity, File>,
    file_of: BTreeMap<RawFd, Identity>,
    /// Files that SQLite has closed and others have locked.
    unproven: VecDeque<Identity>,
}

#[derive(Default)]
struct File {
    /// In SQLite's hands.
    open: Vec<Descriptor>,
    /// Duplicates in the hands of `OpenedFile`.
    borrowed: Vec<RawFd>,
    idle: Vec<Descriptor>,
    /// One of the above: the carrier of SQLite's locks, chosen at the first of them.
    lock: Option<Descriptor>,
    is_queued: bool,
}

#[derive(Clone, Copy)]
struct Descriptor {
    fd: RawFd,
    access: Access,
}

/// What a descriptor can be used for again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    ReadWrite,
    /// Readable and writable, but its offset is shared with another descriptor: not for SQLite.
    Duplicate,
}

/// The tables, locked. While they are, no fork happens.
pub(super) fn tables() -> MutexGuard<'static, Tables> {
    // The tables are changed in steps that leave them usable, so a panic elsewhere does not spoil them.
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    if tables.generation != fork::generation() {
        tables.forget_the_parents();
    }
    tables
}

impl Access {
    /// From the flags of `open`. Write-only is never used by SQLite, and is not pooled for reuse.
    pub(super) fn of_flags(flags: c_int) -> Access {
        match flags & libc::O_ACCMODE {
            libc::O_RDONLY => Access::Read,
            libc::O_RDWR => Access::ReadWrite,
            _ => Access::Duplicate,
        }
    }
}

impl Tables {
    /// An idle descriptor of this file, now in SQLite's hands.
    pub(super) fn reuse(&mut self, identity: Identity, access: Access) -> Option<RawFd> {
        let file = self.files.get_mut(&identity)?;
        let index = file.idle.iter().position(|idle| idle.access == access && idle.fd > 2)?;
        let descriptor = file.idle.swap_remove(index);
        file.open.push(descriptor);
        self.assign_locks(identity);
        Some(descriptor.fd)
    }

    /// Takes over a freshly opened descriptor, as SQLite's or, if `is_idle`, as one to be reused.
    pub(super) fn adopt(&mut self, fd: RawFd, identity: Identity, access: Access, is_idle: bool) -> io::Result<()> {
        // One that cannot be listed can neither be used nor be closed without risk. It stays open, unused: with so many
        // open files the program is close to its end anyway.
        fork::set_role(self, fd, Role::Kept)?;
        let file = self.files.entry(identity).or_default();
        let descriptor = Descriptor { fd, access };
        if is_idle {
            file.idle.push(descriptor)
        } else {
            file.open.push(descriptor)
        }
        self.file_of.insert(fd, identity);
        self.assign_locks(identity);
        if is_idle {
            self.queue(identity);
        }
        Ok(())
    }

    /// Takes back a descriptor that SQLite or an `OpenedFile` is done with. False if it is not in the tables.
    pub(super) fn give_back(&mut self, fd: RawFd) -> bool {
        let Some(identity) = self.file_of.get(&fd).copied() else {
            return false;
        };
        let Some(file) = self.files.get_mut(&identity) else {
            return false;
        };
        if let Some(index) = file.open.iter().position(|open| open.fd == fd) {
            let descriptor = file.open.swap_remove(index);
            file.idle.push(descriptor);
            let lock = file.lock.filter(|_| file.open.is_empty());
            self.mark(fd, Role::Kept);
            if let Some(lock) = lock {
                // SQLite leaves it to close() to drop its lock on the -shm file. An error leaves a lock behind, which
                // the next close or the end of the process drops.
                let _ = os::try_lock(lock.fd, Lock::None, 0, 0);
            }
            self.close_if_proven(identity);
        } else if let Some(index) = file.borrowed.iter().position(|borrowed| *borrowed == fd) {
            file.borrowed.swap_remove(index);
            file.idle.push(Descriptor { fd, access: Access::Duplicate });
            self.close_if_proven(identity);
        }
        true
    }

    /// A duplicate of a writable descriptor of a file that SQLite has open, or None if it has not.
    pub(super) fn borrow(&mut self, identity: Identity) -> io::Result<Option<RawFd>> {
        let Some(file) = self.files.get_mut(&identity) else {
            return Ok(None);
        };
        let Some(open) = file.open.iter().find(|open| open.access == Access::ReadWrite) else {
            return Ok(None);
        };
        let fd = os::duplicate(open.fd)?;
        file.borrowed.push(fd);
        self.file_of.insert(fd, identity);
        if let Err(error) = fork::set_role(self, fd, Role::Kept) {
            self.give_back(fd);
            return Err(error);
        }
        Ok(Some(fd))
    }

    /// The descriptor that carries SQLite's locks on the file of `fd`, chosen now if it was not.
    pub(super) fn lock_descriptor(&mut self, fd: RawFd) -> Option<RawFd> {
        let identity = self.file_of.get(&fd).copied()?;
        let file = self.files.get_mut(&identity)?;
        if file.lock.is_none() {
            let mut all = file.open.iter().chain(&file.idle);
            let writable = all.clone().find(|descriptor| descriptor.access == Access::ReadWrite);
            file.lock = writable.or_else(|| all.next()).copied();
        }
        let lock = file.lock?;
        self.assign_locks(identity);
        Some(lock.fd)
    }

    /// Looks again at a few files that others had locked.
    pub(super) fn sweep(&mut self) {
        for _ in 0..RETRIES_PER_CALL.min(self.unproven.len()) {
            let Some(identity) = self.unproven.pop_front() else {
                return;
            };
            if let Some(file) = self.files.get_mut(&identity) {
                file.is_queued = false;
            }
            self.close_if_proven(identity);
        }
    }

    /// Points all descriptors in SQLite's hands to the writable carrier of the locks, if there is one. A read-only
    /// carrier gives way to a writable descriptor while nobody holds a lock; until then SQLite asks at each call.
    fn assign_locks(&mut self, identity: Identity) {
        let Some(file) = self.files.get_mut(&identity) else {
            return;
        };
        if let Some(lock) = file.lock
            && lock.access == Access::Read
            && let Some(better) = file.open.iter().find(|open| open.access == Access::ReadWrite)
            && os::is_locked_by_another(better.fd, 0, 0).is_ok_and(|locked| !locked)
        {
            file.lock = Some(*better);
        }
        let role = match file.lock {
            Some(lock) if lock.access == Access::ReadWrite => Role::LocksOn(lock.fd),
            _ => Role::Ask,
        };
        let open: Vec<RawFd> = file.open.iter().map(|open| open.fd).collect();
        for fd in open {
            self.mark(fd, role);
        }
    }

    /// Closes all descriptors of the file if that is proven to lose no lock. See the module's documentation.
    fn close_if_proven(&mut self, identity: Identity) -> bool {
        let Some(file) = self.files.get(&identity) else {
            return true;
        };
        if !file.open.is_empty() || !file.borrowed.is_empty() {
            return false;
        }
        let lock = file.lock.filter(|lock| lock.access == Access::ReadWrite);
        let writable = lock.or_else(|| file.idle.iter().find(|idle| idle.access != Access::Read).copied());
        let Some(prover) = writable.map(|writable| writable.fd).or_else(|| self.reopen_writable(identity)) else {
            return false;
        };
        if !os::try_lock(prover, Lock::Exclusive, 0, 0).is_ok_and(|granted| granted) {
            self.queue(identity);
            return false;
        }
        let Some(file) = self.files.remove(&identity) else {
            return true;
        };
        let others = file.idle.iter().map(|idle| idle.fd).filter(|fd| *fd != prover);
        for fd in others.chain([prover]) {
            self.file_of.remove(&fd);
            self.mark(fd, Role::Foreign);
            os::close(fd);
        }
        true
    }

    /// A writable descriptor of a file that is only open for reading, since only that can carry the proof.
    /// Without permission to write there is no proof, and the descriptors stay for the next open.
    fn reopen_writable(&mut self, identity: Identity) -> Option<RawFd> {
        let source = self.files.get(&identity)?.idle.first()?.fd;
        let path = CString::new(format!("/proc/self/fd/{source}")).ok()?;
        let fd = os::open(&path, libc::O_RDWR, 0).ok()?;
        self.mark(fd, Role::Kept);
        self.file_of.insert(fd, identity);
        let file = self.files.get_mut(&identity)?;
        file.idle.push(Descriptor { fd, access: Access::ReadWrite });
        Some(fd)
    }

    fn queue(&mut self, identity: Identity) {
        if let Some(file) = self.files.get_mut(&identity)
            && !file.is_queued
        {
            file.is_queued = true;
            self.unproven.push_back(identity);
        }
    }

    /// Changes the role of a descriptor that was listed before, so that the limit cannot be in the way.
    fn mark(&self, fd: RawFd, role: Role) {
        let _ = fork::set_role(self, fd, role);
    }

    /// In a forked child: the parent's descriptors are harmless by now. Those in nobody's hands are closed; those of
    /// stale connections keep their numbers until the connection closes them.
    fn forget_the_parents(&mut self) {
        self.generation = fork::generation();
        self.file_of.clear();
        self.unproven.clear();
        for (_, file) in std::mem::take(&mut self.files) {
            for idle in file.idle {
                self.mark(idle.fd, Role::Foreign);
                os::close(idle.fd);
            }
        }
    }
}
