// Receives a payment, begins its call, and never comes back from it.
import { open } from 'onceward';

const store = await open(process.argv[2]);
const queue = await store.queue('payments');
const delivery = await queue.receive({ waitMs: 60_000 });
const call = () => {
  console.log('calling');
  return new Promise(() => setInterval(() => {}, 1000));
};
await delivery.once('charge', call, { onUnknown: 'probe', settleMs: 50, probe: () => 'unknown' });
