//! Transactions: SQL on the application's own tables, sends and acknowledgements, in one commit.

use std::ffi::{CString, c_char, c_void};
use std::ptr;

use onceward::{ProcessMutex, Transaction, Value};

use crate::border::{self, Out, Place, at};
use crate::delivery::onceward_delivery;
use crate::handles::{self, Handle};
use crate::message::{self, onceward_message};
use crate::queue::{onceward_queue, or_nowhere, sent_status};
use crate::settle::{self, onceward_receipt};
use crate::status::{Failure, Outcome, guard, run, text};
use crate::store::onceward_store;
use crate::subscription::onceward_subscription;

/// The value is NULL.
pub const ONCEWARD_NULL: i32 = 0;
/// The value is in `integer`.
pub const ONCEWARD_INTEGER: i32 = 1;
/// The value is in `real`.
pub const ONCEWARD_REAL: i32 = 2;
/// The value is text: UTF-8, in `data` and `size`.
pub const ONCEWARD_TEXT: i32 = 3;
/// The value is bytes, in `data` and `size`.
pub const ONCEWARD_BLOB: i32 = 4;

/// A value of SQLite, as a parameter or in a row.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_value {
    /// ONCEWARD_NULL, ONCEWARD_INTEGER, ONCEWARD_REAL, ONCEWARD_TEXT or ONCEWARD_BLOB.
    pub value_type: i32,
    /// The integer.
    pub integer: i64,
    /// The floating-point number.
    pub real: f64,
    /// The text or the bytes. What comes from a row is followed by a NUL that `size` does not count.
    pub data: *const c_void,
    /// How many bytes `data` has.
    pub size: usize,
}

/// # Safety
/// The value's pointer is what its fields say.
unsafe fn value(given: &onceward_value) -> Outcome<Value> {
    // SAFETY: the caller's.
    let data = || unsafe { border::items("a parameter's data", given.data.cast::<u8>(), given.size) };
    Ok(match given.value_type {
        ONCEWARD_NULL => Value::Null,
        ONCEWARD_INTEGER => Value::Integer(given.integer),
        ONCEWARD_REAL => Value::Real(given.real),
        ONCEWARD_TEXT => match std::str::from_utf8(data()?) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => return Err(Failure::invalid("a parameter of text is not UTF-8")),
        },
        ONCEWARD_BLOB => Value::Blob(data()?.to_vec()),
        other => return Err(Failure::invalid(format!("the type of a parameter is {other}; it takes 0 to 4"))),
    })
}

/// # Safety
/// `parameters` points to `count` values.
unsafe fn values(parameters: *const onceward_value, count: usize) -> Outcome<Vec<Value>> {
    // SAFETY: the caller's.
    let parameters = unsafe { border::items("parameters", parameters, count) }?;
    // SAFETY: the caller's.
    parameters.iter().map(|parameter| unsafe { value(parameter) }).collect()
}

/// A transaction: SQL on the application's own tables, sends to queues of the same store, and acknowledgements, in one commit.
///
/// The write lock is taken at the first statement, not before, and held for at most the store's transaction time limit (5 s
/// unless set): then everything is rolled back, and every further call fails with ONCEWARD_EXPIRED. The statements may touch every
/// table but those named onceward_...; PRAGMA, ATTACH, BEGIN, COMMIT, SAVEPOINT and TEMP objects are refused. After
/// onceward_transaction_commit and onceward_transaction_rollback it is over, whatever they return; it still has to be freed.
pub struct onceward_transaction {
    /// None once it is over.
    open: ProcessMutex<Option<Transaction>>,
}

impl Handle for onceward_transaction {
    const KIND: &'static str = "onceward_transaction";
}

fn over() -> Failure {
    Failure::invalid("the transaction is over: it was committed or rolled back")
}

impl onceward_transaction {
    fn new(transaction: Transaction) -> Self {
        onceward_transaction { open: ProcessMutex::new(Some(transaction)) }
    }

    fn call<T>(&self, work: impl FnOnce(&mut Transaction) -> onceward::Result<T>) -> Outcome<T> {
        let mut open = self.open.lock()?;
        Ok(work(open.as_mut().ok_or_else(over)?)?)
    }

    fn end(&self) -> Outcome<Option<Transaction>> {
        Ok(self.open.lock()?.take())
    }
}

/// Begins a transaction. Nothing is locked before its first statement. `*transaction` is yours: commit it or roll it back, then
/// free it with onceward_transaction_free.
///
/// ONCEWARD_CLOSED or ONCEWARD_DETACHED; the file itself is first looked at by a statement.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_store_transaction(
    store: *const onceward_store,
    transaction: *mut *mut onceward_transaction,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new("transaction", transaction) }?;
        handles::give(onceward_transaction::new(handles::get(store)?.store.transaction()?), &out);
        Ok(())
    })
}

/// Begins a transaction whose commit also acknowledges this delivery: the effects and the acknowledgement happen together, or not
/// at all. `*transaction` is yours: commit it or roll it back, then free it with onceward_transaction_free.
///
/// ONCEWARD_INVALID when the delivery was settled; ONCEWARD_CLOSED or ONCEWARD_DETACHED. Whether the delivery was lost, the commit says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_delivery_transaction(
    delivery: *const onceward_delivery,
    transaction: *mut *mut onceward_transaction,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new("transaction", transaction) }?;
        let begun = handles::get(delivery)?.delivery().transaction()?;
        handles::give(onceward_transaction::new(begun), &out);
        Ok(())
    })
}

/// Runs one statement; `parameters` fill its `?` marks. `changed` may be NULL; else `*changed` is how many rows it changed.
///
/// ONCEWARD_SQL when the statement fails or is not allowed; ONCEWARD_BUSY when the write lock was not to be had; ONCEWARD_EXPIRED past
/// the time limit; ONCEWARD_INVALID when the transaction is over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_transaction_execute(
    transaction: *const onceward_transaction,
    sql: *const c_char,
    parameters: *const onceward_value,
    count: usize,
    changed: *mut u64,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (changed, sql, values) =
            unsafe { (or_nowhere("changed", changed)?, border::text("the SQL", sql)?, values(parameters, count)?) };
        let rows = handles::get(transaction)?.call(|open| open.execute(sql, &values))?;
        if let Some(changed) = changed {
            changed.set(rows);
        }
        Ok(())
    })
}

/// Runs one statement `set_count` times: with the first `count` of the parameters, then with the next `count`, and so on.
/// `changed` may be NULL; else `*changed` is how many rows they changed together.
///
/// As onceward_transaction_execute: ONCEWARD_SQL, ONCEWARD_BUSY, ONCEWARD_EXPIRED, ONCEWARD_INVALID, this also when `count` is 0. The
/// sets before a failing one have been run, and are committed only if you commit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_transaction_execute_many(
    transaction: *const onceward_transaction,
    sql: *const c_char,
    parameters: *const onceward_value,
    count: usize,
    set_count: usize,
    changed: *mut u64,
) -> i32 {
    run(|| {
        let all = count.checked_mul(set_count).ok_or_else(|| Failure::invalid("there are too many parameters"))?;
        // SAFETY: as the header asks.
        let (changed, sql, mut values) = unsafe {
            (or_nowhere("changed", changed)?, border::text("the SQL", sql)?, values(parameters, all)?.into_iter())
        };
        if count == 0 {
            return Err(Failure::invalid("each set has no parameters: use onceward_transaction_execute"));
        }
        let sets: Vec<Vec<Value>> = (0..set_count).map(|_| values.by_ref().take(count).collect()).collect();
        let rows = handles::get(transaction)?.call(|open| open.execute_many(sql, &sets))?;
        if let Some(changed) = changed {
            changed.set(rows);
        }
        Ok(())
    })
}

/// Runs one query and returns all its rows; it sees what the transaction wrote. `*rows` is yours: free it with onceward_rows_free.
///
/// As onceward_transaction_execute: ONCEWARD_SQL, ONCEWARD_BUSY, ONCEWARD_EXPIRED, ONCEWARD_INVALID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_transaction_query(
    transaction: *const onceward_transaction,
    sql: *const c_char,
    parameters: *const onceward_value,
    count: usize,
    rows: *mut *mut onceward_rows,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (out, sql, values) =
            unsafe { (Out::new("rows", rows)?, border::text("the SQL", sql)?, values(parameters, count)?) };
        let found = handles::get(transaction)?.call(|open| open.query(sql, &values))?;
        handles::give(onceward_rows::new(found), &out);
        Ok(())
    })
}

/// Sends a message that exists if and only if the transaction commits. `id` may be NULL; else `*id` is the message's id.
///
/// As onceward_queue_send, and ONCEWARD_INVALID for a queue of another store.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_transaction_send(
    transaction: *const onceward_transaction,
    queue: *const onceward_queue,
    message: *const onceward_message,
    id: *mut u64,
) -> i32 {
    guard(|| {
        // SAFETY: as the header asks.
        let (id, message) = unsafe { (or_nowhere("id", id)?, message::read(message)?) };
        let queue = handles::get(queue)?;
        let sent = handles::get(transaction)?.call(|open| open.send(&queue.queue, message))?;
        Ok(sent_status(sent, id.as_ref()))
    })
}

/// Acknowledges further deliveries if and only if the transaction commits.
///
/// ONCEWARD_LEASE_LOST when one of them was lost: the whole transaction is then rolled back. ONCEWARD_NOT_FOUND when the subscription was
/// ended, and ONCEWARD_INVALID for one of another store; the transaction goes on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_transaction_ack(
    transaction: *const onceward_transaction,
    subscription: *const onceward_subscription,
    receipts: *const onceward_receipt,
    count: usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let receipts = unsafe { settle::read(receipts, count) }?;
        let subscription = handles::get(subscription)?;
        handles::get(transaction)?.call(|open| open.ack(&subscription.subscription, &receipts))
    })
}

/// Commits: everything in it happens together, and is on disk when this returns. With the delivery it was begun from, that is
/// acknowledged.
///
/// ONCEWARD_LEASE_LOST when that delivery was lost, ONCEWARD_NOT_FOUND when its subscription was ended: everything is rolled back, and
/// nothing of it happened. ONCEWARD_EXPIRED past the time limit. ONCEWARD_INVALID when it is over already. With ONCEWARD_STORAGE the
/// outcome is unknown: look.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_transaction_commit(transaction: *const onceward_transaction) -> i32 {
    run(|| Ok(handles::get(transaction)?.end()?.ok_or_else(over)?.commit()?))
}

/// Rolls back: nothing of it happened. The delivery it was begun from stays in your hands: settle it. One that is over stays as it
/// is, which is no error, also when the store is closed.
///
/// ONCEWARD_CLOSED in a forked child; ONCEWARD_INVALID for what is no living handle.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_transaction_rollback(transaction: *const onceward_transaction) -> i32 {
    run(|| {
        if let Some(open) = handles::get(transaction)?.end()? {
            open.rollback();
        }
        Ok(())
    })
}

/// Frees the handle, and rolls back what was not committed; NULL is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_transaction_free(transaction: *mut onceward_transaction) {
    handles::free(transaction);
}

enum Cell {
    Plain(Value),
    /// With a NUL at the end.
    Data(i32, Vec<u8>),
}

/// What a query found.
pub struct onceward_rows {
    columns: Vec<CString>,
    rows: Vec<Vec<Cell>>,
}

impl Handle for onceward_rows {
    const KIND: &'static str = "onceward_rows";
}

impl onceward_rows {
    fn new(rows: onceward::Rows) -> Self {
        let ended = |value_type, mut data: Vec<u8>| {
            data.push(0);
            Cell::Data(value_type, data)
        };
        let cell = |value| match value {
            Value::Text(text) => ended(ONCEWARD_TEXT, text.into_bytes()),
            Value::Blob(blob) => ended(ONCEWARD_BLOB, blob),
            plain => Cell::Plain(plain),
        };
        onceward_rows {
            columns: rows.columns.into_iter().map(text).collect(),
            rows: rows.rows.into_iter().map(|row| row.into_iter().map(cell).collect()).collect(),
        }
    }
}

impl Cell {
    fn shown(&self) -> onceward_value {
        let mut shown = onceward_value { value_type: ONCEWARD_NULL, integer: 0, real: 0.0, data: ptr::null(), size: 0 };
        match self {
            Cell::Plain(Value::Integer(integer)) => {
                shown.value_type = ONCEWARD_INTEGER;
                shown.integer = *integer;
            }
            Cell::Plain(Value::Real(real)) => {
                shown.value_type = ONCEWARD_REAL;
                shown.real = *real;
            }
            Cell::Plain(_) => {}
            Cell::Data(value_type, data) => {
                shown.value_type = *value_type;
                shown.data = data.as_ptr().cast();
                shown.size = data.len() - 1;
            }
        }
        shown
    }
}

/// How many rows there are; 0 for what is no living handle.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_rows_count(rows: *const onceward_rows) -> usize {
    let mut count = 0;
    run(|| {
        count = handles::get(rows)?.rows.len();
        Ok(())
    });
    count
}

/// How many columns the rows have; 0 for what is no living handle.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_rows_column_count(rows: *const onceward_rows) -> usize {
    let mut count = 0;
    run(|| {
        count = handles::get(rows)?.columns.len();
        Ok(())
    });
    count
}

/// The name of the column at `column`, counted from 0; NULL past the end. It lives as long as the rows.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_rows_column_name(rows: *const onceward_rows, column: usize) -> *const c_char {
    let mut name = ptr::null();
    run(|| {
        name = at(&handles::get(rows)?.columns, column)?.as_ptr();
        Ok(())
    });
    name
}

/// The value in a row and a column, both counted from 0, into `*value`, whose pointer lives as long as the rows. ONCEWARD_INVALID past
/// the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_rows_get(
    rows: *const onceward_rows,
    row: usize,
    column: usize,
    value: *mut onceward_value,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let place = unsafe { Place::new("value", value) }?;
        let rows = handles::get(rows)?;
        place.set(at(at(&rows.rows, row)?, column)?.shown());
        Ok(())
    })
}

/// Frees the rows; NULL is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_rows_free(rows: *mut onceward_rows) {
    handles::free(rows);
}
