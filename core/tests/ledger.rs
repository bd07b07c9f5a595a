//! Ledgers: effects that are made once, by keys of the application's own.

#[path = "common/bank.rs"]
mod bank;
mod common;

use std::sync::Arc;
use std::time::Duration;

use bank::{Bank, never, not_asked, receipt};
use common::{HOUR, Obituaries, SECOND, World, eventually, fails};
use onceward::limits::{KEY_BYTES_MAX, NAME_BYTES_MAX};
use onceward::{
    Begun, Called, EffectOf, ErrorKind, Ledger, LedgerOptions, OnceOptions, Probed, Resolution, Store, Window,
};

const SETTLE: Duration = Duration::from_secs(30);

fn ledger(world: &World) -> Ledger {
    world.store.ledger("refunds").expect("opens")
}

fn doubt(store: &Store) -> u64 {
    store.in_doubt(None, 10).expect("lists")[0].doubt
}

/// Leaves a call whose outcome nobody knows.
fn lose(ledger: &Ledger, options: &OnceOptions) {
    let Begun::Call(effect) = ledger.begin_once("k", options).expect("begins") else { panic!("a call") };
    assert_eq!(effect.unknown("it hung up").kind(), ErrorKind::InDoubt);
}

#[test]
fn a_key_is_called_once_and_its_result_kept() {
    let (world, bank) = (World::new(), Bank::default());
    for _ in 0..3 {
        let result = ledger(&world).once("k", &OnceOptions::park(), || bank.pay("k")).expect("pays");
        assert_eq!(result, receipt("k"));
    }
    ledger(&world).once("l", &OnceOptions::park(), || bank.pay("l")).expect("another key is another effect");
    let others = world.store.ledger("payouts").expect("opens");
    others.once("k", &OnceOptions::park(), || bank.pay("k")).expect("another ledger has keys of its own");
    assert_eq!((bank.paid(), world.store.ledgers().expect("lists")), (3, vec!["payouts".into(), "refunds".into()]));
    let again = world.another().ledger("refunds").expect("opens").once("k", &OnceOptions::fail(), never);
    assert_eq!(again.expect("is in the file"), receipt("k"));
}

#[test]
fn a_failed_call_is_made_again() {
    let (world, bank) = (World::new(), Bank::default());
    let refused = ledger(&world).once("k", &OnceOptions::park(), Bank::refuse);
    fails(refused, ErrorKind::Failed, &["\"k\"", "no money"]);
    assert_eq!(ledger(&world).once("k", &OnceOptions::park(), || bank.pay("k")).expect("pays"), receipt("k"));
}

#[test]
fn what_is_unknown_is_in_doubt_each_time_until_it_is_resolved() {
    for options in [OnceOptions::park(), OnceOptions::fail()] {
        let world = World::new();
        lose(&ledger(&world), &options);
        for _ in 0..2 {
            fails(ledger(&world).once("k", &options, never), ErrorKind::InDoubt, &["\"k\"", "it hung up"]);
        }
        let listed = world.store.in_doubt(None, 10).expect("lists");
        assert_eq!((listed.len(), listed[0].name.as_str()), (1, "k"));
        assert_eq!(listed[0].of, EffectOf::Ledger { ledger: "refunds".to_owned() }.clone());
        assert_eq!(world.store.stats().expect("counts").in_doubt, 1);
        world.store.resolve(doubt(&world.store), Resolution::NotApplied, "asked", "bob").expect("resolves");
        let bank = Bank::default();
        assert_eq!(ledger(&world).once("k", &options, || bank.pay("k")).expect("pays"), receipt("k"));
        let kept = world.store.resolutions(None, 10).expect("lists").remove(0);
        assert_eq!((kept.of, kept.resolution), (listed[0].of.clone(), Resolution::NotApplied));
    }
}

#[test]
fn a_probe_is_asked_at_once_and_its_no_counts_after_the_settle_delay() {
    let (world, bank) = (World::new(), Bank::default());
    let options = OnceOptions::probe(SETTLE);
    lose(&ledger(&world), &options);
    let once = || ledger(&world).once_or_probe("k", &options, || bank.pay("k"), || Probed::NotApplied);
    let until = common::START.plus(SETTLE).get().to_string();
    fails(once(), ErrorKind::Busy, &["30s", &until]);
    world.clock.advance(SETTLE.saturating_sub(SECOND));
    fails(once(), ErrorKind::Busy, &["1s", &until]);
    world.clock.advance(SECOND);
    assert_eq!(once().expect("pays"), receipt("k"));
    let kept = ledger(&world).once_or_probe("k", &options, never, not_asked);
    assert_eq!((kept.expect("is kept"), bank.paid()), (receipt("k"), 1));
}

#[test]
fn a_second_caller_waits_for_the_first_and_then_gets_its_result() {
    let world = World::new();
    let first = ledger(&world);
    let Begun::Call(effect) = first.begin_once("k", &OnceOptions::park()).expect("begins") else { panic!("a call") };
    for other in [ledger(&world), world.another().ledger("refunds").expect("opens")] {
        fails(other.once("k", &OnceOptions::park(), never), ErrorKind::Busy, &["alive"]);
        let waits = OnceOptions::park().wait(Duration::from_millis(50));
        fails(other.once("k", &waits, never), ErrorKind::Busy, &["alive"]);
    }
    let second = ledger(&world);
    let waits = OnceOptions::park().wait(common::PATIENCE);
    let waiting = std::thread::spawn(move || second.once("k", &waits, never));
    std::thread::sleep(Duration::from_millis(50));
    assert!(!waiting.is_finished());
    effect.done(receipt("k")).expect("is recorded");
    assert_eq!(waiting.join().expect("lives").expect("gets it"), receipt("k"));
}

#[test]
fn two_threads_that_want_the_same_call_make_it_once() {
    let world = World::new();
    let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (ledger, calls) = (ledger(&world), Arc::clone(&calls));
            std::thread::spawn(move || {
                let options = OnceOptions::park().wait(common::PATIENCE);
                ledger.once("k", &options, || {
                    let call = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    Called::Done(call.to_string().into_bytes())
                })
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().expect("lives").expect("is done"), b"0");
    }
    assert_eq!(calls.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[test]
fn another_request_under_the_same_key_is_a_conflict_whatever_became_of_the_first() {
    let world = World::new();
    let asks = |request: &str| OnceOptions::park().request(request);
    let refused = ledger(&world).once("k", &asks("1 cent"), || Called::Failed("no".to_owned()));
    fails(refused, ErrorKind::Failed, &[]);
    fails(ledger(&world).once("k", &asks("2 cents"), never), ErrorKind::Conflict, &["\"k\"", "another request"]);
    let bank = Bank::default();
    ledger(&world).once("k", &asks("1 cent"), || bank.pay("k")).expect("pays");
    fails(ledger(&world).once("k", &asks("2 cents"), never), ErrorKind::Conflict, &["\"k\""]);
    ledger(&world).once("k", &asks("1 cent"), never).expect("the same request is the same effect");
    ledger(&world).once("k", &OnceOptions::park(), never).expect("without a request nothing is compared");
}

#[test]
fn a_window_forgets_what_is_done_and_never_what_is_in_doubt() {
    let (world, bank) = (World::new(), Bank::default());
    let hour = LedgerOptions::new().window(Window::For(HOUR));
    let refunds = world.store.ledger_with("refunds", &hour).expect("opens");
    lose(&refunds, &OnceOptions::park());
    refunds.once("done", &OnceOptions::park(), || bank.pay("done")).expect("pays");
    world.clock.advance(HOUR.saturating_sub(SECOND));
    refunds.once("done", &OnceOptions::park(), never).expect("is remembered");
    world.clock.advance(SECOND);
    eventually("housekeeping forgets it", || world.count("onceward_effect") == 1);
    refunds.once("done", &OnceOptions::park(), || bank.pay("done")).expect("is called again");
    assert_eq!((bank.paid(), world.store.in_doubt(None, 9).expect("lists").len()), (2, 1));
    // Opened without one, a ledger keeps the window it has.
    let (again, plain) = (world.another(), LedgerOptions::new());
    let refunds = again.ledger_with("refunds", &plain).expect("opens");
    refunds.once("more", &OnceOptions::park(), || bank.pay("more")).expect("pays");
    world.clock.advance(HOUR);
    eventually("it is forgotten", || world.count("onceward_effect") == 1);
}

#[test]
fn what_is_forgotten_by_the_clock_is_called_again_though_it_is_still_there() {
    let (world, bank) = (World::new(), Bank::default());
    let options = LedgerOptions::new().window(Window::For(SECOND));
    let refunds = world.store.ledger_with("refunds", &options).expect("opens");
    for paid in 1..4 {
        refunds.once("k", &OnceOptions::park(), || bank.pay("k")).expect("pays");
        assert_eq!(bank.paid(), paid);
        world.clock.advance(SECOND);
    }
}

#[test]
fn a_caller_that_the_operating_system_calls_dead_is_in_doubt_and_counts_no_more() {
    let obituaries = Arc::new(Obituaries::default());
    let world = World::with(|options| options.liveness(Arc::clone(&obituaries) as Arc<_>));
    let other = world.another();
    let theirs = other.ledger("refunds").expect("opens");
    let Begun::Call(effect) = theirs.begin_once("k", &OnceOptions::park()).expect("begins") else { panic!("a call") };
    fails(ledger(&world).once("k", &OnceOptions::park(), never), ErrorKind::Busy, &[]);
    obituaries.add(1);
    fails(ledger(&world).once("k", &OnceOptions::park(), never), ErrorKind::InDoubt, &["ended during the call"]);
    assert_eq!(effect.done(receipt("k")).expect("it knows better than everyone"), receipt("k"));
    assert_eq!(ledger(&world).once("k", &OnceOptions::park(), never).expect("is known"), receipt("k"));
}

#[test]
fn a_late_outcome_never_overrides_what_was_decided_meanwhile() {
    let obituaries = Arc::new(Obituaries::default());
    let world = World::with(|options| options.liveness(Arc::clone(&obituaries) as Arc<_>));
    let other = world.another();
    let theirs = other.ledger("refunds").expect("opens");
    let Begun::Call(effect) = theirs.begin_once("k", &OnceOptions::park()).expect("begins") else { panic!("a call") };
    obituaries.add(1);
    world.store.resolve(doubt(&world.store), Resolution::Applied(b"seen".to_vec()), "asked", "bob").expect("resolves");
    fails(Err::<(), _>(effect.failed("no money")), ErrorKind::Conflict, &["\"k\"", "by others"]);
    assert_eq!(ledger(&world).once("k", &OnceOptions::park(), never).expect("is known"), b"seen");
}

#[test]
fn bad_input_is_refused() {
    let world = World::new();
    let long = "n".repeat(NAME_BYTES_MAX + 1);
    fails(world.store.ledger(""), ErrorKind::Invalid, &["ledger name is empty"]);
    fails(world.store.ledger(&long), ErrorKind::Invalid, &["513", "512"]);
    let window = |window| world.store.ledger_with("refunds", &LedgerOptions::new().window(Window::For(window)));
    fails(window(Duration::ZERO), ErrorKind::Invalid, &["0ns"]);
    fails(window(Duration::from_secs(1 << 40)), ErrorKind::Invalid, &["ledger window"]);
    let (refunds, park) = (ledger(&world), OnceOptions::park());
    fails(refunds.once("", &park, never), ErrorKind::Invalid, &["empty"]);
    fails(refunds.once(&"k".repeat(KEY_BYTES_MAX + 1), &park, never), ErrorKind::Invalid, &["513", "512"]);
    fails(refunds.once("k", &OnceOptions::probe(SETTLE), never), ErrorKind::Invalid, &["once_or_probe"]);
    fails(refunds.once_or_probe("k", &park, never, not_asked), ErrorKind::Invalid, &["probe"]);
    fails(refunds.once("k", &park.clone().wait(Duration::from_secs(86_401)), never), ErrorKind::Invalid, &["wait"]);
    fails(refunds.idempotency_key(""), ErrorKind::Invalid, &["empty"]);
    let key = refunds.idempotency_key("k").expect("a key");
    assert_eq!(key, ledger(&world).idempotency_key("k").expect("a key"));
    assert_ne!(key, world.store.ledger("payouts").expect("opens").idempotency_key("k").expect("a key"));
    assert_eq!(world.count("onceward_effect"), 0);
    world.store.close().expect("closes");
    fails(refunds.once("k", &park, never), ErrorKind::Closed, &["closed"]);
}

#[test]
fn a_call_that_ends_while_a_transaction_is_open_is_recorded_when_that_has_ended() {
    let world = World::new();
    let Begun::Call(effect) = ledger(&world).begin_once("k", &OnceOptions::park()).expect("begins") else {
        panic!("a call")
    };
    let mut tx = world.store.transaction().expect("begins");
    tx.execute("CREATE TABLE t(x)", &[]).expect("runs");
    fails(effect.done(receipt("k")), ErrorKind::Invalid, &["transaction", "as soon as it can be"]);
    tx.commit().expect("commits");
    let waits = OnceOptions::park().wait(common::PATIENCE);
    assert_eq!(ledger(&world).once("k", &waits, never).expect("is recorded"), receipt("k"));
}
