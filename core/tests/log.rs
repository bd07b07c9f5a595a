//! The write-ahead log: it starts over under load, whoever reads; and where a reader will not end, sends are refused before
//! the disk is full, while receiving and settling go on.

mod common;

use common::World;
use onceward::{Delivery, ErrorKind, Queue, Receipt, ReceiveOptions};

const BODY_BYTES: usize = 32 << 10;
/// The least that the option takes.
const LOG_MAX: u64 = 32 << 20;
/// What one more commit may add past the limit, and the pages above it.
const SLACK: u64 = 1 << 20;

fn body() -> Vec<u8> {
    vec![7; BODY_BYTES]
}

fn ack(queue: &Queue, batch: &[Delivery]) {
    let receipts: Vec<Receipt> = batch.iter().map(Delivery::receipt).collect();
    assert_eq!(queue.ack(&receipts).expect("acks"), []);
}

#[test]
fn the_log_stays_bounded_under_steady_load_while_others_read() {
    let world = World::new();
    let queue = world.at_least_once("work");
    let reader = world.sql();
    let mut most = 0;
    for round in 0..60 {
        // A reader is open for a while, at every stage of the log, and ends, and there is none for a while.
        reader.execute_batch("BEGIN").expect("begins");
        reader.query_row("SELECT count(*) FROM onceward_message", [], |row| row.get::<_, i64>(0)).expect("reads");
        for step in 0..10 {
            if step == 6 + round % 3 {
                reader.execute_batch("COMMIT").expect("ends");
            }
            queue.send_many((0..8).map(|_| body())).expect("sends");
            let batch = queue.receive_many(&ReceiveOptions::new().max(100)).expect("receives");
            ack(&queue, &batch);
        }
        most = world.store.stats().expect("statistics").wal_bytes.max(most);
    }
    let written = 60 * 10 * 8 * BODY_BYTES as u64;
    assert!(most < 24 << 20, "the log grew to {most} bytes while {written} were sent");
}

#[test]
fn past_the_limit_of_the_log_sends_are_refused_and_the_rest_goes_on() {
    let world = World::with(|options| options.wal_bytes_max(LOG_MAX));
    let queue = world.at_least_once("work");
    let reader = world.sql();
    reader.execute_batch("BEGIN").expect("begins");
    reader.query_row("SELECT count(*) FROM onceward_message", [], |row| row.get::<_, i64>(0)).expect("reads");
    let mut sent = 0;
    let refused = loop {
        match queue.send(body()) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent * (BODY_BYTES as u64) < 2 * LOG_MAX, "the log has no limit");
    };
    assert_eq!(refused.kind(), ErrorKind::Full, "{refused}");
    assert!(refused.to_string().contains(&LOG_MAX.to_string()), "{refused}");
    assert!(refused.to_string().contains("reader"), "{refused}");
    assert!(sent * (BODY_BYTES as u64) + SLACK > LOG_MAX / 2, "refused after {sent} messages only");

    // What is there can still be worked off.
    let batch = queue.receive_many(&ReceiveOptions::new().max(10)).expect("receives");
    assert_eq!(batch.len(), 10);
    ack(&queue, &batch);
    assert_eq!(queue.stats().expect("statistics").ready, sent - 10);

    // The reader ends, and sends go on at once.
    assert_eq!(queue.send(body()).expect_err("the reader is still there").kind(), ErrorKind::Full);
    reader.execute_batch("COMMIT").expect("ends");
    queue.send(body()).expect("there is room again");
    assert_eq!(queue.stats().expect("statistics").ready, sent - 10 + 1);
}
