"""Sending: bodies, keys, times, order, and what comes out at the other end."""

import datetime
import math
import threading
import time
from collections.abc import Callable

import onceward
import pytest

from conftest import PATIENCE, take


@pytest.mark.parametrize(
    ("body", "received"),
    [
        (b"", b""),
        (b"\x00\xff\x00", b"\x00\xff\x00"),
        (bytearray(b"array"), b"array"),
        (memoryview(b"a view")[2:], b"view"),
        (memoryview(b"s-t-r-i-d-e")[::2], b"stride"),
        (b"x" * (1 << 20), b"x" * (1 << 20)),
    ],
    ids=["empty", "binary", "bytearray", "memoryview", "strided memoryview", "as long as the limit"],
)
def test_a_body_comes_back_byte_for_byte(
    queue: onceward.Queue, body: bytes | bytearray | memoryview, received: bytes
) -> None:
    queue.send(body)
    delivery = take(queue)
    assert type(delivery.body) is bytes
    assert delivery.body == received
    assert delivery.body is delivery.body


def test_everything_that_was_sent_with_a_message_is_delivered_with_it(queue: onceward.Queue) -> None:
    before = datetime.datetime.now(datetime.UTC)
    headers: dict[str, str | bytes] = {"text": "größe", "bytes": b"\x00\xff", "empty": ""}
    sent = queue.send(b"body", key="k-1", headers=headers, ordering_key="customer-7")
    after = datetime.datetime.now(datetime.UTC)
    assert (sent.duplicate, repr(sent)) == (False, f"Sent(id={sent.id}, duplicate=False)")
    delivery = take(queue)
    assert (delivery.id, delivery.attempt, delivery.body, delivery.key) == (sent.id, 1, b"body", "k-1")
    assert (delivery.headers, delivery.ordering_key, delivery.priority) == (headers, "customer-7", 4)
    slack = datetime.timedelta(milliseconds=1)
    assert before - slack <= delivery.sent_at <= after + slack
    assert delivery.sent_at.tzinfo is datetime.UTC
    assert delivery.receipt == onceward.Receipt(delivery.id, delivery.token)
    assert hash(delivery.receipt) == hash(onceward.Receipt(delivery.id, delivery.token))
    assert delivery.id < 2**53
    assert repr(delivery) == f"Delivery(id={sent.id}, token={delivery.token}, attempt=1, body=<4 bytes>, key='k-1')"


def test_a_message_without_options_has_none(queue: onceward.Queue) -> None:
    queue.send(b"x")
    delivery = take(queue)
    assert (delivery.key, delivery.ordering_key, delivery.headers, delivery.priority) == (None, None, {}, 4)


def test_a_repeated_key_is_the_same_message(exact: onceward.Queue) -> None:
    first = exact.send(b"order 42", key="order-42")
    again = exact.send(b"order 42", key="order-42")
    assert (again.id, again.duplicate) == (first.id, True)
    assert first != again
    take(exact).ack()
    assert exact.send(b"order 42", key="order-42").duplicate
    assert exact.receive() is None


def test_the_same_key_with_another_body_is_a_conflict_that_names_the_key(exact: onceward.Queue) -> None:
    exact.send(b"order 42", key="order-42")
    with pytest.raises(onceward.ConflictError, match="order-42"):
        exact.send(b"another", key="order-42")
    assert exact.stats().ready == 1


def test_a_key_is_per_queue(store: onceward.Store, exact: onceward.Queue, queue: onceward.Queue) -> None:
    assert not exact.send(b"1", key="k").duplicate
    assert not queue.send(b"2", key="k").duplicate


def test_exactly_once_needs_a_key(exact: onceward.Queue) -> None:
    with pytest.raises(onceward.InvalidArgumentError, match="key"):
        exact.send(b"x")
    assert exact.stats().ready == 0


def test_a_lower_priority_number_is_taken_first(queue: onceward.Queue) -> None:
    for priority in (9, 4, 0):
        queue.send(str(priority).encode(), priority=priority)
    queue.send(b"default")
    assert [take(queue).body for _ in range(4)] == [b"0", b"4", b"default", b"9"]


@pytest.mark.parametrize("delay", [3600, 3600.5, datetime.timedelta(hours=1)], ids=repr)
def test_a_delayed_message_is_not_there_yet(queue: onceward.Queue, delay: float | datetime.timedelta) -> None:
    queue.send(b"later", delay=delay)
    assert queue.receive() is None
    stats = queue.stats()
    assert (stats.ready, stats.delayed) == (0, 1)


def test_a_delayed_message_comes_when_its_time_has_come(queue: onceward.Queue) -> None:
    due = time.time() + 2
    queue.send(b"later", deliver_at=due)
    queue.send(b"soon", delay=0.1)
    assert [take(queue).body for _ in range(2)] == [b"soon", b"later"]
    assert time.time() >= due - 0.001


def test_a_time_that_has_passed_means_at_once(queue: onceward.Queue) -> None:
    queue.send(b"a", deliver_at=0)
    queue.send(b"b", deliver_at=-1.5)
    queue.send(b"c", deliver_at=datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC))
    assert len(queue.receive_many(10)) == 3


def test_an_aware_datetime_of_any_zone_is_a_time(queue: onceward.Queue) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=-7))
    queue.send(b"later", deliver_at=datetime.datetime.now(zone) + datetime.timedelta(hours=1))
    queue.send(b"now", deliver_at=datetime.datetime.now(zone) - datetime.timedelta(seconds=1))
    assert take(queue).body == b"now"
    assert queue.receive() is None


def test_a_message_past_its_time_to_live_is_a_dead_letter(queue: onceward.Queue) -> None:
    sent = queue.send(b"milk", time_to_live=0.05)
    end = time.monotonic() + PATIENCE
    while not (letters := queue.dead_letters()):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert queue.receive() is None
    assert [letter.id for letter in letters] == [sent.id]
    assert letters[0].reason


def test_an_ordering_key_keeps_commit_order_across_retries(queue: onceward.Queue) -> None:
    for number in (b"1", b"2", b"3"):
        queue.send(number, ordering_key="k")
    queue.send(b"other", ordering_key="another")
    first = take(queue)
    assert first.body == b"1"
    assert take(queue).body == b"other"
    assert queue.receive() is None
    first.nack(delay=0)
    again = take(queue)
    assert (again.body, again.attempt) == (b"1", 2)
    again.ack()
    rest = []
    for _ in range(2):
        delivery = take(queue)
        rest.append(delivery.body)
        delivery.ack()
    assert rest == [b"2", b"3"]


def test_send_many_takes_messages_and_bare_bodies(queue: onceward.Queue) -> None:
    messages = (
        message
        for message in (
            b"bytes",
            bytearray(b"array"),
            memoryview(b"view"),
            onceward.Message(b"message", key="k", headers={"a": "b"}, ordering_key="o"),
        )
    )
    sent = queue.send_many(messages)
    assert [one.duplicate for one in sent] == [False] * 4
    deliveries = queue.receive_many(10)
    assert [delivery.id for delivery in deliveries] == [one.id for one in sent]
    assert [delivery.body for delivery in deliveries] == [b"bytes", b"array", b"view", b"message"]
    assert (deliveries[3].key, deliveries[3].headers, deliveries[3].ordering_key) == ("k", {"a": "b"}, "o")


def test_send_many_of_nothing_is_nothing(queue: onceward.Queue) -> None:
    assert queue.send_many([]) == []


def test_send_many_is_all_or_nothing(exact: onceward.Queue) -> None:
    exact.send(b"1", key="a")
    with pytest.raises(onceward.ConflictError):
        exact.send_many([onceward.Message(b"2", key="b"), onceward.Message(b"other", key="a")])
    with pytest.raises(onceward.InvalidArgumentError):
        exact.send_many([onceward.Message(b"2", key="b"), b"without a key"])

    def failing() -> object:
        yield onceward.Message(b"2", key="b")
        raise LookupError("the source broke")

    with pytest.raises(LookupError):
        exact.send_many(failing())  # type: ignore[arg-type]
    assert exact.stats().ready == 1
    assert not exact.send(b"2", key="b").duplicate


def test_a_repeated_key_within_one_send_many_is_one_message(exact: onceward.Queue) -> None:
    one, other = exact.send_many([onceward.Message(b"1", key="a"), onceward.Message(b"1", key="a")])
    assert (one.id, one.duplicate, other.duplicate) == (other.id, False, True)


def test_a_message_shows_what_it_carries() -> None:
    at = datetime.datetime(2030, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.UTC)
    message = onceward.Message(
        b"body", key="k", headers={"a": b"b"}, priority=3, deliver_at=at, time_to_live=datetime.timedelta(minutes=1)
    )
    assert (message.body, message.key, message.headers, message.priority) == (b"body", "k", {"a": b"b"}, 3)
    assert (message.delay, message.deliver_at, message.time_to_live, message.ordering_key) == (None, at, 60.0, None)
    assert onceward.Message(b"", delay=1.5, ordering_key="o").delay == 1.5
    assert repr(message) == "Message(body=<4 bytes>, key='k')"


def test_at_most_once_hands_over_once_and_never_again(store: onceward.Store) -> None:
    queue = store.queue("hints", semantics="at-most-once", lease=0.05)
    queue.send(b"x")
    delivery = take(queue)
    assert queue.receive(wait=0.2) is None
    delivery.ack()
    verbs: list[Callable[[onceward.Delivery], None]] = [
        lambda one: one.nack(),
        lambda one: one.release(),
        lambda one: one.dead_letter("no"),
    ]
    for verb in verbs:
        queue.send(b"y")
        with pytest.raises(onceward.InvalidArgumentError, match="at-most-once"):
            verb(take(queue))


def test_threads_may_send_at_the_same_time(queue: onceward.Queue) -> None:
    threads = [
        threading.Thread(target=lambda part=part: [queue.send(b"%d-%d" % (part, n)) for n in range(50)])
        for part in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bodies = {delivery.body for delivery in queue.receive_many(1000)}
    assert bodies == {b"%d-%d" % (part, n) for part in range(8) for n in range(50)}


def test_durations_keep_their_fractions() -> None:
    assert math.isclose(onceward.Message(b"", delay=datetime.timedelta(microseconds=1)).delay or 0, 1e-6)
    assert math.isclose(onceward.Message(b"", delay=datetime.timedelta(days=400)).delay or 0, 400 * 86400)
