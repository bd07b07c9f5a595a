"""Bad input: each the right class, naming the value and the limit, and nothing half-written."""

import datetime
import decimal
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onceward
import pytest

from conftest import Program, take

Invalid = onceward.InvalidArgumentError
LONG = "ö" * 257  # 514 bytes
TEN_YEARS = 10 * 366 * 86400


def nothing_was_written(store: onceward.Store, queue: onceward.Queue) -> None:
    stats = queue.stats()
    assert (stats.ready, stats.delayed, stats.blocked, stats.in_flight, stats.dead) == (0, 0, 0, 0, 0)
    assert store.queues() == [queue.name]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"key": ""}, Invalid, "key is empty; it takes 1 to 512 bytes"),
        ({"key": LONG}, Invalid, "key is 514 bytes; the limit is 512"),
        ({"key": "a\0b"}, Invalid, "NUL"),
        ({"key": "\ud800"}, Invalid, r"key '\\ud800' is not valid Unicode text"),
        ({"key": b"bytes"}, TypeError, "key must be a str, not bytes"),
        ({"key": 42}, TypeError, "key must be a str, not int"),
        ({"ordering_key": ""}, Invalid, "ordering key is empty"),
        ({"ordering_key": LONG}, Invalid, "ordering key is 514 bytes; the limit is 512"),
        ({"ordering_key": "k", "priority": 1}, Invalid, "priority 1 and an ordering key exclude each other"),
        ({"ordering_key": 1}, TypeError, "ordering_key must be a str, not int"),
        ({"priority": 10}, Invalid, "priority is 10; the limit is 9"),
        ({"priority": 256}, Invalid, "priority is 256; it takes 0 to 9"),
        ({"priority": -1}, Invalid, "priority is -1; it takes 0 to 9"),
        ({"priority": 2**70}, Invalid, "it takes 0 to 9"),
        ({"priority": 1.0}, TypeError, "priority must be an int, not float"),
        ({"priority": True}, TypeError, "priority must be an int, not bool"),
        ({"delay": -1}, Invalid, "delay is -1 seconds"),
        ({"delay": -0.001}, Invalid, "delay is -0.001 seconds"),
        ({"delay": datetime.timedelta(seconds=-1)}, Invalid, "delay is -1.0 seconds"),
        ({"delay": math.nan}, Invalid, "delay is nan seconds"),
        ({"delay": math.inf}, Invalid, "delay is inf seconds"),
        ({"delay": -math.inf}, Invalid, "delay is -inf seconds"),
        ({"delay": TEN_YEARS + 1}, Invalid, "316224001.*316224000"),
        ({"delay": 1e300}, Invalid, "delay is 1e\\+300 seconds"),
        ({"delay": 10**400}, Invalid, "more than a float holds"),
        ({"delay": "1"}, TypeError, "delay must be a number of seconds or a timedelta, not str"),
        ({"delay": True}, TypeError, "not bool"),
        ({"delay": 1, "deliver_at": 1}, Invalid, "delay and deliver_at exclude each other"),
        ({"deliver_at": datetime.datetime(2030, 1, 1)}, Invalid, "without a time zone"),
        ({"deliver_at": math.nan}, Invalid, "deliver_at is nan"),
        ({"deliver_at": math.inf}, Invalid, "deliver_at is inf"),
        ({"deliver_at": 1e30}, Invalid, "deliver_at is 1e\\+30"),
        ({"deliver_at": datetime.timedelta(1)}, TypeError, "not timedelta"),
        ({"deliver_at": "tomorrow"}, TypeError, "not str"),
        ({"time_to_live": 0}, Invalid, "time to live is 0"),
        ({"time_to_live": -1}, Invalid, "time_to_live is -1 seconds"),
        ({"time_to_live": TEN_YEARS + 1}, Invalid, "time to live"),
        ({"headers": {"": "x"}}, Invalid, "header name is empty; it takes 1 to 512"),
        ({"headers": {"a\0b": "x"}}, Invalid, "holds a NUL"),
        ({"headers": {LONG: "x"}}, Invalid, "header name is 514 bytes; the limit is 512"),
        ({"headers": {"a": "x" * 65536}}, Invalid, "headers are 65537 bytes; the limit is 65536"),
        ({"headers": {"a": 1}}, TypeError, 'header "a" must be str or bytes, not int'),
        ({"headers": {1: "a"}}, TypeError, "header name must be a str, not int"),
        ({"headers": [("a", "b")]}, TypeError, "headers must be a mapping of str to str or bytes, not list"),
    ],
    ids=repr,
)
def test_a_send_with_a_bad_option_is_refused(
    store: onceward.Store, queue: onceward.Queue, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        queue.send(b"x", **options)
    with pytest.raises(error, match=says):
        queue.send_many([b"first", onceward.Message(b"x", **options)])
    tx = store.transaction()
    with pytest.raises(error, match=says):
        tx.send(queue, b"x", **options)
    tx.commit()
    nothing_was_written(store, queue)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("text", r"bytes, bytearray or memoryview \(a str needs \.encode\(\)\), not str"),
        (None, "bytes, bytearray or memoryview, not NoneType"),
        (42, "not int"),
        ([1, 2], "not list"),
        (memoryview(b"12345678").cast("I"), "unsigned bytes"),
    ],
    ids=["str", "None", "int", "list", "unsigned integers"],
)
def test_a_body_that_is_no_bytes_is_a_type_error(
    store: onceward.Store, queue: onceward.Queue, body: Any, says: str
) -> None:
    with pytest.raises(TypeError, match="body must be .*" + says):
        queue.send(body)
    with pytest.raises(TypeError, match=says):
        queue.send_many([b"first", body])
    with pytest.raises(TypeError, match=says):
        queue.send_many([b"first", onceward.Message(body)])
    nothing_was_written(store, queue)


def test_a_body_over_the_limit_names_both(store: onceward.Store, queue: onceward.Queue) -> None:
    with pytest.raises(Invalid, match="body is 1048577 bytes; the limit is 1048576"):
        queue.send(b"x" * (2**20 + 1))
    with pytest.raises(Invalid, match="body is 1048577 bytes; the limit is 1048576"):
        queue.send_many([b"first", b"x" * (2**20 + 1)])
    nothing_was_written(store, queue)


@pytest.mark.parametrize("messages", [b"bytes", "text", 42, None, bytearray(b"x")], ids=repr)
def test_send_many_wants_an_iterable_of_messages(store: onceward.Store, queue: onceward.Queue, messages: Any) -> None:
    with pytest.raises(TypeError, match="messages must be an iterable of Message or bytes"):
        queue.send_many(messages)
    nothing_was_written(store, queue)


def test_send_many_takes_ten_thousand_messages_at_most(store: onceward.Store, queue: onceward.Queue) -> None:
    with pytest.raises(Invalid, match="10001 messages in one call; the limit is 10000"):
        queue.send_many(b"" for _ in range(10_001))
    nothing_was_written(store, queue)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"semantics": "twice"}, Invalid, "twice.*at-most-once, at-least-once, exactly-once"),
        ({"semantics": ""}, Invalid, "exactly-once"),
        ({"semantics": 1}, TypeError, "semantics must be a str, not int"),
        ({"lease": 0}, Invalid, "lease is 0"),
        ({"lease": 43200.001}, Invalid, "lease is 43200"),
        ({"lease": -1}, Invalid, "lease is -1 seconds"),
        ({"lease": math.nan}, Invalid, "lease is nan"),
        ({"lease": "30"}, TypeError, "lease must be a number"),
        ({"attempts_max": 0}, Invalid, "0.*1000000"),
        ({"attempts_max": 1_000_001}, Invalid, "1000001.*1000000"),
        ({"attempts_max": -1}, Invalid, "attempts_max is -1; it takes 1 to 1000000"),
        ({"attempts_max": "many"}, Invalid, "'many' is neither a number nor \"unlimited\""),
        ({"attempts_max": 1.5}, TypeError, "attempts_max must be an int, not float"),
        ({"backoff": {"first": 1}}, TypeError, "backoff"),
        ({"backoff": onceward.Backoff(factor=math.nan)}, Invalid, "factor"),
        ({"backoff": onceward.Backoff(factor=0.5)}, Invalid, "factor"),
        ({"backoff": onceward.Backoff(jitter=1.5)}, Invalid, "jitter"),
        ({"backoff": onceward.Backoff(jitter=-0.5)}, Invalid, "jitter"),
        ({"deduplication_window": "always"}, Invalid, "'always' is neither a number nor \"forever\""),
        ({"deduplication_window": TEN_YEARS + 1}, Invalid, "window"),
        ({"deduplication_window": -1}, Invalid, "deduplication_window is -1 seconds"),
        ({"subscriptions": []}, Invalid, "subscription"),
        ({"subscriptions": ["a", ""]}, Invalid, "empty"),
        ({"subscriptions": [LONG]}, Invalid, "514 bytes; the limit is 512"),
        ({"subscriptions": "abc"}, TypeError, "subscriptions must be an iterable of str, not str"),
        ({"subscriptions": [1]}, TypeError, "subscription name must be a str, not int"),
    ],
    ids=repr,
)
def test_a_queue_with_a_bad_option_is_refused(
    store: onceward.Store, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        store.queue("jobs", **{"semantics": "at-least-once", **options})
    assert store.queues() == []


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("", Invalid, "is empty; it takes 1 to 512 bytes"),
        (LONG, Invalid, "514 bytes; the limit is 512"),
        ("a\0b", Invalid, "NUL"),
        ("\ud800", Invalid, "Unicode"),
        (b"jobs", TypeError, "name must be a str, not bytes"),
        (None, TypeError, "name must be a str, not NoneType"),
    ],
    ids=["empty", "long", "NUL", "surrogate", "bytes", "None"],
)
def test_a_bad_name_is_refused(
    store: onceward.Store, queue: onceward.Queue, name: Any, error: type[Exception], says: str
) -> None:
    for call in (
        lambda: store.queue(name, semantics="at-least-once"),
        lambda: queue.subscribe(name),
        lambda: queue.subscription(name),
        lambda: queue.unsubscribe(name),
    ):
        with pytest.raises(error, match=says):
            call()
    nothing_was_written(store, queue)
    assert queue.subscriptions() == ["default"]


def test_an_unknown_start_is_refused(queue: onceward.Queue) -> None:
    with pytest.raises(Invalid, match="start 'yesterday' is none of now, oldest"):
        queue.subscribe("a", start="yesterday")  # type: ignore[arg-type]
    assert queue.subscriptions() == ["default"]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"wait": -1}, Invalid, "wait is -1 seconds"),
        ({"wait": math.nan}, Invalid, "wait is nan seconds"),
        ({"wait": math.inf}, Invalid, "wait is inf seconds"),
        ({"wait": 86_401}, Invalid, "wait is 86401 seconds; the limit is 86400"),
        ({"wait": datetime.timedelta(days=-1)}, Invalid, "wait is -86400.0 seconds"),
        ({"wait": "1"}, TypeError, "wait must be a number of seconds or a timedelta, not str"),
        ({"lease": 0}, Invalid, "lease is 0"),
        ({"lease": 43_201}, Invalid, "lease is 43201"),
        ({"lease": -1}, Invalid, "lease is -1 seconds"),
        ({"lease": True}, TypeError, "not bool"),
    ],
    ids=repr,
)
def test_a_receive_with_a_bad_option_is_refused(
    queue: onceward.Queue, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    queue.send(b"x")
    for call in (
        lambda: queue.receive(**options),
        lambda: queue.receive_many(1, **options),
        lambda: next(queue.consume(**options)),
    ):
        with pytest.raises(error, match=says):
            call()
    assert queue.stats().ready == 1


def test_receive_takes_no_none_for_its_wait(queue: onceward.Queue) -> None:
    with pytest.raises(TypeError, match="wait must be a number of seconds or a timedelta, not NoneType"):
        queue.receive(wait=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "error", "says"),
    [
        (0, Invalid, "0.*10000"),
        (10_001, Invalid, "10001.*10000"),
        (-1, Invalid, "-1; it takes 1 to 10000"),
        (1.0, TypeError, "must be an int, not float"),
        (True, TypeError, "must be an int, not bool"),
    ],
    ids=repr,
)
def test_a_bad_count_is_refused(queue: onceward.Queue, count: Any, error: type[Exception], says: str) -> None:
    queue.send(b"x")
    calls: list[Callable[[], object]] = [
        lambda: queue.receive_many(count),
        lambda: queue.consume(batch=count),
        lambda: queue.peek(count),
        lambda: queue.dead_letters(max=count),
    ]
    for call in calls:
        with pytest.raises(error, match=says):
            call()
    assert queue.stats().ready == 1


@pytest.mark.parametrize(
    ("id_", "error"),
    [(0, Invalid), (-1, Invalid), (7, Invalid), (2**53, Invalid), (2**64, Invalid), ("1", TypeError), (1.0, TypeError)],
    ids=repr,
)
def test_a_number_that_is_no_message_id_is_refused(queue: onceward.Queue, id_: Any, error: type[Exception]) -> None:
    for call in (
        lambda: queue.cancel(id_),
        lambda: queue.redrive([id_]),
        lambda: queue.purge_dead([id_]),
        lambda: queue.dead_letters(after=id_),
        lambda: onceward.Receipt(id_, 1),
    ):
        with pytest.raises(error, match=str(id_) if error is Invalid else "message id must be an int"):
            call()


def test_ids_of_another_queue_are_refused(store: onceward.Store, queue: onceward.Queue) -> None:
    other = store.queue("other", semantics="at-least-once")
    sent = other.send(b"x")
    with pytest.raises(Invalid, match=str(sent.id)):
        queue.cancel(sent.id)
    delivery = take(other)
    for call in (
        lambda: queue.ack([delivery]),
        lambda: queue.nack([delivery]),
        lambda: queue.release([delivery.receipt]),
        lambda: queue.extend([delivery], 1),
        lambda: queue.dead_letter([delivery], "no"),
        lambda: queue.redrive([sent.id]),
        lambda: queue.purge_dead([sent.id]),
    ):
        with pytest.raises(Invalid, match=str(sent.id)):
            call()
    assert not delivery.settled
    delivery.ack()


def test_made_up_tokens_settle_nothing(queue: onceward.Queue) -> None:
    queue.send(b"x")
    delivery = take(queue)
    for token in (0, delivery.token + 1, delivery.token - 1, 2**53, 2**63 - 1):
        receipt = onceward.Receipt(delivery.id, token)
        assert queue.ack([receipt]) == [receipt]
        assert queue.nack([receipt]) == [receipt]
        assert queue.extend([receipt], 1) == [receipt]
    for token in (-1, 2**63):
        with pytest.raises(Invalid, match=f"token is {token}"):
            onceward.Receipt(delivery.id, token)
    with pytest.raises(TypeError, match="token must be an int"):
        onceward.Receipt(delivery.id, "1")  # type: ignore[arg-type]
    delivery.ack()


@pytest.mark.parametrize("deliveries", [42, None, ["x"], [1], [(1, 2)]], ids=repr)
def test_settling_wants_deliveries_or_receipts(queue: onceward.Queue, deliveries: Any) -> None:
    with pytest.raises(TypeError, match="deliveries must be an iterable of Delivery or Receipt"):
        queue.ack(deliveries)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"delay": -1}, Invalid, "delay is -1 seconds"),
        ({"delay": TEN_YEARS + 1}, Invalid, "delay is"),
        ({"error": "x" * 4097}, Invalid, "4097.*4096"),
        ({"error": b"x"}, TypeError, "error must be a str, not bytes"),
    ],
    ids=["negative delay", "long delay", "long error", "bytes"],
)
def test_a_nack_with_a_bad_option_is_refused(
    queue: onceward.Queue, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    queue.send(b"x")
    delivery = take(queue)
    with pytest.raises(error, match=says):
        queue.nack([delivery], **options)
    with pytest.raises(error, match=says):
        delivery.nack(**options)
    assert queue.stats().in_flight == 1
    delivery.ack()


def test_a_reason_and_a_lease_outside_their_limits_are_refused(queue: onceward.Queue) -> None:
    queue.send(b"x")
    delivery = take(queue)
    with pytest.raises(Invalid, match=r"4097.*4096"):
        delivery.dead_letter("x" * 4097)
    with pytest.raises(TypeError, match="reason must be a str"):
        delivery.dead_letter(None)  # type: ignore[arg-type]
    for lease in (0, 43_201, -1, math.nan, math.inf):
        with pytest.raises(Invalid, match="lease is"):
            delivery.extend(lease)
    delivery.ack()


def test_options_are_keywords_only(store: onceward.Store, queue: onceward.Queue, path: str) -> None:
    call: Any
    for call in (
        lambda: onceward.open(path, 5),  # type: ignore[call-arg]
        lambda: store.queue("jobs", "at-least-once"),  # type: ignore[call-arg]
        lambda: queue.send(b"x", "key"),  # type: ignore[call-arg]
        lambda: queue.receive(1),  # type: ignore[call-arg]
        lambda: queue.consume(100),  # type: ignore[call-arg]
        lambda: onceward.Message(b"x", "key"),  # type: ignore[call-arg]
    ):
        with pytest.raises(TypeError, match="positional argument"):
            call()
    with pytest.raises(TypeError, match="unexpected keyword argument 'prio'"):
        queue.send(b"x", prio=1)  # type: ignore[call-arg]


def test_numbers_of_other_types_are_durations(queue: onceward.Queue) -> None:
    queue.send(b"x", delay=decimal.Decimal("0.001"))  # type: ignore[arg-type]
    assert take(queue).body == b"x"


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"busy_timeout": -1}, Invalid, "busy_timeout is -1 seconds"),
        ({"busy_timeout": math.nan}, Invalid, "busy_timeout is nan"),
        ({"busy_timeout": None}, None, ""),
        ({"body_bytes_max": 2**28 + 1}, Invalid, "268435457.*268435456"),
        ({"body_bytes_max": -1}, Invalid, "body_bytes_max is -1"),
        ({"body_bytes_max": 1.0}, TypeError, "body_bytes_max must be an int"),
        ({"wal_bytes_max": -1}, Invalid, "wal_bytes_max is -1"),
        ({"transaction_time_limit": 0}, Invalid, "transaction.time.limit is 0"),
        ({"transaction_time_limit": -1}, Invalid, "transaction_time_limit is -1 seconds"),
        ({"create": "yes"}, TypeError, "create"),
    ],
    ids=repr,
)
def test_open_with_a_bad_option_is_refused_and_creates_nothing(
    path: str, options: dict[str, Any], error: type[Exception] | None, says: str
) -> None:
    if error is None:
        onceward.open(path, **options).close()
        return
    with pytest.raises(error, match=says):
        onceward.open(path, **options)
    assert not Path(path).exists()


@pytest.mark.parametrize("path", [42, None, ["a"]], ids=repr)
def test_a_path_of_another_type_is_a_type_error(path: Any) -> None:
    with pytest.raises(TypeError):
        onceward.open(path)


def test_a_path_that_cannot_be_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="directory"):
        onceward.open(tmp_path)
    with pytest.raises((Invalid, onceward.NotFoundError)):
        onceward.open("")
    with pytest.raises((Invalid, ValueError)):
        onceward.open("a\0b")
    with pytest.raises(onceward.NotFoundError, match="missing"):
        onceward.open(tmp_path / "missing" / "app.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"x" * 4096, b"not a database at all", b"SQLite format 3\0" + b"\xff" * 4080, b"SQLite format 3\0"],
    ids=["garbage", "text", "a broken header", "a header alone"],
)
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "app.db"
    path.write_bytes(content)
    with pytest.raises((onceward.CorruptError, Invalid), match=r"app\.db"):
        onceward.open(path)
    assert path.read_bytes() == content


def test_what_the_operating_system_refuses_is_denied(program: Callable[..., Program], tmp_path: Path) -> None:
    code, output, errors = program("denied").finish()
    assert (code, errors) == (0, "")
    lines = dict(line.split(": ", 1) for line in output.splitlines())
    assert set(lines) == {"no permission", "read-only file", "unwritable folder", "unwritable folder, new file"}
    for case, outcome in lines.items():
        assert outcome.startswith("DeniedError Denied 12 "), (case, outcome)


def test_results_cannot_be_changed_or_made(queue: onceward.Queue) -> None:
    sent = queue.send(b"x")
    delivery = take(queue)
    for one, name in ((sent, "id"), (delivery, "attempt"), (delivery, "other"), (queue.stats(), "ready")):
        with pytest.raises(AttributeError):
            setattr(one, name, 1)
    for one_class in (onceward.Sent, onceward.Delivery, onceward.Stats, onceward.Store, onceward.Queue):
        with pytest.raises(TypeError):
            one_class()
