//! Transactions: effects, sends and the acknowledgement in one commit, and what a transaction must not do.

mod common;

use std::time::Duration;

use common::{HOUR, MINUTE, World, counts, fails, receipts, send_all, take, take_one, taken};
use onceward::{ErrorKind, IN_MEMORY, Message, Queue, Semantics, Store, StoreOptions, Transaction, Value};

/// A store with an application table, and a queue of payments.
fn payments() -> (World, Queue) {
    let world = World::new();
    in_one(&world.store, "CREATE TABLE entries(id INTEGER PRIMARY KEY, cents INTEGER NOT NULL UNIQUE, note TEXT)");
    let queue = world.store.queue("payments", Semantics::ExactlyOnce).expect("opens");
    queue.send(Message::new("1999").key("order-42")).expect("sends");
    (world, queue)
}

fn in_one(store: &Store, sql: &str) {
    let mut tx = store.transaction().expect("begins");
    tx.execute(sql, &[]).expect("executes");
    tx.commit().expect("commits");
}

fn insert(tx: &mut Transaction, cents: i64) -> onceward::Result<u64> {
    tx.execute("INSERT INTO entries(cents) VALUES (?1)", &[cents.into()])
}

fn entries(store: &Store) -> i64 {
    let mut tx = store.transaction().expect("begins");
    match tx.query("SELECT count(*) FROM entries", &[]).expect("queries").rows[0][0] {
        Value::Integer(count) => count,
        ref other => panic!("a count, not {other:?}"),
    }
}

#[test]
fn the_effect_and_the_acknowledgement_are_one_commit() {
    let (world, queue) = payments();
    let delivery = take_one(&queue);
    let mut tx = delivery.transaction().expect("begins");
    assert_eq!(insert(&mut tx, 1999).expect("executes"), 1);
    assert_eq!(counts(&queue)[3], 1, "nothing has happened yet");
    tx.commit().expect("commits");
    assert_eq!((entries(&world.store), counts(&queue), world.rows()), (1, [0; 5], 0));
    world.clock.advance(HOUR);
    assert!(take(&queue, 5).is_empty());
}

#[test]
fn a_rolled_back_transaction_has_done_nothing() {
    for end in ["rollback", "drop"] {
        let (world, queue) = payments();
        let receipts_queue = world.at_least_once("receipts");
        let delivery = take_one(&queue);
        let mut tx = delivery.transaction().expect("begins");
        insert(&mut tx, 1999).expect("executes");
        tx.send(&receipts_queue, Message::new("paid").key("k")).expect("sends");
        if end == "rollback" {
            tx.rollback();
        } else {
            drop(tx);
        }
        assert_eq!((entries(&world.store), counts(&receipts_queue)), (0, [0; 5]));
        assert!(!receipts_queue.send(Message::new("other").key("k")).expect("the key is free").duplicate);
        delivery.ack().expect("the delivery is still ours");
    }
}

#[test]
fn a_lost_lease_rolls_everything_back() {
    let (world, queue) = payments();
    let log = world.at_least_once("log");
    let late = take_one(&queue);
    let mut tx = late.transaction().expect("begins");
    world.clock.advance(MINUTE);
    let current = take_one(&queue);
    insert(&mut tx, 1999).expect("executes");
    tx.send(&log, "paid").expect("sends");
    fails(tx.commit(), ErrorKind::LeaseLost, &[&late.id().to_string()]);
    assert_eq!((entries(&world.store), counts(&log), counts(&queue)), (0, [0; 5], [0, 0, 0, 1, 0]));
    let mut tx = current.transaction().expect("begins");
    insert(&mut tx, 1999).expect("executes");
    tx.commit().expect("the current holder commits");
    assert_eq!(entries(&world.store), 1);
}

#[test]
fn an_acknowledgement_inside_ends_the_transaction_when_its_lease_was_lost() {
    let (world, queue) = payments();
    let late = receipts(&take(&queue, 1));
    world.clock.advance(MINUTE);
    take_one(&queue);
    let subscription = queue.default_subscription().expect("there");
    let mut tx = world.store.transaction().expect("begins");
    insert(&mut tx, 1).expect("executes");
    fails(tx.ack(&subscription, &late), ErrorKind::LeaseLost, &[]);
    fails(insert(&mut tx, 2), ErrorKind::Invalid, &["rolled back"]);
    fails(tx.commit(), ErrorKind::Invalid, &["rolled back"]);
    assert_eq!(entries(&world.store), 0);
}

#[test]
fn several_deliveries_may_be_acknowledged_with_one_effect() {
    let (world, queue) = payments();
    queue.send(Message::new("1").key("order-43")).expect("sends");
    let held = receipts(&take(&queue, 2));
    let mut tx = world.store.transaction().expect("begins");
    insert(&mut tx, 2000).expect("executes");
    tx.ack(&queue.default_subscription().expect("there"), &held).expect("acks");
    tx.commit().expect("commits");
    assert_eq!((counts(&queue), world.rows()), ([0; 5], 0));
    assert!(queue.ack(&held).expect("the same answer").is_empty());
}

#[test]
fn a_send_inside_exists_when_the_transaction_committed_and_not_before() {
    let (world, queue) = payments();
    let out = world.at_least_once("out");
    let other = world.another().open_queue("out").expect("opens");
    let mut tx = world.store.transaction().expect("begins");
    let first = tx.send(&out, Message::new("x").key("k")).expect("sends");
    let again = tx.send(&out, Message::new("x").key("k")).expect("sends");
    assert_eq!((again.id, first.duplicate, again.duplicate), (first.id, false, true));
    fails(tx.send(&out, Message::new("y").key("k")), ErrorKind::Conflict, &["\"k\""]);
    fails(tx.send(&queue, "without a key"), ErrorKind::Invalid, &["key"]);
    tx.send(&out, Message::new("low").priority(9)).expect("a refused send leaves the transaction as it was");
    assert_eq!(counts(&other), [0; 5]);
    tx.commit().expect("commits");
    assert_eq!(taken(&other, 5), ["x", "low"]);
    assert!(out.send(Message::new("x").key("k")).expect("sends").duplicate);
}

#[test]
fn ids_of_rolled_back_sends_are_nobodys() {
    let (world, _) = payments();
    let out = world.at_least_once("out");
    let mut tx = world.store.transaction().expect("begins");
    tx.send(&out, "never").expect("sends");
    tx.rollback();
    send_all(&out, &["a", "b"]);
    assert_eq!((counts(&out), taken(&out, 5)), ([2, 0, 0, 0, 0], vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn every_type_of_value_goes_in_and_comes_out() {
    let (world, _) = payments();
    let values = vec![
        Value::Null,
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Real(-0.5),
        Value::Text("größe\0x".into()),
        Value::Text(String::new()),
        Value::Blob(vec![0, 255]),
        Value::Blob(Vec::new()),
    ];
    let mut tx = world.store.transaction().expect("begins");
    tx.execute("CREATE TABLE anything(value ANY) STRICT", &[]).expect("executes");
    let sets: Vec<Vec<Value>> = values.iter().map(|value| vec![value.clone()]).collect();
    assert_eq!(tx.execute_many("INSERT INTO anything VALUES (?1)", &sets).expect("executes"), 8);
    let rows = tx.query("SELECT value, typeof(value) AS kind FROM anything ORDER BY rowid", &[]).expect("queries");
    assert_eq!(rows.columns, ["value", "kind"]);
    let found: Vec<Value> = rows.rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(found, values);
    let kinds: Vec<&Value> = rows.rows.iter().map(|row| &row[1]).collect();
    let expected = ["null", "integer", "integer", "real", "text", "text", "blob", "blob"].map(Value::from);
    assert_eq!(kinds, expected.iter().collect::<Vec<_>>());
    let none: Option<i64> = None;
    assert_eq!(
        (Value::from(none), Value::from(2.5), Value::from(vec![1u8])),
        (Value::Null, Value::Real(2.5), Value::Blob(vec![1]))
    );
}

#[test]
fn a_parameter_that_is_nan_is_refused_and_the_transaction_goes_on() {
    let (world, _) = payments();
    let mut tx = world.store.transaction().expect("begins");
    let nan = [Value::Integer(1), Value::Real(f64::NAN)];
    let insert = "INSERT INTO entries(cents, note) VALUES (?1, ?2)";
    fails(tx.execute(insert, &nan), ErrorKind::Invalid, &["parameter 2", "NaN", "NULL"]);
    fails(tx.execute_many(insert, &[vec![2.into(), 0.5.into()], nan.to_vec()]), ErrorKind::Invalid, &["parameter 2"]);
    fails(tx.query("SELECT ?1, ?2", &nan), ErrorKind::Invalid, &["parameter 2"]);
    tx.execute(insert, &[3.into(), Value::Real(f64::INFINITY)]).expect("SQLite stores infinities");
    tx.commit().expect("commits");
    assert_eq!(entries(&world.store), 1);
}

#[test]
fn the_stores_own_tables_are_out_of_reach() {
    let (world, queue) = payments();
    for sql in [
        "SELECT count(*) FROM onceward_message",
        "SELECT body FROM OnceWard_Message",
        "SELECT * FROM main.onceward_queue",
        "SELECT body FROM onceward_sending",
        "SELECT count(*) FROM onceward_sending",
        "DELETE FROM onceward_message",
        "UPDATE onceward_pending SET due_at = 0",
        "INSERT INTO onceward_meta VALUES (2, 1, 1)",
        "INSERT INTO entries(cents) SELECT id FROM onceward_queue",
        "WITH x AS (SELECT id FROM onceward_queue) SELECT * FROM x",
        "DROP TABLE onceward_ledger",
        "DROP INDEX onceward_pending_due",
        "ALTER TABLE onceward_queue ADD COLUMN x",
        "ALTER TABLE onceward_queue RENAME TO mine",
        "ALTER TABLE entries RENAME TO onceward_entries",
        "CREATE TABLE onceward_mine(x)",
        "CREATE INDEX mine ON onceward_message(body)",
        "CREATE VIEW onceward_view AS SELECT 1",
        "CREATE TRIGGER mine AFTER INSERT ON onceward_message BEGIN SELECT 1; END",
        "CREATE TEMP TABLE onceward_message(id, body)",
        "CREATE TEMP VIEW onceward_pending AS SELECT 1 AS due_at",
        "CREATE TEMP TRIGGER mine AFTER INSERT ON onceward_message BEGIN DELETE FROM entries; END",
        "CREATE TEMP TABLE x AS SELECT * FROM onceward_ledger",
    ] {
        let mut tx = world.store.transaction().expect("begins");
        let error = tx.execute(sql, &[]).expect_err(sql);
        assert!(matches!(error.kind(), ErrorKind::Sql | ErrorKind::Invalid), "{sql}: {error}");
        tx.commit().expect("the transaction goes on");
    }
    assert_eq!((counts(&queue), world.rows()), ([1, 0, 0, 0, 0], 1));
    send_all(&world.at_least_once("q"), &["the store goes on"]);
    assert_eq!(world.rows(), 2, "what is sent is in the file");
}

#[test]
fn the_application_cannot_touch_what_holds_the_transaction_together() {
    let (world, queue) = payments();
    for sql in [
        "BEGIN",
        "COMMIT",
        "END",
        "ROLLBACK",
        "SAVEPOINT s",
        "RELEASE s",
        "PRAGMA user_version = 7",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA writable_schema = ON",
        "SELECT * FROM pragma_table_info('entries')",
        "ATTACH ':memory:' AS other",
        "DETACH main",
        "VACUUM",
        "UPDATE sqlite_schema SET name = 'x'",
    ] {
        let mut tx = world.store.transaction().expect("begins");
        insert(&mut tx, 7).expect("executes");
        let error = tx.execute(sql, &[]).expect_err(sql);
        assert!(matches!(error.kind(), ErrorKind::Sql | ErrorKind::Invalid), "{sql}: {error}");
        tx.rollback();
        assert_eq!(entries(&world.store), 0, "after {sql}");
    }
    assert_eq!(counts(&queue), [1, 0, 0, 0, 0]);
}

#[test]
fn a_trigger_of_the_application_cannot_reach_our_tables_either() {
    let (world, queue) = payments();
    let mut tx = world.store.transaction().expect("begins");
    let made = tx.execute("CREATE TRIGGER sly AFTER INSERT ON entries BEGIN DELETE FROM onceward_message; END", &[]);
    if made.is_ok() {
        let _ = insert(&mut tx, 1).expect_err("the trigger is not allowed");
    }
    tx.rollback();
    assert_eq!(counts(&queue), [1, 0, 0, 0, 0]);
}

#[test]
fn errors_in_the_applications_sql_are_its_own_and_the_transaction_goes_on() {
    let (world, _) = payments();
    let mut tx = world.store.transaction().expect("begins");
    insert(&mut tx, 1).expect("executes");
    fails(tx.execute("SELEKT 1", &[]), ErrorKind::Sql, &["SELEKT"]);
    fails(tx.execute("INSERT INTO nowhere VALUES (1)", &[]), ErrorKind::Sql, &["nowhere"]);
    fails(insert(&mut tx, 1), ErrorKind::Sql, &["UNIQUE"]);
    fails(tx.execute("INSERT INTO entries(cents) VALUES (NULL)", &[]), ErrorKind::Sql, &["NOT NULL"]);
    fails(tx.execute("INSERT INTO entries(cents) VALUES (?1)", &[]), ErrorKind::Sql, &[]);
    fails(tx.query("SELECT ?1", &[1.into(), 2.into()]), ErrorKind::Sql, &[]);
    fails(tx.execute("INSERT INTO entries(cents) VALUES (8); DELETE FROM entries", &[]), ErrorKind::Sql, &[]);
    insert(&mut tx, 2).expect("executes");
    tx.commit().expect("commits");
    assert_eq!(entries(&world.store), 2);
}

#[test]
fn a_statement_that_rolls_back_by_itself_ends_the_transaction() {
    let (world, queue) = payments();
    let delivery = take_one(&queue);
    let mut tx = delivery.transaction().expect("begins");
    insert(&mut tx, 1).expect("executes");
    fails(tx.execute("INSERT OR ROLLBACK INTO entries(cents) VALUES (1)", &[]), ErrorKind::Sql, &["UNIQUE"]);
    let error = insert(&mut tx, 2).expect_err("the transaction is over");
    assert!(error.message().contains("rolled back"), "{error}");
    tx.commit().expect_err("and cannot be committed");
    assert_eq!((entries(&world.store), counts(&queue)), (0, [0, 0, 0, 1, 0]));
    delivery.ack().expect("the delivery is still ours");
}

#[test]
fn returning_rows_are_counted_and_can_be_read() {
    let (world, _) = payments();
    let mut tx = world.store.transaction().expect("begins");
    let inserted = tx.execute("INSERT INTO entries(cents) VALUES (5), (6) RETURNING id", &[]).expect("executes");
    assert_eq!(inserted, 2);
    let rows = tx.query("UPDATE entries SET note = 'x' RETURNING cents", &[]).expect("queries").rows;
    assert_eq!(rows, [[Value::Integer(5)], [Value::Integer(6)]]);
    assert_eq!(tx.execute("SELECT 1", &[]).expect("executes"), 0, "a query changes nothing");
    tx.commit().expect("commits");
}

#[test]
fn past_its_time_limit_a_transaction_is_rolled_back_and_the_store_goes_on() {
    let world = World::with(|options: StoreOptions| options.transaction_time_limit(Duration::from_millis(100)));
    in_one(&world.store, "CREATE TABLE entries(cents INTEGER)");
    let queue = world.at_least_once("q");
    let mut tx = world.store.transaction().expect("begins");
    insert(&mut tx, 1).expect("executes");
    common::eventually("another thread gets its turn", || {
        let queue = queue.clone();
        std::thread::spawn(move || queue.send("x").is_ok()).join().expect("lives")
    });
    fails(insert(&mut tx, 2), ErrorKind::Expired, &["100ms"]);
    fails(tx.commit(), ErrorKind::Expired, &["100ms"]);
    assert_eq!(entries(&world.store), 0);
}

#[test]
fn a_statement_that_never_ends_is_interrupted_at_the_time_limit() {
    let world = World::with(|options: StoreOptions| options.transaction_time_limit(Duration::from_millis(50)));
    let mut tx = world.store.transaction().expect("begins");
    let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
    fails(tx.query(endless, &[]), ErrorKind::Expired, &[]);
    drop(tx);
    send_all(&world.at_least_once("q"), &["the store goes on"]);
}

#[test]
fn nothing_is_locked_before_the_first_statement() {
    let (world, queue) = payments();
    let delivery = take_one(&queue);
    let tx = delivery.transaction().expect("begins");
    send_all(&world.at_least_once("q"), &["meanwhile"]);
    tx.commit().expect("commits");
    assert_eq!(counts(&queue), [0; 5]);
}

#[test]
fn using_the_store_beside_ones_own_open_transaction_is_refused_and_does_not_hang() {
    for path in ["a file", IN_MEMORY] {
        let world = World::new();
        let store = if path == IN_MEMORY { Store::open(path).expect("opens") } else { world.store.clone() };
        let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
        send_all(&queue, &["x"]);
        let mut tx = store.transaction().expect("begins");
        tx.execute("CREATE TABLE t(x)", &[]).expect("executes");
        fails(queue.send("y"), ErrorKind::Invalid, &["transaction"]);
        fails(queue.receive(Duration::ZERO).map(|_| ()), ErrorKind::Invalid, &["transaction"]);
        fails(queue.purge(), ErrorKind::Invalid, &["transaction"]);
        let mut second = store.transaction().expect("a second one is begun");
        fails(second.execute("SELECT 1", &[]), ErrorKind::Invalid, &["transaction"]);
        drop(second);
        assert_eq!(counts(&queue), [1, 0, 0, 0, 0], "looking is allowed");
        tx.commit().expect("commits");
        send_all(&queue, &["y"]);
    }
}

#[test]
fn a_queue_of_another_store_is_refused() {
    let (world, _) = payments();
    let other = World::new();
    let foreign = other.at_least_once("foreign");
    let mut tx = world.store.transaction().expect("begins");
    fails(tx.send(&foreign, "x"), ErrorKind::Invalid, &["foreign"]);
    let subscription = foreign.default_subscription().expect("there");
    fails(tx.ack(&subscription, &[]), ErrorKind::Invalid, &["foreign"]);
    insert(&mut tx, 1).expect("executes");
    tx.commit().expect("commits");
}

#[test]
fn closing_the_store_ends_an_open_transaction() {
    let (world, _) = payments();
    let mut tx = world.store.transaction().expect("begins");
    insert(&mut tx, 1).expect("executes");
    world.store.close().expect("closes");
    fails(insert(&mut tx, 2), ErrorKind::Closed, &[]);
    fails(tx.commit(), ErrorKind::Closed, &[]);
    assert_eq!(entries(&world.another()), 0);
}

#[test]
fn transactions_of_many_threads_take_turns() {
    let world = World::new();
    in_one(&world.store, "CREATE TABLE counter(n INTEGER)");
    in_one(&world.store, "INSERT INTO counter VALUES (0)");
    let queue = world.at_least_once("q");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let mut tx = world.store.transaction().expect("begins");
                    tx.execute("UPDATE counter SET n = n + 1", &[]).expect("executes");
                    tx.send(&queue, "x").expect("sends");
                    tx.commit().expect("commits");
                    queue.send("y").expect("sends");
                }
            });
        }
    });
    let mut tx = world.store.transaction().expect("begins");
    assert_eq!(tx.query("SELECT n FROM counter", &[]).expect("queries").rows, [[Value::Integer(80)]]);
    assert_eq!(counts(&queue), [160, 0, 0, 0, 0]);
}
