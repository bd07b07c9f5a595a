//! What the state machine may do, and how it is drawn.

use std::time::Duration;

use onceward::{Nack, Semantics, Start};
use proptest::prelude::*;
use proptest::sample::Index;

/// The subscriptions there may be; the first is there from the beginning.
pub(crate) const NAMES: [&str; 3] = ["default", "second", "third"];
/// Open stores at a time.
pub(crate) const STORES: usize = 2;

/// The settings of the queue of one run.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) semantics: Semantics,
    pub(crate) attempts_max: Option<u32>,
    pub(crate) window: Option<Duration>,
}

#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) key: Option<u8>,
    pub(crate) body: u8,
    pub(crate) priority: Option<u8>,
    pub(crate) ordering_key: Option<u8>,
    pub(crate) delay_s: u64,
    pub(crate) time_to_live_s: Option<u64>,
}

#[derive(Debug, Clone)]
pub(crate) enum Verb {
    Ack,
    Nack { delay_s: Option<u64> },
    DeadLetter,
    Extend { lease_s: u64 },
    Release,
}

impl Verb {
    pub(crate) fn nack(delay_s: Option<u64>) -> Nack {
        delay_s.map_or_else(Nack::new, |delay| Nack::new().delay(Duration::from_secs(delay)))
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send {
        store: usize,
        posts: Vec<Post>,
    },
    Receive {
        store: usize,
        subscription: usize,
        max: usize,
        lease_s: Option<u64>,
    },
    /// Receipts of the subscription, counted from the latest; a made-up token now and then.
    Settle {
        store: usize,
        subscription: usize,
        verb: Verb,
        back: Vec<usize>,
        made_up: bool,
    },
    Advance {
        ms: u64,
    },
    Cancel {
        store: usize,
        message: Index,
    },
    Purge {
        store: usize,
    },
    Redrive {
        store: usize,
        subscription: usize,
        messages: Vec<Index>,
    },
    PurgeDead {
        store: usize,
        subscription: usize,
        messages: Vec<Index>,
    },
    Pause {
        store: usize,
        paused: bool,
    },
    Kill {
        store: usize,
    },
    Reopen {
        store: usize,
    },
    Subscribe {
        store: usize,
        subscription: usize,
        oldest: bool,
    },
    Unsubscribe {
        store: usize,
        subscription: usize,
    },
}

pub(crate) fn start(oldest: bool) -> Start {
    if oldest { Start::Oldest } else { Start::Now }
}

pub(crate) fn terms() -> impl Strategy<Value = Terms> {
    let semantics = prop_oneof![
        4 => Just(Semantics::AtLeastOnce),
        2 => Just(Semantics::ExactlyOnce),
        1 => Just(Semantics::AtMostOnce),
    ];
    let attempts = prop_oneof![Just(None), (1u32..5).prop_map(Some)];
    let window = prop_oneof![Just(None), Just(Some(Duration::from_secs(100)))];
    (semantics, attempts, window).prop_map(|(semantics, attempts_max, window)| Terms {
        semantics,
        attempts_max,
        window,
    })
}

fn post() -> impl Strategy<Value = Post> {
    let key = prop_oneof![2 => Just(None), 1 => (0u8..6).prop_map(Some)];
    let place = prop_oneof![
        3 => Just((None, None)),
        3 => (0u8..2).prop_map(|key| (None, Some(key))),
        1 => prop_oneof![Just(0u8), Just(9)].prop_map(|priority| (Some(priority), None)),
    ];
    let delay = prop_oneof![4 => Just(0u64), 1 => Just(10), 1 => Just(100)];
    let time_to_live = prop_oneof![6 => Just(None), 1 => Just(Some(5u64)), 1 => Just(Some(60))];
    (key, 0u8..2, place, delay, time_to_live).prop_map(
        |(key, body, (priority, ordering_key), delay_s, time_to_live_s)| Post {
            key,
            body,
            priority,
            ordering_key,
            delay_s,
            time_to_live_s,
        },
    )
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        4 => Just(Verb::Ack),
        3 => prop_oneof![Just(None), Just(Some(0)), Just(Some(20))].prop_map(|delay_s| Verb::Nack { delay_s }),
        1 => Just(Verb::DeadLetter),
        2 => prop_oneof![Just(1u64), Just(200)].prop_map(|lease_s| Verb::Extend { lease_s }),
        2 => Just(Verb::Release),
    ]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let store = 0..STORES;
    // Mostly the one that is always there.
    let subscription = prop_oneof![3 => Just(0usize), 1 => Just(1), 1 => Just(2)].boxed();
    let some = || prop::collection::vec(any::<Index>(), 1..4);
    prop_oneof![
        6 => (store.clone(), prop::collection::vec(post(), 1..5)).prop_map(|(store, posts)| Step::Send { store, posts }),
        8 => (store.clone(), subscription.clone(), 1usize..7, prop_oneof![3 => Just(None), 1 => Just(Some(5)), 1 => Just(Some(300))])
            .prop_map(|(store, subscription, max, lease_s)| Step::Receive { store, subscription, max, lease_s }),
        10 => (store.clone(), subscription.clone(), verb(), prop::collection::vec(0usize..8, 1..5), prop::bool::weighted(0.05))
            .prop_map(|(store, subscription, verb, back, made_up)| Step::Settle { store, subscription, verb, back, made_up }),
        5 => prop_oneof![Just(1u64), Just(5_000), Just(31_000), Just(120_000)].prop_map(|ms| Step::Advance { ms }),
        1 => (store.clone(), any::<Index>()).prop_map(|(store, message)| Step::Cancel { store, message }),
        1 => store.clone().prop_map(|store| Step::Purge { store }),
        2 => (store.clone(), subscription.clone(), some())
            .prop_map(|(store, subscription, messages)| Step::Redrive { store, subscription, messages }),
        1 => (store.clone(), subscription.clone(), some())
            .prop_map(|(store, subscription, messages)| Step::PurgeDead { store, subscription, messages }),
        1 => (store.clone(), prop::bool::weighted(0.3)).prop_map(|(store, paused)| Step::Pause { store, paused }),
        1 => store.clone().prop_map(|store| Step::Kill { store }),
        1 => store.clone().prop_map(|store| Step::Reopen { store }),
        1 => (store.clone(), 1usize..3, any::<bool>())
            .prop_map(|(store, subscription, oldest)| Step::Subscribe { store, subscription, oldest }),
        1 => (store, 1usize..3).prop_map(|(store, subscription)| Step::Unsubscribe { store, subscription }),
    ]
}
