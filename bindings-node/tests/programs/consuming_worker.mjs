// A worker thread that consumes and never settles: it says what it got, and throws when it is told to.
import { parentPort, workerData } from 'node:worker_threads';
import { open } from 'onceward';

const store = await open(workerData);
const queue = await store.queue('jobs');
parentPort.on('message', () => {
  throw new Error('thrown on purpose');
});
for await (const delivery of queue.consume()) parentPort.postMessage(delivery.body.toString());
