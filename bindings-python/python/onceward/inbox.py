"""An inbox in another database: the effect of a message there happens once, however often the message is delivered.

    import psycopg
    from onceward.inbox import Inbox

    inbox = Inbox("orders.db")  # a name for the store's file, for ever
    inbox.create(connection)
    for delivery in payments.consume():
        with inbox.transaction(connection, delivery) as first:
            if first:
                connection.execute("INSERT INTO entries(order_id, cents) VALUES (%s, %s)", (42, 1999))

The block and a row that names the message are one commit of that database; the message is acknowledged after it. A
message that comes again finds its row: `first` is False, the block does nothing, and the message is acknowledged.

Connections are those of `sqlite3` and `psycopg`, and the connections and sessions of SQLAlchemy 2 on PostgreSQL and
SQLite. Nothing of these is imported here; onceward needs none of them.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from . import _inbox_sql as sql
from ._errors import ConflictError, Error, InvalidArgumentError, LeaseLostError
from ._inbox_connections import Target, is_serialization_failure, target_of
from ._onceward import Delivery, Queue, Subscription

if TYPE_CHECKING:
    import sqlalchemy

    from ._inbox_connections import _Connection
    from ._inbox_sql import _Dialect

__all__ = ["Inbox"]

_Duration: TypeAlias = float | timedelta

_TABLE = re.compile(r"(?:[a-z_][a-z0-9_]{0,62}\.)?[a-z_][a-z0-9_]{0,62}")
_SOURCE_BYTES_MAX = 512
#: The longest error text that a nack keeps.
_TEXT_BYTES_MAX = 4096
#: The subscription that a queue's own calls stand for.
_DEFAULT_SUBSCRIPTION = "default"
#: How often the row is tried to be inserted when PostgreSQL asks for the transaction to be repeated.
_ENTRIES_MAX = 5
#: Rows that prune looks at in one transaction.
_PRUNE_ROWS = 500
_AGE_SECONDS_MAX = 3_155_760_000


class Inbox:
    """A table of another database that says which messages of one store have had their effect there.

    `source` names the store's file, for ever: 1 to 512 bytes of text. It is part of every row, so that several stores
    may share a table. Nothing in the file could serve: its path changes when it is moved, and a copy of it is another
    store. Give each file a name of its own, and keep the name when the file moves.

    `table` is a name of lower-case letters, digits and underscores, on PostgreSQL with a schema before it if you like.

    An Inbox holds no connection and may be used from any thread.
    """

    def __init__(self, source: str, *, table: str = "onceward_inbox") -> None:
        """Name the store's file and the table; nothing is opened. Raises InvalidArgumentError for an unfit name."""
        _check_text("source", source)
        if not 1 <= len(source.encode()) <= _SOURCE_BYTES_MAX:
            size = len(source.encode())
            raise InvalidArgumentError(f"source is {size} bytes of text; it takes 1 to {_SOURCE_BYTES_MAX}")
        if not isinstance(table, str):
            raise TypeError(f"table must be a str, not {type(table).__name__}")
        if not _TABLE.fullmatch(table):
            raise InvalidArgumentError(
                f"table {table!r} is no name for the inbox: it takes at most 63 lower-case letters, digits and "
                "underscores, after a schema and a dot if need be"
            )
        self._source = source
        self._table = table

    @property
    def source(self) -> str:
        """The name of the store's file in the rows."""
        return self._source

    @property
    def table(self) -> str:
        """The name of the table."""
        return self._table

    def ddl(self, dialect: "_Dialect") -> str:
        """Return the statement that creates the table, for "postgresql" or "sqlite", to go into a migration."""
        return sql.ddl(dialect, self._table)

    def sqlalchemy_table(self, metadata: "sqlalchemy.MetaData") -> "sqlalchemy.Table":
        """Add the table to a SQLAlchemy MetaData, for `create_all` and for Alembic, and return it."""
        return sql.sqlalchemy_table(metadata, self._table)

    def create(self, connection: "_Connection") -> None:
        """Create the table where it is missing, in a transaction of its own. Several processes may do so at once.

        Raises InvalidArgumentError for a connection that is closed or inside a transaction, and the driver's own
        errors.
        """
        target = self._idle(connection)
        target.begin()
        try:
            if target.dialect == "postgresql":
                # Of several that create one table at once, all but one would fail.
                target.rows(sql.LOCK_CREATION, {"number": int.from_bytes(_digest(self._table)[:7])})
            if target.dialect != "postgresql" or target.rows(sql.TABLE_EXISTS, {"name": self._table}) == [(None,)]:
                target.rows(sql.ddl(target.dialect, self._table), {})
            target.commit()
        except BaseException:
            target.roll_back()
            raise

    @contextmanager
    def transaction(self, connection: "_Connection", delivery: Delivery) -> Iterator[bool]:
        """Run the block in a transaction of `connection`, for a message; the block gets whether it is the first time.

        When it is (True), do the effect on the same connection. When it is not (False), the effect is there already: do
        nothing. At the end of the block the effect and the row of the message are committed together, and then the
        message is acknowledged; do neither yourself. The connection must not be inside a transaction when the block
        begins.

        An exception in the block, or of the commit, rolls back and gives the message back (nack, with the exception as
        its error text). After a commit whose outcome is unknown the message comes again, and the row decides. An
        exception before the block gives the message back unused, so that no attempt is counted while the other database
        is away. A lease that was lost meanwhile is no error: the row stands, and whoever has the message now will find
        it.

        Raises ConflictError (and nacks) when the row is that of another message: two stores share the source name, or
        the file was replaced by another or by an older copy. Raises InvalidArgumentError, with nothing done, for a
        connection that is closed, inside a transaction, committing each statement by itself, or not syncing its
        commits, for a delivery already settled or of an at-most-once queue, and when the block ended the transaction
        itself or went on after a statement that failed in it. Raises whatever the driver and `Delivery.ack` raise.
        """
        _check_delivery(delivery)
        target = self._idle(connection)
        first = self._enter(target, delivery)
        try:
            yield first
            target.finish()
        except BaseException as error:
            target.roll_back()
            _give_back(delivery, error)
            raise
        with suppress(LeaseLostError):
            delivery.ack()

    def record(self, connection: "_Connection", delivery: Delivery) -> bool:
        """Write the row of a message in the transaction that `connection` is in; return whether it is the first time.

        For those who commit by themselves: a framework's transaction, SQLAlchemy's AsyncSession.run_sync. Do the effect
        in the same transaction if this returned True; commit; acknowledge the message only then, in both cases. When
        anything fails, roll back and nack.

        Raises ConflictError and InvalidArgumentError as `transaction` does; roll back then.
        """
        _check_delivery(delivery)
        target = target_of(connection, self._table)
        target.check_usable()
        target.join()
        target.savepoint()
        first = self._insert(target, delivery)
        target.release()
        return first

    def prune(
        self, connection: "_Connection", receiver: Queue | Subscription, *, older_than: _Duration | None = None
    ) -> int:
        """Delete the rows of messages that are finished for the queue (its subscription "default") or the subscription.

        A row is deleted only when its message can never be delivered again, and that is on disk: not while it is ready,
        delayed, in flight or dead. Consumers may be at work meanwhile, also such as have lost their lease. `older_than`
        (seconds or a timedelta, by the other database's clock) keeps rows that are younger. It works in transactions of
        its own, 500 rows each. Returns how many rows were deleted.

        Raises InvalidArgumentError when a row names a message that is no message of the queue in this file (deleting
        none of its batch), and for a connection as `transaction` does; NotFoundError when the subscription was ended;
        whatever the driver raises. What was deleted before the error stays so.
        """
        if not isinstance(receiver, Queue | Subscription):
            raise TypeError(f"receiver must be a Queue or a Subscription, not {type(receiver).__name__}")
        age = None if older_than is None else _seconds("older_than", older_than)
        target = self._idle(connection)
        key: dict[str, object] = {
            "source": self._source,
            "queue": receiver.name if isinstance(receiver, Queue) else receiver.queue.name,
            "subscription": _DEFAULT_SUBSCRIPTION if isinstance(receiver, Queue) else receiver.name,
        }
        select = sql.select_rows(target.dialect, self._table, aged=age is not None)
        limits = {"limit": _PRUNE_ROWS} if age is None else {"limit": _PRUNE_ROWS, "age": age}
        after, deleted = 0, 0
        while True:
            with target.briefly():
                rows = target.rows(select, {**key, **limits, "after": after})
            ids = [int(row[0]) for row in rows]
            unfinished = set(receiver.unfinished(ids))
            finished = [message for message in ids if message not in unfinished]
            if finished:
                named = {f"message{number}": message for number, message in enumerate(finished)}
                with target.briefly():
                    deleted += target.count(sql.delete_rows(self._table, len(finished)), {**key, **named})
            if len(ids) < _PRUNE_ROWS:
                return deleted
            after = ids[-1]

    def _idle(self, connection: "_Connection") -> Target:
        """Return the connection as a target, checked to be outside of any transaction."""
        target = target_of(connection, self._table)
        target.check_usable()
        target.check_idle()
        return target

    def _enter(self, target: Target, delivery: Delivery) -> bool:
        """Begin the transaction and write the row. Should PostgreSQL ask for it, begin again: no block has run yet."""
        entries = 0
        while True:
            entries += 1
            try:
                target.begin()
                target.join()
                target.savepoint()
                return self._insert(target, delivery)
            except BaseException as error:
                target.roll_back()
                if is_serialization_failure(error) and entries < _ENTRIES_MAX:
                    continue
                if isinstance(error, ConflictError):
                    _give_back(delivery, error)
                elif not isinstance(error, InvalidArgumentError):
                    _release(delivery)
                raise

    def _insert(self, target: Target, delivery: Delivery) -> bool:
        """Write the row unless it is there, inside the savepoint. Returns whether this is the message's first time."""
        subscription = delivery.subscription
        key: dict[str, object] = {
            "source": self._source,
            "queue": delivery.queue.name,
            "subscription": subscription.name,
            "message": delivery.id,
        }
        fingerprint = _fingerprint(delivery)
        if target.inserted(sql.insert(target.dialect, self._table), {**key, "fingerprint": fingerprint}):
            # No row is no proof: another consumer may have finished the message, and its row may have been pruned,
            # while this one slept. Asked after the insert, the store knows: a row is pruned only when its message is
            # finished.
            if subscription.unfinished([delivery.id]):
                return True
            target.back_to_savepoint()
            return False
        # Pruned just now, it stood for this message: a row is deleted only when nobody can need it.
        found = target.rows(sql.select_fingerprint(self._table), key)
        if found and bytes(found[0][0]) != fingerprint:
            raise ConflictError(
                f"the inbox {self._table} knows message {delivery.id} of queue {key['queue']!r}, source "
                f"{self._source!r}, as another one: two stores share the source name, or the store's file was replaced"
            )
        return False


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if "\0" in value or not value.isprintable():
        raise InvalidArgumentError(f"{name} {value!r} holds characters that cannot be printed")


def _check_delivery(delivery: Delivery) -> None:
    if not isinstance(delivery, Delivery):
        raise TypeError(f"delivery must be a Delivery, not {type(delivery).__name__}")
    if delivery.settled:
        raise InvalidArgumentError(f"the delivery of message {delivery.id} is already settled")
    if delivery.queue.semantics == "at-most-once":
        raise InvalidArgumentError(
            f"queue {delivery.queue.name!r} is at-most-once: its messages never come again, and an inbox would promise "
            "what the queue does not keep; do the effect without one"
        )


def _seconds(name: str, value: _Duration) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
        raise TypeError(f"{name} must be a number of seconds or a timedelta, not {type(value).__name__}")
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not 0 <= seconds <= _AGE_SECONDS_MAX:
        raise InvalidArgumentError(f"{name} is {value} seconds; it takes 0 to {_AGE_SECONDS_MAX}")
    return seconds


def _digest(*parts: str | bytes) -> bytes:
    """Hash the parts so that no two lists of them share a hash."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode()
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.digest()


def _fingerprint(delivery: Delivery) -> bytes:
    """Return what tells a message from another one with the same id, and is the same in every delivery of it."""
    sent_at = delivery.sent_at.isoformat()
    return _digest(sent_at, delivery.key or "", delivery.ordering_key or "", delivery.body)[:16]


def _give_back(delivery: Delivery, error: BaseException) -> None:
    """Nack with the exception as the error text. Should that fail, the lease runs out, which does the same."""
    text = f"{type(error).__name__}: {error}".replace("\0", "\N{REPLACEMENT CHARACTER}")
    text = text.encode(errors="replace")[:_TEXT_BYTES_MAX].decode(errors="ignore")
    try:
        delivery.nack(error=text)
    except Error:
        delivery._let_go()


def _release(delivery: Delivery) -> None:
    """Give back unused. Should that fail, the lease runs out."""
    try:
        delivery.release()
    except Error:
        delivery._let_go()
