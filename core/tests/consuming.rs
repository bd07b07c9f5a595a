//! Consuming: batches, leases that are kept while a handler works, acknowledgements that are folded, and giving back.

mod common;

use std::time::{Duration, Instant};

use common::{HOUR, MINUTE, World, bodies, body, counts, eventually, fails, receipts, send_all, take, take_one, taken};
use onceward::{
    Backoff, ConsumeOptions, Consumer, Delivery, ErrorKind, IN_MEMORY, Message, Nack, Queue, QueueOptions, Semantics,
    Store,
};

fn at_hand() -> ConsumeOptions {
    ConsumeOptions::new().wait(Duration::ZERO)
}

fn next(consumer: &mut Consumer) -> Delivery {
    consumer.receive(Duration::ZERO).expect("receives").expect("a message is there")
}

fn ten(world: &World) -> Queue {
    let queue = world.at_least_once_with("q", QueueOptions::new().backoff(Backoff::constant(Duration::ZERO)));
    queue.send_many((0..10).map(|n| n.to_string())).expect("sends");
    queue
}

#[test]
fn everything_is_handed_out_once_and_in_order_under_every_promise() {
    let world = World::new();
    for semantics in Semantics::ALL {
        let queue = world.store.queue(semantics.name(), semantics).expect("opens");
        let sent: Vec<String> = (0..25).map(|n| n.to_string()).collect();
        queue.send_many(sent.iter().map(|body| Message::new(body.as_str()).key(body.as_str()))).expect("sends");
        let mut seen = Vec::new();
        for delivery in queue.consume(at_hand().batch(7)).expect("consumes") {
            let delivery = delivery.expect("a delivery");
            seen.push(body(&delivery));
            delivery.ack().expect("acks");
        }
        assert_eq!((seen, counts(&queue)), (sent, [0; 5]), "{semantics}");
    }
    assert_eq!(world.rows(), 0);
}

#[test]
fn acknowledgements_are_folded_into_the_next_receive() {
    let world = World::new();
    let queue = ten(&world);
    let mut consumer = queue.consume(at_hand().batch(5)).expect("consumes");
    for _ in 0..5 {
        next(&mut consumer).ack().expect("is noted");
    }
    next(&mut consumer);
    assert_eq!(counts(&queue), [0, 0, 0, 5, 0], "with the second batch, the first five were done");
}

#[test]
fn a_noted_acknowledgement_does_not_wait_for_ever() {
    let world = World::new();
    let queue = ten(&world);
    let mut consumer = queue.consume(at_hand().batch(10)).expect("consumes");
    next(&mut consumer).ack().expect("is noted");
    eventually("it is committed by itself", || counts(&queue)[3] == 9);
}

#[test]
fn flush_commits_what_was_noted() {
    let world = World::new();
    let queue = ten(&world);
    let mut consumer = queue.consume(at_hand().batch(10)).expect("consumes");
    for _ in 0..3 {
        next(&mut consumer).ack().expect("is noted");
    }
    consumer.flush().expect("flushes");
    assert_eq!(counts(&queue)[3], 7);
    consumer.flush().expect("there is nothing more");
}

#[test]
fn closing_commits_gives_back_and_fails_what_was_not_settled() {
    for end in ["close", "drop"] {
        let world = World::new();
        let queue = ten(&world);
        let mut consumer = queue.consume(at_hand().batch(10)).expect("consumes");
        next(&mut consumer).ack().expect("is noted");
        let unsettled = next(&mut consumer);
        if end == "close" {
            consumer.close().expect("closes");
        } else {
            drop(consumer);
        }
        assert_eq!(counts(&queue), [9, 0, 0, 0, 0], "after {end}");
        fails(unsettled.ack(), ErrorKind::LeaseLost, &[]);
        let mut again = take(&queue, 10);
        again.sort_by_key(Delivery::id);
        let attempts: Vec<u32> = again.iter().map(Delivery::attempt).collect();
        assert_eq!(attempts, [2, 1, 1, 1, 1, 1, 1, 1, 1], "only what was handed out has used an attempt");
    }
}

#[test]
fn every_other_way_to_settle_works_from_a_consumer_and_at_once() {
    let world = World::new();
    let queue = ten(&world);
    let mut consumer = queue.consume(at_hand().batch(10)).expect("consumes");
    next(&mut consumer).nack(&Nack::new().delay(HOUR)).expect("nacks");
    next(&mut consumer).dead_letter("no use").expect("dead-letters");
    next(&mut consumer).release().expect("releases");
    let mut extended = next(&mut consumer);
    extended.extend(HOUR).expect("extends");
    assert_eq!(counts(&queue), [1, 1, 0, 7, 1]);
    let tx = next(&mut consumer).transaction().expect("begins");
    tx.commit().expect("commits");
    assert_eq!(counts(&queue), [1, 1, 0, 6, 1]);
    consumer.close().expect("closes");
    assert_eq!(counts(&queue), [7, 1, 0, 0, 1]);
}

#[test]
fn a_delivery_is_settled_once_through_its_handle() {
    let world = World::new();
    let queue = ten(&world);
    let direct = take(&queue, 1).remove(0);
    direct.ack().expect("acks");
    fails(direct.ack(), ErrorKind::Invalid, &["already"]);
    fails(direct.nack(&Nack::new()), ErrorKind::Invalid, &["already"]);
    let mut consumer = queue.consume(at_hand()).expect("consumes");
    let delivery = next(&mut consumer);
    delivery.ack().expect("is noted");
    fails(delivery.release(), ErrorKind::Invalid, &["already"]);
    fails(delivery.transaction().map(|_| ()), ErrorKind::Invalid, &["already"]);
}

#[test]
fn an_acknowledgement_that_came_too_late_comes_out_and_consuming_goes_on() {
    let world = World::new();
    let queue = ten(&world);
    let mut consumer = queue.consume(at_hand().batch(1)).expect("consumes");
    let first = next(&mut consumer);
    let id = first.id();
    // The lease ends and another one takes the message, in pieces.
    world.clock.advance(HOUR);
    let stolen = take(&queue, 1);
    assert_eq!(stolen[0].id(), id);
    let mut lost = Vec::new();
    if let Err(error) = first.ack().and_then(|()| consumer.flush()) {
        lost.push(error);
    }
    let mut seen = Vec::new();
    for delivery in consumer.by_ref() {
        match delivery {
            Ok(delivery) => {
                seen.push(body(&delivery));
                delivery.ack().expect("is noted");
            }
            Err(error) => lost.push(error),
        }
    }
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(lost[0].kind(), ErrorKind::LeaseLost);
    assert!(lost[0].message().contains(&id.to_string()));
    seen.sort();
    assert_eq!(seen, (1..10).map(|n| n.to_string()).collect::<Vec<_>>());
    stolen[0].ack().expect("the other one's is the current delivery");
    consumer.close().expect("closes");
    assert_eq!(counts(&queue), [0; 5]);
}

#[test]
fn leases_are_extended_while_a_handler_works() {
    let store = Store::open(IN_MEMORY).expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    send_all(&queue, &["a", "b"]);
    let lease = Duration::from_millis(1_500);
    let mut consumer = queue.consume(at_hand().lease(lease)).expect("consumes");
    let working = next(&mut consumer);
    let since = Instant::now();
    while since.elapsed() < lease * 2 {
        assert!(queue.receive(Duration::from_millis(50)).expect("receives").is_none(), "both are still ours");
    }
    working.ack().expect("is noted");
    next(&mut consumer).ack().expect("is noted");
    consumer.close().expect("no lease was lost");
    assert_eq!(counts(&queue), [0; 5]);
}

#[test]
fn a_stop_handle_ends_a_consumer_that_waits() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let consumer = queue.consume(ConsumeOptions::new()).expect("consumes");
    let stop = consumer.stop_handle();
    let waiting = std::thread::spawn(move || consumer.count());
    stop.stop();
    assert_eq!(waiting.join().expect("the consumer ends"), 0);
}

#[test]
fn a_stopped_consumer_hands_out_nothing_more_and_gives_the_rest_back() {
    let world = World::new();
    let queue = ten(&world);
    let mut consumer = queue.consume(ConsumeOptions::new()).expect("consumes");
    let stop = consumer.stop_handle();
    let first = consumer.next().expect("a message").expect("a delivery");
    stop.stop();
    assert!(consumer.is_stopped() && consumer.next().is_none());
    first.ack().expect("what was handed out may still be settled");
    drop(consumer);
    assert_eq!(counts(&queue), [9, 0, 0, 0, 0]);
}

#[test]
fn a_consumer_wakes_for_what_is_sent_while_it_waits() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let mut consumer = queue.consume(ConsumeOptions::new().wait(MINUTE)).expect("consumes");
    let waiting = std::thread::spawn(move || body(&consumer.next().expect("a message").expect("a delivery")));
    send_all(&queue, &["x"]);
    assert_eq!(waiting.join().expect("the consumer lives"), "x");
}

#[test]
fn closing_the_store_ends_a_consumer_that_waits() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let mut consumer = queue.consume(ConsumeOptions::new()).expect("consumes");
    let waiting = std::thread::spawn(move || consumer.next().map(|delivery| delivery.map(|_| ())));
    world.store.close().expect("closes");
    let outcome = waiting.join().expect("the consumer lives").expect("an error");
    fails(outcome, ErrorKind::Closed, &[]);
}

#[test]
fn two_consumers_share_the_work_and_nothing_comes_twice() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send_many((0..500).map(|n| format!("{n:03}"))).expect("sends");
    let work = |queue: Queue| {
        move || {
            let consumer = queue.consume(at_hand().batch(20)).expect("consumes");
            let mut seen = Vec::new();
            for delivery in consumer {
                let delivery = delivery.expect("a delivery");
                seen.push(body(&delivery));
                delivery.ack().expect("is noted");
            }
            seen
        }
    };
    let threads = [std::thread::spawn(work(queue.clone())), std::thread::spawn(work(queue.clone()))];
    let mut seen: Vec<String> = threads.into_iter().flat_map(|thread| thread.join().expect("lives")).collect();
    seen.sort();
    assert_eq!(seen, (0..500).map(|n| format!("{n:03}")).collect::<Vec<_>>());
    assert_eq!(counts(&queue), [0; 5]);
}

#[test]
fn at_most_once_a_consumer_that_ends_loses_what_it_had_fetched_and_repeats_nothing() {
    let world = World::new();
    let queue = world.store.queue("q", Semantics::AtMostOnce).expect("opens");
    queue.send_many((0..10).map(|n| n.to_string())).expect("sends");
    let mut consumer = queue.consume(at_hand().batch(4)).expect("consumes");
    let first = next(&mut consumer);
    fails(first.nack(&Nack::new()), ErrorKind::Invalid, &["at-most-once"]);
    drop(consumer);
    assert_eq!(taken(&queue, 10), ["4", "5", "6", "7", "8", "9"]);
    assert_eq!(counts(&queue), [0; 5]);
}

#[test]
fn a_panic_in_a_handler_gives_its_message_back_as_failed() {
    let world = World::new();
    let queue = ten(&world);
    let handler = std::panic::AssertUnwindSafe(|| {
        for delivery in queue.consume(at_hand()).expect("consumes") {
            let delivery = delivery.expect("a delivery");
            if body(&delivery) == "3" {
                std::panic::resume_unwind(Box::new("the handler fails"));
            }
            delivery.ack().expect("is noted");
        }
    });
    std::panic::catch_unwind(handler).expect_err("the handler panicked");
    assert_eq!(counts(&queue), [7, 0, 0, 0, 0]);
    let mut again = take(&queue, 10);
    again.sort_by_key(Delivery::id);
    assert_eq!(bodies(&again)[0], "3");
    assert_eq!((again[0].attempt(), again[1].attempt()), (2, 1));
    queue.ack(&receipts(&again)).expect("acks");
    send_all(&queue, &["x"]);
    take_one(&queue).ack().expect("acks");
}

#[test]
fn a_wait_that_is_too_long_is_refused() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let mut consumer = queue.consume(ConsumeOptions::new()).expect("consumes");
    fails(consumer.receive(Duration::MAX), ErrorKind::Invalid, &["wait is", "86400s"]);
}

#[test]
fn what_was_received_ahead_counts_as_handed_out_one_by_one() {
    let world = World::new();
    let queue = ten(&world);
    let mut consumer = queue.consume(at_hand().batch(8)).expect("consumes");
    let ahead = consumer.receive_ahead(Duration::ZERO).expect("receives");
    assert_eq!(bodies(&ahead), ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert!(ahead[0].hand_out() && ahead[0].ack_at_once().expect("is noted"));
    assert!(ahead[1].hand_out());
    let rest = consumer.receive_ahead(Duration::ZERO).expect("receives");
    assert_eq!(bodies(&rest), ["8", "9"]);
    assert_eq!(counts(&queue)[3], 9, "the acknowledgement was folded into the second receive");
    assert!(consumer.receive_ahead(Duration::ZERO).expect("receives").is_empty());
    consumer.close().expect("closes");
    assert!(!ahead[2].hand_out(), "it was given back");
    let mut again = take(&queue, 10);
    again.sort_by_key(Delivery::id);
    let attempts: Vec<u32> = again.iter().map(Delivery::attempt).collect();
    assert_eq!(attempts, [2, 1, 1, 1, 1, 1, 1, 1, 1], "only what was handed out has used an attempt");
}

#[test]
fn what_was_received_ahead_and_lost_meanwhile_is_not_handed_out() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let sent = ["a", "b"].map(|key| Message::new(key).ordering_key(key)).into_iter();
    queue.send_many(sent.chain(["a2"].map(|body| Message::new(body).ordering_key("a")))).expect("sends");
    let mut consumer = queue.consume(at_hand()).expect("consumes");
    let ahead = consumer.receive_ahead(Duration::ZERO).expect("receives");
    assert_eq!(bodies(&ahead), ["a", "b", "a2"]);
    assert!(ahead[0].hand_out());
    ahead[0].nack(&Nack::new().delay(HOUR)).expect("nacks");
    assert!(ahead[1].hand_out(), "another line is not held up");
    assert!(!ahead[2].hand_out(), "it waits for the one before it");
    consumer.stop_handle().stop();
    assert!(consumer.receive_ahead(Duration::ZERO).expect("ends").is_empty());
}

#[test]
fn an_acknowledgement_at_once_is_noted_or_does_nothing() {
    let world = World::new();
    let queue = ten(&world);
    let direct = take(&queue, 1).remove(0);
    assert!(!direct.ack_at_once().expect("does nothing"));
    direct.ack().expect("acks");
    let mut consumer = queue.consume(at_hand()).expect("consumes");
    let (first, second) = (next(&mut consumer), next(&mut consumer));
    assert!(first.ack_at_once().expect("is noted"));
    fails(first.ack_at_once().map(|_| ()), ErrorKind::Invalid, &["already"]);
    consumer.close().expect("closes");
    assert!(!second.ack_at_once().expect("the consumer has ended"));
    assert_eq!(counts(&queue), [8, 0, 0, 0, 0]);
}

#[test]
fn leases_are_extended_while_a_consumer_keeps_looking_for_more() {
    let store = Store::open(IN_MEMORY).expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    queue.send("slow").expect("sends");
    let lease = Duration::from_millis(1_500);
    let mut consumer = queue.consume(at_hand().lease(lease)).expect("consumes");
    let working = next(&mut consumer);
    let since = Instant::now();
    while since.elapsed() < lease * 2 {
        assert!(consumer.receive(Duration::from_millis(50)).expect("receives").is_none(), "it is being worked on");
    }
    working.ack().expect("is noted");
    consumer.close().expect("no lease was lost");
    assert_eq!(counts(&queue), [0; 5]);
}

#[test]
fn an_acknowledgement_during_the_close_is_committed_or_refused() {
    let world = World::new();
    let queue = world.at_least_once_with("q", QueueOptions::new().backoff(Backoff::constant(Duration::ZERO)));
    for round in 0..200 {
        queue.send_many((0..20).map(|n| n.to_string())).expect("sends");
        let mut consumer = queue.consume(at_hand()).expect("consumes");
        let held: Vec<Delivery> = (0..20).map(|_| next(&mut consumer)).collect();
        let acknowledging = std::thread::spawn(move || held.iter().filter(|delivery| delivery.ack().is_ok()).count());
        if round % 2 == 1 {
            std::thread::yield_now();
        }
        consumer.close().expect("closes");
        let acknowledged = acknowledging.join().expect("acknowledges") as u64;
        // The others were given back as failed before their acknowledgement came.
        assert_eq!(counts(&queue), [20 - acknowledged, 0, 0, 0, 0], "in round {round}");
        queue.purge().expect("purges");
    }
}

#[test]
fn a_flush_waits_for_the_commit_that_is_under_way() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let other = world.sql();
    for _ in 0..5 {
        queue.send("x").expect("sends");
        let mut consumer = queue.consume(at_hand()).expect("consumes");
        let delivery = next(&mut consumer);
        other.execute_batch("BEGIN IMMEDIATE").expect("holds the file");
        delivery.ack().expect("is noted");
        // Long enough for housekeeping to be at the commit, which waits for the file.
        std::thread::sleep(Duration::from_millis(200));
        let flush = consumer.flush_handle();
        let flushing = std::thread::spawn(move || flush.flush());
        std::thread::sleep(Duration::from_millis(20));
        other.execute_batch("ROLLBACK").expect("lets go of the file");
        flushing.join().expect("flushes").expect("commits");
        assert_eq!(counts(&queue), [0; 5], "what a flush has answered is committed");
        consumer.close().expect("closes");
    }
}

#[test]
fn a_flush_commits_while_the_consumer_waits_for_more() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send("x").expect("sends");
    let mut consumer = queue.consume(ConsumeOptions::new()).expect("consumes");
    let delivery = next(&mut consumer);
    let (stop, flush) = (consumer.stop_handle(), consumer.flush_handle());
    let waiting = std::thread::spawn(move || consumer.next().is_none());
    delivery.ack().expect("is noted");
    flush.flush().expect("commits");
    assert_eq!(counts(&queue), [0; 5]);
    assert!(!waiting.is_finished());
    stop.stop();
    assert!(waiting.join().expect("the consumer ends"));
}

#[test]
fn a_consumer_settles_more_than_one_call_takes() {
    let world = World::new();
    let queue = world.at_least_once("q");
    for _ in 0..3 {
        queue.send_many((0..10_000).map(|n| n.to_string())).expect("sends");
    }
    let mut consumer = queue.consume(at_hand().batch(10_000)).expect("consumes");
    let held: Vec<Delivery> = (0..20_001).map(|_| next(&mut consumer)).collect();
    for delivery in &held[..15_000] {
        delivery.ack().expect("is noted");
    }
    consumer.close().expect("commits 15,000, gives back 5,001 and releases 9,999");
    assert_eq!(counts(&queue)[0] + counts(&queue)[1], 15_000);
    assert_eq!(counts(&queue)[2], 0, "nothing is in flight");
}

#[test]
fn a_delivery_that_is_let_go_comes_again_when_its_lease_ends() {
    let store = Store::open(IN_MEMORY).expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    queue.send("x").expect("sends");
    let mut consumer = queue.consume(at_hand().lease(Duration::from_millis(100))).expect("consumes");
    let delivery = next(&mut consumer);
    delivery.let_go();
    let again = queue.receive(MINUTE).expect("receives").expect("its lease has ended");
    assert_eq!((again.id(), again.attempt()), (delivery.id(), 2));
    fails(delivery.ack(), ErrorKind::LeaseLost, &[]);
    consumer.close().expect("closes");
}

#[test]
fn a_finished_consumer_leaves_what_is_in_hand_to_its_handlers() {
    let store = Store::open(IN_MEMORY).expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    queue.send_many((0..10).map(|n| n.to_string())).expect("sends");
    let lease = Duration::from_millis(1_500);
    let mut consumer = queue.consume(at_hand().batch(10).lease(lease)).expect("consumes");
    next(&mut consumer).ack().expect("is noted");
    let (working, forgotten) = (next(&mut consumer), next(&mut consumer));
    assert_eq!(consumer.finish().expect("finishes"), 2);
    assert!(consumer.is_stopped() && consumer.receive(Duration::ZERO).expect("ends").is_none());
    drop(consumer);
    let rest = take(&queue, 10);
    assert_eq!(bodies(&rest), ["3", "4", "5", "6", "7", "8", "9"], "what was not handed out is released");
    assert!(queue.ack(&receipts(&rest)).expect("settles").is_empty());
    let since = Instant::now();
    while since.elapsed() < lease * 2 {
        assert!(queue.receive(Duration::from_millis(50)).expect("receives").is_none(), "both are still in hand");
    }
    assert!(!working.ack_at_once().expect("does nothing"), "nothing is noted any more");
    working.ack().expect("is settled at once");
    assert_eq!(counts(&queue), [0, 0, 0, 1, 0]);
    drop((working, forgotten));
    let again = queue.receive(MINUTE).expect("receives").expect("its lease has ended");
    assert_eq!((again.body(), again.attempt()), (&b"2"[..], 2));
}

#[test]
fn closing_a_finished_consumer_gives_back_what_is_in_hand() {
    let world = World::new();
    let queue = ten(&world);
    let mut consumer = queue.consume(at_hand().batch(10)).expect("consumes");
    let unsettled = next(&mut consumer);
    assert_eq!(consumer.finish().expect("finishes"), 1);
    assert_eq!(consumer.finish().expect("finishes again"), 1);
    assert_eq!(counts(&queue), [9, 0, 0, 1, 0]);
    consumer.close().expect("closes");
    assert_eq!(counts(&queue), [10, 0, 0, 0, 0]);
    fails(unsettled.ack(), ErrorKind::LeaseLost, &[]);
}

#[test]
fn finishing_tells_of_an_acknowledgement_that_came_too_late() {
    let world = World::new();
    let queue = ten(&world);
    let mut consumer = queue.consume(at_hand().batch(1)).expect("consumes");
    let late = next(&mut consumer);
    world.clock.advance(HOUR);
    assert_eq!(bodies(&take(&queue, 1)), ["0"]);
    late.ack().expect("is noted");
    fails(consumer.finish(), ErrorKind::LeaseLost, &[]);
    assert_eq!(consumer.finish().expect("finishes"), 0);
}

#[test]
fn at_most_once_in_batches_of_one_nothing_is_lost_at_the_end() {
    let world = World::new();
    let queue = world.store.queue("q", Semantics::AtMostOnce).expect("opens");
    queue.send_many((0..3).map(|n| n.to_string())).expect("sends");
    let mut consumer = queue.consume(at_hand().batch(1)).expect("consumes");
    assert_eq!(next(&mut consumer).body(), b"0");
    consumer.close().expect("closes");
    assert_eq!(taken(&queue, 10), ["1", "2"]);
}
