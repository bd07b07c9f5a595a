//! A queue or one of its subscriptions: sending, receiving, settling, looking.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::{Buffer, Float64Array, ToNapiValue};
use napi_derive::napi;
use onceward::{ConsumeOptions, MessageId, Nack, Queue, ReceiveOptions, Start, Subscription, Window};

use crate::consumer::Consumer;
use crate::convert::{
    Header, Outgoing, ReceiptData, Sent, duration, headers, ids, milliseconds, number, receipt_data, receipts,
    sent_numbers,
};
use crate::delivery::Batch;
use crate::store::{BackoffData, QueueSettingsData};
use crate::work::{Abort, Failure, Outcome, Promise, Released, abortable, blocking, elsewhere, future};

#[napi(object)]
pub struct StatsData {
    pub ready: f64,
    pub delayed: f64,
    pub blocked: f64,
    pub in_flight: f64,
    pub dead: f64,
    pub in_doubt: f64,
    pub oldest_age_ms: Option<f64>,
}

/// A message that was looked at, or a dead letter.
#[napi(object)]
pub struct SeenData {
    pub id: f64,
    pub body: Buffer,
    pub headers: Option<Vec<Header>>,
    pub key: Option<String>,
    pub ordering_key: Option<String>,
    pub priority: u32,
    pub sent_at: f64,
    pub attempts: u32,
    pub reason: Option<String>,
    pub error: Option<String>,
    pub died_at: Option<f64>,
}

impl From<onceward::Peeked> for SeenData {
    fn from(seen: onceward::Peeked) -> Self {
        SeenData {
            id: number(seen.id.get()),
            body: seen.body.into(),
            headers: headers(&seen.headers),
            key: seen.key,
            ordering_key: seen.ordering_key,
            priority: seen.priority.into(),
            sent_at: seen.sent_at.get() as f64,
            attempts: seen.attempts,
            reason: None,
            error: None,
            died_at: None,
        }
    }
}

impl From<onceward::DeadLetter> for SeenData {
    fn from(dead: onceward::DeadLetter) -> Self {
        SeenData {
            reason: Some(dead.reason),
            error: dead.error,
            died_at: Some(dead.died_at.get() as f64),
            ..SeenData::from(dead.message)
        }
    }
}

#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) queue: Queue,
    subscription: Option<Subscription>,
    /// A queue's subscription "default", once it was looked up.
    default: Arc<Mutex<Option<Subscription>>>,
}

impl Place {
    /// The subscription; looking it up takes a read.
    pub(crate) fn subscription(&self) -> Outcome<Subscription> {
        match &self.subscription {
            Some(subscription) => Ok(subscription.clone()),
            None => Ok(self.queue.default_subscription()?),
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<Subscription>> {
        self.default.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call that must not block on the subscription: a default one is looked up elsewhere, once, and again when it was
    /// ended meanwhile.
    async fn on_own<T, F: Future<Output = onceward::Result<T>>>(self, call: impl Fn(Subscription) -> F) -> Outcome<T> {
        if let Some(subscription) = self.subscription.clone() {
            return Ok(call(subscription).await?);
        }
        let known = self.known().clone();
        if let Some(known) = known {
            match call(known).await {
                Err(error) if error.kind() == onceward::ErrorKind::NotFound => {}
                outcome => return Ok(outcome?),
            }
        }
        let place = self.clone();
        let found = tokio::task::spawn_blocking(move || place.queue.default_subscription()).await;
        let found = found.map_err(Failure::joined)??;
        *self.known() = Some(found.clone());
        Ok(call(found).await?)
    }
}

/// Bodies that take a while to be read through.
const HEAVY_BYTES: usize = 64 << 10;

/// Whether the event loop should not read through them: the body of a message with a key is hashed.
fn is_heavy(messages: &[Outgoing]) -> bool {
    let keyed = messages.iter().filter(|message| message.key.is_some());
    keyed.map(|message| message.body.len()).sum::<usize>() > HEAVY_BYTES
}

#[napi]
pub struct Source {
    place: Released<Place>,
}

impl Source {
    pub(crate) fn of_queue(queue: Queue) -> Self {
        Source { place: Released::new(Place { queue, subscription: None, default: Arc::default() }) }
    }

    pub(crate) fn of_subscription(subscription: Subscription) -> Self {
        let queue = subscription.queue().clone();
        Source { place: Released::new(Place { queue, subscription: Some(subscription), default: Arc::default() }) }
    }

    pub(crate) fn place(&self) -> Place {
        self.place.clone()
    }

    /// Answers the ids; those of duplicates are negative.
    fn send_all<'e>(&self, env: &'e Env, messages: Vec<onceward::Message>, heavy: bool) -> Promise<'e, Float64Array> {
        let place = self.place();
        let work = async move { Ok(sent_numbers(&place.queue.send_many_async(messages).await?)) };
        if heavy { elsewhere(env, work) } else { future(env, work) }
    }

    fn on_queue<'e, T: ToNapiValue + Send + 'static>(
        &self,
        env: &'e Env,
        work: impl FnOnce(&Queue) -> Outcome<T> + Send + 'static,
    ) -> Promise<'e, T> {
        let place = self.place();
        blocking(env, move || work(&place.queue))
    }

    fn on_subscription<'e, T: ToNapiValue + Send + 'static>(
        &self,
        env: &'e Env,
        work: impl FnOnce(&Subscription) -> Outcome<T> + Send + 'static,
    ) -> Promise<'e, T> {
        let place = self.place();
        blocking(env, move || work(&place.subscription()?))
    }
}

#[napi]
impl Source {
    #[napi]
    pub fn name(&self) -> String {
        self.place.subscription.as_ref().map_or(self.place.queue.name(), Subscription::name).to_owned()
    }

    #[napi]
    pub fn semantics(&self) -> &'static str {
        self.place.queue.semantics().name()
    }

    #[napi]
    pub fn send<'e>(&self, env: &'e Env, message: Outgoing) -> Promise<'e, Sent> {
        let heavy = is_heavy(std::slice::from_ref(&message));
        let (place, message) = (self.place(), onceward::Message::from(message));
        let work = async move { Ok(place.queue.send_async(message).await?.into()) };
        if heavy { elsewhere(env, work) } else { future(env, work) }
    }

    #[napi]
    pub fn send_many<'e>(&self, env: &'e Env, messages: Vec<Outgoing>) -> Promise<'e, Float64Array> {
        let heavy = is_heavy(&messages);
        self.send_all(env, messages.into_iter().map(onceward::Message::from).collect(), heavy)
    }

    /// Messages that are nothing but bodies, which stand one after the other; `ends` says where each ends.
    #[napi]
    pub fn send_bodies<'e>(&self, env: &'e Env, bodies: Buffer, ends: Float64Array) -> Promise<'e, Float64Array> {
        let mut start = 0;
        let body = |end: &f64| {
            let end = (*end as usize).clamp(start, bodies.len());
            onceward::Message::new(bodies[std::mem::replace(&mut start, end)..end].to_vec())
        };
        self.send_all(env, ends.iter().map(body).collect(), false)
    }

    #[napi]
    pub fn receive<'e>(
        &self,
        env: &'e Env,
        max: f64,
        wait_ms: f64,
        lease_ms: Option<f64>,
        abort: Option<&Abort>,
    ) -> Promise<'e, Batch> {
        let place = self.place();
        let mut options = ReceiveOptions::new().max(max as usize).wait(duration(wait_ms));
        if let Some(lease) = lease_ms {
            options = options.lease(duration(lease));
        }
        abortable(env, abort, async move {
            let options = &options;
            let receive = |subscription: Subscription| async move { subscription.receive_many_async(options).await };
            Ok(Batch::new(place.on_own(receive).await?))
        })
    }

    #[napi]
    pub fn consume<'e>(&self, env: &'e Env, batch: f64, lease_ms: Option<f64>) -> Promise<'e, Consumer> {
        let mut options = ConsumeOptions::new().batch(batch as usize);
        if let Some(lease) = lease_ms {
            options = options.lease(duration(lease));
        }
        self.on_subscription(env, move |subscription| Consumer::start(subscription.consume(options)?))
    }

    /// `verb` is ack, nack, deadLetter, release or extend. Answers the receipts whose lease was lost.
    #[napi]
    pub fn settle<'e>(
        &self,
        env: &'e Env,
        verb: String,
        given: Float64Array,
        ms: Option<f64>,
        text: Option<String>,
    ) -> Promise<'e, Vec<ReceiptData>> {
        let (place, receipts) = (self.place(), receipts(&given));
        future(env, async move {
            let receipts = receipts?;
            let verb = Verb::parse(&verb, ms, text)?;
            let (receipts, verb) = (&receipts, &verb);
            let settle = |subscription: Subscription| async move {
                match verb {
                    Verb::Ack => subscription.ack_async(receipts).await,
                    Verb::Nack(nack) => subscription.nack_async(receipts, nack).await,
                    Verb::DeadLetter(reason) => subscription.dead_letter_async(receipts, reason).await,
                    Verb::Release => subscription.release_async(receipts).await,
                    Verb::Extend(lease) => subscription.extend_async(receipts, *lease).await,
                }
            };
            Ok(receipt_data(place.on_own(settle).await?))
        })
    }

    #[napi]
    pub fn peek<'e>(&self, env: &'e Env, max: f64) -> Promise<'e, Vec<SeenData>> {
        self.on_subscription(env, move |subscription| {
            Ok(subscription.peek(max as usize)?.into_iter().map(SeenData::from).collect())
        })
    }

    #[napi]
    pub fn unfinished<'e>(&self, env: &'e Env, given: Vec<f64>) -> Promise<'e, Vec<f64>> {
        self.on_subscription(env, move |subscription| {
            let left = subscription.unfinished(&ids(&given)?)?;
            Ok(left.into_iter().map(|id| number(id.get())).collect())
        })
    }

    #[napi]
    pub fn stats<'e>(&self, env: &'e Env) -> Promise<'e, StatsData> {
        self.on_subscription(env, |subscription| {
            let stats = subscription.stats()?;
            Ok(StatsData {
                ready: number(stats.ready),
                delayed: number(stats.delayed),
                blocked: number(stats.blocked),
                in_flight: number(stats.in_flight),
                dead: number(stats.dead),
                in_doubt: number(stats.in_doubt),
                oldest_age_ms: stats.oldest_age.map(milliseconds),
            })
        })
    }

    #[napi]
    pub fn dead_letters<'e>(&self, env: &'e Env, after: Option<f64>, max: f64) -> Promise<'e, Vec<SeenData>> {
        self.on_subscription(env, move |subscription| {
            let after = after.map(|id| MessageId::new(id as u64)).transpose()?;
            Ok(subscription.dead_letters(after, max as usize)?.into_iter().map(SeenData::from).collect())
        })
    }

    /// All of them without ids.
    #[napi]
    pub fn redrive<'e>(&self, env: &'e Env, given: Option<Vec<f64>>) -> Promise<'e, f64> {
        self.on_subscription(env, move |subscription| {
            Ok(number(match given {
                Some(given) => subscription.redrive(&ids(&given)?)?,
                None => subscription.redrive_all()?,
            }))
        })
    }

    /// All of them without ids.
    #[napi]
    pub fn purge_dead<'e>(&self, env: &'e Env, given: Option<Vec<f64>>) -> Promise<'e, f64> {
        self.on_subscription(env, move |subscription| {
            Ok(number(match given {
                Some(given) => subscription.purge_dead(&ids(&given)?)?,
                None => subscription.purge_dead_all()?,
            }))
        })
    }

    #[napi]
    pub fn settings<'e>(&self, env: &'e Env) -> Promise<'e, QueueSettingsData> {
        self.on_queue(env, |queue| {
            let settings = queue.settings()?;
            Ok(QueueSettingsData {
                semantics: Some(settings.semantics.name().to_owned()),
                lease_ms: Some(milliseconds(settings.lease)),
                attempts_max: Some(settings.attempts_max.map_or(-1.0, f64::from)),
                backoff: Some(BackoffData {
                    first_ms: Some(milliseconds(settings.backoff.first)),
                    factor: Some(settings.backoff.factor),
                    cap_ms: Some(milliseconds(settings.backoff.cap)),
                    jitter: Some(settings.backoff.jitter),
                }),
                deduplication_window_ms: Some(match settings.deduplication_window {
                    Window::Forever => -1.0,
                    Window::For(window) => milliseconds(window),
                }),
                subscriptions: None,
                paused: Some(settings.paused),
            })
        })
    }

    #[napi]
    pub fn subscription<'e>(&self, env: &'e Env, name: String) -> Promise<'e, Source> {
        self.on_queue(env, move |queue| Ok(Source::of_subscription(queue.subscription(&name)?)))
    }

    #[napi]
    pub fn subscribe<'e>(&self, env: &'e Env, name: String, oldest: bool) -> Promise<'e, Source> {
        let start = if oldest { Start::Oldest } else { Start::Now };
        self.on_queue(env, move |queue| Ok(Source::of_subscription(queue.subscribe(&name, start)?)))
    }

    #[napi]
    pub fn unsubscribe<'e>(&self, env: &'e Env, name: String) -> Promise<'e, ()> {
        self.on_queue(env, move |queue| Ok(queue.unsubscribe(&name)?))
    }

    #[napi]
    pub fn subscriptions<'e>(&self, env: &'e Env) -> Promise<'e, Vec<String>> {
        self.on_queue(env, |queue| Ok(queue.subscriptions()?))
    }

    #[napi]
    pub fn cancel<'e>(&self, env: &'e Env, id: f64) -> Promise<'e, bool> {
        self.on_queue(env, move |queue| Ok(queue.cancel(MessageId::new(id as u64)?)?))
    }

    #[napi]
    pub fn purge<'e>(&self, env: &'e Env) -> Promise<'e, f64> {
        self.on_queue(env, |queue| Ok(number(queue.purge()?)))
    }

    #[napi]
    pub fn pause<'e>(&self, env: &'e Env) -> Promise<'e, ()> {
        self.on_queue(env, |queue| Ok(queue.pause()?))
    }

    #[napi]
    pub fn resume<'e>(&self, env: &'e Env) -> Promise<'e, ()> {
        self.on_queue(env, |queue| Ok(queue.resume()?))
    }

    #[napi]
    pub fn is_paused<'e>(&self, env: &'e Env) -> Promise<'e, bool> {
        self.on_queue(env, |queue| Ok(queue.is_paused()?))
    }
}

/// How deliveries are settled.
pub(crate) enum Verb {
    Ack,
    Nack(Nack),
    DeadLetter(String),
    Release,
    Extend(Duration),
}

impl Verb {
    /// `ms` is the delay of a nack or the lease of an extension; `text` the error of a nack or the reason of a dead letter.
    pub(crate) fn parse(verb: &str, ms: Option<f64>, text: Option<String>) -> Outcome<Self> {
        Ok(match verb {
            "ack" => Verb::Ack,
            "nack" => {
                let nack = ms.map_or_else(Nack::new, |delay| Nack::new().delay(duration(delay)));
                Verb::Nack(match text {
                    Some(error) => nack.error(error),
                    None => nack,
                })
            }
            "deadLetter" => Verb::DeadLetter(text.unwrap_or_default()),
            "release" => Verb::Release,
            "extend" => Verb::Extend(duration(ms.unwrap_or_default())),
            _ => return Err(Failure::Invalid("no such verb")),
        })
    }
}
