"""Opening, closing, queues and their settings."""

import datetime
import sqlite3
import stat
import threading
from pathlib import Path

import onceward
import pytest

from conftest import PATIENCE, take


def test_a_store_is_a_context_manager_that_closes(path: str) -> None:
    with onceward.open(path) as store:
        queue = store.queue("jobs", semantics="at-least-once")
        assert store.path == path
        assert repr(store) == f"Store(path={path!r})"
    with pytest.raises(onceward.ClosedError):
        queue.send(b"late")
    with pytest.raises(onceward.ClosedError):
        store.queues()
    store.close()


def test_a_path_may_be_a_path_object_and_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "größe.db"
    with onceward.open(path) as store:
        store.queue("jobs", semantics="at-least-once").send(b"x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_store_in_memory_works_and_is_gone_when_it_is_closed() -> None:
    with onceward.open(":memory:") as store:
        queue = store.queue("jobs", semantics="at-least-once")
        queue.send(b"x")
        assert take(queue).body == b"x"
    with onceward.open(":memory:") as store:
        assert store.queues() == []


def test_what_was_sent_is_there_after_reopening(path: str) -> None:
    with onceward.open(path) as store:
        sent = store.queue("jobs", semantics="at-least-once").send(b"kept", key="k")
    with onceward.open(path, create=False) as store:
        delivery = take(store.queue("jobs"))
        assert (delivery.id, delivery.body, delivery.key) == (sent.id, b"kept", "k")


def test_two_stores_of_one_process_share_a_file(path: str) -> None:
    with onceward.open(path) as one, onceward.open(path) as other:
        one.queue("jobs", semantics="at-least-once").send(b"x")
        assert take(other.queue("jobs")).body == b"x"


def test_create_false_says_that_the_file_is_missing(path: str) -> None:
    with pytest.raises(onceward.NotFoundError, match=r"app\.db"):
        onceward.open(path, create=False)
    assert not Path(path).exists()


def test_every_option_of_open_is_taken(path: str) -> None:
    with onceward.open(
        path,
        busy_timeout=datetime.timedelta(seconds=2),
        body_bytes_max=10,
        wal_bytes_max=64 << 20,
        allow_remote_file_system=False,
        create=True,
        transaction_time_limit=2.5,
    ) as store:
        queue = store.queue("jobs", semantics="at-least-once")
        queue.send(b"0123456789")
        with pytest.raises(onceward.InvalidArgumentError, match="body is 11 bytes; the limit is 10"):
            queue.send(b"01234567890")


def test_queues_lists_the_names(store: onceward.Store) -> None:
    assert store.queues() == []
    store.queue("b", semantics="at-least-once")
    store.queue("a", semantics="exactly-once")
    assert sorted(store.queues()) == ["a", "b"]


def test_other_semantics_are_a_conflict_that_names_both(store: onceward.Store) -> None:
    store.queue("jobs", semantics="at-least-once")
    with pytest.raises(onceward.ConflictError, match=r"(?s)(?=.*at-least-once)(?=.*exactly-once)"):
        store.queue("jobs", semantics="exactly-once")


def test_without_semantics_a_queue_must_exist(store: onceward.Store) -> None:
    with pytest.raises(onceward.NotFoundError, match="jobs"):
        store.queue("jobs")
    assert store.queues() == []
    store.queue("jobs", semantics="at-most-once")
    queue = store.queue("jobs")
    assert (queue.name, queue.semantics) == ("jobs", "at-most-once")
    assert repr(queue) == "Queue(name='jobs', semantics='at-most-once')"


def test_settings_start_with_the_documented_defaults(store: onceward.Store) -> None:
    settings = store.queue("jobs", semantics="at-least-once").settings()
    assert (settings.semantics, settings.lease, settings.attempts_max) == ("at-least-once", 30.0, 20)
    assert settings.deduplication_window == 24 * 3600
    assert settings.backoff == onceward.Backoff(first=1.0, factor=2.0, cap=3600.0, jitter=0.5) == onceward.Backoff()
    assert store.queue("payments", semantics="exactly-once").settings().deduplication_window == "forever"
    assert repr(settings).startswith("QueueSettings(semantics='at-least-once', lease=30.0, attempts_max=20, backoff=Ba")


def test_settings_that_are_given_are_kept_in_the_file_and_the_others_stay(path: str) -> None:
    with onceward.open(path) as store:
        store.queue(
            "jobs",
            semantics="at-least-once",
            lease=5,
            attempts_max="unlimited",
            backoff=onceward.Backoff(first=0.5, factor=3, cap=datetime.timedelta(minutes=1), jitter=0),
            deduplication_window=datetime.timedelta(hours=1),
        )
        store.queue("jobs", attempts_max=7)
        store.queue("jobs", semantics="at-least-once", deduplication_window="forever")
    with onceward.open(path) as store:
        settings = store.queue("jobs").settings()
    assert (settings.lease, settings.attempts_max, settings.deduplication_window) == (5.0, 7, "forever")
    backoff = settings.backoff
    assert (backoff.first, backoff.factor, backoff.cap, backoff.jitter) == (0.5, 3.0, 60.0, 0.0)
    assert repr(backoff) == "Backoff(first=0.5, factor=3.0, cap=60.0, jitter=0.0)"


def test_statistics_of_a_store_are_about_its_file(store: onceward.Store, path: str) -> None:
    store.queue("jobs", semantics="at-least-once").send(b"x")
    stats = store.stats()
    assert stats.file_bytes > 0
    assert Path(path).exists()
    assert stats.queues == 1
    assert stats.wal_bytes >= 0
    assert stats.in_doubt == 0
    assert tuple(map(int, stats.sqlite_version.split("."))) >= (3, 51, 3)
    assert repr(stats).startswith("StoreStats(file_bytes=")


def test_closing_wakes_a_waiting_receiver(path: str) -> None:
    store = onceward.open(path)
    queue = store.queue("jobs", semantics="at-least-once")
    entered = threading.Event()
    outcome: list[object] = []

    def receive() -> None:
        entered.set()
        try:
            outcome.append(queue.receive(wait=PATIENCE))
        except onceward.ClosedError as error:
            outcome.append(error)

    thread = threading.Thread(target=receive)
    thread.start()
    entered.wait(PATIENCE)
    store.close()
    thread.join(PATIENCE / 2)
    assert not thread.is_alive()
    assert isinstance(outcome[0], onceward.ClosedError)


@pytest.mark.parametrize("last", ["queue", "delivery"])
def test_the_last_handle_to_go_closes_the_store_while_other_threads_run(path: str, last: str) -> None:
    store = onceward.open(path)
    queue = store.queue("jobs", semantics="at-least-once")
    queue.send(b"a")
    handles: dict[str, object] = {"queue": queue, "delivery": queue.receive()}
    del store, queue
    others = sqlite3.connect(path, isolation_level=None)
    others.execute("BEGIN IMMEDIATE")  # Closing waits for it a moment.
    ticks = 0
    stop = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not stop.wait(0.001):
            ticks += 1

    thread = threading.Thread(target=tick)
    thread.start()
    final = handles.pop(last)
    handles.clear()
    before = ticks
    del final
    during = ticks - before
    stop.set()
    thread.join()
    assert during >= 5
