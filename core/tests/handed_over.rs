//! What is handed over is on disk, whoever else commits and syncs at that moment.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{World, bodies, take};
use onceward::Semantics;

/// Where a thread with a certain name stops.
struct Hold {
    reached: Receiver<()>,
    go_on: Sender<()>,
}

impl Hold {
    fn at(place: &str, thread_name: &'static str) -> Self {
        let (reaches, reached) = channel();
        let (go_on, goes_on) = channel::<()>();
        let goes_on = Mutex::new(goes_on);
        let stop = move || {
            if thread::current().name() == Some(thread_name) {
                reaches.send(()).expect("the test waits for it");
                goes_on.lock().expect("not poisoned").recv().expect("the test lets it go on");
            }
        };
        fail::cfg_callback(place, stop).expect("a place");
        Hold { reached, go_on }
    }

    fn until_reached(&self) {
        self.reached.recv().expect("the thread comes by");
    }

    fn release(self) {
        self.go_on.send(()).expect("the thread waits");
    }
}

#[test]
fn a_sync_covers_no_send_that_another_store_was_still_committing() {
    let world = World::new();
    let receiving = world.at_least_once("q");
    receiving.send("warm").expect("sends");
    common::take_one(&receiving).ack().expect("acks");
    let (one, other) = (world.another(), world.another());
    let queue_of = |store: &onceward::Store| store.queue("q", Semantics::AtLeastOnce).expect("opens");
    let (queue_of_one, queue_of_other) = (queue_of(&one), queue_of(&other));
    let syncs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&syncs);
    let count = move || {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    fail::cfg_callback("log-sync", count).expect("a place");

    let committed = Hold::at("transaction-committed", "transaction");
    let counting = Hold::at("counted", "sender");
    let syncing = Hold::at("before-sync", "sender");
    thread::scope(|scope| {
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let commit = || {
            let mut tx = one.transaction().expect("begins");
            tx.send(&queue_of_one, "first").expect("sends");
            tx.commit().expect("commits");
        };
        let send = || {
            queue_of_other.send_many(["second", "third"]).expect("sends");
        };
        let transaction = named("transaction").spawn_scoped(scope, commit).expect("starts");
        committed.until_reached();
        let sender = named("sender").spawn_scoped(scope, send).expect("starts");
        counting.until_reached();
        committed.release();
        transaction.join().expect("the transaction commits");
        counting.release();
        syncing.until_reached();

        let before = syncs.load(Ordering::SeqCst);
        assert_eq!(bodies(&take(&receiving, 10)), ["first", "second", "third"]);
        assert!(
            syncs.load(Ordering::SeqCst) > before,
            "it was handed over without a sync, and the sender has not synced"
        );
        syncing.release();
        sender.join().expect("the send ends");
    });
}
