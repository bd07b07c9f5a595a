//! Opening: what is created and how, what is refused and stays as it was, and what happens when files go away.

mod common;
#[path = "common/process.rs"]
mod process;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{World, bytes_of, counts, fails, folder, send_all, take, take_one, taken};
use onceward::limits::STORES_MAX;
use onceward::{ErrorKind, IN_MEMORY, Message, Queue, Semantics, Store, StoreOptions};
use process::{Helper, role, say};

/// Not a test of its own: what the helper processes run.
#[test]
fn helper() {
    let Some((role, path)) = role() else { return };
    let store = Store::open(&path).expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    match role.as_str() {
        "fork" => fork_and_use(&store, &queue, &path),
        "hold and die" => {
            queue.send("unfinished").expect("sends");
            take_one(&queue);
            say("holds");
            process::hear();
        }
        other => panic!("no such role: {other}"),
    }
}

fn app_db(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("app.db")
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("lists");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("reads").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The path must be refused, and everything in its folder must be as it was.
fn refused(folder: &tempfile::TempDir, path: &Path, kind: ErrorKind, words: &[&str]) {
    let state = || -> Vec<(String, Vec<u8>)> {
        let names = names_in(folder.path());
        let content = |name: &String| {
            let path = folder.path().join(name);
            if path.is_file() { bytes_of(&path) } else { Vec::new() }
        };
        names.iter().map(|name| (name.clone(), content(name))).collect()
    };
    let before = state();
    fails(Store::open(path).map(|_| ()), kind, words);
    let after = state();
    let names = |state: &[(String, Vec<u8>)]| state.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after), "nothing is left behind");
    assert!(before == after, "a byte was changed");
}

/// A database of some application, in the form of a closed file.
fn database(path: &Path, sql: &str) {
    let conn = rusqlite::Connection::open(path).expect("opens");
    conn.execute_batch(sql).expect("executes");
}

#[test]
fn a_new_file_is_private_and_so_is_everything_beside_it() {
    let folder = folder();
    let store = Store::open(app_db(&folder)).expect("opens");
    store.queue("q", Semantics::AtLeastOnce).expect("opens");
    for name in names_in(folder.path()) {
        let mode = fs::metadata(folder.path().join(&name)).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(names_in(folder.path()), ["app.db", "app.db-onceward", "app.db-shm", "app.db-wal"]);
}

#[test]
fn a_file_that_is_closed_and_opened_again_has_everything() {
    let world = World::new();
    let queue = world.at_least_once("q");
    send_all(&queue, &["a", "b"]);
    take(&queue, 1)[0].ack().expect("acks");
    world.store.close().expect("closes");
    world.store.close().expect("closing again does nothing");
    let store = world.another();
    assert_eq!(taken(&store.open_queue("q").expect("opens"), 5), ["b"]);
}

#[test]
fn directories_empty_paths_and_missing_folders_are_refused() {
    let folder = folder();
    let inside = folder.path().join("sub");
    fs::create_dir(&inside).expect("creates");
    refused(&folder, &inside, ErrorKind::Invalid, &["sub", "directory"]);
    refused(&folder, &folder.path().join("missing/app.db"), ErrorKind::NotFound, &["missing"]);
    refused(&folder, Path::new(""), ErrorKind::Invalid, &["empty"]);
    fs::write(folder.path().join("file"), b"").expect("writes");
    let below = Store::open(folder.path().join("file/app.db")).map(|_| ()).expect_err("a file is no folder");
    assert!(matches!(below.kind(), ErrorKind::Invalid | ErrorKind::NotFound), "{below}");
    fails(Store::open("/dev/null").map(|_| ()), ErrorKind::Invalid, &["/dev/null"]);
}

#[test]
fn a_missing_file_is_created_only_when_wanted() {
    let folder = folder();
    let path = app_db(&folder);
    fails(StoreOptions::new().create(false).open(&path).map(|_| ()), ErrorKind::NotFound, &["app.db"]);
    assert!(names_in(folder.path()).is_empty());
    Store::open(&path).expect("opens").close().expect("closes");
    StoreOptions::new().create(false).open(&path).expect("it is there now");
}

#[test]
fn what_is_no_database_is_refused_and_stays_as_it_is() {
    let folder = folder();
    let path = app_db(&folder);
    for content in [&b"hello, I am a text file"[..], &[0u8; 4096], &[0xff; 10_000], b"SQLite format 3\0", b"x"] {
        println!("{} bytes, first {:?}", content.len(), &content[..1]);
        fs::write(&path, content).expect("writes");
        refused(&folder, &path, ErrorKind::Corrupt, &["app.db"]);
    }
}

#[test]
fn a_truncated_file_is_corrupt_and_never_repaired_by_overwriting() {
    let whole = {
        let folder = folder();
        let store = Store::open(app_db(&folder)).expect("opens");
        send_all(&store.queue("q", Semantics::AtLeastOnce).expect("opens"), &["a", "b"]);
        store.close().expect("closes");
        bytes_of(&app_db(&folder))
    };
    for length in [50, 100, 1000, 4095, 4096, 8192, whole.len() / 2, whole.len() - 4096] {
        let folder = folder();
        let path = app_db(&folder);
        fs::write(&path, &whole[..length]).expect("writes");
        match Store::open(&path)
            .and_then(|store| store.queue("q", Semantics::AtLeastOnce))
            .and_then(|queue| queue.send("x"))
        {
            Ok(_) => assert!(length >= whole.len() - 4096, "{length} bytes of {} pass for the whole", whole.len()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{length} bytes: {error}"),
        }
    }
}

#[test]
fn another_applications_file_is_refused() {
    let folder = folder();
    let path = app_db(&folder);
    database(&path, "CREATE TABLE theirs(x); PRAGMA application_id = 12345; PRAGMA user_version = 3;");
    refused(&folder, &path, ErrorKind::Invalid, &["0x00003039"]);
}

#[test]
fn a_newer_file_is_refused_whether_it_is_ours_or_an_applications() {
    let folder = folder();
    let path = app_db(&folder);
    Store::open(&path).expect("opens").close().expect("closes");
    database(&path, "PRAGMA journal_mode = DELETE; PRAGMA user_version = 99");
    refused(&folder, &path, ErrorKind::Unsupported, &["99"]);
    database(&path, "PRAGMA user_version = 1; UPDATE onceward_meta SET version = 99");
    refused(&folder, &path, ErrorKind::Unsupported, &["99"]);
    database(&path, "PRAGMA application_id = 0; PRAGMA user_version = 1");
    refused(&folder, &path, ErrorKind::Unsupported, &["99"]);
    database(&path, "UPDATE onceward_meta SET version = 1");
    Store::open(&path).expect("the known version opens");
}

#[test]
fn a_file_that_claims_to_be_ours_and_is_empty_is_corrupt() {
    let folder = folder();
    let path = app_db(&folder);
    database(&path, "PRAGMA application_id = 1330529093; PRAGMA user_version = 1");
    refused(&folder, &path, ErrorKind::Corrupt, &["onceward_meta"]);
}

#[test]
fn an_applications_database_keeps_its_version_its_tables_and_its_name() {
    let folder = folder();
    let path = app_db(&folder);
    database(&path, "CREATE TABLE theirs(x); INSERT INTO theirs VALUES (7); PRAGMA user_version = 3");
    let store = Store::open(&path).expect("opens");
    let queue = store.queue("q", Semantics::ExactlyOnce).expect("opens");
    queue.send(Message::new("x").key("k")).expect("sends");
    let mut tx = take_one(&queue).transaction().expect("begins");
    tx.execute("UPDATE theirs SET x = x + 1", &[]).expect("executes");
    tx.commit().expect("commits");
    store.close().expect("closes");
    Store::open(&path).expect("opens again").close().expect("closes");
    let conn = rusqlite::Connection::open(&path).expect("opens");
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("reads");
    let found = ["PRAGMA user_version", "PRAGMA application_id", "SELECT x FROM theirs"].map(number);
    assert_eq!(found, [3, 0, 8]);
}

#[test]
fn an_empty_file_is_taken_as_new() {
    let folder = folder();
    let path = app_db(&folder);
    fs::write(&path, b"").expect("writes");
    let store = Store::open(&path).expect("opens");
    send_all(&store.queue("q", Semantics::AtLeastOnce).expect("opens"), &["x"]);
}

#[test]
fn however_a_file_is_named_it_is_one_file() {
    let folder = folder();
    let path = app_db(&folder);
    let store = Store::open(&path).expect("opens");
    let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
    let link = folder.path().join("link.db");
    symlink(&path, &link).expect("links");
    fs::create_dir(folder.path().join("sub")).expect("creates");
    for other in [link, folder.path().join("sub/../app.db")] {
        let other = Store::open(&other).expect("opens");
        assert_eq!(other.path(), path.canonicalize().expect("is there"));
        send_all(&other.open_queue("q").expect("opens"), &["x"]);
        take_one(&queue).ack().expect("acks");
    }
    assert!(!names_in(folder.path()).contains(&"link.db-onceward".to_owned()));
}

#[test]
fn every_call_after_closing_says_closed() {
    for path in ["a file", IN_MEMORY] {
        let folder = folder();
        let path = if path == IN_MEMORY { path.into() } else { app_db(&folder) };
        let store = Store::open(path).expect("opens");
        let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
        send_all(&queue, &["a", "b"]);
        let held = take(&queue, 1).remove(0);
        let mut consumer = queue.consume(onceward::ConsumeOptions::new()).expect("consumes");
        let mut tx = store.transaction().expect("begins");
        store.clone().close().expect("closes for every handle");
        let calls = [
            ("send", queue.send("x").map(|_| ())),
            ("receive", queue.receive(Duration::ZERO).map(|_| ())),
            ("stats", queue.stats().map(|_| ())),
            ("settings", queue.settings().map(|_| ())),
            ("pause", queue.pause()),
            ("purge", queue.purge().map(|_| ())),
            ("peek", queue.peek(1).map(|_| ())),
            ("subscriptions", queue.subscriptions().map(|_| ())),
            ("ack", queue.ack(&[held.receipt()]).map(|_| ())),
            ("consume", queue.consume(onceward::ConsumeOptions::new()).map(|_| ())),
            ("queue", store.queue("q", Semantics::AtLeastOnce).map(|_| ())),
            ("queues", store.queues().map(|_| ())),
            ("store stats", store.stats().map(|_| ())),
            ("transaction", store.transaction().map(|_| ())),
            ("execute", tx.execute("SELECT 1", &[]).map(|_| ())),
            ("commit", tx.commit()),
            ("delivery's ack", held.ack()),
            ("consumer's receive", consumer.receive(Duration::ZERO).map(|_| ())),
        ];
        for (call, outcome) in calls {
            let error = outcome.expect_err(call);
            assert_eq!(error.kind(), ErrorKind::Closed, "{call}: {error}");
        }
        consumer.close().expect("there was nothing to commit");
        store.close().expect("closing again does nothing");
    }
}

#[test]
fn dropping_the_last_handle_closes_the_store() {
    let world = World::new();
    {
        let other = world.another();
        let queue = other.queue("q", Semantics::AtLeastOnce).expect("opens");
        send_all(&queue, &["x"]);
        take_one(&queue);
    }
    let delivery = take_one(&world.at_least_once("q"));
    assert_eq!(delivery.attempt(), 2, "what it held is offered again");
}

type Harm = (&'static str, fn(&Path));

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

#[test]
fn a_store_whose_file_went_away_says_detached_and_never_ok() {
    let harms: [Harm; 8] = [
        ("the file is deleted", |path| fs::remove_file(path).expect("removes")),
        ("the file is moved", |path| fs::rename(path, beside(path, ".old")).expect("moves")),
        ("the file is replaced", |path| {
            fs::write(beside(path, ".new"), b"").expect("writes");
            fs::rename(beside(path, ".new"), path).expect("moves");
        }),
        ("the log is deleted", |path| fs::remove_file(beside(path, "-wal")).expect("removes")),
        ("the log is replaced", |path| {
            fs::remove_file(beside(path, "-wal")).expect("removes");
            fs::write(beside(path, "-wal"), b"").expect("writes");
        }),
        ("the shared memory is deleted", |path| fs::remove_file(beside(path, "-shm")).expect("removes")),
        ("the side file is deleted", |path| fs::remove_file(beside(path, "-onceward")).expect("removes")),
        ("everything is deleted", |path| {
            for suffix in ["", "-wal", "-shm", "-onceward"] {
                fs::remove_file(beside(path, suffix)).expect("removes");
            }
        }),
    ];
    for (what, harm) in harms {
        let folder = folder();
        let path = app_db(&folder);
        let store = Store::open(&path).expect("opens");
        let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
        send_all(&queue, &["before", "before"]);
        let held = take(&queue, 1).remove(0);
        harm(&path);
        for _ in 0..3 {
            let error = queue.send("after").expect_err(what);
            assert_eq!(error.kind(), ErrorKind::Detached, "{what}: {error}");
        }
        assert_eq!(held.ack().expect_err(what).kind(), ErrorKind::Detached, "{what}");
        let received = queue.receive(Duration::ZERO).map(|_| ()).expect_err(what);
        assert_eq!(received.kind(), ErrorKind::Detached, "{what}: {received}");
        let transaction = store.transaction().and_then(|mut tx| {
            tx.execute("CREATE TABLE t(x)", &[])?;
            tx.commit()
        });
        assert_eq!(transaction.expect_err(what).kind(), ErrorKind::Detached, "{what}");
        store.close().expect("closing works all the same");
        let again = Store::open(&path).unwrap_or_else(|error| panic!("{what}: {error}"));
        send_all(&again.queue("q", Semantics::AtLeastOnce).expect("opens"), &["anew"]);
    }
}

#[test]
fn a_file_recreated_beside_an_open_one_is_another_store() {
    let folder = folder();
    let path = app_db(&folder);
    let old = Store::open(&path).expect("opens");
    let old_queue = old.queue("q", Semantics::AtLeastOnce).expect("opens");
    for suffix in ["", "-wal", "-shm", "-onceward"] {
        fs::remove_file(beside(&path, suffix)).expect("removes");
    }
    let new = Store::open(&path).expect("opens");
    let new_queue = new.queue("q", Semantics::AtLeastOnce).expect("opens");
    send_all(&new_queue, &["new"]);
    fails(old_queue.send("old"), ErrorKind::Detached, &["app.db"]);
    drop(old);
    assert_eq!(taken(&new_queue, 5), ["new"], "the old one's end disturbs nobody");
    send_all(&new_queue, &["newer"]);
}

#[test]
fn after_a_crash_the_file_opens_and_what_was_held_is_offered_again() {
    let folder = folder();
    let path = app_db(&folder);
    let mut helper = Helper::start("hold and die", &path);
    helper.expect("holds");
    helper.kill();
    assert!(beside(&path, "-wal").exists(), "nobody cleaned up");
    let store = Store::open(&path).expect("opens");
    let delivery = take_one(&store.open_queue("q").expect("opens"));
    assert_eq!((common::body(&delivery).as_str(), delivery.attempt()), ("unfinished", 2));
}

#[allow(unsafe_code, reason = "forking is what is tested")]
fn fork_and_use(store: &Store, queue: &Queue, path: &Path) {
    queue.send("from the parent").expect("sends");
    let held = take_one(queue);
    // SAFETY: the child only makes calls that must answer, and leaves with `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let kinds = [
            queue.send("from the child").map(|_| ()).map_err(|error| error.kind()),
            queue.receive(Duration::ZERO).map(|_| ()).map_err(|error| error.kind()),
            queue.stats().map(|_| ()).map_err(|error| error.kind()),
            held.ack().map_err(|error| error.kind()),
            store.transaction().map(|_| ()).map_err(|error| error.kind()),
            queue.pause().map_err(|error| error.kind()),
        ];
        let refused = kinds.iter().all(|kind| *kind == Err(ErrorKind::Closed));
        let closes = store.close().is_ok();
        let own = Store::open(path).and_then(|own| own.open_queue("q")?.send("from the child's own store"));
        let code = i32::from(!refused) | i32::from(!closes) << 1 | i32::from(own.is_err()) << 2;
        // SAFETY: ends the child without running the parent's clean-up.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid for the call, and the child is ours.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    say(&format!("the child ended with {}", libc::WEXITSTATUS(status)));
    held.ack().expect("the parent's store goes on");
    say(&taken(queue, 5).join(", "));
    assert_eq!(counts(queue)[0], 0);
}

#[test]
fn in_a_forked_child_the_store_is_closed_and_the_parents_goes_on() {
    let folder = folder();
    let mut helper = Helper::start("fork", &app_db(&folder));
    helper.expect("the child ended with 0");
    helper.expect("from the child's own store");
    assert!(helper.wait());
}

#[test]
fn more_stores_than_there_are_slots_are_busy_until_one_closes() {
    let folder = folder();
    let path = app_db(&folder);
    Store::open(&path).expect("opens").close().expect("closes");
    let side = fs::OpenOptions::new().read(true).write(true).open(beside(&path, "-onceward")).expect("opens");
    hold_all_slots(&side);
    fails(Store::open(&path).map(|_| ()), ErrorKind::Busy, &[&STORES_MAX.to_string()]);
    drop(side);
    Store::open(&path).expect("there is room again");
}

/// Takes the locks that 1,024 open stores would hold.
#[allow(unsafe_code, reason = "a lock on an open file description has no safe wrapper")]
fn hold_all_slots(side: &fs::File) {
    use std::os::fd::AsRawFd;
    // SAFETY: all zeros are a valid `flock`.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_start = 1 << 20;
    lock.l_len = STORES_MAX as libc::off_t;
    // SAFETY: the descriptor is open and the lock is valid for the call.
    let locked = unsafe { libc::fcntl(side.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    assert_eq!(locked, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_store_in_memory_is_its_own_and_ends_with_its_last_handle() {
    let (one, two) = (Store::open(IN_MEMORY).expect("opens"), Store::open(IN_MEMORY).expect("opens"));
    let queue = one.queue("q", Semantics::AtLeastOnce).expect("opens");
    assert!(two.queues().expect("lists").is_empty());
    drop(one);
    send_all(&queue, &["x"]);
    assert_eq!(taken(&queue, 5), ["x"], "a queue is a handle too");
}

#[test]
fn a_file_that_others_keep_busy_is_busy_and_nothing_is_written() {
    let world = World::with(|options: StoreOptions| options.busy_timeout(Duration::from_millis(50)));
    let queue = world.at_least_once("q");
    let other = world.sql();
    other.execute_batch("BEGIN IMMEDIATE").expect("begins");
    fails(queue.send(Message::new("x").key("k")), ErrorKind::Busy, &["50ms"]);
    let mut tx = world.store.transaction().expect("begins");
    fails(tx.execute("CREATE TABLE t(x)", &[]), ErrorKind::Busy, &[]);
    drop(tx);
    other.execute_batch("ROLLBACK").expect("rolls back");
    assert_eq!(counts(&queue), [0; 5]);
    assert!(!queue.send(Message::new("x").key("k")).expect("sends").duplicate);
}

#[test]
fn opening_waits_as_long_as_it_was_told_for_who_has_the_whole_file() {
    let folder = folder();
    let path = app_db(&folder);
    let other = rusqlite::Connection::open(&path).expect("opens");
    other.execute_batch("CREATE TABLE t(v); BEGIN EXCLUSIVE").expect("locks");
    fails(StoreOptions::new().busy_timeout(Duration::from_millis(50)).open(&path), ErrorKind::Busy, &["app.db"]);
    assert!(!beside(&path, "-onceward").exists(), "nothing was made beside it");
    let patient = std::thread::spawn({
        let path = path.clone();
        // Longer than what a connection waits by itself.
        move || StoreOptions::new().busy_timeout(Duration::from_secs(60)).open(path)
    });
    std::thread::sleep(Duration::from_secs(6));
    other.execute_batch("COMMIT").expect("unlocks");
    patient.join().expect("does not panic").expect("opens");
}
