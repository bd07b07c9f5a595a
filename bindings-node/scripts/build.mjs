// Builds the native part with cargo and copies it beside the package's JavaScript: `node scripts/build.mjs [--debug]`.
// Set CARGO_TARGET_DIR to build elsewhere than in the workspace's own folder.
import { spawnSync } from 'node:child_process';
import { copyFileSync, renameSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const workspace = dirname(here);
const debug = process.argv.includes('--debug');
const argv = ['build', '--locked', '-p', 'onceward-node', ...(debug ? [] : ['--release'])];
const { status } = spawnSync('cargo', argv, { cwd: workspace, stdio: 'inherit' });
if (status !== 0) process.exit(status ?? 1);

const target = resolve(workspace, process.env.CARGO_TARGET_DIR ?? 'target');
const built = join(target, debug ? 'debug' : 'release', 'libonceward_node.so');
// Renamed into its place: a process that runs keeps the file it has loaded.
const fresh = join(here, `onceward.node.${process.pid}`);
copyFileSync(built, fresh);
renameSync(fresh, join(here, 'onceward.node'));
