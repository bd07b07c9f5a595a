//! The side file: its format, slots, and the write lock between threads and processes.

use super::super::side::{SLOTS_MAX, SideFile, WORDS};
use super::{Helper, PATIENCE, helper_path, side_at};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

fn scene() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("app.db-onceward");
    (folder, path)
}

#[test]
fn a_new_side_file_is_private_whole_and_zero() {
    let (_folder, path) = scene();
    let side = side_at(&path);
    let metadata = std::fs::metadata(&path).expect("it is there");
    assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (8192, 0o600));
    assert!((0..WORDS).all(|index| side.word(index).load(Ordering::Relaxed) == 0));
    side.word(WORDS - 1).store(7, Ordering::Relaxed);
    let again = side_at(&path);
    assert_eq!(again.word(WORDS - 1).load(Ordering::Relaxed), 7, "words are shared");
    assert!(side.still_at_path());
    std::fs::remove_file(&path).expect("deleted");
    assert!(!side.still_at_path());
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_alone() {
    let (_folder, path) = scene();
    let mut newer = b"ONCEWARD\x02\0\0\0".to_vec();
    newer.resize(8192, 0);
    for content in [b"hello".to_vec(), vec![0; 8193], b"ONCEWARD\x01\0\0\0".to_vec(), newer] {
        std::fs::write(&path, &content).expect("someone's file");
        let error = SideFile::open(&path, PATIENCE).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        assert!(std::fs::metadata(&path).expect("there").len() == content.len() as u64);
    }
}

#[test]
fn a_creation_cut_short_is_completed_by_the_next_open() {
    let (_folder, path) = scene();
    for zeros in [0, 1, 4096, 8192] {
        std::fs::write(&path, vec![0; zeros]).expect("what a killed creator left");
        drop(side_at(&path));
        assert_eq!(std::fs::metadata(&path).expect("there").len(), 8192);
        drop(side_at(&path));
    }
}

#[test]
fn many_stores_create_one_side_file_and_get_distinct_slots() {
    let (_folder, path) = scene();
    let mut slots = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let side = side_at(&path);
                    let slot = side.claim_slot().expect("an answer").expect("a free slot");
                    (side, slot)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    slots.sort_by_key(|(_, slot)| *slot);
    assert!(slots.iter().map(|(_, slot)| *slot).eq(0..8));
    let (last, first) = (slots.pop().expect("eight").0, &slots[0].0);
    assert!(first.is_slot_held(7).expect("an answer"), "another's");
    assert!(first.is_slot_held(0).expect("an answer"), "its own");
    drop(last);
    assert!(!first.is_slot_held(7).expect("an answer"), "let go on drop");
    assert!(first.is_slot_held(SLOTS_MAX).is_err());
}

#[test]
fn no_slot_is_given_twice_even_when_all_are_taken() {
    let (_folder, path) = scene();
    let (one, other) = (side_at(&path), side_at(&path));
    for expected in 0..SLOTS_MAX {
        assert_eq!(one.claim_slot().expect("an answer"), Some(expected));
    }
    assert_eq!(other.claim_slot().expect("an answer"), None);
    assert_eq!(one.claim_slot().expect("an answer"), None);
}

#[test]
fn a_killed_process_frees_its_slot_and_its_write_lock() {
    const TEST: &str = concat!(module_path!(), "::a_killed_process_frees_its_slot_and_its_write_lock");
    if let Some(path) = helper_path() {
        let side = side_at(&path);
        let slot = side.claim_slot().expect("an answer").expect("a free slot");
        let _lock = side.write_lock(PATIENCE).expect("an answer").expect("the lock");
        println!("claimed {slot}");
        std::thread::sleep(PATIENCE);
        return;
    }
    let (_folder, path) = scene();
    let side = side_at(&path);
    let mut helper = Helper::start(TEST, &path);
    let slot: u32 = helper.said("claimed").parse().expect("a slot");
    assert!(side.is_slot_held(slot).expect("an answer"));
    assert!(side.write_lock(Duration::from_millis(20)).expect("an answer").is_none(), "held by the helper");
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| side.write_lock(PATIENCE).expect("an answer").is_some());
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waiter.is_finished());
        helper.kill();
        assert!(waiter.join().expect("no panic"), "the waiter gets the lock");
    });
    assert!(!side.is_slot_held(slot).expect("an answer"));
}

#[test]
fn the_write_lock_excludes_and_a_waiter_that_gives_up_leaves_it_usable() {
    let (_folder, path) = scene();
    let stores: Vec<SideFile> = (0..3).map(|_| side_at(&path)).collect();
    let held = stores[0].write_lock(Duration::ZERO).expect("an answer").expect("free");
    std::thread::scope(|scope| {
        for store in &stores[1..] {
            scope.spawn(|| assert!(store.write_lock(Duration::from_millis(30)).expect("an answer").is_none()));
        }
    });
    drop(held);
    for store in &stores {
        assert!(store.write_lock(Duration::ZERO).expect("an answer").is_some());
    }
    assert!(stores[0].write_lock(Duration::MAX).expect("an answer").is_some(), "no overflow");
}

/// Four stores take the lock as fast as they can; the sum of their counts is fixed, so a greedy one starves the others.
#[test]
fn busy_processes_get_a_fair_share_each_and_never_hold_the_lock_together() {
    const TEST: &str =
        concat!(module_path!(), "::busy_processes_get_a_fair_share_each_and_never_hold_the_lock_together");
    const PROCESSES: u32 = 4;
    const TOTAL: u32 = 20_000;
    const STARTED: usize = 0;
    const COUNT: usize = 1;
    if let Some(path) = helper_path() {
        let side = side_at(&path);
        side.word(STARTED).fetch_add(1, Ordering::SeqCst);
        while side.word(STARTED).load(Ordering::SeqCst) < PROCESSES {
            std::thread::yield_now();
        }
        println!("share {}", hammer(&side, side.word(COUNT), TOTAL));
        return;
    }
    let (_folder, path) = scene();
    let mut helpers: Vec<Helper> = (0..PROCESSES).map(|_| Helper::start(TEST, &path)).collect();
    let shares: Vec<u32> = helpers.iter_mut().map(|helper| helper.said("share").parse().expect("a number")).collect();
    println!("shares {shares:?}");
    assert_eq!(shares.iter().sum::<u32>(), TOTAL, "two were inside at the same time");
    assert!(shares.iter().all(|share| *share >= TOTAL / PROCESSES / 5), "unfair: {shares:?}");
}

/// Counts in a way that loses counts without exclusion. Returns this store's share.
fn hammer(side: &SideFile, count: &AtomicU32, total: u32) -> u32 {
    let mut share = 0;
    loop {
        let lock = side.write_lock(PATIENCE).expect("an answer").expect("the lock");
        let seen = count.load(Ordering::Relaxed);
        if seen >= total {
            return share;
        }
        for _ in 0..2000 {
            std::hint::spin_loop();
        }
        count.store(seen + 1, Ordering::Relaxed);
        share += 1;
        drop(lock);
    }
}

#[test]
fn only_one_store_opens_or_migrates_at_a_time() {
    let (_folder, path) = scene();
    let inside = AtomicU32::new(0);
    let shared = side_at(&path);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (shared, inside, path) = (&shared, &inside, &path);
            scope.spawn(move || {
                let own = side_at(path);
                let side = if thread % 2 == 0 { &own } else { shared };
                for _ in 0..50 {
                    let _guard = side.open_guard(PATIENCE).expect("the lock");
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
}

#[test]
fn nobody_waits_for_ever_for_a_store_that_does_not_finish_opening() {
    let (_folder, path) = scene();
    let (one, other) = (side_at(&path), side_at(&path));
    let guard = one.open_guard(PATIENCE).expect("granted");
    let error = other.open_guard(Duration::from_millis(20)).expect_err("it is taken");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("20ms"), "{error}");
    drop(guard);
    drop(other.open_guard(Duration::ZERO).expect("it is free"));
}

#[test]
fn a_store_in_memory_has_the_same_interface() {
    let side = SideFile::private();
    assert_eq!(side.claim_slot().expect("an answer"), Some(0));
    assert_eq!(side.claim_slot().expect("an answer"), Some(1));
    assert!(side.is_slot_held(1).expect("an answer"));
    assert!(!side.is_slot_held(2).expect("an answer"));
    drop(side.open_guard(PATIENCE).expect("granted"));
    assert!(side.write_lock(Duration::ZERO).expect("an answer").is_some());
    assert!(side.still_at_path());
    side.word(3).store(1, Ordering::Relaxed);
    assert!(side.wait(3, 0, None), "it is not 0");
    assert!(!side.wait(3, 1, Some(Duration::from_millis(1))));
    side.wake(3, 1);
}

#[test]
fn no_wake_is_lost_between_looking_and_falling_asleep() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db-onceward");
    let (asker, answerer) = (side_at(&path), side_at(&path));
    // Two words that share a count, so that each is also woken with sleepers on the other only.
    let (question, answer) = (7, 7 + 512);
    let wait_for = |side: &SideFile, word: usize, round: u32| {
        while side.word(word).load(Ordering::SeqCst) != round {
            let seen = side.word(word).load(Ordering::SeqCst);
            if seen != round {
                assert!(side.wait(word, seen, Some(Duration::from_secs(20))), "nobody woke it in round {round}");
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=5000 {
                wait_for(&answerer, question, round);
                answerer.word(answer).store(round, Ordering::SeqCst);
                answerer.wake(answer, 1);
            }
        });
        for round in 1..=5000 {
            asker.word(question).store(round, Ordering::SeqCst);
            asker.wake(question, 1);
            wait_for(&asker, answer, round);
        }
    });
}
