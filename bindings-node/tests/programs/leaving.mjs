// Holds a message, and leaves in one of several ways without closing its store.
import { writeSync } from 'node:fs';
import { Worker, isMainThread, workerData } from 'node:worker_threads';
import { open } from 'onceward';

const [path, how] = isMainThread ? process.argv.slice(2) : workerData;
const store = await open(path);
const queue = await store.queue('jobs', { semantics: 'at-least-once' });
const ready = () => writeSync(1, 'ready\n');

if (how === 'consume') {
  ready();
  for await (const delivery of queue.consume()) {
    await delivery.ack();
    break;
  }
} else if (how === 'worker' && isMainThread) {
  await store.close();
  new Worker(import.meta.filename, { argv: process.argv.slice(2), workerData: [path, 'exit-in-worker'] });
} else {
  await queue.send('held');
  await queue.receive({ leaseMs: 3_600_000 });
  if (how !== 'idle') {
    // Handles of every kind stay open.
    globalThis.kept = [await store.transaction(), await store.ledger('l'), queue.consume({ waitMs: 0 })];
    await globalThis.kept[2].next();
  }
  ready();
  if (how === 'exit') process.exit(7);
  if (how === 'throw') throw new Error('thrown on purpose');
  if (how.startsWith('exit-in')) {
    for (let index = 0; index < 20; index += 1) queue.receive({ waitMs: 60_000 }).catch(() => {});
    queue.consume().next().catch(() => {});
    setTimeout(() => process.exit(7), 50);
  }
}
