// Payments to be booked: `node sender.mjs shop.db 10` sends ten. Send them again, after a crash for one: nothing doubles.
import { open } from 'onceward';

const [path = 'shop.db', count = '10'] = process.argv.slice(2);
const store = await open(path);
try {
  const payments = await store.queue('payments', { semantics: 'exactly-once' });
  for (let order = 1; order <= Number(count); order += 1) {
    const body = JSON.stringify({ order, cents: 1000 + order });
    const { duplicate } = await payments.send(body, { key: `order-${order}` });
    console.log(`order ${order}: ${duplicate ? 'was sent before' : 'sent'}`);
  }
} finally {
  await store.close();
}
