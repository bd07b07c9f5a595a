//! Opening a file, and what concerns all of it.

use napi::Env;
use napi::bindgen_prelude::{Buffer, ToNapiValue, Uint8Array};
use napi_derive::napi;
use onceward::{Backoff, EffectOf, LedgerOptions, QueueOptions, Resolution, Semantics, StoreOptions, Window};

use crate::convert::{duration, number};
use crate::ledger::Ledger;
use crate::source::Source;
use crate::transaction::Transaction;
use crate::work::{Outcome, Promise, Released, blocking};

#[napi(object)]
pub struct OpenOptions {
    pub busy_timeout_ms: Option<f64>,
    pub body_bytes_max: Option<f64>,
    pub wal_bytes_max: Option<f64>,
    pub allow_remote_file_system: Option<bool>,
    pub create: Option<bool>,
    pub transaction_time_limit_ms: Option<f64>,
}

/// A queue's settings; -1 stands for "unlimited" and "forever".
#[napi(object)]
pub struct QueueSettingsData {
    pub semantics: Option<String>,
    pub lease_ms: Option<f64>,
    pub attempts_max: Option<f64>,
    pub backoff: Option<BackoffData>,
    pub deduplication_window_ms: Option<f64>,
    pub subscriptions: Option<Vec<String>>,
    pub paused: Option<bool>,
}

#[napi(object)]
pub struct BackoffData {
    pub first_ms: Option<f64>,
    pub factor: Option<f64>,
    pub cap_ms: Option<f64>,
    pub jitter: Option<f64>,
}

#[napi(object)]
pub struct StoreStatsData {
    pub file_bytes: f64,
    pub wal_bytes: f64,
    pub in_doubt: f64,
    pub queues: f64,
    pub sqlite_version: String,
}

/// A doubt, or a resolved one.
#[napi(object)]
pub struct DoubtData {
    pub doubt: f64,
    pub queue: Option<String>,
    pub subscription: Option<String>,
    pub message: Option<f64>,
    pub ledger: Option<String>,
    pub key: Option<String>,
    pub name: String,
    pub since: f64,
    pub error: String,
    pub called_at: Option<f64>,
    pub process: Option<u32>,
    pub applied: Option<Buffer>,
    pub evidence: Option<String>,
    pub actor: Option<String>,
    pub resolved_at: Option<f64>,
}

impl DoubtData {
    fn new(doubt: u64, of: EffectOf, name: String, since: onceward::Millis, error: String) -> Self {
        let (queue, subscription, message, ledger) = match of {
            EffectOf::Message { queue, subscription, message } => {
                (Some(queue), subscription, Some(number(message.get())), None)
            }
            EffectOf::Ledger { ledger } => (None, None, None, Some(ledger)),
            _ => (None, None, None, None),
        };
        DoubtData {
            doubt: number(doubt),
            queue,
            subscription,
            message,
            ledger,
            key: None,
            name,
            since: since.get() as f64,
            error,
            called_at: None,
            process: None,
            applied: None,
            evidence: None,
            actor: None,
            resolved_at: None,
        }
    }
}

#[napi]
pub struct Store {
    inner: Released<onceward::Store>,
}

#[napi]
pub fn open(env: &Env, path: String, given: OpenOptions) -> Promise<'_, Store> {
    let mut options = StoreOptions::new();
    if let Some(timeout) = given.busy_timeout_ms {
        options = options.busy_timeout(duration(timeout));
    }
    if let Some(bytes) = given.body_bytes_max {
        options = options.body_bytes_max(bytes as usize);
    }
    if let Some(bytes) = given.wal_bytes_max {
        options = options.wal_bytes_max(bytes as u64);
    }
    if let Some(allow) = given.allow_remote_file_system {
        options = options.allow_remote_file_system(allow);
    }
    if let Some(create) = given.create {
        options = options.create(create);
    }
    if let Some(limit) = given.transaction_time_limit_ms {
        options = options.transaction_time_limit(duration(limit));
    }
    blocking(env, move || Ok(Store { inner: Released::new(options.open(path)?) }))
}

impl Store {
    pub(crate) fn core(&self) -> onceward::Store {
        self.inner.clone()
    }

    fn call<'e, T: ToNapiValue + Send + 'static>(
        &self,
        env: &'e Env,
        work: impl FnOnce(&onceward::Store) -> Outcome<T> + Send + 'static,
    ) -> Promise<'e, T> {
        let store = self.core();
        blocking(env, move || work(&store))
    }
}

#[napi]
impl Store {
    #[napi]
    pub fn queue<'e>(&self, env: &'e Env, name: String, given: QueueSettingsData) -> Promise<'e, Source> {
        self.call(env, move |store| {
            let semantics = given.semantics.as_deref().map(str::parse::<Semantics>).transpose()?;
            let options = queue_options(given);
            let queue = match semantics {
                Some(semantics) => store.queue_with(&name, semantics, options)?,
                None => store.open_queue_with(&name, options)?,
            };
            Ok(Source::of_queue(queue))
        })
    }

    #[napi]
    pub fn queues<'e>(&self, env: &'e Env) -> Promise<'e, Vec<String>> {
        self.call(env, |store| Ok(store.queues()?))
    }

    #[napi]
    pub fn ledger<'e>(&self, env: &'e Env, name: String, window_ms: Option<f64>) -> Promise<'e, Ledger> {
        self.call(env, move |store| {
            let options = LedgerOptions::new();
            let options = window_ms.map_or(options.clone(), |window| options.window(window_of(window)));
            Ok(Ledger::new(store.ledger_with(&name, &options)?))
        })
    }

    #[napi]
    pub fn ledgers<'e>(&self, env: &'e Env) -> Promise<'e, Vec<String>> {
        self.call(env, |store| Ok(store.ledgers()?))
    }

    #[napi]
    pub fn transaction<'e>(&self, env: &'e Env) -> Promise<'e, Transaction> {
        self.call(env, |store| Transaction::start(store.transaction()?, store.clone()))
    }

    #[napi]
    pub fn in_doubt<'e>(&self, env: &'e Env, after: Option<f64>, max: f64) -> Promise<'e, Vec<DoubtData>> {
        self.call(env, move |store| {
            let listed = store.in_doubt(after.map(|after| after as u64), max as usize)?;
            let data = listed.into_iter().map(|found| DoubtData {
                called_at: Some(found.called_at.get() as f64),
                process: Some(found.process),
                key: found.key,
                ..DoubtData::new(found.doubt, found.of, found.name, found.since, found.error)
            });
            Ok(data.collect())
        })
    }

    /// Without `applied` it did not happen.
    #[napi]
    pub fn resolve<'e>(
        &self,
        env: &'e Env,
        doubt: f64,
        applied: Option<Uint8Array>,
        evidence: String,
        actor: String,
    ) -> Promise<'e, ()> {
        let resolution = applied.map_or(Resolution::NotApplied, |result| Resolution::Applied(result.to_vec()));
        self.call(env, move |store| Ok(store.resolve(doubt as u64, resolution, &evidence, &actor)?))
    }

    #[napi]
    pub fn resolutions<'e>(&self, env: &'e Env, after: Option<f64>, max: f64) -> Promise<'e, Vec<DoubtData>> {
        self.call(env, move |store| {
            let listed = store.resolutions(after.map(|after| after as u64), max as usize)?;
            let data = listed.into_iter().map(|found| DoubtData {
                applied: match found.resolution {
                    Resolution::Applied(result) => Some(result.into()),
                    Resolution::NotApplied => None,
                },
                evidence: Some(found.evidence),
                actor: Some(found.actor),
                resolved_at: Some(found.resolved_at.get() as f64),
                ..DoubtData::new(found.doubt, found.of, found.name, found.since, found.error)
            });
            Ok(data.collect())
        })
    }

    #[napi]
    pub fn stats<'e>(&self, env: &'e Env) -> Promise<'e, StoreStatsData> {
        self.call(env, |store| {
            let stats = store.stats()?;
            Ok(StoreStatsData {
                file_bytes: number(stats.file_bytes),
                wal_bytes: number(stats.wal_bytes),
                in_doubt: number(stats.in_doubt),
                queues: number(stats.queues),
                sqlite_version: stats.sqlite_version,
            })
        })
    }

    #[napi]
    pub fn path(&self) -> String {
        self.inner.path().to_string_lossy().into_owned()
    }

    #[napi]
    pub fn close<'e>(&self, env: &'e Env) -> Promise<'e, ()> {
        self.call(env, |store| Ok(store.close()?))
    }
}

fn window_of(ms: f64) -> Window {
    if ms < 0.0 { Window::Forever } else { Window::For(duration(ms)) }
}

fn queue_options(given: QueueSettingsData) -> QueueOptions {
    let mut options = QueueOptions::new();
    if let Some(lease) = given.lease_ms {
        options = options.lease(duration(lease));
    }
    if let Some(attempts) = given.attempts_max {
        options = options.attempts_max((attempts >= 0.0).then_some(attempts as u32));
    }
    if let Some(given) = given.backoff {
        let default = Backoff::default();
        options = options.backoff(Backoff {
            first: given.first_ms.map_or(default.first, duration),
            factor: given.factor.unwrap_or(default.factor),
            cap: given.cap_ms.map_or(default.cap, duration),
            jitter: given.jitter.unwrap_or(default.jitter),
        });
    }
    if let Some(window) = given.deduplication_window_ms {
        options = options.deduplication_window(window_of(window));
    }
    if let Some(names) = given.subscriptions {
        options = options.subscriptions(names);
    }
    options
}
