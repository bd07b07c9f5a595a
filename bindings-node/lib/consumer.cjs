'use strict';
// Consuming: one delivery after the other.

const check = require('./arguments.cjs');
const { deliveriesOf, isStillOurs } = require('./delivery.cjs');
const { settled } = require('./errors.cjs');
const { attach, parts } = require('./handles.cjs');

/** Where a batch was handled within this time, in milliseconds, the one after the next is received meanwhile. */
const QUICK_MS = 100;

class Consumer {
  constructor(receiver, store, source, given) {
    const { batch = 100, waitMs, leaseMs, signal } = check.checked('consume', given, {
      batch: check.whole,
      waitMs: check.milliseconds,
      leaseMs: check.milliseconds,
      signal: check.signal,
    });
    const start = () => settled(source.consume(batch, leaseMs));
    const own = { receiver, store, start, batch, waitMs, signal, native: undefined, ended: false };
    // What was received ahead, how far it is handed out, since when it is there, and whether handling is quick.
    Object.assign(own, { ahead: [], at: 0, since: -Infinity, quick: false });
    // Receiving more in the meantime, and why that failed.
    attach(this, Object.assign(own, { fetching: undefined, failed: undefined }));
  }

  async next() {
    const own = parts(this);
    for (;;) {
      own.signal?.throwIfAborted();
      if (own.ended) return end(own);
      while (own.at < own.ahead.length) {
        const delivery = own.ahead[own.at++];
        if (isStillOurs(delivery)) {
          fetchAhead(own);
          return { done: false, value: delivery };
        }
      }
      throwFailed(own);
      // Several callers wait for the same: what came is one's, and the others wait again.
      if (!(await fetch(own, own.waitMs, true)) && own.at === own.ahead.length && own.failed === undefined) {
        const ended = await end(own);
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
    if (native === undefined) return;
    await settled(native.close());
    // What went wrong while receiving ahead was not told yet: an acknowledgement that came too late, say.
    await own.fetching;
    throwFailed(own);
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

/**
 * Receives what is to be handed out next. Returns false when nothing came in that time, or the consumer was stopped; it waits for
 * ever without a time.
 */
async function more(own, waitMs) {
  const native = await begun(own);
  if (own.ended) return false;
  const onAbort = () => native.stop();
  own.signal?.addEventListener('abort', onAbort, { once: true });
  if (own.signal?.aborted) native.stop();
  try {
    const found = deliveriesOf(own.receiver, own.store, await settled(native.next(waitMs)));
    own.ahead = own.ahead.slice(own.at).concat(found);
    own.at = 0;
    const now = performance.now();
    own.quick = found.length === own.batch && now - own.since < QUICK_MS;
    own.since = now;
    return found.length > 0;
  } finally {
    own.signal?.removeEventListener('abort', onAbort);
  }
}

/** Receives, unless that is under way. Resolves to false if nothing came, where that ends the iteration. */
function fetch(own, waitMs, ends) {
  own.fetching ??= more(own, waitMs)
    .then((came) => came || !ends)
    .catch((error) => {
      own.failed = { error };
      return true;
    })
    .finally(() => {
      own.fetching = undefined;
    });
  return own.fetching;
}

/** Receives the next batch while the last one is being handled, if that goes quickly and there is more. */
function fetchAhead(own) {
  const left = own.ahead.length - own.at;
  if (own.quick && left > 0 && left < own.batch && own.failed === undefined) fetch(own, 0, false);
}

function throwFailed(own) {
  const { failed } = own;
  own.failed = undefined;
  if (failed !== undefined) throw failed.error;
}

/** Ends the iteration. What is in hand stays in hand; where nothing is, the consumer is closed. */
async function end(own) {
  own.ended = true;
  const native = await own.native?.catch(() => undefined);
  if (native !== undefined && (await settled(native.finish())) === 0) await settled(native.close());
  await own.fetching;
  throwFailed(own);
  return { done: true, value: undefined };
}

module.exports = { Consumer };
