"""Send and settle in a transaction of SQLAlchemy, over the same file: effect and acknowledgement are one commit.

    import onceward.sqlalchemy

    onceward.sqlalchemy.begin_immediate(engine)  # once, before the engine is used
    for delivery in payments.consume():
        with Session(engine) as session, session.begin():
            session.add(Entry(order_id=42, cents=1999))
            onceward.sqlalchemy.ack(session, delivery)

An error that the file raises (`LeaseLostError`, `ConflictError`, `InvalidArgumentError`, `NotFoundError`) has rolled
back the whole transaction. SQLAlchemy's own is invalidated with it: whoever catches the error inside of it gets a
`PendingRollbackError` from whatever comes next, its commit included.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import event, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from . import _sql

if TYPE_CHECKING:
    from ._onceward import Queue

__all__ = ["ack", "begin_immediate", "nack", "send"]


def begin_immediate(engine: Engine) -> None:
    """Let every transaction of the engine begin with BEGIN IMMEDIATE.

    Otherwise Python's sqlite3 begins one at its first INSERT, UPDATE or DELETE, so that what was read before that is no
    part of it.
    """

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def send(
    session: Session | Connection,
    queue: "Queue | str",
    body: bytes | bytearray | memoryview,
    *,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    priority: int | None = None,
    delay: float | timedelta | None = None,
    deliver_at: datetime | float | None = None,
    time_to_live: float | timedelta | None = None,
    ordering_key: str | None = None,
) -> None:
    """Send a message in the session's transaction, as `Queue.send` does; durations are seconds or timedeltas."""
    view, columns = _sql.send(
        queue,
        body,
        key=key,
        headers=headers,
        priority=priority,
        delay=delay,
        deliver_at=deliver_at,
        time_to_live=time_to_live,
        ordering_key=ordering_key,
    )
    _insert(session, view, columns)


def ack(session: Session | Connection, delivery: _sql.Held) -> None:
    """Acknowledge a delivery in the session's transaction; `LeaseLostError` if it is no longer the current one."""
    _insert(session, *_sql.ack(delivery))


def nack(
    session: Session | Connection,
    delivery: _sql.Held,
    *,
    delay: float | timedelta | None = None,
    error: str | None = None,
) -> None:
    """Give a delivery back in the session's transaction, after the delay or the queue's backoff."""
    _insert(session, *_sql.nack(delivery, delay, error))


def _insert(session: Session | Connection, view: str, columns: dict[str, _sql.Value]) -> None:
    statement = text(_sql.insert(view, [f":{name}" for name in columns], columns))
    try:
        session.execute(statement, cast(dict[str, Any], columns))
    except IntegrityError as error:
        known = _sql.raised(str(error.orig))
        if known is None:
            raise
        # SQLite has ended the transaction: a commit of it must not pass for a success.
        connection = session if isinstance(session, Connection) else session.connection()
        connection.invalidate(error)
        raise known from error
