//! Receiving: leases and tokens, attempts and backoff, dead letters, and how one poison message is kept from its neighbours.

mod common;

use common::{
    HOUR, MILLISECOND, MINUTE, Obituaries, SECOND, START, World, almost, at_once, bodies, body, counts, fails, options,
    receipts, send_all, take, take_one, taken,
};
use onceward::{
    Backoff, Delivery, ErrorKind, Message, Nack, Queue, QueueOptions, ReceiveOptions, SeededRandom, Semantics, Store,
    StoreOptions,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn messages_come_in_the_order_they_were_sent() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let sent: Vec<String> = (0..25).map(|n| format!("{n}")).collect();
    queue.send_many(sent.iter().map(String::as_str)).expect("sends");
    let mut seen = Vec::new();
    while seen.len() < sent.len() {
        seen.extend(taken(&queue, 7));
    }
    assert_eq!(seen, sent);
}

#[test]
fn an_empty_queue_is_a_result_not_an_error() {
    let world = World::new();
    let queue = world.at_least_once("q");
    assert!(queue.receive(Duration::ZERO).expect("receives").is_none());
    assert!(queue.receive(MILLISECOND * 5).expect("receives").is_none());
    assert!(take(&queue, 10).is_empty());
}

#[test]
fn a_message_is_its_receivers_alone_until_the_lease_ends() {
    let world = World::new();
    let queue = world.at_least_once_with("q", QueueOptions::new().lease(MINUTE));
    queue.send("x").expect("sends");
    let first = take_one(&queue);
    assert_eq!(first.lease_expires_at(), START.plus(MINUTE));
    world.clock.advance(almost(MINUTE));
    assert!(take(&queue, 1).is_empty());
    world.clock.advance(MILLISECOND);
    let second = take_one(&queue);
    assert_eq!((second.id(), second.attempt()), (first.id(), 2));
    assert!(second.token() > first.token());
}

#[test]
fn a_receive_may_name_a_lease_of_its_own() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send("x").expect("sends");
    let held = queue.receive_many(&ReceiveOptions::new().lease(HOUR)).expect("receives");
    assert_eq!(held[0].lease_expires_at(), START.plus(HOUR));
    world.clock.advance(almost(HOUR));
    assert!(take(&queue, 1).is_empty());
    world.clock.advance(MILLISECOND);
    assert_eq!(take(&queue, 1).len(), 1);
}

#[test]
fn extending_moves_the_end_of_the_lease_both_ways() {
    let world = World::new();
    let queue = world.at_least_once("q");
    send_all(&queue, &["a", "b"]);
    let mut held = take(&queue, 2);
    held[0].extend(HOUR).expect("extends");
    held[1].extend(SECOND).expect("shortens");
    assert_eq!(held[0].lease_expires_at(), START.plus(HOUR));
    world.clock.advance(SECOND);
    assert_eq!(taken(&queue, 5), ["b"]);
    world.clock.advance(MINUTE);
    assert!(!taken(&queue, 5).contains(&"a".to_owned()));
    held.remove(0).ack().expect("the lease was extended");
}

#[test]
fn tokens_strictly_increase_with_every_delivery_and_across_a_reopen() {
    let world = World::new();
    let mut store = world.another();
    world.at_least_once("q").send("x").expect("sends");
    let mut last = None;
    for round in 0..6 {
        let queue = store.open_queue("q").expect("opens");
        let delivery = take_one(&queue);
        assert!(Some(delivery.token()) > last, "round {round}");
        last = Some(delivery.token());
        if round % 2 == 0 {
            delivery.nack(&at_once()).expect("nacks");
        } else {
            store.close().expect("closes");
            store = world.another();
        }
    }
}

#[test]
fn a_lost_clock_costs_promptness_and_nothing_else() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send("x").expect("sends");
    let delivery = take_one(&queue);
    world.clock.set(onceward::Millis::new(0));
    assert!(take(&queue, 5).is_empty());
    delivery.nack(&at_once()).expect("nacks");
    let again = take_one(&queue);
    assert_eq!(again.attempt(), 2);
    world.clock.set(onceward::Millis::new(i64::MAX / 2));
    again.ack().expect("the clock has no say in who settles");
}

#[test]
fn the_attempt_number_counts_deliveries_and_a_release_is_none() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send("x").expect("sends");
    take_one(&queue).nack(&at_once()).expect("nacks");
    let second = take_one(&queue);
    assert_eq!(second.attempt(), 2);
    second.release().expect("releases");
    let again = take_one(&queue);
    assert_eq!(again.attempt(), 2);
    again.release().expect("releases");
}

#[test]
fn backoff_doubles_up_to_its_cap_and_a_delay_of_the_nack_goes_before_it() {
    let world = World::new();
    let backoff = Backoff { first: SECOND, factor: 2.0, cap: SECOND * 5, jitter: 0.0 };
    let queue = world.at_least_once_with("q", QueueOptions::new().backoff(backoff));
    queue.send("x").expect("sends");
    for wait in [1, 2, 4, 5, 5] {
        take_one(&queue).nack(&Nack::new()).expect("nacks");
        world.clock.advance(almost(SECOND * wait));
        assert!(take(&queue, 1).is_empty(), "the wait is {wait} s");
        world.clock.advance(MILLISECOND);
    }
    take_one(&queue).nack(&Nack::new().delay(HOUR)).expect("nacks");
    world.clock.advance(almost(HOUR));
    assert!(take(&queue, 1).is_empty());
    world.clock.advance(MILLISECOND);
    take_one(&queue);
}

#[test]
fn equal_seeds_give_equal_jitter() {
    let waits = |seed: u64| {
        let world = World::with(|options| options.random(Arc::new(SeededRandom::new(seed))));
        let backoff = Backoff { first: HOUR, factor: 1.0, cap: HOUR, jitter: 1.0 };
        let queue = world.at_least_once_with("q", QueueOptions::new().backoff(backoff).attempts_max(None));
        send_all(&queue, &["x"; 5]);
        for delivery in take(&queue, 5) {
            delivery.nack(&Nack::new()).expect("nacks");
        }
        let conn = world.sql();
        let mut statement = conn.prepare("SELECT due_at FROM onceward_pending ORDER BY lo").expect("prepares");
        let due = statement.query_map([], |row| row.get::<_, i64>(0)).expect("queries");
        due.collect::<rusqlite::Result<Vec<i64>>>().expect("reads")
    };
    let first = waits(7);
    assert_eq!(first.len(), 5);
    assert!(first.iter().all(|due| (START.get()..=START.plus(HOUR).get()).contains(due)), "{first:?}");
    assert_eq!(first, waits(7));
    assert_ne!(first, waits(8));
}

#[test]
fn a_message_that_used_up_its_attempts_is_dead_with_its_reason_and_error() {
    let world = World::new();
    let queue = world.at_least_once_with("q", QueueOptions::new().attempts_max(2));
    let id = queue.send(Message::new("x").key("k").header("h", "v")).expect("sends").id;
    take_one(&queue).nack(&at_once().error("first")).expect("nacks");
    world.clock.advance(SECOND);
    take_one(&queue).nack(&at_once().error("second")).expect("nacks");
    assert!(take(&queue, 1).is_empty());
    let dead = queue.dead_letters(None, 10).expect("lists").remove(0);
    assert_eq!((dead.message.id, dead.message.attempts), (id, 2));
    assert_eq!((dead.message.key.as_deref(), dead.message.headers.len()), (Some("k"), 1));
    assert!(dead.reason.contains("attempts"), "{}", dead.reason);
    assert_eq!(dead.error.as_deref(), Some("second"));
    assert_eq!(dead.died_at, START.plus(SECOND));
}

#[test]
fn the_last_error_text_stays_when_a_later_nack_has_none() {
    let world = World::new();
    let queue = world.at_least_once_with("q", QueueOptions::new().attempts_max(3));
    queue.send("x").expect("sends");
    take_one(&queue).nack(&at_once().error("why")).expect("nacks");
    take_one(&queue).nack(&at_once()).expect("nacks");
    take_one(&queue);
    world.clock.advance(MINUTE);
    assert!(take(&queue, 1).is_empty());
    let dead = queue.dead_letters(None, 10).expect("lists").remove(0);
    assert_eq!(dead.error.as_deref(), Some("why"));
    assert!(dead.reason.contains("lease"), "{}", dead.reason);
}

#[test]
fn without_an_attempts_limit_nothing_dies_of_trying() {
    let world = World::new();
    let queue = world.at_least_once_with("q", QueueOptions::new().attempts_max(None));
    queue.send("x").expect("sends");
    for attempt in 1..=100 {
        let delivery = take_one(&queue);
        assert_eq!(delivery.attempt(), attempt);
        delivery.nack(&at_once()).expect("nacks");
    }
}

#[test]
fn the_attempts_limit_holds_across_leases_that_end_and_stores_that_close() {
    for ends in ["expiry", "close", "death"] {
        let obituaries = Arc::new(Obituaries::default());
        let world = World::with(|options| options.liveness(Arc::clone(&obituaries) as Arc<_>));
        let queue = world.at_least_once_with("q", QueueOptions::new().attempts_max(2));
        queue.send("x").expect("sends");
        let mut deliveries = 0;
        for slot in 1..6 {
            let other =
                options(&world.clock).liveness(Arc::clone(&obituaries) as Arc<_>).open(&world.path).expect("opens");
            deliveries += take(&other.open_queue("q").expect("opens"), 1).len();
            match ends {
                "expiry" => world.clock.advance(MINUTE),
                "close" => other.close().expect("closes"),
                _ => {
                    obituaries.add(slot);
                    std::mem::forget(other);
                }
            }
        }
        assert_eq!(deliveries, 2, "the limit is 2, after {ends}");
        assert!(take(&queue, 1).is_empty());
        assert_eq!(counts(&queue), [0, 0, 0, 0, 1], "after {ends}");
        let attempts = queue.dead_letters(None, 1).expect("lists")[0].message.attempts;
        assert_eq!(attempts, 2);
    }
}

#[test]
fn redriven_dead_letters_come_again_under_their_ids_with_attempts_counted_anew() {
    let world = World::new();
    let queue = world.at_least_once_with("q", QueueOptions::new().attempts_max(1));
    let id = queue.send(Message::new("x").key("k").time_to_live(HOUR)).expect("sends").id;
    let first = take_one(&queue);
    let token = first.token();
    first.nack(&at_once()).expect("nacks");
    assert_eq!(queue.redrive(&[id]).expect("redrives"), 1);
    assert_eq!(queue.redrive(&[id]).expect("redrives"), 0);
    world.clock.advance(2 * HOUR);
    let again = take_one(&queue);
    assert_eq!((again.id(), again.attempt()), (id, 1), "without the time to live it had");
    assert!(again.token() > token);
    assert!(queue.send(Message::new("x").key("k")).expect("sends").duplicate);
}

#[test]
fn dead_letters_are_listed_in_pages_and_purged() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let ids = send_all(&queue, &["a", "b", "c", "d"]);
    queue.dead_letter(&receipts(&take(&queue, 4)), "no use").expect("dead-letters");
    let page = queue.dead_letters(None, 2).expect("lists");
    assert_eq!(page.iter().map(|letter| letter.message.id).collect::<Vec<_>>(), ids[..2]);
    let rest = queue.dead_letters(Some(ids[1]), 10).expect("lists");
    assert_eq!(rest.iter().map(|letter| letter.message.id).collect::<Vec<_>>(), ids[2..]);
    assert!(rest.iter().all(|letter| letter.reason == "no use"));
    assert_eq!(queue.purge_dead(&[ids[0], ids[0]]).expect("purges"), 1);
    assert_eq!(world.rows(), 3);
    assert_eq!(queue.purge_dead_all().expect("purges"), 3);
    assert_eq!((counts(&queue), world.rows()), ([0; 5], 0));
}

#[test]
fn a_batch_ends_before_it_gets_too_heavy_but_never_empty() {
    let world = World::with(|options: StoreOptions| options.body_bytes_max(40 << 20));
    let queue = world.at_least_once("q");
    for _ in 0..3 {
        queue.send(vec![7u8; 40 << 20]).expect("sends");
    }
    for _ in 0..3 {
        let batch = take(&queue, 10);
        assert_eq!(batch.len(), 1, "two would be over 64 MiB");
        assert_eq!(batch[0].body().len(), 40 << 20);
    }
    assert!(take(&queue, 10).is_empty());
}

#[test]
fn an_at_most_once_message_is_gone_from_the_file_when_it_is_handed_over() {
    let world = World::new();
    let queue = world.store.queue("q", Semantics::AtMostOnce).expect("opens");
    send_all(&queue, &["a", "b"]);
    let mut taken = take(&queue, 1);
    assert_eq!((counts(&queue), world.rows()), ([1, 0, 0, 0, 0], 1));
    let mut delivery = taken.remove(0);
    fails(delivery.extend(MINUTE), ErrorKind::Invalid, &["at-most-once"]);
    fails(queue.nack(&[delivery.receipt()], &at_once()), ErrorKind::Invalid, &["at-most-once"]);
    fails(queue.dead_letter(&[delivery.receipt()], "x"), ErrorKind::Invalid, &["at-most-once"]);
    fails(queue.release(&[delivery.receipt()]), ErrorKind::Invalid, &["at-most-once"]);
    delivery.ack().expect("an ack is accepted and does nothing");
    world.clock.advance(HOUR);
    assert_eq!(taken_bodies_after_reopen(&world), ["b"]);
}

fn taken_bodies_after_reopen(world: &World) -> Vec<String> {
    let store = world.another();
    let taken = taken(&store.open_queue("q").expect("opens"), 10);
    store.close().expect("closes");
    taken
}

/// Handlers that die on the poison message, in batches of `batch`. Returns how often each message was delivered.
fn work_until_done(
    queue: &Queue,
    batch: usize,
    poison: &str,
    mut dies: impl FnMut(Vec<Delivery>),
) -> BTreeMap<String, u32> {
    let mut deliveries = BTreeMap::new();
    for _ in 0..1_000 {
        let mut work = take(queue, batch);
        if work.is_empty() {
            return deliveries;
        }
        for delivery in &work {
            *deliveries.entry(body(delivery)).or_default() += 1;
        }
        while !work.is_empty() {
            if body(&work[0]) == poison {
                dies(std::mem::take(&mut work));
            } else {
                work.remove(0).ack().expect("acks");
            }
        }
    }
    panic!("still not done; the counts are {:?}", counts(queue));
}

#[test]
fn one_poison_message_in_a_batch_of_a_hundred_dies_alone() {
    for (attempts, place) in [(2, 50), (3, 0), (5, 37), (5, 99), (20, 1)] {
        let world = World::new();
        let queue = world.at_least_once_with("q", QueueOptions::new().attempts_max(attempts));
        let bodies: Vec<String> = (0..100).map(|n| format!("m{n}")).collect();
        queue.send_many(bodies.iter().map(String::as_str)).expect("sends");
        let poison = format!("m{place}");
        let deliveries = work_until_done(&queue, 100, &poison, |held| {
            drop(held);
            world.clock.advance(MINUTE);
        });
        assert_eq!(deliveries[&poison], attempts);
        assert_eq!(counts(&queue), [0, 0, 0, 0, 1], "{attempts} attempts, poison at {place}");
        assert_eq!(queue.dead_letters(None, 10).expect("lists")[0].message.body, poison.as_bytes());
    }
}

#[test]
fn a_poison_message_dies_alone_when_its_handlers_process_dies() {
    let obituaries = Arc::new(Obituaries::default());
    let world = World::with(|options| options.liveness(Arc::clone(&obituaries) as Arc<_>));
    let queue = world.at_least_once_with("q", QueueOptions::new().attempts_max(5).lease(HOUR));
    queue.send_many((0..100).map(|n| format!("m{n}"))).expect("sends");
    let mut done = 0;
    for slot in 1..100 {
        // Slot 0 is the survivor's, and each worker takes the next one: nothing closes a worker that died.
        let worker =
            options(&world.clock).liveness(Arc::clone(&obituaries) as Arc<_>).open(&world.path).expect("opens");
        let work = take(&worker.open_queue("q").expect("opens"), 100);
        std::mem::forget(worker);
        if work.is_empty() {
            break;
        }
        for delivery in work {
            if body(&delivery) == "m42" {
                obituaries.add(slot);
                std::mem::forget(delivery);
                break;
            }
            delivery.ack().expect("acks");
            done += 1;
        }
    }
    assert_eq!(done, 99);
    assert_eq!(counts(&queue), [0, 0, 0, 0, 1]);
}

#[test]
fn a_poison_message_dies_alone_when_its_handlers_store_closes() {
    // As when a handler panics, and everything is dropped on the way out.
    let world = World::new();
    let queue = world.at_least_once_with("q", QueueOptions::new().attempts_max(5));
    queue.send_many((0..100).map(|n| format!("m{n}"))).expect("sends");
    for _ in 0..100 {
        let worker = world.another();
        let work = take(&worker.open_queue("q").expect("opens"), 100);
        if work.is_empty() {
            break;
        }
        for delivery in work.iter().take_while(|delivery| body(delivery) != "m42") {
            delivery.ack().expect("acks");
        }
    }
    assert_eq!(counts(&queue), [0, 0, 0, 0, 1]);
    assert_eq!(queue.dead_letters(None, 1).expect("lists")[0].message.body, b"m42");
}

#[test]
fn without_a_limit_poison_is_isolated_all_the_same() {
    let world = World::new();
    let queue = world.at_least_once_with("q", QueueOptions::new().attempts_max(None));
    queue.send_many((0..64).map(|n| format!("m{n}"))).expect("sends");
    let mut left = 64;
    for _ in 0..200 {
        let work = take(&queue, 64);
        if work.len() == 1 && left == 1 {
            assert_eq!(bodies(&work), ["m9"]);
            return;
        }
        for delivery in work {
            if body(&delivery) == "m9" {
                break;
            }
            delivery.ack().expect("acks");
            left -= 1;
        }
        world.clock.advance(MINUTE);
    }
    panic!("{left} are left");
}

#[test]
fn a_store_in_memory_keeps_the_same_promises() {
    let store = Store::open(":memory:").expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    queue.send("x").expect("sends");
    let first = take_one(&queue);
    let receipt = first.receipt();
    first.nack(&at_once()).expect("nacks");
    let second = take_one(&queue);
    assert_eq!((second.attempt(), second.receipt().token > receipt.token), (2, true));
    assert_eq!(queue.ack(&[receipt]).expect("answers"), [receipt]);
    second.ack().expect("acks");
}
