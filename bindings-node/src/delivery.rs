//! What a receive brought.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use napi::Env;
use napi::bindgen_prelude::{Buffer, ToNapiValue};
use napi_derive::napi;
use onceward::Delivery;

use crate::convert::{Header, duration, headers, number};
use crate::effect::{Begun, OnceData};
use crate::source::Verb;
use crate::transaction::Transaction;
use crate::work::{Failure, Outcome, Promise, Released, blocking};

#[napi(object)]
pub struct DeliveryData {
    pub id: f64,
    pub token: f64,
    pub attempt: u32,
    pub body: Buffer,
    pub headers: Option<Vec<Header>>,
    pub key: Option<String>,
    pub ordering_key: Option<String>,
    pub priority: u32,
    pub sent_at: f64,
}

fn data(delivery: &mut Delivery) -> DeliveryData {
    DeliveryData {
        id: number(delivery.id().get()),
        token: number(delivery.token().get()),
        attempt: delivery.attempt(),
        body: delivery.take_body().into(),
        headers: headers(delivery.headers()),
        key: delivery.key().map(str::to_owned),
        ordering_key: delivery.ordering_key().map(str::to_owned),
        priority: delivery.priority().into(),
        sent_at: delivery.sent_at().get() as f64,
    }
}

/// The deliveries of one receive, by their index.
#[napi]
pub struct Batch {
    deliveries: Released<Vec<Arc<RwLock<Delivery>>>>,
    items: Mutex<Vec<DeliveryData>>,
}

impl Batch {
    pub(crate) fn new(mut deliveries: Vec<Delivery>) -> Self {
        let items = Mutex::new(deliveries.iter_mut().map(data).collect());
        Batch { deliveries: Released::new(deliveries.into_iter().map(RwLock::new).map(Arc::new).collect()), items }
    }

    fn on<'e, T: ToNapiValue + Send + 'static>(
        &self,
        env: &'e Env,
        index: u32,
        work: impl FnOnce(&Delivery) -> Outcome<T> + Send + 'static,
    ) -> Promise<'e, T> {
        let delivery = self.get(index);
        blocking(env, move || work(&delivery?.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn get(&self, index: u32) -> Outcome<Arc<RwLock<Delivery>>> {
        self.deliveries.get(index as usize).cloned().ok_or(Failure::Invalid("no such delivery"))
    }
}

#[napi]
impl Batch {
    /// What is in it. The second time, nothing.
    #[napi]
    pub fn items(&self) -> Vec<DeliveryData> {
        std::mem::take(&mut *self.items.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it was settled. The event loop does not wait for an extension that runs: only an open one can be extended.
    #[napi]
    pub fn is_settled(&self, index: u32) -> bool {
        let delivery = self.deliveries.get(index as usize);
        delivery.is_some_and(|delivery| delivery.try_read().is_ok_and(|delivery| delivery.is_settled()))
    }

    /// `verb`, `ms` and `text` are those of `Source.settle`.
    #[napi]
    pub fn settle<'e>(
        &self,
        env: &'e Env,
        index: u32,
        verb: String,
        ms: Option<f64>,
        text: Option<String>,
    ) -> Promise<'e, ()> {
        self.on(env, index, move |delivery| {
            let settled = match Verb::parse(&verb, ms, text)? {
                Verb::Ack => delivery.ack(),
                Verb::Nack(nack) => delivery.nack(&nack),
                Verb::DeadLetter(reason) => delivery.dead_letter(&reason),
                Verb::Release => delivery.release(),
                Verb::Extend(_) => return Err(Failure::Invalid("extend has a call of its own")),
            };
            Ok(settled?)
        })
    }

    #[napi]
    pub fn extend<'e>(&self, env: &'e Env, index: u32, lease_ms: f64) -> Promise<'e, ()> {
        let delivery = self.get(index);
        blocking(env, move || {
            Ok(delivery?.write().unwrap_or_else(PoisonError::into_inner).extend(duration(lease_ms))?)
        })
    }

    #[napi]
    pub fn transaction<'e>(&self, env: &'e Env, index: u32, store: &crate::store::Store) -> Promise<'e, Transaction> {
        let store = store.core();
        self.on(env, index, move |delivery| Transaction::start(delivery.transaction()?, store))
    }

    #[napi]
    pub fn begin_once<'e>(&self, env: &'e Env, index: u32, name: String, given: OnceData) -> Promise<'e, Begun> {
        let options = given.options();
        self.on(env, index, move |delivery| Ok(Begun::new(delivery.begin_once(&name, &options)?)))
    }

    #[napi]
    pub fn idempotency_key<'e>(&self, env: &'e Env, index: u32, name: String) -> Promise<'e, String> {
        self.on(env, index, move |delivery| Ok(delivery.idempotency_key(&name)?))
    }
}
