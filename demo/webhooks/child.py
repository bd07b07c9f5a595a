"""What a sender and a worker have in common: the job they are given, and the pipes to the supervisor.

A process tells the supervisor single words on its standard output. Orders arrive on its standard input; the end of that
input means that the supervisor is gone, and then the process ends as well, so that nothing is ever left behind.
"""

import json
import os
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, NoReturn

from webhooks.promises import Semantics

READY: Final = "ready"
"""Said once: the store is open."""
STEP: Final = "step"
"""Said after every confirmed send and every finished message."""
HALTED: Final = "halted"
"""Said at the ordered halting point, where the process now stays until it is killed."""

AFTER_SEND: Final = "after-send"
"""Halting point of a sender: the send returned, and the sender has not yet noted that."""
BEFORE_EFFECT: Final = "before-effect"
"""Halting point of a worker: the message was handed over, and its effect is not there yet."""
AFTER_EFFECT: Final = "after-effect"
"""Halting point of a worker: the effect is there, and the message is not acknowledged yet."""

DATABASE: Final = "webhooks.db"
"""The store's file, in the folder of a round."""
INPUT: Final = "input.json"
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
    """Everything that a sender or a worker has to know, passed as one JSON argument."""

    name: str
    """`worker-2.5` is the fifth process in the second worker's place; names the journal."""
    folder: str
    semantics: Semantics
    seed: int
    batch: int
    sabotage: str
    """One of `SABOTAGES`, or empty."""
    order: tuple[int, ...]
    """For a sender: the indices of the webhooks that it sends, in this order."""

    def to_json(self) -> str:
        """Encode the job for the command line."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Job":
        """Decode what `to_json` made."""
        fields = json.loads(text)
        return Job(**{**fields, "order": tuple(fields["order"])})

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
        threading.Thread(target=self._listen, daemon=True).start()

    def tell(self, word: str) -> None:
        """Say one word to the supervisor."""
        try:
            os.write(sys.stdout.fileno(), f"{word}\n".encode())
        except BrokenPipeError:
            os._exit(1)

    def pass_point(self, point: str) -> None:
        """Go on, unless the supervisor ordered a halt at this point: then say so and wait for the kill."""
        if self._halt_at == point:
            self.tell(HALTED)
            _wait_for_the_kill()

    def _listen(self) -> None:
        descriptor = sys.stdin.fileno()
        while order := os.read(descriptor, 64):
            self._halt_at = order.decode().strip()
        os._exit(1)


def _wait_for_the_kill() -> NoReturn:
    while True:
        signal.pause()
