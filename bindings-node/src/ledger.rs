//! Ledgers: effects made once outside of a queue.

use napi::Env;
use napi_derive::napi;

use crate::effect::{Begun, OnceData};
use crate::work::{Promise, Released, blocking};

#[napi]
pub struct Ledger {
    inner: Released<onceward::Ledger>,
}

impl Ledger {
    pub(crate) fn new(ledger: onceward::Ledger) -> Self {
        Ledger { inner: Released::new(ledger) }
    }
}

#[napi]
impl Ledger {
    #[napi]
    pub fn name(&self) -> String {
        self.inner.name().to_owned()
    }

    /// Without waiting for another caller: `lib/once.cjs` asks again.
    #[napi]
    pub fn begin_once<'e>(&self, env: &'e Env, key: String, given: OnceData) -> Promise<'e, Begun> {
        let (ledger, options) = (self.inner.clone(), given.options());
        blocking(env, move || Ok(Begun::new(ledger.begin_once(&key, &options)?)))
    }

    #[napi]
    pub fn idempotency_key<'e>(&self, env: &'e Env, key: String) -> Promise<'e, String> {
        let ledger = self.inner.clone();
        blocking(env, move || Ok(ledger.idempotency_key(&key)?))
    }
}
