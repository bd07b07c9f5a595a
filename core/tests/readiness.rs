//! The descriptor that event loops wait on: readable for whatever a waiting receive would wake for.

mod common;
#[path = "common/process.rs"]
mod process;

use std::path::Path;
use std::time::Duration;

use common::{HOUR, MINUTE, PATIENCE, World, body, fails, take, take_one};
use onceward::{ErrorKind, Message, Nack, Queue, QueueOptions, Readiness, ReceiveOptions, Semantics, Start, Store};
use process::{Helper, hear, role, say};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Messages of the test in which a sender and an event loop take turns.
const TURNS: usize = 200;

/// Not a test of its own: what the helper processes run.
#[test]
fn helper() {
    let Some((role, path)) = role() else { return };
    let queue = open(&path).1;
    match role.as_str() {
        "hold" => {
            let held = queue.receive_many(&ReceiveOptions::new().max(10).lease(HOUR)).expect("receives");
            say(&format!("holds {}", held.len()));
            hear();
        }
        "send" => {
            say("ready");
            while hear() == "send" {
                queue.send("from afar").expect("sends");
            }
        }
        other => panic!("no such role: {other}"),
    }
}

fn open(path: &Path) -> (Store, Queue) {
    let store = Store::open(path).expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    (store, queue)
}

fn readiness(queue: &Queue) -> Readiness {
    queue.subscription("default").expect("it is there").readiness().expect("a descriptor")
}

/// Whether the descriptor is readable within the wait.
fn readable_within(readiness: &Readiness, wait: Duration) -> bool {
    let limit = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
    let mut polled = [PollFd::new(readiness, PollFlags::IN)];
    poll(&mut polled, Some(&limit)).expect("polls") == 1
}

fn is_readable(readiness: &Readiness) -> bool {
    readable_within(readiness, Duration::ZERO)
}

/// Waits as an event loop does.
#[track_caller]
fn becomes_readable(readiness: &Readiness) {
    assert!(readable_within(readiness, PATIENCE), "it never became readable");
}

/// Receives until nothing comes, and clears.
fn drain(queue: &Queue, readiness: &Readiness) -> usize {
    let mut count = 0;
    while let Some(delivery) = queue.receive(Duration::ZERO).expect("receives") {
        delivery.ack().expect("acks");
        count += 1;
    }
    readiness.clear().expect("clears");
    count
}

#[test]
fn it_is_readable_while_there_is_something_to_receive() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let readiness = readiness(&queue);
    assert!(!is_readable(&readiness));
    queue.send("one").expect("sends");
    queue.send("two").expect("sends");
    becomes_readable(&readiness);
    assert!(is_readable(&readiness), "it stays so");
    take(&queue, 1)[0].ack().expect("acks");
    readiness.clear().expect("clears");
    assert!(is_readable(&readiness), "there is another one");
    take_one(&queue).ack().expect("acks");
    readiness.clear().expect("clears");
    assert!(!is_readable(&readiness));
    assert_eq!(readiness.subscription().name(), "default");
    queue.send("three").expect("sends");
    becomes_readable(&readiness);
}

#[test]
fn what_is_there_already_makes_a_new_one_readable() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send("x").expect("sends");
    assert!(is_readable(&readiness(&queue)));
}

#[test]
fn a_delay_a_retry_and_a_lease_wake_it_when_their_time_has_come() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let readiness = readiness(&queue);
    queue.send(Message::new("x").delay(MINUTE)).expect("sends");
    becomes_readable(&readiness);
    assert_eq!(drain(&queue, &readiness), 0);
    assert!(!is_readable(&readiness), "it is not due");
    world.clock.advance(MINUTE);
    becomes_readable(&readiness);
    let delivery = take_one(&queue);
    readiness.clear().expect("clears");
    assert!(!is_readable(&readiness), "it is in flight");
    delivery.nack(&Nack::new().delay(MINUTE)).expect("nacks");
    assert_eq!(drain(&queue, &readiness), 0);
    world.clock.advance(MINUTE);
    becomes_readable(&readiness);
    let held = queue.receive_many(&ReceiveOptions::new().lease(MINUTE)).expect("receives");
    readiness.clear().expect("clears");
    assert!(!is_readable(&readiness));
    world.clock.advance(MINUTE);
    becomes_readable(&readiness);
    assert_eq!(drain(&queue, &readiness), 1);
    drop(held);
}

#[test]
fn it_keeps_the_time_by_itself_when_the_clock_is_the_systems() {
    let folder = common::folder();
    let (_store, queue) = open(&folder.path().join("app.db"));
    let readiness = readiness(&queue);
    queue.send(Message::new("soon").delay(Duration::from_millis(80))).expect("sends");
    let mut received = 0;
    while received == 0 {
        becomes_readable(&readiness);
        received = drain(&queue, &readiness);
    }
    assert!(!is_readable(&readiness));
}

#[test]
fn a_paused_queue_is_not_ready_until_it_is_resumed() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let readiness = readiness(&queue);
    queue.pause().expect("pauses");
    queue.send("x").expect("sends");
    readiness.clear().expect("clears");
    assert!(!is_readable(&readiness));
    queue.resume().expect("resumes");
    becomes_readable(&readiness);
    assert_eq!(drain(&queue, &readiness), 1);
}

#[test]
fn messages_of_another_process_wake_it_each_time() {
    let folder = common::folder();
    let path = folder.path().join("app.db");
    let (_store, queue) = open(&path);
    let readiness = readiness(&queue);
    let mut sender = Helper::start("send", &path);
    sender.expect("ready");
    for _ in 0..TURNS {
        sender.tell("send");
        let mut received = 0;
        while received == 0 {
            becomes_readable(&readiness);
            received = drain(&queue, &readiness);
        }
        assert_eq!(received, 1);
    }
    assert!(!is_readable(&readiness));
}

#[test]
fn what_a_killed_process_held_wakes_it() {
    let folder = common::folder();
    let path = folder.path().join("app.db");
    let (_store, queue) = open(&path);
    queue.send("x").expect("sends");
    let mut holder = Helper::start("hold", &path);
    holder.expect("holds 1");
    let readiness = readiness(&queue);
    assert!(!is_readable(&readiness));
    holder.kill();
    becomes_readable(&readiness);
    assert_eq!(body(&take_one(&queue)), "x");
}

#[test]
fn a_message_sent_through_sql_wakes_it() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let readiness = readiness(&queue);
    world.sql().execute("INSERT INTO onceward_send(queue, body) VALUES ('q', x'61')", []).expect("sends");
    becomes_readable(&readiness);
    assert_eq!(drain(&queue, &readiness), 1);
}

#[test]
fn each_subscription_has_its_own() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let other = queue.subscribe("other", Start::Now).expect("subscribes");
    let (first, second) = (readiness(&queue), other.readiness().expect("a descriptor"));
    queue.send("x").expect("sends");
    becomes_readable(&first);
    becomes_readable(&second);
    assert_eq!(drain(&queue, &first), 1);
    assert!(!is_readable(&first) && is_readable(&second));
    let delivery = other.receive(Duration::ZERO).expect("receives").expect("it has its own");
    delivery.ack().expect("acks");
    second.clear().expect("clears");
    assert!(!is_readable(&second));
    // Neither hears of another queue.
    world.at_least_once("elsewhere").send("y").expect("sends");
    assert!(!is_readable(&first) && !is_readable(&second));
    queue.unsubscribe("other").expect("ends");
    second.clear().expect("clears");
    assert!(is_readable(&second), "a receive would say that it was ended");
    fails(other.receive(Duration::ZERO), ErrorKind::NotFound, &["no longer exists"]);
}

#[test]
fn a_closed_store_leaves_it_readable_for_ever() {
    for in_memory in [false, true] {
        let folder = common::folder();
        let path = folder.path().join("app.db");
        let (store, queue) = open(if in_memory { Path::new(onceward::IN_MEMORY) } else { &path });
        let (armed, not_armed) = (readiness(&queue), readiness(&queue));
        queue.send("x").expect("sends");
        becomes_readable(&not_armed);
        assert_eq!(take(&queue, 1).len(), 1);
        armed.clear().expect("clears");
        assert!(!is_readable(&armed));
        store.close().expect("closes");
        for readiness in [&armed, &not_armed] {
            assert!(is_readable(readiness));
            fails(readiness.clear(), ErrorKind::Closed, &["closed"]);
            assert!(is_readable(readiness));
        }
        fails(queue.subscription("default").and_then(|q| q.readiness()), ErrorKind::Closed, &["closed"]);
    }
}

#[test]
fn several_loops_share_one_queue_and_every_message_is_received_once() {
    let world = World::new();
    let queue = world.at_least_once_with("q", QueueOptions::new());
    let (store, senders, each) = (world.another(), 4, 50);
    let elsewhere = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    let received = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for queue in [&queue, &elsewhere, &queue] {
            let received = &received;
            scope.spawn(move || {
                let readiness = readiness(queue);
                loop {
                    received.fetch_add(drain(queue, &readiness), std::sync::atomic::Ordering::SeqCst);
                    if received.load(std::sync::atomic::Ordering::SeqCst) >= senders * each {
                        // The others look too, and find the same.
                        queue.send("last").expect("sends");
                        return;
                    }
                    becomes_readable(&readiness);
                }
            });
        }
        for _ in 0..senders {
            scope.spawn(|| {
                for _ in 0..each {
                    queue.send("x").expect("sends");
                }
            });
        }
    });
    assert!(received.load(std::sync::atomic::Ordering::SeqCst) >= senders * each);
}
