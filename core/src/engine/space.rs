//! Room on the disk: what sends need is reserved before they write, so that a full disk refuses sends only, and receiving
//! and settling still work in what was kept back for them.

use rusqlite::Connection;

use crate::engine::sql;
use crate::engine::store_files::{Opened, OpenedFile};
use crate::error::{Error, ErrorKind};
use crate::sys::space;

/// Kept back in the log for receiving and settling: several hundred pages.
pub(crate) const WAL_RESERVE_BYTES: u64 = 2 << 20;
/// Kept back in the database: the pages that pending intervals and dead letters may add.
pub(crate) const DATABASE_RESERVE_BYTES: u64 = 1 << 20;
/// Reserving goes in steps of this size.
const STEP_BYTES: u64 = 1 << 20;
const PAGE_BYTES: u64 = 4096;
/// A page in the log carries a header of 24 bytes.
const FRAME_BYTES: u64 = PAGE_BYTES + 24;
/// SQLite's shared memory grows by 32 KiB for each 4096 frames.
const SHM_STEP_BYTES: u64 = 32 << 10;
const SHM_STEP_FRAMES: u64 = 4096;

/// Reserves what a commit that adds `bytes` may need. `frames` are in the log already.
pub(crate) fn reserve(conn: &Connection, opened: &Opened, bytes: u64, frames: u64) -> Result<(), Error> {
    // Every page of the added bytes goes to the log once, and pages above it in the trees a few times.
    let wal = frames * FRAME_BYTES + 2 * bytes + WAL_RESERVE_BYTES;
    reserve_in(&opened.wal, wal)?;
    let shm_frames = opened.wal.file.allocated().unwrap_or(wal).max(wal) / FRAME_BYTES;
    reserve_in(&opened.shared_memory, (shm_frames / SHM_STEP_FRAMES + 1) * SHM_STEP_BYTES)?;
    // Every page past the file's end is in the log: no need to ask how many there are.
    let length = opened.database.file.len().unwrap_or(0);
    let database = length + frames * PAGE_BYTES + bytes + bytes / 4 + DATABASE_RESERVE_BYTES;
    match reserve_in(&opened.database, database) {
        // What was deleted leaves free pages inside the file: they are room too.
        Err(_) if pragma(conn, sql::FREELIST_COUNT) * PAGE_BYTES > bytes + bytes / 4 + DATABASE_RESERVE_BYTES => Ok(()),
        Err(_) => {
            let pages = pragma(conn, sql::PAGE_COUNT);
            reserve_in(&opened.database, pages * PAGE_BYTES + bytes + bytes / 4 + DATABASE_RESERVE_BYTES)
        }
        Ok(()) => Ok(()),
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
