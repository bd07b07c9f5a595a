"""The same mistake is an error of the same kind in every language, also when another language caused it."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import LANGUAGES, Message, Peer, PeerError

QUEUES = ("at-most-once", "at-least-once", "exactly-once")
LONG_KEY = "x" * 513
TOO_LONG_LEASE_MS = 43_200_001

MISTAKES: dict[str, tuple[str, Callable[[Peer], object]]] = {
    "a queue with other semantics": ("Conflict", lambda peer: peer.tell("queue", "exactly-once", "at-least-once")),
    "a queue that is not there": ("NotFound", lambda peer: peer.tell("queue", "missing", "-")),
    "a send without its key": ("Invalid", lambda peer: peer.send("exactly-once", Message("", b"body"))),
    "a key that is too long": ("Invalid", lambda peer: peer.send("at-least-once", Message(LONG_KEY, b"body"))),
    "an ordering key that is too long": (
        "Invalid",
        lambda peer: peer.send("at-least-once", Message("key", b"body", LONG_KEY)),
    ),
    "a body over the limit": (
        "Invalid",
        lambda peer: peer.send("at-least-once", Message("large", b"x" * (1024 * 1024 + 1))),
    ),
    "headers over their limit": (
        "Invalid",
        lambda peer: peer.send("at-least-once", Message("key", b"", "", (("name", "x" * 65_536),))),
    ),
    "a known key with another body": ("Conflict", lambda peer: peer.send("exactly-once", Message("known", b"other"))),
    "too many messages at once": ("Invalid", lambda peer: peer.receive("at-least-once", most=10_001)),
    "a lease that is too long": ("Invalid", lambda peer: peer.receive("at-least-once", lease_ms=TOO_LONG_LEASE_MS)),
    "a message of another queue": ("Invalid", lambda peer: peer.tell("cancel", "at-least-once", (1 << 38) * 30 + 1)),
    "a statement that fails": ("Sql", lambda peer: peer.tell("sql", "INSERT INTO missing VALUES (1)")),
    "a statement on a table of ours": ("Sql", lambda peer: peer.tell("sql", "DELETE FROM onceward_message")),
}


@pytest.fixture
def trio(peer: Callable[..., Peer], tmp_path: Path) -> dict[str, Peer]:
    """Start a peer in each language on one file, where one message is known."""
    found = {language: peer(language, tmp_path / "mixed.db") for language in LANGUAGES}
    for one in found.values():
        for semantics in QUEUES:
            one.tell("queue", semantics, semantics)
    found["python"].send("exactly-once", Message("known", b"body"))
    return found


def kind_of(call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(PeerError) as caught:
        call(*arguments)
    return caught.value.kind


def test_a_mistake_is_of_the_same_kind_everywhere(trio: dict[str, Peer]) -> None:
    for language, one in trio.items():
        kinds = {mistake: kind_of(make, one) for mistake, (_, make) in MISTAKES.items()}
        assert kinds == {mistake: kind for mistake, (kind, _) in MISTAKES.items()}, language


def test_a_delivery_that_another_language_has_now_is_lost(trio: dict[str, Peer]) -> None:
    trio["node"].tell("sql", "CREATE TABLE effect(message INTEGER, attempt INTEGER, body BLOB) STRICT")
    (known,) = trio["python"].receive("exactly-once")
    trio["python"].tell("ack", known.handle)
    for holder, taker in itertools.product(LANGUAGES, LANGUAGES):
        if holder == taker:
            continue
        trio[holder].send("exactly-once", Message(f"{holder} to {taker}", b"body"))
        (late,) = trio[holder].receive("exactly-once", lease_ms=1)
        (current,) = trio[taker].receive("exactly-once")
        assert (current.id, current.attempt) == (late.id, 2)
        assert current.token > late.token
        assert kind_of(trio[holder].tell, "ack", late.handle) == "LeaseLost"
        trio[taker].tell("begin", current.handle)
        trio[taker].tell("commit", current.handle)


def test_a_delivery_is_settled_once_in_every_language(trio: dict[str, Peer]) -> None:
    for language, one in trio.items():
        one.send("at-least-once", Message(language, b"body"))
        (delivery,) = one.receive("at-least-once")
        assert one.tell("ack", delivery.handle) == ["ok"]
        assert kind_of(one.tell, "ack", delivery.handle) == "Invalid"


def test_what_was_handed_over_at_most_once_cannot_be_given_back(trio: dict[str, Peer]) -> None:
    for language, one in trio.items():
        one.send("at-most-once", Message(language, b"body"))
        (delivery,) = one.receive("at-most-once")
        assert one.tell("ack", delivery.handle) == ["ok"]
        assert kind_of(one.tell, "nack", delivery.handle) == "Invalid"


def test_what_another_language_has_in_flight_cannot_be_cancelled(trio: dict[str, Peer]) -> None:
    for holder, canceller in itertools.product(LANGUAGES, LANGUAGES):
        sent, _ = trio[canceller].send("at-least-once", Message(f"{holder} {canceller}", b"body"))
        (delivery,) = trio[holder].receive("at-least-once")
        assert kind_of(trio[canceller].tell, "cancel", "at-least-once", sent) == "Conflict"
        trio[holder].tell("ack", delivery.handle)
        assert trio[canceller].tell("cancel", "at-least-once", sent) == ["ok", "false"]


def test_while_one_language_writes_the_others_are_busy(peer: Callable[..., Peer], tmp_path: Path) -> None:
    path = tmp_path / "mixed.db"
    trio = {language: peer(language, path, busy_ms=300) for language in LANGUAGES}
    trio["c"].tell("sql", "CREATE TABLE effect(message INTEGER, attempt INTEGER, body BLOB) STRICT")
    for one in trio.values():
        one.tell("queue", "jobs", "exactly-once")
    for writer, one in trio.items():
        one.send("jobs", Message(writer, b"body"))
        (delivery,) = one.receive("jobs")
        one.tell("begin", delivery.handle)
        for language, other in trio.items():
            if language != writer:
                assert kind_of(other.send, "jobs", Message("other", b"")) == "Busy", language
        one.tell("commit", delivery.handle)


def test_a_closed_store_says_so(trio: dict[str, Peer]) -> None:
    for one in trio.values():
        one.tell("close")
        assert kind_of(one.send, "exactly-once", Message("key", b"body")) == "Closed"
