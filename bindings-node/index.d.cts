/**
 * Onceward: an embedded, durable message queue and deduplication ledger over one SQLite file.
 *
 * Every call that reaches the file returns a promise and runs off the event loop. Durations are milliseconds. Promises reject with an
 * {@link OncewardError}, whose `code` says what to do, or with a `TypeError` for an argument of a wrong type.
 */

/** What an error's `code` can be: the kinds of every language, and `Panic` for a bug of ours. */
export type ErrorCode =
  /** Correct the call. Nothing was written. */
  | 'Invalid'
  /** Create it first, or look elsewhere. */
  | 'NotFound'
  /** Something else stands under that name or key. Nothing was written. */
  | 'Conflict'
  /** Drop the work: the delivery was given to someone else, or is finished. */
  | 'LeaseLost'
  /** Try again: others kept the store busy, or somebody is at the same effect. Nothing was written. */
  | 'Busy'
  /** Free disk space, then try again. Nothing was written. */
  | 'Full'
  /** The store was closed. */
  | 'Closed'
  /** The file was moved, deleted or replaced while open. */
  | 'Detached'
  /** The file is no SQLite database, or damaged. */
  | 'Corrupt'
  /** The disk failed; the outcome of the call is unknown. */
  | 'Storage'
  /** The file's format is newer, or its file system cannot keep the promises. */
  | 'Unsupported'
  /** The operating system refused to open or to write the file. */
  | 'Denied'
  /** The application's own SQL failed. */
  | 'Sql'
  /** The transaction passed its time limit and was rolled back. */
  | 'Expired'
  /** Whether the call at a third party took effect is not known; it is not repeated before that is resolved. */
  | 'InDoubt'
  /** The call is known not to have happened. */
  | 'Failed'
  | 'Panic';

/** The kinds, in the order of their numbers from 1. */
export const CODES: readonly ErrorCode[];
/** The version of the library. */
export const version: string;

/** What every rejected call rejects with. */
export class OncewardError extends Error {
  constructor(code: ErrorCode, message: string, options?: ErrorOptions);
  readonly code: ErrorCode;
}

/** What a body may be: bytes, or a string that is sent as UTF-8. What arrives is always bytes. */
export type Bytes = Uint8Array | string;
export type Semantics = 'at-most-once' | 'at-least-once' | 'exactly-once';
/** A value of SQLite. Integers that a number does not hold exactly arrive as bigints. */
export type SqlValue = null | number | bigint | string | Buffer;
export type SqlParameter = null | number | bigint | string | Uint8Array;

export interface OpenOptions {
  /** How long a call waits for other writers before it fails with `Busy`. Default: 5,000. */
  busyTimeoutMs?: number;
  /** The longest body that this store sends. Default: 1 MiB; at most 256 MiB. */
  bodyBytesMax?: number;
  /** The log's size past which sends fail with `Full`. Default: 256 MiB; at least 32 MiB. */
  walBytesMax?: number;
  /** Opens the file on NFS, SMB and the like too, where the promises may not hold. Default: false. */
  allowRemoteFileSystem?: boolean;
  /** Whether a missing file is created, with mode 0600. Default: true. */
  create?: boolean;
  /** How long a transaction may run from its first statement on. Default: 5,000. */
  transactionTimeLimitMs?: number;
}

/** Exponential backoff: attempt n waits `firstMs * factor^(n-1)`, at most `capMs`, of which the share `jitter` is random. */
export interface Backoff {
  firstMs: number;
  factor: number;
  capMs: number;
  jitter: number;
}

/** Options that are given are stored in the file; the others stay as they are. */
export interface QueueOptions {
  /** Creates the queue when it is missing. Without, it must exist. */
  semantics?: Semantics;
  /** 1 to 43,200,000 (12 h). Default: 30,000. */
  leaseMs?: number;
  /** 1 to 1,000,000. Default: 20. */
  attemptsMax?: number | 'unlimited';
  /** What is not given takes its default: 1,000 ms, 2, one hour, 0.5. */
  backoff?: Partial<Backoff>;
  /** Default: forever on exactly-once queues, 24 h elsewhere. */
  deduplicationWindowMs?: number | 'forever';
  /** At creation only: the subscriptions instead of the one named "default". */
  subscriptions?: Iterable<string>;
}

export interface QueueSettings {
  semantics: Semantics;
  leaseMs: number;
  attemptsMax: number | 'unlimited';
  backoff: Backoff;
  deduplicationWindowMs: number | 'forever';
  paused: boolean;
}

export interface SendOptions {
  /** The deduplication key, 1 to 512 bytes; required on exactly-once queues. */
  key?: string;
  /** 64 KiB together. A string comes back as a string, bytes as bytes. */
  headers?: Record<string, string | Uint8Array>;
  /** 0 (taken first) to 9. Default: 4. */
  priority?: number;
  /** Offers it later, at most ten years. */
  delayMs?: number;
  /** Offers it from this time on; excludes `delayMs`. A number is milliseconds since the epoch. */
  deliverAt?: Date | number;
  /** Dead-letters it when it was not finished in time. */
  timeToLiveMs?: number;
  /** Messages that share it are handed over in commit order, across retries. */
  orderingKey?: string;
}

export interface Message extends SendOptions {
  body: Bytes;
}

export interface Sent {
  id: number;
  /** The key was known: nothing was written, and `id` is the first message's. */
  duplicate: boolean;
}

/** Id and fencing token: what a settle needs. */
export interface Receipt {
  id: number;
  token: number;
}

export type Headers = Readonly<Record<string, string | Buffer>>;

export interface Peeked {
  id: number;
  body: Buffer;
  headers: Headers;
  key: string | null;
  orderingKey: string | null;
  priority: number;
  sentAt: Date;
  attempts: number;
}

export interface DeadLetter extends Peeked {
  reason: string;
  /** The error text of its last `nack`. */
  error: string | null;
  diedAt: Date;
}

export interface Stats {
  ready: number;
  delayed: number;
  /** Waiting for an earlier message with their ordering key. */
  blocked: number;
  inFlight: number;
  dead: number;
  inDoubt: number;
  oldestAgeMs: number | null;
}

export interface StoreStats {
  fileBytes: number;
  walBytes: number;
  inDoubt: number;
  queues: number;
  sqliteVersion: string;
}

export interface ReceiveOptions {
  /** How long to wait for a first message, at most 24 h. Default: 0. */
  waitMs?: number;
  /** A lease other than the queue's. */
  leaseMs?: number;
  /** Ends the wait: the call rejects with the signal's reason, and what was taken meanwhile is given back. */
  signal?: AbortSignal;
}

export interface ConsumeOptions {
  /**
   * How many messages are received at a time, 1 to 10,000. Default: 100. While a batch is handled within 100 ms, the next one is
   * received meanwhile, unless `batch` is 1.
   */
  batch?: number;
  /** Ends when nothing came for this long. Without, it waits for ever. */
  waitMs?: number;
  /** A lease other than the queue's; it is extended while the consumer lives. */
  leaseMs?: number;
  /** Ends the iteration by rejecting with the signal's reason. `Consumer.stop()` ends it without an error. */
  signal?: AbortSignal;
}

export interface NackOptions {
  /** Instead of the queue's backoff. */
  delayMs?: number;
  /** Kept with the message, at most 4 KiB. */
  error?: string;
}

export interface Page<After = number> {
  /** Lists what comes after this one. */
  after?: After;
  /** 1 to 10,000. Default: 100. */
  max?: number;
}

/** What a probe, or a person, found out: it happened, with this result; or it did not. */
export type Resolution = { applied: Bytes } | 'not-applied';
export type ProbeAnswer = Resolution | 'unknown';

interface OnceCommon {
  /** Says of an error of the call whether the call is known not to have happened. Any other error leaves it in doubt. */
  failedOn?: (error: unknown) => boolean;
  /** The third party recognises repetitions by `idempotencyKey` for this long. */
  idempotentForMs?: number;
}
interface OnceWithoutProbe extends OnceCommon {
  /** What becomes of an unknown outcome: wait for a person, or go to the dead letters. There is no default. */
  onUnknown: 'park' | 'fail';
  probe?: undefined;
  settleMs?: undefined;
}
interface OnceWithProbe extends OnceCommon {
  onUnknown: 'probe';
  /** Asks the third party whether the call of a caller that is gone took effect. */
  probe: () => ProbeAnswer | PromiseLike<ProbeAnswer>;
  /** "not-applied" counts only when it was asked this long after the earlier caller was found to be gone. */
  settleMs: number;
}
export type OnceOptions = OnceWithoutProbe | OnceWithProbe;
export type LedgerOnceOptions = OnceOptions & {
  /** How long to wait for another caller that is at the same key. Default: 0. */
  waitMs?: number;
  /** What is asked of the third party: the same key with another request is a `Conflict`. */
  request?: Bytes;
  /** Ends the wait for another caller, before the call is begun. */
  signal?: AbortSignal;
};

/** A call at a third party; its result, at most 1 MiB, is kept. */
export type Call = () => Bytes | PromiseLike<Bytes>;

interface DoubtCommon {
  doubt: number;
  queue: string | null;
  subscription: string | null;
  message: number | null;
  ledger: string | null;
  /** The effect's name; in a ledger, its key. */
  name: string;
  since: Date;
  /** What is known of it. */
  error: string;
}
export interface InDoubt extends DoubtCommon {
  /**
   * The message's deduplication key: what the third party may know the effect by. Null in a ledger (where `name` is the key),
   * for a message without one, and once the message is gone.
   */
  key: string | null;
  calledAt: Date;
  /** The process that made the last call. */
  process: number;
}
export interface Resolved extends DoubtCommon {
  resolution: { applied: Buffer } | 'not-applied';
  evidence: string;
  actor: string;
  resolvedAt: Date;
}

/** Opens the store in a file, creating it where it is missing; ":memory:" opens one that ends with the process. */
export function open(path: string | URL, options?: OpenOptions): Promise<Store>;

/** An open file with its queues. An open store does not keep the process alive; calls that run do. */
export class Store implements AsyncDisposable {
  private constructor();
  readonly path: string;
  /** A queue, created where `semantics` is given and it is missing. `Conflict` when it has others; `NotFound`. */
  queue(name: string, options?: QueueOptions): Promise<Queue>;
  queues(): Promise<string[]>;
  /** Runs `work` in a transaction: commits when it succeeds, rolls back when it throws. */
  transaction<T>(work: (tx: Transaction) => T | PromiseLike<T>): Promise<T>;
  /** A transaction to commit or roll back by hand. */
  transaction(): Promise<Transaction>;
  /** A ledger of effects, created where it is missing. `windowMs`: how long what is done is remembered. */
  ledger(name: string, options?: { windowMs?: number | 'forever' }): Promise<Ledger>;
  ledgers(): Promise<string[]>;
  inDoubt(page?: Page): Promise<InDoubt[]>;
  /** Resolves a doubt, with the evidence and who says so; they are kept for ever. `Conflict` after another answer. */
  resolve(doubt: number, resolution: Resolution, options: { evidence: string; actor: string }): Promise<void>;
  resolutions(page?: Page): Promise<Resolved[]>;
  stats(): Promise<StoreStats>;
  /** Closes the file: what it held is offered again, and every later call rejects with `Closed`. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** What messages are received from: a queue (by its subscription "default") or a subscription. */
export abstract class Receiver {
  readonly name: string;
  /** Takes one message under a lease; null when there is none. */
  receive(options?: ReceiveOptions): Promise<Delivery | null>;
  /** Takes up to `max` (1 to 10,000) messages as one batch; as soon as there is one, or none when the wait ran out. */
  receiveMany(max: number, options?: ReceiveOptions): Promise<Delivery[]>;
  /** Consumes one by one: batches, extends leases, and commits acknowledgements together. */
  consume(options?: ConsumeOptions): Consumer;
  /** Acknowledges in one commit. Resolves to the receipts whose lease was lost; all others are done. */
  ack(deliveries: Iterable<Delivery | Receipt>): Promise<Receipt[]>;
  nack(deliveries: Iterable<Delivery | Receipt>, options?: NackOptions): Promise<Receipt[]>;
  deadLetter(deliveries: Iterable<Delivery | Receipt>, reason: string): Promise<Receipt[]>;
  /** Gives back unused: due at once, the attempt not counted. */
  release(deliveries: Iterable<Delivery | Receipt>): Promise<Receipt[]>;
  extend(deliveries: Iterable<Delivery | Receipt>, leaseMs: number): Promise<Receipt[]>;
  /** Looks at up to `max` messages that a receive would bring, without taking them. */
  peek(max: number): Promise<Peeked[]>;
  /** Of these ids, those that could still be delivered. The others are finished, on disk. */
  unfinished(ids: Iterable<number>): Promise<number[]>;
  stats(): Promise<Stats>;
  deadLetters(page?: Page): Promise<DeadLetter[]>;
  /** Offers dead letters again, all of them without ids. Resolves to how many. */
  redrive(ids?: Iterable<number>): Promise<number>;
  purgeDead(ids?: Iterable<number>): Promise<number>;
}

export class Subscription extends Receiver {
  private constructor();
  readonly queue: Queue;
}

export class Queue extends Receiver {
  private constructor();
  readonly semantics: Semantics;
  /** Sends a message; on disk when it resolves (at-most-once: soon). After `Storage`, repeat it with its key. */
  send(body: Bytes, options?: SendOptions): Promise<Sent>;
  /** Sends up to 10,000 messages in one commit: all or none. */
  sendMany(messages: Iterable<Message | Bytes>): Promise<Sent[]>;
  settings(): Promise<QueueSettings>;
  subscription(name: string): Promise<Subscription>;
  subscribe(name: string, options?: { start?: 'now' | 'oldest' }): Promise<Subscription>;
  unsubscribe(name: string): Promise<void>;
  subscriptions(): Promise<string[]>;
  /** True: cancelled. False: there was nothing left to cancel. `Conflict` when it is in flight or in doubt. */
  cancel(id: number): Promise<boolean>;
  /** Deletes everything ready or delayed. Resolves to how many messages. */
  purge(): Promise<number>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  isPaused(): Promise<boolean>;
}

/** A message in the hands of its receiver, until it is settled or its lease ends. One delivery, one settle. */
export class Delivery {
  private constructor();
  readonly id: number;
  /** The fencing token: larger than that of every earlier delivery of the message. */
  readonly token: number;
  /** Which delivery of the message this is, from 1. */
  readonly attempt: number;
  readonly body: Buffer;
  readonly headers: Headers;
  readonly key: string | null;
  readonly orderingKey: string | null;
  readonly priority: number;
  readonly sentAt: Date;
  /** When the lease ends, as of the receive or of `extend`. A consumer extends it in the background as well, which does not show. */
  readonly leaseExpiresAt: Date;
  readonly receipt: Receipt;
  readonly receiver: Queue | Subscription;
  readonly settled: boolean;
  /** Done for ever. From a consumer it is noted, and committed with the next receive, `flush` or `close`. `LeaseLost`. */
  ack(): Promise<void>;
  nack(options?: NackOptions): Promise<void>;
  deadLetter(reason: string): Promise<void>;
  release(): Promise<void>;
  extend(leaseMs: number): Promise<void>;
  /** Runs `work` and commits it with the acknowledgement; an error rolls back and gives the message back (nack). */
  transaction<T>(work: (tx: Transaction) => T | PromiseLike<T>): Promise<T>;
  transaction(): Promise<Transaction>;
  /** Makes a call at a third party once for this message, and keeps its result. See `docs/semantics.md`. */
  once(name: string, call: Call, options: OnceOptions): Promise<Buffer>;
  /** The same in every delivery of this message; has the form of a UUID. */
  idempotencyKey(name: string): Promise<string>;
}

/**
 * Hands out one delivery after the other, also to several callers at once. When the wait is over or it was stopped, what was not
 * handed out is released, and deliveries in hand stay in hand. Leaving `for await` by `break` or an error closes it; so do `close()` and
 * `await using`.
 */
export class Consumer implements AsyncIterable<Delivery, void, void>, AsyncDisposable {
  private constructor();
  /** The next delivery. After `LeaseLost`, of a noted acknowledgement that came too late, it may be called again. */
  next(): Promise<IteratorResult<Delivery, undefined>>;
  [Symbol.asyncIterator](): AsyncIterator<Delivery, undefined, void>;
  /** Commits the noted acknowledgements now. */
  flush(): Promise<void>;
  /** Ends the iteration, without an error, after the delivery it is at. */
  stop(): void;
  /**
   * Commits acknowledgements, releases what was not handed out (on an at-most-once queue it is lost), and gives back as failed
   * what was not settled.
   */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * SQL on the application's own tables, sends and acknowledgements in one commit. The write lock is taken at the first
 * statement; from then on it has `transactionTimeLimitMs`. Until it ends, other writes wait: do not await one inside.
 */
export class Transaction implements AsyncDisposable {
  private constructor();
  /** Runs one statement. Resolves to how many rows it changed. */
  execute(sql: string, parameters?: readonly SqlParameter[]): Promise<number>;
  executeMany(sql: string, sets: Iterable<readonly SqlParameter[]>): Promise<number>;
  query(sql: string, parameters?: readonly SqlParameter[]): Promise<{ columns: string[]; rows: SqlValue[][] }>;
  send(queue: Queue | string, body: Bytes, options?: SendOptions): Promise<Sent>;
  /** Acknowledges further deliveries in this commit. */
  ack(receiver: Receiver, deliveries: Iterable<Delivery | Receipt>): Promise<void>;
  /** Commits; on disk when it resolves. `LeaseLost`: rolled back, nothing of it happened. */
  commit(): Promise<void>;
  rollback(): Promise<void>;
  /** Rolls back what was not committed. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Effects at third parties that are made once, by keys of the application's own. */
export class Ledger {
  private constructor();
  readonly name: string;
  once(key: string, call: Call, options: LedgerOnceOptions): Promise<Buffer>;
  idempotencyKey(key: string): Promise<string>;
}
