// Uses the whole surface, so that `tsc --strict` checks its types; `surface.test.mjs` checks that every method occurs here.
import {
  CODES, Consumer, Delivery, Ledger, OncewardError, Queue, Receiver, Store, Subscription, Transaction, open, version,
  type DeadLetter, type ErrorCode, type InDoubt, type Peeked, type Receipt, type Resolved, type SqlValue,
} from 'onceward';

export async function everything(path: string, signal: AbortSignal): Promise<void> {
  await using store: Store = await open(path, { busyTimeoutMs: 1, bodyBytesMax: 1024, walBytesMax: 2 ** 26, create: true });
  const queue: Queue = await store.queue('payments', {
    semantics: 'exactly-once', leaseMs: 1000, attemptsMax: 'unlimited', backoff: { firstMs: 1 },
    deduplicationWindowMs: 'forever', subscriptions: new Set(['default']),
  });
  const names: string[] = [...(await store.queues()), ...(await store.ledgers()), store.path, queue.name, version];
  const { id, duplicate }: { id: number; duplicate: boolean } = await queue.send('text', {
    key: 'k', headers: { a: 'b', c: new Uint8Array(1) }, priority: 1, timeToLiveMs: 5, deliverAt: new Date(),
  });
  await queue.sendMany(['a', new Uint8Array(2), { body: Buffer.from('x'), key: 'y', delayMs: 3, orderingKey: 'o' }]);
  await settle(queue, await queue.receiveMany(10, { waitMs: 1, leaseMs: 1000, signal }));
  const subscription: Subscription = await queue.subscribe('audit', { start: 'oldest' });
  await look(subscription, (await queue.subscription('audit')).queue);
  await queue.unsubscribe('audit');
  const cancelled: boolean = await queue.cancel(id);
  await queue.pause();
  const paused: boolean = (await queue.isPaused()) && (await queue.settings()).paused;
  await queue.resume();
  const purged: number = await queue.purge();
  await consume(queue, signal);
  await doubts(store);
  await transactions(store, queue);
  const codes: readonly ErrorCode[] = CODES;
  console.log(names, duplicate, cancelled, paused, purged, codes, await queue.subscriptions(), queue.semantics);
  await store.close();
}

async function settle(receiver: Receiver, deliveries: Delivery[]): Promise<void> {
  const lost: Receipt[] = await receiver.ack(deliveries);
  await receiver.nack([{ id: 1, token: 2 }], { delayMs: 1, error: 'why' });
  await receiver.deadLetter(deliveries, 'why');
  await receiver.release(deliveries);
  await receiver.extend(lost, 1000);
  const one: Delivery | null = await receiver.receive();
  if (one === null) return;
  const body: Buffer = one.body;
  const header: string | Buffer | undefined = one.headers['a'];
  console.log(body, header, one.token, one.attempt, one.key, one.orderingKey, one.priority, one.sentAt.getTime(), one.leaseExpiresAt.getTime(), one.receipt);
  if (!one.settled && one.receiver === receiver) await one.ack();
  await one.nack({ error: 'why' });
  await one.deadLetter('why');
  await one.release();
  await one.extend(1000);
}

async function look(receiver: Receiver, queue: Queue): Promise<void> {
  const seen: Peeked[] = await receiver.peek(1);
  const dead: DeadLetter[] = await queue.deadLetters({ after: 1, max: 10 });
  const open: number[] = await receiver.unfinished(seen.map((one) => one.id));
  const oldest: number | null = (await receiver.stats()).oldestAgeMs;
  console.log(open, oldest, await receiver.redrive(dead.map((one) => one.id)), await receiver.purgeDead());
}

async function consume(queue: Queue, signal: AbortSignal): Promise<void> {
  await using consumer: Consumer = queue.consume({ batch: 10, waitMs: 1, leaseMs: 1000, signal });
  for await (const delivery of consumer) {
    const charge: Buffer = await delivery.once('charge', async () => 'receipt', {
      onUnknown: 'probe', settleMs: 1000, probe: async () => ({ applied: 'receipt' }),
      failedOn: (error) => error instanceof TypeError, idempotentForMs: 1,
    });
    console.log(charge, await delivery.idempotencyKey('charge'));
    await delivery.ack();
    consumer.stop();
  }
  const further = await consumer.next();
  if (!further.done) await further.value.ack();
  await consumer.flush();
  await consumer.close();
}

async function doubts(store: Store): Promise<void> {
  const ledger: Ledger = await store.ledger('refunds', { windowMs: 1000 });
  await ledger.once('key', () => new Uint8Array(1), { onUnknown: 'park', waitMs: 1, request: 'what', signal: AbortSignal.timeout(1) });
  // @ts-expect-error -- there is no default for an unknown outcome
  await ledger.once('key', () => 'x', {});
  // @ts-expect-error -- a probe takes a settle delay
  await ledger.once('key', () => 'x', { onUnknown: 'probe', probe: () => 'unknown' });
  console.log(ledger.name, await ledger.idempotencyKey('key'));
  const listed: InDoubt[] = await store.inDoubt({ max: 1 });
  await store.resolve(listed[0]?.doubt ?? 1, { applied: 'receipt' }, { evidence: 'their log', actor: 'ada' });
  const resolved: Resolved[] = await store.resolutions({ after: 1 });
  console.log(resolved[0]?.resolution);
}

async function transactions(store: Store, queue: Queue): Promise<void> {
  const changed: number = await store.transaction(async (tx: Transaction) => {
    await tx.executeMany('INSERT INTO t VALUES (?)', [[1], [2n], [null], ['x'], [new Uint8Array(1)]]);
    await tx.send('receipts', 'x', { key: 'k' });
    await tx.ack(queue, [{ id: 1, token: 1 }]);
    return tx.execute('DELETE FROM t');
  });
  await using tx = await store.transaction();
  const { columns, rows }: { columns: string[]; rows: SqlValue[][] } = await tx.query('SELECT ?', [changed]);
  console.log(columns, rows);
  await tx.commit();
  const delivery = await queue.receive();
  await (await delivery?.transaction())?.rollback();
  try {
    await delivery?.transaction(async (inside) => inside.execute('nonsense'));
  } catch (error) {
    if (error instanceof OncewardError && error.code === 'Sql') return;
    throw error;
  }
}
