//! Opening connections, with every setting they need.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, ErrorKind, Result};
use crate::storage::convert::storage_error;
use crate::storage::schema;

/// Prepared statements kept per connection: more than there are.
const STATEMENTS_CACHED: usize = 192;
/// The page cache of the writing connection: enough for the hot pages, little against a program's own memory.
const WRITER_CACHE_KIB: i64 = 8 << 10;
/// The page cache of the reading connections, which hold nothing between calls.
const READER_CACHE_KIB: i64 = 1 << 10;
/// A write-ahead log that grew past this is cut back to it when it starts over.
const WAL_KEPT_BYTES: i64 = 16 << 20;

/// How long to wait for others. Shared by all that wait for one store, so that closing can cut it short.
#[derive(Debug, Clone)]
pub(crate) struct Patience(Arc<AtomicU64>);

impl Patience {
    pub(crate) fn new(patience: Duration) -> Self {
        let shared = Patience(Arc::default());
        shared.set(patience);
        shared
    }

    pub(crate) fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn set(&self, patience: Duration) {
        self.0.store(u64::try_from(patience.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Writer,
    Reader,
}

/// Opens `path` (already created) or, with `None`, a database in memory.
pub(crate) fn open(path: Option<&Path>, role: Role, patience: &Patience) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = match path {
        Some(path) => Connection::open_with_flags(path, flags),
        None => Connection::open_in_memory(),
    }
    .map_err(|error| open_error(path, &error))?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    // Without it, SQLite plans a statement anew whenever a bound value might change its plan: at nearly every call.
    conn.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(|error| open_error(path, &error))?;
    set_busy_handler(&mut conn, patience)?;
    let settle = |sql: &str| conn.execute_batch(sql).map_err(|error| open_error(path, &error));
    let cache = if role == Role::Writer { WRITER_CACHE_KIB } else { READER_CACHE_KIB };
    settle(&format!("PRAGMA cache_size = -{cache}; PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = OFF;"))?;
    if let Some(file) = path {
        if conn.is_readonly(rusqlite::MAIN_DB).map_err(|error| open_error(path, &error))? {
            return Err(Error::new(
                ErrorKind::Denied,
                format!("{} cannot be written: the file is read-only", display(path)),
            ));
        }
        // Before anything is changed: another application's file, or a newer one, must stay as it is.
        acceptable(&conn, file)?;
        let mode: String = conn
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(|error| open_error(path, &error))?;
        if mode != "wal" {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{} cannot be put into WAL mode: it is in {mode} mode", display(path)),
            ));
        }
        // NORMAL, because the engine itself syncs the log, after the commit and outside the write lock, for just those
        // operations whose promise needs it.
        settle(&format!(
            "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = {WAL_KEPT_BYTES};"
        ))?;
    }
    Ok(conn)
}

/// Looks, without changing anything, whether a file that exists is one that we may open.
pub(crate) fn check_acceptable(path: &Path, busy_timeout: Duration) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|error| open_error(Some(path), &error))?;
    conn.busy_timeout(busy_timeout).map_err(|error| open_error(Some(path), &error))?;
    acceptable(&conn, path)
}

fn acceptable(conn: &Connection, path: &Path) -> Result<()> {
    match schema::version(conn) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::new(error.kind(), format!("opening {}: {}", path.display(), error.message()))),
    }
}

/// Waits for writers that do not take part in our own queue for the write lock, with short sleeps.
fn set_busy_handler(conn: &mut Connection, patience: &Patience) -> Result<()> {
    let patience = patience.clone();
    let mut since = Instant::now();
    conn.busy_handler(Some(move |tries: i32| {
        if tries == 0 {
            since = Instant::now();
        }
        if since.elapsed() >= patience.get() {
            return false;
        }
        std::thread::sleep(Duration::from_micros(if tries < 20 { 100 } else { 1000 }));
        true
    }))
    .map_err(|error| storage_error("setting the busy handler", &error))
}

fn open_error(path: Option<&Path>, error: &rusqlite::Error) -> Error {
    storage_error(&format!("opening {}", display(path)), error)
}

fn display(path: Option<&Path>) -> String {
    path.map_or_else(|| ":memory:".to_owned(), |path| path.display().to_string())
}
