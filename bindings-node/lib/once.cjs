'use strict';
// Effects at third parties, made once: begin, call or ask, say how it ended.

const { inspect, types } = require('node:util');
const check = require('./arguments.cjs');
const { OncewardError, invalid, settled } = require('./errors.cjs');
const { pause } = require('./waiting.cjs');

/** Milliseconds between two looks at an effect that another caller is at. */
const LOOK_EVERY_MS = 20;

const IN_DELIVERY = {
  onUnknown: check.text,
  probe: check.callable,
  settleMs: check.milliseconds,
  failedOn: check.callable,
  idempotentForMs: check.milliseconds,
};
const IN_LEDGER = {
  ...IN_DELIVERY,
  waitMs: check.milliseconds,
  // A copy: the call may be made again and again while another one is at the key.
  request: (name, value) => Buffer.from(check.bytes(name, value)),
  signal: check.signal,
};

function parse(call, given, allowed) {
  check.callable('call', call);
  const options = check.checked('once', given, allowed);
  const { onUnknown, probe, settleMs, waitMs = 0 } = options;
  if (onUnknown === undefined) throw invalid('onUnknown is missing; it takes "park", "probe" or "fail"');
  if (!['park', 'probe', 'fail'].includes(onUnknown)) {
    throw invalid(`onUnknown is ${check.shown(onUnknown)}; it takes "park", "probe" or "fail"`);
  }
  if (onUnknown === 'probe' && (probe === undefined || settleMs === undefined)) {
    throw invalid('onUnknown "probe" takes a probe and settleMs: give both');
  }
  if (onUnknown !== 'probe' && (probe !== undefined || settleMs !== undefined)) {
    throw invalid('probe and settleMs go with onUnknown "probe", and with nothing else');
  }
  if (waitMs > 86_400_000) throw invalid(`waitMs is ${waitMs}; the limit is 86400000`);
  const { idempotentForMs, request } = options;
  return { ...options, waitMs, native: { onUnknown, settleMs, idempotentForMs, request } };
}

/** Effects whose call is under way. A call that never settles is referred to by nobody else, and must not be collected. */
const RUNNING = new Set();

/** Makes a call once for a message. */
function onceInDelivery(begin, name, call, given) {
  const options = parse(call, given, IN_DELIVERY);
  return run(() => settled(begin(check.text('effect name', name), options.native)), call, options);
}

/** Makes a call once for a key of a ledger, after another caller who is at it. */
function onceInLedger(begin, key, call, given) {
  const options = parse(call, given, IN_LEDGER);
  check.text('effect key', key);
  const until = performance.now() + options.waitMs;
  const waiting = async () => {
    for (;;) {
      options.signal?.throwIfAborted();
      try {
        return await settled(begin(key, options.native));
      } catch (error) {
        const left = until - performance.now();
        if (error.code !== 'Busy' || left <= 0) throw error;
        await pause(Math.min(left, LOOK_EVERY_MS), options.signal);
      }
    }
  };
  return run(waiting, call, options);
}

async function run(begin, call, { probe, failedOn }) {
  let begun = await begin();
  if (begun.state() === 'probe') begun = await answered(begun, await probe());
  if (Buffer.isBuffer(begun)) return begun;
  if (begun.state() === 'done') return begun.result();
  if (begun.state() === 'probe') {
    throw new OncewardError('Busy', 'the effect was decided anew while the third party was asked; ask again');
  }
  let result;
  RUNNING.add(begun);
  try {
    result = await call();
  } catch (error) {
    if (knownToHaveFailed(failedOn, error)) {
      const recorded = await rejection(begun.failed(words(error)));
      throw recorded.code === 'Failed' ? error : caused(recorded, error);
    }
    throw caused(await rejection(begun.unknown(words(error))), error);
  } finally {
    RUNNING.delete(begun);
  }
  if (types.isUint8Array(result) || (typeof result === 'string' && result.isWellFormed())) {
    return settled(begun.happened(check.bytes('the result of the call', result)));
  }
  // It did happen, so what cannot be kept leaves it in doubt.
  const text = `the call returned ${short(result)}, and the result of an effect is bytes`;
  const recorded = await rejection(begun.unknown(text));
  throw new TypeError(`${text}; it may have happened and is in doubt`, { cause: recorded });
}

/** Applies what a probe said. */
async function answered(question, answer) {
  if (answer === 'not-applied') return settled(question.notApplied());
  if (answer === 'unknown') throw await rejection(question.unknown('the probe could not tell'));
  return settled(question.happened(applied('a probe returns', answer, '{ applied: bytes }, "not-applied" or "unknown"')));
}

/** The bytes of `{ applied: bytes }`. */
function applied(what, answer, expected) {
  const result = typeof answer === 'object' && answer !== null ? answer.applied : undefined;
  if (result === undefined) throw invalid(`${what} ${expected}, not ${short(answer)}`);
  return check.bytes('applied', result);
}

/** A predicate that throws knows nothing. */
function knownToHaveFailed(failedOn, error) {
  try {
    return failedOn !== undefined && failedOn(error) === true;
  } catch {
    return false;
  }
}

async function rejection(promise) {
  try {
    await settled(promise);
  } catch (error) {
    return error;
  }
  return new OncewardError('Panic', 'a bug in onceward, please report it: an outcome without an error');
}

function caused(error, cause) {
  error.cause = cause;
  return error;
}

/** The first line of an error, as what is kept with a message. */
function words(error) {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(inspect(error));
  let kept = text.toWellFormed().replaceAll('\0', '\ufffd').slice(0, 4096);
  while (Buffer.byteLength(kept) > 4096) kept = kept.slice(0, -64).toWellFormed();
  return kept;
}

function short(value) {
  const shown = inspect(value, { depth: 0 });
  return shown.length <= 60 ? shown : `a value of type ${check.typeOf(value)}`;
}

module.exports = { applied, onceInDelivery, onceInLedger, words };
