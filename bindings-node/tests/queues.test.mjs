// Queues, subscriptions, sending, looking, dead letters.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { folder, opened, rejects } from './helpers.mjs';

test('what was sent arrives byte for byte, with everything that was said of it', async (t) => {
  const store = await opened(t);
  const queue = await store.queue('jobs', { semantics: 'at-least-once' });
  const body = Buffer.from([0, 255, 1, 254]);
  const before = Date.now();
  const { id } = await queue.send(body, { key: 'k', headers: { kind: 'größe', raw: new Uint8Array([0, 1]) }, priority: 2 });
  body.fill(7); // The body was taken when the call was made.
  const delivery = await queue.receive();
  assert.deepEqual([...delivery.body], [0, 255, 1, 254]);
  assert.equal(delivery.id, id);
  assert.ok(Number.isSafeInteger(id) && id > 2 ** 32 && delivery.token > 0);
  assert.deepEqual({ ...delivery.headers }, { kind: 'größe', raw: Buffer.from([0, 1]) });
  assert.deepEqual([delivery.key, delivery.orderingKey, delivery.priority, delivery.attempt], ['k', null, 2, 1]);
  assert.ok(delivery.sentAt.getTime() >= before - 1 && delivery.receiver === queue);
  // A program that writes it down, or copies it, has all that the message says.
  const { id: sameId, body: sameBody, sentAt } = structuredClone({ ...delivery });
  assert.deepEqual([sameId, [...sameBody], sentAt], [id, [0, 255, 1, 254], delivery.sentAt]);
  assert.equal(JSON.parse(JSON.stringify(delivery)).sentAt, delivery.sentAt.toISOString());
  await delivery.ack();
  assert.equal(await queue.receive(), null);
});

for (const [what, bodies] of [
  ['short', ['one', 'two', 'three']],
  ['as long as what is shared', [Buffer.alloc(8192, 'a'), Buffer.alloc(8191, 'b'), 'c']],
  ['long', [Buffer.alloc(9000, 'a'), Buffer.alloc(9000, 'b'), 'c']],
]) {
  test(`a body that a program gives away takes no other with it: ${what}`, async (t) => {
    const store = await opened(t);
    const queue = await store.queue('jobs', { semantics: 'at-least-once' });
    await queue.sendMany(bodies);
    const deliveries = await queue.receiveMany(10);
    for (const { body } of deliveries) {
      try {
        structuredClone(body, { transfer: [body.buffer] });
      } catch (error) {
        assert.equal(error.name, 'DataCloneError'); // Newer Nodes refuse, older ones copy.
      }
    }
    assert.deepEqual(deliveries.map(({ body }) => body.toString()), bodies.map(String));
  });
}

test('large bodies with keys are recognised when they come again, alone and together, and arrive whole', async (t) => {
  const store = await opened(t);
  const queue = await store.queue('payments', { semantics: 'exactly-once' });
  const bodies = [0, 1, 2].map((number) => Buffer.alloc(300_000, number));
  const messages = bodies.map((body, number) => ({ body, key: `k${number}` }));
  const sent = await queue.sendMany(messages);
  const again = await Promise.all([queue.sendMany(messages), queue.send(bodies[1], { key: 'k1' })]);
  assert.deepEqual(again.flat().map(({ id, duplicate }) => [id, duplicate]), [0, 1, 2, 1].map((at) => [sent[at].id, true]));
  await rejects(queue.send(bodies[0], { key: 'k1' }), 'Conflict', /k1/);
  const deliveries = await queue.receiveMany(10);
  assert.ok(deliveries.length === 3 && deliveries.every(({ body }, number) => body.equals(bodies[number])));
});

test('a string is sent as UTF-8, and an empty body is a body', async (t) => {
  const store = await opened(t);
  const queue = await store.queue('jobs', { semantics: 'at-least-once' });
  await queue.sendMany(['grün', '', new Uint8Array(0), { body: 'x', priority: 0 }]);
  const bodies = (await queue.receiveMany(10)).map((delivery) => delivery.body.toString());
  assert.deepEqual(bodies, ['x', 'grün', '', '']);
});

test('a send repeated with its key is one message, and with another body a conflict', async (t) => {
  const store = await opened(t);
  const queue = await store.queue('payments', { semantics: 'exactly-once' });
  const first = await queue.send('1999', { key: 'order-42' });
  assert.deepEqual(await queue.send('1999', { key: 'order-42' }), { id: first.id, duplicate: true });
  await rejects(queue.send('2999', { key: 'order-42' }), 'Conflict', /order-42/);
  await rejects(queue.send('1999'), 'Invalid', /key/);
  assert.equal((await queue.stats()).ready, 1);
});

test('settings are stored in the file and stay when others are set', async (t) => {
  const path = `${folder(t)}/a.db`;
  const store = await opened(t, path);
  await store.queue('jobs', {
    semantics: 'at-least-once',
    leaseMs: 1500,
    attemptsMax: 'unlimited',
    backoff: { firstMs: 10, factor: 1 },
    deduplicationWindowMs: 'forever',
  });
  const other = await opened(t, path);
  const queue = await other.queue('jobs', { attemptsMax: 7 });
  assert.deepEqual(await queue.settings(), {
    semantics: 'at-least-once',
    leaseMs: 1500,
    attemptsMax: 7,
    backoff: { firstMs: 10, factor: 1, capMs: 3_600_000, jitter: 0.5 },
    deduplicationWindowMs: 'forever',
    paused: false,
  });
  assert.deepEqual([await other.queues(), queue.semantics, queue.name], [['jobs'], 'at-least-once', 'jobs']);
  await rejects(other.queue('jobs', { semantics: 'exactly-once' }), 'Conflict', /at-least-once/);
  await rejects(other.queue('nowhere'), 'NotFound');
});

test('every subscription sees every message', async (t) => {
  const store = await opened(t);
  const queue = await store.queue('orders', { semantics: 'at-least-once', subscriptions: ['billing', 'audit'] });
  await queue.send('a');
  const late = await queue.subscribe('late', { start: 'oldest' });
  for (const name of ['billing', 'audit', 'late']) {
    const subscription = await queue.subscription(name);
    assert.equal((await subscription.receive()).body.toString(), 'a');
    assert.equal(subscription.queue, queue);
  }
  assert.equal(late.name, 'late');
  await rejects(queue.receive(), 'NotFound', /default/);
  await queue.unsubscribe('audit');
  assert.deepEqual(await queue.subscriptions(), ['billing', 'late']);
  await rejects(queue.subscription('audit'), 'NotFound');
});

test('a default subscription that was ended and begun anew is found again', async (t) => {
  const store = await opened(t);
  const queue = await store.queue('orders', { semantics: 'at-least-once' });
  assert.equal(await queue.receive(), null);
  await queue.subscribe('other');
  await queue.unsubscribe('default');
  await rejects(queue.receive(), 'NotFound');
  await queue.subscribe('default');
  await queue.send('a');
  assert.equal((await queue.receive()).body.toString(), 'a');
});

test('looking, cancelling, purging and pausing', async (t) => {
  const store = await opened(t);
  const queue = await store.queue('jobs', { semantics: 'at-least-once' });
  const [a, , c] = await queue.sendMany(['a', 'b', { body: 'c', delayMs: 60_000, headers: { h: 'x' } }]);
  assert.deepEqual((await queue.peek(10)).map((seen) => [seen.id, seen.attempts, seen.body.toString()])[0], [a.id, 0, 'a']);
  assert.deepEqual(await queue.unfinished([a.id, c.id]), [a.id, c.id]);
  assert.equal(await queue.cancel(a.id), true);
  assert.equal(await queue.cancel(a.id), false);
  await queue.pause();
  assert.equal(await queue.isPaused(), true);
  assert.equal(await queue.receive(), null);
  await queue.resume();
  const stats = await queue.stats();
  assert.deepEqual([stats.ready, stats.delayed, stats.inFlight], [1, 1, 0]);
  assert.ok(stats.oldestAgeMs >= 0);
  assert.equal(await queue.purge(), 2);
  assert.deepEqual(await queue.unfinished([a.id, c.id]), []);
  assert.equal((await queue.stats()).oldestAgeMs, null);
});

test('dead letters say why, and go on when they are redriven', async (t) => {
  const store = await opened(t);
  const queue = await store.queue('jobs', { semantics: 'at-least-once', attemptsMax: 1 });
  await queue.sendMany(['a', 'b']);
  const [a, b] = await queue.receiveMany(2);
  await a.nack({ error: 'broken' });
  await b.deadLetter('no such customer');
  const letters = await queue.deadLetters();
  assert.deepEqual(letters.map((dead) => [dead.id, dead.error, dead.attempts]), [[a.id, 'broken', 1], [b.id, null, 1]]);
  assert.equal(letters[1].reason, 'no such customer');
  assert.ok(letters[0].diedAt instanceof Date);
  assert.deepEqual((await queue.deadLetters({ after: a.id, max: 1 })).map((dead) => dead.id), [b.id]);
  assert.equal(await queue.redrive([a.id]), 1);
  assert.equal((await queue.receive()).attempt, 1);
  assert.equal(await queue.purgeDead(), 1);
  assert.equal((await queue.stats()).dead, 0);
});

test('statistics of the store, and its path', async (t) => {
  const path = `${folder(t)}/a.db`;
  const store = await opened(t, path);
  await store.queue('jobs', { semantics: 'at-least-once' });
  const stats = await store.stats();
  assert.deepEqual([stats.queues, stats.inDoubt, store.path], [1, 0, path]);
  assert.match(stats.sqliteVersion, /^3\./);
  assert.ok(stats.fileBytes > 0);
});
