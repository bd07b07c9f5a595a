// One sender process of the webhook source, as webhooks/sender.py: `node sender.mjs JOB...`.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { open, version } from '../../bindings-node/index.mjs';
import { confirmedIn, Journal, LANGUAGE, pause, randomNumbers, readJob, Supervised } from './child.mjs';

const RESENT_AFTER_CRASH = 5;
const PAUSE_MS_MAX = 2;

const job = readJob();
const random = randomNumbers(job);
const webhooks = readWebhooks(join(job.folder, 'input'));
const supervised = new Supervised();
const journal = new Journal(job);
const store = await open(job.database);
const queue = await store.queue('webhooks', { semantics: job.semantics });
journal.write('opened', LANGUAGE, version);
supervised.tell('ready');
for (const [noted, index] of job.order.slice(resumeAt()).entries()) {
  const { guid, event, body } = webhooks[index];
  const key = job.sabotage === 'no-deduplication' ? `${guid} ${random()}` : guid;
  await pause(random() * PAUSE_MS_MAX);
  journal.write('sending', guid);
  const headers = { 'x-github-event': event, 'x-github-delivery': guid };
  const sent = await queue.send(body, { key, headers });
  if (noted === job.haltAfter) await supervised.halt();
  journal.write('confirmed', guid, String(sent.id), sent.duplicate ? 'duplicate' : 'new');
  supervised.tell('step');
}
await store.close();
process.exit(0);

/** Each line is GUID, event and body. */
function readWebhooks(path) {
  const bytes = readFileSync(path);
  const found = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(0x0a, at);
    const first = bytes.indexOf(0x20, at);
    const second = bytes.indexOf(0x20, first + 1);
    const [guid, event] = [bytes.toString('utf8', at, first), bytes.toString('utf8', first + 1, second)];
    found.push({ guid, event, body: bytes.subarray(second + 1, end) });
    at = end + 1;
  }
  return found;
}

/** The place in the order from which to go on. */
function resumeAt() {
  const [place, turn] = job.name.split('.');
  let reached = 0;
  for (let earlier = 1; earlier < Number(turn); earlier++) {
    reached = Math.max(0, reached + confirmedIn(job, `${place}.${earlier}`) - RESENT_AFTER_CRASH);
  }
  return reached;
}
