// Reading the scenarios of `tests/scenarios/`, and writing answers. The grammar is in the README there.
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('../../../tests/scenarios/', import.meta.url));
const LONG = 32;
const UNITS_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The step is wrong. */
export class Mistake extends Error {}

/** The words of a line, of which those in quotes may hold spaces; and whether each began with a quote. */
export function words(line) {
  return (line.match(/(?:[^\s"]|"[^"]*")+/g) ?? []).map((word) => [word.replaceAll('"', ''), word.startsWith('"')]);
}

/** The bytes that a word stands for: `hex:00ff`, `x*1000`, or itself. */
export function bytes(word) {
  if (word.startsWith('hex:')) return Buffer.from(word.slice(4), 'hex');
  const run = /^([\x20-\x7e])\*(\d+)$/.exec(word);
  return run ? Buffer.alloc(Number(run[2]), run[1]) : Buffer.from(word);
}

export const text = (word) => bytes(word).toString();

export function duration(word) {
  const found = /^(\d+)(ms|s|m|h|d)$/.exec(word);
  if (!found) throw new Mistake(`${word} is no duration`);
  return Number(found[1]) * UNITS_MS[found[2]];
}

/** A verb, its words and its options. What is read is taken out, so that in the end nothing may be left. */
export class Step {
  constructor(line) {
    this.left = [];
    this.named = new Map();
    for (const [word, quoted] of words(line)) {
      const option = quoted ? null : /^([\w.-]*)=(.*)$/s.exec(word);
      if (option) this.named.set(option[1], option[2]);
      else this.left.push(word);
    }
    this.verb = this.word();
  }

  word() {
    if (this.left.length === 0) throw new Mistake('a word is missing');
    return this.left.shift();
  }

  rest() {
    return this.left.splice(0);
  }

  /** The words that are left, as often as `times` says. */
  repeated() {
    const times = Number(this.option('times') ?? 1);
    const rest = this.rest();
    return Array.from({ length: times }, () => rest).flat();
  }

  option(name) {
    const value = this.named.get(name);
    this.named.delete(name);
    return value;
  }

  needed(name) {
    const value = this.option(name);
    if (value === undefined) throw new Mistake(`${name}= is missing`);
    return value;
  }

  /** The options that are there, read and renamed: `{ wait: ['waitMs', duration] }`. */
  given(readers) {
    const found = {};
    for (const [name, [key, read]] of Object.entries(readers)) {
      const value = this.option(name);
      if (value !== undefined) found[key] = read(value);
    }
    return found;
  }

  /** The options whose names begin so, without that. */
  options(begin) {
    const names = [...this.named.keys()].filter((name) => name.startsWith(begin));
    return Object.fromEntries(names.map((name) => [name.slice(begin.length), this.option(name)]));
  }

  finish() {
    for (const left of [...this.left, ...this.named.keys()]) throw new Mistake(`${this.verb} does not take ${left}`);
  }
}

export function flag(word) {
  if (!['yes', 'no'].includes(word)) throw new Mistake(`${word} is not yes or no`);
  return word === 'yes';
}

/** A text or bytes: plain, in quotes, `x*N` for a long run of one letter, or `hex:…`; `-` for none. */
export function shown(value) {
  if (value === null) return '-';
  const raw = typeof value === 'string' ? Buffer.from(value) : value;
  if (raw.length === 0) return '""';
  if (!raw.every((byte) => byte >= 0x20 && byte <= 0x7e && byte !== 0x22)) return `hex:${raw.toString('hex')}`;
  if (raw.length >= LONG && raw.every((byte) => byte === raw[0])) return `${String.fromCharCode(raw[0])}*${raw.length}`;
  return raw.includes(0x20) ? `"${raw}"` : `${raw}`;
}

export function shownHeaders(headers) {
  const one = ([name, value]) => `${name}:${typeof value === 'string' ? shown(value) : `hex:${value.toString('hex')}`}`;
  return Object.entries(headers).sort().map(one).join(';') || '-';
}

/** A value of SQLite, with the letter of its type. */
export function shownValue(value) {
  if (value === null) return 'null';
  if (typeof value === 'string') return `t:${shown(value)}`;
  if (typeof value === 'bigint' || Number.isInteger(value)) return `i:${value}`;
  return typeof value === 'number' ? `r:${value}` : `b:${value.toString('hex')}`;
}

const READERS = {
  null: () => null,
  i: (value) => (Number.isSafeInteger(Number(value)) ? Number(value) : BigInt(value)),
  r: Number,
  t: text,
  b: (value) => Buffer.from(value, 'hex'),
};

export function parameter(word) {
  const [kind, ...value] = word.split(':');
  if (!(kind in READERS)) throw new Mistake(`${word} is no value`);
  return READERS[kind](value.join(':'));
}

export const listed = (items) => items.join(' ') || 'none';
export const yes = (value) => (value ? 'yes' : 'no');

/** Whether an answer is the one that was wanted: of an error the kind, and words that its message has. */
function fits(wanted, answer) {
  if (answer.startsWith('mistake: ')) return false;
  if (wanted === null) return !answer.startsWith('error ');
  if (!wanted.startsWith('error ')) return answer === wanted;
  const [kind, ...parts] = words(wanted.slice(6)).map(([word]) => word);
  return answer.startsWith(`error ${kind} `) && parts.every((part) => answer.slice(7 + kind.length).includes(part));
}

export function lineOf(at, line) {
  const end = line.indexOf(' -> ');
  const [step, wanted] = end < 0 ? [line, null] : [line.slice(0, end), line.slice(end + 4).trim()];
  return { at, step: step.trim(), wanted, fits: (answer) => fits(wanted, answer) };
}

/** Every scenario, in the order of the files. */
export function scenarios() {
  const found = [];
  for (const file of readdirSync(FOLDER).filter((name) => name.endsWith('.scenario')).sort()) {
    for (const [index, line] of readFileSync(FOLDER + file, 'utf8').split('\n').entries()) {
      if (line.startsWith('scenario ')) found.push({ title: line.slice(9), lines: [] });
      else if (line && !/^(#|covers )/.test(line)) found.at(-1).lines.push(lineOf(`${file}:${index + 1}`, line));
    }
  }
  if (found.length === 0) throw new Error('there are scenarios');
  return found;
}
