"""The inbox: the effect in another database happens once, on every kind of connection."""

import threading
from collections.abc import Iterator
from typing import Any

import onceward
import psycopg
import pytest
import sqlalchemy as sa
from onceward.inbox import Inbox

from conftest import PATIENCE, take
from inbox_databases import Database, do_effect, run

INBOX = Inbox("orders")
#: What a driver raises when the commit fails.
DRIVER_ERRORS = (psycopg.Error, sa.exc.DBAPIError, __import__("sqlite3").Error)


@pytest.fixture
def connection(database: Database) -> Any:
    return database.connect()


def send(queue: onceward.Queue, number: int = 1) -> int:
    return queue.send(str(number).encode(), key=f"order-{number}").id


def apply(connection: Any, delivery: onceward.Delivery, inbox: Inbox = INBOX) -> bool:
    with inbox.transaction(connection, delivery) as first:
        if first:
            do_effect(connection, int(delivery.body))
    return first


def crash_before_the_ack(connection: Any, delivery: onceward.Delivery) -> None:
    """Commit the effect, and give the message back as if its holder had died."""
    apply(connection, Unacknowledged(delivery))  # type: ignore[arg-type]
    delivery.release()


class Unacknowledged:
    """A delivery whose holder does not live to acknowledge it."""

    def __init__(self, delivery: onceward.Delivery) -> None:
        self._delivery = delivery

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return onceward.Delivery

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delivery, name)

    def ack(self) -> None:
        pass


def counts(receiver: onceward.Receiver) -> tuple[int, int, int]:
    stats = receiver.stats()
    return stats.ready + stats.delayed, stats.in_flight, stats.dead


def test_the_effect_is_committed_and_then_the_message_acknowledged(
    database: Database, connection: Any, exact: onceward.Queue
) -> None:
    message = send(exact)
    with INBOX.transaction(connection, take(exact)) as first:
        assert first
        do_effect(connection, 1)
        assert (database.effects(), database.messages()) == ([], [])
        assert counts(exact) == (0, 1, 0)
    assert (database.effects(), database.messages()) == ([1], [message])
    assert counts(exact) == (0, 0, 0)
    assert exact.unfinished([message]) == []


def test_a_message_that_comes_again_is_recognised_and_acknowledged(
    database: Database, connection: Any, exact: onceward.Queue
) -> None:
    send(exact)
    crash_before_the_ack(connection, take(exact))
    assert database.effects() == [1]
    with INBOX.transaction(connection, take(exact)) as first:
        assert not first
    assert database.effects() == [1]
    assert counts(exact) == (0, 0, 0)


def test_an_exception_rolls_back_and_gives_the_message_back(
    database: Database, connection: Any, exact: onceward.Queue
) -> None:
    send(exact)
    with pytest.raises(KeyError, match="no such customer"), INBOX.transaction(connection, take(exact)):
        do_effect(connection, 1)
        raise KeyError("no such customer")
    assert (database.effects(), database.messages()) == ([], [])
    assert counts(exact) == (1, 0, 0)
    again = take(exact)
    assert again.attempt == 2
    assert apply(connection, again)
    assert database.effects() == [1]


def test_the_exception_is_kept_with_the_dead_letter(store: onceward.Store, database: Database, connection: Any) -> None:
    queue = store.queue("strict", semantics="exactly-once", attempts_max=1)
    send(queue)
    with pytest.raises(ValueError), INBOX.transaction(connection, take(queue)):
        raise ValueError("bad\0cents " + "é" * 5000)
    [letter] = queue.dead_letters()
    assert letter.error is not None
    assert letter.error.startswith("ValueError: bad\ufffdcents éé")
    assert len(letter.error.encode()) in (4095, 4096)


def test_a_commit_that_fails_gives_the_message_back(database: Database, connection: Any, exact: onceward.Queue) -> None:
    send(exact)
    with pytest.raises(DRIVER_ERRORS), INBOX.transaction(connection, take(exact)):
        do_effect(connection, 1, parent=7)
    assert (database.effects(), database.messages()) == ([], [])
    assert counts(exact) == (1, 0, 0)
    assert apply(connection, take(exact))
    assert database.effects() == [1]


def test_a_redriven_message_is_still_the_same(database: Database, connection: Any, exact: onceward.Queue) -> None:
    message = send(exact)
    crash_before_the_ack(connection, take(exact))
    take(exact).dead_letter("given up")
    assert INBOX.prune(connection, exact) == 0
    assert exact.redrive() == 1
    again = take(exact)
    assert again.id == message
    assert not apply(connection, again)
    assert database.effects() == [1]


def test_the_messages_of_a_consumer_are_settled_like_any_other(
    database: Database, connection: Any, exact: onceward.Queue
) -> None:
    for number in range(20):
        send(exact, number)
    with exact.consume(wait=0) as deliveries:
        for delivery in deliveries:
            apply(connection, delivery)
    assert database.effects() == list(range(20))
    assert counts(exact) == (0, 0, 0)


def test_subscriptions_queues_and_sources_do_not_take_one_message_for_another(
    tmp_path: Any, store: onceward.Store, database: Database, connection: Any
) -> None:
    both = store.queue("both", semantics="exactly-once", subscriptions=["audit", "billing"])
    send(both)
    assert all(apply(connection, take(both.subscription(name))) for name in ("audit", "billing"))
    other = store.queue("other", semantics="exactly-once")
    send(other)
    assert apply(connection, take(other))
    with onceward.open(tmp_path / "second.db") as second:
        again = second.queue("both", semantics="exactly-once", subscriptions=["audit"])
        send(again)
        assert apply(connection, take(again.subscription("audit")), Inbox("second"))
    assert database.effects() == [1, 1, 1, 1]


def test_another_store_under_the_same_source_is_found_out(
    tmp_path: Any, database: Database, connection: Any, exact: onceward.Queue
) -> None:
    message = send(exact)
    apply(connection, take(exact))
    with onceward.open(tmp_path / "second.db") as second:
        backoff = onceward.Backoff(first=0, cap=0)
        other = second.queue("payments", semantics="exactly-once", backoff=backoff, attempts_max=2)
        assert send(other, 2) == message
        for _ in range(2):
            with pytest.raises(onceward.ConflictError, match="two stores share the source name"):
                apply(connection, take(other))
        [letter] = other.dead_letters()
        assert letter.error is not None
        assert letter.error.startswith("ConflictError: the inbox onceward_inbox knows message")
    assert database.effects() == [1]


def test_who_lost_its_lease_finds_the_effect_of_the_other(
    database: Database, connection: Any, exact: onceward.Queue
) -> None:
    send(exact)
    slow, other = lost(exact)
    assert apply(database.connect(), other)
    assert not apply(connection, slow)
    assert database.effects() == [1]


def test_an_effect_committed_after_the_lease_was_lost_is_the_only_one(
    database: Database, connection: Any, exact: onceward.Queue
) -> None:
    send(exact)
    slow, other = lost(exact)
    assert apply(connection, slow)
    assert counts(exact) == (0, 1, 0), "its acknowledgement came too late, which is no error"
    assert not apply(database.connect(), other)
    assert database.effects() == [1]
    assert counts(exact) == (0, 0, 0)


@pytest.mark.parametrize("outcome", ["commits", "rolls back"])
def test_of_two_at_once_the_second_waits_and_exactly_one_does_the_effect(
    database: Database, connection: Any, exact: onceward.Queue, outcome: str
) -> None:
    send(exact)
    slow, other = lost(exact)
    answers: list[bool] = []
    second = threading.Thread(target=lambda: answers.append(apply(database.connect(), other)))
    try:
        with INBOX.transaction(connection, slow) as first:
            assert first
            do_effect(connection, 1)
            second.start()
            second.join(0.2)
            assert answers == []
            if outcome == "rolls back":
                raise KeyError
    except KeyError:
        pass
    second.join(PATIENCE)
    assert answers == [outcome == "rolls back"]
    assert database.effects() == [1]
    assert counts(exact) == (0, 0, 0)


def lost(queue: onceward.Queue) -> tuple[onceward.Delivery, onceward.Delivery]:
    """Return two deliveries of one message: the lease of the first has ended."""
    first = queue.receive(lease=0.001)
    assert first is not None
    return first, take(queue)


def test_pruning_deletes_the_rows_of_finished_messages_only(
    database: Database, connection: Any, exact: onceward.Queue
) -> None:
    messages = [send(exact, number) for number in range(5)]
    held = [take(exact) for _ in messages]
    apply(connection, held[0])
    for delivery in held[1:]:
        apply(connection, Unacknowledged(delivery))  # type: ignore[arg-type]
    held[2].release()
    held[3].nack(delay=3600)
    held[4].dead_letter("given up")
    assert INBOX.prune(connection, exact) == 1
    assert database.messages() == messages[1:]
    held[1].ack()
    assert INBOX.prune(connection, exact) == 1
    assert exact.purge_dead() == 1
    assert INBOX.prune(connection, exact) == 1
    assert not apply(connection, take(exact))
    assert INBOX.prune(connection, exact) == 1
    assert database.messages() == [messages[3]]
    assert database.effects() == list(range(5))


def test_pruning_concerns_one_source_queue_and_subscription(
    store: onceward.Store, database: Database, connection: Any, exact: onceward.Queue
) -> None:
    both = store.queue("both", semantics="exactly-once", subscriptions=["audit", "billing"])
    send(exact)
    apply(connection, take(exact))
    send(both)
    audit, billing = both.subscription("audit"), both.subscription("billing")
    apply(connection, take(audit))
    apply(connection, take(billing))
    assert Inbox("another").prune(connection, exact) == 0
    assert INBOX.prune(connection, audit) == 1
    with pytest.raises(onceward.NotFoundError, match="default"):
        INBOX.prune(connection, both)
    assert len(database.messages()) == 2
    assert INBOX.prune(connection, exact) == 1
    assert INBOX.prune(connection, billing) == 1
    assert database.messages() == []


def test_who_slept_while_the_row_was_pruned_does_not_repeat_the_effect(
    database: Database, connection: Any, exact: onceward.Queue
) -> None:
    send(exact)
    slow, other = lost(exact)
    assert apply(connection, other)
    assert INBOX.prune(connection, exact) == 1
    with INBOX.transaction(connection, slow) as first:
        assert not first, "no row is left to say so; the store does"
    assert (database.effects(), database.messages()) == ([1], [])


def test_pruning_goes_on_past_what_it_looks_at_at_once(
    store: onceward.Store, database: Database, connection: Any
) -> None:
    queue = store.queue("many", semantics="at-least-once")
    messages = [sent.id for sent in queue.send_many([b"x"] * 1201)]
    held = queue.receive_many(2000)
    queue.ack([delivery for delivery in held if delivery.id % 2])
    with database.plainly() as plain:
        run(plain, "INSERT INTO onceward_inbox (source, queue, subscription, message, fingerprint) " + rows(messages))
    assert INBOX.prune(connection, queue, older_than=3600) == 0
    assert INBOX.prune(connection, queue, older_than=0) == len([message for message in messages if message % 2])
    assert database.messages() == [message for message in messages if message % 2 == 0]


def rows(messages: list[int]) -> str:
    values = ", ".join(f"('orders', 'many', 'default', {message}, '')" for message in messages)
    return f"VALUES {values}"


def test_the_block_must_not_end_the_transaction_itself(
    database: Database, connection: Any, exact: onceward.Queue
) -> None:
    send(exact)
    with (
        pytest.raises(onceward.InvalidArgumentError, match="inside the block"),
        INBOX.transaction(connection, take(exact)),
    ):
        run(connection, "ROLLBACK")
        run(connection, "BEGIN")
        do_effect(connection, 1)
    assert (database.effects(), database.messages()) == ([], [])
    assert apply(connection, take(exact))


def test_the_connections_own_commit_does_not_do_either(
    database: Database, connection: Any, exact: onceward.Queue
) -> None:
    send(exact)
    refused = (onceward.InvalidArgumentError, psycopg.ProgrammingError, sa.exc.InvalidRequestError)
    with pytest.raises(refused), INBOX.transaction(connection, take(exact)):
        connection.rollback()
        # Where each statement is a commit of its own from here on, nobody could take the effect back.
        if database.kind != "sqlite3 without its own begins":
            do_effect(connection, 1)
    assert (database.effects(), database.messages()) == ([], [])


def test_a_transaction_of_the_callers_own_takes_the_row_and_the_effect(
    database: Database, connection: Any, exact: onceward.Queue
) -> None:
    send(exact)
    delivery = take(exact)
    run(connection, "BEGIN") if needs_begin(database) else None
    assert INBOX.record(connection, delivery)
    do_effect(connection, 1)
    connection.rollback()
    assert (database.effects(), database.messages()) == ([], [])
    run(connection, "BEGIN") if needs_begin(database) else None
    assert INBOX.record(connection, delivery)
    do_effect(connection, 1)
    connection.commit()
    assert (database.effects(), database.messages()) == ([1], [delivery.id])
    run(connection, "BEGIN") if needs_begin(database) else None
    assert not INBOX.record(connection, delivery)
    connection.rollback()
    delivery.ack()
    assert counts(exact) == (0, 0, 0)


def needs_begin(database: Database) -> bool:
    return database.kind in ("psycopg, autocommit", "sqlite3 without its own begins")


def test_the_table_can_be_created_again_and_by_many_at_once(database: Database) -> None:
    inbox = Inbox("orders", table="another_inbox")
    errors: list[BaseException] = []

    def create(connection: Any) -> None:
        try:
            inbox.create(connection)
            inbox.create(connection)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=create, args=[database.connect()]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert errors == []
    assert database.messages("another_inbox") == []


def test_the_statement_for_migrations_is_the_table_that_is_used(
    database: Database, connection: Any, exact: onceward.Queue
) -> None:
    dialect = "postgresql" if database.is_postgres else "sqlite"
    inbox = Inbox("orders", table="migrated")
    with database.plainly() as plain:
        plain.execute(inbox.ddl(dialect))  # type: ignore[arg-type]
    send(exact)
    assert apply(connection, take(exact), inbox)
    assert len(database.messages("migrated")) == 1


def test_a_table_without_its_key_is_refused(database: Database, connection: Any, exact: onceward.Queue) -> None:
    with database.plainly() as plain:
        run(plain, "CREATE TABLE keyless AS SELECT * FROM onceward_inbox")
    send(exact)
    with pytest.raises(DRIVER_ERRORS, match="ON CONFLICT"):
        apply(connection, take(exact), Inbox("orders", table="keyless"))
    assert (database.effects(), database.messages("keyless")) == ([], [])
    again = take(exact)
    assert again.attempt == 1, "it was given back unused"
    assert apply(connection, again)


@pytest.fixture(autouse=True)
def nothing_left_open(database: Database) -> Iterator[None]:
    """Whatever happened, the connections are as they were found: outside of any transaction."""
    yield
    for connection in database._open:
        inside = connection.in_transaction() if callable(getattr(connection, "in_transaction", None)) else None
        if isinstance(connection, psycopg.Connection):
            inside = connection.info.transaction_status.name != "IDLE"
        assert not (connection.in_transaction if inside is None else inside)
