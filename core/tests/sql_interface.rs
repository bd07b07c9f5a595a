//! The SQL interface: what an application does through the file's views with its own connection, and what is refused.

mod common;

use std::time::Duration;

use common::{HOUR, PATIENCE, SECOND, bodies, body, counts, fails, folder, receipts, take, take_of, take_one, taken};
use onceward::limits::LANE_SEQUENCE_MAX;
use onceward::{
    Backoff, Delivery, ErrorKind, HeaderValue, Message, Queue, QueueOptions, Semantics, Start, Store, Window,
};
use rusqlite::Connection;

/// A store by the machine's clock, as SQL has no other, and the application's own connection.
struct File {
    store: Store,
    app: Connection,
    _folder: tempfile::TempDir,
}

impl File {
    fn new() -> Self {
        let folder = folder();
        let path = folder.path().join("app.db");
        let store = Store::open(&path).expect("opens");
        let file = File { store, app: connect(&path), _folder: folder };
        file.app.execute_batch("CREATE TABLE entries(note TEXT)").expect("creates");
        file
    }

    fn queue(&self, name: &str, semantics: Semantics) -> Queue {
        self.store.queue(name, semantics).expect("opens")
    }

    fn payments(&self) -> Queue {
        self.queue("payments", Semantics::ExactlyOnce)
    }

    fn jobs(&self) -> Queue {
        self.queue("jobs", Semantics::AtLeastOnce)
    }

    #[track_caller]
    fn run(&self, sql: &str) {
        self.app.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn number(&self, sql: &str) -> i64 {
        self.app.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs a statement in a transaction that has done something before; it must be refused with this text, and all of the
    /// transaction with it.
    #[track_caller]
    fn refuses(&self, sql: &str, text: &str) {
        let before = self.everything();
        self.run("BEGIN IMMEDIATE; INSERT INTO entries(note) VALUES ('before')");
        let error = self.app.execute_batch(sql).expect_err(sql);
        assert!(error.to_string().starts_with(text), "{sql}: {error}");
        assert!(self.app.is_autocommit(), "{sql}: the transaction is rolled back");
        assert_eq!(self.everything(), before, "{sql}: nothing was written");
    }

    /// Every row of every table that the interface or the application writes.
    fn everything(&self) -> Vec<String> {
        let mut all = Vec::new();
        for table in [
            "entries",
            "onceward_message",
            "onceward_ledger",
            "onceward_lane",
            "onceward_cursor",
            "onceward_pending",
            "onceward_dead",
            "onceward_foreign",
            "onceward_queue",
            "onceward_subscription",
        ] {
            let mut statement = self.app.prepare(&format!("SELECT * FROM {table}")).expect("prepares");
            let columns = statement.column_count();
            let rows = statement.query_map([], |row| {
                let cells = (0..columns).map(|index| row.get::<_, rusqlite::types::Value>(index));
                cells.collect::<rusqlite::Result<Vec<_>>>()
            });
            let rows: Vec<_> = rows.expect("queries").collect::<rusqlite::Result<_>>().expect("reads");
            all.extend(rows.into_iter().map(|row| format!("{table}: {row:?}")));
        }
        all
    }
}

fn connect(path: &std::path::Path) -> Connection {
    let app = Connection::open(path).expect("opens");
    app.busy_timeout(PATIENCE).expect("sets");
    app.execute_batch("PRAGMA trusted_schema = OFF").expect("sets");
    app
}

fn ack(delivery: &Delivery) -> String {
    format!("INSERT INTO onceward_ack(message, token) VALUES ({}, {});", delivery.id(), delivery.token().get())
}

fn nack(delivery: &Delivery, delay_ms: &str, error: &str) -> String {
    let (id, token) = (delivery.id(), delivery.token().get());
    format!("INSERT INTO onceward_nack(message, token, delay_ms, error) VALUES ({id}, {token}, {delay_ms}, {error});")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"))
}

const LOST: &str = "onceward: LeaseLost: the delivery is no longer the current one of its message";
const CONFLICT: &str = "onceward: Conflict: the key stands for a message with another body";

#[test]
fn a_send_arrives_with_everything_it_was_sent_with() {
    let file = File::new();
    let queue = file.payments();
    file.run(
        "INSERT INTO onceward_send(queue, key, body, headers, ordering_key) VALUES \
         ('payments', 'order-42', x'0061ff', 'größe: zwölf' || char(10) || 'empty:', 'customer-7')",
    );
    let delivery = take_one(&queue);
    assert_eq!((delivery.body(), delivery.key(), delivery.attempt()), (&b"\0a\xff"[..], Some("order-42"), 1));
    assert_eq!((delivery.ordering_key(), delivery.priority()), (Some("customer-7"), 4));
    assert_eq!(delivery.headers()["größe"], HeaderValue::Text("zwölf".to_owned()));
    assert_eq!((delivery.headers()["empty"].clone(), delivery.headers().len()), ("".into(), 2));
    assert!(delivery.sent_at().get() > 1_700_000_000_000, "milliseconds since 1970");
    delivery.ack().expect("acks");
    assert_eq!(file.number("SELECT count(*) FROM onceward_message"), 0);
}

#[test]
fn priorities_delays_and_times_to_live_hold() {
    let file = File::new();
    let queue = file.jobs();
    file.run(
        "INSERT INTO onceward_send(queue, body, priority) VALUES ('jobs', CAST('last' AS BLOB), 9);
         INSERT INTO onceward_send(queue, body, priority) VALUES ('jobs', CAST('first' AS BLOB), 0);
         INSERT INTO onceward_send(queue, body, delay_ms) VALUES ('jobs', CAST('late' AS BLOB), 3600000);
         INSERT INTO onceward_send(queue, body, due_at_ms) VALUES ('jobs', CAST('never' AS BLOB), CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) + 3600000);
         INSERT INTO onceward_send(queue, body, due_at_ms) VALUES ('jobs', CAST('past' AS BLOB), -5);
         INSERT INTO onceward_send(queue, body, time_to_live_ms) VALUES ('jobs', CAST('short' AS BLOB), 1);",
    );
    assert_eq!(counts(&queue)[1], 2, "two are delayed");
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(bodies(&take(&queue, 10)), ["first", "past", "last"]);
    let dead = queue.default_subscription().expect("there").dead_letters(None, 10).expect("lists");
    assert_eq!((dead.len(), &dead[0].message.body[..]), (1, &b"short"[..]));
}

#[test]
fn a_repeated_send_is_one_message_whoever_repeats_it() {
    let file = File::new();
    let queue = file.payments();
    let sql = "INSERT INTO onceward_send(queue, key, body) VALUES ('payments', 'k', x'01');";
    file.run(&sql.repeat(2));
    assert!(queue.send(Message::new(vec![1]).key("k")).expect("sends").duplicate);
    fails(queue.send(Message::new(vec![2]).key("k")), ErrorKind::Conflict, &["k"]);
    file.refuses(&sql.replace("01", "02"), CONFLICT);
    queue.send(Message::new(vec![3]).key("by-the-api")).expect("sends");
    file.run("INSERT INTO onceward_send(queue, key, body) VALUES ('payments', 'by-the-api', x'03')");
    file.refuses("INSERT INTO onceward_send(queue, key, body) VALUES ('payments', 'by-the-api', x'')", CONFLICT);
    assert_eq!(counts(&queue), [2, 0, 0, 0, 0]);
}

#[test]
fn a_repeated_send_is_recognised_by_its_bytes_after_its_message_is_gone() {
    let file = File::new();
    let queue = file.payments();
    for length in (0..70).chain([118, 119, 120, 127, 128, 129, 500, 4_097]) {
        let sent: Vec<u8> = (0..length).map(|at| (at * 7 + length) as u8).collect();
        let insert = |body: &[u8]| {
            format!("INSERT INTO onceward_send(queue, key, body) VALUES ('payments', 'k{length}', x'{}')", hex(body))
        };
        if length % 2 == 0 {
            queue.send(Message::new(sent.clone()).key(format!("k{length}"))).expect("sends");
        } else {
            file.run(&insert(&sent));
        }
        take_one(&queue).ack().expect("acks");
        assert_eq!(file.number("SELECT count(*) FROM onceward_message"), 0);
        file.run(&insert(&sent));
        assert_eq!(file.number("SELECT count(*) FROM onceward_message"), 0, "{length} bytes: a duplicate");
        let mut other = sent.clone();
        match other.last_mut() {
            Some(last) => *last ^= 1,
            None => other.push(0),
        }
        file.refuses(&insert(&other), CONFLICT);
        file.refuses(&insert(&[&sent[..], &[0x80]].concat()), CONFLICT);
    }
}

#[test]
fn a_key_whose_window_has_passed_is_new_again() {
    let file = File::new();
    let options = QueueOptions::new().deduplication_window(Window::For(Duration::from_millis(1)));
    let queue = file.store.queue_with("jobs", Semantics::AtLeastOnce, options).expect("opens");
    for body in ["01", "02"] {
        file.run(&format!("INSERT INTO onceward_send(queue, key, body) VALUES ('jobs', 'k', x'{body}')"));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(take(&queue, 10).len(), 2);
}

#[test]
fn every_bad_send_is_refused_with_its_text_and_rolls_back_the_whole_transaction() {
    let file = File::new();
    let queue = file.payments();
    file.jobs();
    queue.send(Message::new("x").key("k")).expect("sends");
    let name = "k".repeat(513);
    let headers = format!("a: {}", "v".repeat(65_536));
    let cases: &[(&str, &str, &str)] = &[
        ("queue, body", "NULL, x''", "Invalid: queue must be text"),
        ("body", "x''", "Invalid: queue must be text"),
        ("queue, body", "7, x''", "Invalid: queue must be text"),
        ("queue, body", "'nowhere', x''", "NotFound: unknown queue"),
        ("queue, body", "'Jobs', x''", "NotFound: unknown queue"),
        ("queue", "'jobs'", "Invalid: body is NULL"),
        ("queue, body", "'jobs', 'text'", "Invalid: body is text; bytes (a BLOB) are meant"),
        ("queue, body", "'jobs', 5", "Invalid: body is a number"),
        ("queue, body", "'jobs', zeroblob(1048577)", "Invalid: body is longer than 1048576 bytes"),
        ("queue, body, key", "'jobs', x'', ''", "Invalid: key must be text of 1 to 512 bytes"),
        ("queue, body, key", &format!("'jobs', x'', '{name}'"), "Invalid: key must be text of 1 to 512 bytes"),
        ("queue, body, key", "'jobs', x'', x'6b'", "Invalid: key must be text"),
        ("queue, body, key", "'jobs', x'', 42", "Invalid: key must be text"),
        ("queue, body, key", "'jobs', x'', 'a' || char(0)", "Invalid: key must be text of 1 to 512 bytes without NUL"),
        ("queue, body, key", "'jobs', x'', CAST(x'6bff' AS TEXT)", "Invalid: text is not valid UTF-8"),
        ("queue, body, key", "'jobs', x'', CAST(x'eda080' AS TEXT)", "Invalid: text is not valid UTF-8"),
        ("queue, body, ordering_key", "'jobs', x'', CAST(x'c3' AS TEXT)", "Invalid: text is not valid UTF-8"),
        ("queue, body, ordering_key", "'jobs', x'', 7", "Invalid: ordering_key must be text"),
        ("queue, body, ordering_key", "'jobs', x'', ''", "Invalid: ordering_key must be text"),
        ("queue, body, priority", "'jobs', x'', 10", "Invalid: priority must be an integer from 0 to 9"),
        ("queue, body, priority", "'jobs', x'', -1", "Invalid: priority must be an integer from 0 to 9"),
        ("queue, body, priority", "'jobs', x'', '4'", "Invalid: priority must be an integer from 0 to 9"),
        (
            "queue, body, priority, ordering_key",
            "'jobs', x'', 3, 'o'",
            "Invalid: a priority other than 4 and an ordering",
        ),
        ("queue, body, delay_ms", "'jobs', x'', -1", "Invalid: delay_ms must be an integer from 0 to 316224000000"),
        ("queue, body, delay_ms", "'jobs', x'', 1.5", "Invalid: delay_ms must be an integer"),
        ("queue, body, delay_ms", "'jobs', x'', 316224000001", "Invalid: delay_ms must be an integer"),
        ("queue, body, due_at_ms", "'jobs', x'', 'now'", "Invalid: due_at_ms must be an integer"),
        ("queue, body, due_at_ms", "'jobs', x'', 9223372036854775807", "Invalid: due_at_ms must be an integer"),
        ("queue, body, delay_ms, due_at_ms", "'jobs', x'', 1, 1", "Invalid: delay_ms and due_at_ms exclude each other"),
        ("queue, body, time_to_live_ms", "'jobs', x'', 0", "Invalid: time_to_live_ms must be an integer from 1 to"),
        ("queue, body, headers", "'jobs', x'', x'613a20'", "Invalid: headers must be text without NUL"),
        ("queue, body, headers", "'jobs', x'', 7", "Invalid: headers must be text without NUL"),
        ("queue, body, headers", "'jobs', x'', 'a: ' || char(0)", "Invalid: headers must be text without NUL"),
        ("queue, body, headers", "'jobs', x'', 'a: 1' || char(13)", "Invalid: headers must be text without NUL"),
        (
            "queue, body, headers",
            "'jobs', x'', 'a'",
            "Invalid: headers must have lines of a name, a colon, and a value",
        ),
        (
            "queue, body, headers",
            "'jobs', x'', 'a: 1' || char(10, 10) || 'b: 2'",
            "Invalid: headers must have lines of",
        ),
        ("queue, body, headers", "'jobs', x'', ': 1'", "Invalid: headers take names of 1 to 512 bytes"),
        ("queue, body, headers", &format!("'jobs', x'', '{name}: 1'"), "Invalid: headers take names of 1 to 512 bytes"),
        ("queue, body, headers", &format!("'jobs', x'', '{headers}'"), "Invalid: headers take names of 1 to 512 bytes"),
        ("queue, body, headers", "'jobs', x'', CAST(x'613a20ff' AS TEXT)", "Invalid: text is not valid UTF-8"),
        ("queue, body", "'payments', x''", "Invalid: the queue is exactly-once: a key is required"),
        ("queue, body, key", "'payments', x'79', 'k'", "Conflict: the key stands for a message with another body"),
    ];
    for (columns, values, text) in cases {
        // However the statement says to deal with constraints.
        for verb in ["INSERT", "INSERT OR IGNORE", "INSERT OR REPLACE", "INSERT OR FAIL"] {
            file.refuses(
                &format!("{verb} INTO onceward_send({columns}) VALUES ({values})"),
                &format!("onceward: {text}"),
            );
        }
    }
    assert_eq!(counts(&queue), [1, 0, 0, 0, 0]);
}

#[test]
fn every_bad_settle_is_refused_with_its_text_and_rolls_back_the_whole_transaction() {
    let file = File::new();
    let queue = file.jobs();
    let amo = file.queue("hints", Semantics::AtMostOnce);
    for text in ["a", "b"] {
        queue.send(text).expect("sends");
    }
    amo.send("hint").expect("sends");
    let hint = take_one(&amo);
    let first = queue.receive(Duration::ZERO).expect("receives").expect("one");
    let second = queue.receive(Duration::ZERO).expect("receives").expect("another");
    let (id, token, other) = (first.id().get(), first.token().get(), second.token().get());
    for table in ["onceward_ack", "onceward_nack"] {
        for (values, text) in [
            (format!("{id}, {other}"), LOST),
            (format!("{id}, {}", token + 100), LOST),
            (format!("{id}, -1"), LOST),
            (format!("{}, {token}", id + 2), LOST),
            (format!("NULL, {token}"), "onceward: Invalid: message and token must be integers"),
            (format!("{id}, NULL"), "onceward: Invalid: message and token must be integers"),
            (format!("'{id}', {token}"), "onceward: Invalid: message and token must be integers"),
            (format!("5, {token}"), "onceward: Invalid: the message belongs to no queue of this file"),
            (format!("{}, {token}", id + (7 << 38)), "onceward: Invalid: the message belongs to no queue"),
        ] {
            file.refuses(&format!("INSERT OR IGNORE INTO {table}(message, token) VALUES ({values})"), text);
        }
        let named = format!("INSERT INTO {table}(message, token, subscription) VALUES ({id}, {token}, 'nobody')");
        file.refuses(&named, "onceward: NotFound: unknown subscription");
    }
    let at_most = "onceward: Invalid: an at-most-once delivery is done when it is handed over";
    file.refuses(&nack(&hint, "0", "NULL"), at_most);
    file.run(&ack(&hint));
    let words = "'e'".replace('e', &"e".repeat(4_097));
    file.refuses(&nack(&first, "-1", "NULL"), "onceward: Invalid: delay_ms must be an integer");
    file.refuses(&nack(&first, "'soon'", "NULL"), "onceward: Invalid: delay_ms must be an integer");
    file.refuses(&nack(&first, "0", "7"), "onceward: Invalid: error must be text of at most 4096 bytes");
    file.refuses(&nack(&first, "0", &words), "onceward: Invalid: error must be text of at most 4096 bytes");
    file.refuses(&nack(&first, "0", "CAST(x'ff' AS TEXT)"), "onceward: Invalid: text is not valid UTF-8");
    file.run(&(ack(&first) + &ack(&second)));
    assert_eq!(counts(&queue), [0; 5]);
}

#[test]
fn the_effect_and_the_acknowledgement_are_one_commit_of_the_applications() {
    let file = File::new();
    let queue = file.payments();
    queue.send(Message::new("1999").key("order-42")).expect("sends");
    let delivery = take_one(&queue);
    file.run(&format!("BEGIN; INSERT INTO entries(note) VALUES ('x'); {} ROLLBACK", ack(&delivery)));
    assert_eq!((counts(&queue)[3], file.number("SELECT count(*) FROM entries")), (1, 0), "nothing happened");
    file.run(&format!("BEGIN; INSERT INTO entries(note) VALUES ('x'); {} COMMIT", ack(&delivery)));
    assert_eq!((counts(&queue), file.number("SELECT count(*) FROM entries")), ([0; 5], 1));
    assert_eq!(file.number("SELECT count(*) FROM onceward_message"), 0);
    file.refuses(&ack(&delivery), LOST);
    file.refuses(&nack(&delivery, "0", "NULL"), LOST);
    fails(delivery.ack(), ErrorKind::LeaseLost, &[]);
    assert!(take(&queue, 10).is_empty());
}

#[test]
fn an_acknowledgement_takes_one_message_out_of_a_batch() {
    let file = File::new();
    let queue = file.jobs();
    common::send_all(&queue, &["a", "b", "c", "d", "e"]);
    let batch = take(&queue, 5);
    for index in [2, 0, 4] {
        file.run(&ack(&batch[index]));
        file.refuses(&ack(&batch[index]), LOST);
    }
    assert_eq!(counts(&queue)[3], 2);
    assert_eq!(queue.ack(&receipts(&batch)).expect("acks").len(), 3, "those are lost, the others are done");
    assert_eq!((counts(&queue), file.number("SELECT count(*) FROM onceward_message")), ([0; 5], 0));
}

#[test]
fn the_token_decides_and_not_the_clock() {
    let file = File::new();
    let queue =
        file.store.queue_with("jobs", Semantics::AtLeastOnce, QueueOptions::new().lease(SECOND)).expect("opens");
    common::send_all(&queue, &["a", "b"]);
    let short = onceward::ReceiveOptions::new().max(2).lease(Duration::from_millis(1));
    let batch = queue.receive_many(&short).expect("receives");
    std::thread::sleep(Duration::from_millis(10));
    assert_eq!(file.number("SELECT count(*) FROM onceward_inflight"), 0, "the lease has ended");
    file.run(&ack(&batch[0]));
    let again = take_one(&queue);
    assert_eq!(again.id(), batch[1].id());
    file.refuses(&ack(&batch[1]), LOST);
    file.run(&ack(&again));
    assert_eq!(counts(&queue), [0; 5]);
}

#[test]
fn what_is_given_back_waits_for_its_delay_or_the_queues_backoff() {
    let file = File::new();
    let backoff = Backoff { first: HOUR, factor: 1.0, cap: 10 * HOUR, jitter: 0.5 };
    let queue =
        file.store.queue_with("jobs", Semantics::AtLeastOnce, QueueOptions::new().backoff(backoff)).expect("opens");
    common::send_all(&queue, &["a", "b", "c"]);
    let batch = take(&queue, 3);
    file.run(
        &("BEGIN;".to_owned()
            + &nack(&batch[0], "0", "NULL")
            + &nack(&batch[1], "7200000", "NULL")
            + &nack(&batch[2], "NULL", "NULL")),
    );
    assert_eq!(file.number("SELECT 10 * ready + delayed FROM onceward_queues"), 12, "as it is within the transaction");
    file.run("COMMIT");
    assert_eq!(counts(&queue), [1, 2, 0, 0, 0]);
    let wait = |delivery: &Delivery| {
        let id = delivery.id();
        file.number(&format!(
            "SELECT p.due_at - m.sent_at FROM onceward_pending AS p JOIN onceward_message AS m ON m.id = p.lo WHERE m.id = {id}"
        ))
    };
    assert!((7_200_000..7_260_000).contains(&wait(&batch[1])), "{}", wait(&batch[1]));
    assert!((1_800_000..3_660_000).contains(&wait(&batch[2])), "half of the backoff is random: {}", wait(&batch[2]));
    let again = take_one(&queue);
    assert_eq!((again.id(), again.attempt()), (batch[0].id(), 2));
}

#[test]
fn the_last_attempt_that_is_given_back_is_a_dead_letter() {
    let file = File::new();
    let options = QueueOptions::new().attempts_max(2).backoff(Backoff::constant(Duration::ZERO));
    let queue = file.store.queue_with("jobs", Semantics::AtLeastOnce, options).expect("opens");
    queue.send(Message::new("x").header("bytes", vec![0, 255]).header("text", "größe")).expect("sends");
    file.run(&nack(&take_one(&queue), "NULL", "'first'"));
    file.run(&nack(&take_one(&queue), "NULL", "NULL"));
    assert_eq!(counts(&queue), [0, 0, 0, 0, 1]);
    let dead = queue.default_subscription().expect("there").dead_letters(None, 10).expect("lists");
    assert_eq!((dead[0].reason.as_str(), dead[0].error.as_deref()), ("attempts exhausted", Some("first")));
    let shown = "SELECT count(*) FROM onceward_dead_letters WHERE queue = 'jobs' AND subscription = 'default' AND attempts = 2 \
         AND reason = 'attempts exhausted' AND error = 'first' AND body = x'78' AND priority = 4 \
         AND headers = 'bytes: x''00FF''' || char(10) || 'text: größe'";
    assert_eq!(file.number(shown), 1);
    assert_eq!(queue.default_subscription().expect("there").redrive_all().expect("redrives"), 1);
    assert_eq!(body(&take_one(&queue)), "x");
}

#[test]
fn what_is_in_flight_is_listed() {
    let file = File::new();
    let queue = file.queue("two", Semantics::AtLeastOnce);
    queue.subscribe("audit", Start::Now).expect("subscribes");
    queue.send(Message::new("a").key("k").header("h", "1").ordering_key("o")).expect("sends");
    let held = take_of(&queue.subscription("audit").expect("there"), 1);
    let found: (String, String, i64, i64, i64, String, String, String, Vec<u8>) = file
        .app
        .query_row(
            "SELECT queue, subscription, message, token, attempt, key, ordering_key, headers, body FROM onceward_inflight",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?)),
        )
        .expect("one row");
    let expected = (held[0].id().get() as i64, held[0].token().get() as i64, 1);
    assert_eq!((found.2, found.3, found.4), expected);
    assert_eq!((found.0.as_str(), found.1.as_str(), found.5.as_str(), found.6.as_str()), ("two", "audit", "k", "o"));
    assert_eq!((found.7.as_str(), found.8), ("h: 1", b"a".to_vec()));
    // Each subscription settles for itself, and the message stays for the other.
    file.run(&ack(&held[0]));
    assert_eq!(file.number("SELECT count(*) FROM onceward_inflight"), 0);
    assert_eq!(bodies(&take(&queue, 5)), ["a"]);
}

#[test]
fn what_is_behind_a_message_given_back_is_taken_back_with_it() {
    let file = File::new();
    let queue = file.jobs();
    for text in ["a", "b", "c"] {
        common::send_in_order(&queue, "line", text);
    }
    queue.send("beside").expect("sends");
    let batch = take(&queue, 4);
    // In one transaction, and in the next before any store has looked at it.
    file.refuses(&(nack(&batch[0], "0", "NULL") + &ack(&batch[1])), LOST);
    assert_eq!(counts(&queue), [0, 0, 0, 4, 0]);
    file.run(&(ack(&batch[3]) + &nack(&batch[0], "0", "NULL")));
    file.refuses(&nack(&batch[2], "0", "NULL"), LOST);
    assert_eq!(counts(&queue), [1, 0, 2, 0, 0]);
    assert_eq!(queue.ack(&receipts(&batch[1..3])).expect("answers").len(), 2, "both are lost");
    let again = take(&queue, 4);
    assert_eq!((bodies(&again), again[1].attempt()), (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], 1));
    file.run(&ack(&again[0]));
    file.run(&(ack(&again[2]) + &ack(&again[1])));
    assert_eq!((counts(&queue), file.number("SELECT count(*) FROM onceward_order")), ([0; 5], 0));
}

#[test]
fn a_line_that_is_fed_and_settled_through_sql_alone_moves_on() {
    let file = File::new();
    let queue =
        file.store.queue_with("jobs", Semantics::AtLeastOnce, QueueOptions::new().attempts_max(1)).expect("opens");
    for text in ["a", "b", "c"] {
        let send = "INSERT INTO onceward_send(queue, body, ordering_key) VALUES ('jobs', CAST(?1 AS BLOB), 'line')";
        file.app.execute(send, [text]).expect("sends");
    }
    let first = take(&queue, 1);
    assert!(take(&queue, 5).is_empty(), "one of a line is out");
    file.run(&nack(&first[0], "NULL", "'its last attempt'"));
    let second = take(&queue, 1);
    assert_eq!(bodies(&second), ["b"]);
    assert!(take(&queue, 5).is_empty());
    file.run(&ack(&second[0]));
    assert_eq!((taken(&queue, 5), counts(&queue)), (vec!["c".to_owned()], [0, 0, 0, 1, 1]));
}

#[test]
fn a_lane_that_is_full_is_continued_and_the_last_lane_is_the_end() {
    let file = File::new();
    let queue = file.jobs();
    queue.send("first").expect("sends");
    take_one(&queue).ack().expect("acks");
    file.run(
        "UPDATE onceward_lane SET next = ((id + 1) << 38) - 1;
         UPDATE onceward_cursor SET next = (SELECT next FROM onceward_lane WHERE id = lane), gaps = 0",
    );
    for text in ["61", "62", "63"] {
        file.run(&format!("INSERT INTO onceward_send(queue, body) VALUES ('jobs', x'{text}')"));
    }
    let batch = take(&queue, 5);
    assert_eq!(bodies(&batch), ["a", "b", "c"]);
    assert_eq!(
        (batch[0].id().get() & LANE_SEQUENCE_MAX, batch[1].id().get() & LANE_SEQUENCE_MAX),
        (LANE_SEQUENCE_MAX, 1)
    );
    file.run("INSERT INTO onceward_lane(id, queue, priority, next) VALUES (32758, 1, 9, (32759 << 38) - 1)");
    let new = "INSERT INTO onceward_send(queue, body, priority) VALUES ('jobs', x'', 7)";
    file.refuses(new, "onceward: Full: the file has no lanes left");
}
