"""A call at a third party that one language began: another one finds it in doubt, a third one resolves it."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import LANGUAGES, Message, Peer, PeerError

RESULT = b"receipt \x00 42".hex()


ROLES = [("python", "node", "c"), ("node", "c", "python"), ("c", "python", "node")]


@pytest.mark.parametrize(("caller", "successor", "resolver"), ROLES)
def test_a_call_in_which_its_language_was_killed_is_not_made_again_by_another(
    peer: Callable[..., Peer], tmp_path: Path, caller: str, successor: str, resolver: str
) -> None:
    path = tmp_path / "mixed.db"
    killed, living, knowing = peer(caller, path), peer(successor, path), peer(resolver, path)
    for one in (killed, living):
        one.tell("queue", "payments", "exactly-once")
    sent, _ = living.send("payments", Message("order-42", b"1999"))
    (delivery,) = killed.receive("payments")
    assert killed.tell("once", delivery.handle, "charge", "hang") == ["calling"]
    assert knowing.tell("doubts") == ["ok", "0"], "its caller lives"
    assert killed.kill() == []
    word, doubt, message, name = knowing.tell("doubts")
    assert (word, message, name, knowing.answer()) == ("doubt", str(sent), "charge", ["ok", "1"])
    (unknown,) = living.receive("payments")
    with pytest.raises(PeerError) as caught:
        living.tell("once", unknown.handle, "charge", "00")
    assert caught.value.kind == "InDoubt", "and nothing was called"
    assert living.receive("payments", wait_ms=0) == [], "it is parked until somebody knows"
    assert knowing.tell("resolve", doubt, RESULT) == ["ok"]
    (again,) = living.receive("payments")
    assert (again.id, again.attempt) == (sent, 2), "parking is no attempt"
    assert living.tell("once", again.handle, "charge", "00") == ["result", RESULT], "and nothing was called"
    assert living.tell("ack", again.handle) == ["ok"]
    assert knowing.tell("doubts") == ["ok", "0"]


def test_what_one_language_did_once_the_others_are_told(peer: Callable[..., Peer], tmp_path: Path) -> None:
    trio = {language: peer(language, tmp_path / "mixed.db") for language in LANGUAGES}
    for one in trio.values():
        one.tell("queue", "payments", "at-least-once")
    for caller, asker in itertools.product(LANGUAGES, LANGUAGES):
        trio[caller].send("payments", Message(f"{caller} {asker}", b"1999"))
        (first,) = trio[caller].receive("payments")
        assert trio[caller].tell("once", first.handle, "charge", RESULT) == ["calling"]
        assert trio[caller].answer() == ["result", RESULT]
        trio[caller].tell("nack", first.handle)
        (second,) = trio[asker].receive("payments")
        assert (second.id, second.attempt) == (first.id, 2)
        assert trio[asker].tell("once", second.handle, "charge", "00") == ["result", RESULT]
        trio[asker].tell("ack", second.handle)


def test_while_one_language_is_at_a_call_the_others_are_busy(peer: Callable[..., Peer], tmp_path: Path) -> None:
    path = tmp_path / "mixed.db"
    for caller, other, _ in ROLES:
        queue = f"{caller}-{other}"
        slow, asking = peer(caller, path), peer(other, path)
        for one in (slow, asking):
            one.tell("queue", queue, "at-least-once")
        slow.send(queue, Message("key", b""))
        (late,) = slow.receive(queue, lease_ms=1)
        # The call is begun while the delivery is its own: a lease that nobody took over is still its holder's.
        assert slow.tell("once", late.handle, "charge", "hang") == ["calling"]
        (current,) = asking.receive(queue)
        with pytest.raises(PeerError) as caught:
            asking.tell("once", current.handle, "charge", "00")
        assert caught.value.kind == "Busy"
        slow.kill()
        asking.kill()
