//! The shortest way through each promise.

use onceward::{ConsumeOptions, Message, QueueOptions, ReceiveOptions, Semantics, Store};
use std::time::Duration;

#[test]
fn a_message_goes_in_and_comes_out_under_every_promise() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path().join("app.db")).expect("opens");
    for semantics in Semantics::ALL {
        let queue = store.queue(semantics.name(), semantics).expect("a queue");
        for n in 0..250 {
            let sent = queue.send(Message::new(format!("body {n}")).key(format!("k{n}"))).expect("sends");
            assert!(!sent.duplicate);
        }
        assert!(queue.send(Message::new("body 3").key("k3")).expect("sends").duplicate);
        assert_eq!(queue.stats().expect("stats").ready, 250);
        let mut seen = Vec::new();
        for delivery in queue.consume(ConsumeOptions::new().wait(Duration::ZERO)).expect("consumes") {
            let delivery = delivery.expect("a delivery");
            seen.push(String::from_utf8(delivery.body().to_vec()).expect("text"));
            delivery.ack().expect("acks");
        }
        assert_eq!(seen, (0..250).map(|n| format!("body {n}")).collect::<Vec<_>>());
        let stats = queue.stats().expect("stats");
        assert_eq!((stats.ready, stats.in_flight, stats.dead), (0, 0, 0));
    }
    store.close().expect("closes");
}

#[test]
fn batches_and_leases_and_nacks() {
    let store = Store::open(":memory:").expect("opens");
    let queue = store.queue_with("q", Semantics::AtLeastOnce, QueueOptions::new().attempts_max(2)).expect("a queue");
    queue.send_many((0..10).map(|n| Message::new(vec![n]))).expect("sends");
    let batch = queue.receive_many(&ReceiveOptions::new().max(100)).expect("receives");
    assert_eq!(batch.len(), 10);
    assert_eq!(queue.stats().expect("stats").in_flight, 10);
    let receipts: Vec<_> = batch.iter().map(onceward::Delivery::receipt).collect();
    assert!(queue.nack(&receipts[3..5], &onceward::Nack::new().delay(Duration::ZERO)).expect("nacks").is_empty());
    assert!(queue.ack(&receipts[..3]).expect("acks").is_empty());
    assert!(queue.ack(&receipts[..3]).expect("the same answer").is_empty());
    assert_eq!(queue.ack(&receipts[2..5]).expect("late").len(), 2);
    let again = queue.receive_many(&ReceiveOptions::new().max(100)).expect("receives");
    assert_eq!(again.iter().map(onceward::Delivery::attempt).collect::<Vec<_>>(), [2, 2]);
    for delivery in again {
        delivery.nack(&onceward::Nack::new().error("no luck")).expect("nacks");
    }
    let stats = queue.stats().expect("stats");
    assert_eq!((stats.ready, stats.in_flight, stats.dead), (0, 5, 2));
    assert_eq!(queue.redrive_all().expect("redrives"), 2);
    assert_eq!(queue.stats().expect("stats").ready, 2);
}
