// What the tests share: a folder each, programs as real processes, and the errors they expect.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { OncewardError, open } from 'onceward';

/** How long the tests wait for what must happen. */
export const PATIENCE_MS = 60_000;

export function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'onceward-node-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export async function opened(t, path = ':memory:', options = {}) {
  const store = await open(path, options);
  t.after(() => store.close());
  return store;
}

export async function rejects(promise, code, text = /./) {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof OncewardError, `an OncewardError, not ${error}`);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, text);
    return true;
  });
}

/** A program of `tests/programs/`, or of a path: a process, its lines, and its end. */
export function program(t, name, ...argv) {
  const path = name.includes('/') ? name : fileURLToPath(new URL(`programs/${name}.mjs`, import.meta.url));
  const child = spawn(process.execPath, [path, ...argv.map(String)], { stdio: ['pipe', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  let errors = '';
  child.stderr.on('data', (chunk) => (errors += chunk));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = once(child, 'close');
  return {
    child,
    async line() {
      const { value, done } = await lines.next();
      assert.ok(!done, `the program ended early: ${errors}`);
      return value;
    },
    async end() {
      const [code, signal] = await ended;
      return { code, signal, errors };
    },
  };
}
