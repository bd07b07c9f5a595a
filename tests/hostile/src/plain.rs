//! Plain SQLite under the same recorder and checker: proves both on something whose behaviour is known.

use std::path::Path;

use rusqlite::{Connection, params};

use crate::history::{Entry, Event, Handed, Item, Outcome, Promise, Proof, SentItem, Verb};
use crate::journal::Journal;
use crate::random::{Random, hash};

const QUEUE: &str = "plain";
const SCOPE: &str = "plain/default";

fn body(number: u64, random: &mut Random) -> Vec<u8> {
    let mut body = format!("plain {number} ").into_bytes();
    body.resize(20 + random.index(2000), b'x');
    body
}

/// Commits rows, saying before and after each commit what it is about to promise and what it promised.
///
/// # Errors
/// Those of SQLite.
pub fn work(folder: &Path, synchronous: &str, commits: u64, seed: u64) -> rusqlite::Result<()> {
    let journal = Journal::append(&folder.join("run.history"), 1);
    let mut random = Random::new(seed);
    let mut connection = Connection::open(folder.join("queue.db"))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 25)?;
    connection.execute_batch("CREATE TABLE message (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")?;
    journal.note(Event::Queue {
        queue: QUEUE.to_owned(),
        promise: Promise::AtLeastOnce,
        subscriptions: vec!["default".to_owned()],
        attempts_max: 1,
        lease_ms: u64::MAX / 2,
    });
    for number in 0..commits {
        let bodies: Vec<Vec<u8>> = (0..=random.below(4)).map(|part| body(number * 10 + part, &mut random)).collect();
        let items = bodies.iter().map(|body| Item { key: None, hash: hash(body), ordering: None }).collect();
        let call = journal.call();
        journal.note(Event::SendBegin { call, queue: QUEUE.to_owned(), within: None, items });
        let transaction = connection.transaction()?;
        let mut sent = Vec::new();
        for body in &bodies {
            transaction.execute("INSERT INTO message (body) VALUES (?1)", [body])?;
            sent.push(SentItem { id: transaction.last_insert_rowid() as u64, duplicate: false });
        }
        transaction.commit()?;
        journal.note(Event::SendEnd { call, outcome: Outcome::Ok(sent) });
    }
    Ok(())
}

/// Looks at the rows that a power cut left.
pub fn audit(folder: &Path, journal: Journal) -> Vec<Entry> {
    match rows(folder) {
        Ok(all) => {
            let call = journal.call();
            let proofs = all.iter().map(|one| Proof { id: one.id, token: one.token }).collect();
            journal.note(Event::ReceiveBegin { call, scope: SCOPE.to_owned() });
            journal.note(Event::ReceiveEnd { call, outcome: Outcome::Ok(all) });
            let call = journal.call();
            journal.note(Event::SettleBegin { call, scope: SCOPE.to_owned(), verb: Verb::Ack, proofs });
            journal.note(Event::SettleEnd { call, outcome: Outcome::Ok(Vec::new()) });
        }
        // A cut before the first commit leaves no table; a send that was promised would show as lost.
        Err(error) if error.to_string().contains("no such table") => {}
        Err(error) => journal.note(Event::Damaged { text: error.to_string() }),
    }
    journal.note(Event::Drained { scope: SCOPE.to_owned() });
    journal.into_entries()
}

fn rows(folder: &Path) -> rusqlite::Result<Vec<Handed>> {
    let connection = Connection::open(folder.join("queue.db"))?;
    let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(rusqlite::Error::InvalidColumnName(verdict));
    }
    let mut statement = connection.prepare("SELECT id, body FROM message ORDER BY id")?;
    let rows = statement.query_map(params![], |row| {
        let body: Vec<u8> = row.get(1)?;
        let item = Item { key: None, hash: hash(&body), ordering: None };
        Ok(Handed { id: row.get::<_, i64>(0)? as u64, token: 1, attempt: 1, item })
    })?;
    rows.collect()
}
