"""What a program knows of the bank: ask for a transfer, ask whether there is one."""

import json
import socket
from pathlib import Path
from typing import Any

ANSWER_S = 30.0
"""No answer for so long counts as none."""


class NotSentError(Exception):
    """The bank was not reached: no transfer was made, and none will be."""


def transfer(folder: Path, reference: str, cents: int) -> bytes:
    """Ask for a transfer and return its receipt.

    Raises NotSentError, or OSError when the connection broke: then nobody here knows whether it was made.
    """
    return receipt(_ask(folder, {"do": "transfer", "reference": reference, "cents": cents}))


def find(folder: Path, reference: str) -> bytes | None:
    """Return the receipt of the transfer with this reference; None when there is none. Changes nothing."""
    entry = _ask(folder, {"do": "find", "reference": reference})
    return None if entry["transfer"] is None else receipt(entry)


def receipt(entry: dict[str, Any]) -> bytes:
    """Return what to keep of a transfer."""
    return f"transfer {entry['transfer']}".encode()


def _ask(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(str(folder / "bank.sock"))
        except OSError as error:
            raise NotSentError(f"the bank is closed: {error}") from error
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as stream:
            answer = stream.readline()
    if not answer:
        raise ConnectionError("the bank hung up without an answer")
    entry: dict[str, Any] = json.loads(answer)
    return entry
