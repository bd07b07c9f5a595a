// Does one effect for each message, in one commit with its acknowledgement, and says so.
import { open } from 'onceward';

const store = await open(process.argv[2], { busyTimeoutMs: 60_000 });
const queue = await store.queue('jobs');
for await (const delivery of queue.consume({ batch: 20 })) {
  await delivery.transaction((tx) => tx.execute('INSERT INTO effects VALUES (?, ?)', [delivery.id, process.pid]));
  console.log(delivery.id);
}
