//! The asynchronous calls, on a tokio runtime.
#![cfg(feature = "tokio")]

use std::future::Future;
use std::time::Duration;

use onceward::{ErrorKind, Message, Nack, ReceiveOptions, Semantics, Store};

const LONG: Duration = Duration::from_secs(30);

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_concurrent_sends_and_receives_lose_and_repeat_nothing() {
    let folder = folder();
    let store = Store::open(folder.path().join("app.db")).expect("opens");
    let queue = store.queue("q", Semantics::ExactlyOnce).expect("a queue");
    let sends: Vec<_> = (0..2_000u32)
        .map(|n| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.send_async(Message::new(n.to_le_bytes()).key(n.to_string())).await })
        })
        .collect();
    let receivers: Vec<_> = (0..4)
        .map(|_| {
            let subscription = queue.default_subscription().expect("default");
            tokio::spawn(async move {
                let mut bodies = Vec::new();
                let options = ReceiveOptions::new().max(50).wait(Duration::from_secs(3));
                loop {
                    let batch = subscription.receive_many_async(&options).await.expect("receives");
                    if batch.is_empty() {
                        return bodies;
                    }
                    bodies.extend(batch.iter().map(|delivery| delivery.body().to_vec()));
                    let receipts: Vec<_> = batch.iter().map(onceward::Delivery::receipt).collect();
                    assert!(subscription.ack_async(&receipts).await.expect("acks").is_empty());
                }
            })
        })
        .collect();
    for send in sends {
        assert!(!send.await.expect("runs").expect("sends").duplicate);
    }
    let mut seen: Vec<u32> = Vec::new();
    for receiver in receivers {
        for body in receiver.await.expect("runs") {
            seen.push(u32::from_le_bytes(body.try_into().expect("four bytes")));
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..2_000).collect::<Vec<_>>());
    tokio::task::spawn_blocking(move || store.close()).await.expect("runs").expect("closes");
}

#[tokio::test]
async fn a_waiting_receive_wakes_for_a_send() {
    let folder = folder();
    let store = Store::open(folder.path().join("app.db")).expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("a queue");
    let receiver = tokio::spawn({
        let queue = queue.clone();
        async move { queue.receive_async(LONG).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    queue.send_async("hello").await.expect("sends");
    let delivery = receiver.await.expect("runs").expect("receives").expect("a message");
    assert_eq!(delivery.body(), b"hello");
}

#[tokio::test]
async fn a_dropped_receive_gives_its_lease_back() {
    let folder = folder();
    let store = Store::open(folder.path().join("app.db")).expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("a queue");
    for round in 0..50u64 {
        let sent = queue.send_async("x").await.expect("sends");
        let abandoned = tokio::spawn({
            let queue = queue.clone();
            async move { queue.receive_async(LONG).await.map(drop) }
        });
        tokio::time::sleep(Duration::from_micros(round * 20)).await;
        abandoned.abort();
        let finished = abandoned.await.is_ok();
        if finished {
            // It was received and dropped by the task itself: only the lease's end brings it back.
            let stats = queue.stats().expect("stats");
            assert_eq!(stats.in_flight, 1);
            queue.default_subscription().expect("default");
        } else {
            let delivery = queue.receive_async(LONG).await.expect("receives").expect("given back");
            assert_eq!((delivery.id(), delivery.attempt()), (sent.id, 1));
            delivery.ack().expect("acks");
            continue;
        }
        break;
    }
}

#[tokio::test]
async fn settles_and_errors_are_those_of_the_blocking_calls() {
    let folder = folder();
    let store = Store::open(folder.path().join("app.db")).expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("a queue");
    let own = queue.default_subscription().expect("default");
    queue.send_many_async(["a", "b", "c", "d"]).await.expect("sends");
    let batch = own.receive_many_async(&ReceiveOptions::new().max(4)).await.expect("receives");
    let receipts: Vec<_> = batch.iter().map(onceward::Delivery::receipt).collect();
    assert!(own.extend_async(&receipts, LONG).await.expect("extends").is_empty());
    assert!(own.ack_async(&receipts[..1]).await.expect("acks").is_empty());
    assert!(own.nack_async(&receipts[1..2], &Nack::new().delay(LONG)).await.expect("nacks").is_empty());
    assert!(own.dead_letter_async(&receipts[2..3], "no use").await.expect("dead").is_empty());
    assert!(own.release_async(&receipts[3..]).await.expect("releases").is_empty());
    let stats = own.stats().expect("stats");
    assert_eq!((stats.ready, stats.delayed, stats.dead, stats.in_flight), (1, 1, 1, 0));
    assert_eq!(own.ack_async(&receipts[1..2]).await.expect("late").len(), 1);
    let error = queue.send_async(Message::new("x").priority(10)).await.expect_err("out of range");
    assert_eq!((error.kind(), error.message()), (ErrorKind::Invalid, "priority is 10; the limit is 9"));
    store.close().expect("closes");
    assert_eq!(queue.send_async("x").await.expect_err("closed").kind(), ErrorKind::Closed);
    assert_eq!(own.receive_async(LONG).await.expect_err("closed").kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn closing_ends_a_waiting_receive() {
    let folder = folder();
    let store = Store::open(folder.path().join("app.db")).expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("a queue");
    let receiver = tokio::spawn(async move { queue.receive_async(LONG).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    tokio::task::spawn_blocking(move || store.close()).await.expect("runs").expect("closes");
    assert_eq!(receiver.await.expect("runs").expect_err("closed").kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn an_executor_that_panics_when_it_is_woken_takes_nobody_elses_answer_with_it() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: std::sync::Arc<Self>) {
            panic!("on purpose");
        }
    }
    let folder = folder();
    let store = Store::open(folder.path().join("app.db")).expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("a queue");
    // Both are sent before anybody runs them: the first one's panic comes before the second one's answer.
    let mut first = Box::pin(queue.send_async(Message::new("first")));
    let waker = std::task::Waker::from(std::sync::Arc::new(Panics));
    assert!(first.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    let second = tokio::time::timeout(LONG, queue.send_async(Message::new("second"))).await.expect("is answered");
    assert!(!second.expect("sends").duplicate);
    assert!(!first.await.expect("sends").duplicate);
    for _ in 0..3 {
        let next = tokio::time::timeout(LONG, queue.send_async(Message::new("next"))).await.expect("is answered");
        assert!(!next.expect("sends").duplicate);
    }
    assert_eq!(queue.stats().expect("stats").ready, 5);
}
