// The package: both module systems, the types, the versions, and the packed tarball in a project of its own.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as onceward from 'onceward';
import { folder } from './helpers.mjs';

const require = createRequire(import.meta.url);
const home = fileURLToPath(new URL('..', import.meta.url));
const TSC = require.resolve('typescript/package.json').replace('package.json', 'bin/tsc');
const text = (name) => readFileSync(`${home}/${name}`, 'utf8');
const run = (command, argv, cwd) => execFileSync(command, argv, { cwd, encoding: 'utf8', stdio: 'pipe' });

test('import and require give the same objects', () => {
  const required = require('onceward');
  assert.deepEqual(Object.keys(required).sort(), Object.keys(onceward).sort());
  for (const name of Object.keys(required)) assert.equal(onceward[name], required[name], name);
});

test('one version number', () => {
  const { version } = JSON.parse(text('package.json'));
  assert.equal(onceward.version, version);
  assert.match(text('../Cargo.toml'), new RegExp(`^version = "${version}"$`, 'm'));
});

test('tsc --strict accepts a program that uses the whole surface', () => {
  run(process.execPath, [TSC, '--project', 'tests/tsconfig.json'], home);
  const used = text('tests/surface.mts');
  const declared = text('index.d.cts');
  for (const [name, value] of Object.entries(onceward)) {
    assert.match(used, new RegExp(`\\b${name}\\b`), `surface.mts uses ${name}`);
    if (typeof value !== 'function' || value === onceward.open || value === onceward.OncewardError) continue;
    for (const method of Object.getOwnPropertyNames(value.prototype).filter((own) => own !== 'constructor')) {
      assert.match(declared, new RegExp(`\\b${method}\\b`), `index.d.cts declares ${name}.${method}`);
      assert.match(used, new RegExp(`\\.${method}\\b`), `surface.mts uses ${name}.${method}`);
    }
  }
});

test('the packed tarball works in a project of its own, in both module systems and in TypeScript', (t) => {
  const project = folder(t);
  const [{ filename }] = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', project], home));
  writeFileSync(`${project}/package.json`, '{"name": "throwaway", "private": true}');
  run('npm', ['install', '--offline', '--no-audit', '--no-fund', '--ignore-scripts', `./${filename}`], project);
  const body = `
    const store = await open('app.db');
    const queue = await store.queue('jobs', { semantics: 'exactly-once' });
    const { duplicate } = await queue.send('x', { key: 'k' });
    await store.close();
    console.log(duplicate);`;
  writeFileSync(`${project}/a.mjs`, `import { open } from 'onceward';${body}`);
  writeFileSync(`${project}/b.cjs`, `const { open } = require('onceward');(async () => {${body}})();`);
  assert.equal(run(process.execPath, ['a.mjs'], project), 'false\n');
  assert.equal(run(process.execPath, ['b.cjs'], project), 'true\n');
  for (const name of ['surface.mts', 'surface.cts', 'tsconfig.json']) cpSync(`${home}/tests/${name}`, `${project}/${name}`);
  symlinkSync(`${home}/node_modules/@types`, `${project}/node_modules/@types`);
  run(process.execPath, [TSC, '--project', '.'], project);
  assert.ok(existsSync(`${project}/node_modules/onceward/onceward.node`));
  for (const left of ['tests', 'src', 'Cargo.toml']) assert.ok(!existsSync(`${project}/node_modules/onceward/${left}`), left);
});

test('without its compiled part it says what is missing', (t) => {
  const project = folder(t);
  for (const name of ['index.cjs', 'lib']) run('cp', ['-r', `${home}/${name}`, project], home);
  assert.throws(
    () => run(process.execPath, ['-e', "require('./index.cjs')"], project),
    /onceward\.node\) does not load on linux-\w+; build it/,
  );
});
