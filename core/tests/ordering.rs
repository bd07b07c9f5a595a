//! Ordering keys: per key, messages are handed over in commit order, one batch at a time, across retries; and a key that
//! waits holds nobody else up.

mod common;

use common::{
    HOUR, MINUTE, World, at_once, bodies, body, counts, fails, receipts, send_all, send_in_order, take, take_one, taken,
};
use onceward::{
    Backoff, ConsumeOptions, ErrorKind, Message, Nack, Queue, QueueOptions, ReceiveOptions, Semantics, Start, Store,
};
use std::time::Duration;

fn line(queue: &Queue, key: &str, bodies: &[&str]) {
    for body in bodies {
        send_in_order(queue, key, body);
    }
}

#[test]
fn one_batch_takes_a_key_in_commit_order() {
    let world = World::new();
    let queue = world.at_least_once("q");
    line(&queue, "a", &["a1", "a2", "a3"]);
    line(&queue, "b", &["b1"]);
    assert_eq!(taken(&queue, 10), ["a1", "a2", "a3", "b1"]);
}

#[test]
fn at_most_one_batch_of_a_key_is_in_flight() {
    let world = World::new();
    let queue = world.at_least_once("q");
    line(&queue, "a", &["a1", "a2", "a3"]);
    let first = take(&queue, 1);
    assert_eq!(bodies(&first), ["a1"]);
    assert!(take(&queue, 10).is_empty());
    queue.ack(&receipts(&first)).expect("acks");
    assert_eq!(taken(&queue, 10), ["a2", "a3"]);
}

#[test]
fn a_blocked_key_never_blocks_others() {
    let world = World::new();
    let queue = world.at_least_once("q");
    line(&queue, "a", &["a1", "a2", "a3"]);
    line(&queue, "b", &["b1", "b2"]);
    send_all(&queue, &["plain"]);
    let a = take(&queue, 1);
    assert_eq!(bodies(&a), ["a1"]);
    assert_eq!(taken(&queue, 10), ["b1", "b2", "plain"]);
    assert_eq!(counts(&queue), [0, 0, 2, 4, 0]);
}

#[test]
fn order_is_kept_across_a_nack() {
    let world = World::new();
    let queue = world.at_least_once("q");
    line(&queue, "a", &["a1", "a2", "a3"]);
    let batch = take(&queue, 3);
    let held = receipts(&batch);
    queue.nack(&held[..1], &at_once()).expect("nacks");
    assert_eq!(queue.ack(&held[1..]).expect("answers"), held[1..], "what comes after a retry waits for it");
    let again = take(&queue, 3);
    assert_eq!(bodies(&again)[0], "a1");
    assert_eq!(again[0].attempt(), 2);
    for delivery in again {
        delivery.ack().expect("acks");
    }
    for expected in ["a2", "a3"].into_iter().skip(counts(&queue)[3] as usize) {
        if counts(&queue)[0] > 0 {
            let next = take(&queue, 1);
            assert_eq!(bodies(&next), [expected]);
            queue.ack(&receipts(&next)).expect("acks");
        }
    }
    assert_eq!(counts(&queue), [0; 5]);
}

#[test]
fn a_revoked_message_has_not_used_an_attempt() {
    let world = World::new();
    let queue = world.at_least_once("q");
    line(&queue, "a", &["a1", "a2"]);
    let batch = take(&queue, 2);
    queue.nack(&receipts(&batch[..1]), &at_once()).expect("nacks");
    let again = take(&queue, 2);
    let attempts: Vec<(String, u32)> = again.iter().map(|delivery| (body(delivery), delivery.attempt())).collect();
    assert_eq!(attempts, [("a1".to_owned(), 2), ("a2".to_owned(), 1)]);
}

#[test]
fn order_is_kept_across_a_release() {
    let world = World::new();
    let queue = world.at_least_once("q");
    line(&queue, "a", &["a1", "a2"]);
    let batch = take(&queue, 2);
    queue.release(&receipts(&batch[..1])).expect("releases");
    assert_eq!(taken(&queue, 5), ["a1", "a2"]);
}

#[test]
fn order_is_kept_across_the_end_of_a_lease() {
    let world = World::new();
    let queue = world.at_least_once("q");
    line(&queue, "a", &["a1", "a2", "a3"]);
    take(&queue, 3);
    world.clock.advance(MINUTE);
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let batch = take(&queue, 3);
        assert!(!batch.is_empty(), "after {seen:?} there is more");
        seen.extend(bodies(&batch));
        queue.ack(&receipts(&batch)).expect("acks");
    }
    assert_eq!(seen, ["a1", "a2", "a3"]);
}

#[test]
fn extending_a_later_message_does_not_let_two_batches_of_a_key_be_in_flight() {
    let world = World::new();
    let queue = world.at_least_once("q");
    line(&queue, "a", &["a1", "a2"]);
    let held = receipts(&take(&queue, 2));
    queue.extend(&held[1..], HOUR).expect("extends");
    world.clock.advance(MINUTE);
    let again = take(&queue, 5);
    assert_eq!(bodies(&again)[0], "a1");
    assert_eq!(
        queue.ack(&held[1..]).expect("answers"),
        held[1..],
        "a2 must not be settled before a1, which is retried"
    );
}

#[test]
fn a_dead_letter_lets_the_next_of_its_key_go_on() {
    let world = World::new();
    let queue = world.at_least_once("q");
    line(&queue, "a", &["a1", "a2"]);
    take(&queue, 1).remove(0).dead_letter("no use").expect("dead-letters");
    assert_eq!(taken(&queue, 5), ["a2"]);
}

#[test]
fn a_redriven_message_goes_before_those_of_its_key_that_wait() {
    let world = World::new();
    let queue = world.at_least_once("q");
    line(&queue, "a", &["a1", "a2", "a3"]);
    take(&queue, 1).remove(0).dead_letter("no use").expect("dead-letters");
    let second = take_first(&queue);
    assert_eq!(queue.redrive_all().expect("redrives"), 1);
    assert!(take(&queue, 5).is_empty(), "a2 is in flight, so a1 waits");
    second.ack().expect("acks");
    assert_eq!(taken(&queue, 5)[0], "a1");
}

fn take_first(queue: &Queue) -> onceward::Delivery {
    take(queue, 1).pop().expect("a message is there")
}

#[test]
fn a_redriven_message_does_not_wait_for_ever_when_the_one_in_flight_comes_back() {
    for give_back in ["nack", "release", "expiry", "close"] {
        let world = World::new();
        let queue = world.at_least_once("q");
        line(&queue, "a", &["a1", "a2"]);
        take_first(&queue).dead_letter("no use").expect("dead-letters");
        let other = world.another();
        let second = take_first(&other.open_queue("q").expect("opens"));
        assert_eq!(queue.redrive_all().expect("redrives"), 1);
        match give_back {
            "nack" => second.nack(&at_once()).expect("nacks"),
            "release" => second.release().expect("releases"),
            "expiry" => world.clock.advance(MINUTE),
            _ => other.close().expect("closes"),
        }
        let mut seen = Vec::new();
        for _ in 0..4 {
            for delivery in take(&queue, 5) {
                seen.push(body(&delivery));
                delivery.ack().expect("acks");
            }
        }
        assert_eq!(seen, ["a1", "a2"], "after {give_back}");
    }
}

#[test]
fn a_cancelled_head_lets_the_next_go_on() {
    let world = World::new();
    let queue = world.at_least_once("q");
    line(&queue, "a", &["a1", "a2"]);
    let first = take_first(&queue);
    let id = first.id();
    fails(queue.cancel(id), ErrorKind::Conflict, &[&id.to_string()]);
    first.nack(&Nack::new().delay(HOUR)).expect("nacks");
    assert!(take(&queue, 5).is_empty(), "a2 waits for the retry of a1");
    assert!(queue.cancel(id).expect("cancels"));
    assert_eq!(taken(&queue, 5), ["a2"]);
}

#[test]
fn a_delayed_head_holds_its_key_up_and_no_other() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send(Message::new("a1").ordering_key("a").delay(MINUTE)).expect("sends");
    line(&queue, "a", &["a2"]);
    line(&queue, "b", &["b1"]);
    let b = take_one(&queue);
    assert_eq!(body(&b), "b1");
    assert_eq!(counts(&queue), [0, 1, 1, 1, 0]);
    b.ack().expect("acks");
    world.clock.advance(MINUTE);
    assert_eq!(taken(&queue, 5), ["a1", "a2"]);
}

#[test]
fn waiting_in_line_does_not_shorten_a_delay() {
    let world = World::new();
    let queue = world.at_least_once("q");
    line(&queue, "a", &["a1"]);
    queue.send(Message::new("a2").ordering_key("a").delay(HOUR)).expect("sends");
    let first = take_first(&queue);
    assert!(take(&queue, 5).is_empty());
    first.ack().expect("acks");
    assert!(take(&queue, 5).is_empty(), "a2 is to be offered in an hour");
    world.clock.advance(HOUR);
    assert_eq!(taken(&queue, 5), ["a2"]);
}

#[test]
fn waiting_in_line_does_not_shorten_the_wait_for_a_retry() {
    let world = World::new();
    let queue = world.at_least_once("q");
    line(&queue, "a", &["a1", "a2"]);
    let mut batch = take(&queue, 2);
    let second = batch.pop().expect("a2");
    second.nack(&Nack::new().delay(HOUR)).expect("nacks");
    batch.remove(0).ack().expect("acks");
    assert!(take(&queue, 5).is_empty(), "a2 failed and is to be offered again in an hour");
    world.clock.advance(HOUR);
    assert_eq!(taken(&queue, 5), ["a2"]);
}

#[test]
fn an_expired_head_lets_the_next_go_on() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send(Message::new("a1").ordering_key("a").time_to_live(MINUTE)).expect("sends");
    line(&queue, "a", &["a2"]);
    let first = take_first(&queue);
    first.nack(&Nack::new().delay(HOUR)).expect("nacks");
    assert!(take(&queue, 5).is_empty());
    world.clock.advance(2 * HOUR);
    assert_eq!(taken(&queue, 5), ["a2"], "one receive is enough");
    assert_eq!(counts(&queue), [0, 0, 0, 1, 1]);
}

#[test]
fn a_head_that_used_up_its_attempts_lets_the_next_go_on_in_the_same_receive() {
    let world = World::new();
    let queue = world.at_least_once_with("q", QueueOptions::new().attempts_max(1));
    line(&queue, "a", &["a1", "a2"]);
    take_first(&queue);
    assert!(take(&queue, 5).is_empty());
    world.clock.advance(MINUTE);
    assert_eq!(taken(&queue, 5), ["a2"]);
    assert_eq!(counts(&queue), [0, 0, 0, 1, 1]);
}

#[test]
fn a_consumer_hands_nothing_out_that_must_wait_for_a_retry() {
    let world = World::new();
    let queue = world.at_least_once_with("q", QueueOptions::new().backoff(Backoff::constant(Duration::ZERO)));
    line(&queue, "a", &["a1", "a2", "a3"]);
    let mut seen = Vec::new();
    for delivery in queue.consume(ConsumeOptions::new().wait(Duration::ZERO)).expect("consumes") {
        let delivery = delivery.expect("a delivery");
        seen.push(body(&delivery));
        if seen.len() == 1 {
            delivery.nack(&Nack::new()).expect("nacks");
        } else {
            delivery.ack().expect("acks");
        }
    }
    assert_eq!(seen, ["a1", "a1", "a2", "a3"]);
    assert_eq!(counts(&queue), [0; 5]);
}

#[test]
fn order_is_kept_under_every_promise() {
    let world = World::new();
    for semantics in Semantics::ALL {
        let queue = world.store.queue(semantics.name(), semantics).expect("opens");
        for n in 0..9 {
            let message = Message::new(format!("{n}")).key(format!("k{n}")).ordering_key(format!("o{}", n % 3));
            queue.send(message).expect("sends");
        }
        let mut seen = Vec::new();
        for _ in 0..20 {
            for delivery in take(&queue, 2) {
                seen.push(body(&delivery));
                delivery.ack().expect("acks");
            }
        }
        for start in 0..3 {
            let of_key: Vec<&String> =
                seen.iter().filter(|body| body.parse::<u32>().expect("a number") % 3 == start).collect();
            assert_eq!(of_key, [&format!("{start}"), &format!("{}", start + 3), &format!("{}", start + 6)]);
        }
    }
}

#[test]
fn each_subscription_keeps_its_own_order() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let other = queue.subscribe("other", Start::Now).expect("subscribes");
    line(&queue, "a", &["a1", "a2"]);
    let first = take_first(&queue);
    let all = other.receive_many(&ReceiveOptions::new().max(5)).expect("receives");
    assert_eq!(bodies(&all), ["a1", "a2"]);
    first.ack().expect("acks");
    assert_eq!(body(&take_one(&queue)), "a2");
}

#[test]
fn an_ordering_key_and_a_priority_exclude_each_other() {
    let store = Store::open(":memory:").expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    fails(queue.send(Message::new("x").ordering_key("a").priority(2)), ErrorKind::Invalid, &["priority 2"]);
    queue.send(Message::new("x").ordering_key("a").priority(4)).expect("the default priority says nothing");
}

#[test]
fn revoking_one_message_leaves_its_neighbours_attempts_alone() {
    let world = World::new();
    let queue = world.at_least_once("q");
    line(&queue, "a", &["a1"]);
    send_all(&queue, &["b"]);
    line(&queue, "a", &["a2"]);
    send_all(&queue, &["c"]);
    let held = receipts(&take(&queue, 4));
    queue.nack(&held[..1], &Nack::new().delay(HOUR)).expect("nacks");
    world.clock.advance(MINUTE);
    let mut again = Vec::new();
    for _ in 0..4 {
        again.extend(take(&queue, 4).iter().map(|delivery| (body(delivery), delivery.attempt())));
    }
    assert_eq!(again, [("b".to_owned(), 2), ("c".to_owned(), 2)]);
}
