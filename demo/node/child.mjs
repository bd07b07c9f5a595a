// What the sender and the worker in JavaScript have in common: the job, the pipes to the supervisor, and the journal. It is
// webhooks/child.py and webhooks/journal.py for this language; what is written here is explained there.
import { createHash } from 'node:crypto';
import { constants, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export const LANGUAGE = 'node';

/** The job, from the program's arguments. */
export function readJob() {
  const [name, folder, semantics, seed, batch, sabotage, order, haltAfter] = process.argv.slice(2);
  return {
    name, folder, semantics, seed, sabotage,
    batch: Number(batch),
    haltAfter: Number(haltAfter),
    order: order === '' ? [] : order.split(',').map(Number),
    database: join(folder, 'webhooks.db'),
  };
}

/** Numbers from 0 to 1 that follow from the job alone. */
export function randomNumbers(job) {
  let state = createHash('sha256').update(`${job.seed} ${job.name}`).digest().readUInt32LE(0);
  return () => {
    // Mulberry32: good enough to choose pauses.
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The writing end of the journal: a line is one write(2), and a kill takes none back. */
export class Journal {
  #descriptor;

  constructor(job) {
    const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND } = constants;
    this.#descriptor = openSync(join(job.folder, `${job.name}.journal`), O_WRONLY | O_CREAT | O_EXCL | O_APPEND, 0o600);
  }

  write(...words) {
    const line = Buffer.from(`${words.join(' ')}\n`);
    if (writeSync(this.#descriptor, line) !== line.length) throw new Error(`the journal took only a part of ${line}`);
  }
}

/** How many sends a predecessor confirmed in its journal; it may have been killed before it had one. */
export function confirmedIn(job, name) {
  let text;
  try {
    text = readFileSync(join(job.folder, `${name}.journal`), 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return 0;
    throw error;
  }
  return text.split('\n').slice(0, -1).filter((line) => line.startsWith('confirmed ')).length;
}

/** The child's side of the two pipes. */
export class Supervised {
  #haltAt = '';
  #toBegin = 0;
  #begin = null;

  constructor() {
    const orders = createInterface({ input: process.stdin });
    orders.on('line', (order) => this.#obey(order));
    orders.on('close', () => process.exit(1));
  }

  tell(word) {
    try {
      writeSync(1, `${word}\n`);
    } catch {
      process.exit(1);
    }
  }

  /** Resolves when the supervisor lets one more message be begun. */
  async mayBegin() {
    if (this.#toBegin === 0) await new Promise((resolve) => (this.#begin = resolve));
    this.#toBegin -= 1;
  }

  /** Goes on, unless the supervisor ordered a halt at this point: then it says so and waits for the kill. */
  async passPoint(point) {
    if (this.#haltAt === point) await this.halt();
  }

  /** Says so and waits for the kill. */
  async halt() {
    this.tell('halted');
    await new Promise(() => {});
  }

  #obey(order) {
    if (order === 'begin') {
      this.#toBegin += 1;
      this.#begin?.();
    } else {
      this.#haltAt = order;
    }
  }
}
