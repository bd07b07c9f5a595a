'use strict';
// Loads the compiled part, and says what is the matter when it cannot.

let native;
try {
  native = require('../onceward.node');
} catch (error) {
  const built = process.platform === 'linux' ? 'build it: node scripts/build.mjs' : 'onceward runs on Linux only';
  throw new Error(
    `onceward: the compiled part (onceward.node) does not load on ${process.platform}-${process.arch}; ${built}`,
    { cause: error },
  );
}

module.exports = native;
