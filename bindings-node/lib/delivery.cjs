'use strict';
// A message in the hands of its receiver.

const { markAsUntransferable } = require('node:worker_threads');
const check = require('./arguments.cjs');
const { invalid, now, settled } = require('./errors.cjs');
const { attach, parts } = require('./handles.cjs');
const { onceInDelivery } = require('./once.cjs');
const { Transaction, transact } = require('./transaction.cjs');

/** Numbers of each delivery that the native part hands over. */
const NUMBERS = 7;

class Delivery {
  constructor(receiver, store, batch, index, numbers, body, further) {
    const first = index * NUMBERS;
    attach(this, { receiver, store, batch, index, leaseExpiresAtMs: numbers[first + 5], settled: false });
    this.id = numbers[first];
    this.token = numbers[first + 1];
    this.attempt = numbers[first + 2];
    this.body = body;
    this.headers = check.headersFrom(further?.headers);
    this.key = further?.key ?? null;
    this.orderingKey = further?.orderingKey ?? null;
    this.priority = numbers[first + 3];
    this.sentAt = new Date(numbers[first + 4]);
  }

  get leaseExpiresAt() {
    return new Date(parts(this).leaseExpiresAtMs);
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
    const { batch, index } = open(this);
    if (!now(() => batch.ackAtOnce(index))) await settle(this, 'ack');
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
    const own = open(this);
    own.leaseExpiresAtMs = await settled(own.batch.extend(own.index, check.milliseconds('leaseMs', leaseMs)));
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

/** Whether a delivery that a consumer received ahead may be handled; it counts as handed out from here on. */
function isStillOurs(delivery) {
  const { batch, index } = parts(delivery);
  return batch.handOut(index);
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

/** The deliveries of a batch of the native part. */
function deliveriesOf(receiver, store, batch) {
  const { numbers, pieces, further } = batch.items();
  const deliveries = new Array(numbers.length / NUMBERS);
  // Who gives one body away, to a worker for instance, must not empty those that lie in the same memory.
  if (deliveries.length > 1) for (const { buffer } of pieces) markAsUntransferable(buffer);
  let [piece, at] = [0, 0];
  for (let index = 0; index < deliveries.length; index++) {
    const size = numbers[index * NUMBERS + 6];
    if (at + size > pieces[piece].length) [piece, at] = [piece + 1, 0];
    const body = pieces[piece].subarray(at, at + size);
    at += size;
    deliveries[index] = new Delivery(receiver, store, batch, index, numbers, body, further?.[index]);
  }
  return deliveries;
}

module.exports = { Delivery, deliveriesOf, isStillOurs, nackOptions };
