// Our SQLite and better-sqlite3's on one file in one process, both writing and reopening: nothing is lost.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import { open } from 'onceward';
import { PATIENCE_MS, folder, opened } from './helpers.mjs';

const ROUNDS = 30;
const EACH = 40;

test('both write one file and reopen it, and every acknowledged row and message is there', async (t) => {
  const path = `${folder(t)}/a.db`;
  const store = await opened(t, path, { busyTimeoutMs: PATIENCE_MS });
  const queue = await store.queue('jobs', { semantics: 'at-least-once' });
  await store.transaction((tx) => tx.execute('CREATE TABLE app(id INTEGER PRIMARY KEY, who TEXT)'));
  const sent = [];
  const written = [];
  const ours = async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const further = await open(path, { busyTimeoutMs: PATIENCE_MS });
      sent.push((await (await further.queue('jobs')).send('from a further store')).id);
      await further.close();
      const sends = Array.from({ length: EACH }, (_, index) => queue.send(`${round} ${index}`));
      for (const { id } of await Promise.all(sends)) sent.push(id);
    }
  };
  const theirs = async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const database = new Database(path, { timeout: PATIENCE_MS });
      const insert = database.prepare("INSERT INTO app(who) VALUES ('better-sqlite3')");
      for (let index = 0; index < EACH; index += 1) {
        written.push(Number(insert.run().lastInsertRowid));
        await new Promise(setImmediate); // Ours runs in between, and at the same time on its own threads.
      }
      database.close();
    }
  };
  await Promise.all([ours(), theirs()]);
  const received = [];
  for (;;) {
    const batch = await queue.receiveMany(1000);
    if (batch.length === 0) break;
    received.push(...batch.map((delivery) => delivery.id));
    assert.deepEqual(await queue.ack(batch), []);
  }
  assert.equal(sent.length, ROUNDS * (EACH + 1));
  assert.deepEqual(received.toSorted((a, b) => a - b), sent.toSorted((a, b) => a - b));
  const database = new Database(path);
  assert.deepEqual(database.pragma('integrity_check'), [{ integrity_check: 'ok' }]);
  assert.deepEqual(database.prepare('SELECT id FROM app ORDER BY id').pluck().all(), written.toSorted((a, b) => a - b));
  database.close();
});

test('closing ours never drops the lock that better-sqlite3 holds', async (t) => {
  const path = `${folder(t)}/a.db`;
  const store = await opened(t, path);
  await store.queue('jobs', { semantics: 'at-least-once' });
  const database = new Database(path);
  t.after(() => database.close());
  database.exec('CREATE TABLE app(x)');
  database.exec('BEGIN IMMEDIATE');
  await store.close();
  const further = await open(path, { busyTimeoutMs: 50 }).catch((error) => assert.equal(error.code, 'Busy'));
  await further?.close();
  const other = new Database(path, { timeout: 0 });
  t.after(() => other.close());
  assert.throws(() => other.exec('BEGIN IMMEDIATE'), { code: 'SQLITE_BUSY' });
  database.exec('COMMIT');
  other.exec('BEGIN IMMEDIATE; COMMIT');
});
