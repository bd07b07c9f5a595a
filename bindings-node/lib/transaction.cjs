'use strict';
// Effects, sends and acknowledgements in one commit.

const { types } = require('node:util');
const check = require('./arguments.cjs');
const { invalid, settled } = require('./errors.cjs');
const { attach, parts, partsOf } = require('./handles.cjs');
const { words } = require('./once.cjs');
const { receiptsOf } = require('./receipts.cjs');

class Transaction {
  constructor(native, onCommit) {
    attach(this, { transaction: native, onCommit, acknowledged: [], open: true });
  }

  async execute(sql, parameters = []) {
    return settled(parts(this).transaction.execute(check.text('sql', sql), [row(parameters)]));
  }

  async executeMany(sql, sets) {
    const rows = check.list('parameter sets', sets).map(row);
    return settled(parts(this).transaction.execute(check.text('sql', sql), rows));
  }

  async query(sql, parameters = []) {
    const { columns, rows } = await settled(parts(this).transaction.query(check.text('sql', sql), row(parameters)));
    return { columns, rows };
  }

  async send(queue, body, options) {
    const target = typeof queue === 'string' ? check.text('queue name', queue) : source('queue', queue, 'queue');
    return settled(parts(this).transaction.send(target, check.outgoing(body, options)));
  }

  async ack(receiver, deliveries) {
    const own = parts(this);
    const { receipts, objects } = receiptsOf(deliveries);
    await settled(own.transaction.ack(source('receiver', receiver, 'source'), receipts));
    own.acknowledged.push(...objects);
  }

  async commit() {
    const own = parts(this);
    own.open = false;
    await settled(own.transaction.commit());
    for (const delivery of own.acknowledged) parts(delivery).settled = true;
    own.onCommit?.();
  }

  async rollback() {
    const own = parts(this);
    own.open = false;
    await settled(own.transaction.rollback());
  }

  async [Symbol.asyncDispose]() {
    await this.rollback();
  }
}

function source(name, value, part) {
  const expected = part === 'queue' ? 'a queue or its name' : 'a queue or a subscription';
  return partsOf(name, expected, value, part).source;
}

function row(parameters) {
  if (!Array.isArray(parameters)) throw check.wrongType('parameters', 'an array', parameters);
  return parameters.map((value, index) => {
    const name = `parameter ${index + 1}`;
    if (value === null || typeof value === 'bigint') return value;
    if (typeof value === 'number') {
      if (Number.isNaN(value)) throw invalid(`${name} is NaN, which SQL does not have`);
      return value;
    }
    if (typeof value === 'string') return check.text(name, value);
    if (types.isUint8Array(value)) return check.onlyBytes(name, value);
    throw check.wrongType(name, 'null, a number, a bigint, a string or a Uint8Array', value);
  });
}

/** Runs `work` in a transaction: commits when it succeeds; else rolls back and gives the delivery, if any, back as failed. */
async function transact(tx, work, delivery) {
  const own = parts(tx);
  const fail = async (error) => {
    await tx.rollback();
    if (delivery === undefined || delivery.settled) return;
    try {
      await delivery.nack({ error: words(error) });
    } catch {
      // The end of the lease does the same; a consumer is not to put it off.
      const { batch, index } = parts(delivery);
      batch.letGo(index);
    }
  };
  let value;
  try {
    value = await work(tx);
  } catch (error) {
    await fail(error);
    throw error;
  }
  if (!own.open) return value;
  // Nothing was begun, and an effect has already said what becomes of the message.
  if (delivery?.settled && !(await settled(own.transaction.isBegun()))) {
    await tx.rollback();
    return value;
  }
  try {
    await tx.commit();
  } catch (error) {
    await fail(error);
    throw error;
  }
  return value;
}

module.exports = { Transaction, transact };
