//! Processes that are killed at every transition of an effect, and what those that go on make of it.
//!
//! The third party is a log file: a line for each payment that it carried out. Whatever is killed wherever, no payment is
//! in it twice, and each is done or listed in doubt.

mod common;
#[path = "common/process.rs"]
mod process;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onceward::{Called, Message, OnUnknown, OnceOptions, Probed, Queue, Resolution, Semantics, Store};
use process::{Helper, role, say};

const SETTLE: Duration = Duration::from_millis(30);
/// Begun, called and recorded: the places of an ordinary call, with how often each is passed before.
const CALL: [&str; 11] = [
    "once-before-begin",
    "once-begin-in-commit",
    "before-sync",
    "once-begun",
    "call-before",
    "call-after",
    "once-called",
    "once-before-finish",
    "once-finish-in-commit",
    "before-sync 2",
    "once-finished",
];
/// Where whoever finds a call in doubt may be killed, besides.
const DOUBT: [&str; 7] = [
    "once-before-begin",
    "once-doubt-in-commit",
    "before-sync",
    "once-probed",
    "once-probed-in-commit",
    "once-probe-recorded",
    "before-sync 2",
];
const WAYS: [&str; 3] = ["park", "probe", "fail"];

/// Not a test of its own: what the helper processes run. The role is a way, and a place to stop at or none.
#[test]
fn helper() {
    let Some((role, path)) = role() else { return };
    let (way, place) = role.split_once(' ').expect("a way and a place");
    let (store, queue) = open(&path);
    if way == "resolve" {
        stop_at(place);
        resolve(&store, &path);
        return say("idle");
    }
    work(&queue, &path, way, place);
    say("idle");
}

/// Pays for whatever comes, until nothing is to be had any more.
fn work(queue: &Queue, path: &Path, way: &str, place: &str) {
    loop {
        let Some(delivery) = queue.receive(Duration::from_millis(20)).expect("receives") else {
            if common::counts(queue)[..4] == [0; 4] {
                return;
            }
            continue;
        };
        stop_at(place);
        let bank = Bank::beside(path);
        let options = OnceOptions::new(match way {
            "park" => OnUnknown::Park,
            "probe" => OnUnknown::Probe { settle: SETTLE },
            _ => OnUnknown::Fail,
        });
        let paid = if way == "probe" {
            delivery.once_or_probe("charge", &options, || bank.pay(), || bank.look_up())
        } else {
            delivery.once("charge", &options, || bank.pay())
        };
        match paid {
            Ok(receipt) => {
                assert_eq!(receipt, b"paid");
                delivery.ack().expect("acks");
            }
            Err(error) => assert!(delivery.is_settled(), "{error}"),
        }
    }
}

/// Stops at a place until it is killed; with a number, the so manieth time that it comes there.
fn stop_at(place: &str) {
    let (name, times) =
        place.split_once(' ').map_or((place, 1), |(name, times)| (name, times.parse().expect("a number")));
    let passed = std::sync::atomic::AtomicUsize::new(0);
    let stop = move || {
        if passed.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == times {
            say("stops");
            loop {
                std::thread::park();
            }
        }
    };
    fail::cfg_callback(name, stop).expect("a place");
}

fn open(path: &Path) -> (Store, Queue) {
    let store = Store::open(path).expect("opens");
    let queue = store.queue("payments", Semantics::ExactlyOnce).expect("opens");
    (store, queue)
}

/// Resolves what is in doubt, truly.
fn resolve(store: &Store, path: &Path) {
    for doubt in store.in_doubt(None, 9).expect("lists") {
        let resolution = match Bank::beside(path).payments() {
            0 => Resolution::NotApplied,
            _ => Resolution::Applied(b"paid".to_vec()),
        };
        store.resolve(doubt.doubt, resolution, "the bank's log", "test").expect("resolves");
    }
}

struct Bank {
    log: PathBuf,
}

impl Bank {
    fn beside(path: &Path) -> Self {
        Bank { log: path.with_extension("log") }
    }

    fn pay(&self) -> Called {
        fail::fail_point!("call-before");
        let mut log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).expect("opens");
        log.write_all(b"paid\n").expect("writes");
        fail::fail_point!("call-after");
        Called::Done(b"paid".to_vec())
    }

    fn look_up(&self) -> Probed {
        if self.payments() > 0 { Probed::Applied(b"paid".to_vec()) } else { Probed::NotApplied }
    }

    fn payments(&self) -> usize {
        std::fs::read_to_string(&self.log).map_or(0, |log| log.lines().count())
    }
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Place { folder: common::folder() };
        let (store, queue) = open(&place.path());
        queue.send(Message::new("x").key("x")).expect("sends");
        store.close().expect("closes");
        place
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("app.db")
    }

    fn payments(&self) -> usize {
        Bank::beside(&self.path()).payments()
    }

    /// Runs a process that is killed at a place. Returns false when it never came there.
    fn killed_at(&self, way: &str, place: &str) -> bool {
        let mut helper = Helper::start(&format!("{way} {place}"), &self.path());
        let said = helper.hear();
        helper.kill();
        assert!(self.payments() <= 1, "{way}, killed at {place}");
        match said.as_deref() {
            Some("stops") => true,
            Some("idle") => false,
            other => panic!("{way}, to be killed at {place}: {other:?}"),
        }
    }

    /// Lets another process go on until nothing is to be had, and looks at what has come of it.
    fn goes_on(&self, way: &str, story: &str) {
        assert!(!self.killed_at(way, "nowhere"));
        let (store, queue) = open(&self.path());
        let in_doubt = store.in_doubt(None, 9).expect("lists").len();
        let stats = store.stats().expect("counts").in_doubt;
        let [.., dead] = common::counts(&queue);
        match in_doubt {
            0 => assert_eq!((self.payments(), stats, dead), (1, 0, 0), "{story}: it is done"),
            1 => {
                assert!(way != "probe", "{story}: a probe leaves no doubt");
                assert_eq!((stats, dead), (1, u64::from(way == "fail")), "{story}: it is listed");
            }
            more => panic!("{story}: {more} are in doubt"),
        }
        assert!(self.payments() <= 1, "{story}");
        // A person looks, and then it is done.
        resolve(&store, &self.path());
        store.close().expect("closes");
        self.ends(way, story);
    }

    fn ends(&self, way: &str, story: &str) {
        let (store, queue) = open(&self.path());
        queue.redrive_all().expect("redrives");
        store.close().expect("closes");
        assert!(!self.killed_at(way, "nowhere"));
        let (store, queue) = open(&self.path());
        assert_eq!((self.payments(), common::counts(&queue)), (1, [0; 5]), "{story}: paid once, and finished");
        assert_eq!(store.in_doubt(None, 9).expect("lists"), [], "{story}");
    }
}

#[test]
fn killed_at_every_place_of_a_call_it_is_paid_once_or_listed() {
    for way in WAYS {
        for at in CALL {
            let place = Place::new();
            assert!(place.killed_at(way, at), "{way}: it comes to {at}");
            place.goes_on(way, &format!("{way}, killed at {at}"));
        }
    }
}

#[test]
fn killed_at_every_place_of_what_follows_a_killed_call_it_is_paid_once_or_listed() {
    let mut came = std::collections::BTreeSet::new();
    for way in WAYS {
        for first in ["call-before", "call-after"] {
            for second in DOUBT {
                let place = Place::new();
                assert!(place.killed_at(way, first), "{way}: it comes to {first}");
                if place.killed_at(way, second) {
                    came.insert(second);
                }
                place.goes_on(way, &format!("{way}, killed at {first} and at {second}"));
            }
        }
    }
    assert_eq!(came, DOUBT.into_iter().collect(), "each place was come to");
}

#[test]
fn killed_while_it_is_resolved_it_can_be_resolved_again() {
    for first in ["call-before", "call-after"] {
        for at in ["once-resolve-in-commit", "before-sync"] {
            let place = Place::new();
            assert!(place.killed_at("park", first));
            assert!(!place.killed_at("park", "nowhere"));
            assert!(place.killed_at("resolve", at), "it comes to {at}");
            let (store, _) = open(&place.path());
            resolve(&store, &place.path());
            assert_eq!(store.resolutions(None, 9).expect("lists").len(), 1);
            store.close().expect("closes");
            place.ends("park", &format!("killed at {first}, resolved, killed at {at}"));
        }
    }
}
