//! The baseline: bare SQLite that does only what must reach the disk. It inserts the body, reads it, deletes it by range.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, params};

use crate::load::Tally;
use crate::measure::{Outcome, verify};

const FILL_BATCH: usize = 10_000;

/// Whether each commit waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// `synchronous=NORMAL`: commits do not wait, checkpoints do.
    Unsynced,
    /// `synchronous=FULL`: each commit waits.
    Synced,
}

impl Durability {
    const fn level(self) -> i64 {
        match self {
            Durability::Unsynced => 1,
            Durability::Synced => 2,
        }
    }
}

/// A table `t(id, body)` in a file of its own, in WAL mode.
#[derive(Debug)]
pub(crate) struct Bare {
    connection: Connection,
    last_taken: i64,
}

impl Bare {
    /// Opens the file, creating it when it is missing, and checks that the pragmas took.
    pub(crate) fn open(path: &Path, durability: Durability) -> Outcome<Self> {
        let connection = Connection::open(path)?;
        // Without it, SQLite prepares a statement anew whenever a bound LIMIT may change its plan.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", durability.level())?;
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        let level: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
        verify(mode == "wal" && level == durability.level(), || format!("journal_mode={mode}, synchronous={level}"))?;
        connection.execute_batch("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, body BLOB)")?;
        Ok(Bare { connection, last_taken: 0 })
    }

    /// Makes a file that holds these bodies, and opens it anew.
    pub(crate) fn filled(path: &Path, durability: Durability, count: usize) -> Outcome<Self> {
        let mut fill = Bare::open(path, Durability::Unsynced)?;
        for first in (0..count).step_by(FILL_BATCH) {
            let size = FILL_BATCH.min(count - first);
            for bodies in crate::load::batches(first as u64, size, size) {
                fill.insert(&bodies)?;
            }
        }
        drop(fill);
        Bare::open(path, durability)
    }

    /// Inserts the bodies in one commit.
    pub(crate) fn insert(&mut self, bodies: &[Vec<u8>]) -> Outcome<()> {
        if let [body] = bodies {
            return self.insert_one(body);
        }
        self.run("BEGIN IMMEDIATE")?;
        {
            let mut insert = self.connection.prepare_cached("INSERT INTO t(body) VALUES (?1)")?;
            for body in bodies {
                insert.execute([body])?;
            }
        }
        self.run("COMMIT")
    }

    /// Inserts one body in its own commit.
    pub(crate) fn insert_one(&mut self, body: &[u8]) -> Outcome<()> {
        self.connection.prepare_cached("INSERT INTO t(body) VALUES (?1)")?.execute([body])?;
        Ok(())
    }

    /// Reads up to `max` bodies in order, then deletes them by range in one commit.
    pub(crate) fn take(&mut self, max: usize, tally: &mut Tally) -> Outcome<usize> {
        let mut bodies: Vec<Vec<u8>> = Vec::with_capacity(max);
        let mut last = self.last_taken;
        {
            let mut select =
                self.connection.prepare_cached("SELECT id, body FROM t WHERE id > ?1 ORDER BY id LIMIT ?2")?;
            let mut rows = select.query(params![self.last_taken, max as i64])?;
            while let Some(row) = rows.next()? {
                last = row.get(0)?;
                bodies.push(row.get(1)?);
            }
        }
        for body in &bodies {
            tally.add(body)?;
        }
        let mut delete = self.connection.prepare_cached("DELETE FROM t WHERE id > ?1 AND id <= ?2")?;
        let deleted = delete.execute([self.last_taken, last])?;
        verify(deleted == bodies.len(), || format!("read {} rows, deleted {deleted}", bodies.len()))?;
        self.last_taken = last;
        Ok(bodies.len())
    }

    /// How many bodies the table holds.
    pub(crate) fn count(&self) -> Outcome<usize> {
        let count: i64 = self.connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?;
        Ok(count as usize)
    }

    /// An effect and the end of a message in one commit: what `transaction()` must bring to the disk.
    pub(crate) fn effect_and_delete(&mut self, effect: i64) -> Outcome<()> {
        self.run("BEGIN IMMEDIATE")?;
        self.connection.prepare_cached("INSERT INTO effect(number) VALUES (?1)")?.execute([effect])?;
        self.last_taken += 1;
        let deleted = self.connection.prepare_cached("DELETE FROM t WHERE id = ?1")?.execute([self.last_taken])?;
        verify(deleted == 1, || format!("no row {}", self.last_taken))?;
        self.run("COMMIT")
    }

    /// Creates the table of effects.
    pub(crate) fn create_effects(&mut self) -> Outcome<()> {
        self.connection.execute_batch("CREATE TABLE effect(number INTEGER)")?;
        Ok(())
    }

    fn run(&mut self, sql: &str) -> Outcome<()> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}
