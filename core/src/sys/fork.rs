//! What happens to this module's descriptors at fork.
//!
//! A forked child shares the open file descriptions of its parent, and a lock on a description lives as long as any
//! process has it open: without care the locks of a killed parent would live on in its child. So every descriptor of
//! ours is listed here, in a fixed table of atomics, and the child replaces each by a descriptor that can do nothing
//! before any other code of the child runs. The number stays taken, so that a stale connection in the child fails
//! instead of reaching a stranger's file. (A child has no POSIX locks of its own yet, so these closes lose none.)
//! A mapping holds on to its description as well, so no lock is ever taken through a description that is mapped.
//!
//! It owns the table, the generation and the fork handlers. The child handler must never allocate, lock or free; what
//! other threads of the parent were doing is kept whole by holding their mutexes over the fork: our tables' and the
//! global ones of SQLite.
//!
//! Invariants: a descriptor is in the table from before it can carry a lock until it is closed, and both changes are
//! made under the tables' mutex.

use super::os;
use super::pool::{self, Tables};
use rusqlite::ffi;
use std::cell::UnsafeCell;
use std::io;
use std::os::fd::RawFd;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

/// Descriptors at or above this number are refused. A process gets there only with that many files open.
pub(super) const DESCRIPTORS_MAX: usize = 65_536;

/// What a descriptor is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Not ours.
    Foreign,
    /// Ours, and not in SQLite's hands: pooled, or of a side file.
    Kept,
    /// SQLite's, and no lock was taken yet.
    Ask,
    /// SQLite's; its locks are taken through this other descriptor of the same file.
    LocksOn(RawFd),
    /// The parent's; it has been made harmless in this child.
    Inherited,
}

const FOREIGN: i32 = 0;
const KEPT: i32 = -1;
const ASK: i32 = -2;
const INHERITED: i32 = -3;

static ROLES: [AtomicI32; DESCRIPTORS_MAX] = [const { AtomicI32::new(FOREIGN) }; DESCRIPTORS_MAX];
/// No descriptor above this one was ever listed.
static HIGHEST: AtomicI32 = AtomicI32::new(-1);
static GENERATION: AtomicU32 = AtomicU32::new(0);
/// A descriptor on which every read, write, map and lock fails.
static NOTHING: AtomicI32 = AtomicI32::new(-1);

/// SQLite's global mutexes, in the order in which SQLite itself nests them. An opening store takes OPEN first, the VFS
/// may need randomness, the generator of which looks for the default VFS under MAIN; memory comes last.
const SQLITE_MUTEXES: [i32; 9] = [
    ffi::SQLITE_MUTEX_STATIC_OPEN,
    ffi::SQLITE_MUTEX_STATIC_VFS1,
    ffi::SQLITE_MUTEX_STATIC_VFS2,
    ffi::SQLITE_MUTEX_STATIC_VFS3,
    ffi::SQLITE_MUTEX_STATIC_PRNG,
    ffi::SQLITE_MUTEX_STATIC_MAIN,
    ffi::SQLITE_MUTEX_STATIC_LRU,
    ffi::SQLITE_MUTEX_STATIC_PMEM,
    ffi::SQLITE_MUTEX_STATIC_MEM,
];
static MUTEXES: [AtomicPtr<ffi::sqlite3_mutex>; SQLITE_MUTEXES.len()] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; SQLITE_MUTEXES.len()];

/// How many forks lie between the process that loaded this module and this one. A store remembers the number it was
/// opened under and refuses to work under another.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Installs the fork handlers. SQLite must be initialised, and this must be called once.
pub(super) fn install() -> io::Result<()> {
    for (slot, id) in MUTEXES.iter().zip(SQLITE_MUTEXES) {
        // SAFETY: SQLite is initialised; a static mutex is handed out for any of these ids and is never freed.
        slot.store(unsafe { ffi::sqlite3_mutex_alloc(id) }, Ordering::Relaxed);
    }
    NOTHING.store(os::open(c"/", libc::O_PATH, 0)?, Ordering::Relaxed);
    // SAFETY: the handlers are plain functions that live as long as the program and cannot unwind.
    match unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// The role of `fd`: one atomic load.
pub(super) fn role(fd: RawFd) -> Role {
    match slot(fd).map_or(FOREIGN, |role| role.load(Ordering::Acquire)) {
        FOREIGN => Role::Foreign,
        KEPT => Role::Kept,
        ASK => Role::Ask,
        INHERITED => Role::Inherited,
        carrier => Role::LocksOn(carrier),
    }
}

/// Lists `fd`, or takes it off with `Role::Foreign`. The tables are proof that no fork is under way.
pub(super) fn set_role(_tables: &Tables, fd: RawFd, role: Role) -> io::Result<()> {
    let Some(slot) = slot(fd) else {
        return Err(io::Error::other(format!("descriptor {fd} is beyond the limit of {DESCRIPTORS_MAX} open files")));
    };
    HIGHEST.fetch_max(fd, Ordering::Relaxed);
    let value = match role {
        Role::Foreign => FOREIGN,
        Role::Kept => KEPT,
        Role::Ask => ASK,
        Role::Inherited => INHERITED,
        Role::LocksOn(carrier) => carrier,
    };
    slot.store(value, Ordering::Release);
    Ok(())
}

fn slot(fd: RawFd) -> Option<&'static AtomicI32> {
    usize::try_from(fd).ok().and_then(|index| ROLES.get(index))
}

/// The tables' guard, from the prepare handler to the parent's or the child's.
struct HeldOverFork(UnsafeCell<Option<MutexGuard<'static, Tables>>>);

// SAFETY: the cell is touched only by the thread that holds the tables' mutex, from taking it to dropping it.
unsafe impl Sync for HeldOverFork {}

static HELD: HeldOverFork = HeldOverFork(UnsafeCell::new(None));

extern "C" fn prepare() {
    for mutex in &MUTEXES {
        // SAFETY: static mutexes of SQLite, or null, which SQLite ignores. The forking thread is not inside SQLite's
        // global sections, since no callback runs in one.
        unsafe { ffi::sqlite3_mutex_enter(mutex.load(Ordering::Relaxed)) };
    }
    let guard = pool::tables();
    // SAFETY: this thread holds the mutex, see `HeldOverFork`.
    unsafe { *HELD.0.get() = Some(guard) };
}

extern "C" fn parent() {
    release();
}

extern "C" fn child() {
    let nothing = NOTHING.load(Ordering::Relaxed);
    for fd in 0..=HIGHEST.load(Ordering::Relaxed) {
        let Some(role) = slot(fd) else { continue };
        if matches!(role.load(Ordering::Relaxed), FOREIGN | INHERITED) {
            continue;
        }
        role.store(INHERITED, Ordering::Relaxed);
        // SAFETY: dup3 and close are async-signal-safe and touch no memory; the number is one of ours.
        unsafe {
            if libc::dup3(nothing, fd, libc::O_CLOEXEC) == -1 {
                libc::close(fd);
            }
        }
    }
    GENERATION.fetch_add(1, Ordering::Relaxed);
    release();
}

fn release() {
    // SAFETY: this thread took the mutex in `prepare`, see `HeldOverFork`. The child has only this thread.
    drop(unsafe { (*HELD.0.get()).take() });
    for mutex in MUTEXES.iter().rev() {
        // SAFETY: entered in `prepare` by this thread.
        unsafe { ffi::sqlite3_mutex_leave(mutex.load(Ordering::Relaxed)) };
    }
}
