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

async function receive(queue) {
  const bodies = [];
  const start = performance.now();
  while (bodies.length < count) {
    const deliveries = await queue.receiveMany(batch);
    for (const delivery of deliveries) bodies.push(delivery.body);
    const lost = await queue.ack(deliveries);
    if (lost.length > 0 || deliveries.length !== batch) {
      throw new Error(`${deliveries.length} of ${batch} came, ${lost.length} leases were lost`);
    }
  }
  return [performance.now() - start, bodies];
}

const store = await open(path);
const queue = await store.queue('bench', { semantics: 'at-least-once' });
let [handled, sum] = [0, 0n];
console.log('ready');
for await (const _ of createInterface({ input: process.stdin })) {
  const [millis, bodies] = call === 'send' ? await send(queue, handled) : await receive(queue);
  handled += count;
  for (const body of bodies) sum += Buffer.from(body).readBigUInt64LE();
  console.log(count / (millis / 1000));
}
await store.close();
console.log(`count ${handled}\nsum ${sum}`);
