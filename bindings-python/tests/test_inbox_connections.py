"""The inbox: what concerns one kind of connection, and what is refused."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import onceward
import psycopg
import pytest
import sqlalchemy as sa
from onceward.inbox import Inbox
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from conftest import PATIENCE, take
from inbox_databases import Database, do_effect, run

INBOX = Inbox("orders")
postgresql = pytest.mark.parametrize("database", ["psycopg"], indirect=True)
sqlite = pytest.mark.parametrize("database", ["sqlite3"], indirect=True)


@pytest.fixture
def message(exact: onceward.Queue) -> int:
    return exact.send(b"1", key="order-1").id


def apply(connection: Any, delivery: onceward.Delivery, inbox: Inbox = INBOX) -> bool:
    with inbox.transaction(connection, delivery) as first:
        if first:
            do_effect(connection, int(delivery.body))
    return first


def refused(words: str) -> Any:
    return pytest.raises(onceward.InvalidArgumentError, match=words)


# What PostgreSQL does in its own way.


@postgresql
def test_a_statement_that_failed_in_the_block_is_no_success(
    database: Database, exact: onceward.Queue, message: int
) -> None:
    connection = database.connect()
    with refused("a statement failed and the block went on"), INBOX.transaction(connection, take(exact)):
        do_effect(connection, 1)
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM nowhere")
    assert (database.effects(), database.messages()) == ([], [])
    assert apply(connection, take(exact)), "it was given back"


@postgresql
def test_a_commit_waits_for_the_disk_whatever_the_session_says(
    database: Database, exact: onceward.Queue, message: int
) -> None:
    connection = database.connect()
    run(connection, "SET synchronous_commit = off")
    connection.commit()
    with INBOX.transaction(connection, take(exact)):
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
    assert connection.execute("SHOW synchronous_commit").fetchone() == ("off",)


@postgresql
@pytest.mark.parametrize("level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
def test_a_strict_transaction_that_waited_in_vain_begins_again(
    database: Database, exact: onceward.Queue, message: int, level: psycopg.IsolationLevel
) -> None:
    connection, waiting = database.connect(), database.connect()
    waiting.isolation_level = level
    slow = exact.receive(lease=0.001)
    assert slow is not None
    other = take(exact)
    answers: list[bool] = []
    second = threading.Thread(target=lambda: answers.append(apply(waiting, other)))
    with INBOX.transaction(connection, slow):
        second.start()
        with database.plainly() as plain:
            until(lambda: plain.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0] > 0)
        do_effect(connection, 1)
    second.join(PATIENCE)
    assert answers == [False]
    assert database.effects() == [1]


def until(is_so: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(int(PATIENCE * 100)):
        if is_so():
            return
        waiting.wait(0.01)
    raise AssertionError("not in time")


@postgresql
def test_a_serialization_failure_in_the_block_gives_the_message_back(
    database: Database, exact: onceward.Queue, message: int
) -> None:
    connection = database.connect()
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    do_effect(connection, 7)
    connection.commit()
    with pytest.raises(psycopg.errors.SerializationFailure), INBOX.transaction(connection, take(exact)):
        with database.plainly() as plain:
            plain.execute("UPDATE effects SET number = 8")
        connection.execute("UPDATE effects SET number = 9")
    assert apply(connection, take(exact))
    assert database.effects() == [1, 8]


@postgresql
def test_a_connection_that_is_lost_in_the_block_gives_the_message_back(
    database: Database, exact: onceward.Queue, message: int
) -> None:
    connection = database.connect()
    with pytest.raises(psycopg.OperationalError), INBOX.transaction(connection, take(exact)):
        do_effect(connection, 1)
        with database.plainly() as plain:
            plain.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
    with refused("the connection is closed"):
        apply(connection, again := take(exact))
    assert (again.attempt, again.settled) == (2, False)
    assert apply(database.connect(), again)
    assert database.effects() == [1]


@postgresql
def test_while_the_table_is_away_no_attempt_is_counted(database: Database, exact: onceward.Queue, message: int) -> None:
    connection = database.connect()
    for _ in range(10):
        with pytest.raises(psycopg.errors.UndefinedTable):
            apply(connection, take(exact), Inbox("orders", table="missing"))
    assert take(exact).attempt == 1


@postgresql
def test_a_connection_in_a_pipeline_is_refused(database: Database, exact: onceward.Queue, message: int) -> None:
    connection = database.connect()
    with connection.pipeline(), refused("pipeline"):
        apply(connection, take(exact))


@postgresql
def test_a_table_in_a_schema_is_found_there(database: Database, exact: onceward.Queue, message: int) -> None:
    connection = database.connect()
    [schema] = connection.execute("SELECT current_schema()").fetchone()
    connection.commit()
    inbox = Inbox("orders", table=f"{schema}.elsewhere")
    inbox.create(connection)
    assert apply(connection, take(exact), inbox)
    assert database.messages("elsewhere") == [message]


@postgresql
def test_a_role_that_may_not_create_finds_the_table_that_is_there(database: Database, postgres_server: str) -> None:
    connection = database.connect()
    [schema] = connection.execute("SELECT current_schema()").fetchone()
    role = f"role_{schema}"
    for statement in (
        f"CREATE ROLE {role}",
        f"GRANT USAGE ON SCHEMA {schema} TO {role}",
        f"GRANT SELECT, INSERT, DELETE ON onceward_inbox TO {role}",
        f"SET ROLE {role}",
    ):
        run(connection, statement)
    connection.commit()
    INBOX.create(connection)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        Inbox("orders", table="missing").create(connection)


# What SQLite does in its own way.


@sqlite
@pytest.mark.parametrize("level", ["NORMAL", "OFF"])
def test_a_connection_whose_commits_do_not_wait_for_the_disk_is_refused(
    database: Database, exact: onceward.Queue, message: int, level: str
) -> None:
    connection = database.connect()
    run(connection, f"PRAGMA synchronous = {level}")
    delivery = take(exact)
    with refused("PRAGMA synchronous is"):
        apply(connection, delivery)
    with refused("PRAGMA synchronous is"):
        INBOX.record(connection, delivery)
    assert not delivery.settled
    assert database.effects() == []
    assert apply(database.connect(), delivery)


@sqlite
def test_a_busy_file_gives_the_message_back_unused(database: Database, exact: onceward.Queue, message: int) -> None:
    connection = database.connect()
    run(connection, "PRAGMA busy_timeout = 1")
    with database.plainly() as plain:
        plain.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            apply(connection, take(exact))
        plain.execute("ROLLBACK")
    again = take(exact)
    assert again.attempt == 1
    assert apply(connection, again)


def test_the_stores_own_file_will_do(path: str, exact: onceward.Queue, message: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE effects (number INTEGER, parent INTEGER)")
        connection.commit()
        INBOX.create(connection)
        with pytest.raises(KeyError), INBOX.transaction(connection, take(exact)):
            do_effect(connection, 1)
            raise KeyError
        assert apply(connection, take(exact))
        assert INBOX.prune(connection, exact) == 1
        assert connection.execute("SELECT number FROM effects").fetchall() == [(1,)]
        assert exact.unfinished([message]) == []


class AlwaysInside(sqlite3.Connection):
    """As `autocommit=False` has it from Python 3.12 on: a transaction is open at all times."""

    autocommit = False

    def __init__(self, file: Path) -> None:
        super().__init__(file, isolation_level=None)
        self.execute("BEGIN")

    def commit(self) -> None:
        self.execute("COMMIT")
        self.execute("BEGIN")

    def rollback(self) -> None:
        self.execute("ROLLBACK")
        self.execute("BEGIN")


@sqlite
def test_a_connection_that_is_always_inside_a_transaction_stays_so(
    tmp_path: Path, database: Database, exact: onceward.Queue, message: int
) -> None:
    with closing(AlwaysInside(tmp_path / "effects.db")) as connection:
        INBOX.create(connection)
        with pytest.raises(KeyError), INBOX.transaction(connection, take(exact)):
            do_effect(connection, 1)
            raise KeyError
        assert apply(connection, take(exact))
        assert database.effects() == [1]
        assert INBOX.prune(connection, exact) == 1
        assert connection.in_transaction


@sqlite
def test_a_schema_is_refused(database: Database, exact: onceward.Queue, message: int) -> None:
    with refused("names a schema"):
        Inbox("orders", table="other.inbox").create(database.connect())


# SQLAlchemy.


class Base(DeclarativeBase):
    pass


class Effect(Base):
    __tablename__ = "effects"
    number: Mapped[int] = mapped_column(primary_key=True)


@pytest.mark.parametrize("database", ["SQLAlchemy session, postgresql", "SQLAlchemy session, sqlite"], indirect=True)
def test_objects_of_a_session_are_written_in_the_one_commit(
    database: Database, exact: onceward.Queue, message: int
) -> None:
    session: Session = database.connect()
    with pytest.raises(KeyError), INBOX.transaction(session, take(exact)):
        session.add(Effect(number=1))
        raise KeyError
    assert database.effects() == []
    with INBOX.transaction(session, take(exact)):
        session.add(Effect(number=1))
    assert (database.effects(), database.messages()) == ([1], [message])
    assert exact.unfinished([message]) == []


@pytest.mark.parametrize(
    "database", ["SQLAlchemy connection, postgresql", "SQLAlchemy connection, sqlite"], indirect=True
)
def test_metadata_creates_the_same_table(database: Database, exact: onceward.Queue, message: int) -> None:
    connection: sa.Connection = database.connect()
    inbox, metadata = Inbox("orders", table="of_metadata"), sa.MetaData()
    table = inbox.sqlalchemy_table(metadata)
    metadata.create_all(connection)
    connection.commit()
    assert apply(connection, take(exact), inbox)
    [row] = connection.execute(sa.select(table)).all()
    connection.commit()
    assert (row.source, row.queue, row.subscription, row.message) == ("orders", "payments", "default", message)
    assert row.applied_at is not None
    with database.plainly() as plain:
        plain.execute("DROP TABLE of_metadata")
    inbox.create(connection)
    columns = sa.inspect(connection).get_columns("of_metadata")
    connection.commit()
    assert [(column["name"], str(column["type"]), column["nullable"]) for column in columns] == [
        (column.name, column.type.compile(connection.dialect).removesuffix(' COLLATE "C"'), False)
        for column in table.columns
    ] or database.is_postgres


@pytest.mark.parametrize("database", ["SQLAlchemy session, sqlite"], indirect=True)
def test_a_scoped_session_is_the_session_of_its_scope(database: Database, exact: onceward.Queue, message: int) -> None:
    scoped = scoped_session(sessionmaker(database.connect().get_bind()))
    assert apply_scoped(scoped, take(exact))
    scoped.remove()
    assert database.effects() == [1]


def apply_scoped(scoped: scoped_session[Session], delivery: onceward.Delivery) -> bool:
    with INBOX.transaction(scoped, delivery) as first:
        scoped.execute(sa.text("INSERT INTO effects (number) VALUES (1)"))
    return first


@postgresql
def test_an_asynchronous_session_records_by_itself(database: Database, exact: onceward.Queue, message: int) -> None:
    async def work() -> list[bool]:
        engine = create_async_engine(
            "postgresql+psycopg://", async_creator=lambda: psycopg.AsyncConnection.connect(database.address)
        )
        answers = []
        async with AsyncSession(engine) as session:
            for _ in range(2):
                delivery = await asyncio.to_thread(take, exact)
                async with session.begin():
                    answers.append(await session.run_sync(INBOX.record, delivery))
                    if answers[-1]:
                        session.add(Effect(number=1))
                delivery.release() if answers[-1] else delivery.ack()
        await engine.dispose()
        return answers

    assert asyncio.run(work()) == [True, False]
    assert database.effects() == [1]


@pytest.mark.parametrize(
    "database", ["SQLAlchemy connection, postgresql", "SQLAlchemy connection, sqlite"], indirect=True
)
def test_sqlalchemys_autocommit_is_refused(database: Database, exact: onceward.Queue, message: int) -> None:
    delivery = take(exact)
    connection = database.connect().execution_options(isolation_level="AUTOCOMMIT")
    with refused("autocommit"):
        apply(connection, delivery)
    with refused("autocommit"):
        INBOX.record(connection, delivery)
    connection.rollback()
    assert (database.effects(), database.messages(), delivery.settled) == ([], [], False)


def test_another_dialect_is_refused(exact: onceward.Queue, message: int) -> None:
    with Session(sa.create_mock_engine("mysql://", lambda *_: None)) as session, refused("dialect is mysql"):  # type: ignore[arg-type]
        INBOX.create(session)


# What is refused everywhere.


def test_a_connection_inside_a_transaction_is_refused(database: Database, exact: onceward.Queue, message: int) -> None:
    connection, delivery = database.connect(), take(exact)
    if "sqlite3 without" in database.kind or "autocommit" in database.kind:
        run(connection, "BEGIN")
    do_effect(connection, 7)
    for call in (
        lambda: apply(connection, delivery),
        lambda: INBOX.create(connection),
        lambda: INBOX.prune(connection, exact),
    ):
        with refused("inside a transaction"):
            call()
    connection.commit()
    assert database.effects() == [7]
    assert not delivery.settled
    assert apply(connection, delivery)


def test_recording_on_a_connection_that_commits_each_statement_is_refused(
    database: Database, exact: onceward.Queue, message: int
) -> None:
    if "without" not in database.kind and "autocommit" not in database.kind:
        return
    delivery = take(exact)
    with refused("autocommit"):
        INBOX.record(database.connect(), delivery)
    assert (database.messages(), delivery.settled) == ([], False)


def test_a_closed_connection_is_refused(database: Database, exact: onceward.Queue, message: int) -> None:
    connection, delivery = database.connect(), take(exact)
    connection.close()
    if "session" in database.kind:
        assert apply(connection, delivery), "a session that was closed begins anew"
        return
    with refused("closed"):
        apply(connection, delivery)
    assert not delivery.settled


@sqlite
def test_what_is_no_delivery_or_no_longer_one_is_refused(
    database: Database, store: onceward.Store, exact: onceward.Queue, message: int
) -> None:
    connection, delivery = database.connect(), take(exact)
    with pytest.raises(TypeError, match="delivery must be a Delivery, not Receipt"):
        apply(connection, delivery.receipt)  # type: ignore[arg-type]
    delivery.release()
    with refused("already settled"):
        apply(connection, delivery)
    lossy = store.queue("lossy", semantics="at-most-once")
    lossy.send(b"1")
    with refused("'lossy' is at-most-once"):
        apply(connection, take(lossy))
    assert (database.effects(), database.messages()) == ([], [])


@sqlite
def test_a_delivery_settled_in_the_block_is_an_error_after_the_commit(
    database: Database, exact: onceward.Queue, message: int
) -> None:
    connection, delivery = database.connect(), take(exact)
    with refused("already settled"), INBOX.transaction(connection, delivery):
        do_effect(connection, 1)
        delivery.ack()
    assert database.effects() == [1]


@sqlite
def test_a_store_closed_in_the_meantime_leaves_the_message_to_be_recognised(
    path: str, database: Database, store: onceward.Store, exact: onceward.Queue, message: int
) -> None:
    connection, delivery = database.connect(), take(exact)
    with pytest.raises(onceward.ClosedError), INBOX.transaction(connection, delivery):
        do_effect(connection, 1)
        store.close()
    assert database.effects() == [1]
    with onceward.open(path) as again:
        assert not apply(connection, take(again.queue("payments")))
    with pytest.raises(onceward.ClosedError):
        apply(connection, delivery)
    assert database.effects() == [1]


@sqlite
def test_an_ended_subscription_applies_nothing(database: Database, store: onceward.Store) -> None:
    queue = store.queue("both", semantics="at-least-once", subscriptions=["audit", "billing"])
    queue.send(b"1")
    connection, delivery = database.connect(), take(queue.subscription("audit"))
    queue.unsubscribe("audit")
    with pytest.raises(onceward.NotFoundError):
        apply(connection, delivery)
    assert (database.effects(), database.messages()) == ([], [])


@sqlite
def test_pruning_by_another_queues_rows_deletes_nothing(
    database: Database, store: onceward.Store, exact: onceward.Queue, message: int
) -> None:
    connection = database.connect()
    assert apply(connection, take(exact))
    with database.plainly() as plain:
        plain.execute("UPDATE onceward_inbox SET queue = 'other'")
    with refused("belongs to another queue"):
        INBOX.prune(connection, store.queue("other", semantics="exactly-once"))
    assert database.messages() == [message]


@sqlite
@pytest.mark.parametrize("age", [-1, float("nan"), float("inf"), timedelta(days=-1), 3_155_760_001])
def test_an_impossible_age_is_refused(database: Database, exact: onceward.Queue, age: float) -> None:
    with refused("older_than is .* it takes 0 to"):
        INBOX.prune(database.connect(), exact, older_than=age)


@sqlite
def test_wrong_types_are_refused(database: Database, exact: onceward.Queue) -> None:
    with pytest.raises(TypeError, match="older_than must be a number of seconds or a timedelta, not str"):
        INBOX.prune(database.connect(), exact, older_than="1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="receiver must be a Queue or a Subscription, not str"):
        INBOX.prune(database.connect(), "payments")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"connection must be a sqlite3\.Connection, .* not builtins\.object"):
        INBOX.create(object())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"AsyncConnection.*run_sync"):
        INBOX.create(object.__new__(psycopg.AsyncConnection))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="source must be a str, not int"):
        Inbox(7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="table must be a str, not bytes"):
        Inbox("orders", table=b"inbox")  # type: ignore[arg-type]
    with refused("dialect 'mysql' is none of postgresql, sqlite"):
        INBOX.ddl("mysql")  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["", "s" * 513, "é" * 257, "a\0b", "a\nb", "\udc80"])
def test_a_source_that_cannot_be_kept_is_refused(source: str) -> None:
    with refused("source"):
        Inbox(source)


@pytest.mark.parametrize("table", ["", "Inbox", "1st", "a.b.c", 'a"b', "a b", "i" * 64, "inbox;", "inbox\n", ".a"])
def test_a_table_that_is_no_plain_name_is_refused(table: str) -> None:
    with refused("is no name for the inbox"):
        Inbox("orders", table=table)


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite"])
def test_the_page_about_the_inbox_shows_the_table_as_it_is(dialect: Any) -> None:
    page = Path(__file__).parents[2] / "docs" / "inbox.md"
    assert Inbox("shop").ddl(dialect) in page.read_text()


def test_names_at_their_limits_are_taken() -> None:
    inbox = Inbox("s" * 512, table=f"{'a' * 63}.{'b' * 63}")
    assert (inbox.source, inbox.table) == ("s" * 512, f"{'a' * 63}.{'b' * 63}")


def test_no_driver_is_imported_for_it() -> None:
    program = "import sys, onceward.inbox; print([n for n in ('sqlite3', 'psycopg', 'sqlalchemy') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    yield
    assert [thread for thread in threading.enumerate() if not thread.daemon] == [threading.main_thread()]


@pytest.mark.parametrize("failing", ["the block", "the entry"])
def test_a_message_that_cannot_be_given_back_to_its_consumer_comes_again_when_its_lease_ends(
    path: str, tmp_path: Path, failing: str
) -> None:
    """Others keep the store busy, so the nack or the release fails; a consumer must not extend the lease then."""
    effects = sqlite3.connect(tmp_path / "effects.db", timeout=0)
    INBOX.create(effects)
    others = sqlite3.connect(path, isolation_level=None)
    beside = sqlite3.connect(tmp_path / "effects.db", isolation_level=None)
    options = {"semantics": "exactly-once", "lease": 1, "backoff": onceward.Backoff(first=0, jitter=0)}
    with onceward.open(path, busy_timeout=0.2) as store:
        queue = store.queue("q", **options)  # type: ignore[arg-type]
        queue.send(b"1", key="order-1")
        consumer = queue.consume(wait=PATIENCE)
        delivery = next(consumer)
        others.execute("BEGIN IMMEDIATE")
        with pytest.raises((LookupError, sqlite3.OperationalError)):
            if failing == "the entry":
                beside.execute("BEGIN IMMEDIATE")
            with INBOX.transaction(effects, delivery):
                raise LookupError
        others.execute("COMMIT")
        if beside.in_transaction:
            beside.execute("COMMIT")
        again = next(consumer)
        assert (again.id, again.attempt) == (delivery.id, 2)
        with INBOX.transaction(effects, again) as first:
            assert first
        consumer.close()
