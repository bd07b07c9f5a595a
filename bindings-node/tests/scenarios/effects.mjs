// The verbs about transactions, calls at third parties, and doubts.
import assert from 'node:assert/strict';
import { Mistake, bytes, duration, listed, parameter, shown, shownValue, text } from './steps.mjs';
import { window } from './verbs.mjs';
import { Refused, VERBS, api, named } from './world.mjs';

/** What a transaction is begun from: a delivery, or the store. */
function from(world, step) {
  const of = step.option('of');
  return of === undefined ? world.store(step) : world.delivery(of);
}

const transaction = (world, step) => api(named(world.transactions, step.word()));

function ended(call) {
  return (world, step) => {
    const name = step.word();
    const open = api(named(world.transactions, name));
    world.transactions.delete(name);
    return open[call]();
  };
}

Object.assign(VERBS, {
  async transaction(world, step) {
    const name = step.word();
    world.transactions.set(name, await from(world, step).transaction());
  },
  async execute(world, step) {
    const open = transaction(world, step);
    return String(await open.execute(step.word(), step.rest().map(parameter)));
  },
  async query(world, step) {
    const open = transaction(world, step);
    const { columns, rows } = await open.query(step.word(), step.rest().map(parameter));
    return [columns.join(','), ...rows.map((row) => row.map(shownValue).join(','))].join(' ');
  },
  async execute_many(world, step) {
    const open = transaction(world, step);
    const sql = step.word();
    const sets = [[]];
    for (const word of step.rest()) {
      if (word === '/') sets.push([]);
      else sets.at(-1).push(parameter(word));
    }
    return String(await open.executeMany(sql, sets));
  },
  async apply(world, step) {
    const work = async (open) => String(await api(open).execute(step.word(), step.rest().map(parameter)));
    return from(world, step).transaction(work);
  },
  tx_ack(world, step) {
    const open = transaction(world, step);
    const receiver = named(world.receivers, step.word());
    return open.ack(receiver, step.repeated().map((name) => world.receipt(name)));
  },
  commit: ended('commit'),
  rollback: ended('rollback'),
  async ledger(world, step) {
    const word = step.word();
    const ledger = await world.store(step).ledger(text(word), step.given({ window: ['windowMs', window] }));
    assert.equal(api(ledger).name, text(word));
    world.ledgers.set(word, ledger);
  },
  ledgers: async (world, step) => listed((await world.store(step).ledgers()).map(shown)),
});

const subject = (world, name) => api(world.deliveries.get(name) ?? named(world.ledgers, name));

function called(how, what) {
  if (how === 'failed') throw new Refused(what);
  if (how === 'unknown') throw new Error(what);
  if (how === 'done') return bytes(what);
  console.log('calling');
  return new Promise(() => setInterval(() => {}, 1000));
}

function probed(answer) {
  const [found, ...result] = answer.split(':');
  if (found === 'applied') return { applied: bytes(result.join(':')) };
  return found === 'not_applied' ? 'not-applied' : 'unknown';
}

Object.assign(VERBS, {
  async once(world, step) {
    const of = subject(world, step.word());
    const name = text(step.word());
    const [how, ...what] = step.needed('call').split(':');
    const asked = step.option('probe');
    const options = step.given({
      on_unknown: ['onUnknown', String],
      settle: ['settleMs', duration],
      idempotent_for: ['idempotentForMs', duration],
      wait: ['waitMs', duration],
      request: ['request', bytes],
    });
    options.failedOn = (error) => error instanceof Refused;
    if (asked !== undefined) {
      options.probe = () => {
        world.probes += 1;
        return probed(asked);
      };
    }
    const call = () => {
      world.calls += 1;
      return called(how, what.join(':'));
    };
    return shown(await of.once(name, call, options));
  },
  calls(world) {
    const found = `calls=${world.calls} probes=${world.probes}`;
    [world.calls, world.probes] = [0, 0];
    return found;
  },
  /** Keys are shown by the order in which they were first seen. */
  async idempotency_key(world, step) {
    const key = await subject(world, step.word()).idempotencyKey(text(step.word()));
    assert.equal(key.length, 36);
    if (!world.keys.includes(key)) world.keys.push(key);
    return `key ${world.keys.indexOf(key) + 1}`;
  },
});

const doubt = (world, word) => world.doubts.get(word) ?? Number(word);

function field(world, one, name) {
  if (name === 'message') return one.message === null ? '-' : world.nameOf(one.message);
  if (name === 'resolution') return one.resolution === 'not-applied' ? 'not_applied' : `applied:${shown(one.resolution.applied)}`;
  if (!['queue', 'subscription', 'ledger', 'name', 'key', 'evidence', 'actor'].includes(name)) throw new Mistake(`there is no field ${name}`);
  return shown(one[name]);
}

function listing(call, check) {
  return async (world, step) => {
    const [show, begin] = [step.option('show') ?? 'name', step.option('as')];
    const page = step.given({ after: ['after', (word) => doubt(world, word)], max: ['max', Number] });
    const found = await world.store(step)[call](page);
    for (const [index, one] of found.entries()) {
      assert.ok(one.doubt > 0 && one.error !== '' && check(one));
      if (begin !== undefined) world.doubts.set(`${begin}${index + 1}`, one.doubt);
    }
    return listed(found.map((one) => show.split(',').map((name) => field(world, one, name)).join(',')));
  };
}

Object.assign(VERBS, {
  in_doubt: listing('inDoubt', (one) => one.calledAt <= one.since && one.process > 0),
  resolutions: listing('resolutions', (one) => one.since <= one.resolvedAt),
  resolve(world, step) {
    const number = doubt(world, step.word());
    const applied = step.option('applied');
    if (applied === undefined && step.word() !== 'not_applied') throw new Mistake('a resolution is applied=RESULT or not_applied');
    const resolution = applied === undefined ? 'not-applied' : { applied: bytes(applied) };
    const [evidence, actor] = [text(step.needed('evidence')), text(step.needed('actor'))];
    return world.store(step).resolve(number, resolution, { evidence, actor });
  },
});
