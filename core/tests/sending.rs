//! Sending: what a key stands for and for how long, all or nothing, and what arrives of a message.

mod common;

use common::{
    HOUR, MILLISECOND, MINUTE, SECOND, START, World, almost, bodies, body, counts, fails, receipts, send_all, take,
    take_one, taken,
};
use onceward::{ErrorKind, HeaderValue, Message, MessageId, QueueOptions, Semantics, Sent, Window};
use std::time::{Duration, UNIX_EPOCH};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn keyed(key: &str, body: &str) -> Message {
    Message::new(body).key(key)
}

#[test]
fn a_repeated_key_is_one_message_with_the_same_id_under_every_promise() {
    let world = World::new();
    for semantics in Semantics::ALL {
        let queue = world.store.queue(semantics.name(), semantics).expect("opens");
        let first = queue.send(keyed("k", "x")).expect("sends");
        let again = queue.send(keyed("k", "x")).expect("sends");
        assert!(!first.duplicate && again.duplicate);
        assert_eq!(first.id, again.id);
        assert_eq!(counts(&queue), [1, 0, 0, 0, 0]);
    }
}

#[test]
fn a_key_is_remembered_after_its_message_is_done() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let id = queue.send(keyed("k", "x")).expect("sends").id;
    take_one(&queue).ack().expect("acks");
    let again = queue.send(keyed("k", "x")).expect("sends");
    assert_eq!((again.id, again.duplicate), (id, true));
    assert_eq!(world.rows(), 0);
}

#[test]
fn the_same_key_with_another_body_is_a_conflict_that_names_it_and_writes_nothing() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let id = queue.send(keyed("the key", "x")).expect("sends").id;
    fails(queue.send(keyed("the key", "y")), ErrorKind::Conflict, &["the key", "\"q\"", &id.to_string()]);
    fails(queue.send(keyed("the key", "")), ErrorKind::Conflict, &["the key"]);
    assert_eq!(counts(&queue), [1, 0, 0, 0, 0]);
    assert_eq!(queue.send(keyed("the key", "x")).expect("sends").id, id);
    assert_eq!(world.rows(), 1);
}

#[test]
fn a_duplicate_is_recognised_by_key_and_body_alone() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let first = queue.send(keyed("k", "x").priority(1)).expect("sends");
    let again = queue.send(keyed("k", "x").priority(7).delay(HOUR).header("h", "v")).expect("sends");
    assert_eq!((again.id, again.duplicate), (first.id, true));
    let delivery = take_one(&queue);
    assert_eq!((delivery.priority(), delivery.headers().len()), (1, 0), "the first send is the message");
}

#[test]
fn keys_of_one_queue_mean_nothing_to_another() {
    let world = World::new();
    let (one, two) = (world.at_least_once("one"), world.at_least_once("two"));
    let a = one.send(keyed("k", "x")).expect("sends");
    let b = two.send(keyed("k", "y")).expect("sends");
    assert!(!a.duplicate && !b.duplicate);
    assert_ne!(a.id, b.id);
}

#[test]
fn keys_are_compared_byte_for_byte() {
    let world = World::new();
    let queue = world.at_least_once("q");
    for key in ["k", "K", "k ", " k", "ключ", "é", "e\u{301}", "k\n", "'", "\"", "%"] {
        assert!(!queue.send(keyed(key, key)).expect("sends").duplicate, "{key:?} is new");
    }
    for delivery in take(&queue, 20) {
        assert_eq!(delivery.key().expect("a key").as_bytes(), delivery.body());
    }
}

#[test]
fn messages_without_a_key_are_never_duplicates() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let ids = send_all(&queue, &["x", "x", "x"]);
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(counts(&queue), [3, 0, 0, 0, 0]);
}

#[test]
fn an_exactly_once_queue_takes_no_message_without_a_key() {
    let world = World::new();
    let queue = world.store.queue("money", Semantics::ExactlyOnce).expect("opens");
    fails(queue.send("x"), ErrorKind::Invalid, &["money", "key"]);
    fails(queue.send_many([keyed("k", "x"), Message::new("y")]), ErrorKind::Invalid, &["money", "key"]);
    assert_eq!(world.rows(), 0);
    assert!(!queue.send(keyed("k", "other")).expect("sends").duplicate, "the refused call remembered nothing");
}

#[test]
fn a_key_is_forgotten_when_its_window_has_passed_and_not_before() {
    let world = World::new();
    let window = QueueOptions::new().deduplication_window(Window::For(MINUTE));
    let queue = world.at_least_once_with("q", window);
    let first = queue.send(keyed("k", "x")).expect("sends").id;
    world.clock.advance(almost(MINUTE));
    assert_eq!(queue.send(keyed("k", "x")).expect("sends").id, first);
    fails(queue.send(keyed("k", "y")), ErrorKind::Conflict, &["\"k\""]);
    world.clock.advance(MILLISECOND);
    let second = queue.send(keyed("k", "y")).expect("sends");
    assert!(!second.duplicate && second.id > first);
    world.clock.advance(almost(MINUTE));
    let third = queue.send(keyed("k", "y")).expect("sends");
    assert_eq!((third.id, third.duplicate), (second.id, true), "the window began anew with the new message");
}

#[test]
fn a_duplicate_does_not_prolong_the_window() {
    let world = World::new();
    let queue = world.at_least_once_with("q", QueueOptions::new().deduplication_window(Window::For(MINUTE)));
    queue.send(keyed("k", "x")).expect("sends");
    world.clock.advance(MINUTE / 2);
    assert!(queue.send(keyed("k", "x")).expect("sends").duplicate);
    world.clock.advance(MINUTE / 2);
    assert!(!queue.send(keyed("k", "x")).expect("sends").duplicate);
}

#[test]
fn the_window_is_a_day_by_default_and_for_ever_on_exactly_once() {
    let world = World::new();
    for semantics in Semantics::ALL {
        let queue = world.store.queue(semantics.name(), semantics).expect("opens");
        queue.send(keyed("k", "x")).expect("sends");
    }
    world.clock.advance(DAY);
    for semantics in Semantics::ALL {
        let queue = world.store.queue(semantics.name(), semantics).expect("opens");
        let again = queue.send(keyed("k", "x")).expect("sends");
        assert_eq!(again.duplicate, semantics == Semantics::ExactlyOnce, "{semantics}");
    }
    world.clock.advance(DAY * 3650);
    let queue = world.store.open_queue(Semantics::ExactlyOnce.name()).expect("opens");
    assert!(queue.send(keyed("k", "x")).expect("sends").duplicate);
}

#[test]
fn a_clock_set_back_makes_no_message_twice() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let first = queue.send(keyed("k", "x")).expect("sends");
    world.clock.set(onceward::Millis::new(0));
    let again = queue.send(keyed("k", "x")).expect("sends");
    assert_eq!((again.id, again.duplicate), (first.id, true));
    let later = queue.send("y").expect("sends");
    assert!(later.id > first.id);
}

#[test]
fn send_many_answers_for_each_message_in_order() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let known = queue.send(keyed("b", "B")).expect("sends").id;
    let sent = queue.send_many([keyed("a", "A"), keyed("b", "B"), Message::new("C"), keyed("a", "A")]).expect("sends");
    let duplicates: Vec<bool> = sent.iter().map(|sent| sent.duplicate).collect();
    assert_eq!(duplicates, [false, true, false, true]);
    assert_eq!((sent[1].id, sent[3].id), (known, sent[0].id));
    assert_eq!(taken(&queue, 10), ["B", "A", "C"]);
}

#[test]
fn what_is_sent_together_arrives_as_what_is_sent_one_by_one() {
    let said: [fn(Message) -> Message; 8] = [
        |message| message,
        |message| message.key("k"),
        |message| message.ordering_key("o"),
        |message| message.header("text", "größe").header("bytes", vec![0u8, 255]),
        |message| message.priority(2),
        |message| message.delay(HOUR),
        |message| message.time_to_live(SECOND),
        |message| message.key("all").header("h", "").priority(9).delay(MINUTE).time_to_live(DAY),
    ];
    let bodies = [Vec::new(), b"x".to_vec(), vec![0; 5], vec![0xff; 70_000]];
    let message = |what: usize, body: usize| said[what](Message::new(bodies[body].clone()));
    // Each among messages that are nothing but a body, then all of them, and what was sent before.
    let of_a_kind = |what| vec![message(0, 2), message(what, 1), message(0, 0), message(what, 1), message(0, 3)];
    let all = (0..32).map(|n| message(n / 4, if [1, 7].contains(&(n / 4)) { 1 } else { n % 4 })).collect();
    let calls: Vec<Vec<Message>> =
        (0..said.len()).map(of_a_kind).chain([all, vec![message(7, 1), message(1, 1)]]).collect();
    for semantics in [Semantics::AtMostOnce, Semantics::AtLeastOnce] {
        let world = World::new();
        let [alone, together] = ["alone", "together"].map(|name| world.store.queue(name, semantics).expect("opens"));
        let (mut one_by_one, mut at_once) = (Vec::new(), Vec::new());
        for call in &calls {
            one_by_one.extend(call.iter().map(|message| alone.send(message.clone()).expect("sends")));
            at_once.extend(together.send_many(call.clone()).expect("sends"));
            assert_eq!(counts(&together), counts(&alone));
        }
        // Which are new, and which earlier one a duplicate stands for.
        let origins = |sent: &[Sent]| -> Vec<(bool, Option<usize>)> {
            sent.iter().map(|one| (one.duplicate, sent.iter().position(|first| first.id == one.id))).collect()
        };
        assert_eq!(origins(&at_once), origins(&one_by_one));
        let mut arrived = 0;
        for wait in [MINUTE, HOUR] {
            world.clock.advance(wait);
            loop {
                let [left, right] = [&alone, &together].map(|queue| queue.receive(Duration::ZERO).expect("receives"));
                let (Some(left), Some(right)) = (&left, &right) else {
                    assert!(left.is_none() && right.is_none());
                    break;
                };
                assert_eq!(left.body(), right.body());
                assert_eq!(left.headers(), right.headers());
                assert_eq!((left.key(), left.ordering_key()), (right.key(), right.ordering_key()));
                assert_eq!((left.priority(), left.sent_at()), (right.priority(), right.sent_at()));
                arrived += 1;
                if semantics != Semantics::AtMostOnce {
                    left.ack().expect("acks");
                    right.ack().expect("acks");
                }
            }
        }
        assert!(arrived > 30, "{arrived}");
        assert_eq!(counts(&together), counts(&alone));
    }
}

#[test]
fn a_table_that_takes_the_place_of_what_is_sent_loses_nothing() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let sql = world.sql();
    sql.execute_batch(
        "CREATE TABLE onceward_sending(id, due_at, expires_at, key, ordering_key, headers, body, fingerprint)",
    )
    .expect("another program may do what it likes");
    for messages in [[Message::new("a"), Message::new("b")], [keyed("a", "A"), keyed("b", "B")]] {
        fails(queue.send_many(messages.clone()), ErrorKind::Storage, &["0"]);
        assert_eq!((world.rows(), world.count("onceward_ledger")), (0, 0), "nothing is half-written");
    }
    sql.execute_batch("DROP TABLE onceward_sending").expect("drops");
    assert!(queue.send_many([keyed("a", "A"), keyed("b", "B")]).expect("sends").iter().all(|sent| !sent.duplicate));
    assert_eq!(taken(&queue, 10), ["A", "B"]);
}

#[test]
fn send_many_is_all_or_nothing() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send(keyed("known", "x")).expect("sends");
    fails(queue.send_many([keyed("new", "1"), keyed("known", "y")]), ErrorKind::Conflict, &["known"]);
    fails(queue.send_many([keyed("new", "1"), keyed("new", "2")]), ErrorKind::Conflict, &["new"]);
    fails(queue.send_many([keyed("new", "1"), Message::new("2").priority(10)]), ErrorKind::Invalid, &["10", "9"]);
    assert_eq!(world.rows(), 1);
    assert_eq!(world.count("onceward_ledger"), 1, "no key of a refused call is remembered");
    assert!(!queue.send(keyed("new", "2")).expect("sends").duplicate);
    assert!(queue.send_many(Vec::<Message>::new()).expect("nothing is sent").is_empty());
}

#[test]
fn ids_grow_and_stay_exact_in_every_language() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let mut last = 0;
    for priority in 0..10 {
        for _ in 0..3 {
            let id = queue.send(Message::new("x").priority(priority)).expect("sends").id.get();
            assert!(id < 1 << 53, "{id}");
            assert!(priority > 0 || id > last);
            last = id;
        }
    }
    let at_priority = |n| queue.send(Message::new("x").priority(n)).expect("sends").id;
    assert!(at_priority(3) < at_priority(3));
}

#[test]
fn ids_are_never_given_twice_not_even_after_a_reopen() {
    let world = World::new();
    let mut ids: Vec<MessageId> = Vec::new();
    let mut store = world.another();
    for _ in 0..3 {
        let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
        ids.extend(send_all(&queue, &["a", "b"]));
        queue.purge().expect("purges");
        store.close().expect("closes");
        store = world.another();
    }
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
}

#[test]
fn bodies_arrive_byte_for_byte() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let every_byte: Vec<u8> = (0..=255).collect();
    let bodies = [vec![], vec![0], every_byte, vec![0xff; 100_000]];
    queue.send_many(bodies.iter().cloned()).expect("sends");
    for (delivery, body) in take(&queue, 10).iter().zip(&bodies) {
        assert_eq!(delivery.body(), body);
    }
}

#[test]
fn headers_arrive_as_text_or_bytes_as_they_went() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let message = Message::new("x").header("text", "größe").header("bytes", vec![0u8, 255]).header("empty", "");
    queue.send(message).expect("sends");
    queue.send("plain").expect("sends");
    let taken = take(&queue, 2);
    assert_eq!(taken[0].headers()["text"], HeaderValue::Text("größe".into()));
    assert_eq!(taken[0].headers()["bytes"], HeaderValue::Bytes(vec![0, 255]));
    assert_eq!(taken[0].headers()["empty"], HeaderValue::Text(String::new()));
    assert!(taken[1].headers().is_empty());
}

#[test]
fn a_delivery_tells_what_was_sent() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let id = queue.send(keyed("k", "x").ordering_key("o")).expect("sends").id;
    world.clock.advance(SECOND);
    let delivery = take_one(&queue);
    assert_eq!((delivery.id(), delivery.attempt(), delivery.priority()), (id, 1, 4));
    assert_eq!((delivery.key(), delivery.ordering_key()), (Some("k"), Some("o")));
    assert_eq!(delivery.sent_at(), START);
    assert_eq!(delivery.lease_expires_at(), START.plus(SECOND * 31));
}

#[test]
fn a_delayed_message_is_offered_at_its_time_and_not_before() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send(Message::new("later").delay(MINUTE)).expect("sends");
    queue.send("now").expect("sends");
    assert_eq!(counts(&queue), [1, 1, 0, 0, 0]);
    let now = take_one(&queue);
    assert_eq!(body(&now), "now");
    now.ack().expect("acks");
    world.clock.advance(almost(MINUTE));
    assert!(take(&queue, 5).is_empty());
    world.clock.advance(MILLISECOND);
    assert_eq!(taken(&queue, 5), ["later"]);
}

#[test]
fn a_delay_is_rounded_up_so_that_nothing_comes_early() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send(Message::new("x").delay(Duration::from_nanos(1))).expect("sends");
    assert!(take(&queue, 5).is_empty());
    world.clock.advance(MILLISECOND);
    assert_eq!(taken(&queue, 5), ["x"]);
}

#[test]
fn a_message_can_be_offered_from_a_time_of_the_wall_clock_on() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let start = UNIX_EPOCH + Duration::from_millis(START.get().unsigned_abs());
    queue.send(Message::new("in a minute").deliver_at(start + MINUTE)).expect("sends");
    queue.send(Message::new("a minute ago").deliver_at(start - MINUTE)).expect("sends");
    queue.send(Message::new("long ago").deliver_at(UNIX_EPOCH - MINUTE)).expect("sends");
    let passed = take(&queue, 5);
    assert_eq!(bodies(&passed), ["a minute ago", "long ago"]);
    queue.ack(&receipts(&passed)).expect("acks");
    world.clock.advance(MINUTE);
    assert_eq!(taken(&queue, 5), ["in a minute"]);
}

#[test]
fn what_was_not_finished_in_its_time_to_live_is_a_dead_letter_with_that_reason() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send(Message::new("short").time_to_live(MINUTE)).expect("sends");
    queue.send(Message::new("long").time_to_live(HOUR)).expect("sends");
    world.clock.advance(MINUTE);
    assert_eq!(taken(&queue, 5), ["long"]);
    let dead = queue.dead_letters(None, 10).expect("lists");
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].message.body.as_slice(), dead[0].message.attempts), (&b"short"[..], 0));
    assert!(dead[0].reason.contains("expired"), "{}", dead[0].reason);
}

#[test]
fn a_message_expires_even_when_nobody_receives() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let gone = world.store.queue("lossy", Semantics::AtMostOnce).expect("opens");
    queue.send(Message::new("x").time_to_live(MINUTE)).expect("sends");
    gone.send(Message::new("x").time_to_live(MINUTE)).expect("sends");
    world.clock.advance(MINUTE);
    common::eventually("the sweep", || counts(&queue) == [0, 0, 0, 0, 1] && counts(&gone) == [0; 5]);
    assert_eq!(world.rows(), 1, "the dead letter's");
}

#[test]
fn an_expired_message_in_flight_may_still_be_acknowledged() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send(Message::new("x").time_to_live(SECOND)).expect("sends");
    let delivery = take_one(&queue);
    world.clock.advance(SECOND * 2);
    assert_eq!(counts(&queue), [0, 0, 0, 1, 0]);
    delivery.ack().expect("it was handed over in time");
    assert_eq!(counts(&queue), [0; 5]);
    assert_eq!(world.rows(), 0);
}

#[test]
fn a_time_to_live_shorter_than_the_delay_kills_the_message_unseen() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send(Message::new("x").delay(HOUR).time_to_live(MINUTE)).expect("sends");
    world.clock.advance(HOUR);
    assert!(take(&queue, 5).is_empty());
    assert_eq!(counts(&queue), [0, 0, 0, 0, 1]);
}
