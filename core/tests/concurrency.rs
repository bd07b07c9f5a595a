//! Many threads and several stores on one file: nothing is lost, nothing comes twice, and calls that wait together share
//! a commit.

mod common;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{World, body, counts, take};
use onceward::{IN_MEMORY, Message, Queue, ReceiveOptions, Semantics, Store};

const THREADS: usize = 8;
const EACH: usize = 100;

/// Sends from several threads while others receive and acknowledge. Returns every body that was delivered.
fn all_at_once(senders: &[Queue], receivers: &[Queue]) -> Vec<String> {
    let total = senders.len() * EACH;
    let (seen, done) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for (number, queue) in senders.iter().enumerate() {
            scope.spawn(move || {
                for n in 0..EACH {
                    let text = format!("{number}/{n}");
                    let sent = queue.send(Message::new(text.as_str()).key(text.as_str())).expect("sends");
                    assert!(!sent.duplicate);
                    if n % 10 == 0 {
                        assert_eq!(queue.send(Message::new(text.as_str()).key(text)).expect("sends").id, sent.id);
                    }
                }
            });
        }
        for queue in receivers {
            scope.spawn(|| {
                while done.load(Ordering::SeqCst) < total {
                    let options = ReceiveOptions::new().max(7).wait(Duration::from_millis(50));
                    for delivery in queue.receive_many(&options).expect("receives") {
                        assert_eq!(delivery.attempt(), 1);
                        delivery.ack().expect("acks");
                        seen.lock().expect("no thread panicked").push(body(&delivery));
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    seen.into_inner().expect("no thread panicked")
}

fn each_once(seen: &[String], total: usize) {
    let distinct: BTreeSet<&String> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (total, total), "each message once");
}

#[test]
fn many_threads_of_one_store_get_each_message_once() {
    for semantics in Semantics::ALL {
        let world = World::new();
        let queue = world.store.queue("q", semantics).expect("opens");
        let queues = vec![queue.clone(); THREADS];
        each_once(&all_at_once(&queues, &queues[..4]), THREADS * EACH);
        assert_eq!((counts(&queue), world.rows()), ([0; 5], 0), "{semantics}");
    }
}

#[test]
fn several_stores_of_one_process_get_each_message_once() {
    let world = World::new();
    let stores: Vec<Store> = (0..4).map(|_| world.another()).collect();
    let queues: Vec<Queue> =
        stores.iter().map(|store| store.queue("q", Semantics::AtLeastOnce).expect("opens")).collect();
    each_once(&all_at_once(&queues, &queues), 4 * EACH);
    assert_eq!((counts(&queues[0]), world.rows()), ([0; 5], 0));
}

#[test]
fn a_store_in_memory_is_shared_by_threads() {
    let store = Store::open(IN_MEMORY).expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    let queues = vec![queue.clone(); THREADS];
    each_once(&all_at_once(&queues, &queues[..3]), THREADS * EACH);
}

#[test]
fn one_key_sent_by_many_at_once_is_one_message() {
    let world = World::new();
    let stores: Vec<Store> = (0..3).map(|_| world.another()).collect();
    let queues: Vec<Queue> =
        stores.iter().map(|store| store.queue("q", Semantics::ExactlyOnce).expect("opens")).collect();
    for round in 0..20 {
        let sent = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for queue in queues.iter().chain(&queues) {
                let sent = &sent;
                scope.spawn(move || {
                    let one = queue.send(Message::new("x").key(format!("k{round}"))).expect("sends");
                    sent.lock().expect("no thread panicked").push(one);
                });
            }
        });
        let sent = sent.into_inner().expect("no thread panicked");
        assert!(sent.iter().all(|one| one.id == sent[0].id), "one id for all: {sent:?}");
        assert_eq!(sent.iter().filter(|one| !one.duplicate).count(), 1, "exactly one was new");
    }
    assert_eq!(counts(&queues[0])[0], 20);
}

#[test]
fn an_ordering_key_stays_in_order_whoever_receives() {
    let world = World::new();
    let queue = world.at_least_once("q");
    for n in 0..200 {
        queue.send(Message::new(format!("{n}")).ordering_key(format!("k{}", n % 4))).expect("sends");
    }
    let (seen, done) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while done.load(Ordering::SeqCst) < 200 {
                    for delivery in take(&queue, 3) {
                        seen.lock().expect("no thread panicked").push(body(&delivery));
                        delivery.ack().expect("acks");
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let seen: Vec<u32> =
        seen.into_inner().expect("no thread panicked").iter().map(|body| body.parse().expect("a number")).collect();
    for key in 0..4 {
        let of_key: Vec<u32> = seen.iter().copied().filter(|n| n % 4 == key).collect();
        assert!(of_key.windows(2).all(|pair| pair[0] < pair[1]), "key {key}: {of_key:?}");
    }
}

#[test]
fn sends_that_wait_together_share_a_commit() {
    let world = World::new();
    let queue = world.at_least_once("q");
    // While this transaction has its turn, everyone else waits.
    let mut tx = world.store.transaction().expect("begins");
    tx.execute("CREATE TABLE t(x)", &[]).expect("executes");
    let frames = || world.store.stats().expect("counts").wal_bytes / 4120;
    let before = frames();
    let waiting = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                waiting.fetch_add(1, Ordering::SeqCst);
                queue.send("x").expect("sends");
            });
        }
        common::eventually("all threads have come", || waiting.load(Ordering::SeqCst) == 64);
        // From here each has one step to go, which nobody sees.
        std::thread::sleep(Duration::from_millis(200));
        tx.commit().expect("commits");
    });
    let written = frames() - before;
    assert!(written < 64, "64 commits would write more than {written} pages");
    let ids: Vec<u64> = take(&queue, 100).iter().map(|delivery| delivery.id().get()).collect();
    assert_eq!(ids.len(), 64);
    assert!(ids.windows(2).all(|pair| pair[0] + 1 == pair[1]), "no id is skipped: {ids:?}");
}

#[test]
fn closing_while_others_work_loses_nothing_that_was_acknowledged() {
    let world = World::new();
    let store = world.another();
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    let sent = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while queue.send("x").is_ok() {
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        common::eventually("some are sent", || sent.load(Ordering::SeqCst) > 20);
        store.close().expect("closes");
    });
    let kept = world.at_least_once("q").stats().expect("counts").ready as usize;
    assert!(kept >= sent.load(Ordering::SeqCst), "{kept} of {sent:?}");
}
