// The verbs about stores, queues, messages and deliveries.
import assert from 'node:assert/strict';
import { Mistake, bytes, duration, flag, listed, shown, shownHeaders, text, yes } from './steps.mjs';
import { VERBS, api, named, open } from './world.mjs';

/** Names between commas; `s#3` stands for s0, s1 and s2. */
function several(names) {
  return names.split(',').flatMap((name) => {
    const [begin, count] = name.split('#');
    return count === undefined ? [name] : Array.from({ length: Number(count) }, (_, index) => `${begin}${index}`);
  });
}

const WAIT = { wait: ['waitMs', duration], lease: ['leaseMs', duration] };
export const window = (word) => (word === 'forever' ? word : duration(word));

function parts(word) {
  const [queue, name] = word.split('/');
  if (name === undefined) throw new Mistake('a subscription is queue/name');
  return [queue, text(name)];
}

Object.assign(VERBS, {
  async open(world, step) {
    const name = step.option('as') ?? 'store';
    const path = world.path(step.option('path') ?? 'app.db');
    const options = step.given({
      busy_timeout: ['busyTimeoutMs', duration],
      transaction_time_limit: ['transactionTimeLimitMs', duration],
      body_bytes_max: ['bodyBytesMax', Number],
      wal_bytes_max: ['walBytesMax', Number],
      allow_remote_file_system: ['allowRemoteFileSystem', flag],
      create: ['create', flag],
    });
    const store = await open(path, options);
    assert.equal(api(store).path, path);
    world.stores.set(name, store);
  },
  close: (world, step) => world.store(step).close(),
  async queue(world, step) {
    const word = step.word();
    const alias = step.option('as') ?? word;
    const options = step.given({
      semantics: ['semantics', String],
      lease: ['leaseMs', duration],
      attempts_max: ['attemptsMax', (given) => (given === 'unlimited' ? given : Number(given))],
      window: ['deduplicationWindowMs', window],
      subscriptions: ['subscriptions', several],
    });
    const backoff = step.given({
      backoff_first: ['firstMs', duration],
      backoff_factor: ['factor', Number],
      backoff_cap: ['capMs', duration],
      backoff_jitter: ['jitter', Number],
    });
    if (Object.keys(backoff).length > 0) options.backoff = backoff;
    const queue = await world.store(step).queue(text(word), options);
    assert.equal(api(queue).name, text(word));
    assert.equal(api(queue).semantics, options.semantics ?? queue.semantics);
    world.receivers.set(alias, queue);
  },
  queues: async (world, step) => listed((await world.store(step).queues()).map(shown)),
  async settings(world, step) {
    const { semantics, leaseMs, attemptsMax, backoff, deduplicationWindowMs, paused } = await world.receiver(step).settings();
    const kept = deduplicationWindowMs === 'forever' ? 'forever' : `${deduplicationWindowMs}ms`;
    const growth = `${backoff.firstMs}ms,${backoff.factor},${backoff.capMs}ms,${backoff.jitter}`;
    return `${semantics} lease=${leaseMs}ms attempts_max=${attemptsMax} backoff=${growth} window=${kept} paused=${yes(paused)}`;
  },
  async store_stats(world, step) {
    const { queues, inDoubt, fileBytes, walBytes, sqliteVersion } = await world.store(step).stats();
    return `queues=${queues} in_doubt=${inDoubt} sizes=${yes(fileBytes > 0 && walBytes > 0 && sqliteVersion.startsWith('3.'))}`;
  },
  async subscribe(world, step) {
    const word = step.word();
    const [queue, name] = parts(word);
    const of = world.queue(queue);
    const found = await (step.verb === 'subscribe'
      ? api(of).subscribe(name, step.given({ start: ['start', String] }))
      : api(of).subscription(name));
    assert.equal(api(found).name, name);
    assert.equal(api(found).queue.name, of.name);
    world.receivers.set(step.option('as') ?? word, found);
  },
  subscriptions: async (world, step) => listed((await world.receiver(step).subscriptions()).map(shown)),
  unsubscribe(world, step) {
    const [queue, name] = parts(step.word());
    return api(world.queue(queue)).unsubscribe(name);
  },
});
VERBS.subscription = VERBS.subscribe;

function sendOptions(step) {
  const ago = (word) => (word.startsWith('-') ? Date.now() - duration(word.slice(1)) : Date.now() + duration(word));
  const options = step.given({
    key: ['key', text],
    ordering_key: ['orderingKey', text],
    priority: ['priority', Number],
    delay: ['delayMs', duration],
    deliver_in: ['deliverAt', ago],
    time_to_live: ['timeToLiveMs', duration],
  });
  const headers = Object.entries(step.options('header.'));
  const value = (word) => (word.startsWith('hex:') ? bytes(word) : text(word));
  if (headers.length > 0) options.headers = Object.fromEntries(headers.map(([name, word]) => [name, value(word)]));
  return options;
}

function sent(world, step, { id, duplicate }) {
  const name = step.option('as');
  if (name !== undefined) world.ids.set(name, id);
  return duplicate ? `duplicate ${world.nameOf(id)}` : 'sent';
}

/** A message of a body, or of a body and a key: `hello/k1`. */
function message(word, options) {
  const [body, key] = word.split('/');
  return { body: bytes(body), ...options, ...(key === undefined ? {} : { key: text(key) }) };
}

Object.assign(VERBS, {
  async send(world, step) {
    const queue = api(world.queue(step.word()));
    return sent(world, step, await queue.send(bytes(step.word()), sendOptions(step)));
  },
  async send_many(world, step) {
    const queue = api(world.queue(step.word()));
    const options = sendOptions(step);
    const done = await queue.sendMany(step.repeated().map((word) => message(word, options)));
    const begin = step.option('as');
    if (begin !== undefined) done.forEach(({ id }, index) => world.ids.set(`${begin}${index + 1}`, id));
    const duplicates = done.filter((one) => one.duplicate).length;
    return `sent ${done.length - duplicates} duplicates ${duplicates}`;
  },
  async tx_send(world, step) {
    const transaction = api(named(world.transactions, step.word()));
    const queue = world.queue(step.word());
    return sent(world, step, await transaction.send(queue, bytes(step.word()), sendOptions(step)));
  },
});

const SAME = { key: 'key', ordering_key: 'orderingKey', reason: 'reason', error: 'error', body: 'body' };

function field(world, one, name) {
  if (name === 'message') return world.nameOf(one.id);
  if (['attempt', 'attempts', 'priority'].includes(name)) return String(one[name]);
  if (name === 'headers') return shownHeaders(one.headers);
  if (!(name in SAME)) throw new Mistake(`there is no field ${name}`);
  return shown(one[SAME[name]]);
}

const fields = (world, one, show) => show.split(',').map((name) => field(world, one, name)).join(',');

/** Keeps a delivery under its name, and shows it. */
function keep(world, name, show, delivery) {
  const one = api(delivery);
  assert.deepEqual(one.receipt, { id: one.id, token: one.token });
  assert.equal(typeof one.receiver.name, 'string');
  assert.ok(one.sentAt <= new Date() && one.leaseExpiresAt > one.sentAt);
  if (name !== undefined) world.deliveries.set(name, delivery);
  return fields(world, one, show);
}

/** The name of the call of a settle, and its arguments besides the deliveries. */
function settling(step) {
  switch (step.verb.replace('_many', '')) {
    case 'nack':
      return ['nack', step.given({ delay: ['delayMs', duration], error: ['error', text] })];
    case 'dead_letter':
      return ['deadLetter', text(step.needed('reason'))];
    case 'extend':
      return ['extend', duration(step.needed('lease'))];
    default:
      return [step.verb.replace('_many', '')];
  }
}

for (const verb of ['ack', 'nack', 'dead_letter', 'release', 'extend']) {
  VERBS[verb] = (world, step) => {
    const delivery = world.delivery(step.word());
    const [call, ...given] = settling(step);
    return delivery[call](...given);
  };
  VERBS[`${verb}_many`] = async (world, step) => {
    const receiver = world.receiver(step);
    const names = step.repeated();
    const [call, ...given] = settling(step);
    return world.lost(names, await receiver[call](names.map((name) => world.receipt(name)), ...given));
  };
}

Object.assign(VERBS, {
  async receive(world, step) {
    const [receiver, name, show] = [world.receiver(step), step.option('as'), step.option('show') ?? 'body'];
    const delivery = await receiver.receive(step.given(WAIT));
    return delivery === null ? 'empty' : keep(world, name, show, delivery);
  },
  async receive_many(world, step) {
    const [receiver, name, show] = [world.receiver(step), step.option('as'), step.option('show') ?? 'body'];
    const batch = await receiver.receiveMany(Number(step.option('max') ?? 1), step.given(WAIT));
    if (show === 'count') return String(batch.length);
    return listed(batch.map((one, index) => keep(world, name && `${name}${index + 1}`, show, one)));
  },
  settled: (world, step) => yes(world.delivery(step.word()).settled),
  newer(world, step) {
    const [old, young] = step.rest().map((name) => world.delivery(name).token);
    return yes(young > old);
  },
  receipt(world, step) {
    const [name, of] = [step.word(), step.needed('message')];
    const id = world.ids.get(of) ?? Number(of);
    world.receipts.set(name, { id, token: Number(step.option('token') ?? 1) });
  },
  consume(world, step) {
    const receiver = world.receiver(step);
    const name = step.needed('as');
    world.consumers.set(name, receiver.consume({ ...step.given(WAIT), ...step.given({ batch: ['batch', Number] }) }));
  },
  /** Takes and acknowledges everything, as a worker does. */
  async drain(world, step) {
    const receiver = world.receiver(step);
    const found = [];
    for await (const delivery of receiver.consume({ ...step.given(WAIT), ...step.given({ batch: ['batch', Number] }) })) {
      found.push(shown(delivery.body));
      await delivery.ack();
    }
    return listed(found);
  },
  async next(world, step) {
    const consumer = api(named(world.consumers, step.word()));
    const [name, show] = [step.option('as'), step.option('show') ?? 'body'];
    const { value, done } = await consumer.next();
    return done ? 'end' : keep(world, name, show, value);
  },
  flush: (world, step) => api(named(world.consumers, step.word())).flush(),
  stop_consumer: (world, step) => api(named(world.consumers, step.word())).stop(),
  end: (world, step) => api(named(world.consumers, step.word())).close(),
  cancel: async (world, step) => yes(await world.receiver(step).cancel(world.id(step.word()))),
  purge: async (world, step) => String(await world.receiver(step).purge()),
  pause: (world, step) => world.receiver(step).pause(),
  resume: (world, step) => world.receiver(step).resume(),
  paused: async (world, step) => yes(await world.receiver(step).isPaused()),
  async peek(world, step) {
    const [receiver, show] = [world.receiver(step), step.option('show') ?? 'body'];
    return listed((await receiver.peek(Number(step.option('max') ?? 1))).map((one) => fields(world, one, show)));
  },
  async unfinished(world, step) {
    const receiver = world.receiver(step);
    const left = await receiver.unfinished(step.repeated().map((name) => world.id(name)));
    return listed(left.map((id) => world.nameOf(id)));
  },
  async stats(world, step) {
    const { ready, delayed, blocked, inFlight, dead, inDoubt, oldestAgeMs } = await world.receiver(step).stats();
    const counts = `ready=${ready} delayed=${delayed} blocked=${blocked} in_flight=${inFlight} dead=${dead}`;
    return `${counts} in_doubt=${inDoubt} aged=${yes(oldestAgeMs !== null)}`;
  },
  async dead_letters(world, step) {
    const [receiver, show] = [world.receiver(step), step.option('show') ?? 'body'];
    const page = step.given({ after: ['after', (name) => world.id(name)], max: ['max', Number] });
    const letters = await receiver.deadLetters(page);
    assert.ok(letters.every(({ diedAt, sentAt }) => diedAt >= sentAt));
    return listed(letters.map((one) => fields(world, one, show)));
  },
});

for (const [verb, call] of [['redrive', 'redrive'], ['purge_dead', 'purgeDead']]) {
  VERBS[verb] = async (world, step) => {
    const receiver = world.receiver(step);
    return String(await receiver[call](step.repeated().map((name) => world.id(name))));
  };
  VERBS[`${verb}_all`] = async (world, step) => String(await world.receiver(step)[call]());
}
