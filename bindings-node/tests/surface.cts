// CommonJS sees the same types.
import onceward = require('onceward');

export async function count(path: string): Promise<number> {
  const store: onceward.Store = await onceward.open(path);
  const { queues } = await store.stats();
  await store.close();
  return queues;
}
