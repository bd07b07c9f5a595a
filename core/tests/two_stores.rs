//! Two stores on one file: each goes by what the other has changed, from its very next call.

mod common;

use common::{HOUR, MINUTE, START, World, bodies, counts, send_in_order, take, take_of, take_one, taken};
use onceward::{MessageId, Queue, QueueOptions, Semantics, Start, Store};

/// The same queue through two stores, each of which has sent and received since the other one last did.
fn both(world: &World, other: &Store) -> [Queue; 2] {
    let ours = world.at_least_once("jobs");
    let theirs = other.queue("jobs", Semantics::AtLeastOnce).expect("the queue opens");
    for queue in [&ours, &theirs, &ours, &theirs] {
        queue.send("earlier").expect("sends");
        take_one(queue).ack().expect("acknowledges");
    }
    [ours, theirs]
}

#[test]
fn settings_that_one_changes_are_those_that_the_other_delivers_by() {
    let world = World::new();
    let other = world.another();
    let [ours, theirs] = both(&world, &other);
    for lease in [MINUTE, HOUR] {
        let options = QueueOptions::new().lease(lease).attempts_max(1);
        other.queue_with("jobs", Semantics::AtLeastOnce, options).expect("the settings change");
        ours.send("a").expect("sends");
        let delivery = take_one(&ours);
        assert_eq!(delivery.lease_expires_at(), START.plus(lease));
        delivery.nack(&common::at_once()).expect("gives it back");
        assert_eq!(taken(&theirs, 9), [""; 0], "its only attempt is over");
    }
    ours.pause().expect("pauses");
    theirs.send("b").expect("sends");
    assert_eq!(taken(&theirs, 9), [""; 0]);
    theirs.resume().expect("goes on");
    assert_eq!(taken(&ours, 9), ["b"]);
}

#[test]
fn a_subscription_that_one_adds_gets_what_the_other_sends() {
    let world = World::new();
    let other = world.another();
    let [ours, theirs] = both(&world, &other);
    let audit = theirs.subscribe("audit", Start::Now).expect("subscribes");
    ours.send("a").expect("sends");
    take_one(&ours).ack().expect("acknowledges");
    assert_eq!(bodies(&take_of(&audit, 9)), ["a"], "the first one's acknowledgement did not end it for both");
    ours.unsubscribe("audit").expect("ends");
    theirs.send("b").expect("sends");
    take_one(&theirs).ack().expect("acknowledges");
    assert_eq!(world.rows(), 0, "nobody is left who would still want it");
}

#[test]
fn the_first_ordering_key_that_one_sends_orders_what_the_other_receives() {
    let world = World::new();
    let other = world.another();
    let [ours, theirs] = both(&world, &other);
    for text in ["1", "2"] {
        send_in_order(&theirs, "k", text);
    }
    let first = take(&ours, 1);
    assert_eq!((bodies(&first), taken(&ours, 9)), (vec!["1".to_owned()], vec![]), "a batch of the key is in flight");
    first[0].ack().expect("acknowledges");
    assert_eq!(taken(&theirs, 9), ["2"]);
}

#[test]
fn ids_of_messages_that_several_send_by_turns_never_meet() {
    let world = World::new();
    let other = world.another();
    let [ours, theirs] = both(&world, &other);
    let sql = world.sql();
    let mut ids: Vec<MessageId> = Vec::new();
    let (mut through_sql, mut done) = (0, 0);
    for turn in 0..40 {
        let queue = if turn % 2 == 0 { &ours } else { &theirs };
        // Runs of several sends: what a store knows of its own is used as well.
        for _ in 0..=turn % 3 {
            ids.push(queue.send("by a store").expect("sends").id);
        }
        if turn % 5 == 0 {
            sql.execute("INSERT INTO onceward_send(queue, body) VALUES ('jobs', x'01')", []).expect("sends");
            through_sql += 1;
        }
        if turn % 7 == 0 {
            let batch = take(queue, 3);
            ours.ack(&common::receipts(&batch)).expect("acknowledges");
            done += batch.len();
        }
    }
    assert!(ids.is_sorted_by(|a, b| a < b), "each is past all that were sent before it: {ids:?}");
    let left = ids.len() + through_sql - done;
    assert_eq!(counts(&ours), [left as u64, 0, 0, 0, 0], "none took another's place");
    assert_eq!(take(&theirs, left + 1).len(), left, "and none came behind what was already looked at");
}

#[test]
fn an_ordering_key_that_came_through_sql_orders_what_every_store_receives() {
    let world = World::new();
    let other = world.another();
    let [ours, theirs] = both(&world, &other);
    let send = "INSERT INTO onceward_send(queue, ordering_key, body) VALUES ('jobs', 'k', ?1)";
    let sql = world.sql();
    for text in ["1", "2"] {
        sql.execute(send, [text.as_bytes()]).expect("sends");
    }
    // One store's commit deals with what the program did; the other must notice that as well.
    theirs.send("behind").expect("sends");
    assert_eq!(taken(&ours, 1), ["1"]);
    assert_eq!(taken(&ours, 9), ["behind"]);
    assert_eq!(taken(&theirs, 9), [""; 0]);
}
