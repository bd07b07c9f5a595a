"""The databases that the tests of the inbox do effects in, each behind the same few calls."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from onceward.inbox import Inbox
from psycopg.rows import dict_row
from sqlalchemy.orm import Session

#: The foreign key is looked at when the transaction commits, so that a test can make a commit fail.
CREATE = (
    "CREATE TABLE parents (number INTEGER PRIMARY KEY)",
    "CREATE TABLE effects (number INTEGER NOT NULL, parent INTEGER "
    "REFERENCES parents (number) DEFERRABLE INITIALLY DEFERRED)",
)

#: Every kind of connection that an inbox takes.
KINDS = (
    "sqlite3",
    "sqlite3 without its own begins",
    "sqlite3 with rows",
    "psycopg",
    "psycopg, autocommit",
    "psycopg with dicts",
    "SQLAlchemy connection, postgresql",
    "SQLAlchemy session, postgresql",
    "SQLAlchemy connection, sqlite",
    "SQLAlchemy session, sqlite",
)


class Database:
    """One fresh database; `connect` opens connections of its kind, which are closed at the end of the test."""

    def __init__(self, kind: str, file: Path, postgres: Callable[[], str]) -> None:
        """Create it, with its tables and an inbox."""
        self.kind = kind
        self.is_postgres = "psycopg" in kind or "postgresql" in kind
        self._file = file
        self._uri = postgres() if self.is_postgres else ""
        self._engine: sa.Engine | None = None
        self._open: list[Any] = []
        with self.plainly() as connection:
            for statement in CREATE:
                connection.execute(statement)
        Inbox("orders").create(self.connect())

    @property
    def address(self) -> str:
        """What another program finds it by: the address of the server, or the path of the file."""
        return self._uri or str(self._file)

    def connect(self) -> Any:
        """Open another connection."""
        connection = self._connect()
        self._open.append(connection)
        return connection

    def _connect(self) -> Any:
        if self.kind.startswith("SQLAlchemy"):
            if self._engine is None:
                address = "postgresql+psycopg://" if self.is_postgres else "sqlite://"
                self._engine = sa.create_engine(address, creator=self._raw, poolclass=sa.pool.NullPool)
            return Session(self._engine) if "session" in self.kind else self._engine.connect()
        raw = self._raw()
        match self.kind:
            case "psycopg, autocommit":
                raw.autocommit = True
            case "psycopg with dicts":
                raw.row_factory = dict_row
            case "sqlite3 without its own begins":
                raw.isolation_level = None
            case "sqlite3 with rows":
                raw.row_factory = sqlite3.Row
                raw.text_factory = bytes
        return raw

    def _raw(self) -> Any:
        if self.is_postgres:
            return psycopg.connect(self._uri)
        connection = sqlite3.connect(self._file, timeout=30, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    @contextmanager
    def plainly(self) -> Iterator[Any]:
        """Look at it, or change it, with a connection that commits each statement by itself."""
        connection = psycopg.connect(self._uri, autocommit=True) if self.is_postgres else sqlite3.connect(self._file)
        try:
            if isinstance(connection, sqlite3.Connection):
                connection.isolation_level = None
            yield connection
        finally:
            connection.close()

    def effects(self) -> list[int]:
        """Return the numbers of the effects that are committed, sorted."""
        with self.plainly() as connection:
            return [row[0] for row in connection.execute("SELECT number FROM effects ORDER BY number").fetchall()]

    def messages(self, table: str = "onceward_inbox") -> list[int]:
        """Return the messages that the inbox knows, sorted."""
        with self.plainly() as connection:
            return [row[0] for row in connection.execute(f"SELECT message FROM {table} ORDER BY message").fetchall()]

    def close(self) -> None:
        """Close every connection."""
        for connection in self._open:
            connection.close()
        if self._engine is not None:
            self._engine.dispose()


def run(connection: Any, statement: str) -> None:
    """Run a statement as a user of that connection would."""
    if isinstance(connection, sa.Connection | Session):
        connection.execute(sa.text(statement))
    else:
        connection.cursor().execute(statement)


def do_effect(connection: Any, number: int, parent: int | None = None) -> None:
    """Do an effect; one with a parent that is not there fails at the commit."""
    run(connection, f"INSERT INTO effects (number, parent) VALUES ({number}, {parent if parent else 'NULL'})")
