"""What passes between the languages is the same on both sides: numbers to the last bit, and the order of messages."""

import itertools
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from conftest import LANGUAGES, Message, Peer

HIGH_LANE = 32_700
"""A lane near the last one; its ids are above 2^52, where every bit of a double counts."""


@pytest.fixture
def trio(peer: Callable[..., Peer], tmp_path: Path) -> dict[str, Peer]:
    """Start a peer in each language on one file."""
    return {language: peer(language, tmp_path / "mixed.db") for language in LANGUAGES}


def test_ids_and_tokens_are_exact_in_every_language_up_to_the_highest(
    peer: Callable[..., Peer], tmp_path: Path
) -> None:
    path = tmp_path / "mixed.db"
    first = peer("python", path)
    first.tell("queue", "first", "at-least-once")
    first.send("first", Message("key", b"body"))
    first.tell("close")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO onceward_lane(id, queue, priority, next)"
            " SELECT :lane, min(id), 9, (:lane << 38) + 1 FROM onceward_queue",
            {"lane": HIGH_LANE},
        )
    trio = {language: peer(language, path) for language in LANGUAGES}
    for one in trio.values():
        one.tell("queue", "high", "exactly-once")
    trio["c"].tell("sql", "CREATE TABLE effect(message INTEGER, attempt INTEGER, body BLOB) STRICT")
    for sender, receiver in itertools.product(LANGUAGES, LANGUAGES):
        message = Message(f"{sender} to {receiver}", b"body")
        sent, is_duplicate = trio[sender].send("high", message)
        assert not is_duplicate
        assert all(one.send("high", message) == (sent, True) for one in trio.values()), "the same id for everyone"
        (delivery,) = trio[receiver].receive("high")
        assert delivery.id == sent > 2**52
        trio[receiver].tell("begin", delivery.handle)
        trio[receiver].tell("commit", delivery.handle)
        with closing(sqlite3.connect(path)) as connection:
            (last,) = connection.execute("SELECT message FROM effect ORDER BY rowid DESC LIMIT 1").fetchone()
        assert last == sent, "also as a parameter of SQL"
        assert delivery.token > 2**32


def test_a_message_that_fails_goes_round_through_every_language_with_its_attempts_counted(
    trio: dict[str, Peer],
) -> None:
    for one in trio.values():
        one.tell("queue", "jobs", "at-least-once")
    message = Message("key", "Grüße\x00".encode(), "one", (("name", "värde"),))
    later = Message("later", b"", "one")
    sent, _ = trio["node"].send("jobs", message)
    trio["c"].send("jobs", later)
    tokens = []
    for attempt, receiver in enumerate(LANGUAGES * 2, start=1):
        (delivery,) = trio[receiver].receive("jobs", most=1)
        assert (delivery.id, delivery.attempt, delivery.message) == (sent, attempt, message.packed())
        tokens.append(delivery.token)
        trio[receiver].tell("nack", delivery.handle)
    assert tokens == sorted(set(tokens))
    (delivery,) = trio["node"].receive("jobs", most=1)
    trio["node"].tell("ack", delivery.handle)
    (delivery,) = trio["c"].receive("jobs")
    assert delivery.message == later.packed(), "what shares an ordering key waits for what fails"


def test_a_killed_holders_message_comes_before_those_behind_it_in_any_language(
    peer: Callable[..., Peer], tmp_path: Path
) -> None:
    path = tmp_path / "mixed.db"
    for holder, successor in itertools.product(LANGUAGES, LANGUAGES):
        queue = f"{holder}-{successor}"
        killed, living = peer(holder, path), peer(successor, path)
        for one in (killed, living):
            one.tell("queue", queue, "exactly-once")
        head, behind, apart = Message("a", b"1", "one"), Message("b", b"2", "one"), Message("c", b"3", "zwei")
        for message in (head, behind, apart):
            living.send(queue, message)
        (held,) = killed.receive(queue, most=1)
        assert held.message == head.packed()
        (other,) = living.receive(queue)
        assert other.message == apart.packed(), "only what shares the key waits"
        killed.kill()
        seen = living.receive(queue)
        assert seen[0].message == head.packed()
        assert seen[0].attempt == 2
        while len(seen) < 2:
            living.tell("ack", seen[0].handle)
            seen += living.receive(queue)
        assert seen[1].message == behind.packed()
        living.kill()
