"""The inbox, while the processes that use it are killed."""

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable

import onceward
import pytest
from onceward.inbox import Inbox

from conftest import PATIENCE, Program
from inbox_databases import Database

MESSAGES = 16
WORKERS = 2
SEED = 20_260_731
#: Besides the places where the workers die by themselves, each once a message.
KILLS_AT_RANDOM = 6
both = pytest.mark.parametrize("database", ["sqlite3", "psycopg"], indirect=True)


def work_through(store: onceward.Store, database: Database, program: Callable[..., Program], way: str) -> int:
    """Send the messages and keep workers running until all are finished; return how many were killed."""
    backoff = onceward.Backoff(first=0, cap=0)
    queue = store.queue("payments", semantics="exactly-once", attempts_max="unlimited", backoff=backoff)
    messages = [queue.send(str(number).encode(), key=str(number)).id for number in range(MESSAGES)]
    Inbox("payments").create(database.connect())
    chance = random.Random(SEED)
    at_random = 0
    started: list[subprocess.Popen[bytes]] = []
    workers: list[subprocess.Popen[bytes]] = []
    end = time.monotonic() + PATIENCE
    while queue.unfinished(messages):
        assert time.monotonic() < end, f"seed {SEED}: {queue.stats()} after {len(started)} workers"
        workers = [worker for worker in workers if worker.poll() is None]
        while len(workers) < WORKERS:
            workers.append(program("inbox_worker", store.path, database.address, way).process)
            started.append(workers[-1])
        time.sleep(chance.uniform(0.02, 0.1))
        if at_random < KILLS_AT_RANDOM and chance.random() < 0.2:
            at_random += 1
            chance.choice(workers).kill()
    return sum(worker.wait(PATIENCE) == -signal.SIGKILL for worker in started)


@both
def test_each_effect_happens_once_though_workers_are_killed(
    store: onceward.Store, database: Database, program: Callable[..., Program]
) -> None:
    killed = work_through(store, database, program, "inbox")
    assert database.effects() == list(range(MESSAGES)), f"seed {SEED}"
    assert killed >= MESSAGES * 3 // 4, "at the first attempt three of four places are deadly"
    connection = database.connect()
    queue = store.queue("payments")
    assert Inbox("payments").prune(connection, queue) == MESSAGES
    assert database.messages() == []


@both
def test_without_the_inbox_the_same_kills_repeat_effects(
    store: onceward.Store, database: Database, program: Callable[..., Program]
) -> None:
    work_through(store, database, program, "plain")
    often = Counter(database.effects())
    assert sorted(often) == list(range(MESSAGES)), "nothing is lost"
    assert [number for number, times in often.items() if times > 1], "but this is what the inbox is for"
