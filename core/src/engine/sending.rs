//! The new messages of a send, as a table that SQLite reads: one statement writes them all, and SQLite opens the tables and
//! their indexes once, not for each message.

use std::borrow::Cow;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use rusqlite::vtab::{Context, Filters, IndexInfo, Module, VTab, VTabConfig, VTabConnection, VTabCursor};
use rusqlite::{Connection, Result, ffi};

use crate::engine::operation::Prepared;
use crate::engine::threads::lock;

/// The name of the table, in the statements that read it.
const NAME: &CStr = c"onceward_sending";
const COLUMNS: &CStr = c"CREATE TABLE x(id, due_at, expires_at, key, ordering_key, headers, body, fingerprint)";

/// A message that is to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct New {
    /// Its place among the messages of the call.
    pub(crate) index: usize,
    pub(crate) id: i64,
    pub(crate) due_at: Option<i64>,
    pub(crate) expires_at: Option<i64>,
}

/// The rows of the table.
#[derive(Debug)]
struct Rows {
    messages: Arc<Vec<Prepared>>,
    new: Vec<New>,
}

/// Where a connection's table finds its rows: it is empty but while a send is written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sending(Arc<Mutex<Option<Arc<Rows>>>>);

impl Sending {
    /// Gives a connection its table.
    pub(crate) fn attach(conn: &Connection) -> Result<Self> {
        const MODULE: Module<'_, Table> = Module::eponymous_only_module();
        let sending = Sending::default();
        conn.create_module(NAME, &MODULE, Some(sending.clone()))?;
        Ok(sending)
    }

    /// Runs statements that find these messages in the table.
    pub(crate) fn with<T>(&self, messages: &Arc<Vec<Prepared>>, new: Vec<New>, run: impl FnOnce() -> T) -> T {
        *lock(&self.0) = Some(Arc::new(Rows { messages: Arc::clone(messages), new }));
        let outcome = run();
        *lock(&self.0) = None;
        outcome
    }
}

/// What SQLite knows of the table.
#[repr(C)]
struct Table {
    /// SQLite's own part, which must come first.
    base: ffi::sqlite3_vtab,
    sending: Sending,
}

// SAFETY: the layout is C's, and SQLite's own part comes first.
unsafe impl<'vtab> VTab<'vtab> for Table {
    type Aux = Sending;
    type Cursor = Cursor<'vtab>;

    fn connect(
        db: &mut VTabConnection,
        sending: Option<&Sending>,
        _module: &[u8],
        _database: &[u8],
        _table: &[u8],
        _arguments: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        // Not for views and triggers, which come with a file.
        db.config(VTabConfig::DirectOnly)?;
        let sending = sending.cloned().unwrap_or_default();
        Ok((Cow::Borrowed(COLUMNS), Table { base: ffi::sqlite3_vtab::default(), sending }))
    }

    fn best_index(&self, _info: &mut IndexInfo) -> Result<bool> {
        Ok(true)
    }

    fn open(&mut self) -> Result<Cursor<'_>> {
        let base = ffi::sqlite3_vtab_cursor::default();
        Ok(Cursor { base, sending: self.sending.clone(), rows: None, at: 0, table: PhantomData })
    }
}

/// A walk through the table.
#[repr(C)]
struct Cursor<'vtab> {
    /// SQLite's own part, which must come first.
    base: ffi::sqlite3_vtab_cursor,
    sending: Sending,
    rows: Option<Arc<Rows>>,
    at: usize,
    table: PhantomData<&'vtab Table>,
}

impl Cursor<'_> {
    fn row(&self) -> Option<(&New, &Prepared)> {
        let rows = self.rows.as_ref()?;
        let new = rows.new.get(self.at)?;
        Some((new, rows.messages.get(new.index)?))
    }
}

// SAFETY: the layout is C's, and SQLite's own part comes first.
unsafe impl VTabCursor for Cursor<'_> {
    fn filter(&mut self, _plan: c_int, _text: Option<&str>, _arguments: &Filters<'_>) -> Result<()> {
        self.rows.clone_from(&lock(&self.sending.0));
        self.at = 0;
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        self.at += 1;
        Ok(())
    }

    fn eof(&self) -> bool {
        self.row().is_none()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        // Past the end SQLite asks for nothing.
        let Some((new, Prepared { message, fingerprint, headers })) = self.row() else { return Ok(()) };
        match column {
            0 => context.set_result(new.id),
            1 => context.set_result(new.due_at),
            2 => context.set_result(new.expires_at),
            3 => context.set_result(message.key.as_deref()),
            4 => context.set_result(message.ordering_key.as_deref()),
            5 => context.set_result(headers.as_deref()),
            6 => context.set_result(message.body.as_slice()),
            _ => context.set_result(fingerprint.as_ref().map(<[u8; 16]>::as_slice)),
        }
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.at as i64)
    }
}
