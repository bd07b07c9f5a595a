"""The journal that every process keeps: one line for each thing it did, handed to the kernel before it goes on.

A line is written by one write(2) in append mode, without a buffer, so that SIGKILL takes nothing back that was written.
A kill may cut the last line short; such a line was never written as far as a reader is concerned.

This module must never import Onceward: the auditor reads with it.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OPENED: Final = "opened"
"""`opened LANGUAGE VERSION`: the first line; the language that the process is written in, and its library's version."""
SENDING: Final = "sending"
"""`sending GUID`: a send is about to be called."""
CONFIRMED: Final = "confirmed"
"""`confirmed GUID MESSAGE new|duplicate`: the send returned."""
TAKEN: Final = "taken"
"""`taken GUID MESSAGE ATTEMPT`: a delivery was handed to the handler."""
APPLIED: Final = "applied"
"""`applied GUID SHA256`: the effect. For exactly-once it only says that the row stands in the open transaction."""
FINISHED: Final = "finished"
"""`finished GUID`: the acknowledgement, or the commit that holds it, returned."""

WORDS: Final = {OPENED: 3, SENDING: 2, CONFIRMED: 4, TAKEN: 4, APPLIED: 3, FINISHED: 2}
"""How many words a line of each kind has."""


class Journal:
    """The writing end."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, *words: str) -> None:
        """Append one line; when this returns, a kill cannot take it back."""
        line = (" ".join(words) + "\n").encode()
        if os.write(self._descriptor, line) != len(line):
            raise OSError(f"the journal took only a part of {line!r}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One complete line."""

    verb: str
    guid: str
    """What it is about: the webhook; in the first line, the language."""
    details: tuple[str, ...]


def read_journal(path: Path) -> Iterator[Entry]:
    """Yield the complete lines of a journal, or fail on one that is not as it was written."""
    *lines, _cut_short = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        words = line.decode().split(" ")
        if WORDS.get(words[0]) != len(words):
            raise ValueError(f"line {number} of {path.name} is no journal line: {line!r}")
        yield Entry(verb=words[0], guid=words[1], details=tuple(words[2:]))


def unfinished_work(path: Path) -> Entry | None:
    """Return the last line of a worker's journal if it was in the middle of a message, else None."""
    if not path.exists():
        return None
    entries = list(read_journal(path))
    return entries[-1] if entries and entries[-1].verb in (TAKEN, APPLIED) else None
