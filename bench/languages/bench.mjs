// The Node side of the comparison: bench.mjs CALL FILE COUNT BATCH, started by the benchmark.
//
// Says "ready", does one run for each line that it reads, and says how many messages it handled in a second; at the end of its input
// it says what it handled in all. The bodies begin with their number.
import { createInterface } from 'node:readline';
import { open } from '../../bindings-node/index.mjs';

const [call, path] = process.argv.slice(2, 4);
const [count, batch] = process.argv.slice(4).map(Number);

async function send(queue, first) {
  const bodies = Array.from({ length: count }, (_, at) => {
    const body = Buffer.alloc(100);
    body.writeBigUInt64LE(BigInt(first + at));
    return body;
  });
  const start = performance.now();
  for (let at = 0; at < count; at += batch) await queue.sendMany(bodies.slice(at, at + batch));
  return [performance.now() - start, bodies];
}

function checked(deliveries, lost) {
  if (lost.length > 0 || deliveries.length !== batch) {
    throw new Error(`${deliveries.length} of ${batch} came, ${lost.length} leases were lost`);
  }
}

/** One call after the other. */
async function receive(queue) {
  const bodies = [];
  const start = performance.now();
  while (bodies.length < count) {
    const deliveries = await queue.receiveMany(batch);
    for (const delivery of deliveries) bodies.push(delivery.body);
    checked(deliveries, await queue.ack(deliveries));
  }
  return [performance.now() - start, bodies];
}

/** Six loops at once. */
async function loops(queue) {
  const bodies = [];
  let begun = 0;
  const loop = async () => {
    while ((begun += batch) <= count) {
      const deliveries = await queue.receiveMany(batch);
      for (const delivery of deliveries) bodies.push(delivery.body);
      checked(deliveries, await queue.ack(deliveries));
    }
  };
  const start = performance.now();
  await Promise.all([loop(), loop(), loop(), loop(), loop(), loop()]);
  return [performance.now() - start, bodies];
}

async function consume(queue) {
  const bodies = [];
  const start = performance.now();
  for await (const delivery of queue.consume({ batch })) {
    bodies.push(delivery.body);
    await delivery.ack();
    if (bodies.length === count) break;
  }
  return [performance.now() - start, bodies];
}

const run = { send, receive, loops, consume }[call];
const store = await open(path);
const queue = await store.queue('bench', { semantics: 'at-least-once' });
let [handled, sum] = [0, 0n];
console.log('ready');
for await (const _ of createInterface({ input: process.stdin })) {
  const [millis, bodies] = await run(queue, handled);
  handled += count;
  for (const body of bodies) sum += Buffer.from(body).readBigUInt64LE();
  console.log(count / (millis / 1000));
}
await store.close();
console.log(`count ${handled}\nsum ${sum}`);
