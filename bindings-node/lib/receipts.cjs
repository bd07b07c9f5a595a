'use strict';
// What is settled: deliveries, or receipts.

const check = require('./arguments.cjs');
const { parts, stands } = require('./handles.cjs');

/** The receipts of deliveries or receipts, each an id and a token, in one array for the native part, and those that are deliveries. */
function receiptsOf(given) {
  const objects = [];
  const values = check.list('deliveries', given);
  const receipts = new Float64Array(2 * values.length);
  values.forEach((value, index) => {
    if (value === null || typeof value !== 'object') {
      throw check.wrongType('a delivery', 'a Delivery or a receipt', value);
    }
    const isDelivery = stands(value, 'batch');
    if (isDelivery) objects.push(value);
    const { id, token } = isDelivery ? value : receipt(value);
    receipts[2 * index] = check.whole('receipt id', id);
    receipts[2 * index + 1] = check.whole('receipt token', token);
  });
  return { receipts, objects };
}

/** A receipt, which is what has no receipt of its own. */
function receipt(value) {
  if (value.receipt === undefined) return value;
  parts(value);
  return value.receipt;
}

module.exports = { receiptsOf };
