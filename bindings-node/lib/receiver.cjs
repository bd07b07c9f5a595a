'use strict';
// What messages are received from: a queue, or one of its subscriptions.

const check = require('./arguments.cjs');
const { Consumer } = require('./consumer.cjs');
const { deliveriesOf, nackOptions } = require('./delivery.cjs');
const { invalid, settled } = require('./errors.cjs');
const { attach, parts } = require('./handles.cjs');
const { receiptsOf } = require('./receipts.cjs');
const { abortable } = require('./waiting.cjs');

const RECEIVE = { waitMs: check.milliseconds, leaseMs: check.milliseconds, signal: check.signal };

class Receiver {
  constructor(store, source, further) {
    attach(this, { store, source, ...further });
    this.name = source.name();
  }

  async receive(options) {
    return (await take(this, 1, options))[0] ?? null;
  }

  async receiveMany(max, options) {
    return take(this, check.whole('max', max), options);
  }

  consume(options) {
    const { store, source } = parts(this);
    return new Consumer(this, store, source, options);
  }

  async ack(deliveries) {
    return settle(this, 'ack', deliveries);
  }

  async nack(deliveries, options) {
    const { delayMs, error } = nackOptions(options);
    return settle(this, 'nack', deliveries, delayMs, error);
  }

  async deadLetter(deliveries, reason) {
    return settle(this, 'deadLetter', deliveries, undefined, check.text('reason', reason));
  }

  async release(deliveries) {
    return settle(this, 'release', deliveries);
  }

  async extend(deliveries, leaseMs) {
    const { receipts } = receiptsOf(deliveries);
    const lease = check.milliseconds('leaseMs', leaseMs);
    return settled(parts(this).source.settle('extend', receipts, lease, undefined));
  }

  async peek(max) {
    return (await settled(parts(this).source.peek(check.whole('max', max)))).map(seen);
  }

  async unfinished(ids) {
    return settled(parts(this).source.unfinished(check.ids(check.list('ids', ids))));
  }

  async stats() {
    const stats = await settled(parts(this).source.stats());
    return { ...stats, oldestAgeMs: stats.oldestAgeMs ?? null };
  }

  async deadLetters(options) {
    const [after, max] = check.page('deadLetters', options);
    const listed = await settled(parts(this).source.deadLetters(after, max));
    return listed.map((data) => ({
      ...seen(data),
      reason: data.reason,
      error: data.error ?? null,
      diedAt: new Date(data.diedAt),
    }));
  }

  async redrive(ids) {
    return settled(parts(this).source.redrive(check.ids(ids)));
  }

  async purgeDead(ids) {
    return settled(parts(this).source.purgeDead(check.ids(ids)));
  }
}

class Subscription extends Receiver {
  constructor(store, source, queue) {
    super(store, source);
    this.queue = queue;
  }
}

class Queue extends Receiver {
  constructor(store, source) {
    super(store, source, { queue: true });
    this.semantics = source.semantics();
  }

  async send(body, options) {
    return settled(parts(this).source.send(check.outgoing(body, options)));
  }

  async sendMany(messages) {
    const { source } = parts(this);
    const list = check.list('messages', messages);
    const bodies = check.bodies(list);
    const sending = bodies === null ? source.sendMany(list.map(check.message)) : source.sendBodies(bodies.all, bodies.ends);
    const ids = await settled(sending);
    const sent = new Array(ids.length);
    for (let index = 0; index < ids.length; index++) sent[index] = { id: Math.abs(ids[index]), duplicate: ids[index] < 0 };
    return sent;
  }

  async settings() {
    const found = await settled(parts(this).source.settings());
    return {
      semantics: found.semantics,
      leaseMs: found.leaseMs,
      attemptsMax: found.attemptsMax < 0 ? 'unlimited' : found.attemptsMax,
      backoff: { ...found.backoff },
      deduplicationWindowMs: found.deduplicationWindowMs < 0 ? 'forever' : found.deduplicationWindowMs,
      paused: found.paused,
    };
  }

  async subscription(name) {
    const { store, source } = parts(this);
    return new Subscription(store, await settled(source.subscription(check.text('subscription name', name))), this);
  }

  async subscribe(name, options) {
    const { start = 'now' } = check.checked('subscribe', options, { start: check.text });
    if (start !== 'now' && start !== 'oldest') throw invalid(`start is ${check.shown(start)}; it takes "now" or "oldest"`);
    const { store, source } = parts(this);
    const made = await settled(source.subscribe(check.text('subscription name', name), start === 'oldest'));
    return new Subscription(store, made, this);
  }

  async unsubscribe(name) {
    return settled(parts(this).source.unsubscribe(check.text('subscription name', name)));
  }

  async subscriptions() {
    return settled(parts(this).source.subscriptions());
  }

  async cancel(id) {
    return settled(parts(this).source.cancel(check.whole('id', id)));
  }

  async purge() {
    return settled(parts(this).source.purge());
  }

  async pause() {
    return settled(parts(this).source.pause());
  }

  async resume() {
    return settled(parts(this).source.resume());
  }

  async isPaused() {
    return settled(parts(this).source.isPaused());
  }
}

async function take(receiver, max, options) {
  const { waitMs = 0, leaseMs, signal } = check.checked('receive', options, RECEIVE);
  const { store, source } = parts(receiver);
  const batch = await abortable(signal, (abort) => source.receive(max, waitMs, leaseMs, abort));
  return deliveriesOf(receiver, store, batch);
}

async function settle(receiver, verb, deliveries, ms, text) {
  const { receipts, objects } = receiptsOf(deliveries);
  const lost = await settled(parts(receiver).source.settle(verb, receipts, ms, text));
  const keys = lost.length === 0 ? null : new Set(lost.map(({ id, token }) => `${id} ${token}`));
  for (const delivery of objects) {
    if (!keys?.has(`${delivery.id} ${delivery.token}`)) parts(delivery).settled = true;
  }
  return lost;
}

function seen(data) {
  return {
    id: data.id,
    body: data.body,
    headers: check.headersFrom(data.headers),
    key: data.key ?? null,
    orderingKey: data.orderingKey ?? null,
    priority: data.priority,
    sentAt: new Date(data.sentAt),
    attempts: data.attempts,
  };
}

module.exports = { Queue, Receiver, Subscription };
