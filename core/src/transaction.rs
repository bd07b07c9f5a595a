//! The application's effects, sends and acknowledgements in one commit.

use std::fmt;
use std::sync::Arc;

use crate::delivery::{Acknowledged, lease_lost};
use crate::engine::Engine;
use crate::engine::operation::{Operation, Reply, Sent, Settle, Verb};
use crate::engine::user_transaction::Number;
use crate::error::{Error, Result};
use crate::message::Message;
use crate::queue::Queue;
use crate::subscription::Subscription;
use crate::types::Receipt;

/// A value of SQLite, as a parameter or in a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(integer) => ValueRef::Integer(*integer),
            Value::Real(real) => ValueRef::Real(*real),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(blob) => ValueRef::Blob(blob),
        }))
    }
}

fn check_parameters(parameters: &[Value]) -> Result<()> {
    let nan = |value: &Value| matches!(value, Value::Real(real) if real.is_nan());
    match parameters.iter().position(nan) {
        Some(index) => Err(Error::invalid(format!("parameter {} is NaN, which SQLite would store as NULL", index + 1))),
        None => Ok(()),
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Integer(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Real(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Value::Blob(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// What a query found.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, each with a value for every column.
    pub rows: Vec<Vec<Value>>,
}

/// A transaction: SQL on the application's own tables, sends to queues of the same store, and acknowledgements, in one
/// commit.
///
/// The write lock is taken at the first statement, not before, and held for at most the store's transaction time limit
/// (5 s unless set): then the transaction is rolled back and every further call fails with `Expired`. The statements may
/// touch every table but those named `onceward_…`; PRAGMA, ATTACH, BEGIN, COMMIT, SAVEPOINT
/// and TEMP objects are refused. Dropping a
/// transaction rolls it back.
///
/// ```
/// use onceward::{Message, Semantics, Store};
/// use std::time::Duration;
///
/// let store = Store::open(":memory:")?;
/// let mut setup = store.transaction()?;
/// setup.execute("CREATE TABLE entries(order_id INTEGER PRIMARY KEY, cents INTEGER)", &[])?;
/// setup.commit()?;
///
/// let payments = store.queue("payments", Semantics::ExactlyOnce)?;
/// payments.send(Message::new("1999").key("order-42"))?;
/// let delivery = payments.receive(Duration::ZERO)?.expect("just sent");
/// let mut tx = delivery.transaction()?;
/// tx.execute("INSERT INTO entries(order_id, cents) VALUES (?1, ?2)", &[42.into(), 1999.into()])?;
/// tx.commit()?; // the entry and the acknowledgement, together
/// # Ok::<(), onceward::Error>(())
/// ```
pub struct Transaction {
    engine: Arc<Engine>,
    number: Option<Number>,
    /// It was rolled back: what comes now must not begin another.
    over: bool,
    acknowledged: Option<Acknowledged>,
}

impl Transaction {
    pub(crate) fn new(engine: Arc<Engine>, acknowledged: Option<Acknowledged>) -> Self {
        Transaction { engine, number: None, over: false, acknowledged }
    }

    fn number(&mut self) -> Result<Number> {
        if let Some(number) = self.number {
            return Ok(number);
        }
        if self.over {
            return Err(Error::invalid("the transaction has ended: it was rolled back"));
        }
        let number = self.engine.begin_transaction()?;
        self.number = Some(number);
        Ok(number)
    }

    /// Runs a statement. Returns how many rows it changed.
    ///
    /// # Errors
    /// `Sql` when the statement fails or is not allowed; `Busy` when the write lock was not to be had; `Expired` past the
    /// time limit; `Invalid` for a parameter that is NaN, of which SQLite would make NULL.
    pub fn execute(&mut self, sql: &str, parameters: &[Value]) -> Result<u64> {
        check_parameters(parameters)?;
        let number = self.number()?;
        self.engine.execute_sql(number, sql, &[parameters])
    }

    /// Runs a statement once for each set of parameters. Returns how many rows they changed together.
    ///
    /// # Errors
    /// As [`Transaction::execute`]; the sets before the failing one have been run, and are committed only if you commit.
    pub fn execute_many(&mut self, sql: &str, sets: &[Vec<Value>]) -> Result<u64> {
        sets.iter().try_for_each(|parameters| check_parameters(parameters))?;
        let number = self.number()?;
        let sets: Vec<&[Value]> = sets.iter().map(Vec::as_slice).collect();
        self.engine.execute_sql(number, sql, &sets)
    }

    /// Runs a query and returns all its rows.
    ///
    /// # Errors
    /// As [`Transaction::execute`].
    pub fn query(&mut self, sql: &str, parameters: &[Value]) -> Result<Rows> {
        check_parameters(parameters)?;
        let number = self.number()?;
        self.engine.query_sql(number, sql, parameters)
    }

    /// Sends a message that exists if and only if the transaction commits.
    ///
    /// # Errors
    /// As [`Queue::send`], and `Invalid` for a queue of another store.
    pub fn send(&mut self, queue: &Queue, message: impl Into<Message>) -> Result<Sent> {
        self.check_same_store(queue)?;
        let operation = queue.sending(vec![queue.prepare(message.into())?]);
        let number = self.number()?;
        match self.engine.operate(number, &operation)? {
            Reply::Sent(sent) if sent.len() == 1 => Ok(sent[0]),
            other => other.unexpected("one message sent"),
        }
    }

    /// Acknowledges deliveries if and only if the transaction commits.
    ///
    /// # Errors
    /// `LeaseLost` when one of them was lost: the whole transaction is then rolled back.
    pub fn ack(&mut self, subscription: &Subscription, receipts: &[Receipt]) -> Result<()> {
        self.check_same_store(subscription.queue())?;
        let settle = subscription.checked(Verb::Ack, receipts.to_vec())?;
        self.settle(settle)
    }

    fn settle(&mut self, settle: Settle) -> Result<()> {
        let number = self.number()?;
        match self.engine.operate(number, &Operation::Settle(settle))? {
            Reply::Settled(lost) => match lost.first() {
                None => Ok(()),
                Some(receipt) => {
                    self.end();
                    Err(lease_lost(*receipt))
                }
            },
            other => other.unexpected("a settlement"),
        }
    }

    fn check_same_store(&self, queue: &Queue) -> Result<()> {
        if Arc::ptr_eq(&self.engine, &queue.engine) {
            return Ok(());
        }
        Err(Error::invalid(format!("queue {:?} belongs to another store than the transaction", queue.name())))
    }

    /// Commits: everything in it happens together, and is on disk when this returns.
    ///
    /// # Errors
    /// `LeaseLost` when the delivery it was begun from was lost: everything is rolled back. `Expired` past the time limit.
    /// With `Storage` the outcome is unknown: look, or receive again and see whether the message is still there.
    pub fn commit(mut self) -> Result<()> {
        let Some(acknowledged) = self.acknowledged.take() else { return self.commit_begun() };
        let (subscription, receipts) = (acknowledged.subscription, vec![acknowledged.receipt]);
        self.settle(Settle { subscription, verb: Verb::Ack, receipts })?;
        self.commit_begun()?;
        acknowledged.done();
        Ok(())
    }

    fn commit_begun(&mut self) -> Result<()> {
        match self.number.take() {
            Some(number) => self.engine.commit_transaction(number),
            None if self.over => Err(Error::invalid("the transaction has ended: it was rolled back")),
            None => self.engine.check_usable(),
        }
    }

    /// Whether it has begun: its first statement, send or acknowledgement began it.
    pub fn is_begun(&self) -> bool {
        self.number.is_some()
    }

    /// Rolls back: nothing of it happened.
    pub fn rollback(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.over = true;
        if let Some(number) = self.number.take() {
            self.engine.roll_back_transaction(number);
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("begun", &self.number.is_some()).finish_non_exhaustive()
    }
}
