'use strict';

const { CODES, OncewardError } = require('./lib/errors.cjs');
const { Consumer } = require('./lib/consumer.cjs');
const { Delivery } = require('./lib/delivery.cjs');
const native = require('./lib/native.cjs');
const { Queue, Receiver, Subscription } = require('./lib/receiver.cjs');
const { Ledger, Store, open } = require('./lib/store.cjs');
const { Transaction } = require('./lib/transaction.cjs');

module.exports = {
  CODES, Consumer, Delivery, Ledger, OncewardError, Queue, Receiver, Store, Subscription, Transaction, open,
  version: native.version(),
};
