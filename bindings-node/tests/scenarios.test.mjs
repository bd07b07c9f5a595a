// The scenarios of `tests/scenarios/`, which every language runs; and that they use everything the module has.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { folder } from './helpers.mjs';
import './scenarios/effects.mjs';
import { lineOf, scenarios } from './scenarios/steps.mjs';
import './scenarios/verbs.mjs';
import { called, run } from './scenarios/world.mjs';

/** Public operations that no scenario calls, the reason, and the test that does. */
const NOT_CALLED = {};

for (const scenario of scenarios()) {
  test(scenario.title, async (t) => assert.equal(await run(scenario, folder(t)), null));
}

/** What `index.d.cts` declares: functions, and what classes have besides what the language itself asks for. */
function operations() {
  const found = new Set();
  let owner = null;
  for (const line of readFileSync(new URL('../index.d.cts', import.meta.url), 'utf8').split('\n')) {
    const [, name] = /^export (?:abstract )?class (\w+)/.exec(line) ?? [];
    if (name) owner = name;
    else if (line.startsWith('}')) owner = null;
    const [, exported] = /^export function (\w+)/.exec(line) ?? [];
    if (exported) found.add(exported);
    const [, member] = (owner && /^ {2}(?:readonly )?(\w+)[(<:]/.exec(line)) || [];
    if (member && member !== 'constructor') found.add(`${owner}.${member}`);
  }
  assert.ok(found.size > 60, 'the operations are found');
  return found;
}

test('every public operation is called by a scenario', () => {
  const missing = [...operations()].filter((name) => !called.has(name) && !(name in NOT_CALLED));
  assert.deepEqual(missing, []);
  const public_ = operations();
  assert.deepEqual(Object.keys(NOT_CALLED).filter((name) => called.has(name) || !public_.has(name)), []);
});

const wrong = readFileSync(new URL('../../tests/scenarios/wrong.steps', import.meta.url), 'utf8')
  .split('\n\n')
  .filter((part) => part.startsWith('fails '))
  .map((part) => part.slice('fails '.length).trimEnd().split(/\n(.*)/s));
test('the wrong steps are found', () => assert.ok(wrong.length >= 10));
for (const [found, steps] of wrong) {
  test(`a wrong step fails: ${JSON.stringify(steps)}`, async (t) => {
    const failure = await run({ title: 'wrong', lines: steps.split('\n').map((line) => lineOf('here', line)) }, folder(t));
    assert.ok(failure?.includes(found), failure);
  });
}
