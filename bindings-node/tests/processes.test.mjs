// Real processes: the event loop, exits, kills.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PATIENCE_MS, folder, opened, program } from './helpers.mjs';

test('while another process holds the write lock for two seconds, the event loop keeps ticking', async (t) => {
  const path = `${folder(t)}/a.db`;
  const store = await opened(t, path, { busyTimeoutMs: PATIENCE_MS });
  const queue = await store.queue('jobs', { semantics: 'exactly-once' });
  await queue.send('first', { key: 'first' });
  const held = await queue.receive();
  const holder = program(t, 'hold_lock', path, 2000);
  assert.equal(await holder.line(), 'held');
  let waiting = true;
  let ticks = 0;
  let waitedThrough = 0;
  const ticker = setInterval(() => (ticks += 1), 5);
  // More calls than libuv's pool, or ours, has threads; and of every kind that writes.
  const writes = Promise.all([
    ...Array.from({ length: 60 }, (_, index) => queue.send('x', { key: `${index}` })),
    ...Array.from({ length: 60 }, () => queue.pause().then(() => queue.resume())),
    held.ack(),
    store.transaction((tx) => tx.execute('CREATE TABLE t(x)')),
    queue.consume({ waitMs: 0 }).next(),
  ]).finally(() => (waiting = false));
  const { readFile } = await import('node:fs/promises');
  while (waiting && ticks < 100) {
    await sleep(5);
    await readFile(import.meta.filename); // libuv's own pool is free for others.
    if (waiting) waitedThrough = ticks;
  }
  assert.ok(waitedThrough >= 20, `the loop ticked ${waitedThrough} times while the calls waited`);
  await writes;
  clearInterval(ticker);
  assert.deepEqual(await holder.end(), { code: 0, signal: null, errors: '' });
});

for (const how of ['idle', 'handles', 'exit', 'exit-in-call', 'throw', 'worker']) {
  test(`a process ends cleanly: ${how}`, async (t) => {
    const path = `${folder(t)}/a.db`;
    const leaving = program(t, 'leaving', path, how);
    assert.equal(await leaving.line(), 'ready');
    const { code, signal, errors } = await leaving.end();
    assert.deepEqual([code, signal], [how === 'throw' ? 1 : how.startsWith('exit') ? 7 : 0, null], errors);
    if (how === 'throw') assert.match(errors, /thrown on purpose/);
    else assert.equal(errors, '');
    // What it held is offered again at once, and nothing is lost.
    const store = await opened(t, path);
    const queue = await store.queue('jobs');
    const left = await queue.receiveMany(10, { waitMs: PATIENCE_MS });
    assert.deepEqual(left.map((delivery) => delivery.body.toString()), ['held']);
  });
}

test('a consumer keeps its process alive until a message comes', async (t) => {
  const path = `${folder(t)}/a.db`;
  const store = await opened(t, path);
  const queue = await store.queue('jobs', { semantics: 'at-least-once' });
  const worker = program(t, 'leaving', path, 'consume');
  assert.equal(await worker.line(), 'ready');
  await sleep(300);
  assert.equal(worker.child.exitCode, null);
  await queue.send('stop');
  assert.deepEqual(await worker.end(), { code: 0, signal: null, errors: '' });
  assert.equal((await queue.stats()).inFlight, 0);
});

test('workers that are killed lose nothing and do no effect twice', async (t) => {
  const path = `${folder(t)}/a.db`;
  const store = await opened(t, path, { busyTimeoutMs: PATIENCE_MS });
  const queue = await store.queue('jobs', { semantics: 'exactly-once', attemptsMax: 'unlimited' });
  await store.transaction((tx) => tx.execute('CREATE TABLE effects(message INTEGER, worker INTEGER)'));
  const count = 300;
  await queue.sendMany(Array.from({ length: count }, (_, index) => ({ body: `${index}`, key: `${index}` })));
  let kills = 0;
  let worker = program(t, 'worker', path);
  while ((await queue.stats()).ready + (await queue.stats()).inFlight + (await queue.stats()).delayed > 0) {
    if (kills < 8) {
      for (let line = 0; line < 10; line += 1) await worker.line();
      worker.child.kill('SIGKILL');
      assert.equal((await worker.end()).signal, 'SIGKILL');
      kills += 1;
      worker = program(t, 'worker', path);
    } else {
      await sleep(20);
    }
  }
  const { rows } = await store.transaction((tx) =>
    tx.query('SELECT count(*), count(DISTINCT message), count(DISTINCT worker) FROM effects'),
  );
  assert.deepEqual(rows[0].slice(0, 2), [count, count]);
  assert.ok(rows[0][2] >= 8, `${rows[0][2]} workers had effects`);
});
