'use strict';
// Consuming: one delivery after the other.

const check = require('./arguments.cjs');
const { deliveriesOf } = require('./delivery.cjs');
const { settled } = require('./errors.cjs');
const { attach, parts } = require('./handles.cjs');

class Consumer {
  constructor(receiver, store, source, given) {
    const { batch = 100, waitMs, leaseMs, signal } = check.checked('consume', given, {
      batch: check.whole,
      waitMs: check.milliseconds,
      leaseMs: check.milliseconds,
      signal: check.signal,
    });
    const start = () => settled(source.consume(batch, leaseMs));
    attach(this, { receiver, store, start, waitMs, signal, native: undefined, ended: false });
  }

  async next() {
    const own = parts(this);
    own.signal?.throwIfAborted();
    if (own.ended) return { done: true, value: undefined };
    const native = await begun(own);
    if (own.ended) return end(this, native);
    const onAbort = () => native.stop();
    own.signal?.addEventListener('abort', onAbort, { once: true });
    if (own.signal?.aborted) native.stop();
    let found;
    try {
      found = deliveriesOf(own.receiver, own.store, await settled(native.next(own.waitMs)));
    } finally {
      own.signal?.removeEventListener('abort', onAbort);
    }
    if (found.length > 0) return { done: false, value: found[0] };
    const ended = await end(this, native);
    own.signal?.throwIfAborted();
    return ended;
  }

  /** What `for await` uses: when it is left in whatever way, also by an error, the consumer is closed. */
  [Symbol.asyncIterator]() {
    return {
      next: async () => {
        try {
          return await this.next();
        } catch (error) {
          await this.close().catch(() => {});
          throw error;
        }
      },
      return: async (value) => {
        await this.close();
        return { done: true, value };
      },
    };
  }

  async flush() {
    const native = await parts(this).native;
    if (native !== undefined) await settled(native.flush());
  }

  stop() {
    const own = parts(this);
    own.ended = true;
    own.native?.then((native) => native.stop()).catch(() => {});
  }

  async close() {
    const own = parts(this);
    own.ended = true;
    const native = await own.native?.catch(() => undefined);
    if (native !== undefined) await settled(native.close());
  }

  async [Symbol.asyncDispose]() {
    await this.close();
  }
}

/** The native consumer, started when it is first needed; a start that failed is tried again. */
function begun(own) {
  own.native ??= own.start().catch((error) => {
    own.native = undefined;
    throw error;
  });
  return own.native;
}

async function end(consumer, native) {
  parts(consumer).ended = true;
  await settled(native.close());
  return { done: true, value: undefined };
}

module.exports = { Consumer };
