'use strict';
// Calls that wait, and the signal that ends them.

const native = require('./native.cjs');
const { OncewardError, settled } = require('./errors.cjs');

/** Makes a call of the native part that takes an `Abort`. An aborted one rejects with the signal's reason. */
async function abortable(signal, call) {
  if (signal === undefined) return settled(call(undefined));
  signal.throwIfAborted();
  const abort = new native.Abort();
  const onAbort = () => abort.abort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await settled(call(abort));
  } catch (error) {
    if (error instanceof OncewardError && error.code === 'Aborted') throw signal.reason;
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Sleeps, unless it is aborted. */
async function pause(ms, signal) {
  const { setTimeout: sleep } = require('node:timers/promises');
  try {
    await sleep(ms, undefined, { signal });
  } catch {
    throw signal.reason;
  }
}

module.exports = { abortable, pause };
