"""One sender process of the webhook source: `python -m webhooks.sender JOB`.

Like every webhook source it repeats itself: a delivery is sent several times, and after a crash the sender goes back
to before the last send that it had noted. The deduplication key is the delivery's GUID, on every kind of queue. That
way the source's own repeats are one message, and what is lost or duplicated in the end is the doing of the queue's
promise alone. `c/sender.c` and `node/sender.mjs` do the same.
"""

import random
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import onceward

from webhooks.bodies import read_webhooks
from webhooks.child import (
    DATABASE,
    INPUT,
    NO_DEDUPLICATION,
    QUEUE,
    READY,
    STEP,
    Job,
    Supervised,
)
from webhooks.journal import CONFIRMED, OPENED, SENDING, Journal, read_journal

RESENT_AFTER_CRASH = 5
"""How many confirmed sends a restarted sender repeats, because it cannot be sure of them."""
PAUSE_S_MAX = 0.002
"""The longest pause between two sends."""


def main(job: Job) -> None:
    """Send the job's webhooks, from the place that the killed predecessors had reached."""
    webhooks = read_webhooks(Path(job.folder) / INPUT)
    rng = random.Random(f"{job.seed} {job.name}")
    supervised = Supervised()
    journal = Journal(job.journal_path)
    with onceward.open(Path(job.folder) / DATABASE) as store:
        queue = store.queue(QUEUE, semantics=job.semantics)
        journal.write(OPENED, "python", onceward.__version__)
        supervised.tell(READY)
        for noted, index in enumerate(job.order[_resume_at(job.earlier_journals()) :]):
            webhook = webhooks[index]
            key = webhook.guid if job.sabotage != NO_DEDUPLICATION else f"{webhook.guid} {rng.random()}"
            time.sleep(rng.uniform(0, PAUSE_S_MAX))
            journal.write(SENDING, webhook.guid)
            headers = {"x-github-event": webhook.event, "x-github-delivery": webhook.guid}
            sent = queue.send(webhook.body, key=key, headers=headers)
            if noted == job.halt_after:
                supervised.halt()
            journal.write(CONFIRMED, webhook.guid, str(sent.id), "duplicate" if sent.duplicate else "new")
            supervised.tell(STEP)


def _resume_at(journals: Iterable[Path]) -> int:
    """Return the place in the order from which to go on."""
    place = 0
    for path in journals:
        confirmed = sum(entry.verb == CONFIRMED for entry in read_journal(path)) if path.exists() else 0
        place = max(0, place + confirmed - RESENT_AFTER_CRASH)
    return place


if __name__ == "__main__":
    main(Job.from_arguments(sys.argv[1:]))
