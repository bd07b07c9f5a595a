//! System calls as plain functions that return `io::Result`.
//!
//! It owns no state. It must never retry anything but an interrupted call.

use std::ffi::{CStr, CString, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The first and the longest sleep between two looks at a lock that is taken for a moment only.
const NAP_MIN: Duration = Duration::from_millis(1);
const NAP_MAX: Duration = Duration::from_millis(16);

/// What makes two paths or descriptors the same file, for as long as one of them is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    dev: u64,
    ino: u64,
}

/// What this module asks of a file. Not its times: once they were looked at, Linux (6.13 and later) writes the next
/// change of the file to the file system as well, and a sync of the log took 50 to 75 µs longer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Status {
    pub(super) identity: Identity,
    pub(super) is_regular: bool,
    pub(super) len_bytes: u64,
    pub(super) allocated_bytes: u64,
}

/// How a range is locked. The owner is the open file description, not the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    Exclusive,
    None,
}

/// A path as the kernel takes it.
pub(super) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("path {} contains a zero byte", path.display()))
    })
}

/// Opens with `O_CLOEXEC`. `mode` counts only where the file is created.
pub(super) fn open(path: &CStr, flags: c_int, mode: c_int) -> io::Result<RawFd> {
    retry(|| {
        // SAFETY: `path` is a valid zero-terminated string for the whole call.
        unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, mode) }
    })
}

/// Never lets a database become one of the standard descriptors, where a stray print would write into it.
/// Closing it afterwards would be too late, since a close drops locks.
pub(super) fn occupy_standard_descriptors() {
    for fd in 0..3 {
        // SAFETY: F_GETFD takes no argument and touches no memory.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
            let _ = open(c"/dev/null", libc::O_RDWR, 0);
        }
    }
}

/// Closes `fd`. An error cannot be acted upon: on Linux the descriptor is gone in any case.
pub(super) fn close(fd: RawFd) {
    // SAFETY: closing touches no memory; the callers in `sys` own the numbers they pass.
    unsafe { libc::close(fd) };
}

/// Status of the file at `path`; a symbolic link is followed only if `follow`.
pub(super) fn stat(path: &CStr, follow: bool) -> io::Result<Status> {
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    status(libc::AT_FDCWD, path, flags)
}

/// Status of an open file.
pub(super) fn fstat(fd: RawFd) -> io::Result<Status> {
    status(fd, c"", libc::AT_EMPTY_PATH)
}

/// When the file at `path` was last modified, by the kernel's wall clock, and which file it is.
pub(super) fn modified_ns(path: &CStr) -> io::Result<(Identity, i128)> {
    let raw = stat_with_times(libc::AT_FDCWD, path, 0)?;
    let modified = i128::from(raw.st_mtime) * 1_000_000_000 + i128::from(raw.st_mtime_nsec);
    Ok((Status::from(&raw).identity, modified))
}

fn status(folder: RawFd, path: &CStr, flags: c_int) -> io::Result<Status> {
    const ASKED: libc::c_uint = libc::STATX_TYPE | libc::STATX_INO | libc::STATX_SIZE | libc::STATX_BLOCKS;
    let mut raw = MaybeUninit::<libc::statx>::uninit();
    // By its number: the C library's own function came long after the system call.
    // SAFETY: `path` is zero-terminated and `raw` has room for a `struct statx`.
    let asked = retry(|| unsafe {
        libc::syscall(libc::SYS_statx, folder, path.as_ptr(), flags, ASKED, raw.as_mut_ptr()) as c_int
    });
    match asked {
        // SAFETY: the call succeeded, so the kernel filled the structure.
        Ok(_) => Ok(Status::from(&unsafe { raw.assume_init() })),
        // An old kernel, or one that is told to refuse what it does not know.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            stat_with_times(folder, path, flags).map(|raw| Status::from(&raw))
        }
        Err(error) => Err(error),
    }
}

fn stat_with_times(folder: RawFd, path: &CStr, flags: c_int) -> io::Result<libc::stat> {
    let mut raw = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `path` is zero-terminated and `raw` has room for a `struct stat`.
    retry(|| unsafe { libc::fstatat(folder, path.as_ptr(), raw.as_mut_ptr(), flags) })?;
    // SAFETY: the call succeeded, so the kernel filled the structure.
    Ok(unsafe { raw.assume_init() })
}

/// Takes or drops a lock on `len_bytes` bytes (0 is "to the end") without waiting. `false` if another owner is in the way.
pub(super) fn try_lock(fd: RawFd, lock: Lock, start: i64, len_bytes: i64) -> io::Result<bool> {
    match fcntl_lock(fd, libc::F_OFD_SETLK, &mut flock(lock, start, len_bytes)) {
        Ok(()) => Ok(true),
        // POSIX allows EACCES as well; on Linux that is a refusal of the security policy.
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes an exclusive lock, looking again and again for at most `timeout`. `false` if another owner kept it that long.
pub(super) fn lock_within(fd: RawFd, start: i64, len_bytes: i64, timeout: Duration) -> io::Result<bool> {
    let since = Instant::now();
    let mut nap = NAP_MIN;
    loop {
        if try_lock(fd, Lock::Exclusive, start, len_bytes)? {
            return Ok(true);
        }
        let left = timeout.saturating_sub(since.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        std::thread::sleep(nap.min(left));
        nap = (nap * 2).min(NAP_MAX);
    }
}

/// Whether another owner holds any lock in the range.
pub(super) fn is_locked_by_another(fd: RawFd, start: i64, len_bytes: i64) -> io::Result<bool> {
    let mut probe = flock(Lock::Exclusive, start, len_bytes);
    fcntl_lock(fd, libc::F_OFD_GETLK, &mut probe)?;
    Ok(c_int::from(probe.l_type) != libc::F_UNLCK)
}

/// The kernel's wall clock, by which it also stamps files.
pub(super) fn realtime_ns() -> i128 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` has room for the answer, and this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

/// Runs a system call until it is not interrupted, and turns -1 into the error.
pub(super) fn retry(mut call: impl FnMut() -> c_int) -> io::Result<c_int> {
    loop {
        let result = call();
        if result != -1 {
            return Ok(result);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn flock(lock: Lock, start: i64, len_bytes: i64) -> libc::flock {
    let kind = match lock {
        Lock::Exclusive => libc::F_WRLCK,
        Lock::None => libc::F_UNLCK,
    };
    // SAFETY: `flock` is a plain C structure for which all zeros is a valid value. `l_pid` must be 0 for OFD commands.
    let mut range: libc::flock = unsafe { MaybeUninit::zeroed().assume_init() };
    range.l_type = kind as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    range.l_start = start;
    range.l_len = len_bytes;
    range
}

fn fcntl_lock(fd: RawFd, command: c_int, range: &mut libc::flock) -> io::Result<()> {
    // SAFETY: `range` is a valid, exclusively borrowed `struct flock` for the whole call.
    retry(|| unsafe { libc::fcntl(fd, command, std::ptr::from_mut(range)) }).map(drop)
}

impl From<&libc::stat> for Status {
    fn from(raw: &libc::stat) -> Status {
        Status {
            identity: Identity { dev: raw.st_dev, ino: raw.st_ino },
            is_regular: raw.st_mode & libc::S_IFMT == libc::S_IFREG,
            len_bytes: raw.st_size as u64,
            allocated_bytes: raw.st_blocks as u64 * 512,
        }
    }
}

impl From<&libc::statx> for Status {
    fn from(raw: &libc::statx) -> Status {
        Status {
            identity: Identity { dev: libc::makedev(raw.stx_dev_major, raw.stx_dev_minor), ino: raw.stx_ino },
            is_regular: libc::mode_t::from(raw.stx_mode) & libc::S_IFMT == libc::S_IFREG,
            len_bytes: raw.stx_size,
            allocated_bytes: raw.stx_blocks * 512,
        }
    }
}
