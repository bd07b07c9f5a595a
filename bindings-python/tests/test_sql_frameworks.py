"""The helpers for SQLAlchemy and Django: the application's own models and a queue in one commit."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import onceward
import onceward.sqlalchemy
import pytest
from django.conf import settings  # type: ignore[import-untyped]

from conftest import PATIENCE, take

if not settings.configured:
    settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}, USE_TZ=True)

import django  # type: ignore[import-untyped]
from django.db import (  # type: ignore[import-untyped]
    DEFAULT_DB_ALIAS,
    IntegrityError,
    connections,
    models,
    transaction,
)
from django.db.transaction import TransactionManagementError  # type: ignore[import-untyped]
from sqlalchemy import Engine, create_engine, func, select, text
from sqlalchemy.exc import PendingRollbackError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

django.setup()

import onceward.django  # noqa: E402


class Base(DeclarativeBase):
    """The models of SQLAlchemy."""


class Entry(Base):
    """An effect."""

    __tablename__ = "entries"
    id: Mapped[int] = mapped_column(primary_key=True)
    cents: Mapped[int]


class DjangoEntry(models.Model):  # type: ignore[misc]
    """The same for Django."""

    cents = models.IntegerField()

    class Meta:
        """Of no installed application."""

        app_label = "shop"
        db_table = "entries"


@pytest.fixture(params=["immediate", "as it is"])
def engine(request: pytest.FixtureRequest, path: str, store: onceward.Store) -> Iterator[Engine]:
    """Make an engine on the store's file."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": PATIENCE})
    if request.param == "immediate":
        onceward.sqlalchemy.begin_immediate(engine)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def count(engine: Engine) -> int:
    with Session(engine) as session:
        return session.scalars(select(func.count()).select_from(Entry)).one()


def test_sqlalchemy_sends_and_settles_in_its_transaction(engine: Engine, exact: onceward.Queue) -> None:
    with Session(engine) as session, session.begin():
        session.add(Entry(cents=1999))
        onceward.sqlalchemy.send(session, exact, b"a", key="a", headers={"größe": "1"}, time_to_live=timedelta(hours=1))
        onceward.sqlalchemy.send(session, "payments", bytearray(b"b"), key="b", delay=3600)
    stats = exact.stats()
    assert (stats.ready, stats.delayed) == (1, 1)
    delivery = take(exact)
    assert (delivery.body, delivery.headers) == (b"a", {"größe": "1"})
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO entries(cents) VALUES (1)"))
        onceward.sqlalchemy.nack(connection, delivery, delay=0, error="again")
    delivery = take(exact)
    assert delivery.attempt == 2
    with pytest.raises(ZeroDivisionError), Session(engine) as session, session.begin():
        onceward.sqlalchemy.ack(session, delivery)
        raise ZeroDivisionError
    assert exact.stats().in_flight == 1
    with Session(engine) as session, session.begin():
        session.add(Entry(cents=5))
        onceward.sqlalchemy.ack(session, delivery.receipt)
    assert (exact.stats().in_flight, count(engine)) == (0, 3)


def test_sqlalchemy_commits_nothing_after_a_lost_lease(engine: Engine, exact: onceward.Queue) -> None:
    exact.send(b"x", key="k")
    delivery = take(exact)
    delivery.ack()
    with pytest.raises(onceward.LeaseLostError), Session(engine) as session, session.begin():
        session.add(Entry(cents=1999))
        session.flush()
        onceward.sqlalchemy.ack(session, delivery)
    # Whoever swallows the error can do no more in this transaction, nor commit it.
    with pytest.raises(PendingRollbackError), Session(engine) as session, session.begin():
        session.add(Entry(cents=1999))
        session.flush()
        with pytest.raises(onceward.LeaseLostError), session.begin_nested():
            onceward.sqlalchemy.ack(session, delivery)
        with pytest.raises(PendingRollbackError):
            session.execute(select(Entry))
    with pytest.raises(PendingRollbackError), engine.begin() as connection:
        connection.execute(text("INSERT INTO entries(cents) VALUES (1)"))
        with pytest.raises(onceward.ConflictError):
            onceward.sqlalchemy.send(connection, exact, b"other", key="k")
    with pytest.raises(PendingRollbackError), Session(engine) as session:
        session.add(Entry(cents=1999))
        session.flush()
        with pytest.raises(onceward.LeaseLostError):
            onceward.sqlalchemy.nack(session, delivery)
        session.commit()
    assert count(engine) == 0


def test_arguments_that_cannot_be_sent_through_sql_are_refused(engine: Engine, exact: onceward.Queue) -> None:
    for arguments, error in (
        ({"body": "text"}, onceward.InvalidArgumentError),
        ({"body": 5}, onceward.InvalidArgumentError),
        ({"body": [1]}, onceward.InvalidArgumentError),
        ({"body": b"", "deliver_at": datetime(2030, 1, 1)}, onceward.InvalidArgumentError),
        ({"body": b"", "headers": {"raw": b"1"}}, onceward.InvalidArgumentError),
        ({"body": b"", "headers": {"two": "a\nb"}}, onceward.InvalidArgumentError),
        ({"body": b"", "headers": {"a:b": "c"}}, onceward.InvalidArgumentError),
        ({"body": b"", "delay": float("nan")}, onceward.InvalidArgumentError),
        ({"body": b"", "delay": -1}, onceward.InvalidArgumentError),
        ({"body": b"", "priority": 10}, onceward.InvalidArgumentError),
        ({"body": b"", "queue": "nowhere"}, onceward.NotFoundError),
    ):
        row = {"queue": exact, "key": "k", **arguments}
        with pytest.raises(error), Session(engine) as session, session.begin():
            onceward.sqlalchemy.send(session, **row)  # type: ignore[arg-type]
    assert exact.stats().ready == 0


@pytest.fixture
def shop(path: str, store: onceward.Store) -> Iterator[type[DjangoEntry]]:
    """Let Django's default database be the store's file."""
    options = {"transaction_mode": "IMMEDIATE", "timeout": PATIENCE}
    before = connections.databases[DEFAULT_DB_ALIAS].copy()
    connections.databases[DEFAULT_DB_ALIAS].update(NAME=path, OPTIONS=options)
    connections[DEFAULT_DB_ALIAS].close()
    del connections[DEFAULT_DB_ALIAS]
    with connections[DEFAULT_DB_ALIAS].schema_editor() as editor:
        editor.create_model(DjangoEntry)
    yield DjangoEntry
    connections[DEFAULT_DB_ALIAS].close()
    del connections[DEFAULT_DB_ALIAS]
    connections.databases[DEFAULT_DB_ALIAS] = before


def test_django_sends_and_settles_in_its_transaction(shop: type[DjangoEntry], exact: onceward.Queue) -> None:
    with transaction.atomic():
        shop.objects.create(cents=1999)
        onceward.django.send(exact, b"a", key="a", headers={"größe": "1"})
    delivery = take(exact)
    with transaction.atomic():
        onceward.django.nack(delivery, delay=0, error="again")
    delivery = take(exact)
    assert (delivery.body, delivery.attempt, delivery.headers) == (b"a", 2, {"größe": "1"})
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        onceward.django.ack(delivery)
        raise ZeroDivisionError
    assert exact.stats().in_flight == 1
    with transaction.atomic():
        shop.objects.create(cents=5)
        onceward.django.ack(delivery)
    assert (exact.stats().in_flight, shop.objects.count()) == (0, 2)


def test_django_commits_nothing_after_a_lost_lease(shop: type[DjangoEntry], exact: onceward.Queue) -> None:
    exact.send(b"x", key="k")
    delivery = take(exact)
    delivery.ack()
    with pytest.raises(onceward.LeaseLostError), transaction.atomic():
        shop.objects.create(cents=1999)
        onceward.django.ack(delivery)
    with pytest.raises(TransactionManagementError), transaction.atomic():
        shop.objects.create(cents=1999)
        with pytest.raises(onceward.ConflictError), transaction.atomic():
            onceward.django.send(exact, b"other", key="k")
        shop.objects.create(cents=1999)
    with transaction.atomic():
        shop.objects.create(cents=1999)
        with pytest.raises(onceward.LeaseLostError):
            onceward.django.ack(delivery)
    assert shop.objects.count() == 0
    with pytest.raises(IntegrityError, match="NOT NULL"):
        shop.objects.create(cents=None)
