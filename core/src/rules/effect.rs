//! Effects at third parties: what a recorded call is known to be, and what may be done about it.
//!
//! The one thing that must never happen is a second call after one that took effect. So every way back to a call goes
//! through knowledge: the call was never made, the caller says that it failed, somebody looked and says that it did not
//! happen, or the third party recognises a repetition by its key.

use std::time::Duration;

/// Where a recorded effect stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Known not to have happened; it may be called.
    Intended,
    /// On disk before the call: the call may have happened.
    Started,
    /// It happened, and its result is kept.
    Done,
    /// Known not to have happened: its caller said so. It may be called again.
    Failed,
    /// Its caller is gone, and nobody knows.
    InDoubt,
}

impl State {
    pub(crate) const fn stored(self) -> i64 {
        match self {
            State::Intended => 0,
            State::Started => 1,
            State::Done => 2,
            State::Failed => 3,
            State::InDoubt => 4,
        }
    }

    pub(crate) const fn from_stored(value: i64) -> Option<Self> {
        Some(match value {
            0 => State::Intended,
            1 => State::Started,
            2 => State::Done,
            3 => State::Failed,
            4 => State::InDoubt,
            _ => return None,
        })
    }
}

/// What is to become of an effect whose outcome nobody knows. There is no default: only the caller knows the third party.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnknown {
    /// It waits, listed, for a person to decide. A message waits with it and is offered to nobody.
    Park,
    /// The third party is asked whether it happened.
    ///
    /// "It did not happen" counts only when it was asked this long after the earlier caller was found to be gone: a request
    /// of the dead caller may still be under way. Choose it longer than any request can take to arrive and be carried out.
    Probe {
        /// How long a request of a caller that is gone may still take effect; at most ten years.
        settle: Duration,
    },
    /// It is listed as in doubt, and a message goes to the dead letters at once.
    Fail,
}

/// What the ledger knows of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) state: State,
    /// Whether the one who started the call may still be at it.
    pub(crate) owner_alive: bool,
    /// How long ago the first call was begun that may have happened; `None` when no clock can say.
    pub(crate) since_first_call: Option<Duration>,
    /// Whether every call since then was declared idempotent: of another the third party knows no key.
    pub(crate) idempotent: bool,
    /// Whether the ledger's window is over, and what is settled forgotten.
    pub(crate) expired: bool,
}

/// What to do about a call that somebody wants to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Record that it starts, then call. `unsure` when an earlier call may have happened and the third party is to
    /// recognise this one as its repetition.
    Call { unsure: bool },
    /// It happened: answer with the result.
    Return,
    /// Somebody is at it.
    Wait,
    /// Ask the third party.
    Probe,
    /// Leave it to a person.
    Park,
    /// Leave it to a person, and give the message up.
    Fail,
}

pub(crate) fn begin(known: Option<&Known>, on_unknown: OnUnknown, idempotent_for: Option<Duration>) -> Verdict {
    let Some(known) = known else { return Verdict::Call { unsure: false } };
    match known.state {
        State::Done if !known.expired => Verdict::Return,
        State::Done | State::Intended | State::Failed => Verdict::Call { unsure: false },
        State::Started if known.owner_alive => Verdict::Wait,
        State::Started | State::InDoubt => {
            let within = idempotent_for
                .zip(known.since_first_call)
                .is_some_and(|(window, since_first_call)| since_first_call < window);
            let recognised = within && known.idempotent;
            match on_unknown {
                _ if recognised => Verdict::Call { unsure: true },
                OnUnknown::Park => Verdict::Park,
                OnUnknown::Probe { .. } => Verdict::Probe,
                OnUnknown::Fail => Verdict::Fail,
            }
        }
    }
}

/// How a call ended, as far as its caller knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    /// Known not to have happened.
    Failed,
    /// It was never made.
    NotCalled,
    Unknown,
}

/// Where a started effect stands after its call. That this call did not happen says nothing of an earlier one.
pub(crate) fn after(ended: Ended, unsure: bool) -> State {
    match ended {
        Ended::Done => State::Done,
        Ended::Failed | Ended::NotCalled if unsure => State::InDoubt,
        Ended::Failed => State::Failed,
        Ended::NotCalled => State::Intended,
        Ended::Unknown => State::InDoubt,
    }
}

/// Whether "it did not happen" counts, asked this long after the caller was found to be gone: else, how long is left.
pub(crate) fn not_applied(asked_after: Option<Duration>, settle: Duration) -> Result<(), Duration> {
    match asked_after {
        Some(after) if after >= settle => Ok(()),
        Some(after) => Err(settle.saturating_sub(after)),
        None => Err(settle),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTLE: Duration = Duration::from_secs(10);
    const PROBE: OnUnknown = OnUnknown::Probe { settle: SETTLE };

    fn known(state: State) -> Known {
        let since_first_call = Some(Duration::from_secs(5));
        Known { state, owner_alive: false, since_first_call, idempotent: true, expired: false }
    }

    #[test]
    fn each_state_has_its_verdict() {
        let call = Verdict::Call { unsure: false };
        let table = [
            (None, call),
            (Some(known(State::Intended)), call),
            (Some(known(State::Failed)), call),
            (Some(known(State::Done)), Verdict::Return),
            (Some(Known { expired: true, ..known(State::Done) }), call),
            (Some(Known { owner_alive: true, ..known(State::Started) }), Verdict::Wait),
        ];
        for on_unknown in [OnUnknown::Park, PROBE, OnUnknown::Fail] {
            for (known, verdict) in table {
                assert_eq!(begin(known.as_ref(), on_unknown, None), verdict, "{known:?} {on_unknown:?}");
            }
        }
        for state in [State::Started, State::InDoubt] {
            let unknown = known(state);
            assert_eq!(begin(Some(&unknown), OnUnknown::Park, None), Verdict::Park);
            assert_eq!(begin(Some(&unknown), PROBE, None), Verdict::Probe);
            assert_eq!(begin(Some(&unknown), OnUnknown::Fail, None), Verdict::Fail);
        }
    }

    #[test]
    fn within_the_window_of_an_idempotent_third_party_an_unknown_call_is_repeated_and_not_after_it() {
        let unknown = known(State::InDoubt);
        let within = |window| begin(Some(&unknown), OnUnknown::Park, Some(Duration::from_secs(window)));
        assert_eq!(within(6), Verdict::Call { unsure: true });
        assert_eq!(within(5), Verdict::Park);
        for unrecognised in [Known { since_first_call: None, ..unknown }, Known { idempotent: false, ..unknown }] {
            assert_eq!(begin(Some(&unrecognised), OnUnknown::Park, Some(Duration::MAX)), Verdict::Park);
        }
    }

    #[test]
    fn a_failure_after_an_unknown_call_is_still_in_doubt() {
        assert_eq!(after(Ended::Failed, false), State::Failed);
        assert_eq!(after(Ended::Failed, true), State::InDoubt);
        assert_eq!(after(Ended::NotCalled, true), State::InDoubt);
        assert_eq!(after(Ended::NotCalled, false), State::Intended);
        assert_eq!((after(Ended::Done, true), after(Ended::Unknown, false)), (State::Done, State::InDoubt));
    }

    #[test]
    fn not_applied_counts_only_when_asked_after_the_settle_delay() {
        assert_eq!(not_applied(Some(SETTLE), SETTLE), Ok(()));
        assert_eq!(not_applied(Some(Duration::from_secs(4)), SETTLE), Err(Duration::from_secs(6)));
        assert_eq!(not_applied(None, SETTLE), Err(SETTLE));
        assert_eq!(not_applied(None, Duration::ZERO), Err(Duration::ZERO));
    }

    #[test]
    fn states_are_stored_and_read_back() {
        for value in 0..5 {
            assert_eq!(State::from_stored(value).expect("a state").stored(), value);
        }
        assert_eq!(State::from_stored(5), None);
    }

    /// One thing that happens to an effect, in the model below.
    #[derive(Debug, Clone)]
    enum Event {
        /// Somebody wants the call, declared idempotent or not, and it ends in one of these ways.
        Wanted(Fate, bool),
        /// Time passes, in seconds.
        Passes(u64),
        /// A person looks, and answers truly.
        Resolves,
    }

    /// How a call goes: what the third party does, and what its caller gets to know.
    #[derive(Debug, Clone, Copy)]
    enum Fate {
        Answers,
        Refuses,
        /// The caller dies before the request leaves.
        DiesBefore,
        /// The caller dies, and the request takes effect after so many seconds, within the settle delay.
        DiesAndLandsAfter(u64),
        Hangs,
    }

    fn fates() -> impl Strategy<Value = Fate> {
        prop_oneof![
            Just(Fate::Answers),
            Just(Fate::Refuses),
            Just(Fate::DiesBefore),
            (0..SETTLE.as_secs()).prop_map(Fate::DiesAndLandsAfter),
            Just(Fate::Hangs),
        ]
    }

    fn events() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (fates(), prop::bool::weighted(0.8)).prop_map(|(fate, idempotent)| Event::Wanted(fate, idempotent)),
            2 => (1u64..20).prop_map(Event::Passes),
            1 => Just(Event::Resolves),
        ]
    }

    #[derive(Default)]
    struct Model {
        now: u64,
        entry: Option<(State, bool)>,
        owner_alive: bool,
        first_call: u64,
        noticed: Option<u64>,
        /// When requests take effect, or took it.
        lands: Vec<u64>,
        /// Whether the third party recognises repetitions that carry a key, so that one more request is no second effect.
        idempotent_for: Option<u64>,
        /// Whether every call since the first one that may have happened carried one.
        idempotent: bool,
    }

    impl Model {
        fn applied(&self) -> bool {
            self.lands.iter().any(|at| *at <= self.now)
        }

        fn call(&mut self, fate: Fate, unsure: bool, idempotent: bool) {
            if !unsure {
                self.first_call = self.now;
                self.idempotent = true;
            }
            self.idempotent &= idempotent;
            let lands = match fate {
                Fate::Answers | Fate::Hangs => Some(self.now),
                Fate::DiesAndLandsAfter(after) => Some(self.now + after),
                Fate::Refuses | Fate::DiesBefore => None,
            };
            let within = self.idempotent_for.is_some_and(|window| self.now - self.first_call < window);
            let repeated = within && self.idempotent;
            if let Some(at) = lands
                && (!repeated || self.lands.is_empty())
            {
                self.lands.push(at);
            }
            self.owner_alive = matches!(fate, Fate::Hangs);
            self.noticed = None;
            self.entry = Some(match fate {
                Fate::Answers => (after(Ended::Done, unsure), unsure),
                Fate::Refuses => (after(Ended::Failed, unsure), unsure),
                _ => (State::Started, unsure),
            });
        }

        fn wanted(&mut self, fate: Fate, on_unknown: OnUnknown, idempotent: bool) {
            let known = self.entry.map(|(state, _)| Known {
                state,
                owner_alive: self.owner_alive,
                since_first_call: Some(Duration::from_secs(self.now - self.first_call)),
                idempotent: self.idempotent,
                expired: false,
            });
            let declared = self.idempotent_for.filter(|_| idempotent).map(Duration::from_secs);
            match begin(known.as_ref(), on_unknown, declared) {
                Verdict::Call { unsure } => self.call(fate, unsure, declared.is_some()),
                Verdict::Probe => {
                    let noticed = *self.noticed.get_or_insert(self.now);
                    if self.applied() {
                        self.entry = Some((State::Done, false));
                    } else if not_applied(Some(Duration::from_secs(self.now - noticed)), SETTLE).is_ok() {
                        self.call(fate, false, declared.is_some());
                    }
                }
                Verdict::Return => assert!(self.applied() || !self.lands.is_empty()),
                Verdict::Wait | Verdict::Park | Verdict::Fail => {}
            }
        }

        fn resolves(&mut self) {
            let Some((State::Started | State::InDoubt, _)) = self.entry else { return };
            // A person looks when everything that was under way has arrived.
            if self.owner_alive || self.lands.iter().any(|at| *at > self.now) {
                return;
            }
            self.entry = Some((if self.applied() { State::Done } else { State::Intended }, false));
        }
    }

    proptest! {
        #[test]
        fn no_call_takes_effect_twice(
            history in prop::collection::vec(events(), 1..40),
            way in 0..3,
            idempotent_for in prop::option::of(1u64..30),
        ) {
            let on_unknown = [OnUnknown::Park, PROBE, OnUnknown::Fail][way as usize];
            let mut model = Model { idempotent_for, ..Model::default() };
            for event in &history {
                match event {
                    Event::Wanted(fate, idempotent) => model.wanted(*fate, on_unknown, *idempotent),
                    Event::Passes(seconds) => model.now += seconds,
                    Event::Resolves => model.resolves(),
                }
                prop_assert!(model.lands.len() <= 1, "{:?} took effect {:?}", history, model.lands);
            }
        }
    }
}
