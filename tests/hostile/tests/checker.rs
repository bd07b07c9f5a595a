//! The checker is tested on real histories: a good run passes, and the same run with one thing changed does not.

#![allow(clippy::ptr_arg, reason = "all mutations have one type; some need more than a slice")]
use std::collections::BTreeSet;

use onceward_hostile::audit::audit;
use onceward_hostile::history::{Effect, Entry, Event, Handed, Invariant, Outcome, Promise, check, parse};
use onceward_hostile::house::{HISTORY, PLANS};
use onceward_hostile::journal::Journal;
use onceward_hostile::process::{Driver, scratch};
use onceward_hostile::random::{Random, setting};
use onceward_hostile::survey::AUDITOR;

const DRIVER: &str = env!("CARGO_BIN_EXE_hostile-driver");

/// A run of four threads, and what was found afterwards.
fn good_history(seed: u64) -> Vec<Entry> {
    let folder = scratch();
    let words = ["run", "2", "4", "150", &seed.to_string()];
    Driver::new(DRIVER, folder.path(), &words).run().expect("the run ends well");
    let mut history = parse(&std::fs::read_to_string(folder.path().join(HISTORY)).expect("the history"));
    let audited = audit(folder.path(), Journal::memory(AUDITOR), &history, seed);
    history.extend(audited);
    history
}

fn promise(scope: &str) -> Promise {
    let queue = scope.split('/').next().expect("a scope names its queue");
    PLANS.iter().find(|plan| plan.name == queue).expect("a queue of the house").promise
}

/// The scope of each call that has one.
fn scope_of(history: &[Entry], wanted: u64) -> String {
    let scope = history.iter().find_map(|entry| match &entry.event {
        Event::ReceiveBegin { call, scope } | Event::SettleBegin { call, scope, .. } if *call == wanted => Some(scope),
        _ => None,
    });
    scope.cloned().unwrap_or_default()
}

/// One delivery, drawn among those of a promise: its scope, and what was handed over.
fn draw_delivery(history: &[Entry], random: &mut Random, wanted: &[Promise]) -> (String, Handed) {
    let mut all = Vec::new();
    for entry in history {
        if let Event::ReceiveEnd { call, outcome: Outcome::Ok(handed) } = &entry.event {
            let scope = scope_of(history, *call);
            if wanted.contains(&promise(&scope)) {
                all.extend(handed.iter().map(|one| (scope.clone(), one.clone())));
            }
        }
    }
    all.swap_remove(random.index(all.len()))
}

const DURABLE: [Promise; 2] = [Promise::AtLeastOnce, Promise::ExactlyOnce];

fn deliver_again(history: &mut Vec<Entry>, scope: String, handed: Handed) {
    let call = u64::MAX;
    let last = history.last().expect("not empty").clone();
    let token = handed.token + 1_000_000_000;
    history.push(Entry { event: Event::ReceiveBegin { call, scope }, ..last.clone() });
    let again = Handed { token, attempt: handed.attempt + 1, ..handed };
    history.push(Entry { event: Event::ReceiveEnd { call, outcome: Outcome::Ok(vec![again]) }, ..last });
}

/// Changes one thing that no good run can show. Does nothing where a run has nothing of that kind.
type Mutation = fn(&mut Vec<Entry>, &mut Random);

fn drop_a_send(history: &mut Vec<Entry>, random: &mut Random) {
    let (_, handed) = draw_delivery(history, random, &DURABLE);
    for entry in history {
        if let Event::SendBegin { items, .. } = &mut entry.event {
            items.iter_mut().filter(|item| item.hash == handed.item.hash).for_each(|item| item.hash ^= 1);
        }
    }
}

fn lose_a_message(history: &mut Vec<Entry>, random: &mut Random) {
    let (_, lost) = draw_delivery(history, random, &DURABLE);
    for entry in history {
        match &mut entry.event {
            Event::ReceiveEnd { outcome: Outcome::Ok(handed), .. } => handed.retain(|one| one.id != lost.id),
            Event::HandedOut { handed, .. } if handed.id == lost.id => {
                entry.event = Event::Note { text: "lost".to_owned() };
            }
            Event::SettleBegin { proofs, .. } => proofs.retain(|proof| proof.id != lost.id),
            Event::CommitBegin { proof, .. } if proof.is_some_and(|proof| proof.id == lost.id) => *proof = None,
            Event::Dead { letters, .. } => letters.retain(|letter| letter.id != lost.id),
            Event::Effects { rows, .. } => rows.retain(|row| row.id != lost.id),
            _ => {}
        }
    }
}

fn deliver_the_finished_again(history: &mut Vec<Entry>, random: &mut Random) {
    let (scope, handed) = draw_delivery(history, random, &DURABLE);
    deliver_again(history, scope, handed);
}

fn deliver_twice_at_most_once(history: &mut Vec<Entry>, random: &mut Random) {
    let (scope, handed) = draw_delivery(history, random, &[Promise::AtMostOnce]);
    deliver_again(history, scope, handed);
}

fn let_a_stale_token_settle(history: &mut Vec<Entry>, random: &mut Random) {
    let mut newest = std::collections::HashMap::new();
    let mut stale = BTreeSet::new();
    for entry in history.iter() {
        match &entry.event {
            Event::ReceiveEnd { outcome: Outcome::Ok(handed), .. } => {
                newest.extend(handed.iter().map(|one| (one.id, one.token)));
            }
            Event::SettleBegin { call, proofs, .. }
                if proofs.iter().any(|proof| newest.get(&proof.id).is_some_and(|newest| *newest > proof.token)) =>
            {
                stale.insert(*call);
            }
            _ => {}
        }
    }
    let settled = |entry: &&mut Entry| match &entry.event {
        Event::SettleEnd { call, outcome: Outcome::Ok(lost) } => stale.contains(call) && !lost.is_empty(),
        _ => false,
    };
    let mut all: Vec<&mut Entry> = history.iter_mut().filter(settled).collect();
    let Some(place) = all.len().checked_sub(1).map(|last| random.index(last + 1)) else { return };
    if let Event::SettleEnd { outcome: Outcome::Ok(lost), .. } = &mut all[place].event {
        lost.clear();
    }
}

fn hand_out_an_old_token(history: &mut Vec<Entry>, _: &mut Random) {
    let mut tokens = std::collections::HashMap::new();
    let scopes: Vec<String> = history
        .iter()
        .map(|entry| match &entry.event {
            Event::ReceiveEnd { call, .. } => scope_of(history, *call),
            _ => String::new(),
        })
        .collect();
    for (entry, scope) in history.iter_mut().zip(scopes) {
        if let Event::ReceiveEnd { outcome: Outcome::Ok(handed), .. } = &mut entry.event {
            for one in handed {
                let first = *tokens.entry((scope.clone(), one.id)).or_insert(one.token);
                if first != one.token {
                    one.token = first;
                    return;
                }
            }
        }
    }
}

fn last_effects(history: &mut [Entry]) -> &mut Vec<Effect> {
    let effects = history.iter_mut().rev().find_map(|entry| match &mut entry.event {
        Event::Effects { rows, .. } => Some(rows),
        _ => None,
    });
    effects.expect("a run looks at its effects")
}

fn double_an_effect(history: &mut Vec<Entry>, random: &mut Random) {
    let rows = last_effects(history);
    let row = rows[random.index(rows.len())];
    rows.push(row);
}

fn lose_an_effect(history: &mut Vec<Entry>, random: &mut Random) {
    let rows = last_effects(history);
    rows.remove(random.index(rows.len()));
}

fn forget_attempts(history: &mut Vec<Entry>, random: &mut Random) {
    let (_, chosen) = draw_delivery(history, random, &DURABLE);
    for entry in history {
        if let Event::ReceiveEnd { outcome: Outcome::Ok(handed), .. } = &mut entry.event {
            handed.iter_mut().filter(|one| one.id == chosen.id).for_each(|one| one.attempt += 500);
        }
    }
}

fn refuse_what_was_sent(history: &mut Vec<Entry>, random: &mut Random) {
    let (_, chosen) = draw_delivery(history, random, &DURABLE);
    let calls: BTreeSet<u64> = history
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::SendBegin { call, items, .. } if items.iter().any(|item| item.hash == chosen.item.hash) => {
                Some(*call)
            }
            _ => None,
        })
        .collect();
    for entry in history {
        if let Event::SendEnd { call, outcome } = &mut entry.event
            && calls.contains(call)
        {
            *outcome = Outcome::Refused("Full".to_owned());
        }
    }
}

fn give_a_repeated_send_another_id(history: &mut Vec<Entry>, random: &mut Random) {
    let mut all: Vec<&mut u64> = Vec::new();
    for entry in history.iter_mut().filter(|entry| entry.process < AUDITOR) {
        if let Event::SendEnd { outcome: Outcome::Ok(sent), .. } = &mut entry.event {
            all.extend(sent.iter_mut().filter(|one| one.duplicate).map(|one| &mut one.id));
        }
    }
    let Some(place) = all.len().checked_sub(1).map(|last| random.index(last + 1)) else { return };
    *all[place] += 1_000_000;
}

#[test]
fn every_way_to_break_a_real_run_is_seen() {
    let seed = setting("ONCEWARD_HOSTILE_SEED", 1);
    let good = good_history(seed);
    let violations = check(&good);
    for violation in violations.iter().take(20) {
        println!("{violation}");
    }
    if let (false, Ok(keep)) = (violations.is_empty(), std::env::var("ONCEWARD_HOSTILE_KEEP")) {
        let text: String = good.iter().map(onceward_hostile::history::format_entry).collect();
        std::fs::write(std::path::Path::new(&keep).join("good.history"), text).expect("the history can be kept");
    }
    assert!(violations.is_empty(), "seed {seed}: {} violations, the first: {}", violations.len(), violations[0]);
    let mutations: [(&str, Mutation, &[Invariant]); 11] = [
        ("a send dropped", drop_a_send, &[Invariant::P2]),
        ("a message lost", lose_a_message, &[Invariant::P1]),
        ("a finished message again", deliver_the_finished_again, &[Invariant::L4, Invariant::AtLeastOnce]),
        ("a second delivery at most once", deliver_twice_at_most_once, &[Invariant::AtMostOnce]),
        ("a stale token settles", let_a_stale_token_settle, &[Invariant::L2, Invariant::L3, Invariant::L4]),
        ("an old token", hand_out_an_old_token, &[Invariant::L1]),
        ("an effect twice", double_an_effect, &[Invariant::ExactlyOnce]),
        ("an effect lost", lose_an_effect, &[Invariant::ExactlyOnce]),
        ("attempts past the limit", forget_attempts, &[Invariant::L5]),
        ("a refused send delivered", refuse_what_was_sent, &[Invariant::Refused, Invariant::P5]),
        ("a key with two ids", give_a_repeated_send_another_id, &[Invariant::P3, Invariant::P4]),
    ];
    for (name, mutate, expected) in mutations {
        let mut missed = 0;
        for turn in 0..5 {
            let mut broken = good.clone();
            mutate(&mut broken, &mut Random::new(seed + turn));
            if broken == good {
                println!("{name}: nothing of that kind in this run");
                continue;
            }
            let found: BTreeSet<Invariant> = check(&broken).into_iter().map(|one| one.invariant).collect();
            missed += u32::from(!expected.iter().any(|one| found.contains(one)));
        }
        println!("{name}: seen {} times of 5", 5 - missed);
        assert_eq!(missed, 0, "seed {seed}: {name}");
    }
}
