"""Send and settle in a transaction of Django, over the same file: the effect and the acknowledgement are one commit.

    import onceward.django

    for delivery in payments.consume():
        with transaction.atomic():
            Entry.objects.create(order_id=42, cents=1999)
            onceward.django.ack(delivery)

Set `"OPTIONS": {"transaction_mode": "IMMEDIATE"}` for the database, or a block that reads before it writes may find it
locked. An error that the file raises (`LeaseLostError`, `ConflictError`, `InvalidArgumentError`, `NotFoundError`) has
rolled back the whole transaction, outer blocks too. Let it leave the outermost block: Django runs no further query
before its end, but ends a block in which the error was caught without another.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections  # type: ignore[import-untyped]

from . import _sql

if TYPE_CHECKING:
    from ._onceward import Queue

__all__ = ["ack", "nack", "send"]


def send(
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
    using: str = DEFAULT_DB_ALIAS,
) -> None:
    """Send a message in the current transaction, as `Queue.send` does; durations are seconds or timedeltas."""
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
    _insert(using, view, columns)


def ack(delivery: _sql.Held, *, using: str = DEFAULT_DB_ALIAS) -> None:
    """Acknowledge a delivery in the current transaction; `LeaseLostError` if it is no longer the current one."""
    _insert(using, *_sql.ack(delivery))


def nack(
    delivery: _sql.Held,
    *,
    delay: float | timedelta | None = None,
    error: str | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> None:
    """Give a delivery back in the current transaction, after the delay or the queue's backoff."""
    _insert(using, *_sql.nack(delivery, delay, error))


def _insert(using: str, view: str, columns: dict[str, _sql.Value]) -> None:
    connection = connections[using]
    try:
        with connection.cursor() as cursor:
            cursor.execute(_sql.insert(view, ["%s"] * len(columns), columns), list(columns.values()))
    except IntegrityError as error:
        known = _sql.raised(str(error))
        if known is None:
            raise
        if connection.in_atomic_block:
            # SQLite has ended the transaction: what follows must not be committed statement by statement.
            connection.set_rollback(True)
        raise known from error
