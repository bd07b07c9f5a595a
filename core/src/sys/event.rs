//! A flag with a descriptor: readable while the flag is set, for `poll`, `select` and `epoll`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};

/// The flag. Setting and clearing never wait.
#[derive(Debug)]
pub(crate) struct Event(File);

impl Event {
    /// A flag that is not set.
    pub(crate) fn new() -> io::Result<Event> {
        // SAFETY: takes two integers and touches no memory.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else's.
        Ok(Event(unsafe { File::from_raw_fd(fd) }))
    }

    pub(crate) fn set(&self) {
        // It fails only where the counter is full, and then the flag is set.
        let _ = (&self.0).write(&1_u64.to_ne_bytes());
    }

    pub(crate) fn clear(&self) {
        // It fails only where the counter is zero, and then the flag is not set.
        let _ = (&self.0).read(&mut [0; 8]);
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
