//! Histories as text, one line per entry, so that a process can append one with a single `write`.
//!
//! A line starts with a newline and ends with " ." : a line torn by a kill neither swallows the next one nor passes for
//! a whole one.

use super::{Call, DeadOne, Effect, Entry, Event, Handed, Item, Outcome, Promise, Proof, SentItem, Verb};

/// The line of an entry, as it is appended.
pub fn format_entry(entry: &Entry) -> String {
    format!("\n{} {} {} .", entry.at_ms, entry.process, format_event(&entry.event))
}

fn list<T>(items: &[T], one: impl Fn(&T) -> String) -> String {
    if items.is_empty() { "-".to_owned() } else { items.iter().map(one).collect::<Vec<_>>().join(",") }
}

fn option<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn item(item: &Item) -> String {
    format!("{}:{:x}:{}", option(item.key.as_ref()), item.hash, option(item.ordering.as_ref()))
}

fn handed(handed: &Handed) -> String {
    format!("{}:{}:{}:{}", handed.id, handed.token, handed.attempt, item(&handed.item))
}

fn proof(proof: &Proof) -> String {
    format!("{}:{}", proof.id, proof.token)
}

fn outcome<T>(outcome: &Outcome<T>, answer: impl Fn(&T) -> String) -> String {
    match outcome {
        Outcome::Ok(value) => format!("ok {}", answer(value)),
        Outcome::Refused(kind) => format!("refused {kind}"),
        Outcome::Unknown(kind) => format!("unknown {kind}"),
    }
}

fn format_event(event: &Event) -> String {
    match event {
        Event::Queue { queue, promise, subscriptions, attempts_max, lease_ms } => {
            let subscriptions = list(subscriptions, Clone::clone);
            format!("queue {queue} {promise:?} {subscriptions} {attempts_max} {lease_ms}")
        }
        Event::Crash { process } => format!("crash {process}"),
        Event::PowerCut => "power-cut".to_owned(),
        Event::SendBegin { call, queue, within, items } => {
            format!("send {call} {queue} {} {}", option(*within), list(items, item))
        }
        Event::SendEnd { call, outcome: end } => {
            let answer = |sent: &Vec<SentItem>| list(sent, |one| format!("{}:{}", one.id, one.duplicate));
            format!("sent {call} {}", outcome(end, answer))
        }
        Event::ReceiveBegin { call, scope } => format!("receive {call} {scope}"),
        Event::ReceiveEnd { call, outcome: end } => {
            format!("received {call} {}", outcome(end, |all| list(all, handed)))
        }
        Event::HandedOut { call, handed: one } => format!("handed {call} {}", handed(one)),
        Event::SettleBegin { call, scope, verb, proofs } => {
            format!("settle {call} {scope} {verb:?} {}", list(proofs, proof))
        }
        Event::SettleEnd { call, outcome: end } => format!("settled {call} {}", outcome(end, |lost| list(lost, proof))),
        Event::CommitBegin { call, scope, proof: shown, effect } => {
            format!("commit {call} {scope} {} {effect}", option(shown.as_ref().map(proof)))
        }
        Event::CommitEnd { call, outcome: end } => format!("committed {call} {}", outcome(end, |()| "-".to_owned())),
        Event::RolledBack { call } => format!("rolled-back {call}"),
        Event::RedriveBegin { call, scope, ids } => format!("redrive {call} {scope} {}", list(ids, u64::to_string)),
        Event::RedriveEnd { call, outcome: end } => format!("redriven {call} {}", outcome(end, |()| "-".to_owned())),
        Event::Effects { scope, rows } => {
            format!("effects {scope} {}", list(rows, |row| format!("{}:{}", row.id, row.commit)))
        }
        Event::Dead { scope, letters } => {
            let one = |letter: &DeadOne| format!("{}:{}:{}", letter.id, letter.attempts, letter.has_reason);
            format!("dead {scope} {}", list(letters, one))
        }
        Event::Drained { scope } => format!("drained {scope}"),
        Event::Damaged { text } => format!("damaged {}", text.replace(char::is_whitespace, "_")),
        Event::Note { text } => format!("note {text}"),
    }
}

/// The entries of a history file. Lines torn by a kill are left out: what they would have said is unknown.
///
/// # Panics
/// When a whole line does not parse: that is a mistake in these tests, not in what they test.
pub fn parse(text: &str) -> Vec<Entry> {
    text.lines()
        .filter_map(|line| line.strip_suffix(" ."))
        .map(|line| parse_line(line).unwrap_or_else(|| panic!("not a line of a history: {line}")))
        .collect()
}

fn parse_line(line: &str) -> Option<Entry> {
    let mut words = line.splitn(3, ' ');
    let at_ms = words.next()?.parse().ok()?;
    let process = words.next()?.parse().ok()?;
    Some(Entry { at_ms, process, event: parse_event(words.next()?)? })
}

fn parse_event(text: &str) -> Option<Event> {
    let words: Vec<&str> = text.split(' ').collect();
    let word = |at: usize| words.get(at).copied();
    let text_of = |at: usize| word(at).map(str::to_owned);
    let call = || -> Option<Call> { word(1)?.parse().ok() };
    Some(match word(0)? {
        "queue" => Event::Queue {
            queue: text_of(1)?,
            promise: parse_promise(word(2)?)?,
            subscriptions: parse_list(word(3)?, |one| Some(one.to_owned()))?,
            attempts_max: word(4)?.parse().ok()?,
            lease_ms: word(5)?.parse().ok()?,
        },
        "crash" => Event::Crash { process: word(1)?.parse().ok()? },
        "power-cut" => Event::PowerCut,
        "send" => Event::SendBegin {
            call: call()?,
            queue: text_of(2)?,
            within: parse_option(word(3)?, |one| one.parse().ok())?,
            items: parse_list(word(4)?, parse_item)?,
        },
        "sent" => Event::SendEnd { call: call()?, outcome: parse_outcome(&words, |all| parse_list(all, parse_sent))? },
        "receive" => Event::ReceiveBegin { call: call()?, scope: text_of(2)? },
        "received" => {
            Event::ReceiveEnd { call: call()?, outcome: parse_outcome(&words, |all| parse_list(all, parse_handed))? }
        }
        "handed" => Event::HandedOut { call: call()?, handed: parse_handed(word(2)?)? },
        "settle" => Event::SettleBegin {
            call: call()?,
            scope: text_of(2)?,
            verb: parse_verb(word(3)?)?,
            proofs: parse_list(word(4)?, parse_proof)?,
        },
        "settled" => {
            Event::SettleEnd { call: call()?, outcome: parse_outcome(&words, |all| parse_list(all, parse_proof))? }
        }
        "commit" => Event::CommitBegin {
            call: call()?,
            scope: text_of(2)?,
            proof: parse_option(word(3)?, parse_proof)?,
            effect: word(4)?.parse().ok()?,
        },
        "committed" => Event::CommitEnd { call: call()?, outcome: parse_outcome(&words, |_| Some(()))? },
        "rolled-back" => Event::RolledBack { call: call()? },
        "redrive" => Event::RedriveBegin {
            call: call()?,
            scope: text_of(2)?,
            ids: parse_list(word(3)?, |one| one.parse().ok())?,
        },
        "redriven" => Event::RedriveEnd { call: call()?, outcome: parse_outcome(&words, |_| Some(()))? },
        "effects" => Event::Effects { scope: text_of(1)?, rows: parse_list(word(2)?, parse_effect)? },
        "dead" => Event::Dead { scope: text_of(1)?, letters: parse_list(word(2)?, parse_dead)? },
        "drained" => Event::Drained { scope: text_of(1)? },
        "damaged" => Event::Damaged { text: text_of(1)? },
        "note" => Event::Note { text: words[1..].join(" ") },
        _ => return None,
    })
}

fn parse_list<T>(text: &str, one: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    if text == "-" { Some(Vec::new()) } else { text.split(',').map(one).collect() }
}

#[allow(clippy::option_option, reason = "outer: did it parse; inner: was there a value")]
fn parse_option<T>(text: &str, one: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if text == "-" { Some(None) } else { one(text).map(Some) }
}

fn parse_outcome<T>(words: &[&str], answer: impl Fn(&str) -> Option<T>) -> Option<Outcome<T>> {
    let rest = words.get(3).copied()?;
    match words.get(2).copied()? {
        "ok" => answer(rest).map(Outcome::Ok),
        "refused" => Some(Outcome::Refused(rest.to_owned())),
        "unknown" => Some(Outcome::Unknown(rest.to_owned())),
        _ => None,
    }
}

fn parse_promise(text: &str) -> Option<Promise> {
    [Promise::AtMostOnce, Promise::AtLeastOnce, Promise::ExactlyOnce]
        .into_iter()
        .find(|promise| format!("{promise:?}") == text)
}

fn parse_verb(text: &str) -> Option<Verb> {
    [Verb::Ack, Verb::Commit, Verb::Nack, Verb::Release, Verb::Extend, Verb::DeadLetter]
        .into_iter()
        .find(|verb| format!("{verb:?}") == text)
}

fn parse_item(text: &str) -> Option<Item> {
    let parts: Vec<&str> = text.split(':').collect();
    let [key, hash, ordering] = parts[..] else { return None };
    let name = |text: &str| if text == "-" { None } else { Some(text.to_owned()) };
    Some(Item { key: name(key), hash: u64::from_str_radix(hash, 16).ok()?, ordering: name(ordering) })
}

fn parse_handed(text: &str) -> Option<Handed> {
    let mut parts = text.splitn(4, ':');
    Some(Handed {
        id: parts.next()?.parse().ok()?,
        token: parts.next()?.parse().ok()?,
        attempt: parts.next()?.parse().ok()?,
        item: parse_item(parts.next()?)?,
    })
}

fn parse_sent(text: &str) -> Option<SentItem> {
    let (id, duplicate) = text.split_once(':')?;
    Some(SentItem { id: id.parse().ok()?, duplicate: duplicate.parse().ok()? })
}

fn parse_proof(text: &str) -> Option<Proof> {
    let (id, token) = text.split_once(':')?;
    Some(Proof { id: id.parse().ok()?, token: token.parse().ok()? })
}

fn parse_effect(text: &str) -> Option<Effect> {
    let (id, commit) = text.split_once(':')?;
    Some(Effect { id: id.parse().ok()?, commit: commit.parse().ok()? })
}

fn parse_dead(text: &str) -> Option<DeadOne> {
    let parts: Vec<&str> = text.split(':').collect();
    let [id, attempts, has_reason] = parts[..] else { return None };
    Some(DeadOne { id: id.parse().ok()?, attempts: attempts.parse().ok()?, has_reason: has_reason.parse().ok()? })
}
