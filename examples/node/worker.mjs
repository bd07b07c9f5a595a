// Books payments: `node worker.mjs shop.db`. The entry and the acknowledgement are one commit, so kill it at any moment and start
// as many as you like: each payment is booked exactly once. With a number of seconds it ends when none came for so long.
import { open } from 'onceward';

const [path = 'shop.db', seconds] = process.argv.slice(2);
const store = await open(path);
try {
  const payments = await store.queue('payments', { semantics: 'exactly-once' });
  await store.transaction((tx) =>
    tx.execute('CREATE TABLE IF NOT EXISTS entries(order_id INTEGER PRIMARY KEY, cents INTEGER NOT NULL)'),
  );
  const consumer = payments.consume(seconds === undefined ? {} : { waitMs: Number(seconds) * 1000 });
  process.once('SIGTERM', () => consumer.stop());
  for await (const delivery of consumer) {
    const { order, cents } = JSON.parse(delivery.body);
    await delivery.transaction((tx) => tx.execute('INSERT INTO entries(order_id, cents) VALUES (?, ?)', [order, cents]));
    console.log(`order ${order}: booked`);
  }
} finally {
  await store.close();
}
