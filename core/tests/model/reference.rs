//! The reference: what each message is to each subscription, in the plainest form there is. It knows the promises and
//! nothing of logs, lanes, cursors or intervals.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::operation::{Post, Terms};

pub(crate) type Id = u64;

/// A message, whatever became of it.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) body: u8,
    pub(crate) key: Option<u8>,
    pub(crate) ordering_key: Option<u8>,
    pub(crate) priority: u8,
    pub(crate) sent_at: i64,
    pub(crate) due_at: i64,
    pub(crate) expires_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Waiting { due_at: i64 },
    Held { until: i64, token: u64, owner: u64 },
    Dead,
    Done,
}

/// What a message is to one subscription.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) state: State,
    pub(crate) attempts: u32,
    /// The last token it was given.
    pub(crate) token: u64,
    /// It was delivered before, or redriven.
    pub(crate) used: bool,
    /// Its holder was lost once: it may be offered alone, and hold others back from the same batch.
    pub(crate) suspect: bool,
}

impl Copy {
    fn fresh(due_at: i64) -> Self {
        Copy { state: State::Waiting { due_at }, attempts: 0, token: 0, used: false, suspect: false }
    }

    pub(crate) fn live(&self) -> bool {
        matches!(self.state, State::Waiting { .. } | State::Held { .. })
    }

    pub(crate) fn in_flight(&self, now: i64) -> bool {
        matches!(self.state, State::Held { until, .. } if until > now)
    }

    pub(crate) fn due_at(&self) -> i64 {
        match self.state {
            State::Waiting { due_at } => due_at,
            State::Held { until, .. } => until,
            State::Dead | State::Done => i64::MAX,
        }
    }
}

/// A subscription's copies. `serial` tells one that was ended and made anew from the former.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subscription {
    pub(crate) serial: u64,
    pub(crate) copies: BTreeMap<Id, Copy>,
    /// Every receipt ever given.
    pub(crate) receipts: Vec<(Id, u64)>,
}

/// What a send must answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Ids(Vec<(Id, bool)>),
    Conflict,
    KeyMissing,
}

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) terms: Terms,
    pub(crate) now: i64,
    pub(crate) paused: bool,
    pub(crate) messages: BTreeMap<Id, Message>,
    pub(crate) subscriptions: BTreeMap<usize, Subscription>,
    ledger: HashMap<u8, (Id, u8, Option<i64>)>,
    lanes: BTreeMap<u8, Id>,
    /// What each open store settled: the same again gets the same answer.
    pub(crate) settled: BTreeSet<(u64, u64, Id, u64, &'static str)>,
    pub(crate) serials: u64,
}

impl Model {
    pub(crate) fn new(terms: Terms, now: i64) -> Self {
        let mut subscriptions = BTreeMap::new();
        subscriptions.insert(0, Subscription::default());
        Model {
            terms,
            now,
            paused: false,
            messages: BTreeMap::new(),
            subscriptions,
            ledger: HashMap::new(),
            lanes: BTreeMap::new(),
            settled: BTreeSet::new(),
            serials: 1,
        }
    }

    /// All or nothing: first every verdict, then every message.
    pub(crate) fn send(&mut self, posts: &[Post]) -> Sent {
        if self.terms.semantics == onceward::Semantics::ExactlyOnce && posts.iter().any(|post| post.key.is_none()) {
            return Sent::KeyMissing;
        }
        let mut in_call: HashMap<u8, u8> = HashMap::new();
        for post in posts {
            let Some(key) = post.key else { continue };
            let known = in_call.get(&key).copied().or_else(|| self.remembered(key).map(|(_, body)| body));
            if known.is_some_and(|body| body != post.body) {
                return Sent::Conflict;
            }
            in_call.insert(key, post.body);
        }
        let mut ids = Vec::new();
        for post in posts {
            let known = post.key.and_then(|key| self.remembered(key));
            ids.push(match known {
                Some((id, _)) => (id, true),
                None => (self.insert(post), false),
            });
        }
        Sent::Ids(ids)
    }

    fn remembered(&self, key: u8) -> Option<(Id, u8)> {
        let (id, body, expires_at) = self.ledger.get(&key)?;
        expires_at.is_none_or(|at| at > self.now).then_some((*id, *body))
    }

    fn insert(&mut self, post: &Post) -> Id {
        let priority = post.priority.unwrap_or(4);
        let lanes = self.lanes.len() as u64;
        let next = self.lanes.entry(priority).or_insert((lanes + 1) << 38 | 1);
        let id = *next;
        *next += 1;
        let due_at = if post.delay_s == 0 { i64::MIN } else { self.now + post.delay_s as i64 * 1000 };
        let message = Message {
            body: post.body,
            key: post.key,
            ordering_key: post.ordering_key,
            priority,
            sent_at: self.now,
            due_at,
            expires_at: post.time_to_live_s.map(|ttl| self.now + ttl as i64 * 1000),
        };
        if let Some(key) = post.key {
            let forget_at = self.terms.window.map(|window| self.now + window.as_millis() as i64);
            self.ledger.insert(key, (id, post.body, forget_at));
        }
        self.messages.insert(id, message);
        for subscription in self.subscriptions.values_mut() {
            subscription.copies.insert(id, Copy::fresh(due_at));
        }
        id
    }

    pub(crate) fn expired(&self, id: Id) -> bool {
        self.messages[&id].expires_at.is_some_and(|at| at <= self.now)
    }

    /// Whether the next look at it makes it a dead letter.
    pub(crate) fn doomed(&self, id: Id, copy: &Copy) -> bool {
        if !copy.live() || copy.in_flight(self.now) {
            return false;
        }
        let lost = matches!(copy.state, State::Held { .. }) || copy.suspect;
        self.expired(id) || (lost && self.terms.attempts_max.is_some_and(|max| copy.attempts >= max))
    }

    /// The live copies of an ordering key, in their order.
    pub(crate) fn line<'a>(&'a self, of: &'a Subscription, key: u8) -> impl Iterator<Item = (Id, &'a Copy)> + 'a {
        of.copies
            .iter()
            .filter(move |(id, copy)| copy.live() && self.messages[id].ordering_key == Some(key))
            .map(|(id, copy)| (*id, copy))
    }

    /// What a receive without limit must bring at least, once what is doomed has died: every due message without a
    /// key, and of each key the first in line if nothing of the key is in flight.
    pub(crate) fn deliverable(&self, of: &Subscription) -> BTreeSet<Id> {
        let mut found = BTreeSet::new();
        if self.paused {
            return found;
        }
        for (id, copy) in of.copies.iter().filter(|(id, copy)| copy.live() && !self.doomed(**id, copy)) {
            if copy.in_flight(self.now) || copy.due_at() > self.now {
                continue;
            }
            if let Some(key) = self.messages[id].ordering_key {
                // What has expired before it is due dies at housekeeping's next look, not in a receive.
                let gone = |id, copy: &Copy| self.doomed(id, copy) && copy.due_at() <= self.now;
                let mut line = self.line(of, key).filter(|(id, copy)| !gone(*id, copy));
                // A lost head takes the lease of those behind it; a waiting one waits for them.
                let revokes = matches!(copy.state, State::Held { .. });
                let (Some((first, _)), mut rest) = (line.next(), line) else { continue };
                if first != *id || (!revokes && rest.any(|(_, copy)| copy.in_flight(self.now))) {
                    continue;
                }
            }
            found.insert(*id);
        }
        found
    }

    /// The messages whose row must be in the file.
    pub(crate) fn kept(&self) -> usize {
        let kept = |id: &&Id| {
            self.subscriptions.values().any(|of| of.copies.get(*id).is_some_and(|copy| copy.state != State::Done))
        };
        self.messages.keys().filter(kept).count()
    }

    pub(crate) fn subscribe(&mut self, name: usize, oldest: bool) {
        if self.subscriptions.contains_key(&name) {
            return;
        }
        let mut copies = BTreeMap::new();
        for (id, message) in &self.messages {
            let there =
                self.subscriptions.values().any(|of| of.copies.get(id).is_some_and(|copy| copy.state != State::Done));
            let state = if oldest && there { State::Waiting { due_at: message.due_at } } else { State::Done };
            copies.insert(*id, Copy { state, ..Copy::fresh(0) });
        }
        self.subscriptions.insert(name, Subscription { serial: self.serials, copies, receipts: Vec::new() });
        self.serials += 1;
    }
}
