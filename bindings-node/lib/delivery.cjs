'use strict';
// A message in the hands of its receiver.

const check = require('./arguments.cjs');
const { invalid, settled } = require('./errors.cjs');
const { attach, parts } = require('./handles.cjs');
const { onceInDelivery } = require('./once.cjs');
const { Transaction, transact } = require('./transaction.cjs');

class Delivery {
  constructor(receiver, store, batch, index, data) {
    attach(this, { receiver, store, batch, index, settled: false });
    this.id = data.id;
    this.token = data.token;
    this.attempt = data.attempt;
    this.body = data.body;
    this.headers = check.headersFrom(data.headers);
    this.key = data.key ?? null;
    this.orderingKey = data.orderingKey ?? null;
    this.priority = data.priority;
    this.sentAt = new Date(data.sentAt);
  }

  get receipt() {
    return { id: this.id, token: this.token };
  }

  /** The queue or the subscription it was received from. */
  get receiver() {
    return parts(this).receiver;
  }

  get settled() {
    const { batch, index, settled: done } = parts(this);
    return done || batch.isSettled(index);
  }

  async ack() {
    await settle(this, 'ack');
  }

  async nack(options) {
    const { delayMs, error } = nackOptions(options);
    await settle(this, 'nack', delayMs, error);
  }

  async deadLetter(reason) {
    await settle(this, 'deadLetter', undefined, check.text('reason', reason));
  }

  async release() {
    await settle(this, 'release');
  }

  async extend(leaseMs) {
    const { batch, index } = open(this);
    await settled(batch.extend(index, check.milliseconds('leaseMs', leaseMs)));
  }

  async transaction(work) {
    if (work !== undefined) check.callable('work', work);
    const own = open(this);
    const native = await settled(own.batch.transaction(own.index, own.store));
    const tx = new Transaction(native, () => {
      own.settled = true;
    });
    return work === undefined ? tx : transact(tx, work, this);
  }

  async once(name, call, options) {
    const { batch, index } = open(this);
    return onceInDelivery((effect, native) => batch.beginOnce(index, effect, native), name, call, options);
  }

  async idempotencyKey(name) {
    const { batch, index } = parts(this);
    return settled(batch.idempotencyKey(index, check.text('effect name', name)));
  }
}

function open(delivery) {
  const own = parts(delivery);
  if (own.settled) throw invalid(`this delivery of message ${delivery.id} was settled already`);
  return own;
}

async function settle(delivery, verb, ms, text) {
  const { batch, index } = open(delivery);
  await settled(batch.settle(index, verb, ms, text));
}

function nackOptions(options) {
  return check.checked('nack', options, { delayMs: check.milliseconds, error: check.text });
}

/** Numbers of each delivery that the native part hands over. */
const NUMBERS = 6;

/** The deliveries of a batch of the native part. */
function deliveriesOf(receiver, store, batch) {
  const { numbers, bodies, large, further } = batch.items();
  const deliveries = [];
  let at = 0;
  for (let index = 0; index * NUMBERS < numbers.length; index++) {
    const first = index * NUMBERS;
    const size = numbers[first + 5];
    // Copied: a body that is kept keeps no others.
    const body = large === undefined ? Buffer.from(bodies.subarray(at, at + size)) : large[index];
    at += size;
    const data = {
      id: numbers[first],
      token: numbers[first + 1],
      attempt: numbers[first + 2],
      priority: numbers[first + 3],
      sentAt: numbers[first + 4],
      body,
    };
    const more = further?.[index];
    deliveries.push(new Delivery(receiver, store, batch, index, more === undefined ? data : { ...data, ...more }));
  }
  return deliveries;
}

module.exports = { Delivery, deliveriesOf, nackOptions };
