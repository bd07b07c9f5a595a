"""The statements of the inbox, with parameters written `:name`, and its table for SQLAlchemy."""

from typing import TYPE_CHECKING, Literal, TypeAlias

from ._errors import InvalidArgumentError

if TYPE_CHECKING:
    import sqlalchemy

    _Dialect: TypeAlias = Literal["postgresql", "sqlite"]

#: One who creates the table holds this until the end of its transaction.
LOCK_CREATION = "SELECT pg_advisory_xact_lock(:number)"
TABLE_EXISTS = "SELECT to_regclass(:name)"

# The bytes decide whether two names are the same, and no change of a locale can reorder the index.
_POSTGRESQL = """\
CREATE TABLE IF NOT EXISTS {table} (
  source text COLLATE "C" NOT NULL,
  queue text COLLATE "C" NOT NULL,
  subscription text COLLATE "C" NOT NULL,
  message bigint NOT NULL,
  fingerprint bytea NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (source, queue, subscription, message)
)"""

_SQLITE = """\
CREATE TABLE IF NOT EXISTS {table} (
  source TEXT NOT NULL,
  queue TEXT NOT NULL,
  subscription TEXT NOT NULL,
  message INTEGER NOT NULL,
  fingerprint BLOB NOT NULL,
  applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (source, queue, subscription, message)
) WITHOUT ROWID"""

_KEY = "source = :source AND queue = :queue AND subscription = :subscription"


def ddl(dialect: "_Dialect", table: str) -> str:
    """Return the statement that creates the table."""
    templates = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE}
    if dialect not in templates:
        raise InvalidArgumentError(f"dialect {dialect!r} is none of postgresql, sqlite")
    return templates[dialect].format(table=quoted(table))


def insert(dialect: "_Dialect", table: str) -> str:
    """Return the statement that writes a row unless it is there. As it names the key, a table without it is an error.

    On PostgreSQL it also sees to it that the commit waits for the disk: the message is acknowledged after it.
    """
    statement = (
        f"INSERT INTO {quoted(table)} (source, queue, subscription, message, fingerprint) "
        "VALUES (:source, :queue, :subscription, :message, :fingerprint) "
        "ON CONFLICT (source, queue, subscription, message) DO NOTHING"
    )
    if dialect == "sqlite":
        return statement
    return (
        f"{statement} RETURNING CASE WHEN current_setting('synchronous_commit') = 'off' "
        "THEN set_config('synchronous_commit', 'on', true) END"
    )


def select_fingerprint(table: str) -> str:
    """Return the query for what is kept of one message."""
    return f"SELECT fingerprint FROM {quoted(table)} WHERE {_KEY} AND message = :message"


def select_rows(dialect: "_Dialect", table: str, *, aged: bool) -> str:
    """Return the query for the next messages of a subscription, of those with a certain age if `aged`."""
    older = ""
    if aged and dialect == "postgresql":
        older = "AND applied_at <= CURRENT_TIMESTAMP - make_interval(secs => :age) "
    elif aged:
        older = "AND julianday(applied_at) <= julianday('now') - :age / 86400.0 "
    return f"SELECT message FROM {quoted(table)} WHERE {_KEY} AND message > :after {older}ORDER BY message LIMIT :limit"


def delete_rows(table: str, count: int) -> str:
    """Return the statement that deletes `count` rows of a subscription: `message0`, `message1` and so on."""
    messages = ", ".join(f":message{number}" for number in range(count))
    return f"DELETE FROM {quoted(table)} WHERE {_KEY} AND message IN ({messages})"


def quoted(table: str) -> str:
    """Return the name as an identifier; its parts hold no quotes."""
    return ".".join(f'"{part}"' for part in table.split("."))


def sqlalchemy_table(metadata: "sqlalchemy.MetaData", table: str) -> "sqlalchemy.Table":
    """Return the table as SQLAlchemy sees it, added to the metadata."""
    import sqlalchemy as sa

    *schema, name = table.split(".")
    text = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")
    return sa.Table(
        name,
        metadata,
        sa.Column("source", text, primary_key=True, nullable=False),
        sa.Column("queue", text, primary_key=True, nullable=False),
        sa.Column("subscription", text, primary_key=True, nullable=False),
        sa.Column(
            "message",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            nullable=False,
            autoincrement=False,
        ),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column(
            "applied_at",
            sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite"),
            nullable=False,
            server_default=sa.text("CURRENT_TIMESTAMP"),
        ),
        schema=schema[0] if schema else None,
        sqlite_with_rowid=False,
    )
