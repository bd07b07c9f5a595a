'use strict';
// Opening a file, and what concerns all of it.

const { fileURLToPath } = require('node:url');
const check = require('./arguments.cjs');
const { invalid, settled } = require('./errors.cjs');
const { attach, parts } = require('./handles.cjs');
const native = require('./native.cjs');
const { applied, onceInLedger } = require('./once.cjs');
const { Queue } = require('./receiver.cjs');
const { Transaction, transact } = require('./transaction.cjs');

const OPEN = {
  busyTimeoutMs: check.milliseconds,
  bodyBytesMax: check.whole,
  walBytesMax: check.whole,
  allowRemoteFileSystem: check.flag,
  create: check.flag,
  transactionTimeLimitMs: check.milliseconds,
};
const BACKOFF = {
  firstMs: check.milliseconds,
  factor: check.finite,
  capMs: check.milliseconds,
  jitter: check.finite,
};
const window = check.orWord('forever', check.milliseconds);
const QUEUE = {
  semantics: check.text,
  leaseMs: check.milliseconds,
  attemptsMax: check.orWord('unlimited', check.whole),
  backoff: (name, value) => check.checked(name, value, BACKOFF),
  deduplicationWindowMs: window,
  subscriptions: (name, value) => check.list(name, value).map((one) => check.text('subscription name', one)),
};

async function open(path, options) {
  const given = check.checked('open', options, OPEN);
  const file = path instanceof URL ? fileURLToPath(path) : check.text('path', path);
  if (file.includes('\0')) throw invalid('path holds a NUL character');
  return new Store(await settled(native.open(file, given)));
}

class Store {
  constructor(store) {
    attach(this, { store });
    this.path = store.path();
  }

  async queue(name, options) {
    const given = check.checked('queue', options, QUEUE);
    const { store } = parts(this);
    return new Queue(store, await settled(store.queue(check.text('queue name', name), given)));
  }

  async queues() {
    return settled(parts(this).store.queues());
  }

  async transaction(work) {
    if (work !== undefined) check.callable('work', work);
    const tx = new Transaction(await settled(parts(this).store.transaction()));
    return work === undefined ? tx : transact(tx, work);
  }

  async ledger(name, options) {
    const { windowMs } = check.checked('ledger', options, { windowMs: window });
    return new Ledger(await settled(parts(this).store.ledger(check.text('ledger name', name), windowMs)));
  }

  async ledgers() {
    return settled(parts(this).store.ledgers());
  }

  async inDoubt(options) {
    const listed = await settled(parts(this).store.inDoubt(...check.page('inDoubt', options)));
    return listed.map((data) => ({
      ...doubt(data),
      key: data.key ?? null,
      calledAt: new Date(data.calledAt),
      process: data.process,
    }));
  }

  async resolve(number, resolution, options) {
    const { evidence, actor } = check.checked('resolve', options, { evidence: check.text, actor: check.text });
    if (evidence === undefined || actor === undefined) throw invalid('a resolution takes evidence and an actor');
    const result =
      resolution === 'not-applied' ? undefined : applied('a resolution is', resolution, '{ applied: bytes } or "not-applied"');
    return settled(parts(this).store.resolve(check.whole('doubt', number), result, evidence, actor));
  }

  async resolutions(options) {
    const listed = await settled(parts(this).store.resolutions(...check.page('resolutions', options)));
    return listed.map((data) => ({
      ...doubt(data),
      resolution: data.applied === undefined || data.applied === null ? 'not-applied' : { applied: data.applied },
      evidence: data.evidence,
      actor: data.actor,
      resolvedAt: new Date(data.resolvedAt),
    }));
  }

  async stats() {
    return { ...(await settled(parts(this).store.stats())) };
  }

  async close() {
    return settled(parts(this).store.close());
  }

  async [Symbol.asyncDispose]() {
    await this.close();
  }
}

class Ledger {
  constructor(ledger) {
    attach(this, { ledger });
    this.name = ledger.name();
  }

  async once(key, call, options) {
    const { ledger } = parts(this);
    return onceInLedger((effect, given) => ledger.beginOnce(effect, given), key, call, options);
  }

  async idempotencyKey(key) {
    return settled(parts(this).ledger.idempotencyKey(check.text('effect key', key)));
  }
}

function doubt(data) {
  return {
    doubt: data.doubt,
    queue: data.queue ?? null,
    subscription: data.subscription ?? null,
    message: data.message ?? null,
    ledger: data.ledger ?? null,
    name: data.name,
    since: new Date(data.since),
    error: data.error,
  };
}

module.exports = { Ledger, Store, open };
