// One worker process, as webhooks/worker.py: `node worker.mjs JOB...`. The effect of a webhook is a line in the journal, or, for
// exactly-once, a row of the application in the same transaction as the acknowledgement.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { open, version } from '../../bindings-node/index.mjs';
import { Journal, LANGUAGE, pause, randomNumbers, readJob, Supervised } from './child.mjs';

const WORK_MS_MAX = 6;
const IDLE_MS = 100;
const ACK_BEFORE_EFFECT = 'ack-before-effect';
const EFFECT_APART = 'effect-apart';
const CREATE_TABLE = `
CREATE TABLE IF NOT EXISTS webhook_event (
    guid       TEXT NOT NULL,
    event      TEXT NOT NULL,
    repository TEXT,
    body       BLOB NOT NULL,
    worker     TEXT NOT NULL
) STRICT`;
const INSERT_ROW = `
INSERT INTO webhook_event (guid, event, repository, body, worker)
VALUES (?1, ?2, json_extract(CAST(?3 AS TEXT), '$.repository.full_name'), ?3, ?4)`;

const job = readJob();
const random = randomNumbers(job);
const supervised = new Supervised();
const journal = new Journal(job);
const store = await open(job.database);
const queue = await store.queue('webhooks', { semantics: job.semantics });
const effectIsARow = job.semantics === 'exactly-once';
if (effectIsARow) await store.transaction((tx) => tx.execute(CREATE_TABLE));
journal.write('opened', LANGUAGE, version);
supervised.tell('ready');
while (!(await everythingIsDone())) {
  const consumer = queue.consume({ batch: job.batch, waitMs: IDLE_MS });
  for await (const delivery of consumer) {
    await supervised.mayBegin();
    await handle(consumer, delivery);
  }
}
await store.close();
process.exit(0);

async function everythingIsDone() {
  // In this order: a message that was sent before the file appeared is seen by the statistics.
  if (!existsSync(join(job.folder, 'input-complete'))) return false;
  const { ready, delayed, blocked, inFlight } = await queue.stats();
  return ready + delayed + blocked + inFlight === 0;
}

async function handle(consumer, delivery) {
  const guid = delivery.headers['x-github-delivery'];
  journal.write('taken', guid, String(delivery.id), String(delivery.attempt));
  if (job.sabotage === ACK_BEFORE_EFFECT) {
    await delivery.ack();
    await consumer.flush();
  }
  await pause(random() * WORK_MS_MAX);
  await supervised.passPoint('before-effect');
  await (effectIsARow ? writeRow(guid, delivery) : writeLine(guid, delivery));
  journal.write('finished', guid);
  supervised.tell('step');
}

/** The effect is the line itself; then the message is acknowledged. */
async function writeLine(guid, delivery) {
  await applied(guid, delivery);
  if (job.sabotage !== ACK_BEFORE_EFFECT) await delivery.ack();
}

/** The effect is a row, committed together with the acknowledgement. */
async function writeRow(guid, delivery) {
  const row = [guid, delivery.headers['x-github-event'], delivery.body, job.name];
  if (job.sabotage !== ACK_BEFORE_EFFECT && job.sabotage !== EFFECT_APART) {
    await delivery.transaction(async (tx) => {
      await tx.execute(INSERT_ROW, row);
      await applied(guid, delivery);
    });
    return;
  }
  await store.transaction((tx) => tx.execute(INSERT_ROW, row));
  await applied(guid, delivery);
  if (job.sabotage === EFFECT_APART) await delivery.ack();
}

async function applied(guid, delivery) {
  journal.write('applied', guid, createHash('sha256').update(delivery.body).digest('hex'));
  await supervised.passPoint('after-effect');
}
