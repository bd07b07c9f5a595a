// The examples, as a person would run them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { folder, opened } from './helpers.mjs';

const home = fileURLToPath(new URL('..', import.meta.url));

for (const page of ['../README.md', '../docs/node.md', 'README.md']) {
  test(`the example of ${page} runs as it stands there`, async (t) => {
    const project = folder(t);
    mkdirSync(`${project}/node_modules`);
    symlinkSync(home, `${project}/node_modules/onceward`);
    const [, block] = readFileSync(`${home}/${page}`, 'utf8').match(/```js\n([^]*?)```/);
    writeFileSync(`${project}/page.mjs`, block);
    execFileSync(process.execPath, ['page.mjs'], { cwd: project });
    const store = await opened(t, `${project}/app.db`);
    const { rows } = await store.transaction((tx) => tx.query('SELECT order_id, cents FROM entries'));
    assert.deepEqual(rows, [[42, 1999]]);
  });
}

test('what the sender sends, however often, the worker books once', async (t) => {
  const project = folder(t);
  mkdirSync(`${project}/node_modules`);
  symlinkSync(home, `${project}/node_modules/onceward`);
  cpSync(`${home}/../examples/node`, project, { recursive: true });
  const run = (name, ...argv) => execFileSync(process.execPath, [`${name}.mjs`, ...argv], { cwd: project, encoding: 'utf8' });
  const path = `${project}/shop.db`;
  assert.equal(run('sender', path, '3'), 'order 1: sent\norder 2: sent\norder 3: sent\n');
  assert.equal(run('sender', path, '4'), 'order 1: was sent before\norder 2: was sent before\norder 3: was sent before\norder 4: sent\n');
  assert.equal(run('worker', path, '1'), 'order 1: booked\norder 2: booked\norder 3: booked\norder 4: booked\n');
  assert.equal(run('worker', path, '1'), '');
  const store = await opened(t, path);
  const { rows } = await store.transaction((tx) => tx.query('SELECT order_id, cents FROM entries ORDER BY order_id'));
  assert.deepEqual(rows, [[1, 1001], [2, 1002], [3, 1003], [4, 1004]]);
});
