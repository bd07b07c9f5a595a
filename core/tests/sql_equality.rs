//! The SQL interface against the API: the same operations, at random, on two files; on one all go through the API, on the
//! other those that can go through SQL half of the time. Every answer, delivery and count must be the same.
//!
//! More runs with `ONCEWARD_SQL_RUNS`; the seed that a failure prints runs again with `ONCEWARD_SEED`.

mod common;

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use common::{HOUR, counts_of};
use onceward::{
    Backoff, Delivery, ErrorKind, Message, MessageId, Nack, Queue, QueueOptions, Receipt, ReceiveOptions, Semantics,
    Store, Subscription,
};
use rusqlite::Connection;

const STEPS: u64 = 250;
const RUNS: u64 = 4;

/// A small generator: two sides must draw the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

#[derive(Debug, Clone, Default)]
struct Sending {
    queue: usize,
    key: Option<String>,
    body: Vec<u8>,
    header: Option<(String, String)>,
    priority: Option<u8>,
    delay: Option<Duration>,
    time_to_live: Option<Duration>,
    ordering_key: Option<String>,
}

#[derive(Debug, Clone)]
enum Step {
    Send(Box<Sending>),
    Receive { from: usize, max: usize },
    Ack { from: usize, receipt: Receipt },
    Nack { from: usize, receipt: Receipt, delay: Option<Duration>, error: Option<String> },
    Redrive { from: usize },
    PurgeDead { from: usize },
    Purge { queue: usize },
    Cancel { queue: usize, message: MessageId },
}

/// Everything of a delivery that both sides must agree on.
type Shown = (u64, u64, u32, Option<String>, String, Option<String>, u8, Vec<u8>);

#[derive(Debug, PartialEq)]
enum Answer {
    Done,
    Failed(ErrorKind),
    Took(Vec<Shown>),
    Count(u64),
}

struct Side {
    _store: Store,
    queues: Vec<Queue>,
    subscriptions: Vec<Subscription>,
    conn: Connection,
    _folder: tempfile::TempDir,
}

impl Side {
    fn new() -> Self {
        let folder = common::folder();
        let path = folder.path().join("app.db");
        let store = Store::open(&path).expect("opens");
        let plain = || QueueOptions::new().backoff(Backoff::constant(Duration::ZERO));
        let queues = vec![
            store.queue_with("amo", Semantics::AtMostOnce, plain()).expect("opens"),
            store.queue_with("alo", Semantics::AtLeastOnce, plain().attempts_max(2)).expect("opens"),
            store.queue_with("lines", Semantics::AtLeastOnce, plain().attempts_max(2)).expect("opens"),
            store.queue_with("two", Semantics::ExactlyOnce, plain().subscriptions(["a", "b"])).expect("opens"),
        ];
        let mut subscriptions: Vec<Subscription> =
            queues[..3].iter().map(|queue| queue.default_subscription().expect("there")).collect();
        subscriptions.extend(["a", "b"].map(|name| queues[3].subscription(name).expect("there")));
        let conn = Connection::open(&path).expect("opens");
        conn.execute_batch("PRAGMA trusted_schema = OFF").expect("sets");
        Side { _store: store, queues, subscriptions, conn, _folder: folder }
    }

    fn run(&self, step: &Step, through_sql: bool) -> Answer {
        match step {
            Step::Send(sending) if through_sql => self.insert(
                "onceward_send(queue, key, body, headers, priority, delay_ms, time_to_live_ms, ordering_key) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                (
                    self.queues[sending.queue].name(),
                    &sending.key,
                    &sending.body,
                    sending.header.as_ref().map(|(name, value)| format!("{name}: {value}")),
                    sending.priority,
                    sending.delay.map(|delay| delay.as_millis() as i64),
                    sending.time_to_live.map(|ttl| ttl.as_millis() as i64),
                    &sending.ordering_key,
                ),
            ),
            Step::Send(sending) => done(self.queues[sending.queue].send(message(sending)).map(|_| Vec::new())),
            Step::Ack { from, receipt } if through_sql => self.insert(
                "onceward_ack(message, token, subscription) VALUES (?1, ?2, ?3)",
                (receipt.message.get() as i64, receipt.token.get() as i64, self.subscriptions[*from].name()),
            ),
            Step::Ack { from, receipt } => done(self.subscriptions[*from].ack(&[*receipt])),
            Step::Nack { receipt, delay, error, .. } if through_sql => self.insert(
                "onceward_nack(message, token, delay_ms, error) VALUES (?1, ?2, ?3, ?4)",
                (
                    receipt.message.get() as i64,
                    receipt.token.get() as i64,
                    delay.map(|delay| delay.as_millis() as i64),
                    error,
                ),
            ),
            Step::Nack { from, receipt, delay, error } => {
                let nack = delay.map_or(Nack::new(), |delay| Nack::new().delay(delay));
                let nack = error.as_ref().map_or(nack.clone(), |error| nack.error(error));
                done(self.subscriptions[*from].nack(&[*receipt], &nack))
            }
            Step::Receive { from, max } => {
                let taken = self.subscriptions[*from].receive_many(&ReceiveOptions::new().max(*max)).expect("receives");
                Answer::Took(taken.iter().map(shown).collect())
            }
            Step::Redrive { from } => Answer::Count(self.subscriptions[*from].redrive_all().expect("redrives")),
            Step::PurgeDead { from } => Answer::Count(self.subscriptions[*from].purge_dead_all().expect("purges")),
            Step::Purge { queue } => Answer::Count(self.queues[*queue].purge().expect("purges")),
            Step::Cancel { queue, message } => match self.queues[*queue].cancel(*message) {
                Ok(cancelled) => Answer::Count(cancelled.into()),
                Err(error) => Answer::Failed(error.kind()),
            },
        }
    }

    fn insert(&self, into: &str, parameters: impl rusqlite::Params) -> Answer {
        match self.conn.prepare_cached(&format!("INSERT INTO {into}")).and_then(|mut insert| insert.execute(parameters))
        {
            Ok(_) => Answer::Done,
            Err(error) => Answer::Failed(kind(&error)),
        }
    }

    /// What is counted, what is dead, and what is left in the file.
    fn state(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let counts: Vec<[u64; 5]> = self.subscriptions.iter().map(counts_of).collect();
        let dead: Vec<_> = self
            .subscriptions
            .iter()
            .flat_map(|subscription| subscription.dead_letters(None, 1_000).expect("lists"))
            .map(|letter| {
                (letter.message.id, letter.message.attempts, letter.reason, letter.error, letter.message.body)
            })
            .collect();
        let log: (i64, i64) = self
            .conn
            .query_row("SELECT count(*), coalesce(sum(id), 0) FROM onceward_message", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .expect("queries");
        (counts, dead, log)
    }

    /// The same counts, of the views.
    fn views(&self) -> Vec<[u64; 5]> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT ready, delayed, blocked, in_flight, dead FROM onceward_queues WHERE queue = ?1 AND subscription = ?2")
            .expect("prepares");
        let all = self.subscriptions.iter().map(|subscription| {
            statement
                .query_row((subscription.queue().name(), subscription.name()), |row| {
                    Ok([0, 1, 2, 3, 4].map(|index| row.get::<_, i64>(index).expect("a count") as u64))
                })
                .expect("queries")
        });
        all.collect()
    }
}

fn message(sending: &Sending) -> Message {
    let mut message = Message::new(sending.body.clone());
    if let Some(key) = &sending.key {
        message = message.key(key);
    }
    if let Some((name, value)) = &sending.header {
        message = message.header(name, value.as_str());
    }
    if let Some(priority) = sending.priority {
        message = message.priority(priority);
    }
    if let Some(delay) = sending.delay {
        message = message.delay(delay);
    }
    if let Some(time_to_live) = sending.time_to_live {
        message = message.time_to_live(time_to_live);
    }
    match &sending.ordering_key {
        Some(key) => message.ordering_key(key),
        None => message,
    }
}

/// The answer of a settle, where a lost receipt is what SQL raises as `LeaseLost`.
fn done(outcome: onceward::Result<Vec<Receipt>>) -> Answer {
    match outcome {
        Ok(lost) if lost.is_empty() => Answer::Done,
        Ok(_) => Answer::Failed(ErrorKind::LeaseLost),
        Err(error) => Answer::Failed(error.kind()),
    }
}

fn kind(error: &rusqlite::Error) -> ErrorKind {
    let text = error.to_string();
    let name = text.strip_prefix("onceward: ").and_then(|rest| rest.split(':').next());
    let known = name.and_then(|name| ErrorKind::ALL.into_iter().find(|kind| kind.name() == name));
    known.unwrap_or_else(|| panic!("no text of the interface: {text}"))
}

fn shown(delivery: &Delivery) -> Shown {
    (
        delivery.id().get(),
        delivery.token().get(),
        delivery.attempt(),
        delivery.key().map(str::to_owned),
        format!("{:?}", delivery.headers()),
        delivery.ordering_key().map(str::to_owned),
        delivery.priority(),
        delivery.body().to_vec(),
    )
}

fn sending(random: &mut Random) -> Sending {
    let queue = random.below(4);
    let mut sending = Sending { queue, body: vec![b'x'; random.pick(&[0, 1, 55, 64, 200])], ..Sending::default() };
    sending.body.push(b'0' + random.below(2) as u8);
    if queue == 3 || random.one_in(2) {
        sending.key = Some(format!("schlüssel-{}", random.below(12)));
        sending.body = vec![u8::from(random.one_in(8)); 3];
    }
    if random.one_in(3) {
        sending.header = Some(("größe".to_owned(), random.pick(&["", "1", " zwei: ✓ "]).to_owned()));
    }
    if queue == 2 && !random.one_in(4) {
        sending.ordering_key = Some(format!("line-{}", random.below(3)));
    } else if random.one_in(3) {
        sending.priority = Some(random.below(10) as u8);
    }
    if random.one_in(6) {
        sending.delay = Some(random.pick(&[Duration::ZERO, HOUR]));
    }
    if random.one_in(8) {
        sending.time_to_live = Some(HOUR);
    }
    match random.below(40) {
        0 => sending.key = None,
        1 => sending.key = Some("k".repeat(513)),
        2 => sending.key = Some(String::new()),
        3 => sending.priority = Some(10),
        4 => (sending.priority, sending.ordering_key) = (Some(1), Some("line-0".to_owned())),
        5 => sending.body = vec![0; (1 << 20) + 1],
        6 => sending.delay = Some(HOUR * 24 * 366 * 11),
        7 => sending.time_to_live = Some(Duration::ZERO),
        8 => sending.ordering_key = Some("nul\0".to_owned()),
        9 => sending.header = Some((String::new(), "unnamed".to_owned())),
        10 => sending.header = Some(("long".to_owned(), "v".repeat(65_536))),
        _ => {}
    }
    sending
}

/// Receipts that were handed out, and what was done with them: the same settle repeated is answered from a store's memory.
struct Known {
    from: usize,
    receipt: Receipt,
    acked: bool,
    nacked: bool,
}

fn step(random: &mut Random, known: &mut [Known]) -> Step {
    let from = random.below(5);
    match random.below(100) {
        0..40 => Step::Send(Box::new(sending(random))),
        40..60 => Step::Receive { from, max: 1 + random.below(4) },
        60..63 => Step::Redrive { from },
        63 => Step::PurgeDead { from },
        64 => Step::Purge { queue: random.below(4) },
        verb => {
            // Mostly of the latest, for the others are settled long ago.
            let reach = if random.one_in(4) { known.len() } else { known.len().min(12) };
            if reach == 0 {
                return Step::Receive { from, max: 2 };
            }
            let index = known.len() - 1 - random.below(reach);
            let known = &mut known[index];
            let receipt = known.receipt;
            if verb < 68 {
                let queue = [0, 1, 2, 3, 3][known.from];
                return Step::Cancel { queue, message: receipt.message };
            }
            let from = if known.from >= 3 && random.one_in(8) { 7 - known.from } else { known.from };
            if verb < 86 && !known.acked && from == known.from {
                known.acked = true;
                return Step::Ack { from, receipt };
            }
            if known.nacked || from != known.from {
                return Step::Receive { from, max: 1 };
            }
            known.nacked = true;
            let delay = random.pick(&[None, Some(Duration::ZERO), Some(HOUR), Some(HOUR * 24 * 366 * 11)]);
            let error = random.pick(&[None, Some("übel".to_owned()), Some("e".repeat(4_097))]);
            Step::Nack { from, receipt, delay, error: error.filter(|_| delay.is_none()) }
        }
    }
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let (api, sql) = (Side::new(), Side::new());
    let mut known: Vec<Known> = Vec::new();
    for number in 0..STEPS {
        let step = step(&mut random, &mut known);
        let through_sql = !random.one_in(3);
        let (expected, found) = (api.run(&step, false), sql.run(&step, through_sql));
        let at = format!("ONCEWARD_SEED={seed}, step {number}, through SQL: {through_sql}, {step:?}");
        assert_eq!(expected, found, "{at}");
        if let (Step::Receive { from, .. }, Answer::Took(taken)) = (&step, &expected) {
            let receipt = |shown: &Shown| Receipt {
                message: MessageId::new(shown.0).expect("an id"),
                token: onceward::Token::new(shown.1),
            };
            let new =
                taken.iter().map(|shown| Known { from: *from, receipt: receipt(shown), acked: false, nacked: false });
            known.extend(new);
        }
        assert_eq!(api.state(), sql.state(), "{at}");
        let counts: Vec<[u64; 5]> = sql.subscriptions.iter().map(counts_of).collect();
        assert_eq!(counts, sql.views(), "the views count the same: {at}");
        // Two steps never share a millisecond on one side alone.
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_same_operations_through_sql_and_through_the_api_have_the_same_outcome() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("ONCEWARD_SEED") {
        return run(seed);
    }
    let seed = std::collections::hash_map::RandomState::new().build_hasher().finish();
    for offset in 0..number("ONCEWARD_SQL_RUNS").unwrap_or(RUNS) {
        run(seed.wrapping_add(offset));
    }
}
