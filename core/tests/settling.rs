//! Settling: the fencing token decides, the same settle repeated gives the same answer, and statistics stay exact.

mod common;

use common::{HOUR, MINUTE, SECOND, World, at_once, bodies, counts, fails, receipts, send_all, take, take_one, taken};
use onceward::{
    ConsumeOptions, Delivery, ErrorKind, Message, MessageId, Nack, Queue, QueueOptions, Receipt, Result, Semantics,
    Token,
};
use std::time::Duration;

/// Every way to settle, by name.
type Way = (&'static str, fn(&Queue, &[Receipt]) -> Result<Vec<Receipt>>);
const WAYS: [Way; 5] = [
    ("ack", |queue, receipts| queue.ack(receipts)),
    ("nack", |queue, receipts| queue.nack(receipts, &Nack::new().delay(HOUR).error("e"))),
    ("dead_letter", |queue, receipts| queue.dead_letter(receipts, "no use")),
    ("release", |queue, receipts| queue.release(receipts)),
    ("extend", |queue, receipts| queue.extend(receipts, HOUR)),
];

#[test]
fn a_late_ack_never_settles_anothers_delivery() {
    for (name, settle) in WAYS {
        let world = World::new();
        let queue = world.at_least_once("q");
        queue.send("x").expect("sends");
        let late = take_one(&queue).receipt();
        world.clock.advance(MINUTE);
        let current = take_one(&queue);
        assert_eq!(settle(&queue, &[late]).expect("answers"), [late], "{name}");
        assert_eq!(counts(&queue), [0, 0, 0, 1, 0], "{name} changed nothing");
        current.ack().expect("the current holder is not disturbed");
        assert_eq!(settle(&queue, &[late]).expect("answers"), [late], "{name} after the end");
    }
}

#[test]
fn a_late_settle_through_the_delivery_is_lease_lost_and_names_the_message() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let id = queue.send("x").expect("sends").id.to_string();
    let late = |settle: fn(Delivery) -> Result<()>| {
        let delivery = take_one(&queue);
        world.clock.advance(MINUTE);
        let current = take_one(&queue);
        fails(settle(delivery), ErrorKind::LeaseLost, &[&id]);
        current.release().expect("releases");
    };
    late(|delivery| delivery.ack());
    late(|delivery| delivery.nack(&Nack::new()));
    late(|delivery| delivery.dead_letter("x"));
    late(|delivery| delivery.release());
    late(|mut delivery| delivery.extend(HOUR));
}

#[test]
fn of_threads_that_settle_one_delivery_at_once_one_does_and_the_others_are_told() {
    type Settle = fn(&Delivery) -> Result<()>;
    let ways: [(&str, Settle); 4] = [
        ("ack", |delivery| delivery.ack()),
        ("nack", |delivery| delivery.nack(&Nack::new().delay(HOUR))),
        ("dead_letter", |delivery| delivery.dead_letter("no use")),
        ("release", |delivery| delivery.release()),
    ];
    let world = World::new();
    let queue = world.at_least_once("q");
    for (name, settle) in ways {
        for consumed in [false, true] {
            queue.send("x").expect("sends");
            let mut consumer = queue.consume(ConsumeOptions::new()).expect("consumes");
            let delivery = if consumed { consumer.next().expect("one").expect("received") } else { take_one(&queue) };
            let ready = std::sync::Barrier::new(8);
            let outcomes: Vec<Result<()>> = std::thread::scope(|scope| {
                let settle = || {
                    ready.wait();
                    settle(&delivery)
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(settle)).collect();
                threads.into_iter().map(|thread| thread.join().expect("does not panic")).collect()
            });
            let (done, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
            assert_eq!((done.len(), refused.len()), (1, 7), "{name}, from a consumer: {consumed}");
            for outcome in refused {
                fails(outcome, ErrorKind::Invalid, &["already"]);
            }
            consumer.close().expect("closes");
            queue.purge().expect("purges");
        }
    }
}

#[test]
fn an_expired_lease_that_nobody_took_over_is_still_its_holders() {
    for (name, settle) in WAYS {
        let world = World::new();
        let queue = world.at_least_once("q");
        queue.send("x").expect("sends");
        let held = take_one(&queue).receipt();
        world.clock.advance(HOUR * 24);
        assert!(settle(&queue, &[held]).expect("answers").is_empty(), "{name}");
    }
}

#[test]
fn the_same_settle_repeated_gives_the_same_answer() {
    for (name, settle) in WAYS {
        let world = World::new();
        let queue = world.at_least_once("q");
        send_all(&queue, &["a", "b"]);
        let held = receipts(&take(&queue, 2));
        assert!(settle(&queue, &held).expect("answers").is_empty());
        let after = counts(&queue);
        for _ in 0..3 {
            assert!(settle(&queue, &held).expect("answers").is_empty(), "{name} repeated");
        }
        assert_eq!(counts(&queue), after, "{name} repeated changes nothing");
    }
}

#[test]
fn a_repeated_settle_does_not_touch_a_later_delivery() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send("x").expect("sends");
    let first = take_one(&queue).receipt();
    queue.nack(&[first], &at_once()).expect("nacks");
    let second = take_one(&queue);
    assert!(queue.nack(&[first], &at_once()).expect("the same answer").is_empty());
    assert_eq!(counts(&queue), [0, 0, 0, 1, 0]);
    second.ack().expect("the repeat took nothing away");
}

#[test]
fn after_one_settle_any_other_way_is_too_late() {
    for (first, settle) in &WAYS[..4] {
        for (second, other) in &WAYS {
            if first == second {
                continue;
            }
            let world = World::new();
            let queue = world.at_least_once("q");
            queue.send("x").expect("sends");
            let held = [take_one(&queue).receipt()];
            assert!(settle(&queue, &held).expect("answers").is_empty());
            let after = counts(&queue);
            assert_eq!(other(&queue, &held).expect("answers"), held, "{second} after {first}");
            assert_eq!(counts(&queue), after, "{second} after {first} changes nothing");
        }
    }
}

#[test]
fn made_up_tokens_settle_nothing() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send("x").expect("sends");
    let held = take_one(&queue).receipt();
    for token in [0, held.token.get() + 1, held.token.get() - 1, u64::MAX, i64::MAX as u64, 1 << 53] {
        let made_up = Receipt { token: Token::new(token), ..held };
        for (name, settle) in WAYS {
            assert_eq!(settle(&queue, &[made_up]).expect("answers"), [made_up], "{name} with {token}");
        }
    }
    assert_eq!(counts(&queue), [0, 0, 0, 1, 0]);
}

#[test]
fn messages_that_wait_cannot_be_settled_with_any_token() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send("unseen").expect("sends");
    let id = queue.send(Message::new("delayed").delay(HOUR)).expect("sends").id;
    let unseen = take_one(&queue);
    let receipt = unseen.receipt();
    unseen.release().expect("releases");
    for token in 0..3 {
        let receipts = [
            Receipt { message: id, token: Token::new(token) },
            Receipt { message: receipt.message, token: Token::new(token + 5) },
        ];
        assert_eq!(queue.ack(&receipts).expect("answers").len(), 2);
    }
    assert_eq!(counts(&queue), [1, 1, 0, 0, 0]);
}

#[test]
fn ids_of_other_queues_are_refused_and_nothing_is_settled() {
    let world = World::new();
    let (queue, other) = (world.at_least_once("mine"), world.at_least_once("theirs"));
    send_all(&queue, &["a", "b"]);
    other.send("x").expect("sends");
    let mut mixed = receipts(&take(&queue, 2));
    mixed.push(take_one(&other).receipt());
    for (_, settle) in WAYS {
        fails(settle(&queue, &mixed), ErrorKind::Invalid, &["theirs", &mixed[2].message.to_string()]);
    }
    assert_eq!((counts(&queue)[3], counts(&other)[3]), (2, 1));
    let nowhere = Receipt { message: MessageId::new(999 << 38 | 1).expect("an id"), token: Token::new(1) };
    fails(queue.ack(&[nowhere]), ErrorKind::Invalid, &["no queue", &nowhere.message.to_string()]);
    let never_sent = Receipt { message: MessageId::new(mixed[1].message.get() + 1000).expect("an id"), ..mixed[1] };
    assert_eq!(queue.ack(&[never_sent]).expect("answers"), [never_sent]);
}

#[test]
fn receipts_of_another_subscription_settle_nothing_of_this_one() {
    let world = World::new();
    let options = QueueOptions::new().subscriptions(["one", "two"]);
    let queue = world.at_least_once_with("q", options);
    let (one, two) = (queue.subscription("one").expect("there"), queue.subscription("two").expect("there"));
    queue.send("x").expect("sends");
    let mine = common::take_of(&one, 1).remove(0);
    let theirs = common::take_of(&two, 1).remove(0);
    mine.ack().expect("acks");
    assert_eq!(common::counts_of(&two), [0, 0, 0, 1, 0]);
    theirs.ack().expect("acks");
    assert_eq!(world.rows(), 0);
}

#[test]
fn settling_nothing_is_no_error() {
    let world = World::new();
    let queue = world.at_least_once("q");
    for (_, settle) in WAYS {
        assert!(settle(&queue, &[]).expect("answers").is_empty());
    }
}

#[test]
fn a_receipt_named_twice_in_one_call_counts_once() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send("x").expect("sends");
    let held = take_one(&queue).receipt();
    assert!(queue.ack(&[held, held]).expect("acks").is_empty());
    assert_eq!(counts(&queue), [0; 5]);
    assert_eq!(world.rows(), 0);
}

#[test]
fn a_batch_may_be_settled_in_any_order_and_statistics_stay_exact() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let bodies: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    queue.send_many(bodies.iter().map(String::as_str)).expect("sends");
    let held = receipts(&take(&queue, 30));
    // Every seventh, wrapping round: each settle splits the interval somewhere else.
    let order: Vec<usize> = (0..30).map(|n| n * 7 % 30).collect();
    let mut expected = [0, 0, 0, 30, 0];
    for (step, index) in order.into_iter().enumerate() {
        let (_, settle) = WAYS[step % 4];
        assert!(settle(&queue, &held[index..=index]).expect("answers").is_empty());
        expected[3] -= 1;
        match step % 4 {
            1 => expected[1] += 1,
            2 => expected[4] += 1,
            3 => expected[0] += 1,
            _ => {}
        }
        assert_eq!(counts(&queue), expected, "after step {step}");
    }
    assert_eq!(world.rows(), 30 - 8, "the acknowledged ones have left the file");
}

#[test]
fn settling_some_of_a_batch_tells_exactly_which_were_lost() {
    let world = World::new();
    let queue = world.at_least_once("q");
    send_all(&queue, &["a", "b", "c", "d"]);
    let held = receipts(&take(&queue, 4));
    queue.extend(&held[2..], HOUR).expect("extends");
    world.clock.advance(MINUTE);
    let mut again = Vec::new();
    for _ in 0..4 {
        again.extend(take(&queue, 4));
    }
    assert_eq!(bodies(&again), ["a", "b"]);
    assert_eq!(queue.ack(&held).expect("answers"), held[..2]);
    assert_eq!(counts(&queue), [0, 0, 0, 2, 0]);
}

#[test]
fn acknowledged_messages_never_come_again() {
    let world = World::new();
    let queue = world.at_least_once("q");
    send_all(&queue, &["a", "b", "c"]);
    let held = receipts(&take(&queue, 3));
    queue.ack(&held[1..2]).expect("acks");
    world.clock.advance(HOUR);
    let mut seen = Vec::new();
    for _ in 0..10 {
        let batch = take(&queue, 3);
        queue.ack(&receipts(&batch)).expect("acks");
        seen.extend(bodies(&batch));
    }
    assert_eq!(seen, ["a", "c"]);
    world.store.close().expect("closes");
    let store = world.another();
    assert!(taken(&store.open_queue("q").expect("opens"), 10).is_empty());
}

#[test]
fn a_dead_letter_keeps_its_reason_and_the_error_of_its_last_nack() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send("x").expect("sends");
    take_one(&queue).nack(&at_once().error("it failed")).expect("nacks");
    take_one(&queue).dead_letter("given up").expect("dead-letters");
    let letter = queue.dead_letters(None, 1).expect("lists").remove(0);
    assert_eq!((letter.reason.as_str(), letter.error.as_deref()), ("given up", Some("it failed")));
    assert_eq!(letter.message.attempts, 2);
}

#[test]
fn an_exactly_once_queue_settles_by_the_same_rules() {
    let world = World::new();
    let queue = world.store.queue("q", Semantics::ExactlyOnce).expect("opens");
    queue.send(Message::new("x").key("k")).expect("sends");
    let late = take_one(&queue).receipt();
    world.clock.advance(MINUTE);
    let current = take_one(&queue);
    assert_eq!(queue.ack(&[late]).expect("answers"), [late]);
    current.ack().expect("acks");
    assert_eq!(queue.ack(&[late]).expect("answers"), [late]);
    assert!(queue.send(Message::new("x").key("k")).expect("sends").duplicate);
    assert_eq!(counts(&queue), [0; 5]);
}

#[test]
fn a_nack_without_a_delay_waits_for_the_backoff() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send("x").expect("sends");
    take_one(&queue).nack(&Nack::new()).expect("nacks");
    assert_eq!(counts(&queue), [0, 1, 0, 0, 0]);
    world.clock.advance(SECOND);
    assert_eq!(take_one(&queue).attempt(), 2);
}

#[test]
fn the_age_of_the_oldest_message_is_known() {
    let world = World::new();
    let queue = world.at_least_once("q");
    assert_eq!(queue.stats().expect("statistics").oldest_age, None);
    queue.send("old").expect("sends");
    world.clock.advance(MINUTE);
    queue.send("new").expect("sends");
    assert_eq!(queue.stats().expect("statistics").oldest_age, Some(MINUTE));
    take(&queue, 1).remove(0).ack().expect("acks");
    assert_eq!(queue.stats().expect("statistics").oldest_age, Some(Duration::ZERO));
}
