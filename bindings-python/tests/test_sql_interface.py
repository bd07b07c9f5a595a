"""The views in the file, through Python's sqlite3 and the shells, beside open stores and in other processes."""

import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import onceward
import pytest

from conftest import PATIENCE, Program, take

LOST = "onceward: LeaseLost: the delivery is no longer the current one of its message"
SEND = "INSERT INTO onceward_send(queue, key, body) VALUES (?, ?, ?)"
ACK = "INSERT INTO onceward_ack(message, token) VALUES (?, ?)"


@pytest.fixture
def app(path: str, store: onceward.Store) -> Iterator[sqlite3.Connection]:
    """Connect as an application would, in the process of the open store."""
    with closing(sqlite3.connect(path, timeout=PATIENCE)) as connection:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("CREATE TABLE entries(note TEXT)")
        yield connection


def entries(path: str) -> list[str]:
    with closing(sqlite3.connect(path, timeout=PATIENCE)) as connection:
        return [note for (note,) in connection.execute("SELECT note FROM entries ORDER BY note")]


def test_a_send_joins_the_transaction_of_the_application(app: sqlite3.Connection, exact: onceward.Queue) -> None:
    with app:
        app.execute("INSERT INTO entries VALUES ('order 42')")
        app.execute(SEND, ("payments", "order-42", b"1999"))
        assert exact.stats().ready == 0
    delivery = take(exact)
    assert (delivery.body, delivery.key) == (b"1999", "order-42")
    delivery.ack()
    assert exact.send(b"1999", key="order-42").duplicate
    app.rollback()


def test_the_effect_and_the_acknowledgement_are_one_commit(app: sqlite3.Connection, exact: onceward.Queue) -> None:
    exact.send(b"x", key="k")
    delivery = take(exact)
    with pytest.raises(ZeroDivisionError), app:
        app.execute("INSERT INTO entries VALUES ('x')")
        app.execute(ACK, (delivery.id, delivery.token))
        raise ZeroDivisionError
    assert exact.stats().in_flight == 1
    with app:
        app.execute("INSERT INTO entries VALUES ('x')")
        app.execute(ACK, (delivery.id, delivery.token))
    assert (exact.stats().in_flight, exact.receive()) == (0, None)
    with pytest.raises(onceward.LeaseLostError):
        delivery.ack()


def test_a_lost_lease_rolls_back_the_transaction_and_no_commit_passes_for_a_success(
    app: sqlite3.Connection, path: str, exact: onceward.Queue
) -> None:
    exact.send(b"x", key="k")
    delivery = take(exact)
    delivery.nack()
    again = take(exact)
    app.execute("INSERT INTO entries VALUES ('from one that lost its lease')")
    assert app.in_transaction
    with pytest.raises(sqlite3.IntegrityError, match=f"^{LOST}$") as raised:
        app.execute(ACK, (delivery.id, delivery.token))
    assert raised.value.sqlite_errorname == "SQLITE_CONSTRAINT_TRIGGER"
    assert not app.in_transaction
    app.commit()
    assert entries(path) == []
    with app:
        app.execute(ACK, (again.id, again.token))
    assert exact.stats().in_flight == 0


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (("nowhere", "k", b""), "onceward: NotFound: unknown queue"),
        (("payments", "k", None), "onceward: Invalid: body is NULL"),
        (("payments", "k", "text"), "onceward: Invalid: body is text; bytes (a BLOB) are meant"),
        (("payments", "k", 5), "onceward: Invalid: body is a number; bytes (a BLOB) are meant"),
        (("payments", None, b""), "onceward: Invalid: the queue is exactly-once: a key is required"),
        (("payments", 42, b""), "onceward: Invalid: key must be text of 1 to 512 bytes without NUL characters"),
        (("payments", "known", b"other"), "onceward: Conflict: the key stands for a message with another body"),
    ],
)
def test_bad_sends_are_refused_with_stable_texts(
    app: sqlite3.Connection, path: str, exact: onceward.Queue, row: tuple[object, ...], text: str
) -> None:
    exact.send(b"body", key="known")
    app.execute("INSERT INTO entries VALUES ('before')")
    with pytest.raises(sqlite3.IntegrityError) as raised:
        app.execute(SEND, row)
    assert str(raised.value) == text
    app.commit()
    assert (entries(path), exact.stats().ready) == ([], 1)


def test_the_token_of_another_message_settles_nothing(app: sqlite3.Connection, exact: onceward.Queue) -> None:
    for key in "ab":
        exact.send(b"x", key=key)
    first, second = take(exact), take(exact)
    for message, token in ((first.id, second.token), (second.id, first.token)):
        with pytest.raises(sqlite3.IntegrityError, match=LOST):
            app.execute(ACK, (message, token))
    assert exact.stats().in_flight == 2


def test_what_is_in_flight_and_what_is_dead_is_listed(app: sqlite3.Connection, store: onceward.Store) -> None:
    queue = store.queue("once", semantics="at-least-once", attempts_max=1)
    queue.send(b"\x00\xff", key="k", headers={"kind": "größe", "raw": b"\x01"})
    delivery = take(queue)
    columns = "message, token, attempt, key, headers, body"
    assert app.execute(f"SELECT {columns} FROM onceward_inflight WHERE queue = 'once'").fetchall() == [
        (delivery.id, delivery.token, 1, "k", "kind: größe\nraw: x'01'", b"\x00\xff")
    ]
    with app:
        app.execute(
            "INSERT INTO onceward_nack(message, token, error) VALUES (?, ?, 'no')", (delivery.id, delivery.token)
        )
    columns = "message, attempts, reason, error, body"
    assert app.execute(f"SELECT {columns} FROM onceward_dead_letters").fetchall() == [
        (delivery.id, 1, "attempts exhausted", "no", b"\x00\xff")
    ]
    (letter,) = queue.dead_letters()
    assert (letter.id, letter.error) == (delivery.id, "no")
    columns = "queue, semantics, subscription, paused, ready, delayed, blocked, in_flight, dead, in_doubt"
    assert app.execute(f"SELECT {columns} FROM onceward_queues").fetchall() == [
        ("once", "at-least-once", "default", 0, 0, 0, 0, 0, 1, 0)
    ]


def test_a_receiver_wakes_for_a_send_of_this_process(app: sqlite3.Connection, exact: onceward.Queue) -> None:
    taken: list[bytes] = []
    receiver = threading.Thread(target=lambda: taken.append(take(exact).body))
    receiver.start()
    with app:
        app.execute(SEND, ("payments", "k", b"woken"))
    receiver.join(PATIENCE)
    assert taken == [b"woken"]


def test_a_receiver_wakes_for_sends_of_another_process(
    path: str, exact: onceward.Queue, program: Callable[..., Program]
) -> None:
    sender = program("sql_sender", path, "payments", "a", "b", "a")
    assert sender.line() == "ready"
    for key in (b"a", b"b"):
        sender.say("next")
        delivery = take(exact)
        assert delivery.body == key
        delivery.ack()
    sender.say("next")
    assert [sender.line() for _ in range(3)] == ["sent"] * 3
    assert sender.finish()[0] == 0
    assert exact.receive() is None, "the third was the first again"


def test_workers_that_are_killed_have_every_effect_exactly_once(
    path: str, app: sqlite3.Connection, exact: onceward.Queue, program: Callable[..., Program]
) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    keys = [f"order-{number:03}" for number in range(60)]
    for key in keys:
        with app:
            app.execute(SEND, ("payments", key, b"x"))
    done = 0
    while done < len(keys):
        worker = program("sql_worker", path, "payments")
        assert worker.line() == "ready"
        for _ in range(min(chance.randrange(1, 12), len(keys) - done)):
            worker.line()
        worker.kill()
        done = len(entries(path))
    assert entries(path) == keys, f"seed {seed}"
    stats = exact.stats()
    assert (stats.ready, stats.in_flight, stats.dead) == (0, 0, 0), f"seed {seed}"


#: The shell of SQLite where it is installed, and one that comes with a package.
SHELLS = [[sys.executable, "-m", "apsw"]] + ([["sqlite3"]] if shutil.which("sqlite3") else [])


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[-1])
def test_a_shell_sends_lists_and_acknowledges(shell: list[str], path: str, exact: onceward.Queue) -> None:
    def run(sql: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*shell, "-batch", path, sql], capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    sent = run("INSERT INTO onceward_send(queue, key, body) VALUES ('payments', 'k', CAST('größe' AS BLOB))")
    assert (sent.returncode, sent.stdout, sent.stderr) == (0, "", "")
    delivery = take(exact)
    assert delivery.body.decode() == "größe"
    assert run("SELECT key FROM onceward_inflight").stdout.split() == ["k"]
    ack = f"INSERT INTO onceward_ack(message, token) VALUES ({delivery.id}, {delivery.token})"
    assert run(ack).returncode == 0
    refused = run(f"BEGIN; CREATE TABLE t(x); {ack}")
    assert refused.returncode != 0
    assert LOST in refused.stderr
    assert run("SELECT count(*) FROM sqlite_schema WHERE name = 't'").stdout.split() == ["0"]
    assert exact.stats().in_flight == 0
