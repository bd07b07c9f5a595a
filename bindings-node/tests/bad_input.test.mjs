// Wrong types are TypeErrors; values out of their limits are OncewardErrors that name the value. Nothing is written.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { CODES, Delivery, OncewardError, Queue, Store, open } from 'onceward';
import { folder, opened, rejects } from './helpers.mjs';

const wrong = (promise, text) => assert.rejects(promise, (error) => {
  assert.ok(error instanceof TypeError, `a TypeError, not ${error}`);
  assert.match(error.message, text);
  return true;
});

test('opening', async (t) => {
  const path = folder(t);
  mkdirSync(`${path}/folder`);
  writeFileSync(`${path}/text`, 'this is no database, and long enough to say so. '.repeat(100));
  await rejects(open(`${path}/folder`), 'Invalid');
  await rejects(open(`${path}/text`), 'Corrupt');
  await rejects(open(`${path}/none/a.db`), 'NotFound');
  await rejects(open(`${path}/a.db`, { create: false }), 'NotFound');
  await rejects(open(`${path}/a.db`, { bodyBytesMax: 2 ** 40 }), 'Invalid', /1099511627776/);
  await rejects(open(`${path}/a.db`, { walBytesMax: 1 }), 'Invalid');
  await rejects(open(`${path}/a.db`, { busyTimeoutMs: -1 }), 'Invalid', /-1/);
  await rejects(open(`${path}/a.db`, { busyTimeoutMs: 1e300 }), 'Invalid');
  await rejects(open(`${path}/a\0.db`), 'Invalid', /NUL/);
  await wrong(open(7), /path must be a string, not number/);
  await wrong(open(`${path}/a.db`, { busyTimeout: 1 }), /no option "busyTimeout"/);
  await wrong(open(`${path}/a.db`, { create: 1 }), /boolean/);
  await wrong(open(`${path}/a.db`, null), /not null/);
  const store = await opened(t, new URL(`file://${path}/a.db`));
  assert.equal(store.path, `${path}/a.db`);
});

test('queues', async (t) => {
  const store = await opened(t);
  const make = (options, name = 'q') => store.queue(name, { semantics: 'at-least-once', ...options });
  await rejects(make({ semantics: 'twice' }), 'Invalid', /"twice"/);
  await rejects(make({}, ''), 'Invalid', /empty/);
  await rejects(make({}, 'x'.repeat(513)), 'Invalid', /513/);
  await rejects(make({}, '\ud800'), 'Invalid', /surrogate/);
  await rejects(make({ leaseMs: 0 }), 'Invalid');
  await rejects(make({ leaseMs: NaN }), 'Invalid', /NaN/);
  await rejects(make({ attemptsMax: 0 }), 'Invalid', /0/);
  await rejects(make({ attemptsMax: 1.5 }), 'Invalid', /1.5/);
  await rejects(make({ attemptsMax: 'many' }), 'Invalid', /"many"/);
  await rejects(make({ deduplicationWindowMs: 0 }), 'Invalid');
  await rejects(make({ backoff: { factor: 0.5 } }), 'Invalid', /0.5/);
  await rejects(make({ subscriptions: [] }), 'Invalid');
  await wrong(make({ backoff: { first: 1 } }), /no option "first"/);
  await wrong(make({ subscriptions: 'audit' }), /iterable/);
  await wrong(make({}, 7), /queue name/);
  assert.deepEqual(await store.queues(), []);
});

test('sending', async (t) => {
  const store = await opened(t, ':memory:', { bodyBytesMax: 10 });
  const queue = await store.queue('q', { semantics: 'at-least-once' });
  await rejects(queue.send('01234567890'), 'Invalid', /body is 11 bytes; the limit is 10/);
  await rejects(queue.send('x', { key: '' }), 'Invalid', /empty/);
  await rejects(queue.send('x', { key: 'k'.repeat(513) }), 'Invalid', /513/);
  await rejects(queue.send('\ud800'), 'Invalid', /surrogate/);
  for (const priority of [10, -1, 0.5, 2 ** 33]) await rejects(queue.send('x', { priority }), 'Invalid', /priority/);
  await rejects(queue.send('x', { priority: 1, orderingKey: 'o' }), 'Invalid');
  await rejects(queue.send('x', { delayMs: 1e15 }), 'Invalid');
  await rejects(queue.send('x', { delayMs: 1, deliverAt: new Date() }), 'Invalid', /exclude/);
  await rejects(queue.send('x', { deliverAt: new Date('nonsense') }), 'Invalid', /NaN/);
  await rejects(queue.send('x', { deliverAt: 8e15 }), 'Invalid');
  await rejects(queue.send('x', { timeToLiveMs: 0 }), 'Invalid');
  await rejects(queue.send('x', { headers: { a: 'x'.repeat(70_000) } }), 'Invalid');
  await rejects(queue.sendMany(Array.from({ length: 10_001 }, () => 'x')), 'Invalid', /10000/);
  for (const body of [undefined, null, 7, {}, new ArrayBuffer(1), [1]]) await wrong(queue.send(body), /body must be/);
  await wrong(queue.send('x', { priority: '1' }), /priority/);
  await wrong(queue.send('x', { headers: { a: 7 } }), /header "a"/);
  await wrong(queue.send('x', { ordering_key: 'a' }), /no option/);
  // They have entries, and no properties that would be meant.
  for (const entries of [new Map([['key', 'k']]), new Headers({ key: 'k' }), new Set()]) {
    await wrong(queue.send('x', entries), /send must be a plain object, not (Map|Headers|Set)/);
    await wrong(queue.send('x', { headers: entries }), /headers must be a plain object/);
  }
  for (const send of [(body) => queue.send(body), (body) => queue.sendMany([body]), (body) => queue.sendMany([{ body }])]) {
    const body = new Uint8Array(3);
    structuredClone(body.buffer, { transfer: [body.buffer] });
    await rejects(send(body), 'Invalid', /body is detached/);
  }
  await wrong(queue.sendMany('x'), /iterable/);
  await wrong(queue.sendMany([{}]), /body must be/);
  assert.equal((await queue.stats()).ready, 0);
  await queue.send('x', { deliverAt: -1 });
  assert.equal((await queue.stats()).ready, 1);
});

test('receiving, settling and looking', async (t) => {
  const store = await opened(t);
  const queue = await store.queue('q', { semantics: 'at-least-once' });
  const other = await store.queue('other', { semantics: 'at-least-once' });
  for (const max of [0, 10_001]) await rejects(queue.receiveMany(max), 'Invalid', new RegExp(`${max}`));
  await rejects(queue.receive({ waitMs: 86_400_001 }), 'Invalid');
  await rejects(queue.receive({ leaseMs: 0 }), 'Invalid');
  await wrong(queue.receive({ signal: {} }), /AbortSignal/);
  await wrong(queue.receive(5), /must be a plain object/);
  await wrong(queue.receiveMany(), /max/);
  assert.throws(() => queue.consume({ wait: 1 }), TypeError);
  await rejects(queue.consume({ batch: 0 }).next(), 'Invalid');
  await rejects(queue.ack([{ id: 7, token: 1 }]), 'Invalid', /7 is not a message id/);
  await wrong(queue.ack([7]), /a delivery must be/);
  await wrong(queue.ack([{ id: '7', token: 1 }]), /receipt id/);
  await wrong(queue.ack({}), /iterable/);
  await other.send('x');
  const delivery = await other.receive();
  await rejects(queue.ack([delivery]), 'Invalid', /queue/);
  await rejects(delivery.nack({ error: 'x'.repeat(5000) }), 'Invalid');
  await rejects(delivery.extend(0), 'Invalid');
  await wrong(delivery.deadLetter(), /reason/);
  await rejects(queue.peek(0), 'Invalid');
  await rejects(queue.deadLetters({ max: 10_001 }), 'Invalid');
  await rejects(queue.cancel(1), 'Invalid', /1 is not a message id/);
  await wrong(queue.redrive(['1']), /id must be/);
  await rejects(queue.subscribe('s', { start: 'newest' }), 'Invalid', /newest/);
  await delivery.ack();
});

test('transactions and doubts', async (t) => {
  const store = await opened(t);
  const strange = await opened(t);
  const queue = await strange.queue('q', { semantics: 'at-least-once' });
  const inside = (work) => store.transaction(work);
  await wrong(inside('work'), /work must be a function/);
  await wrong(inside((tx) => tx.execute('SELECT ?', 7)), /parameters must be an array/);
  for (const value of [undefined, true, {}, new Date()]) await wrong(inside((tx) => tx.execute('SELECT ?', [value])), /parameter 1/);
  await rejects(inside((tx) => tx.execute('SELECT ?', [NaN])), 'Invalid', /NaN/);
  await rejects(inside((tx) => tx.execute('SELECT ?', [2n ** 63n])), 'Invalid', /64 bits/);
  await rejects(inside((tx) => tx.execute('SELECT ?', [])), 'Sql');
  await rejects(inside((tx) => tx.send('nowhere', 'x')), 'NotFound');
  await rejects(inside((tx) => tx.send(queue, 'x')), 'Invalid', /another store/);
  await wrong(inside((tx) => tx.send({}, 'x')), /queue must be/);
  await wrong(inside((tx) => tx.ack(store, [])), /receiver must be/);
  await rejects(store.resolve(1, 'maybe', { evidence: 'e', actor: 'a' }), 'Invalid', /'maybe'/);
  await rejects(store.resolve(1, 'not-applied', { evidence: 'e' }), 'Invalid', /actor/);
  await rejects(store.inDoubt({ max: 0 }), 'Invalid');
  await rejects(store.ledger('l', { windowMs: 0 }), 'Invalid');
});

test('objects that onceward did not make are refused', async () => {
  await wrong(Store.prototype.close.call({}), /not made by onceward/);
  await wrong(Queue.prototype.send.call({ name: 'q' }, 'x'), /not made by onceward/);
  await wrong(Delivery.prototype.ack.call({}), /not made by onceward/);
});

test('errors carry their code, a stack that names the caller, and every kind has one', async (t) => {
  const store = await opened(t);
  async function theCaller() {
    await store.queue('nowhere');
  }
  const error = await theCaller().catch((thrown) => thrown);
  assert.ok(error instanceof OncewardError && error instanceof Error);
  assert.deepEqual([error.name, error.code], ['OncewardError', 'NotFound']);
  assert.match(error.stack, /theCaller/);
  assert.deepEqual([CODES.length, CODES[0], CODES[15]], [16, 'Invalid', 'Failed']);
});
