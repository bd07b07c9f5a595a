//! Effects of messages at a third party: made once, kept, repeated only by those who know, in doubt otherwise.

#[path = "common/bank.rs"]
mod bank;
mod common;
#[path = "common/shop.rs"]
mod shop;

use std::time::Duration;

use bank::{Bank, charge, lose, never, not_asked, receipt};
use common::{HOUR, MINUTE, SECOND, at_once, counts, fails, take, take_one};
use onceward::limits::{NAME_BYTES_MAX, RESULT_BYTES_MAX};
use onceward::{
    Begun, Called, ConsumeOptions, Delivery, EffectOf, ErrorKind, Message, OnceOptions, Probe, Probed, QueueOptions,
    Resolution, Semantics,
};
use shop::{SETTLE, Shop};

#[test]
fn a_result_is_kept_and_returned_over_retries_lost_leases_and_redrives() {
    let shop = Shop::new();
    let first = take_one(&shop.queue);
    assert_eq!(charge(&first, &shop.bank).expect("pays"), receipt("x"));
    first.nack(&at_once()).expect("given back");
    let second = take_one(&shop.queue);
    assert_eq!(charge(&second, &shop.bank).expect("is kept"), receipt("x"));
    shop.world.clock.advance(MINUTE);
    let third = take_one(&shop.queue);
    assert_eq!(charge(&third, &shop.bank).expect("is kept"), receipt("x"));
    third.dead_letter("no use").expect("buries");
    shop.queue.redrive_all().expect("redrives");
    let fourth = take_one(&shop.queue);
    assert_eq!(charge(&fourth, &shop.bank).expect("is kept"), receipt("x"));
    fourth.ack().expect("acks");
    assert_eq!((shop.bank.paid(), shop.world.count("onceward_effect")), (1, 0), "a finished message keeps nothing");
}

#[test]
fn an_empty_result_and_one_at_the_limit_are_kept() {
    for bytes in [0, RESULT_BYTES_MAX] {
        let shop = Shop::new();
        let result = vec![7; bytes];
        let delivery = take_one(&shop.queue);
        let once = || delivery.once("charge", &OnceOptions::park(), || Called::Done(result.clone()));
        assert_eq!(once().expect("is kept"), result);
        delivery.nack(&at_once()).expect("given back");
        let again = take_one(&shop.queue);
        assert_eq!(again.once("charge", &OnceOptions::park(), never).expect("is kept"), result);
    }
}

#[test]
fn a_result_over_the_limit_happened_and_is_in_doubt() {
    let shop = Shop::new();
    let delivery = take_one(&shop.queue);
    let outcome = delivery.once("charge", &OnceOptions::park(), || Called::Done(vec![0; RESULT_BYTES_MAX + 1]));
    fails(outcome, ErrorKind::Invalid, &["1048577", "1048576", "in doubt"]);
    assert!(shop.in_doubt()[0].error.contains("it happened"), "{:?}", shop.in_doubt());
    assert!(delivery.is_settled() && take(&shop.queue, 1).is_empty());
    shop.resolve(Resolution::Applied(b"short".to_vec()));
    let again = take_one(&shop.queue);
    assert_eq!(again.once("charge", &OnceOptions::park(), never).expect("is known"), b"short");
}

#[test]
fn a_failed_call_is_made_again_and_keeps_the_message_in_the_hands_of_its_holder() {
    let shop = Shop::new();
    let delivery = take_one(&shop.queue);
    let outcome = delivery.once("charge", &OnceOptions::park(), Bank::refuse);
    fails(outcome, ErrorKind::Failed, &["charge", "no money"]);
    assert!(!delivery.is_settled());
    fails(charge(&delivery, &shop.bank), ErrorKind::Invalid, &["charge", "already"]);
    delivery.nack(&at_once()).expect("given back");
    assert_eq!(charge(&take_one(&shop.queue), &shop.bank).expect("pays"), receipt("x"));
    assert_eq!((shop.bank.paid(), shop.in_doubt_count()), (1, (0, 0)));
}

#[test]
fn parked_until_resolved_as_applied_and_then_going_on_by_itself() {
    let shop = Shop::with(QueueOptions::new().attempts_max(1));
    shop.queue.send(Message::new("y").key("y").time_to_live(HOUR)).expect("sends");
    let delivery = take(&shop.queue, 1).remove(0);
    let error = lose(&delivery, &shop.bank, &OnceOptions::park());
    assert_eq!(error.kind(), ErrorKind::InDoubt, "{error}");
    assert!(error.message().contains("the connection broke") && error.message().contains("parked"), "{error}");
    fails(delivery.ack(), ErrorKind::Invalid, &["parked"]);
    assert_eq!(counts(&shop.queue), [1, 0, 0, 0, 0], "it counts as in doubt and as nothing else");
    assert_eq!(shop.in_doubt_count(), (1, 1));
    assert_eq!(shop.queue.peek(9).expect("peeks").len(), 1);
    shop.world.clock.advance(100 * HOUR);
    let doubt = shop.in_doubt().remove(0);
    assert_eq!((doubt.name.as_str(), doubt.since), ("charge", common::START));
    assert_eq!((doubt.key.as_deref(), delivery.key()), (Some("x"), Some("x")), "what the third party may know it by");
    assert_eq!((doubt.process, doubt.called_at), (std::process::id(), common::START));
    let EffectOf::Message { queue, subscription, message } = &doubt.of else { panic!("{doubt:?}") };
    assert_eq!((queue.as_str(), subscription.as_deref(), *message), ("payments", Some("default"), delivery.id()));
    let (resolution, evidence) = (Resolution::Applied(b"seen".to_vec()), "statement of March");
    shop.world.store.resolve(doubt.doubt, resolution.clone(), evidence, "alice").expect("resolves");
    let again = take_one(&shop.queue);
    assert_eq!(again.id(), delivery.id(), "a person decided: no attempts limit and no time to live stands in its way");
    assert_eq!(again.once("charge", &OnceOptions::park(), never).expect("is known"), b"seen");
    again.ack().expect("acks");
    assert_eq!((shop.bank.paid(), shop.in_doubt_count()), (1, (0, 0)));
    let kept = shop.world.store.resolutions(None, 10).expect("lists").remove(0);
    assert_eq!((kept.resolution, kept.evidence.as_str(), kept.actor.as_str()), (resolution, evidence, "alice"));
    assert_eq!((kept.of, kept.error.as_str(), kept.doubt), (doubt.of, "the connection broke", doubt.doubt));
}

#[test]
fn parked_until_resolved_as_not_applied_and_then_called() {
    let shop = Shop::new();
    let effect = match take_one(&shop.queue).begin_once("charge", &OnceOptions::park()).expect("begins") {
        Begun::Call(effect) => effect,
        other => panic!("{other:?}"),
    };
    assert_eq!(effect.unknown("it hung up").kind(), ErrorKind::InDoubt);
    shop.resolve(Resolution::NotApplied);
    assert_eq!(charge(&take_one(&shop.queue), &shop.bank).expect("pays"), receipt("x"));
    assert_eq!(shop.bank.paid(), 1);
}

#[test]
fn dead_lettered_at_once_and_going_on_when_resolved_and_redriven() {
    let shop = Shop::new();
    let delivery = take_one(&shop.queue);
    let error = lose(&delivery, &shop.bank, &OnceOptions::fail());
    assert_eq!(error.kind(), ErrorKind::InDoubt);
    let letter = shop.queue.dead_letters(None, 5).expect("lists").remove(0);
    assert!(letter.reason.contains("in doubt") && letter.reason.contains("charge"), "{letter:?}");
    assert_eq!(letter.error.as_deref(), Some("the connection broke"));
    assert_eq!((counts(&shop.queue), shop.in_doubt_count()), ([0, 0, 0, 0, 1], (1, 1)));
    shop.queue.redrive_all().expect("redrives");
    let early = take_one(&shop.queue);
    let outcome = early.once("charge", &OnceOptions::fail(), never);
    fails(outcome, ErrorKind::InDoubt, &["charge"]);
    shop.resolve(Resolution::Applied(b"seen".to_vec()));
    assert!(take(&shop.queue, 1).is_empty(), "a dead letter waits to be redriven");
    shop.queue.redrive_all().expect("redrives");
    let again = take_one(&shop.queue);
    assert_eq!(again.once("charge", &OnceOptions::fail(), never).expect("is known"), b"seen");
    assert_eq!(shop.bank.paid(), 1);
}

#[test]
fn a_probe_that_finds_it_ends_the_doubt() {
    let shop = Shop::new();
    let options = OnceOptions::probe(SETTLE);
    let error = lose(&take_one(&shop.queue), &shop.bank, &options);
    assert!(error.message().contains("offered again in 30"), "{error}");
    assert_eq!(counts(&shop.queue), [0, 1, 0, 0, 0], "it is offered again when it makes sense to ask");
    shop.world.clock.advance(SETTLE + SECOND);
    let again = take_one(&shop.queue);
    let result = again.once_or_probe("charge", &options, never, || shop.bank.look_up("x")).expect("is found");
    assert_eq!((result, shop.in_doubt_count()), (receipt("x"), (0, 0)));
    again.nack(&at_once()).expect("given back");
    let kept = take_one(&shop.queue).once_or_probe("charge", &options, never, not_asked);
    assert_eq!((kept.expect("is kept"), shop.bank.paid()), (receipt("x"), 1));
}

#[test]
fn not_applied_counts_only_after_the_settle_delay() {
    let shop = Shop::new();
    let options = OnceOptions::probe(SETTLE);
    let begun = take_one(&shop.queue).begin_once("charge", &options).expect("begins");
    drop(begun);
    shop.world.clock.advance(SETTLE.saturating_sub(SECOND));
    assert!(take(&shop.queue, 1).is_empty());
    // Somebody else is earlier: a message is given back by hand.
    let world = &shop.world;
    world.sql().execute("UPDATE onceward_pending SET due_at = 0", []).expect("is due");
    let early = take_one(&shop.queue);
    let outcome = early.once_or_probe("charge", &options, never, || Probed::NotApplied);
    let until = common::START.plus(SETTLE).get().to_string();
    fails(outcome, ErrorKind::Busy, &["1s", &until]);
    assert!(early.is_settled(), "it was given back");
    world.clock.advance(2 * SECOND);
    let late = take_one(&shop.queue);
    assert_eq!(late.attempt(), early.attempt(), "asking too early is no attempt");
    let result = late.once_or_probe("charge", &options, || shop.bank.pay("x"), || Probed::NotApplied).expect("pays");
    assert_eq!((result, shop.bank.paid()), (receipt("x"), 1));
}

/// A delivery whose call was lost, and the question whether it happened.
fn asking(shop: &Shop, options: &OnceOptions) -> (Delivery, Probe) {
    drop(take_one(&shop.queue).begin_once("charge", options).expect("begins"));
    shop.offer_again();
    let delivery = take_one(&shop.queue);
    let Begun::Probe(probe) = delivery.begin_once("charge", options).expect("begins") else { panic!("a probe") };
    (delivery, probe)
}

#[test]
fn what_was_asked_within_the_settle_delay_does_not_count_however_late_it_is_answered() {
    let shop = Shop::new();
    let options = OnceOptions::probe(SETTLE);
    let (_delivery, probe) = asking(&shop, &options);
    shop.world.clock.advance(SETTLE + SECOND);
    fails(probe.not_applied(), ErrorKind::Busy, &["settle delay"]);
}

#[test]
fn a_probe_that_cannot_tell_parks() {
    let shop = Shop::new();
    let options = OnceOptions::probe(SETTLE);
    lose(&take_one(&shop.queue), &shop.bank, &options);
    shop.world.clock.advance(SETTLE + SECOND);
    let unknown = || Probed::Unknown("the bank is closed".to_owned());
    let outcome = take_one(&shop.queue).once_or_probe("charge", &options, never, unknown);
    fails(outcome, ErrorKind::InDoubt, &["the bank is closed", "parked"]);
    shop.world.clock.advance(HOUR);
    assert!(take(&shop.queue, 1).is_empty());
    shop.resolve(Resolution::Applied(b"seen".to_vec()));
    let known = take_one(&shop.queue).once_or_probe("charge", &options, never, not_asked);
    assert_eq!(known.expect("is known"), b"seen");
}

#[test]
fn a_probe_that_ends_without_an_answer_or_with_too_long_a_one_changes_nothing() {
    let shop = Shop::new();
    let options = OnceOptions::probe(Duration::ZERO);
    lose(&take_one(&shop.queue), &shop.bank, &options);
    let delivery = take_one(&shop.queue);
    let before = shop.in_doubt();
    let long = || Probed::Applied(vec![0; RESULT_BYTES_MAX + 1]);
    let outcome = delivery.once_or_probe("charge", &options, never, long);
    fails(outcome, ErrorKind::Invalid, &["1048577", "1048576"]);
    assert!(shop.in_doubt() == before && !delivery.is_settled());
    delivery.nack(&at_once()).expect("given back");
    let delivery = take_one(&shop.queue);
    drop(delivery.begin_once("charge", &options).expect("begins"));
    assert!(shop.in_doubt() == before && !delivery.is_settled());
}

#[test]
fn a_call_that_never_comes_to_be_known_uses_up_its_attempts() {
    let shop = Shop::with(QueueOptions::new().attempts_max(2));
    let options = OnceOptions::probe(Duration::ZERO);
    for attempt in 1..=2 {
        let delivery = take_one(&shop.queue);
        assert_eq!(delivery.attempt(), attempt);
        let hangs = || Called::Unknown("it timed out".to_owned());
        let outcome = delivery.once_or_probe("charge", &options, hangs, || Probed::NotApplied);
        fails(outcome, ErrorKind::InDoubt, &["it timed out"]);
    }
    assert_eq!((counts(&shop.queue), shop.in_doubt_count()), ([0, 0, 0, 0, 1], (1, 1)));
}

#[test]
fn a_living_caller_is_never_guessed_about() {
    for options in [OnceOptions::park(), OnceOptions::fail(), OnceOptions::probe(Duration::ZERO)] {
        let options = options.idempotent_for(HOUR);
        let shop = Shop::new();
        let slow = take_one(&shop.queue);
        let Begun::Call(effect) = slow.begin_once("charge", &options).expect("begins") else { panic!("a call") };
        for _ in 0..25 {
            shop.world.clock.advance(2 * MINUTE);
            let other = take_one(&shop.queue);
            assert_eq!(other.attempt(), 2, "waiting for another is no attempt");
            let pid = std::process::id().to_string();
            fails(other.begin_once("charge", &options), ErrorKind::Busy, &[&pid, "alive", "given back"]);
            fails(other.ack(), ErrorKind::Invalid, &["given back"]);
        }
        assert_eq!(effect.ended(shop.bank.pay("x")).expect("is recorded, whoever has the message"), receipt("x"));
        fails(slow.ack(), ErrorKind::LeaseLost, &[]);
        shop.world.clock.advance(2 * MINUTE);
        let other = take_one(&shop.queue);
        let Begun::Done(result) = other.begin_once("charge", &options).expect("is kept") else { panic!("it is done") };
        assert_eq!((result, shop.bank.paid()), (receipt("x"), 1));
    }
}

#[test]
fn a_handler_that_panics_leaves_it_in_doubt_at_once() {
    let shop = Shop::new();
    let delivery = take_one(&shop.queue);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        delivery.once("charge", &OnceOptions::park(), || panic!("in the handler"))
    }));
    assert!(panicked.is_err() && delivery.is_settled());
    assert!(shop.in_doubt()[0].error.contains("without saying how"), "{:?}", shop.in_doubt());
    assert!(take(&shop.queue, 1).is_empty());
}

#[test]
fn an_idempotent_third_party_is_called_again_within_its_window_and_not_after_it() {
    let shop = Shop::new();
    let options = OnceOptions::park().idempotent_for(HOUR);
    drop(take_one(&shop.queue).begin_once("charge", &options).expect("begins"));
    shop.resolve(Resolution::NotApplied);
    // Known not to have happened: the window begins anew with this call.
    shop.world.clock.advance(2 * HOUR);
    let worker = shop.world.another();
    let queue = worker.open_queue("payments").expect("opens");
    let Begun::Call(first) = take_one(&queue).begin_once("charge", &options).expect("begins") else { panic!("a call") };
    fails(Err::<(), _>(first.unknown("it hung up")), ErrorKind::InDoubt, &["parked"]);
    shop.offer_again();
    shop.world.clock.advance(HOUR.saturating_sub(SECOND));
    let second = take_one(&shop.queue);
    let outcome = second.once("charge", &options, Bank::refuse);
    fails(outcome, ErrorKind::InDoubt, &["no money", "an earlier call may have happened"]);
    assert_eq!(shop.in_doubt().len(), 1, "that the second did not happen says nothing of the first");
    assert!(!second.is_settled());
    second.nack(&at_once()).expect("given back");
    shop.world.clock.advance(SECOND);
    let third = take_one(&shop.queue);
    let outcome = third.once("charge", &options, never);
    fails(outcome, ErrorKind::InDoubt, &["an earlier call may have happened", "no money", "parked"]);
}

#[test]
fn a_clock_that_went_back_closes_the_window() {
    let shop = Shop::new();
    let options = OnceOptions::park().idempotent_for(HOUR);
    drop(take_one(&shop.queue).begin_once("charge", &options).expect("begins"));
    shop.offer_again();
    shop.world.sql().execute("UPDATE onceward_effect SET called_boot = 7", []).expect("is of another start");
    shop.world.clock.set(common::START.plus(Duration::ZERO));
    shop.world.sql().execute("UPDATE onceward_effect SET called_at = called_at + 1", []).expect("is later");
    let outcome = take_one(&shop.queue).once("charge", &options, never);
    fails(outcome, ErrorKind::InDoubt, &[]);
}

#[test]
fn a_settle_delay_begins_anew_with_the_machine() {
    let shop = Shop::new();
    let options = OnceOptions::probe(SETTLE);
    drop(take_one(&shop.queue).begin_once("charge", &options).expect("begins"));
    shop.world.sql().execute("UPDATE onceward_effect SET doubt_boot = 7", []).expect("is of another start");
    shop.world.clock.advance(SETTLE + SECOND);
    let probe = |answer: Probed| {
        take_one(&shop.queue).once_or_probe("charge", &options, || shop.bank.pay("x"), || answer.clone())
    };
    fails(probe(Probed::NotApplied), ErrorKind::Busy, &["settle delay"]);
    shop.world.clock.advance(SETTLE + SECOND);
    assert_eq!(probe(Probed::NotApplied).expect("pays"), receipt("x"));
}

#[test]
fn nothing_is_called_when_the_lease_is_lost() {
    let shop = Shop::new();
    let late = take_one(&shop.queue);
    shop.world.clock.advance(MINUTE);
    let current = take_one(&shop.queue);
    fails(late.once("charge", &OnceOptions::park(), never), ErrorKind::LeaseLost, &[&late.id().to_string()]);
    assert_eq!(shop.world.count("onceward_effect"), 0);
    charge(&current, &shop.bank).expect("the current holder is not disturbed");
    current.ack().expect("acks");
    fails(late.once("charge", &OnceOptions::park(), never), ErrorKind::LeaseLost, &[]);
}

#[test]
fn bad_input_is_refused_before_anything_is_called_or_written() {
    let shop = Shop::new();
    let delivery = take_one(&shop.queue);
    let park = OnceOptions::park();
    fails(delivery.once("", &park, never), ErrorKind::Invalid, &["empty"]);
    let long = "n".repeat(NAME_BYTES_MAX + 1);
    fails(delivery.once(&long, &park, never), ErrorKind::Invalid, &["513", "512"]);
    fails(delivery.once("c", &OnceOptions::probe(SETTLE), never), ErrorKind::Invalid, &["once_or_probe"]);
    fails(delivery.once_or_probe("c", &park, never, not_asked), ErrorKind::Invalid, &["probe"]);
    fails(delivery.once("c", &park.clone().wait(SECOND), never), ErrorKind::Invalid, &["ledger"]);
    fails(delivery.once("c", &park.clone().request("r"), never), ErrorKind::Invalid, &["ledger"]);
    let centuries = Duration::from_secs(1 << 40);
    fails(delivery.once("c", &park.clone().idempotent_for(centuries), never), ErrorKind::Invalid, &["idempotent_for"]);
    let probe = OnceOptions::probe(centuries);
    fails(delivery.once_or_probe("c", &probe, never, not_asked), ErrorKind::Invalid, &["settle"]);
    let mut tx = shop.world.store.transaction().expect("begins");
    tx.execute("CREATE TABLE t(x)", &[]).expect("runs");
    fails(delivery.once("c", &park, never), ErrorKind::Invalid, &["transaction"]);
    tx.rollback();
    let events = shop.world.store.queue("events", Semantics::AtMostOnce).expect("opens");
    events.send("x").expect("sends");
    fails(take_one(&events).once("c", &park, never), ErrorKind::Invalid, &["at-most-once", "events"]);
    assert_eq!(shop.world.count("onceward_effect"), 0);
    delivery.once("c", &park, || shop.bank.pay("x")).expect("the name is still free");
    fails(delivery.once("c", &park, never), ErrorKind::Invalid, &["\"c\"", "already"]);
    delivery.once("d", &park, || shop.bank.pay("y")).expect("another name is another effect");
    delivery.ack().expect("acks");
    fails(delivery.once("e", &park, never), ErrorKind::Invalid, &["acknowledged"]);
}

#[test]
fn a_consumer_goes_on_past_what_is_parked() {
    let shop = Shop::new();
    shop.queue.send(Message::new("y").key("y")).expect("sends");
    let mut consumer = shop.queue.consume(ConsumeOptions::new().wait(Duration::ZERO)).expect("consumes");
    let first = consumer.next().expect("is there").expect("a delivery");
    lose(&first, &shop.bank, &OnceOptions::park());
    fails(first.ack(), ErrorKind::Invalid, &["parked"]);
    let second = consumer.next().expect("is there").expect("a delivery");
    charge(&second, &shop.bank).expect("pays");
    second.ack().expect("acks");
    assert!(consumer.next().is_none());
    consumer.close().expect("closes without a word about the parked one");
    assert_eq!((counts(&shop.queue), shop.in_doubt_count()), ([0; 5], (1, 1)));
}

#[test]
fn idempotency_keys_have_the_form_of_a_uuid_and_are_stable() {
    let shop = Shop::new();
    let first = take_one(&shop.queue);
    let key = first.idempotency_key("charge").expect("a key");
    let shape: Vec<usize> = key.split('-').map(str::len).collect();
    assert_eq!((shape, &key[14..15]), (vec![8, 4, 4, 4, 12], "8"), "{key}");
    assert!("89ab".contains(&key[19..20]) && key.chars().all(|c| c == '-' || c.is_ascii_hexdigit()), "{key}");
    first.dead_letter("no use").expect("buries");
    shop.queue.redrive_all().expect("redrives");
    let again = take_one(&shop.queue);
    assert_eq!(again.idempotency_key("charge").expect("a key"), key);
    assert_ne!(again.idempotency_key("refund").expect("a key"), key);
    let elsewhere = Shop::new();
    assert_ne!(take_one(&elsewhere.queue).idempotency_key("charge").expect("a key"), key, "another file");
    fails(again.idempotency_key(""), ErrorKind::Invalid, &["empty"]);
}

#[test]
fn it_works_in_memory() {
    let store = onceward::Store::open(":memory:").expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    queue.send("x").expect("sends");
    let bank = Bank::default();
    lose(&take_one(&queue), &bank, &OnceOptions::park());
    let doubt = store.in_doubt(None, 9).expect("lists").remove(0).doubt;
    store.resolve(doubt, Resolution::Applied(b"seen".to_vec()), "asked", "alice").expect("resolves");
    let again = take_one(&queue);
    assert_eq!(again.once("charge", &OnceOptions::park(), never).expect("is known"), b"seen");
    again.ack().expect("acks");
    assert_eq!(bank.paid(), 1);
}

#[test]
fn a_call_that_was_never_made_is_as_if_it_had_not_begun() {
    let shop = Shop::new();
    let delivery = take_one(&shop.queue);
    let Begun::Call(effect) = delivery.begin_once("charge", &OnceOptions::park()).expect("begins") else {
        panic!("a call")
    };
    effect.not_called().expect("is recorded");
    assert!(!delivery.is_settled() && shop.in_doubt().is_empty());
    delivery.release().expect("is given back");
    let again = take_one(&shop.queue);
    let result = again.once("charge", &OnceOptions::park(), || shop.bank.pay("x")).expect("pays");
    assert_eq!((result, shop.bank.paid()), (receipt("x"), 1));
}

#[test]
fn a_call_that_carried_no_key_is_not_repeated_because_a_later_one_does() {
    let shop = Shop::new();
    let first = take_one(&shop.queue);
    let hangs = || Called::Unknown("it hung up".to_owned());
    fails(first.once("charge", &OnceOptions::park(), hangs), ErrorKind::InDoubt, &["parked"]);
    shop.offer_again();
    let second = take_one(&shop.queue);
    fails(second.once("charge", &OnceOptions::park().idempotent_for(HOUR), never), ErrorKind::InDoubt, &["parked"]);
    // Once a person says that it did not happen, the next call is the first.
    shop.resolve(Resolution::NotApplied);
    let third = take_one(&shop.queue);
    let options = OnceOptions::park().idempotent_for(HOUR);
    drop(third.begin_once("charge", &options).expect("begins"));
    shop.offer_again();
    let Begun::Call(_) = take_one(&shop.queue).begin_once("charge", &options).expect("begins") else {
        panic!("a call")
    };
}

#[test]
fn that_it_happened_counts_also_when_a_person_said_otherwise_while_the_third_party_was_asked() {
    let shop = Shop::new();
    let options = OnceOptions::probe(SETTLE);
    let (delivery, probe) = asking(&shop, &options);
    shop.resolve(Resolution::NotApplied);
    assert_eq!(probe.applied(receipt("x")).expect("is known now"), receipt("x"));
    delivery.nack(&at_once()).expect("given back");
    let again = take_one(&shop.queue);
    let Begun::Done(kept) = again.begin_once("charge", &options).expect("is kept") else { panic!("it is done") };
    assert_eq!(kept, receipt("x"));
}

#[test]
fn after_a_restored_backup_another_message_with_the_same_id_has_another_idempotency_key() {
    let folder = common::folder();
    let (path, backup) = (folder.path().join("app.db"), folder.path().join("backup.db"));
    let key_of_the_next = |body: &str, key: &str| {
        let store = onceward::Store::open(&path).expect("opens");
        let queue = store.queue("payments", Semantics::ExactlyOnce).expect("opens");
        let id = queue.send(Message::new(body).key(key)).expect("sends").id;
        let delivery = take_one(&queue);
        assert_eq!(delivery.id(), id);
        let charge = delivery.idempotency_key("charge").expect("a key");
        delivery.nack(&at_once()).expect("given back");
        assert_eq!(take_one(&queue).idempotency_key("charge").expect("a key"), charge, "the same in every delivery");
        store.close().expect("closes");
        (id, charge)
    };
    onceward::Store::open(&path).expect("opens").queue("payments", Semantics::ExactlyOnce).expect("is made");
    std::fs::copy(&path, &backup).expect("a backup of a closed file");
    let (first, paid) = key_of_the_next("1999", "order-42");
    std::fs::copy(&backup, &path).expect("restored");
    let (second, unpaid) = key_of_the_next("2999", "order-43");
    assert_eq!(first, second);
    assert_ne!(paid, unpaid);
}
