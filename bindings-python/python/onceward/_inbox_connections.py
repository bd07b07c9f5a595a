"""The connections an inbox works on: one small adapter each for sqlite3, psycopg and SQLAlchemy.

An adapter begins and ends transactions the way its driver wants it, runs statements whose parameters are written
`:name`, and knows what makes a connection unfit. None of the drivers is imported: whoever has a connection has its
module loaded.
"""

import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from ._errors import InvalidArgumentError

if TYPE_CHECKING:
    import sqlite3

    import psycopg
    import sqlalchemy
    from sqlalchemy.orm import Session, scoped_session

    from ._inbox_sql import _Dialect

    _Connection: TypeAlias = (
        sqlite3.Connection | psycopg.Connection[Any] | sqlalchemy.Connection | Session | scoped_session[Any]
    )

#: Stands from before the row until after the block: gone if the transaction was ended in between.
_SAVEPOINT = "onceward_inbox"
#: PRAGMA synchronous = FULL: a commit is on disk when it returns, whatever the journal.
_SYNCHRONOUS_FULL = 2
_SERIALIZATION_FAILURE, _DEADLOCK = "40001", "40P01"
_NO_TRANSACTION, _FAILED_TRANSACTION, _NO_SAVEPOINT = "25P01", "25P02", "3B001"
_SUPPORTED = "a sqlite3.Connection, a psycopg.Connection, or a Connection or Session of SQLAlchemy"

Parameters: TypeAlias = Mapping[str, object]


class Target(ABC):
    """A connection to the other database."""

    dialect: "_Dialect"

    @abstractmethod
    def check_usable(self) -> None:
        """Refuse a connection that is closed, or whose commits do not wait for the disk."""

    @abstractmethod
    def check_idle(self) -> None:
        """Refuse a connection that is inside a transaction."""

    @abstractmethod
    def begin(self) -> None:
        """Begin a transaction."""

    @abstractmethod
    def join(self) -> None:
        """See to it that the next statements belong to one transaction, or refuse a connection where they would not."""

    @abstractmethod
    def rows(self, statement: str, parameters: Parameters) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows, if it has any."""

    @abstractmethod
    def count(self, statement: str, parameters: Parameters) -> int:
        """Run a statement and return how many rows it changed."""

    @abstractmethod
    def commit(self) -> None:
        """Commit the transaction that `begin` began."""

    @abstractmethod
    def roll_back(self) -> None:
        """Roll back, from whatever state. Never raises: a connection that is gone has rolled back."""

    def inserted(self, statement: str, parameters: Parameters) -> bool:
        """Run an insert and return whether there was no such row."""
        if self.dialect == "sqlite":
            return self.count(statement, parameters) == 1
        return bool(self.rows(statement, parameters))

    def savepoint(self) -> None:
        """Set the savepoint. Only inside a transaction can it be set."""
        try:
            self.rows(f"SAVEPOINT {_SAVEPOINT}", {})
        except Exception as error:
            if _sqlstate(error) == _NO_TRANSACTION:
                raise _commits_each_statement() from error
            if _sqlstate(error) == _FAILED_TRANSACTION:
                raise _failed() from error
            raise

    def back_to_savepoint(self) -> None:
        """Undo what was done since the savepoint."""
        self.rows(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}", {})

    def release(self) -> None:
        """Give the savepoint up, which proves that the transaction is still the same one and can be committed."""
        try:
            self.rows(f"RELEASE SAVEPOINT {_SAVEPOINT}", {})
        except Exception as error:
            if _sqlstate(error) == _FAILED_TRANSACTION:
                raise _failed() from error
            if _sqlstate(error) in (_NO_SAVEPOINT, _NO_TRANSACTION) or "no such savepoint" in str(error):
                raise InvalidArgumentError(
                    "the transaction was committed or rolled back inside the block: leave that to the inbox; what the "
                    "block did after that is no part of it"
                ) from error
            raise

    def finish(self) -> None:
        """Commit the block, if it still is one transaction (PostgreSQL "commits" a failed one without a word)."""
        self.release()
        self.commit()

    @contextmanager
    def briefly(self) -> Iterator[None]:
        """Run the block in a transaction of its own."""
        self.begin()
        try:
            yield
            self.commit()
        except BaseException:
            self.roll_back()
            raise


def target_of(connection: "_Connection", table: str) -> Target:
    """Return the adapter of a connection."""
    given: Any = connection
    sa, orm = sys.modules.get("sqlalchemy"), sys.modules.get("sqlalchemy.orm")
    if orm is not None and isinstance(given, orm.scoped_session):
        given = given()
    target: Target
    if _is(given, "sqlite3", "Connection"):
        target = SqliteTarget(given)
    elif _is(given, "psycopg", "Connection"):
        target = PsycopgTarget(given)
    elif (sa is not None and isinstance(given, sa.Connection)) or (orm is not None and isinstance(given, orm.Session)):
        target = SqlalchemyTarget(given)
    else:
        kind = f"{type(given).__module__}.{type(given).__qualname__}"
        hint = "; an AsyncSession or AsyncConnection of SQLAlchemy has run_sync(inbox.record, delivery)"
        raise TypeError(f"connection must be {_SUPPORTED}, not {kind}{hint if 'Async' in kind else ''}")
    if target.dialect == "sqlite" and "." in table:
        raise InvalidArgumentError(f"table {table!r} names a schema; in SQLite the inbox is a table of the main file")
    return target


def is_serialization_failure(error: BaseException) -> bool:
    """Return whether PostgreSQL asks for the transaction to be run again."""
    return _sqlstate(error) in (_SERIALIZATION_FAILURE, _DEADLOCK)


class SqliteTarget(Target):
    """A connection of Python's sqlite3."""

    dialect: "_Dialect" = "sqlite"

    def __init__(self, connection: "sqlite3.Connection") -> None:
        """Take the connection."""
        self._connection = connection
        # From Python 3.12 on: True, False, or the legacy control by `isolation_level`. False: always in a transaction.
        self._mode = getattr(connection, "autocommit", None)
        self._always_inside = self._mode is False

    def check_usable(self) -> None:
        import sqlite3

        try:
            level = self.rows("PRAGMA main.synchronous", {})[0][0]
        except sqlite3.ProgrammingError as error:
            raise InvalidArgumentError(f"the connection cannot be used: {error}") from error
        check_synchronous(int(level))

    def check_idle(self) -> None:
        if self._connection.in_transaction and not self._always_inside:
            raise _inside()

    def begin(self) -> None:
        # At once for writing: a transaction that begins by reading may find that it cannot write any more.
        if not self._always_inside:
            self.rows("BEGIN IMMEDIATE", {})

    def join(self) -> None:
        if self._connection.in_transaction:
            return
        if self._mode is True or self._connection.isolation_level is None:
            raise _commits_each_statement()
        self.begin()

    def rows(self, statement: str, parameters: Parameters) -> list[tuple[Any, ...]]:
        return self._execute(statement, parameters).fetchall()

    def count(self, statement: str, parameters: Parameters) -> int:
        return self._execute(statement, parameters).rowcount

    def commit(self) -> None:
        if self._always_inside:
            self._connection.commit()
        else:
            self.rows("COMMIT", {})

    def roll_back(self) -> None:
        with suppress(Exception):
            if self._always_inside:
                self._connection.rollback()
            elif self._connection.in_transaction:
                self.rows("ROLLBACK", {})

    def _execute(self, statement: str, parameters: Parameters) -> "sqlite3.Cursor":
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return cursor.execute(statement, parameters)


class PsycopgTarget(Target):
    """A connection of psycopg 3."""

    dialect: "_Dialect" = "postgresql"

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        """Take the connection."""
        self._connection = connection
        self._transaction: Any = None

    def check_usable(self) -> None:
        info = self._connection.info
        if self._connection.closed:
            raise InvalidArgumentError("the connection is closed")
        if info.transaction_status.name == "INERROR":
            raise _failed()
        if info.pipeline_status.name != "OFF":
            raise InvalidArgumentError("the connection is in pipeline mode, in which errors come late; leave it first")

    def check_idle(self) -> None:
        if self._connection.info.transaction_status.name != "IDLE":
            raise _inside()

    def begin(self) -> None:
        # psycopg's own: it works on an autocommit connection too, and refuses commit() and rollback() in the block.
        self._transaction = self._connection.transaction()
        self._transaction.__enter__()

    def join(self) -> None:
        if self._connection.autocommit and self._connection.info.transaction_status.name == "IDLE":
            raise _commits_each_statement()

    def rows(self, statement: str, parameters: Parameters) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor:
            cursor.execute(_pyformat(statement), parameters)
            return cursor.fetchall() if cursor.description else []

    def count(self, statement: str, parameters: Parameters) -> int:
        with self._cursor() as cursor:
            return cursor.execute(_pyformat(statement), parameters).rowcount

    def commit(self) -> None:
        transaction, self._transaction = self._transaction, None
        transaction.__exit__(None, None, None)

    def roll_back(self) -> None:
        transaction, self._transaction = self._transaction, None
        with suppress(Exception):
            if transaction is not None:
                error = RuntimeError("rolled back")
                transaction.__exit__(RuntimeError, error, None)
        with suppress(Exception):
            if not self._connection.closed and self._connection.info.transaction_status.name != "IDLE":
                self._connection.rollback()

    def _cursor(self) -> "psycopg.Cursor[tuple[Any, ...]]":
        from psycopg.rows import tuple_row

        return self._connection.cursor(row_factory=tuple_row)


class SqlalchemyTarget(Target):
    """A connection or a session of SQLAlchemy 2."""

    def __init__(self, connection: "sqlalchemy.Connection | Session") -> None:
        """Take the connection or session. Raises InvalidArgumentError for a dialect without an inbox."""
        self._connection = connection
        self._is_session = _is(connection, "sqlalchemy.orm", "Session")
        bind: Any = connection.get_bind() if self._is_session else connection  # type: ignore[union-attr]
        name = bind.dialect.name
        if name not in ("postgresql", "sqlite"):
            raise InvalidArgumentError(f"the dialect is {name}; an inbox needs postgresql or sqlite")
        self.dialect = name

    def check_usable(self) -> None:
        if not self._is_session and self._connection.closed:  # type: ignore[union-attr]
            raise InvalidArgumentError("the connection is closed")

    def check_idle(self) -> None:
        if self._connection.in_transaction():
            raise _inside()

    def begin(self) -> None:
        self._connection.begin()

    def join(self) -> None:
        # The driver of PostgreSQL tells when the savepoint is set. That of SQLite would let a savepoint begin a
        # transaction.
        if self.dialect == "postgresql":
            return
        raw = self._current().connection.dbapi_connection
        if not _is(raw, "sqlite3", "Connection"):
            raise InvalidArgumentError(
                f"SQLAlchemy's driver for SQLite is {self._current().dialect.driver}; an inbox needs pysqlite"
            )
        target = SqliteTarget(raw)  # type: ignore[arg-type]
        target.check_usable()
        target.join()

    def rows(self, statement: str, parameters: Parameters) -> list[tuple[Any, ...]]:
        result = self._execute(statement, parameters)
        return [tuple(row) for row in result.fetchall()] if result.returns_rows else []

    def count(self, statement: str, parameters: Parameters) -> int:
        return self._execute(statement, parameters).rowcount

    def finish(self) -> None:
        if self._is_session:
            self._connection.flush()  # type: ignore[union-attr]
        super().finish()

    def commit(self) -> None:
        self._connection.commit()

    def roll_back(self) -> None:
        with suppress(Exception):
            self._connection.rollback()
        # After a commit that failed SQLAlchemy holds the transaction for ended, while SQLite still has it open. (A
        # session has given its connection back to the pool, which rolls back.)
        with suppress(Exception):
            if self.dialect == "sqlite" and not self._is_session:
                self._current().connection.rollback()

    def _current(self) -> "sqlalchemy.Connection":
        return self._connection.connection() if self._is_session else self._connection  # type: ignore

    def _execute(self, statement: str, parameters: Parameters) -> "sqlalchemy.CursorResult[Any]":
        from sqlalchemy import text

        return self._current().execute(text(statement), parameters)


def check_synchronous(level: int) -> None:
    """Refuse an SQLite connection that acknowledges commits which are not on disk."""
    if level < _SYNCHRONOUS_FULL:
        raise InvalidArgumentError(
            f"PRAGMA synchronous is {level} on this connection: a power loss could take the effect back after its "
            "message was acknowledged; set it to FULL"
        )


def _is(value: object, module: str, name: str) -> bool:
    """Return whether the value is of a class of a module, if that is loaded at all."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))


def _pyformat(statement: str) -> Any:
    return re.sub(r":(\w+)", r"%(\1)s", statement)


def _sqlstate(error: BaseException) -> str | None:
    """Return PostgreSQL's code of an error, from the driver's exception or from SQLAlchemy's around it."""
    cause = getattr(error, "orig", None) or error
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def _inside() -> InvalidArgumentError:
    return InvalidArgumentError(
        "the connection is inside a transaction: commit it or roll it back first (or use Inbox.record, and commit "
        "yourself)"
    )


def _failed() -> InvalidArgumentError:
    return InvalidArgumentError(
        "a statement failed and the block went on: PostgreSQL commits nothing of a transaction in which one has failed"
    )


def _commits_each_statement() -> InvalidArgumentError:
    return InvalidArgumentError(
        "the connection commits each statement by itself (autocommit): the effect and the row must be one commit"
    )
