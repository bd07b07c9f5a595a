//! How our copy of SQLite opens, locks and closes files.
//!
//! POSIX locks belong to a process and fall at any close of the file, so two copies of SQLite in one process destroy
//! each other's work. This module replaces the system calls of our copy: locks belong to one open file description per
//! file, so that they conflict with another copy's as with another process's, and descriptors are closed only when no
//! lock can be lost by it (see `pool`). To SQLite nothing changes: its own bookkeeping is per file and process too.
//!
//! It must never unwind into SQLite, nor call SQLite from a replaced call. `install` comes before the first connection.
//!
//! After a fork, SQLite's memory of open files is the parent's, with locks that the child does not have. The child's
//! SQLite is shown another device number for each generation (the kernel uses 32 of its 64 bits), so that it finds no
//! stale entry and starts afresh.

use super::fork::{self, Role};
use super::os::{self, Identity};
use super::pool::{self, Access};
use rusqlite::ffi;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::OnceLock;

/// The first SQLite without the WAL-reset bug.
const SQLITE_VERSION_MIN: c_int = 3_051_003;

/// Replaces the system calls of our SQLite and installs the fork handlers, once; later calls return the same answer.
pub(crate) fn install() -> io::Result<()> {
    static OUTCOME: OnceLock<Result<(), String>> = OnceLock::new();
    OUTCOME.get_or_init(|| install_once().map_err(|error| error.to_string())).clone().map_err(io::Error::other)
}

/// Creates the file with mode 0600 if it is missing, and keeps the descriptor for SQLite's open. True if created.
pub(crate) fn create_private(path: &Path) -> io::Result<bool> {
    let path = os::c_path(path)?;
    let mut tables = pool::tables();
    os::occupy_standard_descriptors();
    let fd = match os::open(&path, libc::O_CREAT | libc::O_EXCL | libc::O_RDWR, 0o600) {
        Ok(fd) => fd,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    };
    let status = os::fstat(fd)?;
    tables.adopt_idle(fd, &path, status.identity, Access::ReadWrite)?;
    Ok(true)
}

/// A file that our SQLite has open for writing at `path`; `NotFound` if it has not.
pub(crate) fn opened(path: &Path) -> io::Result<OpenedFile> {
    let c_path = os::c_path(path)?;
    let identity = os::stat(&c_path, true)?.identity;
    match pool::tables().borrow(identity)? {
        Some(fd) => Ok(OpenedFile { fd, identity, path: c_path, generation: fork::generation() }),
        None => Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is not open", path.display()))),
    }
}

/// A hold on a file that SQLite had open, to sync it and to see whether it is still the one at its path.
#[derive(Debug)]
pub(crate) struct OpenedFile {
    fd: RawFd,
    identity: Identity,
    path: CString,
    generation: u32,
}

/// The two copies of the header of SQLite's index of the log, and how far it was checkpointed ("WAL-Index File Format").
pub(crate) const LOG_HEAD_BYTES: usize = 100;
/// Where in it the salt stands, which is another one each time the log starts over, and where the checkpoint.
const LOG_SALT: std::ops::Range<usize> = 32..40;
const LOG_BACKFILL: std::ops::Range<usize> = 96..100;

/// Which log this is, and how much of it was checkpointed: while both stay the same, nobody has cut the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogState {
    salt: [u8; 8],
    backfill: [u8; 4],
}

/// What is rewritten at a time.
const REWRITE_BYTES: usize = 1 << 20;

impl OpenedFile {
    /// Whether the path still names this file.
    pub(crate) fn still_at_path(&self) -> bool {
        os::stat(&self.path, true).is_ok_and(|status| status.identity == self.identity)
    }

    /// Waits until the file's data and size are on the disk.
    pub(crate) fn sync_data(&self) -> io::Result<()> {
        // SAFETY: `fd` is open until drop; the call touches no memory.
        os::retry(|| unsafe { libc::fdatasync(self.fd) }).map(drop)
    }

    /// Writes the file's content over itself and syncs it: what the kernel took for clean is dirty again, and goes to the
    /// disk. Nobody may write to the file meanwhile.
    pub(crate) fn rewrite(&self) -> io::Result<()> {
        let mut buffer = vec![0u8; REWRITE_BYTES];
        let (mut at, len) = (0, self.len()?);
        while at < len {
            let wanted = usize::try_from(len - at).unwrap_or(REWRITE_BYTES).min(REWRITE_BYTES);
            let offset = at.cast_signed();
            // SAFETY: `fd` is open until drop, and the buffer holds at least `wanted` bytes.
            let read =
                os::retry(|| unsafe { libc::pread(self.fd, buffer.as_mut_ptr().cast(), wanted, offset) as c_int })?;
            if read == 0 {
                break;
            }
            let read = read.unsigned_abs() as usize;
            // SAFETY: as above, and the first `read` bytes of the buffer were just read.
            let written =
                os::retry(|| unsafe { libc::pwrite(self.fd, buffer.as_ptr().cast(), read, offset) as c_int })?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            at += u64::from(written.unsigned_abs());
        }
        self.sync_data()
    }

    /// Writes zeros from one offset to another.
    pub(crate) fn write_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0u8; usize::try_from(to.saturating_sub(from)).unwrap_or(REWRITE_BYTES).min(REWRITE_BYTES)];
        let mut at = from;
        while at < to {
            let count = usize::try_from(to - at).unwrap_or(REWRITE_BYTES).min(zeros.len());
            // SAFETY: `fd` is open until drop, and the buffer holds at least `count` bytes.
            let written = os::retry(|| unsafe {
                libc::pwrite(self.fd, zeros.as_ptr().cast(), count, at.cast_signed()) as c_int
            })?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            at += u64::from(written.unsigned_abs());
        }
        Ok(())
    }

    /// Allocates disk space for the first `bytes` bytes without changing the size. `Unsupported` where it cannot be done.
    pub(crate) fn reserve(&self, bytes: u64) -> io::Result<()> {
        let len = i64::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        if len == 0 {
            return Ok(());
        }
        // SAFETY: `fd` is open until drop; the call touches no memory.
        match os::retry(|| unsafe { libc::fallocate(self.fd, libc::FALLOC_FL_KEEP_SIZE, 0, len) }) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, error))
            }
            result => result.map(drop),
        }
    }

    /// The first bytes of a log's shared memory: SQLite's file format says that they change with every commit.
    pub(crate) fn head(&self) -> io::Result<[u8; LOG_HEAD_BYTES]> {
        let mut head = [0; LOG_HEAD_BYTES];
        // SAFETY: `fd` is open until drop, and the buffer has room for what is asked for.
        let read = os::retry(|| unsafe { libc::pread(self.fd, head.as_mut_ptr().cast(), head.len(), 0) as c_int })?;
        if read.unsigned_abs() as usize == head.len() { Ok(head) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// The state of the log whose shared memory this is.
    pub(crate) fn log_state(&self) -> io::Result<LogState> {
        let head = self.head()?;
        let mut state = LogState::default();
        state.salt.copy_from_slice(&head[LOG_SALT]);
        state.backfill.copy_from_slice(&head[LOG_BACKFILL]);
        Ok(state)
    }

    /// The size, and the disk space that the file takes, in bytes.
    pub(crate) fn len_and_allocated(&self) -> io::Result<(u64, u64)> {
        os::fstat(self.fd).map(|status| (status.len_bytes, status.allocated_bytes))
    }

    /// The size in bytes.
    pub(crate) fn len(&self) -> io::Result<u64> {
        os::fstat(self.fd).map(|status| status.len_bytes)
    }

    /// The bytes of disk space that the file takes.
    pub(crate) fn allocated(&self) -> io::Result<u64> {
        os::fstat(self.fd).map(|status| status.allocated_bytes)
    }
}

impl Drop for OpenedFile {
    fn drop(&mut self) {
        let mut tables = pool::tables();
        if self.generation == fork::generation() {
            tables.give_back(self.fd);
        } else if fork::role(self.fd) == Role::Inherited {
            let _ = fork::set_role(&tables, self.fd, Role::Foreign);
            os::close(self.fd);
        }
    }
}

/// A folder as it was at one time: while it stays the same, no file in it was created, renamed or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FolderState {
    identity: Identity,
    modified_ns: i128,
}

impl FolderState {
    /// The folder at `path` now.
    pub(crate) fn of(path: &CStr) -> Option<Self> {
        os::modified_ns(path).ok().map(|(identity, modified_ns)| FolderState { identity, modified_ns })
    }

    /// Whether every later change must show: the kernel's clock has moved on since the last one. Its ticks are at most
    /// 10 ms long.
    pub(crate) fn is_settled(&self) -> bool {
        os::realtime_ns() > self.modified_ns + SETTLES_IN_NS
    }
}

/// Many ticks.
const SETTLES_IN_NS: i128 = 1_000_000_000;

fn install_once() -> io::Result<()> {
    // SAFETY: may be called at any time from any thread.
    let (code, version) = unsafe { (ffi::sqlite3_initialize(), ffi::sqlite3_libversion_number()) };
    if code != ffi::SQLITE_OK {
        return Err(io::Error::other(format!("sqlite3_initialize returned {code}")));
    }
    if version < SQLITE_VERSION_MIN {
        return Err(io::Error::other(format!("SQLite is version {version}; at least {SQLITE_VERSION_MIN} is needed")));
    }
    // SAFETY: the name is zero-terminated; the answer is null or a VFS that lives as long as the program.
    let vfs = unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) };
    // SAFETY: see above; nobody writes to the field after SQLite's initialisation.
    let set = unsafe { vfs.as_ref() }
        .and_then(|vfs| vfs.xSetSystemCall)
        .ok_or_else(|| io::Error::other("SQLite has no VFS named unix whose system calls can be replaced"))?;
    fork::install()?;
    for (name, call) in replacements() {
        // SAFETY: `vfs` is the VFS that `set` belongs to, and each function has the type that SQLite calls this name with.
        let code = unsafe { set(vfs, name.as_ptr(), call) };
        if code != ffi::SQLITE_OK {
            return Err(io::Error::other(format!("SQLite refused to replace {}: {code}", name.to_string_lossy())));
        }
    }
    Ok(())
}

fn replacements() -> [(&'static CStr, ffi::sqlite3_syscall_ptr); 5] {
    // SAFETY: SQLite stores these as untyped function pointers and casts each back to the type that it has here. Only
    // fcntl is variadic there; with Linux's calling conventions on x86-64 and AArch64 three integer or pointer
    // arguments are passed alike. Other targets do not compile, see below.
    unsafe {
        [
            (c"open", untyped(open as *const ())),
            (c"close", untyped(close as *const ())),
            (c"fcntl", untyped(fcntl as *const ())),
            (c"stat", untyped(stat as *const ())),
            (c"fstat", untyped(fstat as *const ())),
        ]
    }
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("passing a plain function for the variadic fcntl is known to be right only on Linux x86-64 and AArch64");

/// # Safety
/// `call` must be a function that SQLite calls with the type it has.
unsafe fn untyped(call: *const ()) -> ffi::sqlite3_syscall_ptr {
    // SAFETY: a function pointer has the size of a data pointer on Linux, and `Option` of it has null as None.
    unsafe { std::mem::transmute::<*const (), ffi::sqlite3_syscall_ptr>(call) }
}

/// Sets errno as a failed system call does, and returns -1.
fn fail(error: &io::Error) -> c_int {
    // SAFETY: the address of this thread's errno is always valid.
    unsafe { *libc::__errno_location() = error.raw_os_error().unwrap_or(libc::EMFILE) };
    -1
}

extern "C" fn open(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    // SAFETY: SQLite passes a zero-terminated path that outlives the call.
    let path = unsafe { CStr::from_ptr(path) };
    open_file(path, flags, mode).unwrap_or_else(|error| fail(&error))
}

fn open_file(path: &CStr, flags: c_int, mode: c_int) -> io::Result<RawFd> {
    let access = Access::of_flags(flags);
    let mut tables = pool::tables();
    tables.sweep();
    // O_TMPFILE includes the bit of O_DIRECTORY.
    if flags & (libc::O_EXCL | libc::O_TRUNC | libc::O_TMPFILE) == 0
        && let Ok(status) = os::stat(path, flags & libc::O_NOFOLLOW == 0)
        && status.is_regular
        && tables.can_reuse(status.identity, access)
        && is_permitted(path, access)
        && let Some(fd) = tables.reuse(status.identity, access)
    {
        return Ok(fd);
    }
    os::occupy_standard_descriptors();
    let fd = os::open(path, flags, mode)?;
    let status = os::fstat(fd)?;
    if status.is_regular {
        tables.adopt(fd, path, status.identity, access)?;
    }
    Ok(fd)
}

/// Whether a real open would be permitted now: a reused descriptor was opened under older permissions.
fn is_permitted(path: &CStr, access: Access) -> bool {
    let wanted = if access == Access::Read { libc::R_OK } else { libc::R_OK | libc::W_OK };
    // SAFETY: the path is zero-terminated and outlives the call.
    unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), wanted, libc::AT_EACCESS) == 0 }
}

extern "C" fn close(fd: c_int) -> c_int {
    match fork::role(fd) {
        Role::Foreign => {
            // SAFETY: a descriptor that SQLite opened before `install`, or one that is not a file; SQLite owns it.
            unsafe { libc::close(fd) }
        }
        Role::Inherited => {
            let tables = pool::tables();
            let _ = fork::set_role(&tables, fd, Role::Foreign);
            os::close(fd);
            0
        }
        Role::Kept | Role::Ask | Role::LocksOn(_) => {
            let mut tables = pool::tables();
            tables.sweep();
            tables.give_back(fd);
            0
        }
    }
}

extern "C" fn fcntl(fd: c_int, command: c_int, argument: *mut c_void) -> c_int {
    let ofd_command = match command {
        libc::F_SETLK => libc::F_OFD_SETLK,
        libc::F_SETLKW => libc::F_OFD_SETLKW,
        libc::F_GETLK => libc::F_OFD_GETLK,
        _ => {
            // SAFETY: passed on as SQLite gave it.
            return unsafe { libc::fcntl(fd, command, argument) };
        }
    };
    let carrier = match fork::role(fd) {
        Role::LocksOn(carrier) => carrier,
        Role::Foreign => {
            // SAFETY: opened before `install`: passed on as SQLite gave it.
            return unsafe { libc::fcntl(fd, command, argument) };
        }
        Role::Inherited => return fail(&io::Error::from_raw_os_error(libc::EBADF)),
        Role::Ask | Role::Kept => {
            let carrier = pool::tables().carrier(fd);
            match carrier {
                Ok(carrier) => carrier,
                Err(error) => return fail(&error),
            }
        }
    };
    // The carrier stays open as long as SQLite has the file open.
    lock_through(carrier, ofd_command, argument)
}

fn lock_through(carrier: RawFd, command: c_int, argument: *mut c_void) -> c_int {
    // SAFETY: for the three lock commands SQLite passes a valid, exclusive `struct flock`; the kernel requires that the
    // process id in it is 0.
    unsafe {
        (*argument.cast::<libc::flock>()).l_pid = 0;
        libc::fcntl(carrier, command, argument)
    }
}

extern "C" fn stat(path: *const c_char, answer: *mut libc::stat) -> c_int {
    // SAFETY: passed on as SQLite gave it; on success the structure is filled and ours to change until we return.
    unsafe {
        let code = libc::stat(path, answer);
        if code == 0 {
            (*answer).st_dev ^= generation_bits();
        }
        code
    }
}

extern "C" fn fstat(fd: c_int, answer: *mut libc::stat) -> c_int {
    // SAFETY: passed on as SQLite gave it; on success the structure is filled and ours to change until we return.
    unsafe {
        let code = libc::fstat(fd, answer);
        if code == 0 {
            (*answer).st_dev ^= generation_bits();
        }
        code
    }
}

/// Device numbers of Linux have 32 bits; the generation goes above, so no two files can become one.
fn generation_bits() -> libc::dev_t {
    libc::dev_t::from(fork::generation()) << 32
}
