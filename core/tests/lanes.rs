//! Lanes: a priority of a queue that runs out of sequence numbers is continued, and nobody notices.

mod common;

use common::{World, at_once, bodies, body, counts, fails, receipts, send_all, take, take_of};
use onceward::limits::{LANE_SEQUENCE_MAX, LANES_MAX};
use onceward::{ErrorKind, Message, MessageId, Queue, QueueOptions, Semantics, Start, Subscription};

/// Lets every lane of the file have room for `left` more messages, with nothing in it.
fn nearly_full(world: &World, left: u64) {
    let conn = world.sql();
    let next = format!("((id + 1) << 38) - {left}");
    conn.execute_batch(&format!("UPDATE onceward_lane SET next = {next}")).expect("the lanes are moved");
    let of_lane = "(SELECT next FROM onceward_lane WHERE id = onceward_cursor.lane)";
    conn.execute_batch(&format!("UPDATE onceward_cursor SET next = {of_lane}, gaps = 0")).expect("the cursors follow");
}

fn started(world: &World, left: u64) -> Queue {
    let queue = world.at_least_once("q");
    send_all(&queue, &["first"]);
    take(&queue, 1)[0].ack().expect("acks");
    nearly_full(world, left);
    queue
}

fn sequence(id: MessageId) -> u64 {
    id.get() & LANE_SEQUENCE_MAX
}

#[test]
fn a_lane_that_runs_out_is_continued_by_a_new_one() {
    let world = World::new();
    let queue = started(&world, 2);
    let ids = send_all(&queue, &["a", "b", "c", "d"]);
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    assert!(ids.iter().all(|id| id.get() < 1 << 53));
    assert_eq!(
        ids.iter().map(|id| sequence(*id)).collect::<Vec<_>>(),
        [LANE_SEQUENCE_MAX - 1, LANE_SEQUENCE_MAX, 1, 2]
    );
    assert_eq!(counts(&queue), [4, 0, 0, 0, 0]);
    let batch = take(&queue, 10);
    assert_eq!(bodies(&batch), ["a", "b", "c", "d"]);
    assert_eq!(counts(&queue), [0, 0, 0, 4, 0]);
    assert!(queue.ack(&receipts(&batch)).expect("acks").is_empty());
    assert_eq!((counts(&queue), world.rows()), ([0; 5], 0));
}

#[test]
fn single_sends_cross_the_end_as_well() {
    let world = World::new();
    let queue = started(&world, 1);
    let mut last = 0;
    for n in 0..3 {
        let id = queue.send(Message::new(format!("{n}")).key(format!("k{n}"))).expect("sends").id.get();
        assert!(id > last);
        last = id;
    }
    assert!(queue.send(Message::new("0").key("k0")).expect("sends").duplicate);
    let held = take(&queue, 3);
    held[2].dead_letter("no use").expect("dead-letters");
    held[0].nack(&at_once()).expect("nacks");
    assert_eq!(queue.dead_letters(None, 5).expect("lists")[0].message.priority, 4);
    assert_eq!(queue.redrive_all().expect("redrives"), 1);
    assert_eq!(bodies(&take(&queue, 5)), ["0", "2"]);
}

#[test]
fn an_ordering_key_keeps_its_order_across_the_end_of_a_lane() {
    let world = World::new();
    let queue = started(&world, 2);
    for n in 0..5 {
        common::send_in_order(&queue, "o", &format!("{n}"));
    }
    let mut seen = Vec::new();
    for round in 0..20 {
        let Some(delivery) = take(&queue, 1).pop() else { break };
        assert!(take(&queue, 1).is_empty(), "the key is in flight");
        if round % 3 == 0 {
            delivery.nack(&at_once()).expect("nacks");
        } else {
            seen.push(body(&delivery));
            delivery.ack().expect("acks");
        }
    }
    assert_eq!(seen, ["0", "1", "2", "3", "4"]);
}

#[test]
fn every_subscription_follows_into_the_new_lane() {
    let world = World::new();
    let queue = started(&world, 1);
    let early = queue.subscribe("early", Start::Oldest).expect("subscribes");
    send_all(&queue, &["a", "b", "c"]);
    let late = queue.subscribe("late", Start::Oldest).expect("subscribes");
    for subscription in [&early, &late] {
        assert_eq!(bodies(&take_of(subscription, 5)), ["a", "b", "c"]);
    }
    assert_eq!(queue.purge().expect("purges"), 3);
    assert_eq!(world.rows(), 3, "two subscriptions have them in flight");
}

#[test]
fn a_priority_keeps_its_place_when_its_lane_is_continued() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send(Message::new("x").priority(9)).expect("sends");
    queue.send(Message::new("x").priority(1)).expect("sends");
    queue.ack(&receipts(&take(&queue, 2))).expect("acks");
    nearly_full(&world, 1);
    for n in 0..2 {
        queue.send(Message::new(format!("low {n}")).priority(9)).expect("sends");
    }
    for n in 0..2 {
        queue.send(Message::new(format!("high {n}")).priority(1)).expect("sends");
    }
    assert_eq!(bodies(&take(&queue, 10)), ["high 0", "high 1", "low 0", "low 1"]);
}

#[test]
fn a_file_without_lanes_left_says_so_and_goes_on_with_those_it_has() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let known = queue.send(Message::new("x").key("k")).expect("sends").id;
    let last = format!("({LANES_MAX}, (SELECT id FROM onceward_queue), 9, ({LANES_MAX} << 38) + 1)");
    let conn = world.sql();
    conn.execute_batch(&format!("INSERT INTO onceward_lane(id, queue, priority, next) VALUES {last}"))
        .expect("inserts");
    drop(conn);
    let limit = LANES_MAX.to_string();
    fails(queue.send(Message::new("y").priority(0)), ErrorKind::Full, &[&limit]);
    fails(queue.send_many([Message::new("y"), Message::new("z").priority(0)]), ErrorKind::Full, &[&limit]);
    assert_eq!(world.rows(), 1, "nothing of a refused call is written");
    send_all(&queue, &["the open lanes go on"]);
    nearly_full(&world, 0);
    fails(queue.send("y"), ErrorKind::Full, &[&limit]);
    let again = queue.send(Message::new("x").key("k")).expect("a duplicate needs no lane");
    assert_eq!((again.id, again.duplicate), (known, true));
}

/// Closes the world's store and opens its file as the first store again.
fn opened_again(world: &World) -> onceward::Store {
    world.store.close().expect("closes");
    world.another()
}

#[test]
fn whoever_opens_the_file_first_leaves_out_ids_that_may_have_been_handed_over() {
    let world = World::new();
    let queue = world.at_least_once_with("q", QueueOptions::new().subscriptions(["a", "b"]));
    let before = send_all(&queue, &["1", "2", "3", "4"]);
    let [a, _] = ["a", "b"].map(|name| queue.subscription(name).expect("is there"));
    assert!(a.ack(&receipts(&take_of(&a, 2))).expect("acks").is_empty());
    let store = opened_again(&world);
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    let [a, b] = ["a", "b"].map(|name| queue.subscription(name).expect("is there"));
    let ready = |of: &Subscription| of.stats().expect("counts").ready;
    assert_eq!((ready(&a), ready(&b)), (2, 4), "what was left out counts for nothing");
    let after = send_all(&queue, &["5", "6"]);
    assert!(after[0].get() > before[3].get() + 1, "{before:?} {after:?}");
    assert_eq!((ready(&a), ready(&b)), (4, 6));
    let late = queue.subscribe("late", Start::Oldest).expect("subscribes");
    let now = queue.subscribe("now", Start::Now).expect("subscribes");
    assert_eq!((ready(&late), ready(&now)), (6, 0));
    for (subscription, expected) in [(&a, "3456"), (&b, "123456"), (&late, "123456")] {
        assert_eq!(bodies(&take_of(subscription, 9)).concat(), expected);
        assert_eq!(ready(subscription), 0);
    }
    send_all(&queue, &["7"]);
    assert_eq!(bodies(&take_of(&now, 9)), ["7"]);
}

#[test]
fn ids_are_left_out_up_to_the_end_of_a_lane_and_not_beyond() {
    let world = World::new();
    let queue = started(&world, 3);
    let ids = send_all(&queue, &["a"]);
    assert_eq!(sequence(ids[0]), LANE_SEQUENCE_MAX - 2);
    let store = opened_again(&world);
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    let ids = send_all(&queue, &["b", "c"]);
    assert_eq!(ids.iter().map(|id| sequence(*id)).collect::<Vec<_>>(), [1, 2], "the lane is used up");
    assert_eq!((counts(&queue), bodies(&take(&queue, 9))), ([3, 0, 0, 0, 0], vec!["a".into(), "b".into(), "c".into()]));
}

#[test]
fn an_exactly_once_queue_reserves_no_ids() {
    let world = World::new();
    let queue = world.store.queue("q", Semantics::ExactlyOnce).expect("opens");
    let first = queue.send(Message::new("a").key("a")).expect("sends").id.get();
    let store = opened_again(&world);
    let queue = store.queue("q", Semantics::ExactlyOnce).expect("opens");
    assert_eq!(queue.send(Message::new("b").key("b")).expect("sends").id.get(), first + 1);
}
