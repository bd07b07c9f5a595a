//! Every statement the engine runs, by name. A test prepares each one and shows that no hot one scans a table.

// Queues and subscriptions.
pub(crate) const QUEUE_BY_NAME: &str = "SELECT id, semantics FROM onceward_queue WHERE name = ?1";
pub(crate) const QUEUE_BY_ID: &str =
    "SELECT name, semantics, window_ms, ordered, subscriptions FROM onceward_queue WHERE id = ?1";
pub(crate) const QUEUE_INSERT: &str = "INSERT INTO onceward_queue(name, semantics, lease_ms, attempts_max, \
    backoff_first_ms, backoff_factor, backoff_cap_ms, backoff_jitter, window_ms, created_at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
pub(crate) const QUEUE_SETTINGS: &str = "SELECT lease_ms, attempts_max, backoff_first_ms, backoff_factor, \
    backoff_cap_ms, backoff_jitter, window_ms, paused FROM onceward_queue WHERE id = ?1";
pub(crate) const QUEUE_CONFIGURE: &str = "UPDATE onceward_queue SET lease_ms = ?2, attempts_max = ?3, \
    backoff_first_ms = ?4, backoff_factor = ?5, backoff_cap_ms = ?6, backoff_jitter = ?7, window_ms = ?8 WHERE id = ?1";
pub(crate) const QUEUE_PAUSE: &str = "UPDATE onceward_queue SET paused = ?2 WHERE id = ?1";
pub(crate) const QUEUE_ORDERED: &str = "UPDATE onceward_queue SET ordered = 1 WHERE id = ?1";
pub(crate) const QUEUE_NAMES: &str = "SELECT name FROM onceward_queue ORDER BY name";
pub(crate) const QUEUE_SUBSCRIPTIONS_ADD: &str =
    "UPDATE onceward_queue SET subscriptions = subscriptions + ?2 WHERE id = ?1";
pub(crate) const SUBSCRIPTION_INSERT: &str =
    "INSERT INTO onceward_subscription(queue, name, created_at) VALUES (?1, ?2, ?3)";
pub(crate) const SUBSCRIPTION_BY_NAME: &str = "SELECT id FROM onceward_subscription WHERE queue = ?1 AND name = ?2";
pub(crate) const SUBSCRIPTION_NAMES: &str = "SELECT name FROM onceward_subscription WHERE queue = ?1 ORDER BY name";
pub(crate) const SUBSCRIPTION_IDS: &str = "SELECT id FROM onceward_subscription WHERE queue = ?1 ORDER BY id";
pub(crate) const SUBSCRIPTION_TERMS: &str = "SELECT s.queue, q.semantics, q.paused, q.ordered, q.subscriptions, \
    q.lease_ms, q.attempts_max, q.backoff_first_ms, q.backoff_factor, q.backoff_cap_ms, q.backoff_jitter, q.effects \
    FROM onceward_subscription AS s JOIN onceward_queue AS q ON q.id = s.queue WHERE s.id = ?1";
pub(crate) const SUBSCRIPTION_DELETE: &str = "DELETE FROM onceward_subscription WHERE id = ?1";
pub(crate) const SUBSCRIPTION_DEAD_ADD: &str = "UPDATE onceward_subscription SET dead = dead + ?2 WHERE id = ?1";
pub(crate) const SUBSCRIPTION_DEAD: &str = "SELECT dead FROM onceward_subscription WHERE id = ?1";

// Lanes and cursors.
pub(crate) const LANE_TAIL: &str = "SELECT l.id, max(l.next, coalesce((SELECT m.id + 1 FROM onceward_message AS m \
    WHERE m.id >= l.id << 38 AND m.id < (l.id + 1) << 38 ORDER BY m.id DESC LIMIT 1), 0)), \
    l.reserved FROM onceward_lane AS l WHERE l.queue = ?1 AND l.priority = ?2 ORDER BY l.id DESC LIMIT 1";
pub(crate) const LANE_LAST: &str = "SELECT coalesce(max(id), 0) FROM onceward_lane";
pub(crate) const LANE_INSERT: &str = "INSERT INTO onceward_lane(id, queue, priority, next) VALUES (?1, ?2, ?3, ?4)";
pub(crate) const LANE_NEXT_RAISE: &str = "UPDATE onceward_lane SET next = ?2 WHERE id = ?1 AND next < ?2 \
    AND NOT EXISTS (SELECT 1 FROM onceward_message WHERE id >= ?2 AND id < (?1 + 1) << 38)";
pub(crate) const LANE_RESERVE: &str = "UPDATE onceward_lane SET reserved = ?2 WHERE id = ?1";
pub(crate) const LANES_RESERVED: &str = "SELECT l.id, l.reserved, max(l.next, coalesce((SELECT m.id + 1 \
    FROM onceward_message AS m WHERE m.id >= l.id << 38 AND m.id < (l.id + 1) << 38 ORDER BY m.id DESC LIMIT 1), 0)) \
    FROM onceward_lane AS l WHERE l.reserved > l.next";
pub(crate) const LANE_SKIP: &str = "UPDATE onceward_lane SET next = ?2 WHERE id = ?1";
pub(crate) const LANE_GAPS_ADD: &str = "UPDATE onceward_cursor SET gaps = gaps + ?2 WHERE lane = ?1";
pub(crate) const LANE_QUEUE: &str = "SELECT queue FROM onceward_lane WHERE id = ?1";
pub(crate) const LANES_OF_QUEUE: &str = "SELECT l.id, max(l.next, coalesce((SELECT m.id + 1 \
    FROM onceward_message AS m WHERE m.id >= l.id << 38 AND m.id < (l.id + 1) << 38 ORDER BY m.id DESC LIMIT 1), 0)), \
    l.priority FROM onceward_lane AS l WHERE l.queue = ?1 ORDER BY l.priority, l.id";
pub(crate) const CURSOR_INSERT: &str = "INSERT INTO onceward_cursor(subscription, lane, next, gaps, token, token_reserved) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?5)";
pub(crate) const CURSORS: &str = "SELECT c.lane, l.priority, c.next, max(l.next, coalesce((SELECT m.id + 1 \
    FROM onceward_message AS m WHERE m.id >= l.id << 38 AND m.id < (l.id + 1) << 38 ORDER BY m.id DESC LIMIT 1), 0)), \
    c.gaps, c.token, c.token_reserved, l.reserved FROM onceward_cursor AS c JOIN onceward_lane AS l ON l.id = c.lane WHERE c.subscription = ?1 \
    ORDER BY l.priority, c.lane";
pub(crate) const CURSOR_OF_LANE: &str = "SELECT next FROM onceward_cursor WHERE subscription = ?1 AND lane = ?2";
pub(crate) const CURSOR_UPDATE: &str = "UPDATE onceward_cursor SET next = ?3, gaps = ?4, token = ?5, \
    token_reserved = ?6 WHERE subscription = ?1 AND lane = ?2";
pub(crate) const CURSOR_GAPS_ADD: &str =
    "UPDATE onceward_cursor SET gaps = gaps + ?3 WHERE subscription = ?1 AND lane = ?2";
pub(crate) const CURSOR_TO_END: &str =
    "UPDATE onceward_cursor SET next = ?3, gaps = 0 WHERE subscription = ?1 AND lane = ?2";
pub(crate) const CURSORS_DELETE: &str = "DELETE FROM onceward_cursor WHERE subscription = ?1";
pub(crate) const TOKENS_SKIP: &str = "UPDATE onceward_cursor SET token = token_reserved WHERE token < token_reserved";

// The log.
pub(crate) const MESSAGE_INSERT: &str = "INSERT INTO onceward_message(id, sent_at, due_at, expires_at, key, \
    ordering_key, headers, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
pub(crate) const MESSAGES_INSERT: &str = "INSERT INTO onceward_message(id, sent_at, due_at, expires_at, key, \
    ordering_key, headers, body) SELECT id, ?1, due_at, expires_at, key, ordering_key, headers, body FROM onceward_sending";
pub(crate) const MESSAGES_INSERT_PLAIN: &str =
    "INSERT INTO onceward_message(id, sent_at, body) SELECT id, ?1, body FROM onceward_sending";
pub(crate) const MESSAGES_BETWEEN: &str = "SELECT id, sent_at, due_at, expires_at, key, ordering_key, headers, body \
    FROM onceward_message WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3";
pub(crate) const MESSAGE_HEADS_BETWEEN: &str = "SELECT id, sent_at, due_at, expires_at, key, ordering_key, NULL, x'' \
    FROM onceward_message WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3";
pub(crate) const MESSAGE_IDS_BETWEEN: &str =
    "SELECT id FROM onceward_message WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3";
pub(crate) const MESSAGES_COUNT_BETWEEN: &str = "SELECT count(*) FROM onceward_message WHERE id >= ?1 AND id < ?2";
pub(crate) const MESSAGE_ORDERING_KEY: &str = "SELECT ordering_key FROM onceward_message WHERE id = ?1";
pub(crate) const MESSAGE_EXISTS: &str = "SELECT 1 FROM onceward_message WHERE id = ?1";
pub(crate) const MESSAGE_SENT_AT: &str =
    "SELECT sent_at FROM onceward_message WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 1";
pub(crate) const MESSAGES_DELETE: &str = "DELETE FROM onceward_message WHERE id >= ?1 AND id < ?2";
pub(crate) const MESSAGE_EXPIRY_CLEAR: &str = "UPDATE onceward_message SET expires_at = NULL WHERE id = ?1";
pub(crate) const MESSAGES_EXPIRED: &str = "SELECT expires_at, id FROM onceward_message \
    WHERE expires_at IS NOT NULL AND expires_at <= ?1 AND (expires_at, id) > (?2, ?3) ORDER BY expires_at, id LIMIT ?4";
pub(crate) const MESSAGES_DELAYED_COUNT: &str = "SELECT count(*) FROM onceward_message \
    WHERE due_at IS NOT NULL AND id >> 38 = ?1 AND due_at > ?2 AND id >= ?3";

// Pending intervals.
pub(crate) const PENDING_INSERT: &str = "INSERT INTO onceward_pending(subscription, lo, hi, lane, due_at, attempt, \
    token, owner, piece, ready_at, error) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
pub(crate) const PENDING_DELETE: &str = "DELETE FROM onceward_pending WHERE subscription = ?1 AND lo = ?2";
pub(crate) const PENDING_DUE_WAITING: &str = "SELECT lo, hi, due_at, attempt, token, owner, piece, ready_at, error FROM onceward_pending \
    WHERE subscription = ?1 AND lane = ?2 AND due_at <= ?3 AND owner IS NULL ORDER BY due_at, lo LIMIT ?4";
pub(crate) const PENDING_DUE_LEASED: &str = "SELECT lo, hi, due_at, attempt, token, owner, piece, ready_at, error FROM onceward_pending \
    WHERE subscription = ?1 AND lane = ?2 AND due_at <= ?3 AND owner IS NOT NULL ORDER BY due_at, lo LIMIT ?4";
pub(crate) const PENDING_AT: &str = "SELECT lo, hi, due_at, attempt, token, owner, piece, ready_at, error FROM onceward_pending \
    WHERE subscription = ?1 AND lo <= ?2 ORDER BY lo DESC LIMIT 1";
pub(crate) const PENDING_FROM: &str = "SELECT lo, hi, due_at, attempt, token, owner, piece, ready_at, error FROM onceward_pending \
    WHERE subscription = ?1 AND lo >= ?2 AND lo < ?3 ORDER BY lo LIMIT ?4";
pub(crate) const PENDING_NEXT_WAITING: &str = "SELECT min(due_at) FROM onceward_pending \
    WHERE subscription = ?1 AND lane = ?2 AND due_at > ?3 AND owner IS NULL";
pub(crate) const PENDING_NEXT_LEASED: &str = "SELECT min(due_at) FROM onceward_pending \
    WHERE subscription = ?1 AND lane = ?2 AND due_at > ?3 AND owner IS NOT NULL";
pub(crate) const PENDING_SUMS: &str = "SELECT \
    coalesce(sum(iif(owner IS NOT NULL AND due_at > ?3, hi - lo, 0)), 0), \
    coalesce(sum(iif(owner IS NULL AND due_at > ?3 AND due_at < ?4 - 1, hi - lo, 0)), 0), \
    coalesce(sum(iif(due_at = ?4, hi - lo, 0)), 0), \
    coalesce(sum(iif(due_at <= ?3, hi - lo, 0)), 0), min(lo) \
    FROM onceward_pending WHERE subscription = ?1 AND lo >= ?2 << 38 AND lo < (?2 + 1) << 38";
pub(crate) const PENDING_OF_OWNER: &str =
    "SELECT subscription, lo FROM onceward_pending WHERE owner IS NOT NULL AND owner = ?1 AND due_at > ?2";
pub(crate) const PENDING_DUE_SET: &str = "UPDATE onceward_pending SET due_at = ?3 WHERE subscription = ?1 AND lo = ?2";
pub(crate) const PENDING_DELETE_UNLEASED: &str = "DELETE FROM onceward_pending \
    WHERE subscription = ?1 AND lo >= ?2 << 38 AND lo < (?2 + 1) << 38 AND (owner IS NULL OR due_at <= ?3) \
    AND due_at <> ?4 AND ready_at IS NOT ?4";
pub(crate) const PENDING_DELETE_ALL: &str = "DELETE FROM onceward_pending WHERE subscription = ?1";

// Ordering keys.
pub(crate) const ORDER_INSERT: &str = "INSERT INTO onceward_order(subscription, key, id) VALUES (?1, ?2, ?3)";
pub(crate) const ORDER_NTH: &str =
    "SELECT id FROM onceward_order WHERE subscription = ?1 AND key = ?2 ORDER BY id LIMIT 1 OFFSET ?3";
pub(crate) const ORDER_AFTER: &str =
    "SELECT id FROM onceward_order WHERE subscription = ?1 AND key = ?2 AND id > ?3 ORDER BY id LIMIT ?4";
pub(crate) const ORDER_BETWEEN: &str =
    "SELECT key, id FROM onceward_order WHERE subscription = ?1 AND id >= ?2 AND id < ?3 ORDER BY id";
pub(crate) const ORDER_DELETE_BETWEEN: &str =
    "DELETE FROM onceward_order WHERE subscription = ?1 AND id >= ?2 AND id < ?3";
pub(crate) const ORDER_DELETE_ALL: &str = "DELETE FROM onceward_order WHERE subscription = ?1";

// Dead letters.
pub(crate) const DEAD_INSERT: &str = "INSERT INTO onceward_dead(subscription, id, attempts, reason, error, died_at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
pub(crate) const DEAD_GET: &str = "SELECT attempts FROM onceward_dead WHERE subscription = ?1 AND id = ?2";
pub(crate) const DEAD_IDS_BETWEEN: &str =
    "SELECT id FROM onceward_dead WHERE subscription = ?1 AND id >= ?2 AND id < ?3 ORDER BY id";
pub(crate) const DEAD_LIST: &str = "SELECT d.id, d.attempts, d.reason, d.error, d.died_at, m.sent_at, m.key, \
    m.ordering_key, m.headers, m.body FROM onceward_dead AS d JOIN onceward_message AS m ON m.id = d.id \
    WHERE d.subscription = ?1 AND d.id > ?2 ORDER BY d.id LIMIT ?3";
pub(crate) const DEAD_AFTER: &str =
    "SELECT id FROM onceward_dead WHERE subscription = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
pub(crate) const DEAD_DELETE: &str = "DELETE FROM onceward_dead WHERE subscription = ?1 AND id = ?2";
pub(crate) const DEAD_DELETE_ALL: &str = "DELETE FROM onceward_dead WHERE subscription = ?1";

// The ledger.
pub(crate) const LEDGER_GET: &str =
    "SELECT message, fingerprint, expires_at FROM onceward_ledger WHERE scope = ?1 AND key = ?2";
pub(crate) const LEDGER_PUT: &str = "INSERT INTO onceward_ledger(scope, key, message, fingerprint, expires_at) \
    VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT(scope, key) DO UPDATE SET message = excluded.message, \
    fingerprint = excluded.fingerprint, expires_at = excluded.expires_at";
pub(crate) const LEDGER_PUT_MANY: &str = "INSERT INTO onceward_ledger(scope, key, message, fingerprint, expires_at) \
    SELECT ?1, key, id, fingerprint, ?2 FROM onceward_sending WHERE key IS NOT NULL \
    ON CONFLICT(scope, key) DO UPDATE SET message = excluded.message, \
    fingerprint = excluded.fingerprint, expires_at = excluded.expires_at";
pub(crate) const LEDGER_FORGET: &str = "DELETE FROM onceward_ledger WHERE (scope, key) IN (SELECT scope, key \
    FROM onceward_ledger WHERE expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";

// Effects at third parties.
pub(crate) const QUEUE_EFFECTS: &str = "UPDATE onceward_queue SET effects = 1 WHERE id = ?1";
pub(crate) const EFFECT_GET: &str = "SELECT id, state, owner, ticket, process, unsure, called_at, called_boot, \
    called_steady, doubt, doubt_at, doubt_boot, doubt_steady, error, request, expires_at, idempotent \
    FROM onceward_effect WHERE scope = ?1 AND message = ?2 AND name = ?3";
pub(crate) const EFFECT_RESULT: &str = "SELECT result FROM onceward_effect WHERE id = ?1";
pub(crate) const EFFECT_INSERT: &str = "INSERT INTO onceward_effect(scope, message, name, state, owner, ticket, process, \
    unsure, called_at, called_boot, called_steady, request, idempotent) \
    VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, 0, ?7, ?8, ?9, ?10, ?11)";
pub(crate) const EFFECT_START: &str = "UPDATE onceward_effect SET state = 1, owner = ?2, ticket = ?3, process = ?4, \
    unsure = ?5, called_at = ?6, called_boot = ?7, called_steady = ?8, request = coalesce(?9, request), \
    idempotent = ?10, error = NULL, expires_at = NULL, result = NULL WHERE id = ?1";
pub(crate) const EFFECT_END: &str = "UPDATE onceward_effect SET state = ?2, error = ?3, result = ?4, expires_at = ?5, \
    unsure = 0 WHERE id = ?1";
pub(crate) const EFFECT_DOUBT: &str = "UPDATE onceward_effect SET state = 4, doubt = ?2, doubt_at = ?3, \
    doubt_boot = ?4, doubt_steady = ?5, error = ?6, result = NULL, expires_at = NULL WHERE id = ?1";
pub(crate) const EFFECT_NOTICED: &str = "UPDATE onceward_effect SET doubt_boot = ?2, doubt_steady = ?3 WHERE id = ?1";
pub(crate) const EFFECT_DELETE: &str = "DELETE FROM onceward_effect WHERE id = ?1";
pub(crate) const EFFECTS_STARTED: &str = "SELECT id FROM onceward_effect WHERE owner = ?1 AND state = 1";
pub(crate) const EFFECTS_DELETE_BETWEEN: &str = "DELETE FROM onceward_effect \
    WHERE scope = ?1 AND message >= ?2 AND message < ?3 AND state NOT IN (1, 4)";
pub(crate) const EFFECT_OPEN: &str = "SELECT name FROM onceward_effect \
    WHERE scope = ?1 AND message = ?2 AND state IN (1, 4) ORDER BY name LIMIT 1";
pub(crate) const EFFECTS_FORGET: &str = "DELETE FROM onceward_effect WHERE id IN (SELECT id FROM onceward_effect \
    WHERE expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";
pub(crate) const EFFECT_OF_DOUBT: &str =
    "SELECT scope, message, name FROM onceward_effect WHERE state = 4 AND doubt = ?1";
pub(crate) const EFFECT_NAMES: &str = "SELECT (SELECT q.name FROM onceward_lane AS n \
    JOIN onceward_queue AS q ON q.id = n.queue WHERE n.id = ?2 >> 38), \
    (SELECT name FROM onceward_subscription WHERE id = ?1), (SELECT name FROM onceward_effect_ledger WHERE id = -?1)";
pub(crate) const DOUBT_NEXT: &str =
    "UPDATE onceward_meta SET next_doubt = next_doubt + 1 WHERE id = 1 RETURNING next_doubt - 1";
pub(crate) const DOUBT_LAST: &str = "SELECT next_doubt - 1 FROM onceward_meta WHERE id = 1";
pub(crate) const FILE_ID: &str = "SELECT file_id FROM onceward_meta WHERE id = 1";
pub(crate) const INSTANCE_SLOT: &str = "SELECT slot FROM onceward_instance WHERE id = ?1";
pub(crate) const IN_DOUBT_LIST: &str = "SELECT e.doubt, e.scope, e.message, e.name, e.doubt_at, e.called_at, e.error, \
    e.process, q.name, s.name, l.name, m.key FROM onceward_effect AS e \
    LEFT JOIN onceward_message AS m ON m.id = e.message LEFT JOIN onceward_lane AS n ON n.id = e.message >> 38 LEFT JOIN onceward_queue AS q ON q.id = n.queue \
    LEFT JOIN onceward_subscription AS s ON s.id = e.scope LEFT JOIN onceward_effect_ledger AS l ON l.id = -e.scope \
    WHERE e.state = 4 AND e.doubt > ?1 ORDER BY e.doubt LIMIT ?2";
pub(crate) const IN_DOUBT_COUNT: &str = "SELECT count(*) FROM onceward_effect WHERE scope = ?1 AND state = 4";
pub(crate) const IN_DOUBT_COUNT_ALL: &str = "SELECT count(*) FROM onceward_effect WHERE state = 4";
pub(crate) const LEDGER_BY_NAME: &str = "SELECT id, window_ms FROM onceward_effect_ledger WHERE name = ?1";
pub(crate) const LEDGER_WINDOW: &str = "SELECT window_ms FROM onceward_effect_ledger WHERE id = ?1";
pub(crate) const LEDGER_INSERT: &str =
    "INSERT INTO onceward_effect_ledger(name, window_ms, created_at) VALUES (?1, ?2, ?3)";
pub(crate) const LEDGER_CONFIGURE: &str = "UPDATE onceward_effect_ledger SET window_ms = ?2 WHERE id = ?1";
pub(crate) const LEDGER_NAMES: &str = "SELECT name FROM onceward_effect_ledger ORDER BY name";
pub(crate) const RESOLUTION_INSERT: &str = "INSERT INTO onceward_resolution(doubt, queue, subscription, message, ledger, \
    name, doubt_at, error, applied, result, evidence, actor, resolved_at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
pub(crate) const RESOLUTION_GET: &str = "SELECT applied, result, actor FROM onceward_resolution WHERE doubt = ?1";
pub(crate) const RESOLUTION_LIST: &str = "SELECT doubt, queue, subscription, message, ledger, name, doubt_at, error, \
    result, evidence, actor, resolved_at FROM onceward_resolution WHERE doubt > ?1 ORDER BY doubt LIMIT ?2";

// What programs did through the views of the file.
pub(crate) const FOREIGN_FIRST: &str = "SELECT id, verb, subscription, message, at, delay_ms, headers \
    FROM onceward_foreign ORDER BY id LIMIT ?1";
pub(crate) const FOREIGN_DELETE: &str = "DELETE FROM onceward_foreign WHERE id <= ?1";
pub(crate) const MESSAGE_KEYED_BODY: &str = "SELECT key, body FROM onceward_message WHERE id = ?1 AND key IS NOT NULL";
pub(crate) const MESSAGE_HEADERS_SET: &str = "UPDATE onceward_message SET headers = ?2 WHERE id = ?1";
pub(crate) const LEDGER_FINGERPRINT: &str = "UPDATE onceward_ledger SET fingerprint = ?4 \
    WHERE scope = ?1 AND key = ?2 AND message = ?3 AND fingerprint IS NULL";
pub(crate) const ANY_FOREIGN: &str = "SELECT 1 FROM onceward_foreign LIMIT 1";

// Instances and trash.
pub(crate) const INSTANCE_NEXT: &str =
    "UPDATE onceward_meta SET next_instance = next_instance + 1 WHERE id = 1 RETURNING next_instance - 1";
pub(crate) const INSTANCE_DELETE_SLOT: &str = "DELETE FROM onceward_instance WHERE slot = ?1 RETURNING id";
pub(crate) const INSTANCE_INSERT: &str =
    "INSERT INTO onceward_instance(id, slot, process, opened_at) VALUES (?1, ?2, ?3, ?4)";
pub(crate) const INSTANCE_DELETE: &str = "DELETE FROM onceward_instance WHERE id = ?1";
pub(crate) const INSTANCES_OTHER: &str = "SELECT id, slot FROM onceward_instance WHERE id <> ?1 ORDER BY id";
pub(crate) const TRASH_INSERT: &str = "INSERT INTO onceward_trash(lo, hi, queue) VALUES (?1, ?2, ?3) \
    ON CONFLICT(lo) DO UPDATE SET hi = max(hi, excluded.hi)";
pub(crate) const TRASH_FIRST: &str = "SELECT lo, hi, queue FROM onceward_trash ORDER BY lo LIMIT 1";
pub(crate) const TRASH_DELETE: &str = "DELETE FROM onceward_trash WHERE lo = ?1";

pub(crate) const ANY_EXPIRED: &str =
    "SELECT 1 FROM onceward_message WHERE expires_at IS NOT NULL AND expires_at <= ?1 LIMIT 1";
pub(crate) const ANY_FORGOTTEN: &str =
    "SELECT 1 FROM onceward_ledger WHERE expires_at IS NOT NULL AND expires_at <= ?1 LIMIT 1";
pub(crate) const ANY_EFFECT_FORGOTTEN: &str =
    "SELECT 1 FROM onceward_effect WHERE expires_at IS NOT NULL AND expires_at <= ?1 LIMIT 1";
pub(crate) const ANY_TRASH: &str = "SELECT 1 FROM onceward_trash WHERE ?1 IS NOT NULL LIMIT 1";
pub(crate) const PAGE_COUNT: &str = "PRAGMA page_count";
pub(crate) const FREELIST_COUNT: &str = "PRAGMA freelist_count";

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    /// Every statement of this file, by name, as they stand in its text: none can be forgotten.
    fn statements() -> Vec<(String, String)> {
        let text = include_str!("sql.rs").split("#[cfg(test)]").next().expect("the statements come first");
        let mut found = Vec::new();
        for part in text.split("pub(crate) const ").skip(1) {
            let (name, rest) = part.split_once(": &str =").expect("a name and a type");
            let quoted = rest.split_once('"').and_then(|(_, rest)| rest.split_once("\";")).expect("a literal").0;
            found.push((name.to_owned(), quoted.replace("\\\n", " ")));
        }
        found
    }

    /// Statements that may read a whole table, because they run rarely or the table is small: queues, lanes, instances,
    /// leases, when a holder has died, and what came in through SQL since the last commit; or because they are to write all
    /// of it: the messages of a send.
    const MAY_SCAN: [&str; 15] = [
        "MESSAGES_INSERT",
        "MESSAGES_INSERT_PLAIN",
        "LEDGER_PUT_MANY",
        "FOREIGN_FIRST",
        "ANY_FOREIGN",
        "QUEUE_NAMES",
        "LANE_LAST",
        "TOKENS_SKIP",
        "LANES_RESERVED",
        "LANE_GAPS_ADD",
        "INSTANCES_OTHER",
        "IN_DOUBT_COUNT_ALL",
        "ANY_TRASH",
        "TRASH_FIRST",
        "PENDING_OF_OWNER",
    ];

    /// Statements that sort a handful of rows: a queue's subscriptions or lanes.
    const MAY_SORT: [&str; 2] = ["SUBSCRIPTION_IDS", "CURSORS"];

    #[test]
    fn every_statement_prepares_and_no_hot_one_scans_a_table() {
        let conn = Connection::open_in_memory().expect("opens");
        crate::storage::schema::migrate(&conn).expect("migrates");
        crate::engine::sending::Sending::attach(&conn).expect("attaches");
        let statements = statements();
        assert!(statements.len() > 70, "{} statements were found", statements.len());
        for (name, sql) in statements.iter().filter(|(_, sql)| !sql.starts_with("PRAGMA")) {
            let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap_or_else(|e| panic!("{name}: {e}"));
            let parameters = plan.parameter_count();
            let steps: Vec<String> = plan
                .query_map(rusqlite::params_from_iter((0..parameters).map(|_| 1)), |row| row.get(3))
                .and_then(Iterator::collect)
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            let scans = steps.iter().any(|step| step.starts_with("SCAN") && !step.contains("CONSTANT"));
            // A partial index holds only the rows it is asked for.
            let partial = steps.iter().any(|step| step.contains("USING COVERING INDEX"));
            let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE"));
            assert!(!scans || partial || MAY_SCAN.contains(&name.as_str()), "{name} scans: {steps:?}");
            assert!(!sorts || MAY_SORT.contains(&name.as_str()), "{name} sorts: {steps:?}");
        }
    }
}
