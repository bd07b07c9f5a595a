// The peer in JavaScript: `node peer.mjs FILE BUSY_MS` does what it is told on its standard input, a line each. See ../README.md.
import { readFileSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { OncewardError, open, version } from '../../../bindings-node/index.mjs';

const PAUSE_MS = 1;
const [path, busyMs] = process.argv.slice(2);
const store = await open(path, { busyTimeoutMs: Number(busyMs) });
const queues = new Map();
const deliveries = [];
const transactions = new Map();

const say = (text) => writeSync(1, `${text}\n`);
const hex = (text) => Buffer.from(text, 'utf8').toString('hex');
const plain = (word) => Buffer.from(word, 'hex');

/** Decodes a message: its body and what else send takes. */
function unpacked([key, orderingKey, body, packed]) {
  const options = { headers: {} };
  if (key !== '-') options.key = plain(key).toString('utf8');
  if (orderingKey !== '-') options.orderingKey = plain(orderingKey).toString('utf8');
  for (const header of packed === '-' ? [] : packed.split(',')) {
    const [name, kind, value] = header.split(':');
    options.headers[plain(name).toString('utf8')] = kind === 't' ? plain(value).toString('utf8') : plain(value);
  }
  return [body === '-' ? Buffer.alloc(0) : plain(body), options];
}

/** Encodes the message that was handed over. */
function packed({ key, orderingKey, body, headers }) {
  const values = Object.entries(headers).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) =>
    typeof value === 'string' ? `${hex(name)}:t:${hex(value)}` : `${hex(name)}:b:${value.toString('hex')}`);
  return [hex(key ?? ''), hex(orderingKey ?? ''), body.toString('hex'), values.join(',')].map((word) => word || '-').join(' ');
}

async function send(name, ...message) {
  const [body, options] = unpacked(message);
  const { id, duplicate } = await queues.get(name).send(body, options);
  say(`sent ${id} ${duplicate ? 'duplicate' : 'new'}`);
}

const verbs = {
  async queue(name, semantics) {
    queues.set(name, await store.queue(name, semantics === '-' ? {} : { semantics }));
    say('ok');
  },
  send,
  async stream(file) {
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    for (;;) {
      for (const line of lines) {
        await send(...line.split(' '));
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    }
  },
  async receive(name, most, waitMs, leaseMs) {
    const options = { waitMs: Number(waitMs), leaseMs: Number(leaseMs) };
    const found = await queues.get(name).receiveMany(Number(most), options);
    for (const one of found) {
      say(`delivery ${deliveries.length} ${one.id} ${one.token} ${one.attempt} ${packed(one)}`);
      deliveries.push(one);
    }
    say(`ok ${found.length}`);
  },
  async ack(handle) {
    await deliveries[handle].ack();
    say('ok');
  },
  async nack(handle) {
    await deliveries[handle].nack({ delayMs: 0 });
    say('ok');
  },
  async begin(handle) {
    const { id, attempt, body } = deliveries[handle];
    const transaction = await deliveries[handle].transaction();
    await transaction.execute('INSERT INTO effect(message, attempt, body) VALUES (?, ?, ?)', [id, attempt, body]);
    transactions.set(handle, transaction);
    say('ok');
  },
  async commit(handle) {
    await transactions.get(handle).commit();
    transactions.delete(handle);
    say('ok');
  },
  async once(handle, name, outcome) {
    const call = async () => {
      say('calling');
      if (outcome === 'hang') await new Promise(() => {});
      return plain(outcome);
    };
    const result = await deliveries[handle].once(name, call, { onUnknown: 'park' });
    say(`result ${result.toString('hex')}`);
  },
  async doubts() {
    const found = await store.inDoubt();
    for (const { doubt, message, name } of found) say(`doubt ${doubt} ${message} ${name}`);
    say(`ok ${found.length}`);
  },
  async resolve(doubt, result) {
    await store.resolve(Number(doubt), { applied: plain(result) }, { evidence: 'seen', actor: 'node' });
    say('ok');
  },
  async sql(...words) {
    await store.transaction((transaction) => transaction.execute(words.join(' ')));
    say('ok');
  },
  async cancel(name, message) {
    say(`ok ${await queues.get(name).cancel(Number(message))}`);
  },
  async stats(name) {
    const { ready, delayed, blocked, inFlight, dead } = await queues.get(name).stats();
    say(`ok ${ready} ${delayed} ${blocked} ${inFlight} ${dead}`);
  },
  async close() {
    await store.close();
    say('ok');
  },
};

say(`ready node ${version}`);
for await (const line of createInterface({ input: process.stdin })) {
  const [verb, ...words] = line.split(' ');
  try {
    await verbs[verb](...words);
  } catch (error) {
    if (!(error instanceof OncewardError)) throw error;
    say(`error ${error.code} ${error.message}`);
  }
}
