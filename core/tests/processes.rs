//! Real processes on one file: killed ones, stopped ones, and ones that wait for each other.

mod common;
#[path = "common/process.rs"]
mod process;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{HOUR, PATIENCE, body, counts, take, take_one};
use onceward::{Message, Queue, QueueOptions, ReceiveOptions, Semantics, Store};
use process::{Helper, hear, role, say};

/// Not a test of its own: what the helper processes run.
#[test]
fn helper() {
    let Some((role, path)) = role() else { return };
    let queue = open(&path).1;
    match role.as_str() {
        "hold for an hour" => hold(&queue, HOUR),
        "hold for two seconds" => hold(&queue, Duration::from_secs(2)),
        "wait for one" => {
            say("ready");
            say(&body(&queue.receive(PATIENCE).expect("receives").expect("it came")));
        }
        "work" => work(&queue),
        "send" => {
            for n in 0..200 {
                let text = format!("{}/{n}", std::process::id());
                queue.send(Message::new(text.as_str()).key(text)).expect("sends");
            }
            say("sent");
        }
        "drain" => {
            for delivery in
                queue.consume(onceward::ConsumeOptions::new().wait(Duration::from_secs(2))).expect("consumes")
            {
                let delivery = delivery.expect("a delivery");
                say(&body(&delivery));
                delivery.ack().expect("acks");
            }
            say("done");
        }
        other => panic!("no such role: {other}"),
    }
}

/// Receives everything, and settles it when it is told to.
fn hold(queue: &Queue, lease: Duration) {
    let held = queue.receive_many(&ReceiveOptions::new().max(10).lease(lease).wait(PATIENCE)).expect("receives");
    say(&format!("holds {}", held.len()));
    while hear() == "ack" {
        say(&held[0].ack().map_or_else(|error| error.kind().to_string(), |()| "acknowledged".to_owned()));
    }
}

/// Works in batches, and dies at once on the poison message.
fn work(queue: &Queue) {
    loop {
        let batch = queue.receive_many(&ReceiveOptions::new().max(100)).expect("receives");
        if batch.is_empty() {
            return say("nothing left");
        }
        for delivery in batch {
            if body(&delivery) == "poison" {
                std::process::abort();
            }
            delivery.ack().expect("acks");
        }
    }
}

fn open(path: &Path) -> (Store, Queue) {
    let store = Store::open(path).expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    (store, queue)
}

struct Place {
    store: Store,
    queue: Queue,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = common::folder();
        let (store, queue) = open(&folder.path().join("app.db"));
        Place { store, queue, folder }
    }

    fn start(&self, role: &str) -> Helper {
        Helper::start(role, &self.folder.path().join("app.db"))
    }
}

#[test]
fn what_a_killed_process_held_is_offered_again_at_once_and_not_after_its_lease() {
    let place = Place::new();
    place.queue.send_many(["a", "b", "c"]).expect("sends");
    let mut holder = place.start("hold for an hour");
    holder.expect("holds 3");
    assert!(take(&place.queue, 5).is_empty());
    holder.kill();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let batch = place.queue.receive_many(&ReceiveOptions::new().max(5).wait(PATIENCE)).expect("receives");
        assert!(!batch.is_empty(), "long before the hour is over");
        assert!(batch.iter().all(|delivery| delivery.attempt() == 2));
        for delivery in batch {
            delivery.ack().expect("acks");
            seen.push(body(&delivery));
        }
    }
    assert_eq!(seen, ["a", "b", "c"]);
}

#[test]
fn a_receiver_that_sleeps_hears_of_a_death() {
    let place = Place::new();
    place.queue.send("x").expect("sends");
    let mut holder = place.start("hold for an hour");
    holder.expect("holds 1");
    let queue = place.queue.clone();
    let waiting = std::thread::spawn(move || queue.receive(PATIENCE).expect("receives"));
    holder.kill();
    assert_eq!(body(&waiting.join().expect("lives").expect("the message came")), "x");
}

#[test]
fn a_stopped_process_keeps_its_lease_until_it_ends_and_its_late_ack_is_lease_lost() {
    let place = Place::new();
    place.queue.send("x").expect("sends");
    let mut holder = place.start("hold for two seconds");
    holder.expect("holds 1");
    holder.signal("STOP");
    let since = Instant::now();
    let early = take(&place.queue, 1);
    assert!(early.is_empty() || since.elapsed() > Duration::from_secs(1), "a stopped process is alive");
    let current = match early.into_iter().next() {
        Some(delivery) => delivery,
        None => place.queue.receive(PATIENCE).expect("receives").expect("the lease ended"),
    };
    assert_eq!(current.attempt(), 2);
    holder.signal("CONT");
    holder.tell("ack");
    holder.expect("LeaseLost");
    current.ack().expect("the current holder is not disturbed");
}

#[test]
fn a_living_process_settles_what_it_holds() {
    let place = Place::new();
    place.queue.send("x").expect("sends");
    let mut holder = place.start("hold for an hour");
    holder.expect("holds 1");
    holder.tell("ack");
    holder.expect("acknowledged");
    assert_eq!(counts(&place.queue), [0; 5]);
    holder.tell("end");
    assert!(holder.wait());
}

#[test]
fn a_send_wakes_a_receiver_in_another_process() {
    let place = Place::new();
    let mut waiting = place.start("wait for one");
    waiting.expect("ready");
    place.queue.send("hello").expect("sends");
    waiting.expect("hello");
}

#[test]
fn one_poison_message_in_a_batch_of_a_hundred_kills_its_handlers_and_dies_alone() {
    let place = Place::new();
    let options = QueueOptions::new().attempts_max(5).lease(HOUR);
    place.store.queue_with("q", Semantics::AtLeastOnce, options).expect("opens");
    place.queue.send_many((0..100).map(|n| if n == 42 { "poison".to_owned() } else { n.to_string() })).expect("sends");
    let mut deaths = 0;
    while place.start("work").hear().is_none() {
        deaths += 1;
        assert!(deaths < 30, "{:?}", counts(&place.queue));
    }
    assert_eq!(deaths, 5, "one for each attempt");
    assert_eq!(counts(&place.queue), [0, 0, 0, 0, 1]);
    let letter = place.queue.dead_letters(None, 5).expect("lists").remove(0);
    assert_eq!((letter.message.body.as_slice(), letter.message.attempts), (&b"poison"[..], 5));
}

#[test]
fn several_processes_send_and_receive_each_message_once() {
    let place = Place::new();
    let mut senders = [place.start("send"), place.start("send")];
    let mut receivers = [place.start("drain"), place.start("drain")];
    for sender in &mut senders {
        sender.expect("sent");
    }
    let mut seen = Vec::new();
    for receiver in &mut receivers {
        while let Some(said) = receiver.hear().filter(|said| said != "done") {
            seen.push(said);
        }
    }
    seen.sort();
    let count = seen.len();
    seen.dedup();
    assert_eq!((count, seen.len()), (400, 400));
    assert_eq!(counts(&place.queue), [0; 5]);
}

#[test]
fn a_process_that_dies_while_it_works_leaves_a_sound_file() {
    let place = Place::new();
    for _ in 0..5 {
        let mut sender = place.start("send");
        let mut receiver = place.start("drain");
        let _ = receiver.hear();
        let before = place.queue.stats().expect("counts");
        common::eventually("some are sent", || {
            place.queue.stats().expect("counts") != before || sender_is_done(&mut sender)
        });
        sender.kill();
        receiver.kill();
    }
    let conn = rusqlite::Connection::open(place.folder.path().join("app.db")).expect("opens");
    let sound: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checks");
    assert_eq!(sound, "ok");
    while let Some(delivery) = take(&place.queue, 1).pop() {
        delivery.ack().expect("acks");
    }
    assert_eq!(counts(&place.queue), [0; 5]);
    place.queue.send("x").expect("sends");
    take_one(&place.queue).ack().expect("acks");
}

fn sender_is_done(sender: &mut Helper) -> bool {
    sender.hear().is_some()
}
