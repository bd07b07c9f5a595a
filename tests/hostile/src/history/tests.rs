//! The checker is tested: a good history passes, and each way to break a promise is seen.

use super::{
    Call, DeadOne, Effect, Entry, Event, Handed, Invariant, Item, Outcome, Promise, Proof, SentItem, Verb, check,
    format_entry, parse,
};

const LEASE_MS: u64 = 1_000;

/// Builds histories. One message of an outcome each, which is all that the invariants need.
#[derive(Default)]
struct Story {
    entries: Vec<Entry>,
    at_ms: u64,
    process: u32,
    calls: Call,
}

fn item(key: &str) -> Item {
    Item { key: Some(key.to_owned()), hash: crate::random::hash(key.as_bytes()), ordering: None }
}

fn ordered(key: &str) -> Item {
    Item { ordering: Some("lane".to_owned()), ..item(key) }
}

impl Story {
    fn of(promise: Promise) -> Story {
        let mut story = Story { process: 1, ..Story::default() };
        let subscriptions = vec!["s".to_owned()];
        story.note(Event::Queue { queue: "q".to_owned(), promise, subscriptions, attempts_max: 3, lease_ms: LEASE_MS });
        story
    }

    fn note(&mut self, event: Event) -> &mut Story {
        self.entries.push(Entry { at_ms: self.at_ms, process: self.process, event });
        self
    }

    fn call(&mut self) -> Call {
        self.calls += 1;
        self.calls
    }

    fn send(&mut self, what: Item, outcome: Outcome<SentItem>) -> &mut Story {
        self.send_within(None, what, outcome)
    }

    fn send_within(&mut self, within: Option<Call>, what: Item, outcome: Outcome<SentItem>) -> &mut Story {
        let call = self.call();
        self.note(Event::SendBegin { call, queue: "q".to_owned(), within, items: vec![what] });
        let outcome = match outcome {
            Outcome::Ok(sent) => Outcome::Ok(vec![sent]),
            Outcome::Refused(kind) => Outcome::Refused(kind),
            Outcome::Unknown(kind) => Outcome::Unknown(kind),
        };
        self.note(Event::SendEnd { call, outcome })
    }

    fn sent(&mut self, key: &str, id: u64) -> &mut Story {
        self.send(item(key), Outcome::Ok(SentItem { id, duplicate: false }))
    }

    fn receive(&mut self, handed: Vec<Handed>) -> &mut Story {
        let call = self.call();
        self.note(Event::ReceiveBegin { call, scope: "q/s".to_owned() });
        self.note(Event::ReceiveEnd { call, outcome: Outcome::Ok(handed) })
    }

    fn got(&mut self, key: &str, id: u64, token: u64, attempt: u32) -> &mut Story {
        self.receive(vec![Handed { id, token, attempt, item: item(key) }])
    }

    fn settle(&mut self, verb: Verb, id: u64, token: u64, ok: bool) -> &mut Story {
        let call = self.call();
        let proof = Proof { id, token };
        self.note(Event::SettleBegin { call, scope: "q/s".to_owned(), verb, proofs: vec![proof] });
        self.note(Event::SettleEnd { call, outcome: Outcome::Ok(if ok { vec![] } else { vec![proof] }) })
    }

    fn commit(&mut self, call: Call, id: u64, token: u64, outcome: Outcome<()>) -> &mut Story {
        let proof = Some(Proof { id, token });
        self.note(Event::CommitBegin { call, scope: "q/s".to_owned(), proof, effect: true });
        self.note(Event::CommitEnd { call, outcome })
    }

    fn effects(&mut self, rows: &[(u64, Call)]) -> &mut Story {
        let rows = rows.iter().map(|(id, commit)| Effect { id: *id, commit: *commit }).collect();
        self.note(Event::Effects { scope: "q/s".to_owned(), rows })
    }

    fn dead(&mut self, id: u64, attempts: u32, has_reason: bool) -> &mut Story {
        self.note(Event::Dead { scope: "q/s".to_owned(), letters: vec![DeadOne { id, attempts, has_reason }] })
    }

    fn drained(&mut self) -> &mut Story {
        self.note(Event::Drained { scope: "q/s".to_owned() })
    }

    fn cut(&mut self) -> &mut Story {
        self.note(Event::PowerCut)
    }

    /// The invariants that the history breaks, each once.
    fn broken(&self) -> Vec<Invariant> {
        let mut broken: Vec<Invariant> = check(&self.entries).into_iter().map(|one| one.invariant).collect();
        broken.sort_unstable();
        broken.dedup();
        broken
    }
}

fn least() -> Story {
    Story::of(Promise::AtLeastOnce)
}

fn exact() -> Story {
    Story::of(Promise::ExactlyOnce)
}

fn refused(kind: &str) -> Outcome<SentItem> {
    Outcome::Refused(kind.to_owned())
}

fn unknown() -> Outcome<SentItem> {
    Outcome::Unknown("Storage".to_owned())
}

fn ok(id: u64, duplicate: bool) -> Outcome<SentItem> {
    Outcome::Ok(SentItem { id, duplicate })
}

#[test]
fn a_good_history_of_everything_breaks_nothing() {
    let mut story = exact();
    story.sent("a", 1).send(item("a"), ok(1, true)).send(item("b"), unknown()).send(item("b"), ok(2, true));
    let other = Item { hash: 7, ..item("a") };
    story.send(other, refused("Conflict")).got("a", 1, 10, 1).settle(Verb::Nack, 1, 10, true);
    story.got("a", 1, 11, 2).settle(Verb::Ack, 1, 10, false).commit(90, 1, 11, Outcome::Ok(()));
    story.got("b", 2, 12, 1).cut().got("b", 2, 20, 1).settle(Verb::Ack, 2, 20, true).settle(Verb::Ack, 2, 20, true);
    story.sent("c", 3).got("c", 3, 21, 1).settle(Verb::DeadLetter, 3, 21, true).dead(3, 1, true);
    story.note(Event::RedriveBegin { call: 91, scope: "q/s".to_owned(), ids: vec![3] });
    story.got("c", 3, 22, 1).settle(Verb::Ack, 3, 22, true);
    story.sent("d", 4).got("d", 4, 23, 1).note(Event::Crash { process: 1 });
    story.process = 2;
    story.got("d", 4, 24, 2).settle(Verb::Extend, 4, 24, true);
    story.at_ms += LEASE_MS;
    story.got("d", 4, 25, 3).settle(Verb::Ack, 4, 24, false).settle(Verb::Ack, 4, 25, true);
    story.effects(&[(1, 90)]).drained();
    assert_eq!(check(&story.entries), []);
}

#[test]
fn a_lost_message_breaks_p1() {
    assert_eq!(least().sent("a", 1).drained().broken(), [Invariant::P1]);
    assert_eq!(
        least().sent("a", 1).got("a", 1, 1, 1).settle(Verb::Nack, 1, 1, true).drained().broken(),
        [Invariant::P1]
    );
    assert_eq!(Story::of(Promise::AtMostOnce).sent("a", 1).drained().broken(), []);
    assert_eq!(least().send(item("a"), unknown()).drained().broken(), []);
}

#[test]
fn a_dropped_send_makes_its_delivery_a_phantom() {
    assert_eq!(least().got("a", 1, 1, 1).broken(), [Invariant::P2]);
    let mut story = least();
    let changed = Item { hash: 1, ..item("a") };
    assert!(
        story
            .sent("a", 1)
            .receive(vec![Handed { id: 1, token: 1, attempt: 1, item: changed }])
            .broken()
            .contains(&Invariant::P2)
    );
}

#[test]
fn keys_that_split_or_merge_break_p3() {
    assert_eq!(least().sent("a", 1).send(item("a"), ok(2, true)).broken(), [Invariant::P3]);
    assert_eq!(least().sent("a", 1).send(item("a"), ok(1, false)).broken(), [Invariant::P3]);
    assert_eq!(least().send(item("a"), ok(1, true)).broken(), [Invariant::P3]);
    let other = Item { hash: 7, ..item("a") };
    assert!(least().sent("a", 1).send(other.clone(), ok(1, true)).broken().contains(&Invariant::P3));
    assert_eq!(least().send(other.clone(), refused("Conflict")).broken(), [Invariant::P3]);
    let handed = Handed { id: 2, token: 1, attempt: 1, item: other.clone() };
    assert!(
        least().sent("a", 1).send(other, refused("Conflict")).receive(vec![handed]).broken().contains(&Invariant::P3)
    );
}

#[test]
fn a_repeated_send_of_unknown_outcome_that_becomes_two_messages_breaks_p4() {
    let mut story = least();
    story.send(item("a"), unknown()).send(item("a"), ok(2, false)).got("a", 1, 1, 1).got("a", 2, 2, 1);
    assert_eq!(story.broken(), [Invariant::P4]);
    let mut across = least();
    across.send(item("a"), unknown()).got("a", 1, 1, 1).cut().send(item("a"), ok(2, false));
    assert_eq!(across.broken(), [Invariant::P4]);
}

#[test]
fn an_id_that_becomes_another_message_is_seen() {
    let mut story = least();
    story.send(item("a"), unknown()).got("a", 1, 1, 1).cut().sent("b", 1).got("b", 1, 2, 1);
    assert_eq!(story.broken(), [Invariant::Id]);
    let mut at_most_once = Story::of(Promise::AtMostOnce);
    assert_eq!(at_most_once.sent("a", 1).cut().sent("b", 1).got("b", 1, 1, 1).broken(), [], "unsynced and never seen");
}

#[test]
fn sends_of_a_transaction_follow_it_or_break_p5() {
    let mut story = least();
    story.send_within(Some(50), item("a"), ok(1, false)).note(Event::RolledBack { call: 50 }).got("a", 1, 1, 1);
    assert_eq!(story.broken(), [Invariant::P5]);
    let mut committed = least();
    committed.send_within(Some(50), item("a"), ok(1, false));
    committed.note(Event::CommitBegin { call: 50, scope: "q/s".to_owned(), proof: None, effect: false });
    committed.note(Event::CommitEnd { call: 50, outcome: Outcome::Ok(()) }).drained();
    assert_eq!(committed.broken(), [Invariant::P1]);
}

#[test]
fn a_commit_of_unknown_outcome_is_judged_by_its_effect() {
    for (rows, expected) in [(&[(1, 50)][..], Invariant::P1), (&[][..], Invariant::P5)] {
        let mut story = exact();
        story.sent("a", 1).got("a", 1, 1, 1).send_within(Some(50), item("child"), ok(2, false));
        story.commit(50, 1, 1, Outcome::Unknown("Storage".to_owned())).cut().effects(rows);
        if rows.is_empty() {
            story.got("a", 1, 9, 1).settle(Verb::Ack, 1, 9, true).got("child", 2, 9, 1).settle(Verb::Ack, 2, 9, true);
        }
        assert_eq!(story.drained().broken(), [expected]);
    }
}

#[test]
fn a_refused_send_that_is_delivered_is_seen() {
    assert_eq!(least().send(item("a"), refused("Full")).got("a", 1, 1, 1).broken(), [Invariant::Refused]);
}

#[test]
fn a_batch_that_comes_out_in_part_is_seen() {
    let mut story = least();
    story.note(Event::SendBegin { call: 70, queue: "q".to_owned(), within: None, items: vec![item("a"), item("b")] });
    story.cut().got("a", 1, 1, 1).settle(Verb::Ack, 1, 1, true).drained();
    assert_eq!(story.broken(), [Invariant::Batch]);
}

#[test]
fn tokens_that_stand_still_or_go_back_break_l1() {
    for second in [5, 4] {
        let mut story = least();
        story.sent("a", 1).got("a", 1, 5, 1).cut().got("a", 1, second, 2);
        assert!(story.broken().contains(&Invariant::L1), "token {second} after 5");
    }
}

#[test]
fn a_stale_or_made_up_token_that_settles_breaks_l2() {
    let mut story = least();
    story.sent("a", 1).got("a", 1, 1, 1).settle(Verb::Nack, 1, 1, true).got("a", 1, 2, 2).settle(Verb::Ack, 1, 1, true);
    assert_eq!(story.broken(), [Invariant::L2, Invariant::L4]);
    assert_eq!(least().sent("a", 1).settle(Verb::Ack, 1, 9, true).broken(), [Invariant::L2]);
    assert_eq!(least().sent("a", 1).got("a", 1, 1, 1).settle(Verb::Ack, 1, 1, false).broken(), [Invariant::L2]);
}

#[test]
fn a_repeated_settle_with_another_answer_breaks_l3() {
    let mut story = least();
    story.sent("a", 1).got("a", 1, 1, 1).settle(Verb::Ack, 1, 1, true).settle(Verb::Ack, 1, 1, false);
    assert_eq!(story.broken(), [Invariant::L3]);
}

#[test]
fn a_finished_message_that_comes_again_breaks_l4() {
    let mut story = least();
    story.sent("a", 1).got("a", 1, 1, 1).settle(Verb::Ack, 1, 1, true);
    story.at_ms += LEASE_MS;
    assert_eq!(story.got("a", 1, 2, 2).broken(), [Invariant::L4]);
    let acknowledged = |mut story: Story| {
        story.sent("a", 1).got("a", 1, 1, 1).settle(Verb::Ack, 1, 1, true).cut().got("a", 1, 2, 2);
        story.broken()
    };
    assert_eq!(acknowledged(exact()), [Invariant::L4], "synced");
    assert_eq!(acknowledged(least()), [], "not synced: a power cut may take it back");
}

#[test]
fn attempts_that_stand_still_jump_or_pass_the_limit_break_l5() {
    for attempt in [1, 3] {
        let mut story = least();
        story.sent("a", 1).got("a", 1, 1, 1).settle(Verb::Nack, 1, 1, true).got("a", 1, 2, attempt);
        assert_eq!(story.broken(), [Invariant::L5], "attempt {attempt}");
    }
    assert_eq!(least().sent("a", 1).note(Event::Crash { process: 8 }).got("a", 1, 1, 4).broken(), [Invariant::L5]);
    assert_eq!(least().sent("a", 1).dead(1, 2, true).broken(), [Invariant::L5]);
    assert_eq!(least().sent("a", 1).dead(1, 3, false).broken(), [Invariant::L5]);
    assert_eq!(least().sent("a", 1).dead(1, 3, true).drained().broken(), []);
}

#[test]
fn an_ordering_key_that_is_overtaken_or_split_breaks_l6() {
    let both = |story: &mut Story| {
        story.send(ordered("a"), ok(1, false)).send(ordered("b"), ok(2, false));
    };
    let handed = |key: &str, id: u64| Handed { id, token: id, attempt: 1, item: ordered(key) };
    let mut overtaken = least();
    both(&mut overtaken);
    assert_eq!(overtaken.receive(vec![handed("b", 2)]).broken(), [Invariant::L6]);
    let mut split = least();
    both(&mut split);
    assert_eq!(split.receive(vec![handed("a", 1)]).receive(vec![handed("b", 2)]).broken(), [Invariant::L6]);
    let mut good = least();
    both(&mut good);
    good.receive(vec![handed("a", 1)]).settle(Verb::Ack, 1, 1, true).receive(vec![handed("b", 2)]);
    assert_eq!(good.broken(), []);
    let mut batch = least();
    both(&mut batch);
    assert_eq!(batch.receive(vec![handed("a", 1), handed("b", 2)]).broken(), []);
}

#[test]
fn a_second_delivery_breaks_at_most_once_whatever_the_reason() {
    let mut story = Story::of(Promise::AtMostOnce);
    story.sent("a", 1).got("a", 1, 1, 1).cut().got("a", 1, 2, 2);
    assert_eq!(story.broken(), [Invariant::AtMostOnce]);
}

#[test]
fn a_repeated_delivery_without_a_reason_breaks_at_least_once() {
    assert_eq!(least().sent("a", 1).got("a", 1, 1, 1).got("a", 1, 2, 2).broken(), [Invariant::AtLeastOnce]);
}

#[test]
fn effects_that_are_doubled_missing_or_unfounded_break_exactly_once() {
    let prepared = || {
        let mut story = exact();
        story.sent("a", 1).got("a", 1, 1, 1).commit(50, 1, 1, Outcome::Ok(()));
        story
    };
    assert_eq!(prepared().effects(&[(1, 50)]).drained().broken(), []);
    assert_eq!(prepared().effects(&[(1, 50), (1, 50)]).broken(), [Invariant::ExactlyOnce]);
    assert_eq!(prepared().effects(&[]).broken(), [Invariant::ExactlyOnce]);
    assert_eq!(exact().sent("a", 1).effects(&[(1, 50)]).broken(), [Invariant::ExactlyOnce]);
    let mut refused = exact();
    refused.sent("a", 1).got("a", 1, 1, 1).settle(Verb::Nack, 1, 1, true).got("a", 1, 2, 2);
    refused.commit(50, 1, 1, Outcome::Refused("LeaseLost".to_owned()));
    assert_eq!(refused.effects(&[(1, 50)]).broken(), [Invariant::ExactlyOnce]);
    let mut again = exact();
    again.sent("a", 1).got("a", 1, 1, 1).commit(50, 1, 1, Outcome::Unknown("Storage".to_owned())).cut();
    assert!(again.effects(&[(1, 50)]).got("a", 1, 2, 2).broken().contains(&Invariant::ExactlyOnce));
}

#[test]
fn damage_is_a_violation() {
    assert_eq!(least().note(Event::Damaged { text: "torn".to_owned() }).broken(), [Invariant::Integrity]);
}

#[test]
fn a_history_survives_its_text_and_torn_lines_are_left_out() {
    let mut story = exact();
    story.sent("a", 1).send(ordered("b"), unknown()).send(item("c"), refused("Full")).got("a", 1, 10, 1);
    story.commit(90, 1, 10, Outcome::Ok(())).settle(Verb::Ack, 1, 10, false).effects(&[(1, 90)]).dead(3, 1, true);
    let handed = Handed { id: 8, token: 9, attempt: 1, item: ordered("h") };
    story
        .note(Event::HandedOut { call: 5, handed })
        .cut()
        .drained()
        .note(Event::Crash { process: 3 })
        .note(Event::Note { text: "fault on".to_owned() });
    story.note(Event::RolledBack { call: 1 }).note(Event::Damaged { text: "a b".to_owned() });
    let text: String = story.entries.iter().map(format_entry).collect();
    if let Some(Entry { event: Event::Damaged { text }, .. }) = story.entries.last_mut() {
        *text = "a_b".to_owned();
    }
    assert_eq!(parse(&text), story.entries);
    let torn = format!("{}{}", &text[..text.len() - 4], format_entry(&story.entries[0]));
    assert_eq!(parse(&torn).len(), story.entries.len(), "the torn line is gone, the next one stands");
}
