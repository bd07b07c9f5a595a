//! Effects, sends and acknowledgements in one commit, on a thread of the transaction's own.

use napi::Env;
use napi::bindgen_prelude::{BigInt, Buffer, Either, Either5, Float64Array, Null, ToNapiValue, Uint8Array};
use napi_derive::napi;
use onceward::Value;

use crate::convert::{Outgoing, Sent, number, receipts};
use crate::source::Source;
use crate::work::{Failure, Lane, Outcome, Promise, Released, future};

/// A parameter of SQL. Numbers that are whole and exact are integers of SQL, the others are real.
pub type Parameter = Either5<Null, f64, BigInt, String, Uint8Array>;
/// A cell of a row; integers that a number does not hold exactly are bigints.
pub type Cell = Either5<Null, f64, BigInt, String, Buffer>;

/// The largest integer up to which every integer is exact in a number.
const EXACT_MAX: i64 = (1 << 53) - 1;

#[napi(object)]
pub struct RowsData {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
}

#[napi]
pub struct Transaction {
    lane: Lane<onceward::Transaction>,
    store: Released<onceward::Store>,
}

impl Transaction {
    pub(crate) fn start(inner: onceward::Transaction, store: onceward::Store) -> Outcome<Self> {
        Ok(Transaction { lane: Lane::start(inner)?, store: Released::new(store) })
    }

    fn call<'e, T: ToNapiValue + Send + 'static>(
        &self,
        env: &'e Env,
        work: impl FnOnce(&mut onceward::Transaction) -> Outcome<T> + Send + 'static,
    ) -> Promise<'e, T> {
        let lane = self.lane.clone();
        future(env, async move { lane.call(|inner| work(inner.as_mut().ok_or(OVER)?)).await })
    }
}

const OVER: Failure = Failure::Invalid("the transaction is over: it was committed or rolled back");

#[napi]
impl Transaction {
    /// Once for each set of parameters. Answers the number of changed rows.
    #[napi]
    pub fn execute<'e>(&self, env: &'e Env, sql: String, sets: Vec<Vec<Parameter>>) -> Promise<'e, f64> {
        let sets = sets.into_iter().map(values).collect::<Outcome<Vec<_>>>();
        self.call(env, move |inner| Ok(number(inner.execute_many(&sql, &sets?)?)))
    }

    #[napi]
    pub fn query<'e>(&self, env: &'e Env, sql: String, parameters: Vec<Parameter>) -> Promise<'e, RowsData> {
        let values = values(parameters);
        self.call(env, move |inner| {
            let found = inner.query(&sql, &values?)?;
            let rows = found.rows.into_iter().map(|row| row.into_iter().map(cell).collect());
            Ok(RowsData { columns: found.columns, rows: rows.collect() })
        })
    }

    #[napi]
    pub fn send<'e>(&self, env: &'e Env, queue: Either<&Source, String>, message: Outgoing) -> Promise<'e, Sent> {
        let message = onceward::Message::from(message);
        let (queue, name) = match queue {
            Either::A(source) => (Some(source.place().queue), String::new()),
            Either::B(name) => (None, name),
        };
        let store = self.store.clone();
        self.call(env, move |inner| {
            let queue = queue.map_or_else(|| store.open_queue(&name), Ok)?;
            Ok(inner.send(&queue, message)?.into())
        })
    }

    #[napi]
    pub fn ack<'e>(&self, env: &'e Env, source: &Source, given: Float64Array) -> Promise<'e, ()> {
        let (place, receipts) = (source.place(), receipts(&given));
        self.call(env, move |inner| Ok(inner.ack(&place.subscription()?, &receipts?)?))
    }

    #[napi]
    pub fn is_begun<'e>(&self, env: &'e Env) -> Promise<'e, bool> {
        self.call(env, |inner| Ok(inner.is_begun()))
    }

    #[napi]
    pub fn commit<'e>(&self, env: &'e Env) -> Promise<'e, ()> {
        let lane = self.lane.clone();
        future(env, async move { lane.call(|inner| Ok(inner.take().ok_or(OVER)?.commit()?)).await })
    }

    /// One that is over stays as it is.
    #[napi]
    pub fn rollback<'e>(&self, env: &'e Env) -> Promise<'e, ()> {
        let lane = self.lane.clone();
        future(env, async move {
            lane.call(|inner| {
                if let Some(inner) = inner.take() {
                    inner.rollback();
                }
                Ok(())
            })
            .await
        })
    }
}

fn values(parameters: Vec<Parameter>) -> Outcome<Vec<Value>> {
    parameters.into_iter().map(value).collect()
}

fn value(parameter: Parameter) -> Outcome<Value> {
    Ok(match parameter {
        Either5::A(Null) => Value::Null,
        Either5::B(number) if number.fract() == 0.0 && number.abs() <= EXACT_MAX as f64 => {
            Value::Integer(number as i64)
        }
        Either5::B(number) => Value::Real(number),
        Either5::C(integer) => match integer.get_i64() {
            (integer, true) => Value::Integer(integer),
            (_, false) => return Err(Failure::Invalid("an integer of SQL takes 64 bits")),
        },
        Either5::D(text) => Value::Text(text),
        Either5::E(bytes) => Value::Blob(bytes.to_vec()),
    })
}

fn cell(value: Value) -> Cell {
    match value {
        Value::Null => Either5::A(Null),
        Value::Integer(integer) if (-EXACT_MAX..=EXACT_MAX).contains(&integer) => Either5::B(integer as f64),
        Value::Integer(integer) => Either5::C(BigInt::from(integer)),
        Value::Real(real) => Either5::B(real),
        Value::Text(text) => Either5::D(text),
        Value::Blob(bytes) => Either5::E(bytes.into()),
    }
}
