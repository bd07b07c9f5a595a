//! Effects whose callers die, stop, or close their store in the middle of a call.

#[path = "common/bank.rs"]
mod bank;
mod common;
#[path = "common/process.rs"]
mod process;

use std::path::Path;
use std::time::Duration;

use bank::never;
use common::{HOUR, eventually, fails, take};
use onceward::{Begun, Delivery, Effect, ErrorKind, OnceOptions, Queue, ReceiveOptions, Resolution, Semantics, Store};
use process::{Helper, hear, role, say};

/// Not a test of its own: what the helper processes run.
#[test]
fn helper() {
    let Some((_, path)) = role() else { return };
    let (_store, queue) = open(&path);
    let delivery = receive(&queue, HOUR);
    let effect = call(&delivery);
    say("calls");
    if hear() == "answer" {
        say(&effect.done("paid").map_or_else(|error| error.to_string(), |_| "is recorded".to_owned()));
    }
    hear();
}

fn open(path: &Path) -> (Store, Queue) {
    let store = Store::open(path).expect("opens");
    let queue = store.queue("q", Semantics::ExactlyOnce).expect("opens");
    (store, queue)
}

fn receive(queue: &Queue, lease: Duration) -> Delivery {
    let options = ReceiveOptions::new().lease(lease).wait(common::PATIENCE);
    queue.receive_many(&options).expect("receives").remove(0)
}

fn call(delivery: &Delivery) -> Effect {
    match delivery.begin_once("charge", &OnceOptions::park()).expect("begins") {
        Begun::Call(effect) => effect,
        other => panic!("nothing is known of it: {other:?}"),
    }
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
        queue.send(onceward::Message::new("x").key("x")).expect("sends");
        Place { store, queue, folder }
    }

    fn start(&self) -> Helper {
        let mut helper = Helper::start("call", &self.folder.path().join("app.db"));
        helper.expect("calls");
        helper
    }
}

#[test]
fn a_caller_that_is_killed_leaves_its_call_in_doubt_at_once() {
    let place = Place::new();
    place.start().kill();
    let listed = place.store.in_doubt(None, 9).expect("lists");
    assert_eq!((listed.len(), listed[0].error.as_str()), (1, "its caller ended during the call"));
    let again = receive(&place.queue, HOUR);
    fails(again.once("charge", &OnceOptions::park(), never), ErrorKind::InDoubt, &["parked"]);
    let (doubt, seen) = (listed[0].doubt, Resolution::Applied(b"seen".to_vec()));
    place.store.resolve(doubt, seen, "asked", "alice").expect("resolves");
    let again = receive(&place.queue, HOUR);
    assert_eq!(again.once("charge", &OnceOptions::park(), never).expect("is known"), b"seen");
}

#[test]
fn housekeeping_finds_what_a_killed_caller_left_though_nobody_asks() {
    let place = Place::new();
    place.start().kill();
    eventually("it is counted", || place.store.stats().expect("counts").in_doubt == 1);
}

#[test]
fn a_caller_that_is_stopped_is_alive_however_long_it_takes() {
    let place = Place::new();
    let mut caller = place.start();
    caller.signal("STOP");
    let receipts = [steal(&place)];
    assert!(place.queue.ack(&receipts).expect("answers").is_empty());
    assert!(place.store.in_doubt(None, 9).expect("lists").is_empty());
    caller.signal("CONT");
    caller.tell("answer");
    caller.expect("is recorded");
}

/// Takes the message over as if its lease had ended, finds its caller alive, and takes it again.
fn steal(place: &Place) -> onceward::Receipt {
    let end_wait = || {
        let conn = rusqlite::Connection::open(place.folder.path().join("app.db")).expect("opens");
        conn.execute("UPDATE onceward_pending SET due_at = 0", []).expect("is due");
    };
    end_wait();
    let other = receive(&place.queue, HOUR);
    fails(other.once("charge", &OnceOptions::park(), never), ErrorKind::Busy, &["alive"]);
    end_wait();
    receive(&place.queue, HOUR).receipt()
}

#[test]
fn a_store_that_is_closed_while_its_call_runs_is_alive_until_the_call_has_ended() {
    let place = Place::new();
    let (theirs, queue) = open(&place.folder.path().join("app.db"));
    let delivery = receive(&queue, HOUR);
    let effect = call(&delivery);
    theirs.close().expect("closes");
    // The same slot is not taken over either.
    let (third, _) = open(&place.folder.path().join("app.db"));
    for _ in 0..3 {
        assert!(place.store.in_doubt(None, 9).expect("lists").is_empty());
        let again = receive(&place.queue, HOUR);
        fails(again.once("charge", &OnceOptions::park(), never), ErrorKind::Busy, &["alive"]);
    }
    third.close().expect("closes");
    fails(effect.done("paid"), ErrorKind::Closed, &["in doubt"]);
    assert_eq!(place.store.in_doubt(None, 9).expect("lists").len(), 1, "and though its other handles are still there");
    drop(delivery);
    eventually("it is offered", || !take(&place.queue, 1).is_empty());
}

#[test]
fn a_store_that_is_closed_lets_its_slot_go_though_its_handles_are_still_there() {
    let place = Place::new();
    let (theirs, queue) = open(&place.folder.path().join("app.db"));
    let delivery = receive(&queue, HOUR);
    call(&delivery).done("paid").expect("is recorded");
    theirs.close().expect("closes");
    fails(delivery.begin_once("more", &OnceOptions::park()), ErrorKind::Closed, &["closed"]);
    let again = receive(&place.queue, HOUR);
    assert_eq!(again.once("charge", &OnceOptions::park(), never).expect("is kept"), b"paid");
}
