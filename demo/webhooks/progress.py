"""What the person in front of the terminal sees while a round runs: one line that changes, or plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import TextIO

from webhooks.supervisor import Progress, RoundOptions

REDRAW_S = 0.1
"""How often the line on a terminal changes."""
PLAIN_LINE_S = 1.0
"""How often a new line appears where there is no terminal."""


class ProgressLine:
    """Shows the progress of one round; a context manager that leaves a finished line behind."""

    def __init__(self, options: RoundOptions, stream: TextIO = sys.stderr) -> None:
        self._options = options
        self._stream = stream
        self._in_place = stream.isatty()
        self._began_s = time.monotonic()
        self._shown_s = self._began_s - (REDRAW_S if self._in_place else PLAIN_LINE_S)
        self._last = Progress()

    def __enter__(self) -> "ProgressLine":
        """Start to show."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show the last state, finished."""
        self._draw(self._last, end="\n")

    def show(self, progress: Progress) -> None:
        """Show the state, unless that was done a moment ago."""
        self._last = progress
        now_s = time.monotonic()
        if now_s - self._shown_s >= (REDRAW_S if self._in_place else PLAIN_LINE_S):
            self._shown_s = now_s
            self._draw(progress, end="" if self._in_place else "\n")

    def _draw(self, progress: Progress, end: str) -> None:
        options = self._options
        text = (
            f"{options.semantics:<13}  {time.monotonic() - self._began_s:4.1f} s   "
            f"{progress.sends_confirmed:>5} sends of {options.bodies * options.copies}   "
            f"{progress.messages_finished:>4} finished   "
            f"killed: {progress.workers_killed} workers, {progress.senders_killed} senders"
        )
        start = "\r\x1b[K" if self._in_place else ""
        self._stream.write(f"{start}{text}{end}")
        self._stream.flush()
