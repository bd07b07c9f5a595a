'use strict';
// Checks the arguments' types: a wrong type is a TypeError, a value out of its limits an OncewardError "Invalid" (here only
// where the native part could not hold the value).

const { types } = require('node:util');
const { invalid } = require('./errors.cjs');

function shown(value) {
  const text = typeof value === 'bigint' ? `${value}n` : typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length <= 60 ? text : `${text.slice(0, 57)}...`;
}

function typeOf(value) {
  return value === null ? 'null' : typeof value === 'object' ? (value.constructor?.name ?? 'object') : typeof value;
}

function wrongType(name, expected, value) {
  return new TypeError(`${name} must be ${expected}, not ${typeOf(value)}`);
}

function text(name, value) {
  if (typeof value !== 'string') throw wrongType(name, 'a string', value);
  if (!value.isWellFormed()) throw invalid(`${name} holds half of a surrogate pair, which UTF-8 cannot say`);
  return value;
}

function flag(name, value) {
  if (typeof value !== 'boolean') throw wrongType(name, 'a boolean', value);
  return value;
}

function finite(name, value) {
  if (typeof value !== 'number') throw wrongType(name, 'a number', value);
  if (!Number.isFinite(value)) throw invalid(`${name} is ${value}; it takes a finite number`);
  return value;
}

function milliseconds(name, value) {
  if (finite(name, value) < 0) throw invalid(`${name} is ${value}; it takes 0 or more milliseconds`);
  return value;
}

function whole(name, value) {
  if (typeof value !== 'number') throw wrongType(name, 'a number', value);
  if (!Number.isSafeInteger(value) || value < 0) throw invalid(`${name} is ${value}; it takes a whole number of 0 or more`);
  return value;
}

function bytes(name, value) {
  if (typeof value === 'string') return Buffer.from(text(name, value), 'utf8');
  return onlyBytes(name, value, 'a Uint8Array or a string');
}

function onlyBytes(name, value, expected = 'a Uint8Array') {
  if (!types.isUint8Array(value)) throw wrongType(name, expected, value);
  if (value.length === 0 && isDetached(value.buffer)) throw invalid(`${name} is detached: its bytes were moved elsewhere`);
  // What other threads share may change while it is read.
  return types.isSharedArrayBuffer(value.buffer) ? Uint8Array.from(value) : value;
}

function isDetached(buffer) {
  try {
    return new Uint8Array(buffer).length < 0;
  } catch {
    return true;
  }
}

function callable(name, value) {
  if (typeof value !== 'function') throw wrongType(name, 'a function', value);
  return value;
}

function list(name, value) {
  if (typeof value === 'string' || value === null || typeof value?.[Symbol.iterator] !== 'function') {
    throw wrongType(name, 'an iterable', value);
  }
  return Array.from(value);
}

/** An object whose properties are what is meant: what can be iterated, a Map or fetch's Headers, keeps its entries elsewhere. */
function record(name, value) {
  if (value === null || typeof value !== 'object' || Symbol.iterator in value) throw wrongType(name, 'a plain object', value);
}

/** The given options: an object with none but these names. Those that are undefined are absent. */
function options(name, value, allowed) {
  if (value === undefined) return {};
  record(name, value);
  const given = {};
  for (const key of Object.keys(value)) {
    if (!allowed.includes(key)) throw new TypeError(`${name} has no option ${shown(key)}; it has ${allowed.join(', ')}`);
    if (value[key] !== undefined) given[key] = value[key];
  }
  return given;
}

/** Checks each given option with the check of its name. */
function checked(name, value, checks) {
  const given = options(name, value, Object.keys(checks));
  for (const key of Object.keys(given)) given[key] = checks[key](key, given[key]);
  return given;
}

/** A check that also takes one word, which stands for -1. */
function orWord(word, check) {
  return (name, value) => {
    if (typeof value !== 'string') return check(name, value);
    if (value !== word) throw invalid(`${name} is ${shown(value)}; it is neither a number nor "${word}"`);
    return -1;
  };
}

function signal(name, value) {
  if (!(value instanceof AbortSignal)) throw wrongType(name, 'an AbortSignal', value);
  return value;
}

function headers(name, value) {
  record(name, value);
  return Object.entries(value).map(([key, header]) => {
    const entry = { name: text('header name', key) };
    if (typeof header === 'string') return { ...entry, text: text(`header ${shown(key)}`, header) };
    return { ...entry, bytes: Buffer.from(onlyBytes(`header ${shown(key)}`, header, 'a string or a Uint8Array')) };
  });
}

const NO_HEADERS = Object.freeze(Object.create(null));

/** Headers, from what the native part gives. */
function headersFrom(entries) {
  if (entries === undefined || entries.length === 0) return NO_HEADERS;
  const made = Object.create(null);
  for (const entry of entries) made[entry.name] = entry.text ?? entry.bytes ?? Buffer.alloc(0);
  return Object.freeze(made);
}

const SEND = {
  key: text,
  headers,
  priority: whole,
  delayMs: milliseconds,
  deliverAt: (name, value) => {
    const at = value instanceof Date ? value.getTime() : value;
    if (typeof at !== 'number') throw wrongType(name, 'a Date or milliseconds since the epoch', value);
    return finite(name, at);
  },
  timeToLiveMs: milliseconds,
  orderingKey: text,
};

/** A message for the native part. */
function outgoing(body, given) {
  const { deliverAt, priority, ...rest } = checked('send', given, SEND);
  if (deliverAt !== undefined && rest.delayMs !== undefined) throw invalid('delayMs and deliverAt exclude each other');
  if (priority > 9) throw invalid(`priority is ${priority}; the limit is 9`);
  return { body: bytes('body', body), deliverAtMs: deliverAt, priority, ...rest };
}

function message(value) {
  if (typeof value === 'string' || types.isUint8Array(value)) return outgoing(value);
  if (value === null || typeof value !== 'object') throw wrongType('a message', 'a body or an object with one', value);
  const { body, ...rest } = value;
  return outgoing(body, rest);
}

/** The bodies of messages that are nothing but bytes, one after the other, and where each ends; null when one is more. */
function bodies(messages) {
  const ends = new Float64Array(messages.length);
  let end = 0;
  for (let index = 0; index < messages.length; index++) {
    if (!types.isUint8Array(messages[index]) || messages[index].length === 0) return null;
    end += messages[index].length;
    ends[index] = end;
  }
  // Large ones are not worth a copy.
  return end > 256 * messages.length + 65536 ? null : { all: Buffer.concat(messages, end), ends };
}

function ids(value) {
  return value === undefined ? undefined : list('ids', value).map((id) => whole('id', id));
}

function page(name, given) {
  const { after, max = 100 } = checked(name, given, { after: whole, max: whole });
  return [after, max];
}

module.exports = {
  bodies, bytes, callable, checked, finite, flag, headersFrom, ids, list, message, milliseconds, onlyBytes, options, orWord, outgoing, page,
  shown, signal, text, typeOf, whole, wrongType,
};
