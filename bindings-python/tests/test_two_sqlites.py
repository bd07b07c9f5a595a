"""Our SQLite and Python's own on one file in one process: neither drops the other's locks.

POSIX locks belong to the process and are dropped at any close of the file: with them, two copies of SQLite in one
process lose acknowledged rows, corrupt the file, or die of SIGBUS.
"""

import sqlite3
import threading
from collections.abc import Callable

import onceward
import pytest

from conftest import PATIENCE, Program

COMMITS = 1500
REOPEN_EVERY = 50


@pytest.fixture
def table(path: str, queue: onceward.Queue) -> None:
    """Create the application's table with Python's own sqlite3."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE app(id INTEGER PRIMARY KEY, who TEXT)")
    connection.close()


def through_ours(path: str, queue: onceward.Queue, sent: list[int], errors: list[BaseException]) -> None:
    try:
        for number in range(COMMITS):
            if number % REOPEN_EVERY == 0:
                with onceward.open(path, busy_timeout=PATIENCE) as further:
                    sent.append(further.queue("jobs").send(b"from a further store").id)
            else:
                sent.append(queue.send(b"from the store").id)
    except BaseException as error:
        errors.append(error)


def through_pythons(path: str, written: list[int], errors: list[BaseException]) -> None:
    try:
        for _ in range(COMMITS // REOPEN_EVERY):
            connection = sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)
            connection.execute("PRAGMA synchronous=NORMAL")
            for _ in range(REOPEN_EVERY):
                connection.execute("BEGIN IMMEDIATE")
                cursor = connection.execute("INSERT INTO app(who) VALUES ('sqlite3')")
                connection.execute("COMMIT")
                assert cursor.lastrowid is not None
                written.append(cursor.lastrowid)
            connection.close()
    except BaseException as error:
        errors.append(error)


def test_two_sqlites_write_one_file_and_every_acknowledged_row_and_message_is_there(path: str, table: None) -> None:
    sent: list[int] = []
    written: list[int] = []
    errors: list[BaseException] = []
    with onceward.open(path, busy_timeout=PATIENCE) as store:
        queue = store.queue("jobs")
        threads = [
            threading.Thread(target=through_ours, args=(path, queue, sent, errors)),
            threading.Thread(target=through_pythons, args=(path, written, errors)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert (len(sent), len(written)) == (COMMITS, COMMITS)
        received: list[int] = []
        while batch := queue.receive_many(1000):
            received += [delivery.id for delivery in batch]
            assert queue.ack(batch) == []
        assert sorted(received) == sorted(sent)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    rows = [row[0] for row in connection.execute("SELECT id FROM app ORDER BY id")]
    connection.close()
    assert rows == sorted(written)


def test_our_closing_never_drops_the_locks_of_pythons_sqlite(
    path: str, store: onceward.Store, table: None, program: Callable[..., Program]
) -> None:
    others = [onceward.open(path, busy_timeout=0.05) for _ in range(2)]
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO app(who) VALUES ('this process')")
    for other in (*others, store):
        assert other.queues() == ["jobs"]
        other.close()
        assert program("writer", path).finish() == (0, "database is locked\n", "")
        # Opening writes the store into the file: it cannot now, and must let go of what it opened.
        with pytest.raises(onceward.BusyError):
            onceward.open(path, busy_timeout=0.05)
        assert program("writer", path).finish() == (0, "database is locked\n", "")
    connection.execute("COMMIT")
    assert program("writer", path).finish() == (0, "written\n", "")
    assert connection.execute("SELECT who FROM app ORDER BY id").fetchall() == [("this process",), ("another process",)]
    connection.close()


def test_closing_of_pythons_sqlite_never_drops_our_locks(
    path: str, store: onceward.Store, queue: onceward.Queue, table: None, program: Callable[..., Program]
) -> None:
    with store.transaction() as tx:
        tx.send(queue, b"x")
        for _ in range(3):
            connection = sqlite3.connect(path, isolation_level=None, timeout=0)
            assert connection.execute("SELECT count(*) FROM app").fetchone() == (0,)
            with pytest.raises(sqlite3.OperationalError, match="database is locked"):
                connection.execute("BEGIN IMMEDIATE")
            connection.close()
            assert program("writer", path).finish() == (0, "database is locked\n", "")
    assert program("writer", path).finish() == (0, "written\n", "")
    assert queue.stats().ready == 1


def test_a_store_that_cannot_write_says_busy_and_names_nothing_lost(
    path: str, queue: onceward.Queue, table: None
) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    with onceward.open(path, busy_timeout=0.05) as further:
        other = further.queue("jobs")
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(onceward.BusyError):
            other.send(b"x")
        with pytest.raises(onceward.BusyError), further.transaction() as tx:
            tx.execute("INSERT INTO app(who) VALUES ('never')")
        connection.execute("ROLLBACK")
        other.send(b"y")
    connection.close()
    assert [one.body for one in queue.receive_many(10)] == [b"y"]
