//! What a forked child may and may not do. Each test forks in a helper process of its own.

use super::super::files::install;
use super::super::fork::generation;
use super::{Helper, PATIENCE, helper_path, side_at};
use crate::error::ErrorKind;
use crate::process_mutex::ProcessMutex;
use rusqlite::Connection;
use std::path::Path;
use std::time::Duration;

fn connect(path: &Path) -> Connection {
    install().expect("the system calls are replaced");
    let connection = Connection::open(path).expect("a connection");
    connection.busy_timeout(PATIENCE).expect("a time limit");
    connection.pragma_update(None, "journal_mode", "wal").expect("WAL");
    connection.execute_batch("CREATE TABLE IF NOT EXISTS t(x)").expect("a table");
    connection
}

fn insert(connection: &Connection, rows: usize) {
    for _ in 0..rows {
        connection.execute("INSERT INTO t VALUES (1)", []).expect("a write");
    }
}

/// Runs `work` in a child, which is killed should it hang. Returns its process id.
fn fork(work: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the helper process forks with the handlers of this module installed; the child runs `work` and exits.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: takes a number.
            unsafe { libc::alarm(PATIENCE.as_secs() as u32) };
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(i32::from(outcome.is_err())) }
        }
        child => {
            assert!(child > 0, "fork failed");
            child
        }
    }
}

fn wait_for(child: libc::pid_t) {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child failed");
}

#[test]
fn the_locks_of_a_killed_parent_do_not_live_on_in_its_child() {
    const TEST: &str = concat!(module_path!(), "::the_locks_of_a_killed_parent_do_not_live_on_in_its_child");
    if let Some(path) = helper_path() {
        let connection = connect(&path);
        let side = side_at(&path.with_extension("side"));
        assert_eq!(side.claim_slot().expect("an answer"), Some(0));
        let lock = side.write_lock(PATIENCE).expect("an answer");
        connection.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (2)").expect("the write lock");
        // The child speaks, so that the parent is not killed before the child could run its first instruction.
        fork(|| {
            println!("ready {}", std::process::id());
            std::thread::sleep(PATIENCE);
        });
        std::thread::sleep(PATIENCE);
        drop(lock);
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("app.db");
    let mut helper = Helper::start(TEST, &path);
    let grandchild: libc::pid_t = helper.said("ready").parse().expect("a process id");
    let side = side_at(&path.with_extension("side"));
    assert!(side.is_slot_held(0).expect("an answer"));
    assert!(side.write_lock(Duration::ZERO).expect("an answer").is_none());
    helper.kill();
    assert!(!side.is_slot_held(0).expect("an answer"), "the slot");
    assert!(side.write_lock(Duration::ZERO).expect("an answer").is_some(), "the write lock");
    let connection = connect(&path);
    connection.busy_timeout(Duration::ZERO).expect("no waiting");
    insert(&connection, 1);
    // SAFETY: the child of our helper, which sleeps.
    assert_eq!(unsafe { libc::kill(grandchild, 0) }, 0, "the child still lives");
    // SAFETY: as above.
    unsafe { libc::kill(grandchild, libc::SIGKILL) };
}

#[test]
fn parent_child_and_grandchild_use_one_file_each_with_its_own_connection() {
    const TEST: &str =
        concat!(module_path!(), "::parent_child_and_grandchild_use_one_file_each_with_its_own_connection");
    if let Some(path) = helper_path() {
        let connection = connect(&path);
        insert(&connection, 1);
        let reader = connect(&path);
        reader.execute_batch("BEGIN; SELECT count(*) FROM t").expect("a read lock over the fork");
        assert_eq!(generation(), 0);
        let child = fork(|| {
            assert_eq!(generation(), 1);
            assert!(connection.execute("INSERT INTO t VALUES (3)", []).is_err(), "a stale connection fails");
            let own = connect(&path);
            insert(&own, 200);
            wait_for(fork(|| {
                assert_eq!(generation(), 2);
                insert(&connect(&path), 200);
            }));
            insert(&own, 200);
        });
        insert(&connection, 400);
        wait_for(child);
        assert_eq!(generation(), 0);
        reader.execute_batch("COMMIT").expect("the read ends");
        insert(&connection, 10);
        let rows: i64 = reader.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("rows");
        assert_eq!(rows, 1011);
        println!("done");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("app.db");
    let mut helper = Helper::start(TEST, &path);
    helper.said("done");
    assert!(helper.succeeded());
    let verdict: String = connect(&path).query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a verdict");
    assert_eq!(verdict, "ok");
}

#[test]
fn a_stale_connection_dropped_in_the_child_harms_nobody() {
    const TEST: &str = concat!(module_path!(), "::a_stale_connection_dropped_in_the_child_harms_nobody");
    if let Some(path) = helper_path() {
        let mut connection = Some(connect(&path));
        let mut side = Some(side_at(&path.with_extension("side")));
        assert_eq!(side.as_ref().expect("open").claim_slot().expect("an answer"), Some(0));
        insert(connection.as_ref().expect("open"), 10);
        wait_for(fork(|| {
            drop(connection.take());
            drop(side.take());
            let own = side_at(&path.with_extension("side"));
            assert_eq!(own.claim_slot().expect("an answer"), Some(1), "the parent has slot 0");
            insert(&connect(&path), 10);
        }));
        let connection = connection.expect("the parent's is untouched");
        insert(&connection, 10);
        let rows: i64 = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("rows");
        assert_eq!(rows, 30);
        println!("done");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut helper = Helper::start(TEST, &folder.path().join("app.db"));
    helper.said("done");
    assert!(helper.succeeded());
}

#[test]
fn forking_while_other_threads_are_inside_sqlite_leaves_the_child_able_to_work() {
    const FORKS: u32 = 40;
    const TEST: &str =
        concat!(module_path!(), "::forking_while_other_threads_are_inside_sqlite_leaves_the_child_able_to_work");
    if let Some(path) = helper_path() {
        let done = std::sync::atomic::AtomicBool::new(false);
        drop(connect(&path));
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let (done, own_path) = (&done, path.with_extension(format!("db{thread}")));
                scope.spawn(move || {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        let connection = connect(&own_path);
                        connection.pragma_update(None, "synchronous", "OFF").expect("a fast test");
                        insert(&connection, 1);
                    }
                });
            }
            for _ in 0..FORKS {
                wait_for(fork(|| insert(&connect(&path), 1)));
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let rows: u32 = connect(&path).query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("rows");
        assert_eq!(rows, FORKS);
        println!("done");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut helper = Helper::start(TEST, &folder.path().join("app.db"));
    helper.said("done");
    assert!(helper.succeeded());
}

#[test]
fn a_child_is_refused_what_a_thread_of_its_parent_holds() {
    const TEST: &str = concat!(module_path!(), "::a_child_is_refused_what_a_thread_of_its_parent_holds");
    if helper_path().is_some() {
        install().expect("the system calls are replaced");
        let (held, free) = (ProcessMutex::new(1), ProcessMutex::new(2));
        let guard = held.lock().expect("its own process");
        wait_for(fork(|| {
            for mutex in [&held, &free] {
                assert_eq!(mutex.lock().expect_err("another process").kind(), ErrorKind::Closed);
                assert_eq!(mutex.check_process().expect_err("another process").kind(), ErrorKind::Closed);
            }
            assert!(held.try_lock().is_none());
            assert_eq!(free.try_lock().as_deref(), Some(&2));
        }));
        assert!(held.try_lock().is_none());
        drop(guard);
        assert_eq!(held.try_lock().as_deref(), Some(&1));
        held.check_process().expect("its own process");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    assert!(Helper::start(TEST, &folder.path().join("unused")).succeeded());
}
