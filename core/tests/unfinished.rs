//! Which messages could still be delivered: what is not among them may be forgotten elsewhere.

mod common;

use std::time::Duration;

use common::{HOUR, World, at_once, counts, fails, receipts, send_all, send_in_order, take, take_of, take_one};
use onceward::limits::LIST_MAX;
use onceward::{ErrorKind, Message, MessageId, Nack, QueueOptions, Semantics, Start, Store};

#[test]
fn a_message_is_unfinished_until_it_is_acknowledged() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let sent = send_all(&queue, &["a", "b", "c"]);
    let unfinished = || queue.unfinished(&sent).expect("asks");
    assert_eq!(unfinished(), sent, "ready");
    let held = take(&queue, 2);
    assert_eq!(unfinished(), sent, "in flight");
    queue.ack(&receipts(&held)[1..]).expect("acks");
    assert_eq!(unfinished(), [sent[0], sent[2]]);
    held[0].nack(&at_once()).expect("gives back");
    assert_eq!(unfinished(), [sent[0], sent[2]], "waiting for a retry");
    let again = take(&queue, 2);
    queue.ack(&receipts(&again)).expect("acks");
    assert_eq!(unfinished(), [] as [MessageId; 0]);
}

#[test]
fn delayed_blocked_and_dead_messages_are_unfinished() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let delayed = queue.send(Message::new("later").delay(HOUR)).expect("sends").id;
    let first = send_in_order(&queue, "k", "first");
    let blocked = send_in_order(&queue, "k", "second");
    let dead = queue.send("poison").expect("sends").id;
    let urgent = queue.send(Message::new("urgent").priority(0)).expect("sends").id;
    let all = [delayed, first, blocked, dead, urgent];
    for delivery in take(&queue, 10) {
        match delivery.body() {
            b"poison" => delivery.dead_letter("no use").expect("dead-letters"),
            b"first" => delivery.nack(&Nack::new().delay(HOUR)).expect("gives back"),
            b"second" => {}
            _ => delivery.ack().expect("acks"),
        }
    }
    assert_eq!(counts(&queue), [0, 2, 1, 0, 1], "the second waits for the first");
    let rest = [delayed, first, blocked, dead];
    assert_eq!(queue.unfinished(&all).expect("asks"), rest);
    assert_eq!(queue.redrive_all().expect("redrives"), 1);
    assert_eq!(queue.unfinished(&all).expect("asks"), rest, "redriven");
    take_one(&queue).dead_letter("no use").expect("dead-letters");
    assert_eq!(queue.purge_dead_all().expect("purges"), 1);
    assert_eq!(queue.unfinished(&all).expect("asks"), [delayed, first, blocked]);
}

#[test]
fn cancelled_and_purged_messages_are_finished() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let sent = send_all(&queue, &["a", "b", "c"]);
    assert!(queue.cancel(sent[1]).expect("cancels"));
    assert_eq!(queue.unfinished(&sent).expect("asks"), [sent[0], sent[2]]);
    let held = take(&queue, 1);
    assert_eq!(queue.purge().expect("purges"), 1);
    assert_eq!(queue.unfinished(&sent).expect("asks"), [sent[0]], "what is in flight stays");
    held[0].ack().expect("acks");
    assert_eq!(queue.unfinished(&sent).expect("asks"), [] as [MessageId; 0]);
}

#[test]
fn each_subscription_answers_for_itself() {
    let world = World::new();
    let queue = world.at_least_once_with("q", QueueOptions::new().subscriptions(["a", "b"]));
    let (a, b) = (queue.subscription("a").expect("there"), queue.subscription("b").expect("there"));
    let sent = send_all(&queue, &["1", "2"]);
    a.ack(&receipts(&take_of(&a, 1))).expect("acks");
    assert_eq!(a.unfinished(&sent).expect("asks"), sent[1..]);
    assert_eq!(b.unfinished(&sent).expect("asks"), sent);
    fails(queue.unfinished(&sent), ErrorKind::NotFound, &["default"]);
    let late = queue.subscribe("late", Start::Now).expect("subscribes");
    assert_eq!(late.unfinished(&sent).expect("asks"), [] as [MessageId; 0], "it never gets them");
    queue.unsubscribe("late").expect("unsubscribes");
    fails(late.unfinished(&sent), ErrorKind::NotFound, &["no longer exists"]);
}

#[test]
fn a_message_of_an_at_most_once_queue_is_finished_when_it_is_handed_over() {
    let world = World::new();
    let queue = world.store.queue("lossy", Semantics::AtMostOnce).expect("opens");
    let sent = send_all(&queue, &["a", "b"]);
    take(&queue, 1);
    assert_eq!(queue.unfinished(&sent).expect("asks"), sent[1..]);
}

#[test]
fn an_id_that_no_message_has_had_yet_is_unfinished() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let sent = send_all(&queue, &["a", "b"]);
    queue.ack(&receipts(&take(&queue, 2))).expect("acks");
    let next = MessageId::new(sent[1].get() + 1).expect("an id");
    assert_eq!(queue.unfinished(&[sent[0], next, sent[1]]).expect("asks"), [next]);
    assert_eq!(send_all(&queue, &["c"]), [next]);
    assert_eq!(queue.unfinished(&[next]).expect("asks"), [next]);
}

#[test]
fn another_queues_messages_and_too_many_are_refused() {
    let world = World::new();
    let (queue, other) = (world.at_least_once("q"), world.at_least_once("other"));
    let (sent, foreign) = (send_all(&queue, &["a"])[0], send_all(&other, &["b"])[0]);
    fails(queue.unfinished(&[sent, foreign]), ErrorKind::Invalid, &["another queue", "other"]);
    let nowhere = MessageId::new(30_000 << 38 | 1).expect("an id");
    fails(queue.unfinished(&[nowhere]), ErrorKind::Invalid, &["no queue of this file"]);
    assert_eq!(queue.unfinished(&vec![sent; LIST_MAX]).expect("at the limit").len(), LIST_MAX);
    fails(queue.unfinished(&vec![sent; LIST_MAX + 1]), ErrorKind::Invalid, &["10001", "10000"]);
    assert_eq!(queue.unfinished(&[]).expect("asks"), [] as [MessageId; 0]);
    world.store.close().expect("closes");
    fails(queue.unfinished(&[sent]), ErrorKind::Closed, &["closed"]);
}

#[test]
fn another_stores_acknowledgements_count_too() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let sent = send_all(&queue, &["a"]);
    let other = world.another();
    other
        .open_queue("q")
        .expect("opens")
        .receive(Duration::ZERO)
        .expect("receives")
        .expect("sent")
        .ack()
        .expect("acks");
    assert_eq!(queue.unfinished(&sent).expect("asks"), [] as [MessageId; 0]);
}

#[test]
fn in_memory_nothing_is_said_while_a_transaction_is_open() {
    let store = Store::open(":memory:").expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    let sent = send_all(&queue, &["a"]);
    let delivery = take_one(&queue);
    let mut tx = store.transaction().expect("begins");
    tx.ack(&queue.default_subscription().expect("there"), &[delivery.receipt()]).expect("acks");
    fails(queue.unfinished(&sent), ErrorKind::Busy, &["transaction"]);
    tx.rollback();
    assert_eq!(queue.unfinished(&sent).expect("asks"), sent);
}
