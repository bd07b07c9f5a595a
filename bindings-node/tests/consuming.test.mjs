// Consuming as programs do: with handlers at work side by side, several loops, workers that die, and consumers forgotten.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { PATIENCE_MS, folder, opened, rejects } from './helpers.mjs';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');

async function queueOf(t, count, options = { semantics: 'at-least-once' }) {
  const store = await opened(t);
  const queue = await store.queue('jobs', options);
  await queue.sendMany(Array.from({ length: count }, (_, index) => `${index}`));
  return queue;
}

for (const end of ['the wait is over', 'it is stopped']) {
  test(`when ${end}, deliveries in hand stay in hand, and the rest is released`, async (t) => {
    const queue = await queueOf(t, 3);
    const consumer = queue.consume(end === 'it is stopped' ? {} : { waitMs: 0, batch: 2 });
    const working = [];
    for await (const delivery of consumer) {
      working.push(delivery);
      if (end === 'it is stopped' && working.length === 2) consumer.stop();
    }
    const left = end === 'it is stopped' ? 1 : 0;
    const { ready, inFlight } = await queue.stats();
    assert.deepEqual([ready, inFlight], [left, working.length]);
    assert.ok((await consumer.next()).done);
    await Promise.all(working.map((delivery) => delivery.ack()));
    assert.equal((await queue.stats()).inFlight, 0, 'an acknowledgement waits for nothing any more');
    await consumer.close();
  });
}

test('closing a consumer that has ended gives back what is in hand', async (t) => {
  const queue = await queueOf(t, 1, { semantics: 'at-least-once', backoff: { firstMs: 0 } });
  const consumer = queue.consume({ waitMs: 0 });
  let kept;
  for await (const delivery of consumer) kept = delivery;
  assert.equal((await queue.stats()).inFlight, 1);
  await consumer.close();
  assert.equal((await queue.stats()).inFlight, 0);
  await rejects(kept.ack(), 'LeaseLost');
});

test('several callers may ask for the next delivery at once: each message goes to one of them', async (t) => {
  const queue = await queueOf(t, 0);
  const consumer = queue.consume();
  const asked = [consumer.next(), consumer.next(), consumer.next()];
  await sleep(50);
  await queue.sendMany(['a', 'b']);
  await queue.send('c');
  const found = await Promise.all(asked);
  assert.deepEqual(found.map(({ value }) => value.body.toString()).sort(), ['a', 'b', 'c']);
  await consumer.close();
});

test('two loops over one consumer share the messages', async (t) => {
  const queue = await queueOf(t, 0);
  const consumer = queue.consume();
  const handled = { first: [], second: [] };
  // The first waits for what only the second can do.
  let go;
  const gone = new Promise((resolve) => (go = resolve));
  const loop = async (name) => {
    for await (const delivery of { [Symbol.asyncIterator]: () => ({ next: () => consumer.next() }) }) {
      handled[name].push(delivery.body.toString());
      if (handled.first.length + handled.second.length === 1) await gone;
      else go();
      await delivery.ack();
      if (handled.first.length + handled.second.length === 2) consumer.stop();
    }
  };
  const loops = [loop('first'), loop('second')];
  await sleep(50);
  await queue.sendMany(['a', 'b']);
  await Promise.all(loops);
  assert.deepEqual([...handled.first, ...handled.second].sort(), ['a', 'b']);
  await consumer.close();
});

test('when a consumer is stopped, everyone who waits for it ends', async (t) => {
  const queue = await queueOf(t, 0);
  const consumer = queue.consume();
  const asked = [consumer.next(), consumer.next()];
  await sleep(50);
  consumer.stop();
  assert.deepEqual(await Promise.all(asked), [
    { done: true, value: undefined },
    { done: true, value: undefined },
  ]);
});

test('a delivery stays in hand when its consumer is forgotten', async (t) => {
  const queue = await queueOf(t, 2, { semantics: 'at-least-once', leaseMs: 1_000 });
  const taken = await (async () => (await queue.consume({ batch: 2 }).next()).value)();
  const until = performance.now() + PATIENCE_MS;
  // Collected, it releases what was not handed out.
  while ((await queue.stats()).ready === 0 && performance.now() < until) {
    collect();
    await sleep(20);
  }
  assert.equal((await queue.stats()).ready, 1);
  await sleep(2_000);
  const other = await queue.receive();
  assert.equal(other.body.toString(), '1');
  assert.equal(await queue.receive(), null, 'the lease of the first is extended');
  await taken.ack();
});

for (const semantics of ['at-least-once', 'at-most-once']) {
  for (const how of ['is terminated', 'throws']) {
    test(`a worker that ${how} leaves no consumer behind: ${semantics}`, async (t) => {
      const path = `${folder(t)}/a.db`;
      const store = await opened(t, path);
      const queue = await store.queue('jobs', { semantics });
      await queue.send('first');
      const worker = new Worker(new URL('programs/consuming_worker.mjs', import.meta.url), { workerData: path });
      assert.deepEqual(await once(worker, 'message'), ['first']);
      const exited = new Promise((resolve) => worker.once('exit', resolve));
      if (how === 'throws') {
        worker.on('error', () => {});
        worker.postMessage('throw');
      } else {
        await worker.terminate();
      }
      await exited;
      if (semantics === 'at-least-once') {
        // Its lease is the default one; it is offered again because its holder is gone, not because it ran out.
        assert.equal((await queue.receive({ waitMs: 20_000 }))?.body.toString(), 'first');
      } else {
        // Whoever had waited on would take what comes, and nobody would ever see it.
        await sleep(500);
      }
      await queue.sendMany(['a', 'b', 'c']);
      const rest = await queue.receiveMany(10, { waitMs: 20_000 });
      assert.deepEqual(rest.map((delivery) => delivery.body.toString()), ['a', 'b', 'c']);
    });
  }
}
