//! What SQLite's result codes mean to the caller.

use rusqlite::ffi;

use crate::error::{Error, ErrorKind};

/// Maps an error of one of our own statements. `doing` says what was being done.
pub(crate) fn storage_error(doing: &str, error: &rusqlite::Error) -> Error {
    let kind = kind_of(error).unwrap_or(ErrorKind::Storage);
    Error::with_source(kind, format!("{doing}: {error}"), DetachedSource(error.to_string()))
}

/// Maps an error of a statement that the application wrote: what is not the store's own trouble is the statement's.
pub(crate) fn statement_error(error: &rusqlite::Error) -> Error {
    if let Some(refused) = refused_by_trigger(error) {
        return refused;
    }
    let kind = match kind_of(error) {
        Some(ErrorKind::Denied) | None => ErrorKind::Sql,
        Some(kind) => kind,
    };
    Error::with_source(kind, error.to_string(), DetachedSource(error.to_string()))
}

/// What a trigger of ours (`interface.sql`) refused: its text is `onceward: `, the kind, and what is wrong.
fn refused_by_trigger(error: &rusqlite::Error) -> Option<Error> {
    let rusqlite::Error::SqliteFailure(failure, Some(text)) = error else { return None };
    if failure.extended_code != ffi::SQLITE_CONSTRAINT_TRIGGER {
        return None;
    }
    let (kind, what) = text.strip_prefix("onceward: ")?.split_once(": ")?;
    let kind = ErrorKind::ALL.into_iter().find(|known| known.name() == kind)?;
    Some(Error::new(kind, format!("{what}; the transaction was rolled back")))
}

/// The kind that a result code stands for, where it stands for one of the store's own troubles.
pub(crate) fn kind_of(error: &rusqlite::Error) -> Option<ErrorKind> {
    let rusqlite::Error::SqliteFailure(failure, _) = error else { return None };
    match failure.extended_code {
        ffi::SQLITE_IOERR_SHMSIZE => return Some(ErrorKind::Full),
        ffi::SQLITE_READONLY_DBMOVED => return Some(ErrorKind::Detached),
        _ => {}
    }
    match failure.extended_code & 0xff {
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => Some(ErrorKind::Busy),
        ffi::SQLITE_FULL => Some(ErrorKind::Full),
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => Some(ErrorKind::Corrupt),
        ffi::SQLITE_CANTOPEN | ffi::SQLITE_PERM | ffi::SQLITE_READONLY | ffi::SQLITE_AUTH => Some(ErrorKind::Denied),
        ffi::SQLITE_INTERRUPT => Some(ErrorKind::Expired),
        ffi::SQLITE_IOERR | ffi::SQLITE_NOMEM | ffi::SQLITE_PROTOCOL => Some(ErrorKind::Storage),
        _ => None,
    }
}

/// A source that outlives the connection it came from.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct DetachedSource(String);
