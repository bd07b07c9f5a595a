//! The application's own transaction: its SQL, sends and acknowledgements in one commit of the writing connection.
//!
//! It has the sole right to write from its first statement on, for at most the time limit; housekeeping rolls back one that
//! forgot itself.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;

use crate::engine::context::{Commit, Context, Fault, Known};
use crate::engine::execute::execute;
use crate::engine::guard::Guard;
use crate::engine::operation::{Operation, Reply};
use crate::engine::writer::Writer;
use crate::engine::{Engine, bell, foreign, guard};
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::failpoint;
use crate::storage::convert::{kind_of, statement_error, storage_error};
use crate::transaction::{Rows, Value};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Room for what the application itself writes, reserved when its transaction begins.
const APPLICATION_BYTES: u64 = 256 << 10;

/// The transaction that has the sole right to write.
pub(crate) struct Running {
    number: u64,
    thread: ThreadId,
    since: Instant,
    commit: Commit,
    /// Why it was rolled back from outside, if it was.
    ended: Option<String>,
    interrupt: rusqlite::InterruptHandle,
}

/// A running transaction's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number(u64);

impl Engine {
    /// Refuses to wait for a transaction that this very thread has open: it would wait for itself.
    pub(crate) fn check_no_transaction_here(&self) -> Result<()> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match running.as_ref() {
            Some(running) if running.thread == std::thread::current().id() && running.ended.is_none() => Err(
                Error::invalid("this thread has an open transaction of this store: use its methods, or end it first"),
            ),
            _ => Ok(()),
        }
    }

    /// Takes the write lock, for this thread's transaction.
    pub(crate) fn begin_transaction(&self) -> Result<Number> {
        self.check_usable()?;
        self.check_no_transaction_here()?;
        self.turn.begin_transaction(self.patience.get())?;
        let begun = self.begin_on_writer();
        if begun.is_err() {
            self.turn.end_transaction();
        }
        begun
    }

    fn begin_on_writer(&self) -> Result<Number> {
        // The turn among the processes ends with the begin: SQLite's own lock holds from there on.
        let turn = self.side().write_lock(self.patience.get()).map_err(|error| {
            Error::with_source(ErrorKind::Storage, format!("taking the write lock: {error}"), error)
        })?;
        if turn.is_none() {
            return Err(self.busy_error());
        }
        let mut writer = self.writer();
        // Nobody would look after one that began while the store was closing.
        let closed = || Error::new(ErrorKind::Closed, "the store is closed");
        let writer = writer.as_mut().filter(|_| !self.is_closed()).ok_or_else(closed)?;
        writer.begin().map_err(|error| match kind_of(&error) {
            Some(ErrorKind::Busy) => self.busy_error(),
            _ => storage_error("beginning a transaction", &error),
        })?;
        drop(turn);
        if let Err(error) = writer.make_room(APPLICATION_BYTES) {
            writer.roll_back();
            return Err(error);
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let running = Running {
            number,
            thread: std::thread::current().id(),
            since: Instant::now(),
            commit: Commit::default(),
            ended: None,
            interrupt: writer.conn.get_interrupt_handle(),
        };
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        self.house.transaction_began();
        Ok(Number(number))
    }

    /// Runs `work` inside the transaction, if it is still running.
    fn within<T>(&self, number: Number, work: impl FnOnce(&mut Writer, &mut Commit) -> Result<T>) -> Result<T> {
        self.check_usable()?;
        let mut writer = self.writer();
        let writer = writer.as_mut().ok_or_else(|| Error::new(ErrorKind::Closed, "the store is closed"))?;
        let mut commit = self.take_commit(number)?;
        if writer.conn.is_autocommit() {
            return Err(Error::new(ErrorKind::Sql, "the transaction was rolled back by a statement that failed in it"));
        }
        let outcome = work(writer, &mut commit);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running.as_mut().filter(|running| running.number == number.0) {
            running.commit = commit;
        }
        outcome
    }

    fn take_commit(&self, number: Number) -> Result<Commit> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let running = running.as_mut().filter(|running| running.number == number.0);
        let Some(running) = running else {
            return Err(Error::invalid("the transaction has ended"));
        };
        match &running.ended {
            Some(why) => Err(Error::new(ErrorKind::Expired, why.clone())),
            None => Ok(std::mem::take(&mut running.commit)),
        }
    }

    /// Runs one of our operations inside the transaction. What it refuses leaves the transaction as it was.
    pub(crate) fn operate(&self, number: Number, operation: &Operation) -> Result<Reply> {
        self.within(number, |writer, commit| {
            let added = operation.bytes_added();
            if added > 0 {
                writer.make_room(added)?;
            }
            self.carry_out(writer, commit, operation)
        })
    }

    /// Deals with what the application's statements did through the file's views, then runs the operation.
    fn carry_out(&self, writer: &Writer, commit: &mut Commit, operation: &Operation) -> Result<Reply> {
        let parts = (&*self.clock, &*self.random, &*self.liveness);
        let now = self.clock.now();
        let mut cx = Context::new(&writer.conn, now, parts, writer.instance, &writer.settled, &writer.sending);
        cx.commit = std::mem::take(commit);
        // The application's statements may have come in between, and triggers with them.
        cx.commit.known = Known::default();
        let absorbed = foreign::absorb(&mut cx);
        let reply = absorbed.and_then(|()| execute(&mut cx, operation));
        *commit = cx.commit;
        reply.map_err(|fault| match fault {
            Fault::Refused(error) => error,
            Fault::Failed(error) => {
                // Half of an operation must not be committed.
                writer.roll_back();
                storage_error("writing", &error)
            }
        })
    }

    /// Runs a statement of the application, once for each set of parameters. Returns how many rows changed.
    pub(crate) fn execute_sql(&self, number: Number, sql: &str, sets: &[&[Value]]) -> Result<u64> {
        self.within(number, |writer, _| {
            guarded(writer, |conn, guard| {
                let mut statement = prepare(conn, sql, guard)?;
                let mut changed = 0;
                for parameters in sets {
                    let before = conn.total_changes();
                    let parameters = rusqlite::params_from_iter(parameters.iter());
                    {
                        let mut rows = statement.query(parameters).map_err(|error| statement_error(&error))?;
                        while rows.next().map_err(|error| statement_error(&error))?.is_some() {}
                    }
                    // A statement that changes nothing leaves the count of the one before it.
                    if conn.total_changes() != before {
                        changed += conn.changes();
                    }
                }
                Ok(changed)
            })
        })
    }

    /// Runs a query of the application.
    pub(crate) fn query_sql(&self, number: Number, sql: &str, parameters: &[Value]) -> Result<Rows> {
        self.within(number, |writer, _| {
            guarded(writer, |conn, guard| {
                let mut statement = prepare(conn, sql, guard)?;
                let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
                let mut found = statement
                    .query(rusqlite::params_from_iter(parameters.iter()))
                    .map_err(|error| statement_error(&error))?;
                let mut rows = Vec::new();
                while let Some(row) = found.next().map_err(|error| statement_error(&error))? {
                    let cells = (0..columns.len()).map(|index| row.get_ref(index).map(from_sqlite));
                    rows.push(
                        cells.collect::<rusqlite::Result<Vec<Value>>>().map_err(|error| statement_error(&error))?,
                    );
                }
                Ok(Rows { columns, rows })
            })
        })
    }

    /// Commits, syncs, and lets others write again.
    pub(crate) fn commit_transaction(&self, number: Number) -> Result<()> {
        let mut numbered = None;
        let mut wakes = Vec::new();
        let outcome = self.within(number, |writer, commit| {
            self.carry_out(writer, commit, &Operation::Absorb)?;
            commit.together = true;
            let sent = writer.count_sends(commit, self.side());
            writer.commit().map_err(|error| {
                writer.roll_back();
                storage_error("committing", &error)
            })?;
            failpoint("transaction-committed");
            numbered = Some(self.committed(Some(sent)));
            writer.settled.remember(std::mem::take(&mut commit.settlements));
            wakes = std::mem::take(&mut commit.wakes);
            let attached = match &writer.opened {
                Some(opened) if !opened.still_attached(self.side()) => {
                    self.detached.store(true, Ordering::SeqCst);
                    Err(self.detached_error())
                }
                _ => Ok(()),
            };
            writer.tend_log(self.side());
            attached
        });
        self.leave(number);
        outcome?;
        let synced = numbered.map_or(Ok(()), |number| self.ensure_synced(number));
        bell::ring(self.side(), &wakes);
        synced
    }

    pub(crate) fn roll_back_transaction(&self, number: Number) {
        if self.is_forked() {
            return;
        }
        let _ = self.within(number, |writer, _| {
            writer.roll_back();
            Ok(())
        });
        self.leave(number);
    }

    fn leave(&self, number: Number) {
        let left = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            match running.as_ref() {
                Some(found) if found.number == number.0 => {
                    let ended = found.ended.is_some();
                    *running = None;
                    !ended
                }
                _ => false,
            }
        };
        if left {
            self.turn.end_transaction();
        }
    }

    /// Rolls back a transaction that has passed its time limit. Returns how long the running one still has.
    pub(crate) fn end_overdue_transaction(&self) -> Option<Duration> {
        let limit = self.options.transaction_time_limit;
        {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            let running = running.as_ref().filter(|running| running.ended.is_none())?;
            let left = limit.saturating_sub(running.since.elapsed());
            if !left.is_zero() {
                return Some(left);
            }
            running.interrupt.interrupt();
        }
        self.abandon_transaction(&format!(
            "the transaction took longer than its limit of {limit:?} and was rolled back; nothing of it happened"
        ));
        None
    }

    /// Rolls back whatever transaction is running, and lets others write.
    pub(crate) fn abandon_transaction(&self, why: &str) {
        let writer = self.writer();
        let abandoned = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            match running.as_mut() {
                Some(running) if running.ended.is_none() => {
                    running.ended = Some(why.to_owned());
                    running.commit = Commit::default();
                    true
                }
                _ => false,
            }
        };
        if abandoned {
            if let Some(writer) = writer.as_ref() {
                writer.roll_back();
            }
            drop(writer);
            self.turn.end_transaction();
        }
    }
}

/// Runs `work` with our tables guarded against the application's statements.
fn guarded<T>(writer: &mut Writer, work: impl FnOnce(&rusqlite::Connection, &Guard) -> Result<T>) -> Result<T> {
    writer.guard.on.store(true, Ordering::Relaxed);
    writer.guard.altering.store(false, Ordering::Relaxed);
    let outcome = work(&writer.conn, &writer.guard);
    writer.guard.on.store(false, Ordering::Relaxed);
    outcome
}

fn prepare<'a>(conn: &'a rusqlite::Connection, sql: &str, guard: &Guard) -> Result<rusqlite::Statement<'a>> {
    let refused = |why: &str| {
        Error::new(
            ErrorKind::Sql,
            format!(
                "the statement is not allowed in a transaction: what is named onceward_… is the store's own, but for its \
                 documented views, and PRAGMA, ATTACH, BEGIN, COMMIT, SAVEPOINT and TEMP objects are not for it ({why})"
            ),
        )
    };
    if guard::poses_as_ours(sql) {
        return Err(refused("it names a part of them"));
    }
    guard.names_views.store(guard::names_views(sql), Ordering::Relaxed);
    let prepared = conn.prepare(sql).map_err(|error| match &error {
        rusqlite::Error::SqliteFailure(failure, _) if failure.extended_code & 0xff == rusqlite::ffi::SQLITE_AUTH => {
            refused(&error.to_string())
        }
        _ => statement_error(&error),
    })?;
    // SQLite does not say what a table is renamed to.
    if guard.altering.load(Ordering::Relaxed) && sql.to_ascii_lowercase().contains(guard::OURS) {
        return Err(Error::new(
            ErrorKind::Sql,
            "no table may be renamed to one named onceward_…: those are the store's",
        ));
    }
    Ok(prepared)
}

fn from_sqlite(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) => Value::Integer(integer),
        ValueRef::Real(real) => Value::Real(real),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(blob) => Value::Blob(blob.to_vec()),
    }
}
