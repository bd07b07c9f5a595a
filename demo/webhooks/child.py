"""What a sender and a worker have in common: the job they are given, and the pipes to the supervisor.

A process tells the supervisor single words on its standard output. Orders arrive on its standard input, a line each;
the end of that input means that the supervisor is gone, and then the process ends as well, so that nothing is ever left
behind. `c/child.c` and `node/child.mjs` are the same for the other languages.
"""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, cast

from webhooks.promises import Semantics

READY: Final = "ready"
"""Said once: the store is open."""
STEP: Final = "step"
"""Said after every confirmed send and every finished message."""
HALTED: Final = "halted"
"""Said at the ordered halting point, where the process now stays until it is killed."""

NEVER: Final = -1
"""A sender that halts at no send."""
BEFORE_EFFECT: Final = "before-effect"
"""Halting point of a worker: the message was handed over, and its effect is not there yet."""
AFTER_EFFECT: Final = "after-effect"
"""Halting point of a worker: the effect is there, and the message is not acknowledged yet."""
BEGIN: Final = "begin"
"""Order to a worker: begin one more message."""

DATABASE: Final = "webhooks.db"
"""The store's file, in the folder of a round."""
INPUT: Final = "input"
"""The webhooks that the senders send."""
INPUT_COMPLETE: Final = "input-complete"
"""This file appears in the folder of a round when every sender is through: workers then stop at an empty queue."""
QUEUE: Final = "webhooks"
"""The name of the queue."""

NO_DEDUPLICATION: Final = "no-deduplication"
"""Sabotage: every send carries a key of its own, so that nothing recognises the source's repeats."""
ACK_BEFORE_EFFECT: Final = "ack-before-effect"
"""Sabotage: a message is acknowledged, and that committed, before its effect."""
EFFECT_APART: Final = "effect-apart"
"""Sabotage: the effect is committed in a transaction of its own, before the acknowledgement."""
SABOTAGES: Final = (NO_DEDUPLICATION, ACK_BEFORE_EFFECT, EFFECT_APART)


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that a sender or a worker has to know, passed as its arguments, in this order."""

    name: str
    """`worker-c-2.5` is the fifth process in the second worker's place, which is C's; names the journal."""
    folder: str
    semantics: Semantics
    seed: int
    batch: int
    sabotage: str
    """One of `SABOTAGES`, or empty."""
    order: tuple[int, ...]
    """For a sender: the indices of the webhooks that it sends, in this order."""
    halt_after: int = NEVER
    """For a sender: how many sends it notes before it halts, where the next one has returned and is not noted yet.
    No order could be sure to reach it in time."""

    def to_arguments(self) -> list[str]:
        """Encode the job for the command line."""
        order = ",".join(map(str, self.order))
        numbers = (str(self.seed), str(self.batch))
        return [self.name, self.folder, self.semantics, *numbers, self.sabotage, order, str(self.halt_after)]

    @staticmethod
    def from_arguments(arguments: Sequence[str]) -> "Job":
        """Decode what `to_arguments` made."""
        name, folder, semantics, seed, batch, sabotage, order, halt_after = arguments
        indices = tuple(map(int, order.split(","))) if order else ()
        promise = cast("Semantics", semantics)
        return Job(name, folder, promise, int(seed), int(batch), sabotage, indices, int(halt_after))

    @property
    def journal_path(self) -> Path:
        """Where the process writes what it did."""
        return journal_path(Path(self.folder), self.name)

    def earlier_journals(self) -> list[Path]:
        """List the journals of the processes that held this place before, oldest first."""
        place, _, turn = self.name.rpartition(".")
        return [journal_path(Path(self.folder), f"{place}.{earlier}") for earlier in range(1, int(turn))]


def journal_path(folder: Path, name: str) -> Path:
    """Name the journal of a process."""
    return folder / f"{name}.journal"


class Supervised:
    """The child's side of the two pipes."""

    def __init__(self) -> None:
        self._halt_at = ""
        self._to_begin = threading.Semaphore(0)
        threading.Thread(target=self._listen, daemon=True).start()

    def tell(self, word: str) -> None:
        """Say one word to the supervisor."""
        try:
            os.write(sys.stdout.fileno(), f"{word}\n".encode())
        except BrokenPipeError:
            os._exit(1)

    def may_begin(self) -> None:
        """Wait until the supervisor lets one more message be begun."""
        self._to_begin.acquire()

    def pass_point(self, point: str) -> None:
        """Go on, unless the supervisor ordered a halt at this point: then say so and wait for the kill."""
        if self._halt_at == point:
            self.halt()

    def halt(self) -> NoReturn:
        """Say so and wait for the kill."""
        self.tell(HALTED)
        while True:
            signal.pause()

    def _listen(self) -> None:
        for line in sys.stdin:
            order = line.strip()
            if order == BEGIN:
                self._to_begin.release()
            else:
                self._halt_at = order
        os._exit(1)
