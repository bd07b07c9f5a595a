//! One thread that uses the store as applications do, and says so in the history: before each call what it is about to
//! do, after it what it was told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use onceward::{
    ConsumeOptions, Consumer, Delivery, Error, ErrorKind, MessageId, Nack, Receipt, ReceiveOptions, Result,
    Subscription, Value,
};

use crate::history::{Call, DeadOne, Effect, Event, Handed, Item, Outcome, Proof, SentItem, Verb};
use crate::house::{CHILDREN, House, PLANS, body, ordering};
use crate::journal::Journal;
use crate::random::hash;

/// What was sent, so that it can be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Index into [`PLANS`].
    pub queue: usize,
    /// The name the body follows from; the deduplication key, too, if there is one.
    pub name: String,
    /// Whether it carries its name as its key.
    pub keyed: bool,
    /// Another body under the same key.
    pub other: bool,
}

impl Parcel {
    fn body(&self) -> Vec<u8> {
        body(PLANS[self.queue].name, &self.name, self.other)
    }

    fn item(&self) -> Item {
        Item {
            key: self.keyed.then(|| self.name.clone()),
            hash: hash(&self.body()),
            ordering: PLANS[self.queue].ordered.then(|| ordering(&self.name)),
        }
    }

    fn message(&self, delay: Option<Duration>) -> onceward::Message {
        let mut message = onceward::Message::new(self.body());
        if self.keyed {
            message = message.key(&self.name);
        }
        if PLANS[self.queue].ordered {
            message = message.ordering_key(ordering(&self.name));
        }
        match delay {
            Some(delay) => message.delay(delay),
            None => message,
        }
    }
}

/// What became of a consumer's acknowledgements: they are committed together.
#[derive(Debug, Default)]
struct Session {
    acks: Vec<Call>,
    failed: Option<String>,
}

impl Session {
    fn told<T>(&mut self, actor: &Actor, result: Result<T>) -> Option<T> {
        if let Err(error) = &result {
            self.failed.get_or_insert_with(|| error.kind().name().to_owned());
        }
        actor.told(result).1
    }
}

/// How often each kind of error came.
pub type Errors = Arc<Mutex<BTreeMap<&'static str, (u64, String)>>>;

/// One thread at work.
#[derive(Debug)]
pub struct Actor {
    /// The queues.
    pub house: House,
    /// The history.
    pub journal: Arc<Journal>,
    /// The errors met so far, over all actors of a run.
    pub errors: Errors,
}

fn outcome<T>(result: std::result::Result<T, &Error>) -> Outcome<T> {
    match result {
        Ok(value) => Outcome::Ok(value),
        Err(error) => match error.kind() {
            ErrorKind::Storage | ErrorKind::Detached | ErrorKind::Corrupt => {
                Outcome::Unknown(error.kind().name().to_owned())
            }
            kind => Outcome::Refused(kind.name().to_owned()),
        },
    }
}

fn proof(receipt: &Receipt) -> Proof {
    Proof { id: receipt.message.get(), token: receipt.token.get() }
}

fn handed(delivery: &Delivery) -> Handed {
    Handed {
        id: delivery.id().get(),
        token: delivery.token().get(),
        attempt: delivery.attempt(),
        item: Item {
            key: delivery.key().map(str::to_owned),
            hash: hash(delivery.body()),
            ordering: delivery.ordering_key().map(str::to_owned),
        },
    }
}

impl Actor {
    fn met(&self, error: &Error) {
        let mut errors = self.errors.lock().expect("no panic while counting");
        errors.entry(error.kind().name()).or_insert_with(|| (0, error.to_string())).0 += 1;
    }

    fn told<T>(&self, result: Result<T>) -> (Outcome<()>, Option<T>) {
        if let Err(error) = &result {
            self.met(error);
        }
        (outcome(result.as_ref().map(|_| ())), result.ok())
    }

    /// The subscription of a scope.
    pub fn subscription(&self, scope: &str) -> Result<Subscription> {
        let (queue, subscription) = scope.split_once('/').expect("a scope is queue/subscription");
        let place = PLANS.iter().position(|plan| plan.name == queue).expect("a queue of the house");
        self.house.queues[place].subscription(subscription)
    }

    /// Sends one or many to one queue. The answer says whether it was told ok.
    pub fn send(&self, parcels: &[Parcel], delay: Option<Duration>) -> bool {
        let (call, place) = (self.journal.call(), parcels[0].queue);
        let items = parcels.iter().map(Parcel::item).collect();
        self.journal.note(Event::SendBegin { call, queue: PLANS[place].name.to_owned(), within: None, items });
        let queue = &self.house.queues[place];
        let result = match parcels {
            [one] => queue.send(one.message(delay)).map(|sent| vec![sent]),
            many => queue.send_many(many.iter().map(|one| one.message(delay))),
        };
        if let Err(error) = &result {
            self.met(error);
        }
        let told = result.is_ok();
        let answer = result
            .as_ref()
            .map(|all| all.iter().map(|one| SentItem { id: one.id.get(), duplicate: one.duplicate }).collect());
        self.journal.note(Event::SendEnd { call, outcome: outcome(answer) });
        told
    }

    /// Receives up to `max`, waiting up to `wait`.
    pub fn receive(&self, scope: &str, max: usize, wait: Duration) -> Vec<Delivery> {
        let call = self.journal.call();
        self.journal.note(Event::ReceiveBegin { call, scope: scope.to_owned() });
        let options = ReceiveOptions::new().max(max).wait(wait);
        let result = self.subscription(scope).and_then(|subscription| subscription.receive_many(&options));
        if let Err(error) = &result {
            self.met(error);
        }
        let answer = result.as_ref().map(|all| all.iter().map(handed).collect());
        self.journal.note(Event::ReceiveEnd { call, outcome: outcome(answer) });
        result.unwrap_or_default()
    }

    /// Consumes up to `count` messages, acknowledging each. To the history it is one receive, as long as the consumer lives:
    /// what it fetched ahead may be handed out later than somebody else's later token.
    pub fn consume(&self, scope: &str, count: usize) {
        let receive = self.journal.call();
        self.journal.note(Event::ReceiveBegin { call: receive, scope: scope.to_owned() });
        let mut session = Session::default();
        let options = ConsumeOptions::new().batch(4).wait(Duration::from_millis(1));
        let result = self.subscription(scope).and_then(|subscription| subscription.consume(options));
        if let (_, Some(mut consumer)) = self.told(result) {
            self.consume_with(&mut consumer, (receive, scope), count, &mut session);
            session.told(self, consumer.flush());
            // A stopped consumer hands out nothing more, and still says which acknowledgements came too late.
            consumer.stop_handle().stop();
            while let Err(error) = consumer.receive(Duration::ZERO) {
                session.told::<()>(self, Err(error));
            }
            session.told(self, consumer.close());
        }
        self.journal.note(Event::ReceiveEnd { call: receive, outcome: Outcome::Ok(Vec::new()) });
        for call in session.acks {
            let outcome = session.failed.clone().map_or(Outcome::Ok(Vec::new()), Outcome::Unknown);
            self.journal.note(Event::SettleEnd { call, outcome });
        }
    }

    fn consume_with(
        &self,
        consumer: &mut Consumer,
        (receive, scope): (Call, &str),
        count: usize,
        session: &mut Session,
    ) {
        for delivery in consumer.by_ref().take(count) {
            let Some(delivery) = session.told(self, delivery) else { continue };
            self.journal.note(Event::HandedOut { call: receive, handed: handed(&delivery) });
            let call = self.journal.call();
            let proofs = vec![proof(&delivery.receipt())];
            self.journal.note(Event::SettleBegin { call, scope: scope.to_owned(), verb: Verb::Ack, proofs });
            session.acks.push(call);
            session.told(self, delivery.ack());
        }
    }

    /// Settles; the answer says which leases were lost, or nothing if there was an error.
    pub fn settle(&self, scope: &str, verb: Verb, receipts: &[Receipt]) -> Option<Vec<Receipt>> {
        let call = self.journal.call();
        let proofs = receipts.iter().map(proof).collect();
        self.journal.note(Event::SettleBegin { call, scope: scope.to_owned(), verb, proofs });
        let result = self.subscription(scope).and_then(|subscription| match verb {
            Verb::Ack | Verb::Commit => subscription.ack(receipts),
            Verb::Nack => subscription.nack(receipts, &Nack::new().delay(Duration::from_millis(1)).error("no luck")),
            Verb::Release => subscription.release(receipts),
            Verb::Extend => subscription.extend(receipts, Duration::from_secs(60)),
            Verb::DeadLetter => subscription.dead_letter(receipts, "not for us"),
        });
        if let Err(error) = &result {
            self.met(error);
        }
        let answer = result.as_ref().map(|lost| lost.iter().map(proof).collect());
        self.journal.note(Event::SettleEnd { call, outcome: outcome(answer) });
        result.ok()
    }

    /// Writes the effect of a delivery, sends a message, and acknowledges, in one commit; or rolls all of it back.
    pub fn transact(&self, scope: &str, delivery: &Delivery, commit: bool) {
        let call = self.journal.call();
        match self.transact_until_commit(call, delivery) {
            Ok(transaction) if commit => {
                let proof = Some(proof(&delivery.receipt()));
                self.journal.note(Event::CommitBegin { call, scope: scope.to_owned(), proof, effect: true });
                let (outcome, _) = self.told(transaction.commit());
                self.journal.note(Event::CommitEnd { call, outcome });
            }
            Ok(transaction) => {
                transaction.rollback();
                self.journal.note(Event::RolledBack { call });
            }
            Err(error) => {
                self.met(&error);
                self.journal.note(Event::RolledBack { call });
            }
        }
    }

    fn transact_until_commit(&self, call: Call, delivery: &Delivery) -> Result<onceward::Transaction> {
        let mut transaction = delivery.transaction()?;
        let row = [Value::Integer(delivery.id().get() as i64), Value::Integer(call as i64)];
        transaction.execute("INSERT INTO effect (message, commit_call) VALUES (?1, ?2)", &row)?;
        let child = Parcel { queue: CHILDREN, name: format!("child-{call}"), keyed: true, other: false };
        let send = self.journal.call();
        let queue = PLANS[CHILDREN].name.to_owned();
        self.journal.note(Event::SendBegin { call: send, queue, within: Some(call), items: vec![child.item()] });
        let result = transaction.send(&self.house.queues[CHILDREN], child.message(None));
        let answer = result.as_ref().map(|sent| vec![SentItem { id: sent.id.get(), duplicate: sent.duplicate }]);
        self.journal.note(Event::SendEnd { call: send, outcome: outcome(answer) });
        result?;
        Ok(transaction)
    }

    /// The ids of the dead letters of a scope, noted as seen when `note`.
    pub fn dead(&self, scope: &str, note: bool) -> Vec<MessageId> {
        let result = self.subscription(scope).and_then(|subscription| subscription.dead_letters(None, 10_000));
        let (_, letters) = self.told(result);
        let letters = letters.unwrap_or_default();
        if note {
            let seen = letters.iter().map(|one| DeadOne {
                id: one.message.id.get(),
                attempts: one.message.attempts,
                has_reason: !one.reason.is_empty(),
            });
            self.journal.note(Event::Dead { scope: scope.to_owned(), letters: seen.collect() });
        }
        letters.iter().map(|one| one.message.id).collect()
    }

    /// Puts dead letters back.
    pub fn redrive(&self, scope: &str, ids: &[MessageId]) {
        let call = self.journal.call();
        let numbers = ids.iter().map(|id| id.get()).collect();
        self.journal.note(Event::RedriveBegin { call, scope: scope.to_owned(), ids: numbers });
        let result = self.subscription(scope).and_then(|subscription| subscription.redrive(ids));
        let (outcome, _) = self.told(result);
        self.journal.note(Event::RedriveEnd { call, outcome });
    }

    /// Notes the application's table of effects.
    pub fn note_effects(&self) {
        let (_, rows): (_, Option<Vec<Effect>>) = self.told(self.house.effects());
        if let Some(rows) = rows {
            self.journal.note(Event::Effects { scope: "exact/default".to_owned(), rows });
        }
    }
}
