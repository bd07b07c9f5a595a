//! Effects in doubt: resolving them, and what becomes of them when their messages are taken away or wait in line.

#[path = "common/bank.rs"]
mod bank;
mod common;
#[path = "common/shop.rs"]
mod shop;

use std::time::Duration;

use bank::{Bank, charge, lose};
use common::{World, at_once, fails, send_in_order, take, take_one};
use onceward::limits::RESULT_BYTES_MAX;
use onceward::{Called, EffectOf, ErrorKind, Message, OnceOptions, Probed, Resolution, Start};
use shop::Shop;

#[test]
fn resolving_answers_once_and_only_what_is_in_doubt() {
    let shop = Shop::new();
    let store = &shop.world.store;
    let resolve = |doubt, resolution| store.resolve(doubt, resolution, "asked", "alice");
    let applied = |text: &str| Resolution::Applied(text.as_bytes().to_vec());
    fails(resolve(1, Resolution::NotApplied), ErrorKind::NotFound, &["1"]);
    fails(resolve(u64::MAX, Resolution::NotApplied), ErrorKind::NotFound, &[]);
    lose(&take_one(&shop.queue), &shop.bank, &OnceOptions::park());
    let doubt = shop.in_doubt()[0].doubt;
    for (evidence, actor, named) in [("", "a", "evidence"), ("e", " ", "actor"), ("a\0b", "c", "NUL")] {
        fails(store.resolve(doubt, Resolution::NotApplied, evidence, actor), ErrorKind::Invalid, &[named]);
    }
    let long = "e".repeat(4097);
    fails(store.resolve(doubt, Resolution::NotApplied, &long, "a"), ErrorKind::Invalid, &["4097", "4096"]);
    let over = Resolution::Applied(vec![0; RESULT_BYTES_MAX + 1]);
    fails(resolve(doubt, over), ErrorKind::Invalid, &["1048577", "1048576"]);
    assert_eq!(shop.in_doubt_count(), (1, 1), "nothing of it counted");
    resolve(doubt, applied("seen")).expect("resolves");
    resolve(doubt, applied("seen")).expect("the same once more is fine");
    fails(resolve(doubt, applied("other")), ErrorKind::Conflict, &["applied", "alice"]);
    fails(resolve(doubt, Resolution::NotApplied), ErrorKind::Conflict, &["applied", "alice"]);
    assert_eq!(store.resolutions(None, 9).expect("lists").len(), 1);
    fails(store.in_doubt(None, 0), ErrorKind::Invalid, &["max is 0"]);
    fails(store.resolutions(None, 10_001), ErrorKind::Invalid, &["10001"]);
}

#[test]
fn an_answer_to_one_doubt_says_nothing_about_the_next() {
    let shop = Shop::new();
    let options = OnceOptions::probe(Duration::ZERO);
    lose(&take_one(&shop.queue), &shop.bank, &options);
    let first = shop.in_doubt()[0].doubt;
    let hangs = || Called::Unknown("it timed out".to_owned());
    let outcome = take_one(&shop.queue).once_or_probe("charge", &options, hangs, || Probed::NotApplied);
    fails(outcome, ErrorKind::InDoubt, &[]);
    let second = shop.in_doubt()[0].doubt;
    let store = &shop.world.store;
    fails(store.resolve(first, Resolution::NotApplied, "looked earlier", "bob"), ErrorKind::Invalid, &["is over"]);
    store.resolve(second, Resolution::NotApplied, "looked", "bob").expect("resolves");
}

#[test]
fn cancel_refuses_and_purge_leaves_what_is_in_doubt() {
    let shop = Shop::new();
    let delivery = take_one(&shop.queue);
    lose(&delivery, &shop.bank, &OnceOptions::park());
    shop.queue.send(Message::new("y").key("y")).expect("sends");
    fails(shop.queue.cancel(delivery.id()), ErrorKind::Conflict, &["charge", "resolved"]);
    assert_eq!(shop.queue.purge().expect("purges"), 1);
    assert_eq!((shop.in_doubt_count(), shop.world.rows()), ((1, 1), 1));
    shop.resolve(Resolution::Applied(Vec::new()));
    take_one(&shop.queue).ack().expect("acks");
    assert_eq!((shop.world.rows(), shop.world.count("onceward_effect")), (0, 0));
}

#[test]
fn a_doubt_outlives_its_message_and_its_subscription() {
    let shop = Shop::new();
    shop.queue.subscribe("audit", Start::Oldest).expect("subscribes");
    let audit = shop.queue.subscription("audit").expect("is there");
    let delivery = audit.receive(Duration::ZERO).expect("receives").expect("is there");
    lose(&delivery, &shop.bank, &OnceOptions::fail());
    audit.purge_dead_all().expect("purges");
    assert_eq!(shop.in_doubt().len(), 1, "a dead letter that is thrown away leaves its doubt");
    shop.queue.unsubscribe("audit").expect("unsubscribes");
    let listed = shop.in_doubt().remove(0);
    let EffectOf::Message { subscription: None, message, .. } = listed.of else { panic!("{listed:?}") };
    assert_eq!(message, delivery.id());
    shop.resolve(Resolution::Applied(Vec::new()));
    assert_eq!((shop.in_doubt().len(), shop.world.count("onceward_effect")), (0, 0));
    assert_eq!(shop.world.store.resolutions(None, 9).expect("lists").len(), 1, "what a person decided stays");
}

#[test]
fn what_is_cancelled_purged_or_thrown_away_leaves_no_settled_effects() {
    for way in 0..3 {
        let shop = Shop::new();
        let delivery = take_one(&shop.queue);
        charge(&delivery, &shop.bank).expect("pays");
        match way {
            0 => {
                delivery.nack(&at_once()).expect("given back");
                assert!(shop.queue.cancel(delivery.id()).expect("cancels"));
            }
            1 => {
                delivery.nack(&at_once()).expect("given back");
                assert_eq!(shop.queue.purge().expect("purges"), 1);
            }
            _ => {
                delivery.dead_letter("no use").expect("buries");
                assert_eq!(shop.queue.purge_dead_all().expect("purges"), 1);
            }
        }
        assert_eq!(shop.world.count("onceward_effect"), 0, "way {way}");
    }
}

#[test]
fn each_subscription_has_effects_of_its_own() {
    let shop = Shop::new();
    shop.queue.subscribe("audit", Start::Oldest).expect("subscribes");
    let audit = shop.queue.subscription("audit").expect("is there");
    let theirs = audit.receive(Duration::ZERO).expect("receives").expect("is there");
    let ours = take_one(&shop.queue);
    charge(&ours, &shop.bank).expect("pays");
    charge(&theirs, &shop.bank).expect("pays");
    assert_eq!(shop.bank.paid(), 2);
    assert_ne!(ours.idempotency_key("charge").expect("a key"), theirs.idempotency_key("charge").expect("a key"));
    ours.ack().expect("acks");
    assert_eq!(shop.world.count("onceward_effect"), 1);
}

#[test]
fn a_parked_message_holds_back_those_behind_it_with_its_ordering_key() {
    let world = World::new();
    let queue = world.at_least_once("q");
    for body in ["a", "b", "c"] {
        send_in_order(&queue, "k", body);
    }
    let bank = Bank::default();
    let batch = take(&queue, 2);
    lose(&batch[1], &bank, &OnceOptions::park());
    assert!(take(&queue, 3).is_empty());
    batch[0].nack(&at_once()).expect("given back");
    let first = take(&queue, 3);
    assert_eq!(common::bodies(&first), ["a"]);
    first[0].ack().expect("acks");
    assert!(take(&queue, 3).is_empty(), "the parked one is next in line");
    let doubt = world.store.in_doubt(None, 9).expect("lists")[0].doubt;
    world.store.resolve(doubt, Resolution::Applied(Vec::new()), "asked", "alice").expect("resolves");
    assert_eq!(common::taken(&queue, 3), ["b", "c"]);
}

#[test]
fn a_parked_message_behind_another_goes_on_in_its_turn_when_it_is_resolved_first() {
    let world = World::new();
    let queue = world.at_least_once("q");
    send_in_order(&queue, "k", "a");
    send_in_order(&queue, "k", "b");
    let batch = take(&queue, 2);
    lose(&batch[1], &Bank::default(), &OnceOptions::park());
    let doubt = world.store.in_doubt(None, 9).expect("lists")[0].doubt;
    world.store.resolve(doubt, Resolution::NotApplied, "asked", "alice").expect("resolves");
    assert!(take(&queue, 3).is_empty(), "the one before it is in flight");
    batch[0].ack().expect("acks");
    assert_eq!(common::taken(&queue, 3), ["b"]);
}
