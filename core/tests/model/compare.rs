//! Comparing: what is delivered, what has died, what can be counted, and who still holds what.

use std::collections::BTreeSet;
use std::time::Duration;

use onceward::{Semantics, Stats};

use super::driver::{Driver, Keys};
use super::operation::NAMES;
use super::reference::{Copy, Id, State};

impl Driver {
    pub(crate) fn check_delivery(&self, name: usize, delivery: &onceward::Delivery, batch: &BTreeSet<Id>) {
        let (id, now) = (delivery.id().get(), self.model.now);
        let of = &self.model.subscriptions[&name];
        let copy = of.copies.get(&id).unwrap_or_else(|| panic!("{id} was never sent to {}", NAMES[name]));
        assert!(copy.live(), "{id} is {:?} and must not come again", copy.state);
        assert!(!self.model.paused, "the queue is paused");
        assert!(!copy.in_flight(now) && copy.due_at() <= now, "{id} is not due: {copy:?}");
        assert!(!self.model.doomed(id, copy), "{id} should have died: {copy:?}");
        assert_eq!(delivery.attempt(), copy.attempts + 1, "the attempt of {id}");
        let max = self.model.terms.attempts_max.unwrap_or(u32::MAX);
        assert!(delivery.attempt() <= max || self.model.terms.semantics == Semantics::AtMostOnce, "attempts of {id}");
        assert!(delivery.token().get() > copy.token, "the token of {id}: {copy:?}");
        let sent = &self.model.messages[&id];
        assert_eq!(delivery.body(), [sent.body]);
        assert_eq!(delivery.key(), sent.key.map(|key| format!("k{key}")).as_deref());
        assert_eq!(delivery.ordering_key(), sent.ordering_key.map(|key| format!("o{key}")).as_deref());
        assert_eq!((delivery.priority(), delivery.sent_at().get()), (sent.priority, sent.sent_at));
        if let Some(key) = sent.ordering_key {
            let mut rest = self.model.line(of, key).filter(|(id, _)| !batch.contains(id));
            assert_eq!(rest.next().map(|(first, _)| first), Some(id), "{id} is not the next of its ordering key");
            let head_was_lost = self.model.line(of, key).next().is_some_and(|(_, head)| head.token > 0)
                && self
                    .model
                    .line(of, key)
                    .any(|(_, copy)| matches!(copy.state, State::Held { until, .. } if until <= now));
            assert!(
                head_was_lost || rest.all(|(_, copy)| !copy.in_flight(now)),
                "another batch of the ordering key of {id} is in flight"
            );
        }
    }

    /// Undelayed messages that come for the first time come in the order of their ids.
    pub(crate) fn check_first_in_first_out(&self, name: usize, taken: &[Id]) {
        let of = &self.model.subscriptions[&name];
        let plain = |id: &Id| {
            let message = &self.model.messages[id];
            !of.copies[id].used && message.due_at == i64::MIN && message.ordering_key.is_none()
        };
        for priority in [0, 4, 9] {
            let of_it = |id: &&Id| plain(id) && self.model.messages[id].priority == priority;
            let fresh: Vec<Id> = taken.iter().filter(of_it).copied().collect();
            assert!(fresh.windows(2).all(|pair| pair[0] < pair[1]), "out of order: {fresh:?}");
            let skipped = of
                .copies
                .iter()
                .filter(|(id, copy)| copy.live() && !self.model.doomed(**id, copy))
                .find(|(id, _)| of_it(id) && !taken.contains(id) && fresh.last().is_some_and(|last| *id < last));
            assert!(skipped.is_none(), "{skipped:?} was passed over");
        }
    }

    pub(crate) fn keys_with_a_lost_lease(&self, name: usize) -> Keys {
        let now = self.model.now;
        let copies = &self.model.subscriptions[&name].copies;
        copies
            .iter()
            .filter(|(_, copy)| copy.suspect || (matches!(copy.state, State::Held { .. }) && !copy.in_flight(now)))
            .map(|(id, _)| self.model.messages[id].ordering_key)
            .collect()
    }

    /// Of a lease that has ended, or that is behind one in its line, nobody promises how long its holder keeps it.
    /// `lost` are the ordering keys of which a lease had ended.
    pub(crate) fn ask_for_owners(&mut self, name: usize, lost: &Keys, of_interest: impl Fn(Id, &Copy) -> bool) {
        let now = self.model.now;
        let of = self.model.subscriptions.get_mut(&name).expect("it is there");
        for (id, copy) in of.copies.iter_mut().filter(|(id, copy)| of_interest(**id, copy)) {
            let key = self.model.messages[id].ordering_key;
            if copy.in_flight(now) && (key.is_none() || !lost.contains(&key)) {
                continue;
            }
            let owner = "SELECT owner FROM onceward_pending AS p JOIN onceward_subscription AS s ON s.id = p.subscription \
                         WHERE s.name = ?1 AND lo <= ?2 AND hi > ?2";
            let owner: Option<i64> =
                self.conn.query_row(owner, (NAMES[name], *id as i64), |row| row.get(0)).expect("it is pending");
            if owner.is_none() {
                copy.state = State::Waiting { due_at: now };
                copy.suspect = true;
            }
        }
    }

    /// Expired messages die when somebody looks at them: a receive, or housekeeping.
    pub(crate) fn learn_of_deaths(&mut self) -> bool {
        let mut any = false;
        let names: Vec<usize> = self.model.subscriptions.keys().copied().collect();
        for name in names {
            let subscription = self.stores[0].queue.subscription(NAMES[name]).expect("it is there");
            let letters = subscription.dead_letters(None, 10_000).expect("lists");
            for letter in &letters {
                let id = letter.message.id.get();
                let copy = &self.model.subscriptions[&name].copies[&id];
                assert_eq!(letter.message.attempts, copy.attempts, "attempts of the dead letter {id}");
                if copy.state != State::Dead {
                    assert!(self.model.doomed(id, copy), "{id} must not die of {:?}: {copy:?}", letter.reason);
                    let of = self.model.subscriptions.get_mut(&name).expect("it is there");
                    of.copies.get_mut(&id).expect("it is there").state = State::Dead;
                    any = true;
                }
            }
            let listed: BTreeSet<Id> = letters.iter().map(|letter| letter.message.id.get()).collect();
            let of = &self.model.subscriptions[&name];
            let dead = of.copies.iter().filter(|(_, copy)| copy.state == State::Dead).map(|(id, _)| *id).collect();
            assert_eq!(listed, dead, "dead letters of {}", NAMES[name]);
        }
        any
    }

    pub(crate) fn compare(&mut self) {
        loop {
            self.learn_of_deaths();
            let all: Vec<(usize, Stats)> = self
                .model
                .subscriptions
                .keys()
                .map(|name| {
                    (*name, self.stores[1].queue.subscription(NAMES[*name]).expect("there").stats().expect("counts"))
                })
                .collect();
            if !self.learn_of_deaths() {
                for (name, stats) in &all {
                    self.compare_stats(*name, stats);
                }
                break;
            }
        }
        let rows: i64 =
            self.conn.query_row("SELECT count(*) FROM onceward_message", [], |row| row.get(0)).expect("counts");
        assert_eq!(rows as usize, self.model.kept(), "a row lives until the last subscription is done with it");
    }

    fn compare_stats(&self, name: usize, stats: &Stats) {
        let (of, now) = (&self.model.subscriptions[&name], self.model.now);
        // Of a message that waits in line, only a receive finds out that it is blocked.
        let (mut ready, mut delayed, mut flying, mut dead, mut in_line) = (0, 0, 0, 0, 0);
        for (id, copy) in &of.copies {
            if copy.state == State::Dead {
                dead += 1;
            } else if copy.in_flight(now) {
                flying += 1;
            } else if copy.live() {
                let waits = self.model.messages[id].ordering_key.is_some_and(|key| {
                    let first = self.model.line(of, key).next().map(|(first, _)| first) == Some(*id);
                    let held = |(other, copy): (Id, &Copy)| other != *id && matches!(copy.state, State::Held { .. });
                    !first || self.model.line(of, key).any(held)
                });
                if waits {
                    in_line += 1;
                } else if copy.due_at() <= now {
                    ready += 1;
                } else {
                    delayed += 1;
                }
            }
        }
        let context = format!("{stats:?} of {}: ready {ready}, delayed {delayed}, in line {in_line}", NAMES[name]);
        assert_eq!((stats.in_flight, stats.dead, stats.in_doubt), (flying, dead, 0), "{context}");
        assert!(stats.ready >= ready && stats.delayed >= delayed, "{context}");
        assert_eq!(stats.ready + stats.delayed + stats.blocked, ready + delayed + in_line, "{context}");
        let live = of.copies.iter().filter(|(_, copy)| copy.live());
        let oldest = live.map(|(id, _)| self.model.messages[id].sent_at).min();
        let age = oldest.map(|sent_at| Duration::from_millis((now - sent_at) as u64));
        assert_eq!(stats.oldest_age, age, "{context}");
        self.compare_peek(name);
    }

    /// A peek shows what is due, and all of it that does not wait in a line.
    fn compare_peek(&self, name: usize) {
        let (of, now) = (&self.model.subscriptions[&name], self.model.now);
        let subscription = self.stores[0].queue.subscription(NAMES[name]).expect("it is there");
        let seen = subscription.peek(10_000).expect("peeks");
        for peeked in &seen {
            let copy = &of.copies[&peeked.id.get()];
            let due = copy.live() && !copy.in_flight(now) && copy.due_at() <= now;
            assert!(due, "peek shows {}: {copy:?}", peeked.id);
            assert_eq!(peeked.attempts, copy.attempts, "attempts of {}", peeked.id);
        }
        let seen: BTreeSet<Id> = seen.iter().map(|peeked| peeked.id.get()).collect();
        let plain = |id: &Id| self.model.messages[id].ordering_key.is_none();
        let missing: Vec<Id> =
            self.model.deliverable(of).into_iter().filter(|id| plain(id) && !seen.contains(id)).collect();
        assert!(missing.is_empty(), "peek does not show {missing:?}");
    }
}
