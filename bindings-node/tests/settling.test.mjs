// Receiving, waiting, settling, consuming.
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { open } from 'onceward';
import { opened, rejects } from './helpers.mjs';

async function filled(t, count, options = {}) {
  const store = await opened(t);
  const queue = await store.queue('jobs', { semantics: 'at-least-once', backoff: { firstMs: 1, jitter: 0 }, ...options });
  if (count > 0) await queue.sendMany(Array.from({ length: count }, (_, index) => `${index}`));
  return queue;
}

test('a delivery is settled once, and its late twin learns that the lease was lost', async (t) => {
  const queue = await filled(t, 1, { leaseMs: 1 });
  const first = await queue.receive();
  const second = await queue.receive({ waitMs: 10_000, leaseMs: 60_000 });
  assert.deepEqual([second.id, second.attempt], [first.id, 2]);
  assert.ok(second.token > first.token);
  await rejects(first.ack(), 'LeaseLost');
  assert.deepEqual(await queue.ack([first]), [first.receipt]);
  await second.ack();
  assert.deepEqual([first.settled, second.settled], [false, true]);
  await rejects(second.nack(), 'Invalid', /already/);
});

test('a delivery that is settled several times at once is settled once', async (t) => {
  const queue = await filled(t, 4);
  const settles = [(d) => d.ack(), (d) => d.nack({ delayMs: 60_000 }), (d) => d.deadLetter('enough'), (d) => d.release()];
  for (const [index, delivery] of (await queue.receiveMany(4)).entries()) {
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => settles[index](delivery)));
    const refused = outcomes.filter(({ status }) => status === 'rejected');
    assert.equal(refused.length, 7);
    for (const { reason } of refused) assert.equal(reason.code, 'Invalid', reason.message);
  }
});

test('many are settled in one call, by delivery or by receipt, and the same again gives the same answer', async (t) => {
  const queue = await filled(t, 4);
  const [a, b, c, d] = await queue.receiveMany(10);
  assert.deepEqual(await queue.ack([a, b.receipt]), []);
  assert.deepEqual(await queue.ack([a.receipt, b.receipt]), []);
  assert.equal(a.settled, true);
  await rejects(a.ack(), 'Invalid', /already/);
  await queue.release([c]);
  assert.deepEqual(await queue.extend([d], 60_000), []);
  const [received, before] = [d.leaseExpiresAt, Date.now()];
  await d.extend(3_600_000);
  assert.ok(d.leaseExpiresAt > received && d.leaseExpiresAt >= before + 3_600_000, 'it says when the lease ends now');
  const again = await queue.receive();
  assert.deepEqual([again.id, again.attempt], [c.id, 1]);
  await queue.nack([again], { error: 'why', delayMs: 0 });
  assert.equal((await queue.receive()).attempt, 2);
  await queue.deadLetter([d], 'enough');
  assert.equal((await queue.deadLetters())[0].reason, 'enough');
});

test('at most once: there is nothing to give back', async (t) => {
  const queue = await filled(t, 1, { semantics: 'at-most-once' });
  const delivery = await queue.receive();
  await rejects(delivery.release(), 'Invalid');
  await delivery.ack();
  assert.equal(await queue.receive(), null);
});

test('a receiver that waits is woken by a send', async (t) => {
  const queue = await filled(t, 0);
  const waiting = queue.receive({ waitMs: 60_000 });
  await sleep(20);
  await queue.send('x');
  assert.equal((await waiting).body.toString(), 'x');
});

test('more receivers wait than any pool of threads holds, and sends go through', async (t) => {
  const queue = await filled(t, 0);
  const waiting = Array.from({ length: 200 }, () => queue.receive({ waitMs: 60_000 }));
  await queue.sendMany(waiting.map((_, index) => `${index}`));
  const ids = (await Promise.all(waiting)).map((delivery) => delivery.id);
  assert.equal(new Set(ids).size, 200);
});

test('a signal ends a wait with its reason, and leaves no listener', async (t) => {
  const queue = await filled(t, 0);
  const reason = new Error('enough');
  const controller = new AbortController();
  const { signal } = controller;
  const waiting = [queue.receive({ waitMs: 60_000, signal }), queue.receiveMany(10, { waitMs: 60_000, signal })];
  setTimeout(() => controller.abort(reason), 20);
  for (const wait of waiting) await assert.rejects(wait, (error) => error === reason);
  assert.equal(getEventListeners(signal, 'abort').length, 0);
  await assert.rejects(queue.receive({ signal }), (error) => error === reason);
  await assert.rejects(queue.receiveMany(10, { signal }), (error) => error === reason);
  await queue.sendMany(['x', 'y']);
  const kept = new AbortController();
  assert.equal((await queue.receive({ waitMs: 60_000, signal: kept.signal })).attempt, 1);
  assert.equal((await queue.receiveMany(10, { waitMs: 60_000, signal: kept.signal })).length, 1);
  assert.equal(getEventListeners(kept.signal, 'abort').length, 0);
});

test('consuming hands out everything once, and leaving the loop gives back the rest', async (t) => {
  const queue = await filled(t, 5);
  const seen = [];
  for await (const delivery of queue.consume({ batch: 3, waitMs: 0 })) {
    seen.push(delivery.body.toString());
    await delivery.ack();
    if (seen.length === 4) break;
  }
  assert.deepEqual(seen, ['0', '1', '2', '3']);
  const left = await queue.receiveMany(10);
  assert.deepEqual(left.map((delivery) => [delivery.body.toString(), delivery.attempt]), [['4', 1]]);
});

test('consuming quickly, batches ahead of their turn are handed out once and in order, and given back unused', async (t) => {
  const queue = await filled(t, 1000);
  const seen = [];
  for await (const delivery of queue.consume({ batch: 10 })) {
    seen.push(Number(delivery.body));
    await delivery.ack();
    if (seen.length === 555) break;
  }
  assert.deepEqual(seen, Array.from({ length: 555 }, (_, number) => number));
  assert.deepEqual([(await queue.stats()).ready, (await queue.stats()).inFlight], [445, 0]);
  const left = await queue.receiveMany(1000);
  assert.deepEqual(left.map(({ body }) => Number(body)).sort((a, b) => a - b), Array.from({ length: 445 }, (_, at) => 555 + at));
  assert.ok(left.every(({ attempt }) => attempt === 1), 'none has used an attempt');
});

test('what was received ahead is not handed out when its line was given back meanwhile', async (t) => {
  const queue = await filled(t, 0);
  await queue.sendMany(['a', 'b', 'a2'].map((body) => ({ body, orderingKey: body[0] })));
  const seen = [];
  for await (const delivery of queue.consume({ waitMs: 0 })) {
    seen.push(delivery.body.toString());
    if (seen.length === 1) await delivery.nack({ delayMs: 60_000 });
    else await delivery.ack();
  }
  assert.deepEqual(seen, ['a', 'b']);
});

test('a consumer that is stopped by its handler ends and gives back what it had received', async (t) => {
  const queue = await filled(t, 3);
  const consumer = queue.consume();
  for await (const delivery of consumer) {
    await delivery.ack();
    consumer.stop();
  }
  assert.deepEqual([(await queue.stats()).ready, (await queue.stats()).inFlight], [2, 0]);
});

test('an error in the loop gives back what was not settled, as failed', async (t) => {
  const queue = await filled(t, 1);
  await assert.rejects(async () => {
    for await (const delivery of queue.consume()) throw new TypeError(`no ${delivery.id}`);
  }, TypeError);
  assert.equal((await queue.receive({ waitMs: 10_000 })).attempt, 2);
});

test('stop ends a consumer that waits for ever, a signal rejects it, and closing it twice does nothing', async (t) => {
  const queue = await filled(t, 0);
  const consumer = queue.consume();
  setTimeout(() => consumer.stop(), 30);
  for await (const delivery of consumer) assert.fail(`nothing was sent, and ${delivery.id} came`);
  assert.deepEqual(await consumer.next(), { done: true, value: undefined });
  await consumer.close();
  await consumer.close();
  const signal = AbortSignal.timeout(30);
  const aborted = (async () => {
    for await (const delivery of queue.consume({ signal })) assert.fail(`${delivery.id}`);
  })();
  await assert.rejects(aborted, (error) => error === signal.reason);
});

test('a consumer that is disposed of gives back what is in hand, and a store that is disposed of is closed', async (t) => {
  const queue = await filled(t, 1, { semantics: 'at-least-once', backoff: { firstMs: 0 } });
  const consumer = queue.consume();
  assert.equal((await consumer.next()).value.attempt, 1);
  await consumer[Symbol.asyncDispose]();
  assert.deepEqual(await consumer.next(), { done: true, value: undefined });
  assert.equal((await queue.receive()).attempt, 2);
  const store = await open(':memory:');
  await store[Symbol.asyncDispose]();
  await rejects(store.stats(), 'Closed');
});

test('a noted acknowledgement that came too late is an error of the next call, and consuming goes on', async (t) => {
  const queue = await filled(t, 2);
  const consumer = queue.consume({ batch: 1, waitMs: 10_000 });
  const first = (await consumer.next()).value;
  assert.deepEqual(await queue.deadLetter([first.receipt], 'taken away'), []);
  await first.ack();
  await consumer.flush();
  await rejects(consumer.next(), 'LeaseLost');
  const second = (await consumer.next()).value;
  assert.equal(second.body.toString(), '1');
  await second.ack();
  await consumer.close();
  assert.deepEqual([(await queue.stats()).inFlight, (await queue.stats()).dead], [0, 1]);
});

test('closing the store ends what waits', async (t) => {
  const queue = await filled(t, 0);
  const store = await opened(t);
  const other = await store.queue('jobs', { semantics: 'at-least-once' });
  const waiting = [other.receive({ waitMs: 60_000 }), other.consume().next()].map((promise) => rejects(promise, 'Closed'));
  await sleep(20);
  await store.close();
  await Promise.all(waiting);
  await rejects(other.send('x'), 'Closed');
  assert.equal(await queue.receive(), null);
});

test('a flush commits while the consumer waits for more', async (t) => {
  const store = await opened(t);
  const queue = await store.queue('jobs', { semantics: 'at-least-once' });
  await queue.send('x');
  const consumer = queue.consume();
  const { value: delivery } = await consumer.next();
  const waiting = consumer.next();
  await sleep(20);
  await delivery.ack();
  await consumer.flush();
  assert.equal((await queue.stats()).inFlight, 0);
  consumer.stop();
  assert.equal((await waiting).done, true);
  await consumer.close();
});

test('an error text with a NUL gives a delivery back as any other', async (t) => {
  const store = await opened(t);
  const queue = await store.queue('jobs', { semantics: 'at-least-once', backoff: { firstMs: 0, jitter: 0 } });
  await queue.send('x');
  const consumer = queue.consume({ batch: 1, waitMs: 10_000 });
  const { value: delivery } = await consumer.next();
  const failing = delivery.transaction(() => Promise.reject(new Error('bad \0 text')));
  await assert.rejects(failing, /bad/);
  const { value: again } = await consumer.next();
  assert.deepEqual([again.id, again.attempt], [delivery.id, 2]);
  await again.deadLetter('poison');
  assert.equal((await queue.deadLetters())[0].error, 'Error: bad \ufffd text');
  await consumer.close();
});
