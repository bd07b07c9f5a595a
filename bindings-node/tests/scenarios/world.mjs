// What the steps of a scenario have made so far, and the verbs about files and processes.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import * as onceward from 'onceward';
import { Mistake, Step, bytes, duration } from './steps.mjs';

/** Public operations that were called, by the name of the class that declares them. */
export const called = new Set();

/** An object of the library. Whatever is asked of it is noted. */
export function api(of) {
  return new Proxy(of, {
    get(target, name) {
      for (let at = Object.getPrototypeOf(target); at && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
        called.add(`${at.constructor.name}.${String(name)}`);
      }
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' ? (...given) => value.apply(target, given) : value;
    },
  });
}

export function open(path, options) {
  called.add('open');
  return onceward.open(path, options);
}

/** The call at a third party is known not to have happened. */
export class Refused extends Error {}

/** A process that takes steps. */
class Child {
  constructor(folder) {
    const program = fileURLToPath(new URL('child.mjs', import.meta.url));
    this.process = spawn(process.execPath, [program, folder], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
    this.ended = once(this.process, 'close');
  }

  tell(step) {
    this.process.stdin.write(`${step}\n`);
  }

  async hear() {
    const { value, done } = await this.lines.next();
    if (done) throw new Mistake('the process has ended');
    return value;
  }

  async kill() {
    this.process.kill('SIGKILL');
    await this.ended;
  }
}

export const VERBS = {
  process: (world, step) => void world.children.set(step.word(), new Child(world.folder)),
  hear: (world, step) => world.child(step.word()).hear(),
  kill: async (world, step) => {
    const name = step.word();
    await world.child(name).kill();
    world.children.delete(name);
  },
  stop: (world, step) => void world.child(step.word()).process.kill('SIGSTOP'),
  continue: (world, step) => void world.child(step.word()).process.kill('SIGCONT'),
  wait: (_, step) => pause(duration(step.word())),
  write: (world, step) => writeFileSync(world.path(step.word()), bytes(step.word())),
  remove: (world, step) => rmSync(world.path(step.word())),
  move: (world, step) => renameSync(world.path(step.word()), world.path(step.word())),
  mkdir: (world, step) => void mkdirSync(world.path(step.word())),
  patch: (world, step) => {
    const file = openSync(world.path(step.word()), 'r+');
    const content = bytes(step.word());
    writeSync(file, content, 0, content.length, Number(step.needed('at')));
    closeSync(file);
  },
};

export class World {
  constructor(folder) {
    this.folder = folder;
    for (const kind of ['stores', 'receivers', 'deliveries', 'receipts', 'transactions', 'consumers', 'ledgers', 'doubts', 'ids', 'children']) {
      this[kind] = new Map();
    }
    this.keys = [];
    this.calls = 0;
    this.probes = 0;
  }

  /** Takes a step, and answers in one line. */
  async answer(line) {
    try {
      return (await this.take(line)).replaceAll('\n', ' ');
    } catch (error) {
      if (error instanceof onceward.OncewardError) return `error ${api(error).code} ${error.message}`.replaceAll('\n', ' ');
      // What `failedOn` names comes out as it is.
      if (error instanceof Refused) return `error Failed ${error.message}`;
      return `mistake: ${error instanceof Mistake ? error.message : error.stack}`;
    }
  }

  async take(line) {
    const to = /^(tell )?([\w]+): (.*)$/.exec(line);
    if (to && (to[1] || this.children.has(to[2]))) {
      this.child(to[2]).tell(to[3]);
      return to[1] ? 'ok' : this.child(to[2]).hear();
    }
    const step = new Step(line);
    if (!(step.verb in VERBS)) throw new Mistake(`there is no verb ${step.verb}`);
    const answer = await VERBS[step.verb](this, step);
    step.finish();
    return answer ?? 'ok';
  }

  child(name) {
    return named(this.children, name);
  }

  path(name) {
    return name === ':memory:' ? name : resolve(this.folder, name);
  }

  store(step) {
    return api(named(this.stores, step.option('in') ?? 'store'));
  }

  receiver(step) {
    return api(named(this.receivers, step.word()));
  }

  queue(name) {
    const queue = named(this.receivers, name);
    if (!(queue instanceof onceward.Queue)) throw new Mistake(`${name} is no queue`);
    return queue;
  }

  delivery(name) {
    return api(named(this.deliveries, name));
  }

  id(name) {
    return named(this.ids, name);
  }

  /** The first name that a message was given. */
  nameOf(id) {
    return [...this.ids].find(([, known]) => known === id)?.[0] ?? '?';
  }

  receipt(name) {
    return this.deliveries.has(name) ? this.delivery(name).receipt : named(this.receipts, name);
  }

  /** Names the deliveries that were lost. */
  lost(names, lost) {
    const known = new Map(names.map((name) => [`${this.receipt(name).id} ${this.receipt(name).token}`, name]));
    return lost.length === 0 ? 'ok' : ['lost', ...lost.map(({ id, token }) => known.get(`${id} ${token}`) ?? '?')].join(' ');
  }

  /** Kills what still runs, and closes what is open. */
  async end() {
    for (const child of this.children.values()) await child.kill();
    for (const transaction of this.transactions.values()) await transaction.rollback();
    for (const store of this.stores.values()) await store.close();
  }
}

/** What was made under a name. */
export function named(made, name) {
  if (!made.has(name)) throw new Mistake(`nothing is named ${name}`);
  return made.get(name);
}

/** Runs a scenario in a folder of its own. Says at which line it went wrong, and how; null when it did not. */
export async function run(scenario, folder) {
  const world = new World(folder);
  try {
    for (const line of scenario.lines) {
      const answer = await world.answer(line.step);
      if (!line.fits(answer)) {
        return `${line.at}: ${scenario.title}\n  ${line.step}\n  wanted: ${line.wanted ?? 'no error'}\n  found:  ${answer}`;
      }
    }
  } finally {
    await world.end();
  }
  return null;
}
