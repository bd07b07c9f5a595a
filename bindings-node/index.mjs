// The same objects as `require('onceward')`: there is one module in a process, however it is loaded.
import onceward from './index.cjs';

export const {
  CODES, Consumer, Delivery, Ledger, OncewardError, Queue, Receiver, Store, Subscription, Transaction, open, version,
} = onceward;
