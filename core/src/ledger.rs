//! Ledgers: effects made once outside of a queue, by keys of the application's own.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::effect::{self, Begun, LOOK_EVERY};
use crate::engine::Engine;
use crate::engine::effect::operation::{EffectOperation, EffectReply, LedgerId, Scope, Subject};
use crate::engine::read;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::DELAY_MAX;
use crate::once::{Called, OnceOptions, Probed};
use crate::queue::Window;
use crate::store::Store;
use crate::types::{check_key, check_name};

/// A ledger's settings. What is not set stays as it is, or takes its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerOptions {
    window: Option<Window>,
}

impl LedgerOptions {
    /// Nothing set.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long an effect that is done is remembered. Default: for ever. What is in doubt is never forgotten.
    #[must_use]
    pub fn window(mut self, window: Window) -> Self {
        self.window = Some(window);
        self
    }

    fn check(&self) -> Result<()> {
        match self.window {
            Some(Window::For(window)) if window.is_zero() || window > DELAY_MAX => {
                Err(Error::invalid(format!("ledger window is {window:?}; it takes 1ms to {DELAY_MAX:?}")))
            }
            _ => Ok(()),
        }
    }
}

impl Store {
    /// The ledger of this name, created where it is missing.
    ///
    /// # Errors
    /// `Invalid` for an empty or over-long name.
    pub fn ledger(&self, name: &str) -> Result<Ledger> {
        self.ledger_with(name, &LedgerOptions::new())
    }

    /// The ledger of this name, created where it is missing. Options that are set are stored in the file.
    ///
    /// # Errors
    /// `Invalid` for an empty or over-long name, or an option out of range.
    pub fn ledger_with(&self, name: &str, options: &LedgerOptions) -> Result<Ledger> {
        check_name("ledger name", name)?;
        options.check()?;
        let known = match options.window {
            None => self.engine.read(|conn| read::ledger_id(conn, name))?,
            Some(_) => None,
        };
        let id = match known {
            Some(id) => id,
            None => {
                let operation = EffectOperation::OpenLedger { name: name.to_owned(), window: options.window };
                match self.engine.call_effect(operation)? {
                    EffectReply::Ledger(id) => id,
                    other => return Err(Error::new(ErrorKind::Storage, format!("invariant: not a ledger: {other:?}"))),
                }
            }
        };
        Ok(Ledger { engine: Arc::clone(&self.engine), id, name: name.into() })
    }

    /// The names of all ledgers, sorted.
    pub fn ledgers(&self) -> Result<Vec<String>> {
        self.engine.read(read::ledger_names)
    }
}

/// Effects at third parties that are made once, by keys of the application's own: in an HTTP handler, a job of a clock, a
/// script. Cheap to clone and to share between threads.
///
/// ```
/// use onceward::{Called, OnceOptions, Store};
///
/// let store = Store::open(":memory:")?;
/// let refunds = store.ledger("refunds")?;
/// let refund = || Called::Done(b"refund 7".to_vec());
/// assert_eq!(refunds.once("order-42", &OnceOptions::park(), refund)?, b"refund 7");
/// let again = refunds.once("order-42", &OnceOptions::park(), || unreachable!("it happened"))?;
/// assert_eq!(again, b"refund 7");
/// # Ok::<(), onceward::Error>(())
/// ```
#[derive(Clone)]
pub struct Ledger {
    engine: Arc<Engine>,
    id: LedgerId,
    name: Arc<str>,
}

impl Ledger {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the call once for this key (1 to 512 bytes), and keeps its result. Everything that
    /// [`Delivery::once`](crate::Delivery::once) says of names holds for keys; there is no message to park or to give up.
    ///
    /// # Errors
    /// `InDoubt` when nobody knows whether it happened, each time until it is resolved; `Failed` when the call said that it
    /// did not; `Busy` when another caller is still at it after the options' `wait`; `Conflict` for another request under the
    /// same key; `Invalid` for a key out of its limits, for a result over 1 MiB, and when the options ask for a probe.
    pub fn once(&self, key: &str, options: &OnceOptions, call: impl FnOnce() -> Called) -> Result<Vec<u8>> {
        options.check_probe(false)?;
        effect::run(self.begin_once(key, options)?, call, None)
    }

    /// As [`Ledger::once`] with [`OnceOptions::probe`]: when nobody knows whether an earlier call happened, `probe` asks the
    /// third party.
    ///
    /// # Errors
    /// As [`Ledger::once`], and `Busy` while the answer "it did not happen" does not count yet; the message says until when.
    pub fn once_or_probe(
        &self,
        key: &str,
        options: &OnceOptions,
        call: impl FnOnce() -> Called,
        mut probe: impl FnMut() -> Probed,
    ) -> Result<Vec<u8>> {
        options.check_probe(true)?;
        effect::run(self.begin_once(key, options)?, call, Some(&mut probe))
    }

    /// The first half of [`Ledger::once`], for callers whose call is no closure: says what to do now.
    ///
    /// # Errors
    /// As [`Ledger::once`].
    pub fn begin_once(&self, key: &str, options: &OnceOptions) -> Result<Begun> {
        check_key("effect key", key)?;
        options.check()?;
        let until = Instant::now() + options.wait.unwrap_or_default();
        loop {
            let subject = Subject { scope: Scope::Ledger(self.id), name: key.to_owned() };
            let begun = effect::begin(&self.engine, subject, options, None);
            let left = until.saturating_duration_since(Instant::now());
            match begun {
                Err(error) if error.kind() == ErrorKind::Busy && !left.is_zero() => {
                    std::thread::sleep(left.min(LOOK_EVERY));
                }
                begun => return begun,
            }
        }
    }

    /// A key for third parties that recognise repetitions by one: always the same for this ledger and key, and no other
    /// effect's. It has the form of a UUID.
    ///
    /// # Errors
    /// `Invalid` for a key out of its limits.
    pub fn idempotency_key(&self, key: &str) -> Result<String> {
        check_key("effect key", key)?;
        self.engine.idempotency_key(&[b"ledger", self.name.as_bytes()], key)
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("name", &self.name).finish_non_exhaustive()
    }
}
