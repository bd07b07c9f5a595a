"""One worker process: `python -m webhooks.worker JOB`.

It consumes the queue until the input is complete and the queue is empty, or until it is killed. What it does with a
webhook, its *effect*, depends on the promise:

- at-most-once and at-least-once: a line in the worker's own journal, for an effect outside the store;
- exactly-once: a row in a table of the application, in the same transaction as the acknowledgement.

`c/worker.c` and `node/worker.mjs` do the same.
"""

import hashlib
import random
import sys
import time
from pathlib import Path

import onceward

from webhooks.child import (
    ACK_BEFORE_EFFECT,
    AFTER_EFFECT,
    BEFORE_EFFECT,
    DATABASE,
    EFFECT_APART,
    INPUT_COMPLETE,
    QUEUE,
    READY,
    STEP,
    Job,
    Supervised,
)
from webhooks.journal import APPLIED, FINISHED, OPENED, TAKEN, Journal
from webhooks.promises import EXACTLY_ONCE

WORK_S_MAX = 0.006
"""The longest time that the work on one webhook takes."""
IDLE_S = 0.1
"""How long a worker waits for a message before it looks whether everything is done."""

# Nothing is unique here on purpose: a table that cannot hold a webhook twice would hide what the auditor looks for.
CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS webhook_event (
    guid       TEXT NOT NULL,
    event      TEXT NOT NULL,
    repository TEXT,
    body       BLOB NOT NULL,
    worker     TEXT NOT NULL
) STRICT
"""
# SQLite takes the body apart, so that every language gets the same out of it.
INSERT_ROW = """
INSERT INTO webhook_event (guid, event, repository, body, worker)
VALUES (?1, ?2, json_extract(CAST(?3 AS TEXT), '$.repository.full_name'), ?3, ?4)
"""


class Worker:
    """What one worker process does with each delivery."""

    def __init__(self, job: Job, store: onceward.Store) -> None:
        self._job = job
        self._store = store
        self._supervised = Supervised()
        self._journal = Journal(job.journal_path)
        self._rng = random.Random(f"{job.seed} {job.name}")
        self._queue = store.queue(QUEUE, semantics=job.semantics)
        self._effect_is_a_row = job.semantics == EXACTLY_ONCE
        if self._effect_is_a_row:
            with store.transaction() as tx:
                tx.execute(CREATE_TABLE)

    def run(self) -> None:
        """Consume until everything is done."""
        self._journal.write(OPENED, "python", onceward.__version__)
        self._supervised.tell(READY)
        while not self._everything_is_done():
            with self._queue.consume(batch=self._job.batch, wait=IDLE_S) as consumer:
                for delivery in consumer:
                    self._supervised.may_begin()
                    self._handle(consumer, delivery)

    def _everything_is_done(self) -> bool:
        # In this order: a message that was sent before the file appeared is seen by the statistics.
        if not (Path(self._job.folder) / INPUT_COMPLETE).exists():
            return False
        stats = self._queue.stats()
        return stats.ready + stats.delayed + stats.blocked + stats.in_flight == 0

    def _handle(self, consumer: onceward.Consumer, delivery: onceward.Delivery) -> None:
        guid = str(delivery.headers["x-github-delivery"])
        self._journal.write(TAKEN, guid, str(delivery.id), str(delivery.attempt))
        if self._job.sabotage == ACK_BEFORE_EFFECT:
            delivery.ack()
            consumer.flush()
        time.sleep(self._rng.uniform(0, WORK_S_MAX))
        self._supervised.pass_point(BEFORE_EFFECT)
        if self._effect_is_a_row:
            self._write_row(guid, delivery)
        else:
            self._write_line(guid, delivery)
        self._journal.write(FINISHED, guid)
        self._supervised.tell(STEP)

    def _write_line(self, guid: str, delivery: onceward.Delivery) -> None:
        """Let the effect be the line itself, then acknowledge."""
        self._applied(guid, delivery)
        if self._job.sabotage != ACK_BEFORE_EFFECT:
            delivery.ack()

    def _write_row(self, guid: str, delivery: onceward.Delivery) -> None:
        """Let the effect be a row, committed together with the acknowledgement."""
        event = str(delivery.headers["x-github-event"])
        row = (guid, event, delivery.body, self._job.name)
        if self._job.sabotage not in (ACK_BEFORE_EFFECT, EFFECT_APART):
            with delivery.transaction() as tx:
                tx.execute(INSERT_ROW, row)
                self._applied(guid, delivery)
            return
        with self._store.transaction() as tx:
            tx.execute(INSERT_ROW, row)
        self._applied(guid, delivery)
        if self._job.sabotage == EFFECT_APART:
            delivery.ack()

    def _applied(self, guid: str, delivery: onceward.Delivery) -> None:
        self._journal.write(APPLIED, guid, hashlib.sha256(delivery.body).hexdigest())
        self._supervised.pass_point(AFTER_EFFECT)


def main(job: Job) -> None:
    """Open the store and work."""
    with onceward.open(Path(job.folder) / DATABASE) as store:
        Worker(job, store).run()


if __name__ == "__main__":
    main(Job.from_arguments(sys.argv[1:]))
