//! A queue: its settings, sending to it, and what concerns all of its subscriptions.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::engine::Engine;
use crate::engine::operation::{Operation, Prepared, QueueId, Reply, Sent, SubscriptionId};
use crate::engine::read;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{
    ATTEMPTS_MAX, DELAY_MAX, LEASE_MAX, LEASE_MIN, SEND_BYTES_MAX, SEND_MESSAGES_MAX, SUBSCRIPTIONS_MAX,
};
use crate::message::Message;
use crate::rules::backoff::Backoff;
use crate::semantics::Semantics;
use crate::subscription::Subscription;
use crate::types::{MessageId, Millis, check_name, duration_ms};

/// The subscription that a queue has unless others are named when it is created.
pub const DEFAULT_SUBSCRIPTION: &str = "default";

/// How long a deduplication key is remembered, from the send on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// For as long as the file exists. The default of exactly-once queues.
    Forever,
    /// For this long. The default of the others is 24 hours.
    For(Duration),
}

/// Where a new subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the next message sent.
    Now,
    /// With the oldest message that is still in the queue.
    Oldest,
}

/// An attempts limit, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attempts(Option<u32>);

/// What a queue's settings should be. What is not set stays as it is, or takes its default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueOptions {
    lease: Option<Duration>,
    attempts_max: Option<Attempts>,
    backoff: Option<Backoff>,
    window: Option<Window>,
    pub(crate) subscriptions: Option<Vec<String>>,
}

impl QueueOptions {
    /// Nothing set.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a delivery is the receiver's alone, 1 ms to 12 h. Default: 30 s.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// How often a message is delivered before it goes to the dead letters; `None` for as often as it takes. Default: 20.
    #[must_use]
    pub fn attempts_max(mut self, attempts: impl Into<Option<u32>>) -> Self {
        self.attempts_max = Some(Attempts(attempts.into()));
        self
    }

    /// How long a message waits after a `nack` without a delay of its own. Default: [`Backoff::default`].
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// How long deduplication keys are remembered. Default: for ever on exactly-once, 24 h elsewhere.
    #[must_use]
    pub fn deduplication_window(mut self, window: Window) -> Self {
        self.window = Some(window);
        self
    }

    /// The subscriptions to create the queue with, instead of the one named `default`. Later ones are added with
    /// [`Queue::subscribe`].
    #[must_use]
    pub fn subscriptions<I: IntoIterator<Item = S>, S: Into<String>>(mut self, names: I) -> Self {
        self.subscriptions = Some(names.into_iter().map(Into::into).collect());
        self
    }

    pub(crate) fn is_set(&self) -> bool {
        self.lease.is_some() || self.attempts_max.is_some() || self.backoff.is_some() || self.window.is_some()
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some(lease) = self.lease {
            check_lease(lease)?;
        }
        if let Some(Attempts(Some(attempts))) = self.attempts_max
            && !(1..=ATTEMPTS_MAX).contains(&attempts)
        {
            return Err(Error::invalid(format!("attempts limit is {attempts}; it takes 1 to {ATTEMPTS_MAX}")));
        }
        if let Some(backoff) = &self.backoff {
            backoff.check()?;
        }
        if let Some(Window::For(window)) = self.window
            && (window.is_zero() || window > DELAY_MAX)
        {
            return Err(Error::invalid(format!("deduplication window is {window:?}; it takes 1ms to {DELAY_MAX:?}")));
        }
        if let Some(names) = &self.subscriptions {
            if names.is_empty() || names.len() > SUBSCRIPTIONS_MAX {
                return Err(Error::invalid(format!(
                    "{} subscriptions are named; it takes 1 to {SUBSCRIPTIONS_MAX}",
                    names.len()
                )));
            }
            for name in names {
                check_name("subscription name", name)?;
            }
        }
        Ok(())
    }

    /// The settings that result when these options are laid over others.
    pub(crate) fn over(&self, settings: &QueueSettings) -> QueueSettings {
        QueueSettings {
            semantics: settings.semantics,
            lease: self.lease.unwrap_or(settings.lease),
            attempts_max: self.attempts_max.map_or(settings.attempts_max, |attempts| attempts.0),
            backoff: self.backoff.unwrap_or(settings.backoff),
            deduplication_window: self.window.unwrap_or(settings.deduplication_window),
            paused: settings.paused,
        }
    }
}

/// A queue's settings, as they stand in the file.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueueSettings {
    /// What it promises.
    pub semantics: Semantics,
    /// How long a delivery is the receiver's alone.
    pub lease: Duration,
    /// How often a message is delivered before it goes to the dead letters.
    pub attempts_max: Option<u32>,
    /// How long a message waits after a `nack`.
    pub backoff: Backoff,
    /// How long deduplication keys are remembered.
    pub deduplication_window: Window,
    /// Whether receiving is paused.
    pub paused: bool,
}

impl QueueSettings {
    const LEASE: Duration = Duration::from_secs(30);
    const ATTEMPTS: u32 = 20;
    const WINDOW: Duration = Duration::from_secs(24 * 3600);

    pub(crate) fn defaults(semantics: Semantics) -> Self {
        QueueSettings {
            semantics,
            lease: Self::LEASE,
            attempts_max: Some(Self::ATTEMPTS),
            backoff: Backoff::default(),
            deduplication_window: match semantics {
                Semantics::ExactlyOnce => Window::Forever,
                _ => Window::For(Self::WINDOW),
            },
            paused: false,
        }
    }

    pub(crate) fn window_ms(&self) -> Option<i64> {
        match self.deduplication_window {
            Window::Forever => None,
            Window::For(window) => Some(duration_ms(window)),
        }
    }

    /// Reads the columns of the statement for a queue's settings.
    pub(crate) fn read(row: &rusqlite::Row<'_>, semantics: Semantics) -> rusqlite::Result<Self> {
        let millis = |index| row.get::<_, i64>(index).map(|ms| Duration::from_millis(ms.unsigned_abs()));
        Ok(QueueSettings {
            semantics,
            lease: millis(0)?,
            attempts_max: row.get(1)?,
            backoff: Backoff { first: millis(2)?, factor: row.get(3)?, cap: millis(4)?, jitter: row.get(5)? },
            deduplication_window: match row.get::<_, Option<i64>>(6)? {
                None => Window::Forever,
                Some(ms) => Window::For(Duration::from_millis(ms.unsigned_abs())),
            },
            paused: row.get(7)?,
        })
    }
}

/// A queue's semantics were fixed when it was created.
pub(crate) fn check_semantics(name: &str, stored: Semantics, wanted: Option<Semantics>) -> Result<()> {
    match wanted {
        Some(wanted) if wanted != stored => {
            Err(Error::conflict(format!("queue {name:?} is {stored}; it cannot be opened as {wanted}")))
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_lease(lease: Duration) -> Result<()> {
    if lease < LEASE_MIN || lease > LEASE_MAX {
        return Err(Error::invalid(format!("lease is {lease:?}; it takes {LEASE_MIN:?} to {LEASE_MAX:?}")));
    }
    Ok(())
}

/// A queue of an open store. Cheap to clone and to share between threads.
///
/// Everything about receiving is on its [`Subscription`]s; a queue has one, named `default`, unless others were named when
/// it was created, and offers the default one's calls as its own through [`Queue::default_subscription`].
#[derive(Clone)]
pub struct Queue {
    pub(crate) engine: Arc<Engine>,
    pub(crate) id: QueueId,
    name: Arc<str>,
    semantics: Semantics,
    /// The default subscription's number, once it was asked for; 0 before.
    own: Arc<AtomicI64>,
}

impl Queue {
    pub(crate) fn new(engine: Arc<Engine>, id: QueueId, name: &str, semantics: Semantics) -> Self {
        Queue { engine, id, name: name.into(), semantics, own: Arc::default() }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the queue promises.
    pub fn semantics(&self) -> Semantics {
        self.semantics
    }

    /// The settings, as they stand in the file now.
    pub fn settings(&self) -> Result<QueueSettings> {
        let settings = self.engine.read(|conn| read::queue_settings(conn, self.id, self.semantics))?;
        settings.ok_or_else(|| Error::not_found(format!("the queue {:?} no longer exists", self.name)))
    }

    /// Sends a message.
    ///
    /// When it returns, the message is on disk (at-most-once: it is in the file, and a power loss may take it). With a key
    /// that the queue remembers, nothing is written and the earlier message's id is returned, marked as a duplicate.
    ///
    /// # Errors
    /// `Invalid` for a part out of its limits, or without a key on an exactly-once queue; `Conflict` when the key stands for
    /// another body; `Full` when the disk is. With `Storage` the outcome is unknown: send again with the same key.
    pub fn send(&self, message: impl Into<Message>) -> Result<Sent> {
        let prepared = self.prepare(message.into())?;
        match self.engine.call(self.sending(vec![prepared]))? {
            Reply::Sent(sent) if sent.len() == 1 => Ok(sent[0]),
            other => other.unexpected("one message sent"),
        }
    }

    /// Sends messages in one commit: all of them, or, with an error, none. At most 10,000, with bodies of 256 MiB together.
    ///
    /// # Errors
    /// As [`Queue::send`].
    pub fn send_many<I: IntoIterator<Item = M>, M: Into<Message>>(&self, messages: I) -> Result<Vec<Sent>> {
        let prepared = self.prepare_many(messages)?;
        if prepared.is_empty() {
            return Ok(Vec::new());
        }
        match self.engine.call(self.sending(prepared))? {
            Reply::Sent(sent) => Ok(sent.into_vec()),
            other => other.unexpected("messages sent"),
        }
    }

    pub(crate) fn sending(&self, messages: Vec<Prepared>) -> Operation {
        Operation::Send { queue: self.id, messages: Arc::new(messages), synced: self.semantics.syncs_send() }
    }

    pub(crate) fn prepare_many<I, M>(&self, messages: I) -> Result<Vec<Prepared>>
    where
        I: IntoIterator<Item = M>,
        M: Into<Message>,
    {
        let messages = messages.into_iter();
        let mut bytes = 0;
        // Where the iterator knows its length, all of it is refused at once, else at the first one too many.
        let announced = messages.size_hint().0;
        let mut prepared = Vec::with_capacity(announced.min(SEND_MESSAGES_MAX));
        let now = self.engine.now();
        for message in messages {
            let message = self.prepare_at(message.into(), now)?;
            bytes += message.message.body.len();
            prepared.push(message);
            let count = announced.max(prepared.len());
            if count > SEND_MESSAGES_MAX {
                return Err(Error::invalid(format!("{count} messages in one call; the limit is {SEND_MESSAGES_MAX}")));
            }
            if bytes > SEND_BYTES_MAX && prepared.len() > 1 {
                return Err(Error::invalid(format!(
                    "the bodies of one call are over {bytes} bytes; the limit is {SEND_BYTES_MAX}"
                )));
            }
        }
        Ok(prepared)
    }

    pub(crate) fn prepare(&self, message: Message) -> Result<Prepared> {
        self.prepare_at(message, self.engine.now())
    }

    fn prepare_at(&self, message: Message, now: Millis) -> Result<Prepared> {
        if self.semantics == Semantics::ExactlyOnce && message.key.is_none() {
            return Err(Error::invalid(format!(
                "queue {:?} is exactly-once, and a message without a key cannot be recognised when it is sent again",
                self.name
            )));
        }
        Prepared::new(message, self.engine.options.body_bytes_max, now)
    }

    /// The subscription named `default`.
    ///
    /// # Errors
    /// `NotFound` when the queue was created with others instead.
    pub fn default_subscription(&self) -> Result<Subscription> {
        self.subscription(DEFAULT_SUBSCRIPTION)
    }

    /// Runs a call of the default subscription, which is looked up once, and again when it was ended meanwhile.
    pub(crate) fn on_own<T>(&self, call: impl Fn(&Subscription) -> Result<T>) -> Result<T> {
        let known = self.own.load(Ordering::Relaxed);
        if known != 0 {
            match call(&Subscription::new(self.clone(), SubscriptionId(known), DEFAULT_SUBSCRIPTION)) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                outcome => return outcome,
            }
        }
        let own = self.default_subscription()?;
        self.own.store(own.id().0, Ordering::Relaxed);
        call(&own)
    }

    /// A subscription that exists.
    ///
    /// # Errors
    /// `NotFound` when there is none of that name; the message lists those there are.
    pub fn subscription(&self, name: &str) -> Result<Subscription> {
        check_name("subscription name", name)?;
        match self.engine.read(|conn| read::subscription_id(conn, self.id, name))? {
            Some(id) => Ok(Subscription::new(self.clone(), id, name)),
            None => {
                let names = self.subscriptions()?.join(", ");
                Err(Error::not_found(format!("queue {:?} has no subscription {name:?}; it has: {names}", self.name)))
            }
        }
    }

    /// The subscription of this name, created where it is missing. Each subscription sees every message from its start on.
    ///
    /// # Errors
    /// `Invalid` for an empty or over-long name, or when the queue has 1,000 already.
    pub fn subscribe(&self, name: &str, start: Start) -> Result<Subscription> {
        check_name("subscription name", name)?;
        match self.engine.call(Operation::Subscribe { queue: self.id, name: name.to_owned(), start })? {
            Reply::Subscription(id) => Ok(Subscription::new(self.clone(), id, name)),
            other => other.unexpected("a subscription"),
        }
    }

    /// Ends a subscription. What it had not finished is gone for it, its dead letters too.
    ///
    /// # Errors
    /// `NotFound` when there is none of that name; `Invalid` for a queue's last one.
    pub fn unsubscribe(&self, name: &str) -> Result<()> {
        check_name("subscription name", name)?;
        self.engine.call(Operation::Unsubscribe { queue: self.id, name: name.to_owned() })?;
        self.clear_trash()
    }

    /// The names of the subscriptions, sorted.
    pub fn subscriptions(&self) -> Result<Vec<String>> {
        self.engine.read(|conn| read::subscription_names(conn, self.id))
    }

    /// Takes a message away that is not in flight, for every subscription. Its key stays remembered. Returns whether there
    /// was something to take: false when the message is finished or dead.
    ///
    /// # Errors
    /// `Conflict` when a receiver has it in flight; `Invalid` when it belongs to another queue.
    pub fn cancel(&self, message: MessageId) -> Result<bool> {
        match self.engine.call(Operation::Cancel { queue: self.id, message })? {
            Reply::Flag(cancelled) => Ok(cancelled),
            other => other.unexpected("a flag"),
        }
    }

    /// Takes every message away that is ready, delayed or blocked, for every subscription. What is in flight or dead stays,
    /// and keys stay remembered. Returns how many, counting a message once for each subscription that still had it to come.
    pub fn purge(&self) -> Result<u64> {
        let purged = match self.engine.call(Operation::Purge { queue: self.id })? {
            Reply::Count(purged) => purged,
            other => return other.unexpected("a count"),
        };
        self.clear_trash()?;
        Ok(purged)
    }

    /// The messages are out of reach already; their rows leave the file in pieces, so that nobody waits for it long.
    fn clear_trash(&self) -> Result<()> {
        while let Reply::Flag(true) = self.engine.call(Operation::ClearTrash)? {}
        Ok(())
    }

    /// Stops handing out messages, for every subscription, until [`Queue::resume`]. Sends and settles go on.
    pub fn pause(&self) -> Result<()> {
        self.engine.call(Operation::SetPaused { queue: self.id, paused: true }).map(|_| ())
    }

    /// Hands out messages again.
    pub fn resume(&self) -> Result<()> {
        self.engine.call(Operation::SetPaused { queue: self.id, paused: false }).map(|_| ())
    }

    /// Whether the queue is paused.
    pub fn is_paused(&self) -> Result<bool> {
        self.settings().map(|settings| settings.paused)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("name", &self.name).field("semantics", &self.semantics).finish_non_exhaustive()
    }
}
