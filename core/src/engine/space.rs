//! Room on the disk: what sends need is reserved before they write, so that a full disk refuses sends only, and receiving
//! and settling still work in what was kept back for them.

use rusqlite::Connection;

use crate::engine::sql;
use crate::engine::store_files::{Opened, OpenedFile};
use crate::engine::writer::CHECKPOINT_FRAMES;
use crate::error::{Error, ErrorKind};
use crate::sys::files::LogState;
use crate::sys::space;

/// Kept back in the log for receiving and settling: several hundred pages.
pub(crate) const WAL_RESERVE_BYTES: u64 = 2 << 20;
/// Kept back in the database: the pages that pending intervals and dead letters may add.
pub(crate) const DATABASE_RESERVE_BYTES: u64 = 1 << 20;
/// Reserving goes in steps of this size.
const STEP_BYTES: u64 = 1 << 20;
const PAGE_BYTES: u64 = 4096;
/// Zeros are written in steps of this size, up to the size at which the log is started over, and a little more.
const ZEROS_STEP_BYTES: u64 = 256 << 10;
const ZEROS_MAX_BYTES: u64 = (CHECKPOINT_FRAMES + CHECKPOINT_FRAMES / 2) * FRAME_BYTES;
/// A page in the log carries a header of 24 bytes.
const FRAME_BYTES: u64 = PAGE_BYTES + 24;
/// SQLite's shared memory grows by 32 KiB for each 4096 frames.
const SHM_STEP_BYTES: u64 = 32 << 10;
const SHM_STEP_FRAMES: u64 = 4096;

/// What was last known to be reserved, so that not every commit asks.
#[derive(Debug, Default)]
pub(crate) struct Reserved {
    /// The log, and the frames in it, when it was looked at. A checkpoint that ends cuts the database to its size, and a log
    /// that starts over may be cut too.
    log: Option<LogState>,
    frames: u64,
    wal: u64,
    database_len: u64,
    database: u64,
}

/// Frames after which the files are looked at again, should others have cut them.
const LOOK_AFTER_FRAMES: u64 = 64;

impl Reserved {
    fn holds(&self, log: Option<LogState>, bytes: u64, frames: u64) -> bool {
        log.is_some()
            && log == self.log
            && (self.frames..self.frames + LOOK_AFTER_FRAMES).contains(&frames)
            && wal_need(bytes, frames) <= self.wal
            && database_need(self.database_len, bytes, frames) <= self.database
    }
}

/// Every page of the added bytes goes to the log once, and pages above it in the trees a few times.
fn wal_need(bytes: u64, frames: u64) -> u64 {
    frames * FRAME_BYTES + 2 * bytes + WAL_RESERVE_BYTES
}

/// Every page past the file's end is in the log: no need to ask how many there are.
fn database_need(len: u64, bytes: u64, frames: u64) -> u64 {
    len + frames * PAGE_BYTES + bytes + bytes / 4 + DATABASE_RESERVE_BYTES
}

/// Reserves what a commit that adds `bytes` may need. `frames` are in the log already.
pub(crate) fn reserve(
    conn: &Connection,
    opened: &Opened,
    reserved: &mut Reserved,
    bytes: u64,
    frames: u64,
) -> Result<(), Error> {
    let log = opened.shared_memory.file.log_state().ok();
    if reserved.holds(log, bytes, frames) {
        return Ok(());
    }
    *reserved = Reserved::default();
    // With the frames to come until the files are looked at again.
    let ahead = frames + LOOK_AFTER_FRAMES;
    let wal = wal_need(bytes, ahead);
    reserve_in(&opened.wal, wal).or_else(|_| reserve_in(&opened.wal, wal_need(bytes, frames)))?;
    let wal = opened.wal.file.allocated().unwrap_or(0);
    write_ahead(opened, wal, bytes, frames);
    let shm_frames = wal.max(wal_need(bytes, frames)) / FRAME_BYTES;
    reserve_in(&opened.shared_memory, (shm_frames / SHM_STEP_FRAMES + 1) * SHM_STEP_BYTES)?;
    let length = opened.database.file.len().unwrap_or(0);
    if reserve_in(&opened.database, database_need(length, bytes, ahead)).is_ok()
        || reserve_in(&opened.database, database_need(length, bytes, frames)).is_ok()
    {
        let (database_len, database) = opened.database.file.len_and_allocated().unwrap_or((length, 0));
        *reserved = Reserved { log, frames, wal, database_len, database };
        return Ok(());
    }
    // What was deleted leaves free pages inside the file: they are room too.
    let room = bytes + bytes / 4 + DATABASE_RESERVE_BYTES;
    if pragma(conn, sql::FREELIST_COUNT) * PAGE_BYTES > room {
        return Ok(());
    }
    reserve_in(&opened.database, pragma(conn, sql::PAGE_COUNT) * PAGE_BYTES + room)
}

/// Makes the log longer by zeros, within what is allocated, as far as it will soon grow: a sync of what is written over
/// takes about half as long as one of what is appended, for which the file system writes its journal too. To SQLite, zeros
/// end the log. Must be called under the write lock.
fn write_ahead(opened: &Opened, allocated: u64, bytes: u64, frames: u64) {
    let soon = (frames + LOOK_AFTER_FRAMES).max(2 * frames) * FRAME_BYTES + 2 * bytes;
    let wanted = soon.next_multiple_of(ZEROS_STEP_BYTES).min(allocated).min(ZEROS_MAX_BYTES);
    let len = opened.wal.file.len().unwrap_or(wanted);
    if len < wanted {
        // Only speed is lost if it fails.
        let _ = opened.wal.file.write_zeros(len, wanted);
    }
}

fn reserve_in(file: &OpenedFile, bytes: u64) -> Result<(), Error> {
    if file.file.allocated().is_ok_and(|allocated| allocated >= bytes) {
        return Ok(());
    }
    let wanted = bytes.next_multiple_of(STEP_BYTES);
    match file.file.reserve(wanted) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => ask_free(file, wanted),
        Err(error) => Err(full(file, wanted, &error)),
    }
}

/// Where the file system cannot reserve, it can only be asked.
fn ask_free(file: &OpenedFile, wanted: u64) -> Result<(), Error> {
    let grows = wanted.saturating_sub(file.file.allocated().unwrap_or(0));
    match space::free_bytes(&file.path) {
        Ok(free) if free < grows => Err(full(file, wanted, &std::io::Error::from(std::io::ErrorKind::StorageFull))),
        _ => Ok(()),
    }
}

fn full(file: &OpenedFile, wanted: u64, error: &std::io::Error) -> Error {
    let free = space::free_bytes(&file.path).unwrap_or(0);
    Error::new(
        ErrorKind::Full,
        format!(
            "the disk is full: {} needs {wanted} bytes and {free} are free ({error}); nothing was sent, and receiving \
             and settling still work",
            file.path.display()
        ),
    )
}

fn pragma(conn: &Connection, sql: &'static str) -> u64 {
    conn.prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(0)))
        .map_or(0, |value| value as u64)
}
