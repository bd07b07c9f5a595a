"""Ctrl-C and its kin: they raise KeyboardInterrupt, but never where a process just started could be forgotten."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _State:
    deferred = False
    pending = False


def install() -> None:
    """Take the signals over."""
    for number in INTERRUPTIONS:
        signal.signal(number, _interrupt)


@contextmanager
def deferred() -> Iterator[Callable[[], None]]:
    """Raise nothing inside, except where the function that this yields is called."""
    _State.deferred = True
    try:
        yield _raise_if_pending
    finally:
        _State.deferred = False
    _raise_if_pending()


def _raise_if_pending() -> None:
    if _State.pending:
        _State.pending = False
        raise KeyboardInterrupt


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    for number in INTERRUPTIONS:  # Nothing interrupts the clearing up.
        signal.signal(number, signal.SIG_IGN)
    if not _State.deferred:
        raise KeyboardInterrupt
    _State.pending = True
