-- The SQL interface: views that an application reads and writes with its own driver, in its own transactions.
--
-- Works from SQLite 3.37 on, with `trusted_schema` off (so without JSON). A trigger has no variables: it inserts what it found out into the next
-- view, whose trigger goes on with it. Everything is checked before the first write, for a statement of the application
-- may say OR IGNORE or OR REPLACE, which then holds for the constraints of the writes below it too. What is refused rolls
-- the application's whole transaction back; each text is `onceward: `, the kind of the error, and what is wrong.
--
-- A store's own transactions may use these views too: engine/guard.rs knows the names of the triggers, and of the WITH clauses
-- that read tables.
--
-- What needs the engine's rules is left to it in `onceward_foreign`: it does that work before anything else of its next
-- commit (engine/foreign.rs).

-- What programs did through these views and the engine has not seen yet. Verbs: 0 sent, 1 acknowledged, 2 given back,
-- 3 given back after its last attempt.
CREATE TABLE onceward_foreign(
  id INTEGER PRIMARY KEY,
  verb INTEGER NOT NULL CONSTRAINT verb_known CHECK (verb BETWEEN 0 AND 3),
  subscription INTEGER,
  message INTEGER NOT NULL,
  at INTEGER NOT NULL,
  delay_ms INTEGER,
  headers TEXT
) STRICT;
CREATE INDEX onceward_foreign_given_back ON onceward_foreign(subscription, message) WHERE verb = 2;

-- The constants of SHA-256, by round; the 65th step of a block adds up.
CREATE TABLE onceward_sha256(
  round INTEGER PRIMARY KEY,
  k INTEGER NOT NULL
) STRICT;
INSERT INTO onceward_sha256(round, k) VALUES
  (0, 1116352408), (1, 1899447441), (2, 3049323471), (3, 3921009573), (4, 961987163),
  (5, 1508970993), (6, 2453635748), (7, 2870763221), (8, 3624381080), (9, 310598401),
  (10, 607225278), (11, 1426881987), (12, 1925078388), (13, 2162078206), (14, 2614888103),
  (15, 3248222580), (16, 3835390401), (17, 4022224774), (18, 264347078), (19, 604807628),
  (20, 770255983), (21, 1249150122), (22, 1555081692), (23, 1996064986), (24, 2554220882),
  (25, 2821834349), (26, 2952996808), (27, 3210313671), (28, 3336571891), (29, 3584528711),
  (30, 113926993), (31, 338241895), (32, 666307205), (33, 773529912), (34, 1294757372),
  (35, 1396182291), (36, 1695183700), (37, 1986661051), (38, 2177026350), (39, 2456956037),
  (40, 2730485921), (41, 2820302411), (42, 3259730800), (43, 3345764771), (44, 3516065817),
  (45, 3600352804), (46, 4094571909), (47, 275423344), (48, 430227734), (49, 506948616),
  (50, 659060556), (51, 883997877), (52, 958139571), (53, 1322822218), (54, 1537002063),
  (55, 1747873779), (56, 1955562222), (57, 2024104815), (58, 2227730452), (59, 2361852424),
  (60, 2428436474), (61, 2756734187), (62, 3204031479), (63, 3329325298), (64, 0);

-- Refuses text that is not valid UTF-8: whoever reads it as text would fail.
CREATE VIEW onceward_check_text(value) AS SELECT NULL WHERE 0;
CREATE TRIGGER onceward_check_text_insert INSTEAD OF INSERT ON onceward_check_text BEGIN
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: text is not valid UTF-8')
    WHERE CAST(NEW.value AS BLOB) <> CAST((
      WITH RECURSIVE onceward_place(at) AS (
        SELECT 1 UNION ALL SELECT at + 1 FROM onceward_place WHERE at < length(NEW.value)
      )
      SELECT group_concat(char(unicode(substr(NEW.value, at, 1))), '') FROM onceward_place
    ) AS BLOB);
END;

-- Sending: the arguments, as they were given.
CREATE VIEW onceward_send(
  queue, key, body, headers, priority, delay_ms, due_at_ms, time_to_live_ms, ordering_key
) AS SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL WHERE 0;
CREATE TRIGGER onceward_send_insert INSTEAD OF INSERT ON onceward_send BEGIN
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: queue must be text') WHERE typeof(NEW.queue) <> 'text';
  SELECT RAISE(ROLLBACK, 'onceward: NotFound: unknown queue')
    WHERE NOT EXISTS (SELECT 1 FROM onceward_queue WHERE name = NEW.queue);
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: body is NULL') WHERE NEW.body IS NULL;
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: body is text; bytes (a BLOB) are meant') WHERE typeof(NEW.body) = 'text';
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: body is a number; bytes (a BLOB) are meant')
    WHERE typeof(NEW.body) IN ('integer', 'real');
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: body is longer than 1048576 bytes') WHERE length(NEW.body) > 1048576;
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: key must be text of 1 to 512 bytes without NUL characters')
    WHERE NEW.key IS NOT NULL AND (typeof(NEW.key) <> 'text'
      OR length(CAST(NEW.key AS BLOB)) NOT BETWEEN 1 AND 512 OR instr(NEW.key, char(0)) > 0);
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: ordering_key must be text of 1 to 512 bytes without NUL characters')
    WHERE NEW.ordering_key IS NOT NULL AND (typeof(NEW.ordering_key) <> 'text'
      OR length(CAST(NEW.ordering_key AS BLOB)) NOT BETWEEN 1 AND 512 OR instr(NEW.ordering_key, char(0)) > 0);
  INSERT INTO onceward_check_text(value) SELECT NEW.key WHERE NEW.key GLOB '*[^ -~]*';
  INSERT INTO onceward_check_text(value) SELECT NEW.ordering_key WHERE NEW.ordering_key GLOB '*[^ -~]*';
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: priority must be an integer from 0 to 9')
    WHERE NEW.priority IS NOT NULL AND (typeof(NEW.priority) <> 'integer' OR NEW.priority NOT BETWEEN 0 AND 9);
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: a priority other than 4 and an ordering_key exclude each other')
    WHERE NEW.ordering_key IS NOT NULL AND coalesce(NEW.priority, 4) <> 4;
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: delay_ms must be an integer from 0 to 316224000000')
    WHERE NEW.delay_ms IS NOT NULL AND (typeof(NEW.delay_ms) <> 'integer'
      OR NEW.delay_ms NOT BETWEEN 0 AND 316224000000);
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: due_at_ms must be an integer, at most 316224000000 from now')
    WHERE NEW.due_at_ms IS NOT NULL AND (typeof(NEW.due_at_ms) <> 'integer' OR NEW.due_at_ms
      > CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) + 316224000000);
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: delay_ms and due_at_ms exclude each other')
    WHERE NEW.delay_ms IS NOT NULL AND NEW.due_at_ms IS NOT NULL;
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: time_to_live_ms must be an integer from 1 to 316224000000')
    WHERE NEW.time_to_live_ms IS NOT NULL AND (typeof(NEW.time_to_live_ms) <> 'integer'
      OR NEW.time_to_live_ms NOT BETWEEN 1 AND 316224000000);
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: headers must be text without NUL characters and carriage returns')
    WHERE NEW.headers IS NOT NULL AND (typeof(NEW.headers) <> 'text'
      OR instr(NEW.headers, char(0)) > 0 OR instr(NEW.headers, char(13)) > 0);
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: headers take names of 1 to 512 bytes, and 65536 bytes in all')
    WHERE length(CAST(NEW.headers AS BLOB)) > 262144;
  INSERT INTO onceward_check_text(value) SELECT NEW.headers WHERE NEW.headers GLOB '*[^ -~]*';
  SELECT CASE
    WHEN min(instr(line, ':')) = 0
      THEN RAISE(ROLLBACK, 'onceward: Invalid: headers must have lines of a name, a colon, and a value')
    WHEN min(instr(line, ':')) = 1 OR max(length(CAST(substr(line, 1, instr(line, ':') - 1) AS BLOB))) > 512
        OR sum(length(CAST(line AS BLOB)) - 1 - (substr(line, instr(line, ':') + 1, 1) = ' ')) > 65536
      THEN RAISE(ROLLBACK, 'onceward: Invalid: headers take names of 1 to 512 bytes, and 65536 bytes in all')
    END
    FROM (
      WITH RECURSIVE onceward_line(line, rest) AS (
        SELECT NULL, NEW.headers
        UNION ALL
        SELECT substr(rest, 1, instr(rest || char(10), char(10)) - 1), substr(rest, instr(rest || char(10), char(10)) + 1)
        FROM onceward_line WHERE rest <> ''
      )
      SELECT line FROM onceward_line
    );
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: the queue is exactly-once: a key is required')
    WHERE NEW.key IS NULL AND 2 = (SELECT semantics FROM onceward_queue WHERE name = NEW.queue);
  INSERT INTO onceward_send_checked(
      queue, window_ms, now, key, body, headers, priority, due_at, expires_at, ordering_key)
    SELECT q.id, q.window_ms, clock.now, NEW.key, NEW.body, NEW.headers, coalesce(NEW.priority, 4),
      CASE WHEN NEW.delay_ms > 0 THEN clock.now + NEW.delay_ms WHEN NEW.due_at_ms > clock.now THEN NEW.due_at_ms END,
      clock.now + NEW.time_to_live_ms, NEW.ordering_key
    FROM onceward_queue AS q
      JOIN (SELECT CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) AS now) AS clock
    WHERE q.name = NEW.queue;
END;

-- Sending: new, a duplicate, or a conflict.
CREATE VIEW onceward_send_checked(
  queue, window_ms, now, key, body, headers, priority, due_at, expires_at, ordering_key
) AS SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL WHERE 0;
CREATE TRIGGER onceward_send_checked_insert INSTEAD OF INSERT ON onceward_send_checked BEGIN
  -- The body of a message that is still there is compared with it, that of one that is gone by its fingerprint.
  SELECT RAISE(ROLLBACK, 'onceward: Conflict: the key stands for a message with another body')
    FROM onceward_ledger AS l JOIN onceward_message AS m ON m.id = l.message
    WHERE l.scope = NEW.queue AND l.key = NEW.key AND coalesce(l.expires_at > NEW.now, 1) AND m.body <> NEW.body;
  SELECT RAISE(ROLLBACK, 'onceward: Conflict: the key stands for a message with another body')
    FROM onceward_ledger AS l
    WHERE l.scope = NEW.queue AND l.key = NEW.key AND coalesce(l.expires_at > NEW.now, 1)
      AND NOT EXISTS (SELECT 1 FROM onceward_message WHERE id = l.message)
      AND coalesce(hex(l.fingerprint), '') <> (WITH RECURSIVE onceward_round(
        i, whole, tail, last, word, a, b, c, d, e, f, g, h, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12,
        v13, v14, v15, h0, h1, h2, h3, h4, h5, h6, h7
      ) AS (
        SELECT
          64, length(NEW.body) / 64 * 64, hex(substr(NEW.body, length(NEW.body) / 64 * 64 + 1)) || '80' ||
          hex(zeroblob((119 - length(NEW.body) % 64) % 64)) || printf('%016X', 8 * length(NEW.body)), 64 + 65 *
          ((length(NEW.body) + 8) / 64 + 1), substr(hex(substr(NEW.body, 1, 4)) || '80000000', 1, 8), 0, 0, 0, 0, 0,
          0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1779033703, 3144134277, 1013904242, 2773480762,
          1359893119, 2600822924, 528734635, 1541459225
        UNION ALL SELECT
          i + 1,
          whole,
          tail,
          last,
          CASE WHEN (i + 2) % 65 > 15 THEN '' WHEN ((i + 2) / 65 - 1) * 64 < whole THEN hex(substr(NEW.body, ((i +
            2) / 65 - 1) * 64 + (i + 2) % 65 * 4 + 1, 4)) ELSE substr(tail, (((i + 2) / 65 - 1) * 64 + (i + 2) %
            65 * 4 - whole) * 2 + 1, 8) END,
          CASE i % 65 WHEN 64 THEN h0 + a ELSE h + k + v15 + (((((((e >> 6) | (e << 26)) | ((e >> 11) | (e <<
            21))) - (((e >> 6) | (e << 26)) & ((e >> 11) | (e << 21)))) | ((e >> 25) | (e << 7))) - (((((e >> 6) |
            (e << 26)) | ((e >> 11) | (e << 21))) - (((e >> 6) | (e << 26)) & ((e >> 11) | (e << 21)))) & ((e >>
            25) | (e << 7)))) & 4294967295) + (e & f) + (~e & g) + (((((((a >> 2) | (a << 30)) | ((a >> 13) | (a
            << 19))) - (((a >> 2) | (a << 30)) & ((a >> 13) | (a << 19)))) | ((a >> 22) | (a << 10))) - (((((a >>
            2) | (a << 30)) | ((a >> 13) | (a << 19))) - (((a >> 2) | (a << 30)) & ((a >> 13) | (a << 19)))) & ((a
            >> 22) | (a << 10)))) & 4294967295) + ((a & b) | (a & c) | (b & c)) END & 4294967295,
          CASE i % 65 WHEN 64 THEN h1 + b ELSE a END & 4294967295,
          CASE i % 65 WHEN 64 THEN h2 + c ELSE b END & 4294967295,
          CASE i % 65 WHEN 64 THEN h3 + d ELSE c END & 4294967295,
          CASE i % 65 WHEN 64 THEN h4 + e ELSE d + h + k + v15 + (((((((e >> 6) | (e << 26)) | ((e >> 11) | (e <<
            21))) - (((e >> 6) | (e << 26)) & ((e >> 11) | (e << 21)))) | ((e >> 25) | (e << 7))) - (((((e >> 6) |
            (e << 26)) | ((e >> 11) | (e << 21))) - (((e >> 6) | (e << 26)) & ((e >> 11) | (e << 21)))) & ((e >>
            25) | (e << 7)))) & 4294967295) + (e & f) + (~e & g) END & 4294967295,
          CASE i % 65 WHEN 64 THEN h5 + f ELSE e END & 4294967295,
          CASE i % 65 WHEN 64 THEN h6 + g ELSE f END & 4294967295,
          CASE i % 65 WHEN 64 THEN h7 + h ELSE g END & 4294967295,
          v1,
          v2,
          v3,
          v4,
          v5,
          v6,
          v7,
          v8,
          v9,
          v10,
          v11,
          v12,
          v13,
          v14,
          v15,
          CASE WHEN (i + 1) % 65 < 16 THEN (instr('123456789ABCDEF', substr(word, 1, 1)) << 28) +
            (instr('123456789ABCDEF', substr(word, 2, 1)) << 24) + (instr('123456789ABCDEF', substr(word, 3, 1))
            << 20) + (instr('123456789ABCDEF', substr(word, 4, 1)) << 16) + (instr('123456789ABCDEF', substr(word,
            5, 1)) << 12) + (instr('123456789ABCDEF', substr(word, 6, 1)) << 8) + (instr('123456789ABCDEF',
            substr(word, 7, 1)) << 4) + (instr('123456789ABCDEF', substr(word, 8, 1)) << 0) ELSE (((((((v14 >> 17)
            | (v14 << 15)) | ((v14 >> 19) | (v14 << 13))) - (((v14 >> 17) | (v14 << 15)) & ((v14 >> 19) | (v14 <<
            13)))) | (v14 >> 10)) - (((((v14 >> 17) | (v14 << 15)) | ((v14 >> 19) | (v14 << 13))) - (((v14 >> 17)
            | (v14 << 15)) & ((v14 >> 19) | (v14 << 13)))) & (v14 >> 10))) & 4294967295) + v9 + (((((((v1 >> 7) |
            (v1 << 25)) | ((v1 >> 18) | (v1 << 14))) - (((v1 >> 7) | (v1 << 25)) & ((v1 >> 18) | (v1 << 14)))) |
            (v1 >> 3)) - (((((v1 >> 7) | (v1 << 25)) | ((v1 >> 18) | (v1 << 14))) - (((v1 >> 7) | (v1 << 25)) &
            ((v1 >> 18) | (v1 << 14)))) & (v1 >> 3))) & 4294967295) + v0 & 4294967295 END,
          CASE i % 65 WHEN 64 THEN h0 + a & 4294967295 ELSE h0 END,
          CASE i % 65 WHEN 64 THEN h1 + b & 4294967295 ELSE h1 END,
          CASE i % 65 WHEN 64 THEN h2 + c & 4294967295 ELSE h2 END,
          CASE i % 65 WHEN 64 THEN h3 + d & 4294967295 ELSE h3 END,
          CASE i % 65 WHEN 64 THEN h4 + e & 4294967295 ELSE h4 END,
          CASE i % 65 WHEN 64 THEN h5 + f & 4294967295 ELSE h5 END,
          CASE i % 65 WHEN 64 THEN h6 + g & 4294967295 ELSE h6 END,
          CASE i % 65 WHEN 64 THEN h7 + h & 4294967295 ELSE h7 END
        FROM onceward_round JOIN onceward_sha256 ON round = i % 65 WHERE i < last
      )
      SELECT printf('%08X%08X%08X%08X', h0 + a & 4294967295, h1 + b & 4294967295, h2 + c & 4294967295, h3 + d & 4294967295)
      FROM onceward_round WHERE i = last);
  DELETE FROM onceward_ledger WHERE scope = NEW.queue AND key = NEW.key AND expires_at <= NEW.now;
  INSERT INTO onceward_lane_open(queue, priority)
    SELECT NEW.queue, NEW.priority
    WHERE NOT EXISTS (SELECT 1 FROM onceward_ledger WHERE scope = NEW.queue AND key = NEW.key)
      AND NOT EXISTS (SELECT 1 FROM onceward_lane AS l
        WHERE l.id = (SELECT max(id) FROM onceward_lane WHERE queue = NEW.queue AND priority = NEW.priority)
          AND l.next < (l.id + 1) << 38
          AND NOT EXISTS (SELECT 1 FROM onceward_message WHERE id = ((l.id + 1) << 38) - 1));
  INSERT INTO onceward_send_new(
      queue, window_ms, now, key, body, headers, due_at, expires_at, ordering_key, id)
    SELECT NEW.queue, NEW.window_ms, NEW.now, NEW.key, NEW.body, NEW.headers, NEW.due_at, NEW.expires_at,
      NEW.ordering_key, max(l.next, coalesce((SELECT m.id + 1 FROM onceward_message AS m
        WHERE m.id >= l.id << 38 AND m.id < (l.id + 1) << 38 ORDER BY m.id DESC LIMIT 1), 0))
    FROM onceward_lane AS l
    WHERE l.id = (SELECT max(id) FROM onceward_lane WHERE queue = NEW.queue AND priority = NEW.priority)
      AND NOT EXISTS (SELECT 1 FROM onceward_ledger WHERE scope = NEW.queue AND key = NEW.key);
END;

-- A lane for a priority that has none, or whose last one is full.
CREATE VIEW onceward_lane_open(queue, priority) AS SELECT NULL, NULL WHERE 0;
CREATE TRIGGER onceward_lane_open_insert INSTEAD OF INSERT ON onceward_lane_open BEGIN
  SELECT RAISE(ROLLBACK, 'onceward: Full: the file has no lanes left')
    WHERE (SELECT coalesce(max(id), 0) FROM onceward_lane) + 10 > 32767;
  INSERT INTO onceward_lane(id, queue, priority, next)
    SELECT coalesce(max(id), 0) + 1, NEW.queue, NEW.priority, ((coalesce(max(id), 0) + 1) << 38) + 1 FROM onceward_lane;
  INSERT INTO onceward_cursor(subscription, lane, next, gaps, token, token_reserved)
    SELECT s.id, l.id, l.next, 0, (s.id % 1048576) << 32, (s.id % 1048576) << 32
    FROM onceward_lane AS l JOIN onceward_subscription AS s ON s.queue = l.queue
    WHERE l.id = (SELECT max(id) FROM onceward_lane);
END;

-- Sending: what is written.
CREATE VIEW onceward_send_new(
  queue, window_ms, now, key, body, headers, due_at, expires_at, ordering_key, id
) AS SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL WHERE 0;
CREATE TRIGGER onceward_send_new_insert INSTEAD OF INSERT ON onceward_send_new BEGIN
  INSERT INTO onceward_message(id, sent_at, due_at, expires_at, key, ordering_key, body)
    VALUES (NEW.id, NEW.now, NEW.due_at, NEW.expires_at, NEW.key, NEW.ordering_key, NEW.body);
  INSERT INTO onceward_ledger(scope, key, message, expires_at)
    SELECT NEW.queue, NEW.key, NEW.id, NEW.now + NEW.window_ms WHERE NEW.key IS NOT NULL;
  UPDATE onceward_queue SET ordered = 1 WHERE id = NEW.queue AND ordered = 0 AND NEW.ordering_key IS NOT NULL;
  INSERT INTO onceward_foreign(verb, message, at, headers) VALUES (0, NEW.id, NEW.now, NEW.headers);
END;

-- Settling: the arguments, as they were given.
CREATE VIEW onceward_ack(message, token, subscription) AS SELECT NULL, NULL, NULL WHERE 0;
CREATE TRIGGER onceward_ack_insert INSTEAD OF INSERT ON onceward_ack BEGIN
  INSERT INTO onceward_settle(verb, message, token, subscription) VALUES (1, NEW.message, NEW.token, NEW.subscription);
END;
CREATE VIEW onceward_nack(message, token, delay_ms, error, subscription) AS SELECT NULL, NULL, NULL, NULL, NULL WHERE 0;
CREATE TRIGGER onceward_nack_insert INSTEAD OF INSERT ON onceward_nack BEGIN
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: delay_ms must be an integer from 0 to 316224000000')
    WHERE NEW.delay_ms IS NOT NULL AND (typeof(NEW.delay_ms) <> 'integer'
      OR NEW.delay_ms NOT BETWEEN 0 AND 316224000000);
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: error must be text of at most 4096 bytes without NUL characters')
    WHERE NEW.error IS NOT NULL AND (typeof(NEW.error) <> 'text'
      OR length(CAST(NEW.error AS BLOB)) > 4096 OR instr(NEW.error, char(0)) > 0);
  INSERT INTO onceward_check_text(value) SELECT NEW.error WHERE NEW.error GLOB '*[^ -~]*';
  INSERT INTO onceward_settle(verb, message, token, subscription, delay_ms, error)
    VALUES (2, NEW.message, NEW.token, NEW.subscription, NEW.delay_ms, NEW.error);
END;

-- Settling: the fence. The token alone decides; no two subscriptions of a queue have the same, but where there have been
-- more than a million of them in one file.
CREATE VIEW onceward_settle(verb, message, token, subscription, delay_ms, error)
  AS SELECT NULL, NULL, NULL, NULL, NULL, NULL WHERE 0;
CREATE TRIGGER onceward_settle_insert INSTEAD OF INSERT ON onceward_settle BEGIN
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: message and token must be integers')
    WHERE typeof(NEW.message) <> 'integer' OR typeof(NEW.token) <> 'integer';
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: the message belongs to no queue of this file')
    WHERE NOT EXISTS (SELECT 1 FROM onceward_lane WHERE id = NEW.message >> 38);
  SELECT RAISE(ROLLBACK, 'onceward: NotFound: unknown subscription')
    WHERE NEW.subscription IS NOT NULL AND NOT EXISTS (SELECT 1 FROM onceward_lane AS l
      JOIN onceward_subscription AS s ON s.queue = l.queue AND s.name = NEW.subscription WHERE l.id = NEW.message >> 38);
  SELECT RAISE(ROLLBACK, 'onceward: Invalid: an at-most-once delivery is done when it is handed over')
    WHERE NEW.verb <> 1 AND 0 = (SELECT q.semantics FROM onceward_lane AS l
      JOIN onceward_queue AS q ON q.id = l.queue WHERE l.id = NEW.message >> 38);
  SELECT CASE (SELECT count(*) FROM onceward_lane AS l JOIN onceward_queue AS q ON q.id = l.queue
      JOIN onceward_subscription AS s ON s.queue = q.id AND s.name = coalesce(NEW.subscription, s.name)
      JOIN onceward_pending AS p ON p.subscription = s.id
        AND p.lo = (SELECT max(lo) FROM onceward_pending WHERE subscription = s.id AND lo <= NEW.message)
    WHERE l.id = NEW.message >> 38 AND p.hi > NEW.message AND p.owner IS NOT NULL AND p.token = NEW.token)
    WHEN 0 THEN RAISE(ROLLBACK, 'onceward: LeaseLost: the delivery is no longer the current one of its message')
    WHEN 1 THEN NULL
    ELSE RAISE(ROLLBACK, 'onceward: Invalid: several subscriptions hold the message with this token: name one') END
    FROM onceward_lane AS of JOIN onceward_queue AS its ON its.id = of.queue
    WHERE of.id = NEW.message >> 38 AND its.semantics <> 0;
  INSERT INTO onceward_settle_held(
      verb, message, now, delay_ms, new_error, attempts_max, backoff_cap_ms,
      subscription, lo, hi, lane, due_at, attempt, token, owner, piece, ready_at, error)
    SELECT NEW.verb, NEW.message, CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), NEW.delay_ms,
      NEW.error, q.attempts_max, q.backoff_cap_ms,
      p.subscription, p.lo, p.hi, p.lane, p.due_at, p.attempt, p.token, p.owner, p.piece, p.ready_at, p.error
    FROM onceward_lane AS l JOIN onceward_queue AS q ON q.id = l.queue
      JOIN onceward_subscription AS s ON s.queue = q.id AND s.name = coalesce(NEW.subscription, s.name)
      JOIN onceward_pending AS p ON p.subscription = s.id
        AND p.lo = (SELECT max(lo) FROM onceward_pending WHERE subscription = s.id AND lo <= NEW.message)
    WHERE l.id = NEW.message >> 38 AND p.hi > NEW.message AND p.owner IS NOT NULL AND p.token = NEW.token;
END;

-- Settling: what is written. The message is taken out of the interval that holds it, which keeps what is before and
-- after it.
CREATE VIEW onceward_settle_held(
  verb, message, now, delay_ms, new_error, attempts_max, backoff_cap_ms,
  subscription, lo, hi, lane, due_at, attempt, token, owner, piece, ready_at, error
) AS SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
  WHERE 0;
CREATE TRIGGER onceward_settle_held_insert INSTEAD OF INSERT ON onceward_settle_held BEGIN
  -- A message that was given back took back those behind it with its ordering key.
  SELECT RAISE(ROLLBACK, 'onceward: LeaseLost: the delivery is no longer the current one of its message')
    FROM onceward_order AS mine
      JOIN onceward_foreign AS back ON back.verb = 2 AND back.subscription = mine.subscription AND back.message < mine.id
      JOIN onceward_order AS ahead ON ahead.subscription = mine.subscription AND ahead.id = back.message
        AND ahead.key = mine.key
    WHERE mine.subscription = NEW.subscription AND mine.id = NEW.message;
  DELETE FROM onceward_pending WHERE subscription = NEW.subscription AND lo = NEW.lo;
  INSERT INTO onceward_pending(subscription, lo, hi, lane, due_at, attempt, token, owner, piece, ready_at, error)
    SELECT NEW.subscription, NEW.lo, NEW.message, NEW.lane, NEW.due_at, NEW.attempt, NEW.token, NEW.owner, NEW.piece,
      NEW.ready_at, NEW.error WHERE NEW.lo < NEW.message;
  INSERT INTO onceward_pending(subscription, lo, hi, lane, due_at, attempt, token, owner, piece, ready_at, error)
    SELECT NEW.subscription, NEW.message + 1, NEW.hi, NEW.lane, NEW.due_at, NEW.attempt, NEW.token, NEW.owner, NEW.piece,
      NEW.ready_at, NEW.error WHERE NEW.message + 1 < NEW.hi;
  -- Without a delay of its own it waits for the backoff, which the engine puts in place of its longest wait.
  INSERT INTO onceward_pending(subscription, lo, hi, lane, due_at, attempt, token, piece, ready_at, error)
    SELECT NEW.subscription, NEW.message, NEW.message + 1, NEW.lane,
      NEW.now + coalesce(NEW.delay_ms, NEW.backoff_cap_ms), NEW.attempt, NEW.token, NEW.piece, NEW.ready_at,
      coalesce(NEW.new_error, NEW.error)
    WHERE NEW.verb = 2 AND coalesce(NEW.attempt < NEW.attempts_max, 1);
  INSERT INTO onceward_dead(subscription, id, attempts, reason, error, died_at)
    SELECT NEW.subscription, NEW.message, NEW.attempt, 'attempts exhausted', coalesce(NEW.new_error, NEW.error), NEW.now
    WHERE NEW.verb = 2 AND NEW.attempt >= NEW.attempts_max;
  UPDATE onceward_subscription SET dead = dead + 1
    WHERE id = NEW.subscription AND NEW.verb = 2 AND NEW.attempt >= NEW.attempts_max;
  INSERT INTO onceward_foreign(verb, subscription, message, at, delay_ms) VALUES (
    CASE WHEN NEW.verb = 2 AND NEW.attempt >= NEW.attempts_max THEN 3 ELSE NEW.verb END,
    NEW.subscription, NEW.message, NEW.now, NEW.delay_ms);
END;

-- A message of the log. Headers are lines: text as it is, bytes as a literal of SQL.
CREATE VIEW onceward_log(id, sent_at, key, ordering_key, priority, headers, body) AS
SELECT m.id, m.sent_at, m.key, m.ordering_key, l.priority,
  CASE WHEN m.headers IS NOT NULL THEN (
    WITH RECURSIVE onceward_header(at, head) AS (
      SELECT 1, hex(substr(m.headers, 1, 9))
      UNION ALL SELECT
        at + 9 + (instr('123456789ABCDEF', substr(head, 3, 1)) * 16 + instr('123456789ABCDEF', substr(head, 4, 1)) *
          1 + instr('123456789ABCDEF', substr(head, 5, 1)) * 4096 + instr('123456789ABCDEF', substr(head, 6, 1)) *
          256 + instr('123456789ABCDEF', substr(head, 7, 1)) * 1048576 + instr('123456789ABCDEF', substr(head, 8,
          1)) * 65536) + (instr('123456789ABCDEF', substr(head, 11, 1)) * 16 + instr('123456789ABCDEF', substr(head,
          12, 1)) * 1 + instr('123456789ABCDEF', substr(head, 13, 1)) * 4096 + instr('123456789ABCDEF', substr(head,
          14, 1)) * 256 + instr('123456789ABCDEF', substr(head, 15, 1)) * 1048576 + instr('123456789ABCDEF',
          substr(head, 16, 1)) * 65536),
        hex(substr(m.headers, at + 9 + (instr('123456789ABCDEF', substr(head, 3, 1)) * 16 + instr('123456789ABCDEF',
          substr(head, 4, 1)) * 1 + instr('123456789ABCDEF', substr(head, 5, 1)) * 4096 + instr('123456789ABCDEF',
          substr(head, 6, 1)) * 256 + instr('123456789ABCDEF', substr(head, 7, 1)) * 1048576 +
          instr('123456789ABCDEF', substr(head, 8, 1)) * 65536) + (instr('123456789ABCDEF', substr(head, 11, 1)) *
          16 + instr('123456789ABCDEF', substr(head, 12, 1)) * 1 + instr('123456789ABCDEF', substr(head, 13, 1)) *
          4096 + instr('123456789ABCDEF', substr(head, 14, 1)) * 256 + instr('123456789ABCDEF', substr(head, 15, 1))
          * 1048576 + instr('123456789ABCDEF', substr(head, 16, 1)) * 65536), 9))
      FROM onceward_header WHERE at + 9 < length(m.headers)
    )
    SELECT group_concat(
      CAST(substr(m.headers, at + 9, (instr('123456789ABCDEF', substr(head, 3, 1)) * 16 + instr('123456789ABCDEF',
        substr(head, 4, 1)) * 1 + instr('123456789ABCDEF', substr(head, 5, 1)) * 4096 + instr('123456789ABCDEF',
        substr(head, 6, 1)) * 256 + instr('123456789ABCDEF', substr(head, 7, 1)) * 1048576 +
        instr('123456789ABCDEF', substr(head, 8, 1)) * 65536)) AS TEXT) || ': ' ||
      CASE substr(head, 1, 2) WHEN '00'
      THEN CAST(substr(m.headers, at + 9 + (instr('123456789ABCDEF', substr(head, 3, 1)) * 16 +
        instr('123456789ABCDEF', substr(head, 4, 1)) * 1 + instr('123456789ABCDEF', substr(head, 5, 1)) * 4096 +
        instr('123456789ABCDEF', substr(head, 6, 1)) * 256 + instr('123456789ABCDEF', substr(head, 7, 1)) * 1048576
        + instr('123456789ABCDEF', substr(head, 8, 1)) * 65536), (instr('123456789ABCDEF', substr(head, 11, 1)) * 16
        + instr('123456789ABCDEF', substr(head, 12, 1)) * 1 + instr('123456789ABCDEF', substr(head, 13, 1)) * 4096 +
        instr('123456789ABCDEF', substr(head, 14, 1)) * 256 + instr('123456789ABCDEF', substr(head, 15, 1)) *
        1048576 + instr('123456789ABCDEF', substr(head, 16, 1)) * 65536)) AS TEXT)
      ELSE 'x''' || hex(substr(m.headers, at + 9 + (instr('123456789ABCDEF', substr(head, 3, 1)) * 16 +
        instr('123456789ABCDEF', substr(head, 4, 1)) * 1 + instr('123456789ABCDEF', substr(head, 5, 1)) * 4096 +
        instr('123456789ABCDEF', substr(head, 6, 1)) * 256 + instr('123456789ABCDEF', substr(head, 7, 1)) * 1048576
        + instr('123456789ABCDEF', substr(head, 8, 1)) * 65536), (instr('123456789ABCDEF', substr(head, 11, 1)) * 16
        + instr('123456789ABCDEF', substr(head, 12, 1)) * 1 + instr('123456789ABCDEF', substr(head, 13, 1)) * 4096 +
        instr('123456789ABCDEF', substr(head, 14, 1)) * 256 + instr('123456789ABCDEF', substr(head, 15, 1)) *
        1048576 + instr('123456789ABCDEF', substr(head, 16, 1)) * 65536))) || ''''
      END, char(10))
    FROM onceward_header WHERE head <> ''
  ) END,
  m.body
FROM onceward_message AS m JOIN onceward_lane AS l ON l.id = m.id >> 38;

-- What receivers have, under leases that have not ended.
CREATE VIEW onceward_inflight AS
WITH onceward_held(
  queue, subscription, message, token, attempt, lease_expires_at_ms, sent_at_ms, key, ordering_key, priority, headers, body
) AS (
  SELECT q.name, s.name, m.id, p.token, p.attempt, p.due_at, m.sent_at, m.key, m.ordering_key, m.priority, m.headers, m.body
  FROM onceward_pending AS p
    JOIN onceward_subscription AS s ON s.id = p.subscription
    JOIN onceward_queue AS q ON q.id = s.queue
    JOIN onceward_log AS m ON m.id >= p.lo AND m.id < p.hi
  WHERE p.owner IS NOT NULL AND p.due_at > CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)
)
SELECT * FROM onceward_held;

CREATE VIEW onceward_dead_letters AS
WITH onceward_died(
  queue, subscription, message, attempts, reason, error, died_at_ms, sent_at_ms, key, ordering_key, priority, headers, body
) AS (
  SELECT q.name, s.name, m.id, d.attempts, d.reason, d.error, d.died_at, m.sent_at, m.key, m.ordering_key, m.priority,
    m.headers, m.body
  FROM onceward_dead AS d
    JOIN onceward_subscription AS s ON s.id = d.subscription
    JOIN onceward_queue AS q ON q.id = s.queue
    JOIN onceward_log AS m ON m.id = d.id
)
SELECT * FROM onceward_died;

-- Every subscription of every queue, counted as the statistics do: by arithmetic on cursors and intervals.
CREATE VIEW onceward_queues AS
WITH onceward_counted(
  queue, semantics, subscription, paused, ready, delayed, blocked, in_flight, dead, in_doubt
) AS (
  SELECT q.name, CASE q.semantics WHEN 0 THEN 'at-most-once' WHEN 1 THEN 'at-least-once' ELSE 'exactly-once' END, s.name,
    q.paused,
    coalesce((
      SELECT sum(max(l.next, coalesce((SELECT m.id + 1 FROM onceward_message AS m
          WHERE m.id >= l.id << 38 AND m.id < (l.id + 1) << 38 ORDER BY m.id DESC LIMIT 1), 0)) - c.next - c.gaps
        - (SELECT count(*) FROM onceward_message AS m WHERE m.due_at IS NOT NULL AND m.id >> 38 = l.id
          AND m.due_at > clock.now AND m.id >= c.next))
      FROM onceward_cursor AS c JOIN onceward_lane AS l ON l.id = c.lane WHERE c.subscription = s.id), 0)
      + coalesce((SELECT sum(p.hi - p.lo) FROM onceward_pending AS p
        WHERE p.subscription = s.id AND p.due_at <= clock.now), 0),
    coalesce((
      SELECT sum((SELECT count(*) FROM onceward_message AS m WHERE m.due_at IS NOT NULL AND m.id >> 38 = c.lane
        AND m.due_at > clock.now AND m.id >= c.next))
      FROM onceward_cursor AS c WHERE c.subscription = s.id), 0)
      + coalesce((SELECT sum(p.hi - p.lo) FROM onceward_pending AS p
        WHERE p.subscription = s.id AND p.owner IS NULL AND p.due_at > clock.now AND p.due_at < 9223372036854775806), 0),
    coalesce((SELECT sum(p.hi - p.lo) FROM onceward_pending AS p
      WHERE p.subscription = s.id AND p.due_at = 9223372036854775807), 0),
    coalesce((SELECT sum(p.hi - p.lo) FROM onceward_pending AS p
      WHERE p.subscription = s.id AND p.owner IS NOT NULL AND p.due_at > clock.now), 0),
    s.dead,
    (SELECT count(*) FROM onceward_effect AS e WHERE e.scope = s.id AND e.state = 4)
  FROM (SELECT CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) AS now) AS clock
    JOIN onceward_queue AS q JOIN onceward_subscription AS s ON s.queue = q.id
)
SELECT * FROM onceward_counted;
