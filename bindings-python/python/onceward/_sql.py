"""What the helpers for SQLAlchemy and Django share: statements for the views of the file, and what their errors mean.

The views are described in docs/sql.md. Nothing here imports a driver.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from ._errors import BY_NUMBER, Error, InvalidArgumentError

if TYPE_CHECKING:
    from ._onceward import Queue

Value = str | bytes | int | None


class Held(Protocol):
    """What settles a delivery: a `Delivery` or a `Receipt`."""

    @property
    def id(self) -> int:
        """The id of the message."""

    @property
    def token(self) -> int:
        """The fencing token of the delivery."""


def send(
    queue: "Queue | str",
    body: bytes | bytearray | memoryview,
    *,
    key: str | None,
    headers: Mapping[str, str] | None,
    priority: int | None,
    delay: float | timedelta | None,
    deliver_at: datetime | float | None,
    time_to_live: float | timedelta | None,
    ordering_key: str | None,
) -> tuple[str, dict[str, Value]]:
    """Return the view and the columns that send a message."""
    if not isinstance(body, bytes | bytearray | memoryview):
        raise InvalidArgumentError(f"body is a {type(body).__name__}; it takes bytes")
    if isinstance(deliver_at, datetime) and deliver_at.tzinfo is None:
        raise InvalidArgumentError(f"deliver_at is {deliver_at}, a datetime without a time zone; give it one")
    return "onceward_send", {
        "queue": queue if isinstance(queue, str) else queue.name,
        "key": key,
        "body": bytes(body),
        "headers": _headers(headers),
        "priority": priority,
        "delay_ms": _milliseconds(delay),
        "due_at_ms": _milliseconds(deliver_at.timestamp() if isinstance(deliver_at, datetime) else deliver_at),
        "time_to_live_ms": _milliseconds(time_to_live),
        "ordering_key": ordering_key,
    }


def ack(delivery: Held) -> tuple[str, dict[str, Value]]:
    """Return the view and the columns that acknowledge a delivery."""
    return "onceward_ack", {"message": delivery.id, "token": delivery.token}


def nack(delivery: Held, delay: float | timedelta | None, error: str | None) -> tuple[str, dict[str, Value]]:
    """Return the view and the columns that give a delivery back."""
    return "onceward_nack", {
        "message": delivery.id,
        "token": delivery.token,
        "delay_ms": _milliseconds(delay),
        "error": error,
    }


def insert(view: str, placeholders: Sequence[str], columns: Mapping[str, Value]) -> str:
    """Return the statement that inserts a row of these columns."""
    return f"INSERT INTO {view}({', '.join(columns)}) VALUES ({', '.join(placeholders)})"


def raised(text: str) -> Error | None:
    """Return the error that a text of the file's triggers stands for, if it is one."""
    prefix, _, rest = text.partition(": ")
    code, _, message = rest.partition(": ")
    if prefix != "onceward":
        return None
    kinds = [kind for kind in BY_NUMBER.values() if kind.code == code]
    return kinds[0](f"{message}; the transaction was rolled back") if kinds else None


def _headers(headers: Mapping[str, str] | None) -> str | None:
    if not headers:
        return None
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str) or ":" in name or {"\n", "\r"} & {*name, *value}:
            raise InvalidArgumentError(
                f"header {name!r} is {value!r}; through SQL both are text of one line, and names hold no colon"
            )
    return "\n".join(f"{name}: {value}" for name, value in headers.items())


def _milliseconds(duration: float | timedelta | None) -> int | None:
    if duration is None:
        return None
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if not math.isfinite(seconds):
        raise InvalidArgumentError(f"{duration!r} is no duration")
    return math.ceil(round(seconds * 1000, 6))
