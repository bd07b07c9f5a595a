//! Effects at third parties: what `lib/once.cjs` drives.

use std::sync::{Mutex, PoisonError};

use napi::Env;
use napi::bindgen_prelude::{Buffer, Uint8Array};
use napi_derive::napi;
use onceward::{OnUnknown, OnceOptions};

use crate::convert::duration;
use crate::work::{Failure, Outcome, Promise, Released, blocking};

/// How an effect is made once. `settle_ms` is there for `onUnknown: "probe"` alone.
#[napi(object)]
pub struct OnceData {
    pub on_unknown: String,
    pub settle_ms: Option<f64>,
    pub idempotent_for_ms: Option<f64>,
    pub request: Option<Uint8Array>,
}

impl OnceData {
    pub(crate) fn options(self) -> OnceOptions {
        let mut options = OnceOptions::new(match self.on_unknown.as_str() {
            "probe" => OnUnknown::Probe { settle: duration(self.settle_ms.unwrap_or_default()) },
            "fail" => OnUnknown::Fail,
            _ => OnUnknown::Park,
        });
        if let Some(window) = self.idempotent_for_ms {
            options = options.idempotent_for(duration(window));
        }
        if let Some(request) = self.request {
            options = options.request(request.to_vec());
        }
        options
    }
}

/// A result, a call that is recorded as started, or a question; used once.
#[napi]
pub struct Begun {
    inner: Released<Mutex<Option<onceward::Begun>>>,
}

const SAID: Failure = Failure::Invalid("it was said already how this ended");

impl Begun {
    pub(crate) fn new(begun: onceward::Begun) -> Self {
        Begun { inner: Released::new(Mutex::new(Some(begun))) }
    }

    fn take(&self) -> Outcome<onceward::Begun> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(SAID)
    }
}

#[napi]
impl Begun {
    /// "done", "call" or "probe"; "said" when it was used.
    #[napi]
    pub fn state(&self) -> &'static str {
        match &*self.inner.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(onceward::Begun::Done(_)) => "done",
            Some(onceward::Begun::Call(_)) => "call",
            Some(onceward::Begun::Probe(_)) => "probe",
            None => "said",
        }
    }

    /// The kept result, of "done".
    #[napi]
    pub fn result(&self) -> Option<Buffer> {
        match self.take() {
            Ok(onceward::Begun::Done(result)) => Some(result.into()),
            _ => None,
        }
    }

    /// It happened: of a call or a question.
    #[napi]
    pub fn happened<'e>(&self, env: &'e Env, result: Uint8Array) -> Promise<'e, Buffer> {
        let (begun, result) = (self.take(), result.to_vec());
        blocking(env, move || match begun? {
            onceward::Begun::Call(effect) => Ok(effect.done(result)?.into()),
            onceward::Begun::Probe(probe) => Ok(probe.applied(result)?.into()),
            onceward::Begun::Done(_) => Err(SAID),
        })
    }

    /// The call is known not to have happened. Rejects with the error that says so.
    #[napi]
    pub fn failed<'e>(&self, env: &'e Env, why: String) -> Promise<'e, ()> {
        let begun = self.take();
        blocking(env, move || match begun? {
            onceward::Begun::Call(effect) => Err(effect.failed(&why).into()),
            _ => Err(SAID),
        })
    }

    /// Nobody knows. Rejects with the error that says so.
    #[napi]
    pub fn unknown<'e>(&self, env: &'e Env, why: String) -> Promise<'e, ()> {
        let begun = self.take();
        blocking(env, move || match begun? {
            onceward::Begun::Call(effect) => Err(effect.unknown(&why).into()),
            onceward::Begun::Probe(probe) => Err(probe.unknown(&why).into()),
            onceward::Begun::Done(_) => Err(SAID),
        })
    }

    /// The question's answer: it did not happen.
    #[napi]
    pub fn not_applied<'e>(&self, env: &'e Env) -> Promise<'e, Begun> {
        let begun = self.take();
        blocking(env, move || match begun? {
            onceward::Begun::Probe(probe) => Ok(Begun::new(probe.not_applied()?)),
            _ => Err(SAID),
        })
    }
}
