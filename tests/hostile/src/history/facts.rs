//! A history turned from begins and ends into calls with answers, indexed by what the checks ask for.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Call, DeadOne, Effect, Entry, Event, Handed, Item, Outcome, Promise, Proof, SentItem, Verb};

/// Whether something was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    Yes,
    No,
    Maybe,
}

/// What a send answered for one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Ok(SentItem),
    Refused(String),
    Unknown,
}

/// One message of one send.
#[derive(Debug, Clone)]
pub(super) struct Send {
    pub(super) call: Call,
    pub(super) queue: String,
    pub(super) within: Option<Call>,
    pub(super) item: Item,
    pub(super) begin: usize,
    /// Where its outcome was known: the end of the send, or of the transaction that holds it.
    pub(super) end: Option<usize>,
    pub(super) answer: Answer,
    pub(super) stands: Stands,
}

/// One message handed over.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) scope: String,
    pub(super) handed: Handed,
    pub(super) call: Call,
    pub(super) place: usize,
    pub(super) process: u32,
    pub(super) begin: usize,
    pub(super) end: usize,
    pub(super) begin_ms: u64,
    pub(super) end_ms: u64,
}

/// What a settle answered for one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Ok,
    Lost,
    Refused,
    Unknown,
}

/// One message of one settle (or the acknowledgement in a commit).
#[derive(Debug, Clone)]
pub(super) struct Settle {
    pub(super) call: Call,
    pub(super) scope: String,
    pub(super) verb: Verb,
    pub(super) proof: Proof,
    pub(super) begin: usize,
    pub(super) end: Option<usize>,
    pub(super) end_ms: u64,
    pub(super) answer: Settled,
    /// For a commit: whether it writes an effect.
    pub(super) effect: bool,
}

/// How a queue was created.
#[derive(Debug, Clone)]
pub(super) struct QueueFacts {
    pub(super) promise: Promise,
    pub(super) subscriptions: Vec<String>,
    pub(super) attempts_max: u32,
    pub(super) lease_ms: u64,
}

/// A message, as one subscription sees it.
pub(super) type Seen = (String, u64);

#[derive(Default)]
pub(super) struct Facts {
    pub(super) queues: BTreeMap<String, QueueFacts>,
    pub(super) sends: Vec<Send>,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) settles: Vec<Settle>,
    pub(super) redrives: HashMap<Seen, Vec<usize>>,
    pub(super) power_cuts: Vec<usize>,
    /// Where each process was killed.
    pub(super) crashes_by: HashMap<u32, usize>,
    /// Receives without a known answer, kills and power cuts, in order: each may have counted an attempt that nobody saw.
    pub(super) blind: Vec<usize>,
    pub(super) effects: Vec<(usize, Vec<Effect>)>,
    pub(super) dead: Vec<(usize, String, Vec<DeadOne>)>,
    pub(super) ever_dead: HashSet<Seen>,
    pub(super) drained: Vec<(usize, String)>,
    pub(super) damaged: Vec<(usize, String)>,
    /// Indexes into `deliveries`, per message and subscription, in the order of their tokens.
    pub(super) by_seen: HashMap<Seen, Vec<usize>>,
    /// Indexes into `deliveries`, per receive, of those with an ordering key.
    pub(super) ordered_of: HashMap<Call, Vec<usize>>,
    /// Indexes into `settles`, per message and subscription, in the order of their begins.
    pub(super) settles_of: HashMap<Seen, Vec<usize>>,
}

/// The queue of a scope.
pub(super) fn queue_of(scope: &str) -> &str {
    scope.split_once('/').map_or(scope, |(queue, _)| queue)
}

impl Facts {
    pub(super) fn gather(entries: &[Entry]) -> Facts {
        let mut gathering = Gathering::default();
        for (at, entry) in entries.iter().enumerate() {
            gathering.take(at, entry);
        }
        gathering.finish()
    }

    pub(super) fn queue(&self, scope: &str) -> &QueueFacts {
        self.queues.get(queue_of(scope)).expect("a history declares its queues first")
    }

    pub(super) fn deliveries_of(&self, seen: &Seen) -> impl Iterator<Item = &Delivery> {
        self.by_seen.get(seen).into_iter().flatten().map(|index| &self.deliveries[*index])
    }

    pub(super) fn settles_of(&self, seen: &Seen) -> impl Iterator<Item = &Settle> {
        self.settles_of.get(seen).into_iter().flatten().map(|index| &self.settles[*index])
    }

    pub(super) fn power_cut_between(&self, from: usize, to: usize) -> bool {
        self.power_cuts.iter().any(|at| *at > from && *at < to)
    }

    /// Whether the holder of a delivery was gone at some point before `to`.
    pub(super) fn holder_gone(&self, delivery: &Delivery, to: usize) -> bool {
        self.power_cut_between(delivery.begin, to) || self.crashes_by.get(&delivery.process).is_some_and(|at| *at < to)
    }

    /// Whether the lease may have run out. Two clocks, each cut to whole milliseconds, may differ by that much.
    pub(super) fn expired(&self, delivery: &Delivery, at_ms: u64) -> bool {
        at_ms + 2 >= delivery.begin_ms + self.queue(&delivery.scope).lease_ms
    }

    /// Whether an earlier message of its ordering key, handed over in the same batch, was given back before `to`: then so
    /// was this one, unused, because order is kept across retries.
    pub(super) fn taken_back_in_order(&self, delivery: &Delivery, to: usize) -> bool {
        let batch = self.ordered_of.get(&delivery.call).into_iter().flatten().map(|index| &self.deliveries[*index]);
        batch
            .filter(|one| one.handed.item.ordering == delivery.handed.item.ordering && one.place < delivery.place)
            .any(|one| self.given_back(one, to, &[Verb::Nack, Verb::Release]))
    }

    /// Whether this delivery was settled by one of `verbs`, as far as anybody knows, before `to`.
    pub(super) fn given_back(&self, delivery: &Delivery, to: usize, verbs: &[Verb]) -> bool {
        self.settles_of(&(delivery.scope.clone(), delivery.handed.id)).any(|settle| {
            settle.proof.token == delivery.handed.token
                && verbs.contains(&settle.verb)
                && settle.begin < to
                && !matches!(settle.answer, Settled::Lost | Settled::Refused)
        })
    }

    pub(super) fn redriven_between(&self, seen: &Seen, from: usize, to: usize) -> bool {
        self.redrives.get(seen).into_iter().flatten().any(|at| *at > from && *at < to)
    }

    pub(super) fn died(&self, seen: &Seen) -> bool {
        self.ever_dead.contains(seen)
    }
}

#[derive(Default)]
struct Gathering {
    facts: Facts,
    open_sends: HashMap<Call, Vec<usize>>,
    open_receives: HashMap<Call, (String, usize, u64, u32)>,
    open_settles: HashMap<Call, Vec<usize>>,
    commits: BTreeMap<Call, Commit>,
}

#[derive(Debug, Clone)]
struct Commit {
    process: u32,
    begin: usize,
    end: Option<usize>,
    effect: bool,
    stands: Stands,
}

impl Gathering {
    fn take(&mut self, at: usize, entry: &Entry) {
        let facts = &mut self.facts;
        match &entry.event {
            Event::Queue { queue, promise, subscriptions, attempts_max, lease_ms } => {
                let known = QueueFacts {
                    promise: *promise,
                    subscriptions: subscriptions.clone(),
                    attempts_max: *attempts_max,
                    lease_ms: *lease_ms,
                };
                facts.queues.insert(queue.clone(), known);
            }
            Event::Crash { process } => {
                facts.crashes_by.entry(*process).or_insert(at);
            }
            Event::PowerCut => facts.power_cuts.push(at),
            Event::RedriveBegin { scope, ids, .. } => {
                for id in ids {
                    facts.redrives.entry((scope.clone(), *id)).or_default().push(at);
                }
            }
            Event::Effects { rows, .. } => facts.effects.push((at, rows.clone())),
            Event::Dead { scope, letters } => {
                facts.ever_dead.extend(letters.iter().map(|one| (scope.clone(), one.id)));
                facts.dead.push((at, scope.clone(), letters.clone()));
            }
            Event::Drained { scope } => facts.drained.push((at, scope.clone())),
            Event::Damaged { text } => facts.damaged.push((at, text.clone())),
            Event::RedriveEnd { .. } | Event::Note { .. } => {}
            Event::SendBegin { .. } | Event::SendEnd { .. } => self.take_send(at, entry),
            Event::ReceiveBegin { .. } | Event::ReceiveEnd { .. } | Event::HandedOut { .. } => {
                self.take_receive(at, entry);
            }
            Event::SettleBegin { .. } | Event::SettleEnd { .. } => self.take_settle(at, entry),
            Event::CommitBegin { .. } | Event::CommitEnd { .. } | Event::RolledBack { .. } => {
                self.take_commit(at, entry);
            }
        }
    }

    fn take_send(&mut self, at: usize, entry: &Entry) {
        match &entry.event {
            Event::SendBegin { call, queue, within, items } => {
                for item in items {
                    self.open_sends.entry(*call).or_default().push(self.facts.sends.len());
                    self.facts.sends.push(Send {
                        call: *call,
                        queue: queue.clone(),
                        within: *within,
                        item: item.clone(),
                        begin: at,
                        end: None,
                        answer: Answer::Unknown,
                        stands: Stands::Maybe,
                    });
                }
            }
            Event::SendEnd { call, outcome } => {
                for (place, index) in self.open_sends.remove(call).unwrap_or_default().into_iter().enumerate() {
                    let known = &mut self.facts.sends[index];
                    known.end = Some(at);
                    (known.answer, known.stands) = match outcome {
                        Outcome::Ok(sent) => (Answer::Ok(sent[place]), Stands::Yes),
                        Outcome::Refused(kind) => (Answer::Refused(kind.clone()), Stands::No),
                        Outcome::Unknown(_) => (Answer::Unknown, Stands::Maybe),
                    };
                }
            }
            _ => {}
        }
    }

    fn take_receive(&mut self, at: usize, entry: &Entry) {
        match &entry.event {
            Event::ReceiveBegin { call, scope } => {
                self.open_receives.insert(*call, (scope.clone(), at, entry.at_ms, entry.process));
            }
            Event::ReceiveEnd { call, outcome } => {
                let Some((scope, begin, begin_ms, process)) = self.open_receives.remove(call) else { return };
                let Outcome::Ok(all) = outcome else {
                    self.facts.blind.push(begin);
                    return;
                };
                for (place, handed) in all.iter().enumerate() {
                    let (scope, handed, end_ms) = (scope.clone(), handed.clone(), entry.at_ms);
                    let call = *call;
                    let delivery = Delivery { scope, handed, call, place, process, begin, end: at, begin_ms, end_ms };
                    self.facts.deliveries.push(delivery);
                }
            }
            Event::HandedOut { call, handed } => {
                let Some((scope, begin, begin_ms, process)) = self.open_receives.get(call).cloned() else { return };
                let (call, handed, end_ms) = (*call, handed.clone(), entry.at_ms);
                // Places only have to grow.
                let delivery = Delivery { scope, handed, call, place: at, process, begin, end: at, begin_ms, end_ms };
                self.facts.deliveries.push(delivery);
            }
            _ => {}
        }
    }

    fn take_settle(&mut self, at: usize, entry: &Entry) {
        match &entry.event {
            Event::SettleBegin { call, scope, verb, proofs } => {
                for proof in proofs {
                    self.begin_settle(at, *call, scope, *verb, *proof, false);
                }
            }
            Event::SettleEnd { call, outcome } => {
                for index in self.open_settles.remove(call).unwrap_or_default() {
                    let settle = &mut self.facts.settles[index];
                    settle.end = Some(at);
                    settle.end_ms = entry.at_ms;
                    settle.answer = match outcome {
                        Outcome::Ok(lost) if lost.contains(&settle.proof) => Settled::Lost,
                        Outcome::Ok(_) => Settled::Ok,
                        Outcome::Refused(_) => Settled::Refused,
                        Outcome::Unknown(_) => Settled::Unknown,
                    };
                }
            }
            _ => {}
        }
    }

    fn begin_settle(&mut self, at: usize, call: Call, scope: &str, verb: Verb, proof: Proof, effect: bool) {
        let seen = (scope.to_owned(), proof.id);
        self.open_settles.entry(call).or_default().push(self.facts.settles.len());
        self.facts.settles_of.entry(seen).or_default().push(self.facts.settles.len());
        self.facts.settles.push(Settle {
            call,
            scope: scope.to_owned(),
            verb,
            proof,
            begin: at,
            end: None,
            end_ms: u64::MAX,
            answer: Settled::Unknown,
            effect,
        });
    }

    fn take_commit(&mut self, at: usize, entry: &Entry) {
        match &entry.event {
            Event::CommitBegin { call, scope, proof, effect } => {
                let commit =
                    Commit { process: entry.process, begin: at, end: None, effect: *effect, stands: Stands::Maybe };
                self.commits.insert(*call, commit);
                if let Some(proof) = proof {
                    self.begin_settle(at, *call, scope, Verb::Commit, *proof, *effect);
                }
            }
            Event::CommitEnd { call, outcome } => {
                let (stands, answer) = match outcome {
                    Outcome::Ok(()) => (Stands::Yes, Settled::Ok),
                    Outcome::Refused(kind) if kind == "LeaseLost" => (Stands::No, Settled::Lost),
                    Outcome::Refused(_) => (Stands::No, Settled::Refused),
                    Outcome::Unknown(_) => (Stands::Maybe, Settled::Unknown),
                };
                if let Some(commit) = self.commits.get_mut(call) {
                    commit.end = Some(at);
                    commit.stands = stands;
                }
                for index in self.open_settles.remove(call).unwrap_or_default() {
                    let settle = &mut self.facts.settles[index];
                    (settle.end, settle.end_ms, settle.answer) = (Some(at), entry.at_ms, answer);
                }
            }
            Event::RolledBack { call } => {
                let rolled_back =
                    Commit { process: entry.process, begin: at, end: Some(at), effect: false, stands: Stands::No };
                self.commits.insert(*call, rolled_back);
            }
            _ => {}
        }
    }

    fn finish(mut self) -> Facts {
        self.facts.blind.extend(self.open_receives.values().map(|(_, begin, ..)| *begin));
        self.facts.blind.extend(self.facts.crashes_by.values().chain(&self.facts.power_cuts));
        self.facts.blind.sort_unstable();
        self.resolve_commits();
        for send in &mut self.facts.sends {
            let Some(within) = send.within else { continue };
            let sent = send.stands;
            // Without a word of the commit the process died in the transaction, which then never committed.
            let (stands, end) = self.commits.get(&within).map_or((Stands::No, None), |one| (one.stands, one.end));
            send.stands = if sent == Stands::No { Stands::No } else { stands };
            send.end = end;
        }
        let mut by_seen: HashMap<Seen, Vec<usize>> = HashMap::new();
        for (index, delivery) in self.facts.deliveries.iter().enumerate() {
            by_seen.entry((delivery.scope.clone(), delivery.handed.id)).or_default().push(index);
            if delivery.handed.item.ordering.is_some() {
                self.facts.ordered_of.entry(delivery.call).or_default().push(index);
            }
        }
        for indexes in by_seen.values_mut() {
            indexes.sort_by_key(|index| (self.facts.deliveries[*index].handed.token, *index));
        }
        self.facts.by_seen = by_seen;
        self.facts
    }

    /// A commit of unknown outcome is known by the effect it left or did not leave.
    fn resolve_commits(&mut self) {
        for (at, rows) in &self.facts.effects {
            let present: BTreeSet<Call> = rows.iter().map(|row| row.commit).collect();
            for (call, commit) in &mut self.commits {
                let gone = self.facts.power_cuts.iter().any(|cut| *cut > commit.begin && cut < at)
                    || self.facts.crashes_by.get(&commit.process).is_some_and(|crash| crash < at);
                let over = commit.end.is_some_and(|end| end < *at) || gone;
                if !commit.effect || commit.stands != Stands::Maybe || commit.begin > *at || !over {
                    continue;
                }
                commit.stands = if present.contains(call) { Stands::Yes } else { Stands::No };
                commit.end = Some(commit.end.unwrap_or(*at));
                let answer = if commit.stands == Stands::Yes { Settled::Ok } else { Settled::Refused };
                for settle in self.facts.settles.iter_mut().filter(|settle| settle.call == *call) {
                    (settle.end, settle.answer) = (commit.end, answer);
                }
            }
        }
    }
}
