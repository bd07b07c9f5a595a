// Effects, sends and acknowledgements in one commit.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { folder, opened, rejects } from './helpers.mjs';

async function shop(t, options = {}) {
  const store = await opened(t, `${folder(t)}/shop.db`, options);
  const queue = await store.queue('payments', { semantics: 'exactly-once' });
  await store.transaction((tx) => tx.execute('CREATE TABLE entries(id INTEGER PRIMARY KEY, value)'));
  const entries = () => store.transaction(async (tx) => (await tx.query('SELECT value FROM entries ORDER BY id')).rows.flat());
  return { store, queue, entries };
}

test('the effect, the send and the acknowledgement are one commit', async (t) => {
  const { store, queue, entries } = await shop(t);
  const receipts = await store.queue('receipts', { semantics: 'at-least-once' });
  await queue.sendMany([{ body: 'a', key: 'a' }, { body: 'b', key: 'b' }]);
  const [a, b] = await queue.receiveMany(2);
  const answer = await a.transaction(async (tx) => {
    await tx.execute('INSERT INTO entries(value) VALUES (?)', ['a']);
    await tx.send('receipts', 'for a');
    await tx.send(receipts, 'for b', { key: 'b' });
    await tx.ack(queue, [b]);
    return 'answer';
  });
  assert.equal(answer, 'answer');
  assert.deepEqual([await entries(), a.settled, b.settled], [['a'], true, true]);
  assert.equal((await receipts.stats()).ready, 2);
  assert.deepEqual([(await queue.stats()).inFlight, (await queue.stats()).ready], [0, 0]);
});

test('an error rolls back everything and gives the message back', async (t) => {
  const { queue, entries } = await shop(t);
  await queue.send('a', { key: 'a' });
  const delivery = await queue.receive();
  const broken = new Error('broken');
  const work = async (tx) => {
    await tx.execute('INSERT INTO entries(value) VALUES (1)');
    await tx.send('payments', 'b', { key: 'b' });
    throw broken;
  };
  await assert.rejects(delivery.transaction(work), (error) => error === broken);
  assert.deepEqual([await entries(), (await queue.stats()).delayed], [[], 1]);
  assert.equal((await queue.unfinished([delivery.id])).length, 1);
});

test('a lost lease rolls the transaction back', async (t) => {
  const { queue, entries } = await shop(t);
  await queue.send('a', { key: 'a' });
  const late = await queue.receive({ leaseMs: 1 });
  const current = await queue.receive({ waitMs: 10_000 });
  await rejects(late.transaction((tx) => tx.execute('INSERT INTO entries(value) VALUES (1)')), 'LeaseLost');
  assert.deepEqual(await entries(), []);
  await current.ack();
});

test('every value of SQLite goes and comes back', async (t) => {
  const { store } = await shop(t);
  const values = [null, 0, -1, 2 ** 53 - 1, 2n ** 63n - 1n, -(2n ** 63n), 1.5, Infinity, 'grün', '', Buffer.from([0, 255])];
  const { columns, rows } = await store.transaction((tx) =>
    tx.query(`SELECT ${values.map((_, index) => `? AS c${index}`).join(', ')}`, values),
  );
  assert.deepEqual(rows, [values]);
  assert.equal(columns[4], 'c4');
  const types = await store.transaction((tx) => tx.query('SELECT typeof(?), typeof(?), typeof(?)', [1, 1.5, 5n]));
  assert.deepEqual(types.rows, [['integer', 'real', 'integer']]);
});

test('by hand: commit, rollback, and what is over stays over', async (t) => {
  const { store, queue, entries } = await shop(t);
  const tx = await store.transaction();
  assert.equal(await tx.executeMany('INSERT INTO entries(value) VALUES (?)', [['x'], ['y']]), 2);
  await tx.commit();
  await rejects(tx.execute('DELETE FROM entries'), 'Invalid', /over/);
  await rejects(tx.commit(), 'Invalid', /over/);
  await queue.send('a', { key: 'a' });
  const delivery = await queue.receive();
  const dropped = await delivery.transaction();
  await dropped.execute('DELETE FROM entries');
  await dropped[Symbol.asyncDispose]();
  assert.deepEqual([await entries(), delivery.settled], [['x', 'y'], false]);
  const kept = await delivery.transaction();
  await kept.commit();
  assert.equal(delivery.settled, true);
});

test('what the statements may not do is an error of kind Sql', async (t) => {
  const { store } = await shop(t);
  for (const sql of ['DELETE FROM onceward_message', 'PRAGMA user_version = 1', 'COMMIT', 'nonsense', 'SELECT * FROM nowhere']) {
    await rejects(store.transaction((tx) => tx.execute(sql)), 'Sql');
  }
});

test('a transaction that forgot itself is rolled back, and other writes wait for it without blocking anything', async (t) => {
  const { store, queue, entries } = await shop(t, { transactionTimeLimitMs: 300 });
  const tx = await store.transaction();
  await tx.execute('INSERT INTO entries(value) VALUES (1)');
  const sends = Array.from({ length: 50 }, (_, index) => queue.send('x', { key: `${index}` }));
  const turn = await Promise.race([Promise.all(sends).then(() => 'sent'), sleep(10, 'still waiting')]);
  assert.equal(turn, 'still waiting');
  await Promise.all(sends);
  await rejects(tx.commit(), 'Expired');
  assert.deepEqual(await entries(), []);
});
