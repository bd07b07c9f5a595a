'use strict';
// Which part of the native module stands behind an object. Nobody else can reach or forge it.

const { wrongType } = require('./arguments.cjs');

/** A constructor that gives back what it is given, so that the fields of a class below it are put on that. */
function Same(object) {
  return object;
}

/** A private field on any object: as hidden as an entry of a WeakMap, and much cheaper where there are many objects. */
class Behind extends Same {
  #parts;

  constructor(object, parts) {
    super(object);
    this.#parts = parts;
  }

  static of(object) {
    return typeof object === 'object' && object !== null && #parts in object ? object.#parts : undefined;
  }
}

function attach(object, parts) {
  new Behind(object, parts);
}

function parts(object) {
  const found = Behind.of(object);
  if (found === undefined) throw new TypeError('this object was not made by onceward');
  return found;
}

/** Whether it was made by onceward and has this part. */
function stands(object, part) {
  return Behind.of(object)?.[part] !== undefined;
}

/** The parts of an argument that must have this one. */
function partsOf(name, expected, value, part) {
  const found = Behind.of(value);
  if (found?.[part] === undefined) throw wrongType(name, expected, value);
  return found;
}

module.exports = { attach, parts, partsOf, stands };
