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
//! - All locks of SQLite on a file go through one descriptor, the *carrier*, with an open file description of its own.
//!   A mapping keeps its description alive, and a forked child inherits mappings: a lock on a description that SQLite
//!   maps would outlive the parent.
//! - Descriptors that share an open file description are never both in SQLite's hands: they share a file offset.

use super::fork::{self, Role};
use super::os::{self, Identity, Lock};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{CStr, CString, c_int};
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

struct File {
    /// As it was opened. It may name another file by now.
    path: CString,
    /// In SQLite's hands.
    open: Vec<Descriptor>,
    /// Duplicates in the hands of `OpenedFile`.
    borrowed: Vec<RawFd>,
    idle: Vec<Descriptor>,
    /// Opened at SQLite's first lock on the file, for writing if that is permitted.
    carrier: Option<Descriptor>,
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
    /// Writable, but not for SQLite: its offset is shared with another descriptor, or it is write-only.
    Other,
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
    /// From the flags of `open`. SQLite never opens for writing only.
    pub(super) fn of_flags(flags: c_int) -> Access {
        match flags & libc::O_ACCMODE {
            libc::O_RDONLY => Access::Read,
            libc::O_RDWR => Access::ReadWrite,
            _ => Access::Other,
        }
    }
}

impl File {
    /// The index of an idle descriptor that SQLite can have. It never takes one of the standard three.
    fn reusable(&self, access: Access) -> Option<usize> {
        self.idle.iter().position(|idle| idle.access == access && idle.fd > 2)
    }
}

impl Tables {
    /// Whether [`Tables::reuse`] would find something.
    pub(super) fn can_reuse(&self, identity: Identity, access: Access) -> bool {
        self.files.get(&identity).is_some_and(|file| file.reusable(access).is_some())
    }

    /// An idle descriptor of this file, now in SQLite's hands.
    pub(super) fn reuse(&mut self, identity: Identity, access: Access) -> Option<RawFd> {
        let file = self.files.get_mut(&identity)?;
        let index = file.reusable(access)?;
        let descriptor = file.idle.swap_remove(index);
        file.open.push(descriptor);
        self.assign_locks(identity);
        Some(descriptor.fd)
    }

    /// Takes over a freshly opened descriptor that SQLite is about to get.
    pub(super) fn adopt(&mut self, fd: RawFd, path: &CStr, identity: Identity, access: Access) -> io::Result<()> {
        self.file_for(fd, path, identity)?.open.push(Descriptor { fd, access });
        self.assign_locks(identity);
        Ok(())
    }

    /// Takes over a freshly opened descriptor that nobody needs now.
    pub(super) fn adopt_idle(&mut self, fd: RawFd, path: &CStr, identity: Identity, access: Access) -> io::Result<()> {
        self.file_for(fd, path, identity)?.idle.push(Descriptor { fd, access });
        self.queue(identity);
        Ok(())
    }

    /// Takes back a descriptor that SQLite or an `OpenedFile` is done with.
    pub(super) fn give_back(&mut self, fd: RawFd) {
        let Some(identity) = self.file_of.get(&fd).copied() else { return };
        let Some(file) = self.files.get_mut(&identity) else { return };
        if let Some(index) = file.open.iter().position(|open| open.fd == fd) {
            let descriptor = file.open.swap_remove(index);
            file.idle.push(descriptor);
            if let Some(carrier) = file.carrier.filter(|_| file.open.is_empty()) {
                // SQLite leaves it to close() to drop its lock on the -shm file. An error leaves a lock behind, which
                // the next close or the end of the process drops.
                let _ = os::try_lock(carrier.fd, Lock::None, 0, 0);
            }
            self.mark(fd, Role::Kept);
        } else if let Some(index) = file.borrowed.iter().position(|borrowed| *borrowed == fd) {
            file.borrowed.swap_remove(index);
            file.idle.push(Descriptor { fd, access: Access::Other });
        }
        self.close_if_proven(identity);
    }

    /// A descriptor of a file that SQLite has open for writing, or None if it has not. It is one of its own and no duplicate:
    /// a failed write is told once to each, so that nobody else's sync can take the news away.
    pub(super) fn borrow(&mut self, identity: Identity) -> io::Result<Option<RawFd>> {
        let Some(file) = self.files.get(&identity) else { return Ok(None) };
        let Some(open) = file.open.iter().find(|open| open.access == Access::ReadWrite) else { return Ok(None) };
        let fd = self.open_again(identity, open.fd, Access::ReadWrite)?.fd;
        self.file_of.insert(fd, identity);
        if let Some(file) = self.files.get_mut(&identity) {
            file.borrowed.push(fd);
        }
        Ok(Some(fd))
    }

    /// The carrier of SQLite's locks on the file of `fd`, opened now if it was not.
    pub(super) fn carrier(&mut self, fd: RawFd) -> io::Result<RawFd> {
        let not_open = || io::Error::from_raw_os_error(libc::EBADF);
        let identity = self.file_of.get(&fd).copied().ok_or_else(not_open)?;
        if let Some(carrier) = self.files.get(&identity).and_then(|file| file.carrier) {
            return Ok(carrier.fd);
        }
        let carrier = match self.open_again(identity, fd, Access::ReadWrite) {
            Ok(carrier) => carrier,
            Err(_) => self.open_again(identity, fd, Access::Read)?,
        };
        self.files.get_mut(&identity).ok_or_else(not_open)?.carrier = Some(carrier);
        self.assign_locks(identity);
        Ok(carrier.fd)
    }

    /// Looks again at a few files that others had locked.
    pub(super) fn sweep(&mut self) {
        for _ in 0..RETRIES_PER_CALL.min(self.unproven.len()) {
            let Some(identity) = self.unproven.pop_front() else { return };
            if let Some(file) = self.files.get_mut(&identity) {
                file.is_queued = false;
            }
            self.close_if_proven(identity);
        }
    }

    /// The entry of a file, created now if it is new, with `fd` listed as one of its descriptors.
    fn file_for(&mut self, fd: RawFd, path: &CStr, identity: Identity) -> io::Result<&mut File> {
        // One that cannot be listed can neither be used nor be closed without risk. It stays open, unused: with so many
        // open files the program is close to its end anyway.
        fork::set_role(self, fd, Role::Kept)?;
        self.file_of.insert(fd, identity);
        Ok(self.files.entry(identity).or_insert_with(|| File {
            path: path.to_owned(),
            open: Vec::new(),
            borrowed: Vec::new(),
            idle: Vec::new(),
            carrier: None,
            is_queued: false,
        }))
    }

    /// Points all descriptors in SQLite's hands to the carrier, if there is one.
    fn assign_locks(&self, identity: Identity) {
        let Some(file) = self.files.get(&identity) else { return };
        let role = file.carrier.map_or(Role::Ask, |carrier| Role::LocksOn(carrier.fd));
        for open in &file.open {
            self.mark(open.fd, role);
        }
    }

    /// Closes all descriptors of the file if that is proven to lose no lock, see the module's documentation.
    fn close_if_proven(&mut self, identity: Identity) {
        let Some(file) = self.files.get(&identity) else { return };
        if !file.open.is_empty() || !file.borrowed.is_empty() {
            return;
        }
        // Where there is a carrier, nothing else will do: it is never mapped, so no forked child can keep the lock alive.
        // A file without one was never locked, and SQLite maps such files only if they are temporary and deleted.
        let candidates = if let Some(carrier) = &file.carrier { std::slice::from_ref(carrier) } else { &file.idle };
        let writable = candidates.iter().find(|descriptor| descriptor.access != Access::Read).copied();
        let Some(prover) = writable.or_else(|| self.reopen_to_prove(identity)) else { return };
        if !os::try_lock(prover.fd, Lock::Exclusive, 0, 0).is_ok_and(|granted| granted) {
            self.queue(identity);
            return;
        }
        let Some(file) = self.files.remove(&identity) else { return };
        let all = file.idle.iter().chain(&file.carrier).map(|descriptor| descriptor.fd);
        for fd in all.filter(|fd| *fd != prover.fd).chain([prover.fd]) {
            self.file_of.remove(&fd);
            self.mark(fd, Role::Foreign);
            os::close(fd);
        }
    }

    /// A writable descriptor of a file that is only open for reading, since only that can carry the proof.
    /// Without permission to write there is no proof, and the descriptors stay for the next open.
    fn reopen_to_prove(&mut self, identity: Identity) -> Option<Descriptor> {
        let source = self.files.get(&identity)?.idle.first()?.fd;
        let prover = self.open_again(identity, source, Access::ReadWrite).ok()?;
        let file = self.files.get_mut(&identity)?;
        // Only a read-only carrier can have been there, and it carries no lock now.
        file.idle.extend(file.carrier.replace(prover));
        Some(prover)
    }

    /// Opens the file of `source` once more, with an open file description of its own.
    fn open_again(&mut self, identity: Identity, source: RawFd, access: Access) -> io::Result<Descriptor> {
        let flags = if access == Access::Read { libc::O_RDONLY } else { libc::O_RDWR };
        let path = self.files.get(&identity).map(|file| file.path.clone()).unwrap_or_default();
        if os::stat(&path, true).is_ok_and(|status| status.identity == identity) {
            let fd = os::open(&path, flags, 0)?;
            let status = os::fstat(fd)?;
            if status.identity == identity {
                fork::set_role(self, fd, Role::Kept)?;
                return Ok(Descriptor { fd, access });
            }
            // The path came to name another file just now, and that one must not be closed just so either.
            self.adopt_idle(fd, &path, status.identity, access)?;
        }
        let path = CString::new(format!("/proc/self/fd/{source}"))?;
        let fd = os::open(&path, flags, 0)?;
        fork::set_role(self, fd, Role::Kept)?;
        Ok(Descriptor { fd, access })
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
            for kept in file.idle.iter().chain(&file.carrier) {
                self.mark(kept.fd, Role::Foreign);
                os::close(kept.fd);
            }
        }
    }
}
