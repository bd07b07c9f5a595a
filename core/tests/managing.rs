//! What concerns a queue as a whole: settings, pausing, priorities, cancelling, purging, looking.

mod common;

use common::{
    HOUR, MINUTE, PATIENCE, SECOND, World, at_once, bodies, body, counts, fails, receipts, send_all, take, take_one,
    taken,
};
use onceward::{
    Backoff, ErrorKind, IN_MEMORY, Message, MessageId, Nack, QueueOptions, ReceiveOptions, Semantics, Store, Window,
};
use std::time::Duration;

#[test]
fn opening_a_queue_with_other_semantics_is_a_conflict_that_names_both() {
    let world = World::new();
    for kept in Semantics::ALL {
        world.store.queue(kept.name(), kept).expect("opens");
        for other in Semantics::ALL.into_iter().filter(|other| *other != kept) {
            let opened = world.store.queue(kept.name(), other).map(|_| ());
            fails(opened, ErrorKind::Conflict, &[kept.name(), other.name()]);
            let options = QueueOptions::new().lease(HOUR);
            fails(world.store.queue_with(kept.name(), other, options).map(|_| ()), ErrorKind::Conflict, &[kept.name()]);
        }
        assert_eq!(world.store.open_queue(kept.name()).expect("opens").settings().expect("reads").lease, SECOND * 30);
    }
    world.store.close().expect("closes");
    let opened = world.another().queue("at-least-once", Semantics::ExactlyOnce).map(|_| ());
    fails(opened, ErrorKind::Conflict, &["at-least-once", "exactly-once"]);
}

#[test]
fn a_queue_that_does_not_exist_is_not_found_and_not_made() {
    let world = World::new();
    fails(world.store.open_queue("nobody").map(|_| ()), ErrorKind::NotFound, &["nobody"]);
    assert!(world.store.queues().expect("lists").is_empty());
}

#[test]
fn queues_are_listed_by_name() {
    let world = World::new();
    for name in ["b", "a", "ü", "A"] {
        assert_eq!(world.at_least_once(name).name(), name);
    }
    assert_eq!(world.store.queues().expect("lists"), ["A", "a", "b", "ü"]);
    assert_eq!(world.store.stats().expect("counts").queues, 4);
}

#[test]
fn settings_have_their_defaults() {
    let world = World::new();
    let settings = world.at_least_once("q").settings().expect("reads");
    assert_eq!((settings.lease, settings.attempts_max, settings.paused), (SECOND * 30, Some(20), false));
    assert_eq!(settings.backoff, Backoff::default());
    assert_eq!(settings.deduplication_window, Window::For(HOUR * 24));
    let settings = world.store.queue("e", Semantics::ExactlyOnce).expect("opens").settings().expect("reads");
    assert_eq!((settings.semantics, settings.deduplication_window), (Semantics::ExactlyOnce, Window::Forever));
}

#[test]
fn settings_are_kept_in_the_file_and_only_those_that_are_named_change() {
    let world = World::new();
    let backoff = Backoff { first: SECOND, factor: 3.0, cap: MINUTE, jitter: 0.25 };
    let options = QueueOptions::new().lease(MINUTE).attempts_max(7).backoff(backoff);
    world.at_least_once_with("q", options.deduplication_window(Window::Forever));
    let other = world.another();
    let queue = other.queue_with("q", Semantics::AtLeastOnce, QueueOptions::new().attempts_max(None)).expect("opens");
    let settings = queue.settings().expect("reads");
    assert_eq!((settings.lease, settings.attempts_max), (MINUTE, None));
    assert_eq!((settings.backoff, settings.deduplication_window), (backoff, Window::Forever));
    assert_eq!(world.store.open_queue("q").expect("opens").settings().expect("reads"), settings);
}

#[test]
fn settings_hold_for_every_open_store_at_once() {
    let world = World::new();
    let queue = world.at_least_once("q");
    send_all(&queue, &["x"]);
    let other = world.another();
    other.queue_with("q", Semantics::AtLeastOnce, QueueOptions::new().lease(HOUR)).expect("opens");
    assert_eq!(take_one(&queue).lease_expires_at(), common::START.plus(HOUR));
}

#[test]
fn a_paused_queue_hands_out_nothing_and_takes_everything_else() {
    let world = World::new();
    let queue = world.at_least_once("q");
    send_all(&queue, &["held", "waiting"]);
    let held = take(&queue, 1);
    queue.pause().expect("pauses");
    assert!(queue.is_paused().expect("reads"));
    assert!(take(&queue, 5).is_empty());
    let other = world.another().open_queue("q").expect("opens");
    assert!(other.is_paused().expect("reads") && take(&other, 5).is_empty());
    send_all(&queue, &["sent meanwhile"]);
    held[0].ack().expect("acks");
    assert_eq!(counts(&queue), [2, 0, 0, 0, 0]);
    queue.resume().expect("resumes");
    assert_eq!(taken(&queue, 5), ["waiting", "sent meanwhile"]);
}

#[test]
fn resuming_wakes_a_receiver_that_waits() {
    let world = World::new();
    let queue = world.at_least_once("q");
    send_all(&queue, &["x"]);
    queue.pause().expect("pauses");
    let receiver = queue.clone();
    let waiting = std::thread::spawn(move || receiver.receive(PATIENCE).expect("receives"));
    queue.resume().expect("resumes");
    let delivery = waiting.join().expect("the receiver lives").expect("the message came");
    assert_eq!(body(&delivery), "x");
}

#[test]
fn priorities_are_taken_in_order_and_each_in_the_order_of_sending() {
    let world = World::new();
    let queue = world.at_least_once("q");
    for round in 0..2 {
        for priority in [9, 4, 0, 7] {
            queue.send(Message::new(format!("{priority}/{round}")).priority(priority)).expect("sends");
        }
        queue.send(format!("plain/{round}")).expect("sends");
    }
    let all = take(&queue, 20);
    let expected = ["0/0", "0/1", "4/0", "plain/0", "4/1", "plain/1", "7/0", "7/1", "9/0", "9/1"];
    assert_eq!(bodies(&all), expected);
    assert_eq!(all.iter().map(onceward::Delivery::priority).collect::<Vec<_>>(), [0, 0, 4, 4, 4, 4, 7, 7, 9, 9]);
    queue.nack(&receipts(&all[9..]), &at_once()).expect("nacks");
    queue.nack(&receipts(&all[..1]), &at_once()).expect("nacks");
    assert_eq!(taken(&queue, 1), ["0/0"], "a retry keeps its priority");
}

#[test]
fn cancelling_takes_a_message_away_and_its_key_stays_remembered() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let id = queue.send(Message::new("x").key("k")).expect("sends").id;
    let delayed = queue.send(Message::new("y").delay(HOUR)).expect("sends").id;
    assert!(queue.cancel(id).expect("cancels") && queue.cancel(delayed).expect("cancels"));
    assert!(!queue.cancel(id).expect("answers"), "there is nothing left to cancel");
    assert_eq!((counts(&queue), world.rows()), ([0; 5], 0));
    assert!(queue.send(Message::new("x").key("k")).expect("sends").duplicate);
    world.clock.advance(HOUR);
    assert!(take(&queue, 5).is_empty());
}

#[test]
fn only_what_is_not_in_flight_can_be_cancelled() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let id = send_all(&queue, &["x"])[0];
    let delivery = take_one(&queue);
    fails(queue.cancel(id), ErrorKind::Conflict, &[&id.to_string(), "in flight"]);
    delivery.nack(&Nack::new().delay(HOUR)).expect("nacks");
    assert!(queue.cancel(id).expect("cancels"), "it waits for a retry");
    let id = send_all(&queue, &["y"])[0];
    take_one(&queue).dead_letter("no use").expect("dead-letters");
    assert!(!queue.cancel(id).expect("answers"), "dead letters are purged, not cancelled");
    assert_eq!(counts(&queue), [0, 0, 0, 0, 1]);
}

#[test]
fn ids_of_other_queues_are_refused_by_name() {
    let world = World::new();
    let (mine, theirs) = (world.at_least_once("mine"), world.at_least_once("theirs"));
    let own = send_all(&mine, &["x"])[0];
    let id = send_all(&theirs, &["x"])[0];
    let text = id.to_string();
    fails(mine.cancel(id), ErrorKind::Invalid, &["theirs", &text]);
    fails(mine.redrive(&[own, id]), ErrorKind::Invalid, &["theirs", &text]);
    fails(mine.purge_dead(&[own, id]), ErrorKind::Invalid, &["theirs", &text]);
    let nowhere = MessageId::new(77 << 38 | 1).expect("an id");
    fails(mine.cancel(nowhere), ErrorKind::Invalid, &[&nowhere.to_string()]);
    assert_eq!((counts(&mine), counts(&theirs)), ([1, 0, 0, 0, 0], [1, 0, 0, 0, 0]));
}

#[test]
fn purging_spares_what_is_in_flight_or_dead_and_remembers_keys() {
    let world = World::new();
    let queue = world.at_least_once("q");
    send_all(&queue, &["in flight", "dead"]);
    let held = take(&queue, 2);
    held[1].dead_letter("no use").expect("dead-letters");
    queue.send(Message::new("keyed").key("k")).expect("sends");
    queue.send(Message::new("delayed").delay(HOUR)).expect("sends");
    queue.send(Message::new("urgent").priority(0)).expect("sends");
    for n in 0..5_000 {
        if n % 1_000 == 0 {
            queue.send_many((0..1_000).map(|_| "many")).expect("sends");
        }
    }
    assert_eq!(queue.purge().expect("purges"), 5_003);
    assert_eq!((counts(&queue), world.rows()), ([0, 0, 0, 1, 1], 2));
    assert_eq!(queue.purge().expect("purges"), 0);
    assert!(queue.send(Message::new("keyed").key("k")).expect("sends").duplicate);
    held[0].ack().expect("acks");
    send_all(&queue, &["new"]);
    assert_eq!(taken(&queue, 5), ["new"]);
}

#[test]
fn purge_takes_what_statistics_call_ready() {
    let world = World::new();
    let queue = world.at_least_once("q");
    send_all(&queue, &["x"]);
    let late = receipts(&take(&queue, 1));
    world.clock.advance(MINUTE);
    assert_eq!(counts(&queue), [1, 0, 0, 0, 0]);
    assert_eq!(queue.purge().expect("purges"), 1);
    assert_eq!(counts(&queue), [0; 5]);
    assert!(take(&queue, 5).is_empty());
    assert_eq!(queue.ack(&late).expect("answers"), late);
    assert_eq!(world.rows(), 0);
}

#[test]
fn peek_shows_what_a_receive_would_bring_and_takes_nothing() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send(Message::new("low").priority(9)).expect("sends");
    queue.send(Message::new("x").key("k").header("h", "v").ordering_key("o")).expect("sends");
    for _ in 0..2 {
        let seen = queue.peek(10).expect("peeks");
        assert_eq!(seen.iter().map(|seen| seen.body.as_slice()).collect::<Vec<_>>(), [&b"x"[..], b"low"]);
        assert_eq!((seen[0].key.as_deref(), seen[0].ordering_key.as_deref()), (Some("k"), Some("o")));
        assert_eq!((seen[0].headers.len(), seen[0].priority, seen[0].attempts), (1, 4, 0));
        assert_eq!((seen[1].priority, seen[0].sent_at), (9, common::START));
    }
    assert_eq!(queue.peek(1).expect("peeks").len(), 1);
    let taken = take(&queue, 10);
    assert!(queue.peek(10).expect("peeks").is_empty());
    taken[0].nack(&at_once()).expect("nacks");
    assert_eq!(queue.peek(10).expect("peeks")[0].attempts, 1);
}

#[test]
fn peek_looks_past_what_is_not_ready() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send(Message::new("delayed").delay(HOUR)).expect("sends");
    queue.send(Message::new("expired").time_to_live(SECOND)).expect("sends");
    send_all(&queue, &["ready"]);
    world.clock.advance(SECOND);
    let seen = queue.peek(1).expect("peeks");
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].body, b"ready");
}

#[test]
fn a_receiver_that_waits_is_woken_by_a_send() {
    for path in ["a file", IN_MEMORY] {
        let folder = common::folder();
        let path = if path == IN_MEMORY { IN_MEMORY.into() } else { folder.path().join("app.db") };
        let store = Store::open(path).expect("opens");
        let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
        let receiver = queue.clone();
        let waiting = std::thread::spawn(move || receiver.receive(PATIENCE).expect("receives"));
        queue.send("x").expect("sends");
        assert_eq!(body(&waiting.join().expect("lives").expect("came")), "x");
    }
}

#[test]
fn a_receiver_that_waits_gets_a_delayed_message_at_its_time() {
    let store = Store::open(IN_MEMORY).expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    queue.send(Message::new("x").delay(Duration::from_millis(50))).expect("sends");
    let batch = queue.receive_many(&ReceiveOptions::new().wait(PATIENCE)).expect("receives");
    assert_eq!(bodies(&batch), ["x"]);
}

#[test]
fn the_store_tells_its_size() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send(vec![1u8; 1 << 20]).expect("sends");
    let stats = world.store.stats().expect("counts");
    assert!(stats.file_bytes >= 4096 && stats.wal_bytes >= 1 << 20, "{stats:?}");
    assert_eq!((stats.in_doubt, stats.queues), (0, 1));
    assert_eq!(world.store.path(), world.path);
}

#[test]
fn peek_shows_a_redriven_message_whatever_its_first_delay() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send(Message::new("x").delay(HOUR).time_to_live(SECOND)).expect("sends");
    world.clock.advance(SECOND);
    assert!(take(&queue, 1).is_empty());
    assert_eq!(queue.redrive_all().expect("redrives"), 1);
    assert_eq!(queue.peek(1).expect("peeks").len(), 1);
    assert_eq!(taken(&queue, 1), ["x"]);
}
