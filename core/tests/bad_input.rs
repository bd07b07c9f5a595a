//! Every limit, at the limit and one past it: the error names the value and the limit, and nothing is half-written.

mod common;

use std::time::{Duration, UNIX_EPOCH};

use common::{START, World, at_once, counts, fails, receipts, send_all, take, take_one};
use onceward::limits::{
    ATTEMPTS_MAX, BODY_BYTES_MAX, BODY_BYTES_MAX_DEFAULT, DELAY_MAX, HEADERS_BYTES_MAX, KEY_BYTES_MAX, LEASE_MAX,
    LEASE_MIN, LIST_MAX, NAME_BYTES_MAX, PRIORITY_MAX, RECEIVE_MESSAGES_MAX, SEND_BYTES_MAX, SEND_MESSAGES_MAX,
    SETTLE_RECEIPTS_MAX, SUBSCRIPTIONS_MAX, TEXT_BYTES_MAX, WAIT_MAX,
};
use onceward::{
    Backoff, ConsumeOptions, ErrorKind, Message, MessageId, Nack, Queue, QueueOptions, Receipt, ReceiveOptions, Result,
    Semantics, Start, StoreOptions, Token, Window,
};

const STEP: Duration = Duration::from_millis(1);
const INVALID: ErrorKind = ErrorKind::Invalid;

/// The queue's whole state, to see that a refused call changed nothing: its counts, and every row of the file.
fn state(world: &World, queue: &Queue) -> ([u64; 5], Vec<i64>) {
    let tables = ["message", "pending", "cursor", "lane", "ledger", "dead", "order", "queue", "subscription"];
    (counts(queue), tables.iter().map(|table| world.count(&format!("onceward_{table}"))).collect())
}

/// A message that must be refused, alone and among others, without a trace.
fn refused(world: &World, queue: &Queue, message: &Message, words: &[&str]) {
    let before = state(world, queue);
    fails(queue.send(message.clone()), INVALID, words);
    fails(queue.send_many([Message::new("good").key("good"), message.clone()]), INVALID, words);
    assert_eq!(state(world, queue), before, "{words:?}");
}

fn text(value: impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

#[test]
fn a_body_is_as_long_as_the_store_allows_and_no_longer() {
    let world = World::new();
    let queue = world.at_least_once("q");
    queue.send(vec![1; BODY_BYTES_MAX_DEFAULT]).expect("at the limit");
    let long = Message::new(vec![1; BODY_BYTES_MAX_DEFAULT + 1]);
    refused(&world, &queue, &long, &["1048577", "1048576", "body"]);
    let small = World::with(|options: StoreOptions| options.body_bytes_max(3));
    let queue = small.at_least_once("q");
    queue.send("123").expect("at the limit");
    refused(&small, &queue, &Message::new("1234"), &["body is 4 bytes", "limit is 3"]);
    assert_eq!(take(&queue, 9).len(), 1);
}

#[test]
fn keys_are_1_to_512_bytes_without_a_nul() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let longest = "k".repeat(KEY_BYTES_MAX);
    queue.send(Message::new("x").key(longest.clone()).ordering_key(longest.clone())).expect("at the limit");
    assert_eq!(take_one(&queue).key(), Some(longest.as_str()));
    let long = "ü".repeat(KEY_BYTES_MAX / 2) + "x";
    for (bad, words) in [(String::new(), ["1", "512"]), (long, ["513", "512"]), ("a\0b".into(), ["NUL", "a\\0b"])] {
        refused(&world, &queue, &Message::new("x").key(bad.clone()), &words);
        refused(&world, &queue, &Message::new("x").ordering_key(bad), &words);
    }
}

#[test]
fn names_are_1_to_512_bytes_without_a_nul() {
    let world = World::new();
    let longest = "n".repeat(NAME_BYTES_MAX);
    let queue = world.at_least_once(&longest);
    queue.subscribe(&longest, Start::Now).expect("at the limit");
    for (bad, words) in [("", ["1", "512"]), (&"n".repeat(513), ["513", "512"]), ("a\0b", ["NUL", "a\\0b"])] {
        fails(world.store.queue(bad, Semantics::AtLeastOnce).map(|_| ()), INVALID, &words);
        fails(world.store.open_queue(bad).map(|_| ()), INVALID, &words);
        fails(queue.subscribe(bad, Start::Now).map(|_| ()), INVALID, &words);
        fails(queue.subscription(bad).map(|_| ()), INVALID, &words);
        fails(queue.unsubscribe(bad), INVALID, &words);
        let options = QueueOptions::new().subscriptions(["good", bad]);
        fails(world.store.queue_with("new", Semantics::AtLeastOnce, options).map(|_| ()), INVALID, &words);
    }
    assert_eq!(world.store.queues().expect("lists"), [longest]);
}

#[test]
fn headers_are_at_most_64_kib_together_and_their_names_1_to_512_bytes_without_a_nul() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let name = "h".repeat(NAME_BYTES_MAX);
    let value = vec![7u8; HEADERS_BYTES_MAX - NAME_BYTES_MAX];
    queue.send(Message::new("x").header(name.clone(), value.clone())).expect("at the limit");
    assert_eq!(take_one(&queue).headers().len(), 1);
    let long = Message::new("x").header(name, value).header("1", "");
    refused(&world, &queue, &long, &["65537", "65536", "headers"]);
    refused(&world, &queue, &Message::new("x").header("h".repeat(513), ""), &["513", "512", "header name"]);
    refused(&world, &queue, &Message::new("x").header("", "v"), &["empty", "512", "header name"]);
    refused(&world, &queue, &Message::new("x").header("a\0b", "v"), &["NUL", "a\\0b", "header name"]);
}

#[test]
fn priorities_are_0_to_9() {
    let world = World::new();
    let queue = world.at_least_once("q");
    for priority in 0..=PRIORITY_MAX {
        queue.send(Message::new("x").priority(priority)).expect("within the limits");
    }
    refused(&world, &queue, &Message::new("x").priority(10), &["priority is 10", "limit is 9"]);
    refused(&world, &queue, &Message::new("x").priority(255), &["priority is 255", "limit is 9"]);
}

#[test]
fn a_delay_or_a_time_to_live_is_at_most_ten_years() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let start = UNIX_EPOCH + Duration::from_millis(START.get().unsigned_abs());
    let limit = text(DELAY_MAX);
    queue.send(Message::new("x").delay(DELAY_MAX).time_to_live(DELAY_MAX)).expect("at the limit");
    queue.send(Message::new("x").deliver_at(start + DELAY_MAX).time_to_live(STEP)).expect("at the limit");
    refused(&world, &queue, &Message::new("x").delay(DELAY_MAX + STEP), &["delay", &limit]);
    refused(&world, &queue, &Message::new("x").delay(Duration::MAX), &["delay", &limit]);
    refused(&world, &queue, &Message::new("x").time_to_live(DELAY_MAX + STEP), &["time to live", &limit]);
    refused(&world, &queue, &Message::new("x").time_to_live(Duration::ZERO), &["time to live", "0ns"]);
    refused(&world, &queue, &Message::new("x").deliver_at(start + DELAY_MAX + STEP), &[&limit]);
    let centuries = Duration::from_secs(1 << 55);
    refused(&world, &queue, &Message::new("x").deliver_at(UNIX_EPOCH + centuries), &[&limit]);
}

#[test]
fn send_many_takes_at_most_10_000_messages_and_256_mib() {
    let world = World::with(|options: StoreOptions| options.body_bytes_max(BODY_BYTES_MAX));
    let queue = world.at_least_once("q");
    let before = state(&world, &queue);
    fails(queue.send_many((0..=SEND_MESSAGES_MAX).map(|_| "x")), INVALID, &["10000"]);
    let big = vec![0u8; SEND_BYTES_MAX / 4];
    let bodies = [big.clone(), big.clone(), big.clone(), big, vec![0u8]];
    fails(queue.send_many(bodies), INVALID, &["268435457", "268435456"]);
    assert_eq!(state(&world, &queue), before);
    queue.send_many((0..SEND_MESSAGES_MAX).map(|_| "x")).expect("at the limit");
    assert_eq!(counts(&queue)[0], SEND_MESSAGES_MAX as u64);
}

#[test]
fn a_receive_takes_1_to_10_000_messages_and_waits_at_most_a_day() {
    let world = World::new();
    let queue = world.at_least_once("q");
    send_all(&queue, &["x"]);
    let receive = |options: ReceiveOptions| queue.receive_many(&options).map(|taken| taken.len());
    for max in [0, RECEIVE_MESSAGES_MAX + 1, usize::MAX] {
        fails(receive(ReceiveOptions::new().max(max)), INVALID, &[&max.to_string(), "10000"]);
        fails(queue.consume(ConsumeOptions::new().batch(max)).map(|_| ()), INVALID, &[&max.to_string(), "10000"]);
    }
    let limit = text(WAIT_MAX);
    fails(receive(ReceiveOptions::new().wait(WAIT_MAX + STEP)), INVALID, &["wait", &limit]);
    fails(queue.receive(Duration::MAX).map(|_| ()), INVALID, &["wait", &limit]);
    fails(queue.consume(ConsumeOptions::new().wait(WAIT_MAX + STEP)).map(|_| ()), INVALID, &["wait", &limit]);
    assert_eq!(counts(&queue), [1, 0, 0, 0, 0]);
    assert_eq!(receive(ReceiveOptions::new().max(RECEIVE_MESSAGES_MAX).wait(WAIT_MAX)).expect("at the limits"), 1);
}

#[test]
fn a_lease_is_1_ms_to_12_h() {
    let world = World::new();
    let queue = world.at_least_once("q");
    send_all(&queue, &["a", "b"]);
    let with = |lease| queue.receive_many(&ReceiveOptions::new().lease(lease));
    let (least, most) = (text(LEASE_MIN), text(LEASE_MAX));
    for bad in [Duration::ZERO, Duration::from_nanos(999_999), LEASE_MAX + Duration::from_nanos(1), Duration::MAX] {
        let named = text(bad);
        let words = [named.as_str(), &least, &most];
        fails(with(bad).map(|_| ()), INVALID, &words);
        fails(queue.consume(ConsumeOptions::new().lease(bad)).map(|_| ()), INVALID, &words);
        fails(queue.extend(&[], bad), INVALID, &words);
        let options = QueueOptions::new().lease(bad);
        fails(world.store.queue_with("q", Semantics::AtLeastOnce, options).map(|_| ()), INVALID, &words);
    }
    assert_eq!(counts(&queue), [2, 0, 0, 0, 0]);
    assert_eq!(with(LEASE_MIN).expect("at the limit").len(), 1);
    let mut held = with(LEASE_MAX).expect("at the limit").remove(0);
    held.extend(LEASE_MAX).expect("at the limit");
    fails(held.extend(LEASE_MAX + STEP), INVALID, &[&most]);
    held.extend(LEASE_MIN).expect("at the limit");
}

#[test]
fn reasons_and_error_texts_are_at_most_4_kib_without_a_nul() {
    let world = World::new();
    let queue = world.at_least_once("q");
    send_all(&queue, &["a", "b"]);
    let held = receipts(&take(&queue, 2));
    for (bad, words) in [("x".repeat(TEXT_BYTES_MAX + 1), vec!["4097", "4096"]), ("a\0b".into(), vec!["NUL"])] {
        fails(queue.nack(&held, &Nack::new().error(bad.clone())), INVALID, &words);
        fails(queue.dead_letter(&held, &bad), INVALID, &words);
    }
    fails(queue.nack(&held, &Nack::new().delay(DELAY_MAX + STEP)), INVALID, &[&text(DELAY_MAX)]);
    assert_eq!(counts(&queue), [0, 0, 0, 2, 0]);
    let longest = "x".repeat(TEXT_BYTES_MAX);
    queue.nack(&held[..1], &at_once().error(longest.clone())).expect("at the limit");
    queue.dead_letter(&held[1..], &longest).expect("at the limit");
    assert_eq!(queue.dead_letters(None, 1).expect("lists")[0].reason, longest);
}

type Settle = fn(&Queue, &[Receipt]) -> Result<Vec<Receipt>>;

#[test]
fn one_call_settles_at_most_10_000_receipts() {
    let world = World::new();
    let queue = world.at_least_once("q");
    send_all(&queue, &["x"]);
    let held = take_one(&queue).receipt();
    let receipts = |count: usize| vec![held; count];
    let many = receipts(SETTLE_RECEIPTS_MAX + 1);
    let settles: [Settle; 5] = [
        |queue, many| queue.ack(many),
        |queue, many| queue.nack(many, &Nack::new()),
        |queue, many| queue.dead_letter(many, "x"),
        |queue, many| queue.release(many),
        |queue, many| queue.extend(many, LEASE_MAX),
    ];
    for settle in settles {
        fails(settle(&queue, &many), INVALID, &["10001", "10000"]);
    }
    let mut tx = world.store.transaction().expect("begins");
    let subscription = queue.default_subscription().expect("there");
    fails(tx.ack(&subscription, &many), INVALID, &["10001", "10000"]);
    drop(tx);
    assert_eq!(counts(&queue), [0, 0, 0, 1, 0]);
    assert!(queue.ack(&receipts(SETTLE_RECEIPTS_MAX)).expect("at the limit").is_empty());
}

#[test]
fn a_listing_has_1_to_10_000_rows() {
    let world = World::new();
    let queue = world.at_least_once("q");
    for max in [0, LIST_MAX + 1] {
        fails(queue.peek(max), INVALID, &[&max.to_string(), "10000"]);
        fails(queue.dead_letters(None, max), INVALID, &[&max.to_string(), "10000"]);
    }
    assert!(queue.peek(LIST_MAX).expect("at the limit").is_empty());
    assert!(queue.dead_letters(None, LIST_MAX).expect("at the limit").is_empty());
}

#[test]
fn a_call_that_names_letters_is_bounded_as_well() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let id = send_all(&queue, &["x"])[0];
    take_one(&queue).dead_letter("no use").expect("dead-letters");
    let many = vec![id; LIST_MAX + 1];
    fails(queue.redrive(&many), INVALID, &["10001", "10000"]);
    fails(queue.purge_dead(&many), INVALID, &["10001", "10000"]);
    assert_eq!(queue.redrive(&many[1..]).expect("at the limit"), 1);
}

#[test]
fn an_attempts_limit_is_1_to_1_000_000() {
    let world = World::new();
    let with = |attempts: u32| {
        let options = QueueOptions::new().attempts_max(attempts);
        world.store.queue_with("q", Semantics::AtLeastOnce, options).map(|_| ())
    };
    fails(with(0), INVALID, &["attempts limit is 0", "1000000"]);
    fails(with(ATTEMPTS_MAX + 1), INVALID, &["1000001", "1000000"]);
    assert!(world.store.queues().expect("lists").is_empty());
    with(1).expect("at the limit");
    with(ATTEMPTS_MAX).expect("at the limit");
}

#[test]
fn a_backoff_and_a_window_stay_within_their_limits() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let before = queue.settings().expect("reads");
    let with = |options: QueueOptions| world.store.queue_with("q", Semantics::AtLeastOnce, options).map(|_| ());
    let backoff = Backoff::default();
    for (bad, words) in [
        (Backoff { factor: 0.5, ..backoff }, vec!["0.5", "100"]),
        (Backoff { factor: 100.5, ..backoff }, vec!["100.5", "100"]),
        (Backoff { factor: f64::NAN, ..backoff }, vec!["NaN"]),
        (Backoff { jitter: -0.5, ..backoff }, vec!["-0.5"]),
        (Backoff { jitter: 1.5, ..backoff }, vec!["1.5"]),
        (Backoff { first: Duration::from_secs(3601), ..backoff }, vec!["3601s", "3600s"]),
        (Backoff { cap: DELAY_MAX + STEP, ..backoff }, vec!["cap"]),
    ] {
        fails(with(QueueOptions::new().backoff(bad)), INVALID, &words);
    }
    let limit = text(DELAY_MAX);
    fails(with(QueueOptions::new().deduplication_window(Window::For(Duration::ZERO))), INVALID, &["window", "0ns"]);
    fails(with(QueueOptions::new().deduplication_window(Window::For(DELAY_MAX + STEP))), INVALID, &["window", &limit]);
    assert_eq!(queue.settings().expect("reads"), before);
    let most = Backoff { first: DELAY_MAX, factor: 100.0, cap: DELAY_MAX, jitter: 1.0 };
    with(QueueOptions::new().backoff(most).deduplication_window(Window::For(DELAY_MAX))).expect("at the limits");
    with(QueueOptions::new().backoff(Backoff::constant(Duration::ZERO))).expect("no wait at all");
}

#[test]
fn a_queue_has_1_to_1_000_subscriptions() {
    let world = World::new();
    let names = |count: usize| (0..count).map(|n| format!("s{n}"));
    let with = |name: &str, count: usize| {
        world.store.queue_with(name, Semantics::AtLeastOnce, QueueOptions::new().subscriptions(names(count)))
    };
    fails(with("none", 0).map(|_| ()), INVALID, &["0 subscriptions", "1000"]);
    fails(with("too many", SUBSCRIPTIONS_MAX + 1).map(|_| ()), INVALID, &["1001", "1000"]);
    assert!(world.store.queues().expect("lists").is_empty());
    let queue = with("full", SUBSCRIPTIONS_MAX).expect("at the limit");
    fails(queue.subscribe("one more", Start::Now).map(|_| ()), INVALID, &["1000"]);
    queue.subscribe("s0", Start::Now).expect("it is there already");
    queue.unsubscribe("s0").expect("unsubscribes");
    queue.subscribe("one more", Start::Now).expect("there is room again");
    send_all(&queue, &["x"]);
}

#[test]
fn options_of_a_store_stay_within_their_limits() {
    let folder = common::folder();
    let path = folder.path().join("app.db");
    let open = |options: StoreOptions| options.open(&path).map(|_| ());
    let options = StoreOptions::new;
    fails(open(options().body_bytes_max(BODY_BYTES_MAX + 1)), INVALID, &["268435457", "268435456"]);
    fails(open(options().wal_bytes_max((32 << 20) - 1)), INVALID, &["33554431", "33554432"]);
    fails(open(options().busy_timeout(WAIT_MAX + STEP)), INVALID, &["busy_timeout", &text(WAIT_MAX)]);
    let limit = |limit| options().transaction_time_limit(limit);
    fails(open(limit(WAIT_MAX + STEP)), INVALID, &["transaction_time_limit", &text(WAIT_MAX)]);
    fails(open(limit(Duration::ZERO)), INVALID, &["transaction_time_limit", "0"]);
    fails(open(limit(Duration::from_nanos(1))), INVALID, &["transaction_time_limit", "1ms"]);
    assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 0, "nothing was created");
    let most = options().body_bytes_max(BODY_BYTES_MAX).wal_bytes_max(32 << 20).busy_timeout(WAIT_MAX);
    open(most.transaction_time_limit(WAIT_MAX)).expect("at the limits");
}

#[test]
fn numbers_that_are_no_ids_are_refused_with_their_value() {
    for value in [0, 1, (1 << 38) - 1, 1 << 38, 1 << 53, u64::MAX] {
        fails(MessageId::new(value), INVALID, &[&value.to_string()]);
    }
    for value in [1 << 38 | 1, (1 << 53) - 1] {
        assert_eq!(MessageId::new(value).expect("an id").get(), value);
    }
}

#[test]
fn unknown_semantics_are_refused_with_the_known_ones() {
    for name in ["exactly_once", "Exactly-Once", "", "at-most"] {
        let known = [name, "at-most-once", "at-least-once", "exactly-once"];
        fails(name.parse::<Semantics>(), INVALID, &known);
    }
}

#[test]
fn extreme_tokens_are_just_lost_leases() {
    let world = World::new();
    let queue = world.at_least_once("q");
    let message = send_all(&queue, &["x"])[0];
    for token in [0, 1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        let receipt = Receipt { message, token: Token::new(token) };
        assert_eq!(queue.ack(&[receipt]).expect("answers"), [receipt]);
    }
    assert_eq!(counts(&queue), [1, 0, 0, 0, 0]);
}
