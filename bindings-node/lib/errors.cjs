'use strict';
// The one error class, and how an error of the native part becomes it.

const native = require('./native.cjs');

const CODES = Object.freeze(native.kinds());

class OncewardError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.code = code;
  }
}
Object.defineProperty(OncewardError.prototype, 'name', { value: 'OncewardError', configurable: true, writable: true });

const MARK = '\u001f';

/** The error that users see for one of the native part. */
function known(error) {
  const text = error instanceof Error ? error.message : '';
  if (!text.startsWith(MARK)) return error;
  const end = text.indexOf(MARK, 1);
  return new OncewardError(text.slice(1, end), text.slice(end + 1));
}

/** Awaits a call of the native part. The error is made here, so that its stack names the callers. */
async function settled(promise) {
  try {
    return await promise;
  } catch (error) {
    throw known(error);
  }
}

/** Makes a call of the native part that waits for nothing. */
function now(call) {
  try {
    return call();
  } catch (error) {
    throw known(error);
  }
}

function invalid(message) {
  return new OncewardError('Invalid', message);
}

module.exports = { CODES, OncewardError, invalid, known, now, settled };
