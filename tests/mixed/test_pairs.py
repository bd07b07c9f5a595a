"""Each language sends to each other one and to itself, on one file, while senders and receivers are killed.

The promises are judged from outside: by what the peers said they were handed, and, for exactly-once, by the rows that
Python's own sqlite3 finds.
"""

import itertools
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from conftest import LANGUAGES, Delivery, Message, Peer

SEMANTICS = ("at-most-once", "at-least-once", "exactly-once")
COUNT = 18
FIRST_HALF = COUNT // 2
HELD_LEAST = 3
"""How many messages of each queue the first receiver holds at least when it is killed."""
ORDERING_KEYS = ("", "one", "zwei 二")
BODIES = (
    b"",
    bytes(range(256)) * 3,
    "Grüße, 世界 \U0001f600\x00 und weiter".encode(),
    b"\x00",
    b"\xff\xfe no UTF-8 \xc3\x28",
    b"long " * 4000,
)


def messages() -> list[Message]:
    """Make what is sent on every queue: bodies, keys and headers of all sorts."""
    headers = (("empty", ""), ("text", "ä\x00ö 🎈"), ("bytes", b"\x00\xff\x00"), ("Größe", "x" * 300))
    return [
        Message(
            key=f"Schlüssel {number}",
            body=BODIES[number % len(BODIES)],
            ordering_key=ORDERING_KEYS[number % len(ORDERING_KEYS)],
            headers=headers[: number % (len(headers) + 1)],
        )
        for number in range(COUNT)
    ]


class Course:
    """What happened on one queue, as the peers told it."""

    def __init__(self, semantics: str) -> None:
        self.semantics = semantics
        self.ids: dict[str, int] = {}
        """The id of each message, by what it is, packed."""
        self.handed: list[list[Delivery]] = []
        """What each receiver was handed, in order."""
        self.applied: list[int] = []
        """The ids of the messages whose effect was made, or, for exactly-once, whose commit returned."""
        self.finished: set[int] = set()
        """The ids of those whose acknowledgement, or commit with it, returned."""

    def sent(self, message: str, message_id: int) -> None:
        assert self.ids.setdefault(message, message_id) == message_id, "one key is one message"

    def take(self, receiver: Peer) -> list[Delivery]:
        found = receiver.receive(self.semantics)
        assert found, f"a message is missing: {self.handed}"
        self.handed[-1].extend(found)
        return found

    def finish(self, receiver: Peer, delivery: Delivery) -> None:
        """Do the work on a message as its promise asks."""
        if self.semantics == "exactly-once":
            assert receiver.tell("begin", delivery.handle) == ["ok"]
            assert receiver.tell("commit", delivery.handle) == ["ok"]
            self.applied.append(delivery.id)
        else:
            self.applied.append(delivery.id)
            assert receiver.tell("ack", delivery.handle) == ["ok"]
        self.finished.add(delivery.id)

    def begin(self, receiver: Peer, delivery: Delivery) -> None:
        """Stop in the middle of the work: the effect is made, and nothing is acknowledged or committed."""
        if self.semantics == "exactly-once":
            assert receiver.tell("begin", delivery.handle) == ["ok"]
        else:
            self.applied.append(delivery.id)


def stream_until_killed(sender: Peer, courses: dict[str, Course], file: Path, receive: Callable[[], None]) -> set[str]:
    """Let a sender repeat the first half for ever, receive meanwhile, kill it; return what it is known to have sent."""
    lines = [f"{semantics} {message.packed()}" for message in messages()[:FIRST_HALF] for semantics in SEMANTICS]
    file.write_text("\n".join(lines) + "\n")
    sender.order("stream", file)
    said = [sender.line() for _ in range(len(SEMANTICS))]
    receive()
    said += sender.kill()
    assert len(said) > len(SEMANTICS), "it was sending all the time"
    for line, answer in zip(itertools.cycle(lines), said, strict=False):
        semantics, _, message = line.partition(" ")
        word, message_id, _ = answer.split(" ")
        assert word == "sent"
        courses[semantics].sent(message, int(message_id))
    return set(lines[: len(said)])


def take_and_be_killed(receiver: Peer, courses: dict[str, Course]) -> None:
    """Finish one message of each queue, begin another one, hold further ones, and die."""
    held = {}
    for semantics, course in courses.items():
        course.handed.append([])
        while len(course.handed[-1]) < HELD_LEAST + 1:
            course.take(receiver)
        finished, *held[semantics] = course.handed[-1]
        course.finish(receiver, finished)
    # The open transaction of exactly-once keeps the others from writing, so it is begun last.
    for semantics in SEMANTICS:
        courses[semantics].begin(receiver, held[semantics][0])
    receiver.kill()
    assert all(len(deliveries) >= HELD_LEAST for deliveries in held.values()), "the kill hit what it held"


def judge(course: Course, path: Path) -> None:
    """Hold what happened against the promise."""
    messages_by_id = {message_id: message for message, message_id in course.ids.items()}
    assert len(messages_by_id) == COUNT, "each message has an id of its own"
    assert min(messages_by_id) > 2**32
    every = [delivery for handed in course.handed for delivery in handed]
    assert all(messages_by_id[delivery.id] == delivery.message for delivery in every), "handed over as it was sent"
    tokens = [delivery.token for delivery in every]
    assert tokens == sorted(tokens), "a later delivery has a larger token"
    times: dict[int, list[int]] = {}
    for delivery in every:
        times.setdefault(delivery.id, []).append(delivery.attempt)
    assert all(attempts == [*range(1, len(attempts) + 1)] for attempts in times.values())
    first, second = course.handed
    assert_in_order(first)
    assert_in_order(second)
    interrupted = first[1].id
    if course.semantics == "at-most-once":
        assert len(every) == len(times) == COUNT, "each message was handed over once"
        assert len(set(course.applied)) == len(course.applied), "at most once"
        assert len(course.applied) == COUNT - (len(first) - 2), "what the killed one held is lost"
        return
    assert {delivery.id for delivery in second} == times.keys() - {first[0].id}, "what was not finished came again"
    if course.semantics == "at-least-once":
        assert Counter(course.applied) == Counter([*times, interrupted]), "none lost; the interrupted one came twice"
        return
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT message, attempt, body FROM effect").fetchall()
    assert sorted(message for message, _, _ in rows) == sorted(times), "exactly once"
    assert next(attempt for message, attempt, _ in rows if message == interrupted) == 2
    assert all(messages_by_id[message].split(" ")[2] == (body.hex() or "-") for message, _, body in rows)


def assert_in_order(deliveries: list[Delivery]) -> None:
    by_key: dict[str, list[int]] = {}
    for delivery in deliveries:
        by_key.setdefault(delivery.message.split(" ")[1], []).append(delivery.id)
    for ordering_key, ids in by_key.items():
        assert ordering_key == "-" or ids == sorted(set(ids)), "in the order of the sends, none twice"


@pytest.mark.parametrize("receiver", LANGUAGES)
@pytest.mark.parametrize("sender", LANGUAGES)
def test_the_promises_hold_between_languages_while_both_sides_are_killed(
    peer: Callable[..., Peer], tmp_path: Path, sender: str, receiver: str
) -> None:
    path = tmp_path / "mixed.db"
    courses = {semantics: Course(semantics) for semantics in SEMANTICS}

    def started(language: str) -> Peer:
        one = peer(language, path)
        for semantics in SEMANTICS:
            assert one.tell("queue", semantics, semantics) == ["ok"]
        return one

    first_sender, first_receiver = started(sender), started(receiver)
    first_sender.tell("sql", "CREATE TABLE effect(message INTEGER, attempt INTEGER, body BLOB) STRICT")
    known = stream_until_killed(
        first_sender, courses, tmp_path / "first-half", lambda: take_and_be_killed(first_receiver, courses)
    )

    second_sender, second_receiver = started(sender), started(receiver)
    for semantics, course in courses.items():
        for message in messages():
            message_id, is_duplicate = second_sender.send(semantics, message)
            course.sent(message.packed(), message_id)
            was_sent = f"{semantics} {message.packed()}" in known
            assert is_duplicate or not was_sent, "a send that had returned is recognised"
    for semantics, course in courses.items():
        over = len(course.handed[0]) if semantics == "at-most-once" else len(course.finished)
        course.handed.append([])
        while len(course.handed[1]) < COUNT - over:
            for delivery in course.take(second_receiver):
                course.finish(second_receiver, delivery)
        assert second_receiver.tell("stats", semantics) == ["ok", "0", "0", "0", "0", "0"], "nothing is left"
    for course in courses.values():
        judge(course, path)
