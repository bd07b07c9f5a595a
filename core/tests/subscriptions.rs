//! Subscriptions: each sees every message at its own pace, and a message stays until the last of them is done with it.

mod common;

use common::{World, at_once, bodies, counts, counts_of, fails, receipts, send_all, take, take_of, take_one, taken};
use onceward::{ErrorKind, Message, QueueOptions, Semantics, Start, Subscription};

fn named(world: &World, names: &[&str]) -> Vec<Subscription> {
    let queue = world.at_least_once_with("q", QueueOptions::new().subscriptions(names.iter().copied()));
    names.iter().map(|name| queue.subscription(name).expect("the subscription is there")).collect()
}

#[test]
fn every_subscription_sees_every_message() {
    let world = World::new();
    let both = named(&world, &["audit", "billing"]);
    send_all(both[0].queue(), &["a", "b"]);
    for subscription in &both {
        assert_eq!(bodies(&take_of(subscription, 10)), ["a", "b"]);
        assert!(take_of(subscription, 10).is_empty());
    }
}

#[test]
fn a_queue_created_with_names_has_no_default_subscription() {
    let world = World::new();
    let both = named(&world, &["billing", "audit"]);
    let queue = both[0].queue();
    assert_eq!(queue.subscriptions().expect("lists"), ["audit", "billing"]);
    fails(queue.receive(std::time::Duration::ZERO), ErrorKind::NotFound, &["default", "audit, billing"]);
    fails(queue.subscription("nobody"), ErrorKind::NotFound, &["nobody", "audit, billing"]);
}

#[test]
fn a_row_lives_until_the_last_subscription_is_done_with_it() {
    let world = World::new();
    let all = named(&world, &["a", "b", "c"]);
    send_all(all[0].queue(), &["1", "2", "3"]);
    let held: Vec<_> = all.iter().map(|subscription| receipts(&take_of(subscription, 3))).collect();
    all[0].ack(&held[0]).expect("acks");
    all[1].ack(&held[1][1..]).expect("acks");
    assert_eq!(world.rows(), 3);
    all[2].ack(&held[2][..2]).expect("acks");
    assert_eq!(world.rows(), 2, "the second is done everywhere");
    all[1].ack(&held[1][..1]).expect("acks");
    assert_eq!(world.rows(), 1);
    all[2].dead_letter(&held[2][2..], "no use").expect("dead-letters");
    assert_eq!(world.rows(), 1, "a dead letter is kept");
    all[2].purge_dead_all().expect("purges");
    assert_eq!(world.rows(), 0);
}

#[test]
fn at_most_once_holds_for_each_subscription() {
    let world = World::new();
    let options = QueueOptions::new().subscriptions(["a", "b"]);
    let queue = world.store.queue_with("lossy", Semantics::AtMostOnce, options).expect("opens");
    send_all(&queue, &["x"]);
    assert_eq!(bodies(&take_of(&queue.subscription("a").expect("there"), 5)), ["x"]);
    assert_eq!(world.rows(), 1);
    assert_eq!(bodies(&take_of(&queue.subscription("b").expect("there"), 5)), ["x"]);
    assert_eq!(world.rows(), 0);
}

#[test]
fn a_subscription_from_now_on_sees_only_what_is_sent_later() {
    let world = World::new();
    let queue = world.at_least_once("q");
    send_all(&queue, &["before"]);
    let late = queue.subscribe("late", Start::Now).expect("subscribes");
    assert_eq!(counts_of(&late), [0; 5]);
    queue.send(Message::new("another priority").priority(1)).expect("sends");
    send_all(&queue, &["after"]);
    assert_eq!(bodies(&take_of(&late, 10)), ["another priority", "after"]);
}

#[test]
fn a_subscription_from_the_oldest_on_sees_what_is_still_there() {
    let world = World::new();
    let queue = world.at_least_once("q");
    send_all(&queue, &["done", "in flight", "dead", "cancelled", "waiting"]);
    let held = receipts(&take(&queue, 3));
    queue.ack(&held[..1]).expect("acks");
    queue.dead_letter(&held[2..], "no use").expect("dead-letters");
    let cancelled = queue.peek(1).expect("peeks")[0].id;
    assert!(queue.cancel(cancelled).expect("cancels"));
    let late = queue.subscribe("late", Start::Oldest).expect("subscribes");
    assert_eq!(counts_of(&late), [3, 0, 0, 0, 0]);
    assert_eq!(bodies(&take_of(&late, 10)), ["in flight", "dead", "waiting"]);
    assert_eq!(counts_of(&late), [0, 0, 0, 3, 0]);
}

#[test]
fn subscribing_again_is_the_same_subscription() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let first = queue.subscribe("s", Start::Now).expect("subscribes");
    send_all(&queue, &["x"]);
    let again = queue.subscribe("s", Start::Now).expect("subscribes");
    assert_eq!(take_of(&first, 5).len(), 1);
    assert_eq!(counts_of(&again), [0, 0, 0, 1, 0]);
}

#[test]
fn dead_letters_and_their_redrive_are_each_subscriptions_own() {
    let world = World::new();
    let both = named(&world, &["a", "b"]);
    let ids = send_all(both[0].queue(), &["x"]);
    for subscription in &both {
        subscription.dead_letter(&receipts(&take_of(subscription, 1)), subscription.name()).expect("dead-letters");
    }
    for subscription in &both {
        assert_eq!(subscription.dead_letters(None, 5).expect("lists")[0].reason, subscription.name());
    }
    assert_eq!(both[0].redrive(&ids).expect("redrives"), 1);
    assert_eq!((counts_of(&both[0]), counts_of(&both[1])), ([1, 0, 0, 0, 0], [0, 0, 0, 0, 1]));
    take_of(&both[0], 1)[0].ack().expect("acks");
    assert_eq!(world.rows(), 1);
    assert_eq!(both[1].purge_dead(&ids).expect("purges"), 1);
    assert_eq!(world.rows(), 0);
}

#[test]
fn ending_a_subscription_lets_its_messages_go() {
    let world = World::new();
    let both = named(&world, &["slow", "quick"]);
    let queue = both[0].queue();
    send_all(queue, &["a", "b", "c"]);
    both[1].ack(&receipts(&take_of(&both[1], 2))).expect("acks");
    take_of(&both[0], 1)[0].dead_letter("no use").expect("dead-letters");
    assert_eq!(world.rows(), 3);
    queue.unsubscribe("slow").expect("unsubscribes");
    assert_eq!(world.rows(), 1);
    assert_eq!(queue.subscriptions().expect("lists"), ["quick"]);
    assert_eq!(bodies(&take_of(&both[1], 5)), ["c"]);
    let gone = |outcome: onceward::Result<Vec<onceward::Receipt>>| fails(outcome, ErrorKind::NotFound, &[]);
    gone(both[0].receive_many(&onceward::ReceiveOptions::new()).map(|_| Vec::new()));
    gone(both[0].ack(&[]));
    fails(both[0].stats(), ErrorKind::NotFound, &[]);
    fails(queue.unsubscribe("slow"), ErrorKind::NotFound, &["slow"]);
}

#[test]
fn the_last_subscription_cannot_be_ended() {
    let world = World::new();
    let queue = world.at_least_once("q");
    fails(queue.unsubscribe("default"), ErrorKind::Invalid, &["default", "last"]);
    send_all(&queue, &["x"]);
    assert_eq!(taken(&queue, 1), ["x"]);
}

#[test]
fn an_ended_subscriptions_handle_never_reaches_a_new_one() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let ended = queue.subscribe("s", Start::Now).expect("subscribes");
    send_all(&queue, &["x"]);
    let stale = receipts(&take_of(&ended, 1));
    queue.unsubscribe("s").expect("unsubscribes");
    // The next subscriptions, of this queue and of another, must not take over its number.
    let other = world.at_least_once("other");
    send_all(&other, &["not yours"]);
    let anew = queue.subscribe("s", Start::Oldest).expect("subscribes");
    let current = take_of(&anew, 1);
    fails(ended.receive(std::time::Duration::ZERO), ErrorKind::NotFound, &[]);
    fails(ended.ack(&stale), ErrorKind::NotFound, &[]);
    assert_eq!(counts(&other), [1, 0, 0, 0, 0]);
    assert_eq!(counts_of(&anew), [0, 0, 0, 1, 0]);
    current[0].ack().expect("acks");
}

#[test]
fn a_receipt_of_an_ended_subscription_settles_nothing_of_its_successor() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let ended = queue.subscribe("s", Start::Now).expect("subscribes");
    send_all(&queue, &["x"]);
    let stale = receipts(&take_of(&ended, 1));
    queue.unsubscribe("s").expect("unsubscribes");
    let anew = queue.subscribe("s", Start::Oldest).expect("subscribes");
    let current = take_of(&anew, 1);
    assert_eq!(current[0].id(), stale[0].message);
    assert_eq!(anew.ack(&stale).expect("answers"), stale, "the token is of another delivery");
    current[0].ack().expect("acks");
}

#[test]
fn the_queues_own_calls_follow_its_default_subscription() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.subscribe("spare", Start::Now).expect("subscribes");
    send_all(&queue, &["x"]);
    take_one(&queue).nack(&at_once()).expect("nacks");
    queue.unsubscribe("default").expect("unsubscribes");
    fails(queue.stats(), ErrorKind::NotFound, &[]);
    queue.subscribe("default", Start::Oldest).expect("subscribes");
    assert_eq!(taken(&queue, 5), ["x"]);
}

#[test]
fn cancelling_concerns_every_subscription() {
    let world = World::new();
    let both = named(&world, &["a", "b"]);
    let queue = both[0].queue();
    let ids = send_all(queue, &["x", "y"]);
    let held = take_of(&both[0], 2);
    fails(queue.cancel(ids[0]), ErrorKind::Conflict, &[&ids[0].to_string()]);
    held[0].ack().expect("acks");
    assert!(queue.cancel(ids[0]).expect("cancels"), "b still had it to come");
    assert!(!queue.cancel(ids[0]).expect("answers"));
    assert_eq!(bodies(&take_of(&both[1], 5)), ["y"]);
    assert_eq!(world.rows(), 1);
}

#[test]
fn purging_concerns_every_subscription_and_spares_what_is_in_flight() {
    let world = World::new();
    let both = named(&world, &["a", "b"]);
    let queue = both[0].queue();
    send_all(queue, &["x", "y", "z"]);
    let held = take_of(&both[0], 1);
    assert_eq!(queue.purge().expect("purges"), 5, "two of a, three of b");
    assert_eq!((counts_of(&both[0]), counts_of(&both[1])), ([0, 0, 0, 1, 0], [0; 5]));
    assert_eq!(world.rows(), 1);
    held[0].ack().expect("acks");
    assert_eq!(world.rows(), 0);
}
