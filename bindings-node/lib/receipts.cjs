'use strict';
// What is settled: deliveries, or receipts.

const check = require('./arguments.cjs');
const { parts } = require('./handles.cjs');

/** The receipts of deliveries or receipts, and those that are deliveries. */
function receiptsOf(given) {
  const objects = [];
  const receipts = check.list('deliveries', given).map((value) => {
    if (value === null || typeof value !== 'object') {
      throw check.wrongType('a delivery', 'a Delivery or a receipt', value);
    }
    const receipt = value.receipt;
    if (receipt !== undefined) {
      parts(value);
      objects.push(value);
      return receipt;
    }
    return { id: check.whole('receipt id', value.id), token: check.whole('receipt token', value.token) };
  });
  return { receipts, objects };
}

module.exports = { receiptsOf };
