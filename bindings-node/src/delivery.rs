//! What a receive brought.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use napi::Env;
use napi::bindgen_prelude::{BufferSlice, Float64ArraySlice, ToNapiValue};
use napi_derive::napi;
use onceward::Delivery;

use crate::convert::{Header, duration, headers, number};
use crate::effect::{Begun, OnceData};
use crate::source::Verb;
use crate::transaction::Transaction;
use crate::work::{Failure, Outcome, Promise, Released, blocking};

/// Bodies cross in pieces of this size, as Node pools small buffers itself: a body that is kept keeps no more than that.
const PIECE_BYTES: usize = 8 << 10;

/// Numbers of each delivery that cross.
const NUMBERS: usize = 7;

/// What is in a batch, in few objects: each that crosses to JavaScript takes its time.
#[napi(object, object_from_js = false)]
pub struct BatchData<'e> {
    /// Of each delivery: id, token, attempt, priority, when it was sent, when its lease ends, and the length of its body.
    pub numbers: Float64ArraySlice<'e>,
    /// The bodies, one after the other; the one that does not fit into what is left of a piece begins the next.
    pub pieces: Vec<BufferSlice<'e>>,
    /// Of each delivery, when any has more than a body.
    pub further: Option<Vec<FurtherData>>,
}

#[napi(object)]
pub struct FurtherData {
    pub headers: Option<Vec<Header>>,
    pub key: Option<String>,
    pub ordering_key: Option<String>,
}

/// A batch as it came, laid out where it came, until it crosses.
#[derive(Default)]
struct Contents {
    numbers: Vec<f64>,
    pieces: Vec<Vec<u8>>,
    /// Empty where none has more than a body.
    further: Vec<FurtherData>,
}

impl Contents {
    fn of(deliveries: &mut [Delivery]) -> Self {
        let mut contents = Contents::default();
        contents.numbers.reserve(deliveries.len() * NUMBERS);
        let is_more = |one: &Delivery| !one.headers().is_empty() || one.key().is_some() || one.ordering_key().is_some();
        let any_more = deliveries.iter().any(is_more);
        for delivery in deliveries {
            let body = delivery.take_body();
            let numbers: [f64; NUMBERS] = [
                number(delivery.id().get()),
                number(delivery.token().get()),
                delivery.attempt().into(),
                delivery.priority().into(),
                delivery.sent_at().get() as f64,
                delivery.lease_expires_at().get() as f64,
                body.len() as f64,
            ];
            contents.numbers.extend(numbers);
            contents.add_body(body);
            if any_more {
                contents.further.push(FurtherData {
                    headers: headers(delivery.headers()),
                    key: delivery.key().map(str::to_owned),
                    ordering_key: delivery.ordering_key().map(str::to_owned),
                });
            }
        }
        contents
    }

    fn add_body(&mut self, body: Vec<u8>) {
        match self.pieces.last_mut() {
            Some(piece) if piece.len() + body.len() <= PIECE_BYTES.max(piece.len()) => piece.extend_from_slice(&body),
            _ if body.len() < PIECE_BYTES => {
                let mut piece = Vec::with_capacity(PIECE_BYTES);
                piece.extend_from_slice(&body);
                self.pieces.push(piece);
            }
            _ => self.pieces.push(body),
        }
    }

    fn cross(self, env: &Env) -> napi::Result<BatchData<'_>> {
        let further = (!self.further.is_empty()).then_some(self.further);
        let pieces = self.pieces.into_iter().map(|piece| cross_piece(env, piece)).collect::<napi::Result<_>>()?;
        Ok(BatchData { numbers: Float64ArraySlice::copy_from(env, &self.numbers)?, pieces, further })
    }
}

/// A small one is cheaper copied than looked after.
fn cross_piece(env: &Env, piece: Vec<u8>) -> napi::Result<BufferSlice<'_>> {
    if piece.len() <= PIECE_BYTES { BufferSlice::copy_from(env, piece) } else { BufferSlice::from_data(env, piece) }
}

/// The deliveries of one receive, by their index.
#[napi]
pub struct Batch {
    deliveries: Released<Arc<Vec<RwLock<Delivery>>>>,
    items: Mutex<Contents>,
}

impl Batch {
    pub(crate) fn new(mut deliveries: Vec<Delivery>) -> Self {
        let contents = Contents::of(&mut deliveries);
        let deliveries = deliveries.into_iter().map(RwLock::new).collect();
        Batch { deliveries: Released::new(Arc::new(deliveries)), items: Mutex::new(contents) }
    }

    fn on<'e, T: ToNapiValue + Send + 'static>(
        &self,
        env: &'e Env,
        index: u32,
        work: impl FnOnce(&Delivery) -> Outcome<T> + Send + 'static,
    ) -> Promise<'e, T> {
        let deliveries = self.deliveries();
        blocking(env, move || work(&at(&deliveries, index)?.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn deliveries(&self) -> Arc<Vec<RwLock<Delivery>>> {
        Arc::clone(&self.deliveries)
    }

    /// The delivery, for what waits for nothing. None while it is being extended: the event loop does not wait for that.
    fn at_once(&self, index: u32) -> Option<RwLockReadGuard<'_, Delivery>> {
        self.deliveries.get(index as usize)?.try_read().ok()
    }
}

fn at(deliveries: &[RwLock<Delivery>], index: u32) -> Outcome<&RwLock<Delivery>> {
    deliveries.get(index as usize).ok_or(Failure::Invalid("no such delivery"))
}

#[napi]
impl Batch {
    /// What is in it. The second time, nothing.
    #[napi]
    pub fn items<'e>(&self, env: &'e Env) -> napi::Result<BatchData<'e>> {
        std::mem::take(&mut *self.items.lock().unwrap_or_else(PoisonError::into_inner)).cross(env)
    }

    /// Whether it was settled. Only an open one can be extended.
    #[napi]
    pub fn is_settled(&self, index: u32) -> bool {
        self.at_once(index).is_some_and(|delivery| delivery.is_settled())
    }

    /// Whether its turn to be handled may come; a delivery of a consumer counts as handed out from here on.
    #[napi]
    pub fn hand_out(&self, index: u32) -> bool {
        self.at_once(index).is_some_and(|delivery| delivery.hand_out())
    }

    /// Lets the lease of a delivery run out that could not be given back.
    #[napi]
    pub fn let_go(&self, index: u32) {
        if let Some(delivery) = self.at_once(index) {
            delivery.let_go();
        }
    }

    /// Acknowledges where that waits for nothing. Returns false, having done nothing, where it would.
    #[napi]
    pub fn ack_at_once(&self, index: u32) -> napi::Result<bool> {
        let Some(delivery) = self.at_once(index) else { return Ok(false) };
        delivery.ack_at_once().map_err(|error| Failure::from(error).thrown())
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

    /// Answers when the lease ends now.
    #[napi]
    pub fn extend<'e>(&self, env: &'e Env, index: u32, lease_ms: f64) -> Promise<'e, f64> {
        let deliveries = self.deliveries();
        blocking(env, move || {
            let mut delivery = at(&deliveries, index)?.write().unwrap_or_else(PoisonError::into_inner);
            delivery.extend(duration(lease_ms))?;
            Ok(delivery.lease_expires_at().get() as f64)
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
