//! SQLite's descriptors and locks, beside a second SQLite whose POSIX locks are taken here by hand.

use super::super::files::{self, create_private, install, opened};
use super::super::os::{self, Lock};
use super::{PATIENCE, descriptors_of};
use rusqlite::{Connection, OpenFlags};
use std::os::fd::RawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const RESERVED_BYTE: i64 = 0x4000_0001;
const SHARED_FIRST: i64 = 0x4000_0002;
/// The dead man's switch of a -shm file.
const DMS_BYTE: i64 = 128;

/// A database in a folder of its own.
struct Scene {
    folder: TempDir,
    path: PathBuf,
}

impl Scene {
    fn new() -> Scene {
        install().expect("the system calls are replaced");
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("app.db");
        Scene { folder, path }
    }

    fn connect(&self) -> Connection {
        connect(&self.path)
    }

    fn with_table(self, journal_mode: &str) -> Scene {
        let connection = self.connect();
        connection.pragma_update(None, "journal_mode", journal_mode).expect("a journal mode");
        connection.execute_batch("CREATE TABLE t(x)").expect("a table");
        drop(connection);
        self
    }

    fn descriptors(&self) -> usize {
        descriptors_of(self.folder.path())
    }

    /// Gives the pool the occasion to look at idle files again.
    fn let_the_pool_sweep(&self) {
        for _ in 0..20 {
            drop(Connection::open(self.folder.path().join("other.db")).expect("another database"));
        }
    }
}

fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("a connection");
    connection.busy_timeout(PATIENCE).expect("a time limit");
    connection
}

/// What another copy of SQLite in this process has: its own descriptor, and POSIX locks.
struct OtherCopy(RawFd);

impl OtherCopy {
    fn open(path: &Path) -> OtherCopy {
        let path = os::c_path(path).expect("a path");
        OtherCopy(os::open(&path, libc::O_RDWR | libc::O_CREAT, 0o600).expect("a descriptor"))
    }

    fn lock(&self, kind: libc::c_int, start: i64) -> bool {
        // SAFETY: all zeros is a valid `struct flock`, and it outlives the call.
        unsafe {
            let mut range: libc::flock = std::mem::zeroed();
            range.l_type = kind as libc::c_short;
            range.l_start = start;
            range.l_len = 1;
            libc::fcntl(self.0, libc::F_SETLK, &raw mut range) == 0
        }
    }

    /// Whether anybody, this process's POSIX locks included, has a lock at `start`: asked through a new description,
    /// which is left open because closing it would drop the locks.
    fn anybody_locks(path: &Path, start: i64) -> bool {
        os::is_locked_by_another(OtherCopy::open(path).0, start, 1).expect("an answer")
    }
}

#[test]
fn closing_a_connection_keeps_the_other_copys_locks() {
    for journal_mode in ["wal", "delete"] {
        let scene = Scene::new().with_table(journal_mode);
        let other = OtherCopy::open(&scene.path);
        assert!(other.lock(libc::F_RDLCK, SHARED_FIRST));
        for _ in 0..3 {
            let connection = scene.connect();
            connection.busy_timeout(Duration::ZERO).expect("no waiting");
            connection.execute("INSERT INTO t VALUES (1)", []).ok();
            drop(connection);
            scene.let_the_pool_sweep();
        }
        assert!(OtherCopy::anybody_locks(&scene.path, SHARED_FIRST), "{journal_mode}: the lock is gone");
    }
}

#[test]
fn idle_descriptors_are_reused_and_closed_once_nobody_locks_the_file() {
    let scene = Scene::new().with_table("delete");
    assert_eq!(scene.descriptors(), 0, "nobody else has it: closed at once");
    let other = OtherCopy::open(&scene.path);
    assert!(other.lock(libc::F_RDLCK, SHARED_FIRST));
    for _ in 0..50 {
        let rows: i64 = scene.connect().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("rows");
        assert_eq!(rows, 0);
    }
    assert_eq!(scene.descriptors(), 3, "the other copy's, one of ours, and the carrier of our locks");
    assert!(other.lock(libc::F_UNLCK, SHARED_FIRST));
    scene.let_the_pool_sweep();
    assert_eq!(scene.descriptors(), 1, "only the other copy's");
}

#[test]
fn two_thousand_files_leave_no_descriptor_behind() {
    let scene = Scene::new();
    for index in 0..2000 {
        let path = scene.folder.path().join(format!("{index}.db"));
        let flags = if index % 2 == 0 { OpenFlags::default() } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
        if index % 2 == 1 {
            std::fs::write(&path, []).expect("an empty file");
        }
        let connection = Connection::open_with_flags(&path, flags).expect("a connection");
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).expect("a read");
        if index % 100 == 0 {
            connection.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t(x)").expect("a write");
        }
    }
    assert_eq!(scene.descriptors(), 0);
}

#[test]
fn a_deleted_and_recreated_file_is_another_file() {
    let scene = Scene::new().with_table("delete");
    let other = OtherCopy::open(&scene.path);
    assert!(other.lock(libc::F_RDLCK, SHARED_FIRST));
    drop(scene.connect());
    std::fs::remove_file(&scene.path).expect("deleted");
    let connection = scene.connect();
    connection.execute_batch("CREATE TABLE t(x)").expect("the new file has no table yet");
    drop(connection);
    assert_eq!(scene.connect().query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)), Ok(0));
}

#[test]
fn our_locks_and_the_other_copys_exclude_each_other() {
    let scene = Scene::new().with_table("delete");
    let other = OtherCopy::open(&scene.path);
    let connection = scene.connect();
    connection.busy_timeout(Duration::ZERO).expect("no waiting");
    connection.execute_batch("BEGIN IMMEDIATE").expect("our lock");
    assert!(!other.lock(libc::F_WRLCK, RESERVED_BYTE), "we hold it");
    connection.execute_batch("COMMIT").expect("unlocked");
    assert!(other.lock(libc::F_WRLCK, RESERVED_BYTE), "nobody holds it");
    assert!(connection.execute_batch("BEGIN IMMEDIATE").is_err(), "the other copy holds it");
    assert!(other.lock(libc::F_UNLCK, RESERVED_BYTE));
    connection.execute_batch("BEGIN IMMEDIATE; COMMIT").expect("ours again");
}

#[test]
fn the_last_close_drops_every_lock_even_while_descriptors_stay() {
    let scene = Scene::new().with_table("wal");
    let connection = scene.connect();
    connection.execute("INSERT INTO t VALUES (1)", []).expect("a write");
    let shm = scene.folder.path().join("app.db-shm");
    let other = OtherCopy::open(&shm);
    assert!(other.lock(libc::F_RDLCK, DMS_BYTE));
    drop(connection);
    assert!(scene.folder.path().join("app.db-wal").exists(), "the other copy uses it");
    assert!(other.lock(libc::F_UNLCK, DMS_BYTE));
    assert!(!OtherCopy::anybody_locks(&shm, DMS_BYTE), "ours went at our close");
    drop(scene.connect().query_row("SELECT count(*) FROM t", [], |_| Ok(())));
    assert!(!scene.folder.path().join("app.db-wal").exists(), "the last one to close tidies up");
}

#[test]
fn a_reader_that_comes_first_does_not_keep_a_writer_from_locking() {
    let scene = Scene::new().with_table("delete");
    let reader = Connection::open_with_flags(&scene.path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a reader");
    let count =
        |connection: &Connection| connection.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0));
    assert_eq!(count(&reader), Ok(0), "locks through a read-only descriptor");
    let writer = scene.connect();
    writer.execute("INSERT INTO t VALUES (1)", []).expect("a writable descriptor took over");
    assert_eq!(count(&reader), Ok(1));
    drop((reader, writer));
    assert_eq!(scene.descriptors(), 0);
}

#[test]
fn a_private_file_is_created_once_and_its_descriptor_is_the_one_that_sqlite_uses() {
    let scene = Scene::new();
    assert!(create_private(&scene.path).expect("created"));
    assert!(!create_private(&scene.path).expect("there already"));
    assert_eq!(std::fs::metadata(&scene.path).expect("it is there").permissions().mode() & 0o777, 0o600);
    assert!(scene.descriptors() <= 1);
    let connection = scene.connect();
    connection.execute_batch("CREATE TABLE t(x)").expect("a usable database");
    assert_eq!(scene.descriptors(), 2, "the created one, and the carrier of its locks");
    drop(connection);
    assert_eq!(scene.descriptors(), 0);
}

#[test]
fn an_open_file_can_be_held_synced_and_watched() {
    let scene = Scene::new().with_table("wal");
    assert!(opened(&scene.path).is_err(), "nobody has it open");
    let connection = scene.connect();
    connection.execute("INSERT INTO t VALUES (1)", []).expect("a write");
    let wal_path = scene.folder.path().join("app.db-wal");
    let wal = opened(&wal_path).expect("SQLite has it open");
    wal.sync_data().expect("synced");
    let metadata = std::fs::metadata(&wal_path).expect("its size");
    assert_eq!(wal.len().expect("a size"), metadata.size());
    wal.reserve(1 << 20).expect("space");
    assert!(wal.allocated().expect("a size") >= 1 << 20);
    assert_eq!(wal.len().expect("a size"), metadata.size(), "the size has not changed");
    assert!(wal.still_at_path());
    std::fs::rename(&wal_path, scene.folder.path().join("moved")).expect("moved");
    assert!(!wal.still_at_path());
    std::fs::write(&wal_path, b"").expect("another file");
    assert!(!wal.still_at_path(), "another file in its place");
    drop(connection);
    wal.sync_data().expect("still usable after SQLite closed it");
    drop(wal);
    scene.let_the_pool_sweep();
    assert_eq!(scene.descriptors(), 0);
    assert!(opened(&scene.path).is_err());
}

#[test]
fn many_threads_open_write_and_close_one_file_beside_the_other_copy() {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 60;
    for journal_mode in ["wal", "delete"] {
        let scene = Scene::new().with_table(journal_mode);
        let other = OtherCopy::open(&scene.path);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for round in 0..ROUNDS {
                        let connection = scene.connect();
                        connection.pragma_update(None, "synchronous", "OFF").expect("a fast test");
                        connection.execute("INSERT INTO t VALUES (1)", []).expect("a write");
                        if round % 8 == 0 {
                            let file = opened(&scene.path).expect("we have it open");
                            assert!(file.still_at_path());
                        }
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..ROUNDS * 4 {
                    if other.lock(libc::F_RDLCK, RESERVED_BYTE) {
                        std::thread::sleep(Duration::from_micros(100));
                        assert!(OtherCopy::anybody_locks(&scene.path, RESERVED_BYTE), "dropped by one of our closes");
                        other.lock(libc::F_UNLCK, RESERVED_BYTE);
                    }
                }
            });
        });
        let connection = scene.connect();
        let rows: u32 = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("rows");
        assert_eq!(rows, THREADS * ROUNDS);
        let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a verdict");
        assert_eq!(verdict, "ok");
    }
}

#[test]
fn nothing_can_be_locked_while_the_proof_holds() {
    let scene = Scene::new().with_table("delete");
    let other = OtherCopy::open(&scene.path);
    let path = os::c_path(&scene.path).expect("a path");
    let prover = os::open(&path, libc::O_RDWR, 0).expect("a descriptor");
    assert!(os::try_lock(prover, Lock::Exclusive, 0, 0).expect("an answer"));
    assert!(!other.lock(libc::F_RDLCK, SHARED_FIRST), "not before the last close");
    os::close(prover);
    assert!(other.lock(libc::F_RDLCK, SHARED_FIRST), "at once afterwards");
    files::install().expect("installing again is harmless");
}
