//! The tables, and the forward-only migrations between their versions.
//!
//! In a file that Onceward created, `application_id` and `user_version` are Onceward's. In a file that an application
//! created first, both stay the application's, and the version is the one in `onceward_meta`.

use rusqlite::{Connection, OptionalExtension};

use crate::error::{Error, ErrorKind, Result};
use crate::storage::convert::storage_error;
use crate::storage::interface::INTERFACE;

/// `application_id` of a file that Onceward created: "ONCE" in ASCII.
pub(crate) const APPLICATION_ID: i64 = 0x4F4E_4345;
/// The newest version of the tables that this library reads and writes.
pub(crate) const VERSION: i64 = 1;

/// Migration `n` brings version `n` to version `n + 1`.
const MIGRATIONS: [[&str; 2]; VERSION as usize] = [[CREATE, INTERFACE]];

const CREATE: &str = "
CREATE TABLE onceward_meta(
  id INTEGER PRIMARY KEY CONSTRAINT one_row CHECK (id = 1),
  version INTEGER NOT NULL,
  next_instance INTEGER NOT NULL,
  next_doubt INTEGER NOT NULL,
  file_id BLOB NOT NULL
) STRICT;
INSERT INTO onceward_meta(id, version, next_instance, next_doubt, file_id) VALUES (1, 0, 1, 1, randomblob(16));

CREATE TABLE onceward_queue(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  semantics INTEGER NOT NULL CONSTRAINT semantics_known CHECK (semantics BETWEEN 0 AND 2),
  lease_ms INTEGER NOT NULL CONSTRAINT lease_in_range CHECK (lease_ms BETWEEN 1 AND 43200000),
  attempts_max INTEGER CONSTRAINT attempts_positive CHECK (attempts_max >= 1),
  backoff_first_ms INTEGER NOT NULL,
  backoff_factor REAL NOT NULL,
  backoff_cap_ms INTEGER NOT NULL,
  backoff_jitter REAL NOT NULL,
  window_ms INTEGER,
  paused INTEGER NOT NULL DEFAULT 0,
  ordered INTEGER NOT NULL DEFAULT 0,
  effects INTEGER NOT NULL DEFAULT 0,
  subscriptions INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL
) STRICT;

-- A lane is one priority of one queue, or the continuation of a full one. The next message gets the id after its last
-- message's, but at least `next`, which is raised when the last message goes: a send writes no row here. Ids below
-- `reserved` may have been handed over before they were on disk: after a power loss they are not given to others.
CREATE TABLE onceward_lane(
  id INTEGER PRIMARY KEY CONSTRAINT lane_in_range CHECK (id BETWEEN 1 AND 32767),
  queue INTEGER NOT NULL,
  priority INTEGER NOT NULL CONSTRAINT priority_in_range CHECK (priority BETWEEN 0 AND 9),
  next INTEGER NOT NULL CONSTRAINT next_in_lane CHECK (next > (id << 38) AND next <= ((id + 1) << 38)),
  reserved INTEGER NOT NULL DEFAULT 0 CONSTRAINT reserved_in_lane CHECK (reserved <= ((id + 1) << 38))
) STRICT;
CREATE INDEX onceward_lane_queue ON onceward_lane(queue, priority, id);

-- Numbers are not used twice: a handle or a receipt of an ended subscription must never act on another.
CREATE TABLE onceward_subscription(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  queue INTEGER NOT NULL,
  name TEXT NOT NULL,
  dead INTEGER NOT NULL DEFAULT 0 CONSTRAINT dead_not_negative CHECK (dead >= 0),
  created_at INTEGER NOT NULL,
  UNIQUE (queue, name)
) STRICT;

-- Everything at or past `next` has never been looked at. Of the ids from there to the lane's next, `gaps` have lost their
-- message. `token` is the last one handed out; tokens up to `token_reserved` may have been before a power loss.
CREATE TABLE onceward_cursor(
  subscription INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  next INTEGER NOT NULL,
  gaps INTEGER NOT NULL DEFAULT 0 CONSTRAINT gaps_not_negative CHECK (gaps >= 0),
  token INTEGER NOT NULL DEFAULT 0,
  token_reserved INTEGER NOT NULL DEFAULT 0 CONSTRAINT token_within_reserve CHECK (token <= token_reserved),
  PRIMARY KEY (subscription, lane)
) STRICT, WITHOUT ROWID;

-- The log. A row stays until every subscription is done with it.
CREATE TABLE onceward_message(
  id INTEGER PRIMARY KEY,
  sent_at INTEGER NOT NULL,
  due_at INTEGER,
  expires_at INTEGER,
  key TEXT,
  ordering_key TEXT,
  headers BLOB,
  body BLOB NOT NULL
) STRICT;
CREATE INDEX onceward_message_due ON onceward_message(id >> 38, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX onceward_message_expiry ON onceward_message(expires_at, id) WHERE expires_at IS NOT NULL;

-- Intervals of ids before the cursor that are not finished; each id of one has its message. A holder's lease has an
-- `owner`; without one the interval waits. Anyone may take it once it is due. `piece`, where set, is the most of it to
-- be leased together, because its holder was lost. What waits for an earlier message of its ordering key is due at the end
-- of time, and `ready_at` keeps when it was due before.
CREATE TABLE onceward_pending(
  subscription INTEGER NOT NULL,
  lo INTEGER NOT NULL,
  hi INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  attempt INTEGER NOT NULL CONSTRAINT attempt_not_negative CHECK (attempt >= 0),
  token INTEGER NOT NULL,
  owner INTEGER,
  piece INTEGER CONSTRAINT piece_positive CHECK (piece >= 1),
  ready_at INTEGER,
  error TEXT,
  PRIMARY KEY (subscription, lo),
  CONSTRAINT not_empty CHECK (lo < hi),
  CONSTRAINT in_its_lane CHECK (lo >> 38 = lane AND (hi - 1) >> 38 = lane)
) STRICT, WITHOUT ROWID;
-- Disjoint, so that an interval is written to one of them only.
CREATE INDEX onceward_pending_waiting ON onceward_pending(subscription, lane, due_at) WHERE owner IS NULL;
CREATE INDEX onceward_pending_leased ON onceward_pending(subscription, lane, due_at) WHERE owner IS NOT NULL;

-- Messages with an ordering key that were looked at and are not finished, in their order.
CREATE TABLE onceward_order(
  subscription INTEGER NOT NULL,
  key TEXT NOT NULL,
  id INTEGER NOT NULL,
  PRIMARY KEY (subscription, key, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX onceward_order_id ON onceward_order(subscription, id);

CREATE TABLE onceward_dead(
  subscription INTEGER NOT NULL,
  id INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  reason TEXT NOT NULL,
  error TEXT,
  died_at INTEGER NOT NULL,
  PRIMARY KEY (subscription, id)
) STRICT, WITHOUT ROWID;

-- The deduplication ledger: which message a key stands for. It outlives the message. The fingerprint of a body that was
-- sent through SQL is missing until the next commit of a store.
CREATE TABLE onceward_ledger(
  scope INTEGER NOT NULL,
  key TEXT NOT NULL,
  message INTEGER NOT NULL,
  fingerprint BLOB,
  expires_at INTEGER,
  PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX onceward_ledger_expiry ON onceward_ledger(expires_at) WHERE expires_at IS NOT NULL;

-- Effects at third parties. Of a message: `scope` is the subscription; of a ledger: its number, negated, and no message.
-- `state`: 0 intended, 1 started, 2 done, 3 failed, 4 in doubt. A started one is its owner's, by the owner's `ticket`. `unsure`
-- says that an earlier call may have happened, `idempotent` that all that may have were declared so. Each time it comes to be
-- in doubt it gets a number of its own, so that nobody resolves another doubt than the one looked into. The `boot` and `steady`
-- columns are of the clock that nobody can set.
CREATE TABLE onceward_effect(
  id INTEGER PRIMARY KEY,
  scope INTEGER NOT NULL,
  message INTEGER NOT NULL,
  name TEXT NOT NULL,
  state INTEGER NOT NULL CONSTRAINT state_known CHECK (state BETWEEN 0 AND 4),
  owner INTEGER NOT NULL,
  ticket INTEGER NOT NULL,
  process INTEGER NOT NULL,
  unsure INTEGER NOT NULL,
  idempotent INTEGER NOT NULL,
  called_at INTEGER NOT NULL,
  called_boot INTEGER NOT NULL,
  called_steady INTEGER NOT NULL,
  doubt INTEGER,
  doubt_at INTEGER,
  doubt_boot INTEGER,
  doubt_steady INTEGER,
  error TEXT,
  request BLOB,
  expires_at INTEGER,
  result BLOB,
  CONSTRAINT done_has_result CHECK ((state = 2) = (result IS NOT NULL)),
  CONSTRAINT in_doubt_has_number CHECK (state <> 4 OR doubt IS NOT NULL)
) STRICT;
CREATE UNIQUE INDEX onceward_effect_name ON onceward_effect(scope, message, name);
CREATE INDEX onceward_effect_started ON onceward_effect(owner) WHERE state = 1;
CREATE INDEX onceward_effect_in_doubt ON onceward_effect(scope) WHERE state = 4;
CREATE UNIQUE INDEX onceward_effect_doubt ON onceward_effect(doubt) WHERE state = 4;
CREATE INDEX onceward_effect_expiry ON onceward_effect(expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE onceward_effect_ledger(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  window_ms INTEGER,
  created_at INTEGER NOT NULL
) STRICT;

-- What people decided about effects in doubt, for ever; what it was about stands in words, for it may be gone.
CREATE TABLE onceward_resolution(
  doubt INTEGER PRIMARY KEY,
  queue TEXT,
  subscription TEXT,
  message INTEGER,
  ledger TEXT,
  name TEXT NOT NULL,
  doubt_at INTEGER NOT NULL,
  error TEXT,
  applied INTEGER NOT NULL,
  result BLOB,
  evidence TEXT NOT NULL,
  actor TEXT NOT NULL,
  resolved_at INTEGER NOT NULL,
  CONSTRAINT applied_has_result CHECK (applied = (result IS NOT NULL))
) STRICT;

-- Open stores. Each holds the lock on its slot for as long as it lives.
CREATE TABLE onceward_instance(
  id INTEGER PRIMARY KEY,
  slot INTEGER NOT NULL UNIQUE,
  process INTEGER NOT NULL,
  opened_at INTEGER NOT NULL
) STRICT;

-- Ranges of the log that a purge or an ended subscription left behind, to be cleared little by little.
CREATE TABLE onceward_trash(
  lo INTEGER PRIMARY KEY,
  hi INTEGER NOT NULL,
  queue INTEGER NOT NULL
) STRICT;
";

/// Brings the file to [`VERSION`], in one transaction. The caller holds the side file's open guard.
///
/// # Errors
/// `Unsupported` for a newer file, `Invalid` for another application's, `Corrupt` for no database at all.
pub(crate) fn migrate(conn: &Connection) -> Result<()> {
    let from = version(conn)?;
    if from == Some(VERSION) {
        return Ok(());
    }
    let from = from.unwrap_or(0);
    let ours = is_ours(conn)? || is_empty(conn)?;
    let migrations = MIGRATIONS[from as usize..].concat().concat();
    let numbers = if ours {
        format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};")
    } else {
        String::new()
    };
    let sql = format!(
        "BEGIN IMMEDIATE; {migrations} UPDATE onceward_meta SET version = {VERSION} WHERE id = 1; {numbers} COMMIT;"
    );
    conn.execute_batch(&sql).map_err(|error| {
        let _ = conn.execute_batch("ROLLBACK");
        storage_error("creating the tables", &error)
    })
}

/// The version of the tables in the file; `None` when it has none yet.
pub(crate) fn version(conn: &Connection) -> Result<Option<i64>> {
    let application_id = pragma(conn, "application_id")?;
    if application_id != 0 && application_id != APPLICATION_ID && !has_tables(conn)? {
        return Err(Error::invalid(format!(
            "the file belongs to another application: its application_id is {application_id:#010x}; \
             onceward's is {APPLICATION_ID:#010x}, and 0 means nobody's"
        )));
    }
    let declared = if application_id == APPLICATION_ID { pragma(conn, "user_version")? } else { 0 };
    let found = if has_tables(conn)? {
        let stored: Option<i64> = conn
            .query_row("SELECT version FROM onceward_meta WHERE id = 1", [], |row| row.get(0))
            .optional()
            .map_err(|error| storage_error("reading the version", &error))?;
        stored.unwrap_or(0).max(declared)
    } else {
        declared
    };
    if found > VERSION {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("the file has format version {found}; this library reads up to {VERSION}"),
        ));
    }
    if !has_tables(conn)? {
        if declared > 0 {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("the file says it is onceward's, version {declared}, but has no onceward_meta table"),
            ));
        }
        return Ok(None);
    }
    Ok(Some(found))
}

fn is_ours(conn: &Connection) -> Result<bool> {
    Ok(pragma(conn, "application_id")? == APPLICATION_ID)
}

fn is_empty(conn: &Connection) -> Result<bool> {
    let objects: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| storage_error("reading the schema", &error))?;
    Ok(objects == 0 && pragma(conn, "user_version")? == 0 && pragma(conn, "application_id")? == 0)
}

fn has_tables(conn: &Connection) -> Result<bool> {
    conn.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'onceward_meta'", [], |row| row.get::<_, i64>(0))
        .map(|count| count > 0)
        .map_err(|error| storage_error("reading the schema", &error))
}

fn pragma(conn: &Connection, name: &str) -> Result<i64> {
    conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
        .map_err(|error| storage_error(&format!("reading {name}"), &error))
}
