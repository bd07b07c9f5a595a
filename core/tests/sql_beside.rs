//! The SQL interface beside open stores: who notices what, and what the store's own transactions may use of it.

mod common;

use std::time::Duration;

use common::{HOUR, MINUTE, PATIENCE, World, bodies, counts, eventually, fails, folder, receipts, take, take_one};
use onceward::{
    Called, ConsumeOptions, ErrorKind, IN_MEMORY, Message, OnceOptions, Queue, Semantics, Store, StoreOptions,
    Transaction, Value,
};

const SEND: &str = "INSERT INTO onceward_send(queue, key, body) VALUES ('payments', 'k', x'01')";

fn payments(world: &World) -> Queue {
    world.store.queue("payments", Semantics::ExactlyOnce).expect("opens")
}

fn begin(store: &Store) -> Transaction {
    store.transaction().expect("begins")
}

fn settle(view: &str, delivery: &onceward::Delivery) -> String {
    format!("INSERT INTO {view}(message, token) VALUES ({}, {})", delivery.id(), delivery.token().get())
}

#[test]
fn a_sleeping_receiver_of_this_process_wakes_for_a_send_through_sql() {
    let world = World::new();
    let queue = payments(&world);
    let receiver = queue.clone();
    let waiting =
        std::thread::spawn(move || receiver.receive(PATIENCE).expect("receives").expect("a message").body().to_vec());
    std::thread::sleep(Duration::from_millis(50));
    world.sql().execute_batch(SEND).expect("sends");
    assert_eq!(waiting.join().expect("no panic"), [1]);
}

#[test]
fn housekeeping_finishes_what_was_settled_through_sql() {
    let world = World::new();
    let queue = payments(&world);
    for number in 0..600 {
        queue.send(Message::new("x").key(format!("k{number}"))).expect("sends");
    }
    let batch = take(&queue, 1_000);
    let sql = world.sql();
    sql.execute_batch("BEGIN IMMEDIATE").expect("begins");
    for delivery in &batch {
        sql.execute_batch(&settle("onceward_ack", delivery)).expect("acks");
    }
    sql.execute_batch("COMMIT").expect("commits");
    eventually("the log is empty, and nobody asked", || world.rows() == 0);
    assert_eq!((world.count("onceward_foreign"), counts(&queue)), (0, [0; 5]));
}

#[test]
fn another_store_finishes_what_its_author_did_not_live_to() {
    let world = World::new();
    let queue = payments(&world);
    world.sql().execute_batch(SEND).expect("sends");
    let delivery = take_one(&queue);
    world.sql().execute_batch(&settle("onceward_ack", &delivery)).expect("acks");
    let other = world.another();
    assert_eq!((world.rows(), world.count("onceward_foreign")), (0, 0), "opening is a commit too");
    let queue = other.open_queue("payments").expect("opens");
    assert!(queue.send(Message::new(vec![1]).key("k")).expect("sends").duplicate);
    fails(queue.send(Message::new(vec![2]).key("k")), ErrorKind::Conflict, &["k"]);
}

#[test]
fn a_consumer_whose_messages_are_settled_through_sql_goes_on() {
    let world = World::new();
    let queue = world.at_least_once("jobs");
    common::send_all(&queue, &["a", "b", "c"]);
    let sql = world.sql();
    let consumer = queue.consume(ConsumeOptions::new().batch(2).wait(Duration::from_millis(50))).expect("consumes");
    let mut seen = Vec::new();
    for delivery in consumer {
        let delivery = delivery.expect("a delivery");
        seen.push(common::body(&delivery));
        sql.execute_batch(&settle("onceward_ack", &delivery)).expect("acks");
    }
    assert_eq!((seen, counts(&queue)), (vec!["a".into(), "b".into(), "c".into()], [0; 5]));
}

#[test]
fn an_outbox_trigger_works_in_the_stores_own_transaction_as_well() {
    let world = World::new();
    let queue = payments(&world);
    let mut tx = begin(&world.store);
    tx.execute("CREATE TABLE orders(id INTEGER PRIMARY KEY, cents INTEGER)", &[]).expect("creates");
    tx.execute(
        "CREATE TRIGGER orders_outbox AFTER INSERT ON orders BEGIN INSERT INTO onceward_send(queue, key, body) \
         VALUES ('payments', 'order-' || NEW.id, CAST(json_object('cents', NEW.cents) AS BLOB)); END",
        &[],
    )
    .expect("creates");
    tx.execute("INSERT INTO orders(id, cents) VALUES (42, 1999)", &[]).expect("inserts");
    tx.commit().expect("commits");
    world.sql().execute_batch("INSERT INTO orders(id, cents) VALUES (43, 5)").expect("inserts");
    let batch = take(&queue, 5);
    assert_eq!(bodies(&batch), ["{\"cents\":1999}", "{\"cents\":5}"]);
    assert_eq!(batch[0].key(), Some("order-42"));
}

#[test]
fn sends_of_one_transaction_through_sql_and_through_the_api_know_of_each_other() {
    let world = World::new();
    let queue = payments(&world);
    let mut tx = begin(&world.store);
    tx.send(&queue, Message::new("before").key("before")).expect("sends");
    tx.execute(SEND, &[]).expect("sends");
    assert!(tx.send(&queue, Message::new(vec![1]).key("k")).expect("sends").duplicate);
    fails(tx.send(&queue, Message::new(vec![2]).key("k")), ErrorKind::Conflict, &["k"]);
    tx.send(&queue, Message::new("after").key("after")).expect("sends");
    tx.execute("INSERT INTO onceward_send(queue, key, body) VALUES ('payments', 'last', x'6c617374')", &[])
        .expect("sends");
    tx.commit().expect("commits");
    assert_eq!(world.count("onceward_foreign"), 0, "the commit itself has finished them");
    assert_eq!(bodies(&take(&queue, 9)), ["before", "\u{1}", "after", "last"]);
}

#[test]
fn what_the_views_refuse_in_a_transaction_has_its_kind_and_ends_the_transaction() {
    let world = World::new();
    let queue = payments(&world);
    queue.send(Message::new("x").key("k")).expect("sends");
    let delivery = take_one(&queue);
    queue.ack(&[delivery.receipt()]).expect("acks");
    for (sql, kind, words) in [
        (SEND.to_owned(), ErrorKind::Conflict, "another body"),
        (settle("onceward_ack", &delivery), ErrorKind::LeaseLost, "no longer the current one"),
        (SEND.replace("payments", "nowhere"), ErrorKind::NotFound, "unknown queue"),
        (SEND.replace("x'01'", "'text'"), ErrorKind::Invalid, "body is text"),
    ] {
        let mut tx = begin(&world.store);
        tx.execute("CREATE TABLE gone(x)", &[]).expect("creates");
        fails(tx.execute(&sql, &[]), kind, &[words, "rolled back"]);
        fails(tx.execute("INSERT INTO gone VALUES (1)", &[]), ErrorKind::Sql, &["rolled back"]);
        fails(tx.commit(), ErrorKind::Sql, &["rolled back"]);
    }
    assert_eq!(world.count("sqlite_schema WHERE name = 'gone'"), 0);
}

#[test]
fn a_settle_through_sql_in_a_transaction_is_undone_with_it() {
    let world = World::new();
    let queue = payments(&world);
    queue.send(Message::new("x").key("k")).expect("sends");
    let delivery = take_one(&queue);
    let mut tx = begin(&world.store);
    assert_eq!(tx.execute(&settle("onceward_ack", &delivery), &[]).expect("acks"), 0, "a view has no rows that change");
    tx.rollback();
    assert_eq!(counts(&queue)[3], 1);
    let mut tx = delivery.transaction().expect("begins");
    tx.execute(&settle("onceward_ack", &delivery), &[]).expect("acks");
    fails(tx.commit(), ErrorKind::LeaseLost, &[]);
    assert_eq!(counts(&queue)[3], 1, "acknowledged twice is not acknowledged");
    delivery.ack().expect("acks");
}

#[test]
fn the_views_may_be_used_and_what_is_beneath_them_may_not() {
    let world = World::new();
    // SQL goes by the machine's clock, for which a lease of the test's beginning has long ended.
    world.clock.advance(100 * 365 * 24 * HOUR);
    let queue = payments(&world);
    queue.send(Message::new("x").key("k")).expect("sends");
    let delivery = take_one(&queue);
    let mut tx = begin(&world.store);
    for view in ["onceward_inflight", "onceward_queues", "ONCEWARD_DEAD_LETTERS", "onceward_send"] {
        let rows =
            tx.query(&format!("SELECT * FROM {view}"), &[]).unwrap_or_else(|error| panic!("{view}: {error}")).rows;
        assert_eq!(rows.len(), usize::from(view == "onceward_inflight" || view == "onceward_queues"), "{view}");
    }
    let mine = "CREATE VIEW mine AS SELECT message, token FROM onceward_inflight";
    tx.execute(mine, &[]).expect("creates");
    let token = Value::Integer(delivery.token().get() as i64);
    assert_eq!(tx.query("SELECT token FROM mine", &[]).expect("queries").rows, vec![vec![token]]);
    for sql in [
        "SELECT * FROM onceward_message",
        "SELECT count(*) FROM onceward_message",
        "SELECT token FROM onceward_inflight WHERE 0 < (SELECT count(*) FROM onceward_message)",
        "SELECT * FROM onceward_foreign",
        "SELECT * FROM onceward_log",
        "SELECT (SELECT count(*) FROM onceward_pending) FROM onceward_inflight",
        "WITH onceward_inflight AS (SELECT * FROM onceward_pending) SELECT * FROM onceward_inflight",
        "WITH onceward_held AS (SELECT * FROM onceward_pending) SELECT * FROM onceward_held",
        "WITH \"ONCEWARD_SEND_INSERT\" AS (SELECT * FROM onceward_message) SELECT * FROM onceward_send_insert",
        "SELECT * FROM (SELECT * FROM onceward_pending) AS onceward_queues",
        "INSERT INTO onceward_send_new(id, body) VALUES (1, x'')",
        "INSERT INTO onceward_settle_held(verb) VALUES (1)",
        "INSERT INTO onceward_lane_open(queue, priority) VALUES (1, 1)",
        "DELETE FROM onceward_foreign",
        "UPDATE onceward_sha256 SET k = 0",
        "DROP VIEW onceward_send",
        "DROP TRIGGER onceward_ack_insert",
        "CREATE TRIGGER onceward_ack_too INSTEAD OF INSERT ON onceward_ack BEGIN SELECT 1; END",
        "CREATE VIEW onceward_mine AS SELECT 1",
        "CREATE TRIGGER sneaky AFTER INSERT ON onceward_foreign BEGIN SELECT 1; END",
    ] {
        fails(tx.execute(sql, &[]), ErrorKind::Sql, &[]);
    }
    tx.execute("CREATE TABLE t(x)", &[]).expect("creates");
    tx.execute("CREATE TRIGGER sneaky AFTER INSERT ON t BEGIN DELETE FROM onceward_message; END", &[])
        .expect("creates");
    fails(tx.execute("INSERT INTO t VALUES (1)", &[]), ErrorKind::Sql, &[]);
    tx.rollback();
    assert_eq!((world.rows(), counts(&queue)[3]), (1, 1));
}

#[test]
fn a_store_in_memory_has_the_interface_in_its_transactions() {
    let store = Store::open(IN_MEMORY).expect("opens");
    let queue = store.queue("payments", Semantics::ExactlyOnce).expect("opens");
    let mut tx = begin(&store);
    tx.execute(SEND, &[]).expect("sends");
    tx.commit().expect("commits");
    let delivery = take_one(&queue);
    let mut tx = begin(&store);
    tx.execute(&settle("onceward_nack", &delivery), &[]).expect("nacks");
    tx.commit().expect("commits");
    assert_eq!(counts(&queue), [0, 1, 0, 0, 0]);
}

#[test]
fn a_file_of_utf_16_takes_part() {
    let folder = folder();
    let path = folder.path().join("app.db");
    let sql = rusqlite::Connection::open(&path).expect("opens");
    sql.execute_batch("PRAGMA encoding = 'UTF-16le'; CREATE TABLE entries(x)").expect("creates");
    let store = StoreOptions::new().open(&path).expect("opens");
    let queue = store.queue("payments", Semantics::ExactlyOnce).expect("opens");
    let insert = "INSERT INTO onceward_send(queue, key, body, headers) VALUES ('payments', 'größe', x'61', 'ö: ü')";
    sql.execute_batch(insert).expect("sends");
    let delivery = take_one(&queue);
    assert_eq!((delivery.key(), delivery.headers()["ö"].clone()), (Some("größe"), "ü".into()));
    sql.execute_batch(&settle("onceward_ack", &delivery)).expect("acks");
    assert_eq!(counts(&queue), [0; 5]);
    sql.execute_batch(insert).expect("a duplicate");
    assert_eq!(counts(&queue), [0; 5]);
    sql.execute_batch(&insert.replace("x'61'", "x'62'")).expect_err("a conflict");
}

#[test]
fn an_ended_subscription_leaves_nothing_to_finish() {
    let world = World::new();
    let queue = world.at_least_once("jobs");
    let audit = queue.subscribe("audit", onceward::Start::Now).expect("subscribes");
    common::send_all(&queue, &["a", "b"]);
    let held = common::take_of(&audit, 2);
    let sql = world.sql();
    sql.execute_batch(&settle("onceward_ack", &held[0])).expect("acks");
    queue.unsubscribe("audit").expect("ends");
    let error = sql.execute_batch(&settle("onceward_ack", &held[1])).expect_err("it has ended");
    assert!(error.to_string().starts_with("onceward: LeaseLost"), "{error}");
    assert_eq!(bodies(&take(&queue, 5)), ["a", "b"]);
}

#[test]
fn a_message_settled_by_sql_is_not_offered_again_when_its_holder_is_gone() {
    let world = World::new();
    let queue = world.at_least_once("jobs");
    common::send_all(&queue, &["a", "b", "c"]);
    let other = world.another();
    let batch = take(&other.open_queue("jobs").expect("opens"), 3);
    world.sql().execute_batch(&settle("onceward_ack", &batch[1])).expect("acks");
    assert_eq!(receipts(&batch).len(), 3);
    other.close().expect("closes");
    world.clock.advance(HOUR + MINUTE);
    let mut seen = Vec::new();
    loop {
        let taken = take(&queue, 5);
        if taken.is_empty() {
            break;
        }
        seen.extend(bodies(&taken));
        queue.ack(&receipts(&taken)).expect("acks");
    }
    assert_eq!((seen, world.rows()), (vec!["a".into(), "c".into()], 0));
}

#[test]
fn settling_through_sql_forgets_effects_and_a_message_in_doubt_is_nobodys_to_settle() {
    let world = World::new();
    let queue = payments(&world);
    let sql = world.sql();
    for key in ["done", "unknown"] {
        queue.send(Message::new("x").key(key)).expect("sends");
    }
    let charged = take(&queue, 1).remove(0);
    charged.once("charge", &OnceOptions::park(), || Called::Done(vec![1])).expect("charges");
    sql.execute_batch(&settle("onceward_ack", &charged)).expect("acks");
    assert_eq!((counts(&queue)[3], world.count("onceward_effect")), (0, 0));
    let lost = take_one(&queue);
    lost.once("charge", &OnceOptions::park(), || Called::Unknown("no answer".into())).expect_err("is in doubt");
    let error = sql.execute_batch(&settle("onceward_ack", &lost)).expect_err("it waits for a person");
    assert!(error.to_string().starts_with("onceward: LeaseLost"), "{error}");
    let view = "SELECT 1000 * in_doubt + 100 * ready + 10 * delayed + blocked + in_flight FROM onceward_queues";
    assert_eq!(sql.query_row(view, [], |row| row.get::<_, i64>(0)).expect("queries"), 1_000);
    assert_eq!(counts(&queue), [0; 5]);
}
