//! Runs steps on real stores and on the reference, and compares all that can be seen.
//!
//! Where the promises leave a choice, the driver looks what was chosen and holds the store to it: which of the due
//! messages a receive takes, when an expired message dies, and whether a lease that has ended is still its holder's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use onceward::{
    Backoff, ErrorKind, ManualClock, Message, MessageId, Queue, QueueOptions, Receipt, ReceiveOptions, Semantics,
    Store, Subscription, Token, Window,
};
use proptest::sample::Index;

use super::common::{self, Obituaries, START};
use super::operation::{NAMES, Post, STORES, Step, Terms, Verb, start};
use super::reference::{Copy, Id, Model, Sent, State};

/// Ordering keys.
pub(crate) type Keys = BTreeSet<Option<u8>>;

const LEASE_MS: i64 = 30_000;
const BACKOFF_MS: i64 = 10_000;

pub(crate) struct Open {
    store: Store,
    pub(crate) queue: Queue,
    /// Which of all stores ever opened it is.
    serial: u64,
    slot: u32,
}

pub(crate) struct Driver {
    pub(crate) model: Model,
    clock: Arc<ManualClock>,
    obituaries: Arc<Obituaries>,
    pub(crate) conn: rusqlite::Connection,
    pub(crate) stores: Vec<Open>,
    /// Stores that were declared dead. They close when everything has been compared.
    graveyard: Vec<Store>,
    opened: u64,
    folder: tempfile::TempDir,
}

impl Driver {
    pub(crate) fn new(terms: &Terms) -> Self {
        let folder = common::folder();
        let clock = Arc::new(ManualClock::new(START));
        let obituaries = Arc::new(Obituaries::default());
        let store = common::options(&clock).open(folder.path().join("app.db")).expect("opens");
        let window = terms.window.map_or(Window::Forever, Window::For);
        let options = QueueOptions::new()
            .attempts_max(terms.attempts_max)
            .deduplication_window(window)
            .lease(Duration::from_millis(LEASE_MS as u64))
            .backoff(Backoff::constant(Duration::from_millis(BACKOFF_MS as u64)));
        store.queue_with("q", terms.semantics, options).expect("the queue opens");
        store.close().expect("closes");
        let conn = rusqlite::Connection::open(folder.path().join("app.db")).expect("opens");
        let model = Model::new(terms.clone(), START.get());
        let (stores, graveyard) = (Vec::new(), Vec::new());
        let mut driver = Driver { model, clock, obituaries, conn, stores, graveyard, opened: 0, folder };
        for _ in 0..STORES {
            let store = driver.open();
            driver.stores.push(store);
        }
        driver
    }

    fn open(&mut self) -> Open {
        let options = common::options(&self.clock).liveness(Arc::clone(&self.obituaries) as Arc<_>);
        let store = options.open(self.folder.path().join("app.db")).expect("opens");
        let queue = store.open_queue("q").expect("the queue is there");
        let newest = "SELECT slot FROM onceward_instance ORDER BY id DESC LIMIT 1";
        let slot = self.conn.query_row(newest, [], |row| row.get(0)).expect("the store is registered");
        self.opened += 1;
        Open { store, queue, serial: self.opened, slot }
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match step {
            Step::Send { store, posts } => self.send(*store, posts),
            Step::Receive { store, subscription, max, lease_s } => {
                self.receive(*store, *subscription, *max, *lease_s);
            }
            Step::Settle { store, subscription, verb, back, made_up } => {
                self.settle(*store, *subscription, verb, back, *made_up);
            }
            Step::Advance { ms } => {
                self.clock.advance(Duration::from_millis(*ms));
                self.model.now += *ms as i64;
            }
            Step::Cancel { store, message } => self.cancel(*store, *message),
            Step::Purge { store } => self.purge(*store),
            Step::Redrive { store, subscription, messages } => self.redrive(*store, *subscription, messages),
            Step::PurgeDead { store, subscription, messages } => self.purge_dead(*store, *subscription, messages),
            Step::Pause { store, paused } => {
                let queue = &self.stores[*store].queue;
                if *paused { queue.pause() } else { queue.resume() }.expect("pauses or resumes");
                self.model.paused = *paused;
            }
            Step::Kill { store } => {
                let fresh = self.kill(*store);
                let former = std::mem::replace(&mut self.stores[*store], fresh);
                self.graveyard.push(former.store);
            }
            Step::Reopen { store } => {
                let serial = self.stores[*store].serial;
                self.stores[*store].store.close().expect("closes");
                self.end_leases_of(serial);
                self.stores[*store] = self.open();
            }
            Step::Subscribe { store, subscription, oldest } => {
                self.stores[*store].queue.subscribe(NAMES[*subscription], start(*oldest)).expect("subscribes");
                self.model.subscribe(*subscription, *oldest);
            }
            Step::Unsubscribe { store, subscription } => {
                let ended = self.stores[*store].queue.unsubscribe(NAMES[*subscription]);
                match self.model.subscriptions.remove(subscription) {
                    Some(_) => ended.expect("unsubscribes"),
                    None => drop(common::fails(ended, ErrorKind::NotFound, &[NAMES[*subscription]])),
                }
            }
        }
        self.compare();
    }

    fn subscription(&self, store: usize, name: usize) -> Option<Subscription> {
        let found = self.stores[store].queue.subscription(NAMES[name]);
        if self.model.subscriptions.contains_key(&name) {
            return Some(found.expect("the subscription is there"));
        }
        common::fails(found, ErrorKind::NotFound, &[NAMES[name]]);
        None
    }

    fn send(&mut self, store: usize, posts: &[Post]) {
        // Whether a message expires while it is handed over at most once cannot be seen from outside.
        let lossy = self.model.terms.semantics == Semantics::AtMostOnce;
        let posts: Vec<Post> = posts
            .iter()
            .map(|post| Post { time_to_live_s: post.time_to_live_s.filter(|_| !lossy), ..post.clone() })
            .collect();
        let sent = self.stores[store].queue.send_many(posts.iter().map(message));
        match self.model.send(&posts) {
            Sent::Conflict => drop(common::fails(sent, ErrorKind::Conflict, &["key"])),
            Sent::KeyMissing => drop(common::fails(sent, ErrorKind::Invalid, &["key"])),
            Sent::Ids(expected) => {
                let sent = sent.expect("sends");
                let sent: Vec<(Id, bool)> = sent.iter().map(|sent| (sent.id.get(), sent.duplicate)).collect();
                assert_eq!(sent, expected, "ids and duplicates");
            }
        }
    }

    fn receive(&mut self, store: usize, name: usize, max: usize, lease_s: Option<u64>) {
        let Some(subscription) = self.subscription(store, name) else { return };
        self.learn_of_deaths();
        let now = self.model.now;
        let expected = self.model.deliverable(&self.model.subscriptions[&name]);
        let lost = self.keys_with_a_lost_lease(name);
        let suspects = self.model.subscriptions[&name].copies.values().any(|copy| {
            copy.live() && !copy.in_flight(now) && (copy.suspect || matches!(copy.state, State::Held { .. }))
        });
        let mut options = ReceiveOptions::new().max(max);
        if let Some(lease) = lease_s {
            options = options.lease(Duration::from_secs(lease));
        }
        let taken = subscription.receive_many(&options).expect("receives");
        self.learn_of_deaths();
        let until = now + lease_s.map_or(LEASE_MS, |lease| lease as i64 * 1000);
        let mut ids = BTreeSet::new();
        for delivery in &taken {
            let id = delivery.id().get();
            self.check_delivery(name, delivery, &ids);
            ids.insert(id);
        }
        let left: BTreeSet<Id> = expected.difference(&ids).copied().collect();
        assert!(taken.len() <= max && (!taken.is_empty() || expected.is_empty()), "{left:?} are to be had");
        if !suspects {
            assert!(taken.len() == max || left.is_empty(), "{left:?} are left behind");
            let last = taken.iter().map(onceward::Delivery::priority).max().unwrap_or(0);
            assert!(left.iter().all(|id| self.model.messages[id].priority >= last), "{left:?} come first");
        }
        self.check_first_in_first_out(name, &taken.iter().map(|taken| taken.id().get()).collect::<Vec<_>>());
        let owner = self.stores[store].serial;
        let lossy = self.model.terms.semantics == Semantics::AtMostOnce;
        for delivery in &taken {
            let (id, token) = (delivery.id().get(), delivery.token().get());
            let of = self.model.subscriptions.get_mut(&name).expect("it was received from");
            of.receipts.push((id, token));
            let copy = of.copies.get_mut(&id).expect("it was delivered");
            copy.suspect |= matches!(copy.state, State::Held { .. });
            copy.state = if lossy { State::Done } else { State::Held { until, token, owner } };
            (copy.attempts, copy.token, copy.used) = (delivery.attempt(), token, true);
        }
        self.ask_for_owners(name, &lost, |id, copy| !ids.contains(&id) && matches!(copy.state, State::Held { .. }));
    }

    fn settle(&mut self, store: usize, name: usize, verb: &Verb, back: &[usize], made_up: bool) {
        let Some(subscription) = self.subscription(store, name) else { return };
        let given = &self.model.subscriptions[&name].receipts;
        let mut picked: BTreeSet<(Id, u64)> =
            back.iter().filter_map(|back| given.len().checked_sub(back + 1)).map(|index| given[index]).collect();
        if made_up && let Some((id, token)) = picked.pop_first() {
            picked.insert((id, token + 1));
        }
        let receipt = |&(id, token): &(Id, u64)| Receipt { message: id_of(id), token: Token::new(token) };
        let receipts: Vec<Receipt> = picked.iter().map(receipt).collect();
        let lease = |seconds: &u64| Duration::from_secs(*seconds);
        let (answer, word) = match verb {
            Verb::Ack => (subscription.ack(&receipts), "ack"),
            Verb::Nack { delay_s } => (subscription.nack(&receipts, &Verb::nack(*delay_s)), "nack"),
            Verb::DeadLetter => (subscription.dead_letter(&receipts, "given up"), "dead-letter"),
            Verb::Extend { lease_s } => (subscription.extend(&receipts, lease(lease_s)), "extend"),
            Verb::Release => (subscription.release(&receipts), "release"),
        };
        if self.model.terms.semantics == Semantics::AtMostOnce {
            match verb {
                Verb::Ack => assert_eq!(answer.expect("acks"), []),
                _ => drop(common::fails(answer, ErrorKind::Invalid, &["at-most-once"])),
            }
            return;
        }
        let lost: BTreeSet<(Id, u64)> =
            answer.expect("settles").iter().map(|lost| (lost.message.get(), lost.token.get())).collect();
        let serial = (self.stores[store].serial, self.model.subscriptions[&name].serial);
        let mut given_back = Vec::new();
        for (id, token) in picked {
            let copy = &self.model.subscriptions[&name].copies[&id];
            let holds = matches!(copy.state, State::Held { token: current, .. } if current == token);
            let repeated = self.model.settled.contains(&(serial.0, serial.1, id, token, word));
            assert_eq!(lost.contains(&(id, token)), !holds && !repeated, "{word} of {id} with token {token}: {copy:?}");
            if holds {
                self.apply(name, id, verb);
                given_back.push(id);
                if word != "extend" {
                    self.model.settled.insert((serial.0, serial.1, id, token, word));
                }
            }
        }
        if matches!(verb, Verb::Nack { .. } | Verb::Release) {
            self.revoke_behind(name, &given_back);
        }
    }

    fn apply(&mut self, name: usize, id: Id, verb: &Verb) {
        let (now, max) = (self.model.now, self.model.terms.attempts_max);
        let of = self.model.subscriptions.get_mut(&name).expect("it is settled");
        let copy = of.copies.get_mut(&id).expect("it is settled");
        let State::Held { token, owner, .. } = copy.state else { unreachable!("it is held") };
        copy.state = match verb {
            Verb::Ack => State::Done,
            Verb::DeadLetter => State::Dead,
            Verb::Extend { lease_s } => State::Held { until: now + *lease_s as i64 * 1000, token, owner },
            Verb::Nack { .. } if max.is_some_and(|max| copy.attempts >= max) => State::Dead,
            Verb::Nack { delay_s } => {
                State::Waiting { due_at: now + delay_s.map_or(BACKOFF_MS, |delay| delay as i64 * 1000) }
            }
            Verb::Release => {
                copy.attempts -= 1;
                State::Waiting { due_at: now }
            }
        };
    }

    /// What is behind a message that is tried again loses its lease, and its attempt does not count.
    fn revoke_behind(&mut self, name: usize, given_back: &[Id]) {
        let now = self.model.now;
        for id in given_back {
            let Some(key) = self.model.messages[id].ordering_key else { continue };
            let of = &self.model.subscriptions[&name];
            if !of.copies[id].live() {
                continue;
            }
            let behind: Vec<Id> = self.model.line(of, key).map(|(other, _)| other).filter(|other| other > id).collect();
            let of = self.model.subscriptions.get_mut(&name).expect("it is settled");
            for other in behind {
                let copy = of.copies.get_mut(&other).expect("it is in line");
                if matches!(copy.state, State::Held { .. }) {
                    copy.state = State::Waiting { due_at: now };
                    copy.attempts -= 1;
                }
            }
        }
    }

    fn pick(&self, message: Index) -> Option<Id> {
        let ids: Vec<Id> = self.model.messages.keys().copied().collect();
        (!ids.is_empty()).then(|| *message.get(&ids))
    }

    fn cancel(&mut self, store: usize, message: Index) {
        let Some(id) = self.pick(message) else { return };
        self.learn_of_deaths();
        let states: Vec<(State, bool)> = self
            .model
            .subscriptions
            .values()
            .map(|of| &of.copies[&id])
            .map(|copy| (copy.state, self.model.doomed(id, copy)))
            .collect();
        let cancelled = self.stores[store].queue.cancel(id_of(id));
        let now = self.model.now;
        if states.iter().any(|(state, _)| matches!(state, State::Held { until, .. } if *until > now)) {
            drop(common::fails(cancelled, ErrorKind::Conflict, &[&id.to_string()]));
            return;
        }
        let cancelled = cancelled.expect("cancels");
        let waits = |doomed_too: bool| {
            let waits = |(state, doomed): &(State, bool)| {
                matches!(state, State::Waiting { .. } | State::Held { .. }) && (doomed_too || !doomed)
            };
            states.iter().any(waits)
        };
        assert!(if cancelled { waits(true) } else { !waits(false) }, "cancel of {id} says {cancelled}: {states:?}");
        if cancelled {
            for of in self.model.subscriptions.values_mut() {
                of.copies.get_mut(&id).expect("it was sent").state = State::Done;
            }
        }
    }

    fn purge(&mut self, store: usize) {
        self.learn_of_deaths();
        let purged = self.stores[store].queue.purge().expect("purges");
        self.learn_of_deaths();
        let (mut expected, now) = (0, self.model.now);
        for of in self.model.subscriptions.values_mut() {
            for copy in of.copies.values_mut() {
                if copy.live() && !copy.in_flight(now) {
                    copy.state = State::Done;
                    expected += 1;
                }
            }
        }
        assert_eq!(purged, expected, "purged");
    }

    fn dead_of(&self, name: usize, messages: &[Index]) -> (Vec<MessageId>, BTreeSet<Id>) {
        // What is doomed may die at any moment: it is left out.
        let of = &self.model.subscriptions[&name];
        let asked: BTreeSet<Id> = messages
            .iter()
            .filter_map(|message| self.pick(*message))
            .filter(|id| !self.model.doomed(*id, &of.copies[id]))
            .chain(
                of.copies
                    .iter()
                    .filter(|(_, copy)| copy.state == State::Dead)
                    .map(|(id, _)| *id)
                    .take(messages.len() - 1),
            )
            .collect();
        let dead = asked.iter().filter(|id| of.copies[id].state == State::Dead).copied().collect();
        (asked.into_iter().map(id_of).collect(), dead)
    }

    fn redrive(&mut self, store: usize, name: usize, messages: &[Index]) {
        let Some(subscription) = self.subscription(store, name) else { return };
        self.learn_of_deaths();
        let (asked, dead) = self.dead_of(name, messages);
        assert_eq!(subscription.redrive(&asked).expect("redrives"), dead.len() as u64);
        let now = self.model.now;
        for id in dead {
            self.model.messages.get_mut(&id).expect("it is dead").expires_at = None;
            let of = self.model.subscriptions.get_mut(&name).expect("it is there");
            let copy = of.copies.get_mut(&id).expect("it is dead");
            copy.state = State::Waiting { due_at: now };
            (copy.attempts, copy.used, copy.suspect) = (0, true, false);
        }
    }

    fn purge_dead(&mut self, store: usize, name: usize, messages: &[Index]) {
        let Some(subscription) = self.subscription(store, name) else { return };
        self.learn_of_deaths();
        let (asked, dead) = self.dead_of(name, messages);
        assert_eq!(subscription.purge_dead(&asked).expect("purges"), dead.len() as u64);
        let of = self.model.subscriptions.get_mut(&name).expect("it is there");
        for id in dead {
            of.copies.get_mut(&id).expect("it is dead").state = State::Done;
        }
    }

    fn kill(&mut self, store: usize) -> Open {
        let (serial, slot) = (self.stores[store].serial, self.stores[store].slot);
        self.obituaries.add(slot);
        // Whoever opens next reads the obituaries.
        let fresh = self.open();
        self.end_leases_of(serial);
        fresh
    }

    fn end_leases_of(&mut self, serial: u64) {
        let now = self.model.now;
        let names: Vec<usize> = self.model.subscriptions.keys().copied().collect();
        for name in names {
            let of = self.model.subscriptions.get_mut(&name).expect("it is there");
            for copy in of.copies.values_mut() {
                if let State::Held { until, owner, .. } = &mut copy.state
                    && *owner == serial
                {
                    *until = now.min(*until);
                }
            }
            let lost = self.keys_with_a_lost_lease(name);
            self.ask_for_owners(
                name,
                &lost,
                |_, copy| matches!(copy.state, State::Held { owner, .. } if owner == serial),
            );
        }
    }

    /// Whatever was done: once everyone goes on, every message that is not dead arrives.
    pub(crate) fn drain(&mut self) {
        self.step(&Step::Pause { store: 0, paused: false });
        for (name, named) in NAMES.iter().enumerate() {
            for _ in 0..200 {
                self.step(&Step::Advance { ms: 400_000 });
                self.step(&Step::Receive { store: 0, subscription: name, max: 6, lease_s: None });
                self.step(&Step::Settle {
                    store: 0,
                    subscription: name,
                    verb: Verb::Ack,
                    back: (0..6).collect(),
                    made_up: false,
                });
                let rest = |of: &super::reference::Subscription| of.copies.values().any(Copy::live);
                if !self.model.subscriptions.get(&name).is_some_and(rest) {
                    break;
                }
            }
            let of = self.model.subscriptions.get(&name);
            let stuck: Vec<Id> = of
                .into_iter()
                .flat_map(|of| of.copies.iter().filter(|(_, copy)| copy.live()).map(|(id, _)| *id))
                .collect();
            assert!(stuck.is_empty(), "{stuck:?} never arrive at {named}");
        }
    }
}

fn id_of(id: Id) -> MessageId {
    MessageId::new(id).expect("an id")
}

fn message(post: &Post) -> Message {
    let mut message = Message::new(vec![post.body]).delay(Duration::from_secs(post.delay_s));
    if let Some(key) = post.key {
        message = message.key(format!("k{key}"));
    }
    if let Some(key) = post.ordering_key {
        message = message.ordering_key(format!("o{key}"));
    }
    if let Some(priority) = post.priority {
        message = message.priority(priority);
    }
    if let Some(seconds) = post.time_to_live_s {
        message = message.time_to_live(Duration::from_secs(seconds));
    }
    message
}
