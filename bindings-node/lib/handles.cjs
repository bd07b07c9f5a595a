'use strict';
// Which part of the native module stands behind an object. Nobody else can reach or forge it.

const { wrongType } = require('./arguments.cjs');

const behind = new WeakMap();

function attach(object, parts) {
  behind.set(object, parts);
}

function parts(object) {
  const found = behind.get(object);
  if (found === undefined) throw new TypeError('this object was not made by onceward');
  return found;
}

/** The parts of an argument that must have this one. */
function partsOf(name, expected, value, part) {
  const found = typeof value === 'object' && value !== null ? behind.get(value) : undefined;
  if (found?.[part] === undefined) throw wrongType(name, expected, value);
  return found;
}

module.exports = { attach, parts, partsOf };
