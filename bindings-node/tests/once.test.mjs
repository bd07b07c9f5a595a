// Effects at third parties, made once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { folder, opened, program, rejects } from './helpers.mjs';

async function delivered(t, path) {
  const store = await opened(t, path);
  const queue = await store.queue('payments', { semantics: 'exactly-once', backoff: { firstMs: 1, jitter: 0 } });
  await queue.send('1999', { key: 'order-42' });
  return { store, queue, delivery: await queue.receive() };
}
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');
const never = () => assert.fail('it was called again');
const park = { onUnknown: 'park' };

test('a result is kept, and nothing is called again', async (t) => {
  const { queue, delivery } = await delivered(t);
  const receipt = await delivery.once('charge', async () => Buffer.from('receipt 7'), park);
  assert.equal(receipt.toString(), 'receipt 7');
  const key = await delivery.idempotencyKey('charge');
  await delivery.nack({ delayMs: 0 });
  const again = await queue.receive({ waitMs: 10_000 });
  assert.equal((await again.once('charge', never, park)).toString(), 'receipt 7');
  assert.equal(await again.idempotencyKey('charge'), key);
  assert.match(key, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  await again.ack();
});

test('an error leaves it in doubt and the message parked, until a person resolves it', async (t) => {
  const { store, queue, delivery } = await delivered(t);
  const cut = new Error('connection cut');
  const failing = delivery.once('charge', () => Promise.reject(cut), park);
  await rejects(failing, 'InDoubt', /connection cut/);
  await failing.catch((error) => assert.equal(error.cause, cut));
  assert.deepEqual([delivery.settled, await queue.receive()], [true, null]);
  const [doubt] = await store.inDoubt();
  assert.deepEqual([doubt.queue, doubt.subscription, doubt.message, doubt.ledger], ['payments', 'default', delivery.id, null]);
  assert.deepEqual([doubt.key, doubt.name, doubt.process, doubt.error], [delivery.key, 'charge', process.pid, 'Error: connection cut']);
  assert.ok(doubt.since instanceof Date && doubt.calledAt instanceof Date);
  assert.equal((await store.stats()).inDoubt, 1);
  const by = { evidence: 'their log', actor: 'ada' };
  await store.resolve(doubt.doubt, { applied: 'receipt 8' }, by);
  await store.resolve(doubt.doubt, { applied: 'receipt 8' }, by);
  await rejects(store.resolve(doubt.doubt, 'not-applied', by), 'Conflict');
  await rejects(store.resolve(99, 'not-applied', by), 'NotFound');
  const again = await queue.receive({ waitMs: 10_000 });
  assert.equal((await again.once('charge', never, park)).toString(), 'receipt 8');
  const [resolved] = await store.resolutions();
  assert.deepEqual([resolved.resolution.applied.toString(), resolved.evidence, resolved.actor], ['receipt 8', 'their log', 'ada']);
  assert.deepEqual(await store.inDoubt({ after: doubt.doubt }), []);
});

test('what failedOn knows did not happen is thrown as it is, and called again', async (t) => {
  const { queue, delivery } = await delivered(t);
  const refused = new TypeError('refused');
  const options = { ...park, failedOn: (error) => error instanceof TypeError };
  await assert.rejects(delivery.once('charge', () => Promise.reject(refused), options), (error) => error === refused);
  assert.equal(delivery.settled, false);
  await delivery.nack({ delayMs: 0 });
  const again = await queue.receive({ waitMs: 10_000 });
  assert.equal((await again.once('charge', () => 'receipt', options)).toString(), 'receipt');
});

test('a result that is no bytes leaves it in doubt', async (t) => {
  const { store, delivery } = await delivered(t);
  await assert.rejects(delivery.once('charge', async () => ({ id: 7 }), park), (error) => {
    assert.ok(error instanceof TypeError);
    assert.match(error.message, /in doubt/);
    return true;
  });
  assert.equal((await store.inDoubt()).length, 1);
});

test('a process killed in its call leaves a doubt, which a probe settles', async (t) => {
  const path = `${folder(t)}/a.db`;
  const store = await opened(t, path);
  const queue = await store.queue('payments', { semantics: 'exactly-once' });
  for (const [answer, called] of [[{ applied: 'found' }, 0], ['not-applied', 1]]) {
    await queue.send('1999', { key: `${called}` });
    const caller = program(t, 'charge', path);
    assert.equal(await caller.line(), 'calling');
    caller.child.kill('SIGKILL');
    await caller.end();
    let calls = 0;
    const call = () => `called ${(calls += 1)}`;
    for (;;) {
      const delivery = await queue.receive({ waitMs: 20_000 });
      try {
        const options = { onUnknown: 'probe', settleMs: 50, probe: async () => answer };
        const result = await delivery.once('charge', call, options);
        assert.equal(result.toString(), called === 0 ? 'found' : 'called 1');
        await delivery.ack();
        break;
      } catch (error) {
        assert.equal(error.code, 'Busy', error); // The answer does not count yet: the message was given back.
      }
    }
    assert.equal(calls, called);
  }
  assert.deepEqual(await store.inDoubt(), []);
});

test('a ledger makes a call once for a key, and others wait for the one who is at it', async (t) => {
  const store = await opened(t);
  const ledger = await store.ledger('refunds', { windowMs: 'forever' });
  let done;
  const first = ledger.once('order-42', () => new Promise((resolve) => (done = resolve)), park);
  while (done === undefined) await new Promise(setImmediate);
  await rejects(ledger.once('order-42', never, park), 'Busy');
  const aborted = ledger.once('order-42', never, { ...park, waitMs: 60_000, signal: AbortSignal.timeout(30) });
  await assert.rejects(aborted, { name: 'TimeoutError' });
  const waiting = ledger.once('order-42', never, { ...park, waitMs: 60_000 });
  done('refund 7');
  assert.deepEqual([`${await first}`, `${await waiting}`], ['refund 7', 'refund 7']);
  assert.deepEqual([await store.ledgers(), ledger.name], [['refunds'], 'refunds']);
  assert.notEqual(await ledger.idempotencyKey('a'), await ledger.idempotencyKey('b'));
});

test('the same key of a ledger with another request is a conflict', async (t) => {
  const store = await opened(t);
  const ledger = await store.ledger('refunds');
  await ledger.once('k', () => 'x', { ...park, request: '1999' });
  await rejects(ledger.once('k', never, { ...park, request: '2999' }), 'Conflict');
});

test('once without its options, or with nonsense, calls nothing', async (t) => {
  const { delivery } = await delivered(t);
  const probe = () => 'unknown';
  await rejects(delivery.once('charge', never), 'Invalid', /onUnknown/);
  await rejects(delivery.once('charge', never, { onUnknown: 'retry' }), 'Invalid', /"retry"/);
  await rejects(delivery.once('charge', never, { onUnknown: 'probe', probe }), 'Invalid', /settleMs/);
  await rejects(delivery.once('charge', never, { onUnknown: 'park', probe }), 'Invalid', /probe/);
  await rejects(delivery.once('', never, park), 'Invalid', /empty/);
  await assert.rejects(delivery.once('charge', 'call', park), TypeError);
  await assert.rejects(delivery.once('charge', never, { ...park, waitMs: 1 }), TypeError);
  assert.equal(`${await delivery.once('charge', () => 'x', park)}`, 'x');
  await rejects(delivery.once('charge', never, park), 'Invalid', /already/);
});

test('a request is what it was when the call was made', async (t) => {
  const store = await opened(t);
  const ledger = await store.ledger('payments');
  const request = Buffer.from('1999');
  let finish;
  const first = ledger.once('order-42', () => new Promise((resolve) => (finish = resolve)), { ...park, request: '1999' });
  while (finish === undefined) await new Promise((resolve) => setImmediate(resolve));
  const second = ledger.once('order-42', never, { ...park, request, waitMs: 60_000 });
  request.fill('0');
  await new Promise((resolve) => setTimeout(resolve, 50));
  finish(Buffer.from('receipt 7'));
  assert.equal((await first).toString(), 'receipt 7');
  assert.equal((await second).toString(), 'receipt 7');
});

test('a call that never settles keeps its effect, whatever is collected', async (t) => {
  const ledger = await (await opened(t)).ledger('l');
  let called = 0;
  const ask = (call) => ledger.once('k', call, park);
  // Nobody keeps the promise, and nothing will settle it.
  (() => void ask(() => { called += 1; return new Promise(() => {}); }).catch(() => {}))();
  while (called === 0) await sleep(10);
  for (let round = 0; round < 10; round += 1) {
    await rejects(ask(never), 'Busy');
    collect();
    await sleep(20);
  }
});
