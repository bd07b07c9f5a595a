'use strict';
// Consuming: one delivery after the other.

const check = require('./arguments.cjs');
const { deliveriesOf, isStillOurs } = require('./delivery.cjs');
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
    attach(this, { receiver, store, start, waitMs, signal, native: undefined, ended: false, ahead: [], at: 0 });
  }

  async next() {
    const own = parts(this);
    for (;;) {
      own.signal?.throwIfAborted();
      if (own.ended) return end(this);
      while (own.at < own.ahead.length) {
        const delivery = own.ahead[own.at++];
        if (isStillOurs(delivery)) return { done: false, value: delivery };
      }
      const found = await more(own);
      if (found.length > 0) {
        // Another call of this may have brought some as well.
        own.ahead = own.ahead.slice(own.at).concat(found);
        own.at = 0;
      } else if (own.at === own.ahead.length) {
        const ended = await end(this);
        own.signal?.throwIfAborted();
        return ended;
      }
    }
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

/** What comes next, received ahead of its turn; nothing when the wait is over or the consumer was stopped. */
async function more(own) {
  const native = await begun(own);
  if (own.ended) return [];
  const onAbort = () => native.stop();
  own.signal?.addEventListener('abort', onAbort, { once: true });
  if (own.signal?.aborted) native.stop();
  try {
    return deliveriesOf(own.receiver, own.store, await settled(native.next(own.waitMs)));
  } finally {
    own.signal?.removeEventListener('abort', onAbort);
  }
}

async function end(consumer) {
  await consumer.close();
  return { done: true, value: undefined };
}

module.exports = { Consumer };
