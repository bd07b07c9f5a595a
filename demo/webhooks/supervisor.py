"""The supervisor: runs one round (one promise), kills its processes with SIGKILL, and starts them again.

Every kill is a real SIGKILL from outside. Some strike at a random moment. Others are aimed: the process is told to stop
and say so when it reaches a certain point of its next message, and is killed there, so that the moments which matter
(after the effect and before the acknowledgement, say) are hit in every run and not by luck.

The supervisor itself never opens the store.
"""

import os
import random
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from webhooks.bodies import DEMO_FOLDER
from webhooks.child import (
    AFTER_EFFECT,
    AFTER_SEND,
    BEFORE_EFFECT,
    HALTED,
    INPUT_COMPLETE,
    READY,
    STEP,
    Job,
)
from webhooks.journal import unfinished_work
from webhooks.promises import Semantics

ANY_MOMENT = "any-moment"
"""A strike that is not aimed."""
STRIKE_DELAY_S_MAX = 0.01
"""The longest random time before a strike at any moment."""
NEXT_ORDER_S = 0.05
"""How long a worker has to reach the point at which it is to halt, before another one is ordered to as well."""
STRIKES_UNTIL = 0.7
"""The part of the input after which the last strike is due: the rest shows that everything goes on afterwards."""
SILENCE_S_MAX = 20.0
"""A round in which no process says anything for so long is stuck."""


class RoundFailedError(Exception):
    """A process ended by itself with an error, or the round is stuck."""


@dataclass(frozen=True, slots=True)
class RoundOptions:
    """The sizes of a round."""

    semantics: Semantics
    folder: Path
    seed: int
    bodies: int
    copies: int
    senders: int
    workers: int
    kills: int
    batch: int
    sabotage: str


@dataclass(slots=True)
class Progress:
    """What a watcher may show while the round runs."""

    sends_confirmed: int = 0
    messages_finished: int = 0
    workers_killed: int = 0
    senders_killed: int = 0


@dataclass(slots=True)
class Child:
    """One running process."""

    job: Job
    process: subprocess.Popen[bytes]
    ready: bool = False
    halts_at: str = ""
    """The point at which it was ordered to halt."""
    halted: bool = False
    steps: int = 0
    strikes: list[tuple[int, str]] = field(default_factory=list)
    """For a sender: after how many of its sends it is struck, and where."""

    @property
    def is_worker(self) -> bool:
        """Whether it is a worker, else a sender."""
        return self.job.name.startswith("worker-")

    def order_halt(self, point: str) -> None:
        """Tell the process to stop at its next passing of the point."""
        assert self.process.stdin is not None
        self.halts_at = point
        with suppress(BrokenPipeError):  # It has just ended by itself, which its output will tell.
            self.process.stdin.write(f"{point}\n".encode())


def sending_orders(rng: random.Random, bodies: int, copies: int, senders: int) -> list[tuple[int, ...]]:
    """Deal every webhook `copies` times, to different senders where there are enough of them, and shuffle."""
    orders: list[list[int]] = [[] for _ in range(senders)]
    for index in range(bodies):
        first = rng.randrange(senders)
        for copy in range(copies):
            orders[(first + copy) % senders].append(index)
    for order in orders:
        rng.shuffle(order)
    return [tuple(order) for order in orders]


class Round:
    """One promise under fire. `run` returns the names of the killed processes."""

    def __init__(self, options: RoundOptions, watch: Callable[[Progress], None]) -> None:
        self._options = options
        self._watch = watch
        self._rng = random.Random(f"{options.seed} {options.semantics}")
        self._selector = selectors.DefaultSelector()
        self._children: dict[str, Child] = {}
        self._killed: list[str] = []
        self._progress = Progress()
        self._strikes = self._plan_strikes()
        self._strikes_done = 0
        self._next_order_s: float | None = None
        self._strike_at_s: float | None = None
        self._missed = False
        self._heard_s = time.monotonic()

    def run(self) -> list[str]:
        """Run until every process has ended; end them all in any case."""
        try:
            self._start_everyone()
            while self._children:
                if time.monotonic() - self._heard_s > SILENCE_S_MAX:
                    raise RoundFailedError(f"{self._options.semantics}: stuck, silent for {SILENCE_S_MAX:.0f} s")
                for key, _ in self._selector.select(timeout=0.002 if self._strike_at_s else 0.02):
                    self._hear(key.data)
                self._strike()
                self._watch(self._progress)
        finally:
            self._end_everyone()
        return self._killed

    # -- processes

    def _start_everyone(self) -> None:
        options = self._options
        for place in range(1, options.workers + 1):
            self._start(f"worker-{place}.1", order=())
        orders = sending_orders(self._rng, options.bodies, options.copies, options.senders)
        for place, order in enumerate(orders, start=1):
            strikes = self._plan_sender_strikes(len(order)) if options.kills else []
            self._start(f"sender-{place}.1", order, strikes)

    def _start(self, name: str, order: tuple[int, ...], strikes: list[tuple[int, str]] | None = None) -> None:
        options = self._options
        job = Job(
            name=name,
            folder=str(options.folder),
            semantics=options.semantics,
            seed=options.seed,
            batch=options.batch,
            sabotage=options.sabotage,
            order=order,
        )
        module = "webhooks.worker" if name.startswith("worker-") else "webhooks.sender"
        with (options.folder / f"{name}.errors").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", module, job.to_json()],
                cwd=DEMO_FOLDER,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                # Ctrl-C is for the supervisor, which then ends the others.
                start_new_session=True,
            )
        child = Child(job, process, strikes=list(strikes or ()))
        assert process.stdout is not None
        self._children[name] = child
        self._selector.register(process.stdout, selectors.EVENT_READ, child)

    def _hear(self, child: Child) -> None:
        """Take in what a process says; the end of its output is its own end."""
        if child.job.name not in self._children:
            return
        self._heard_s = time.monotonic()
        if said := self._read(child):
            self._note(child, said)
        else:
            child.process.wait()
            self._bury(child)

    def _read(self, child: Child) -> bytes:
        assert child.process.stdout is not None
        return os.read(child.process.stdout.fileno(), 65536)

    def _note(self, child: Child, said: bytes) -> None:
        for word in said.decode().split():
            child.ready |= word == READY
            child.halted |= word == HALTED
            child.steps += word == STEP
            self._progress.messages_finished += word == STEP and child.is_worker
            self._progress.sends_confirmed += word == STEP and not child.is_worker

    def _kill(self, child: Child) -> bool:
        """Send SIGKILL, and put a successor in its place. False: it had ended by itself just before."""
        child.process.kill()
        code = child.process.wait()
        while said := self._read(child):
            self._note(child, said)
        if code != -signal.SIGKILL:
            self._bury(child)
            return False
        self._forget(child)
        self._killed.append(child.job.name)
        self._progress.workers_killed += child.is_worker
        self._progress.senders_killed += not child.is_worker
        place, _, turn = child.job.name.rpartition(".")
        self._start(f"{place}.{int(turn) + 1}", child.job.order, child.strikes)
        return True

    def _bury(self, child: Child) -> None:
        """Take note of a process that ended by itself: the last sender completes the input, an error ends the round."""
        self._forget(child)
        code = child.process.returncode
        if code != 0:
            errors = (self._options.folder / f"{child.job.name}.errors").read_text(errors="replace").strip()
            raise RoundFailedError(f"{child.job.name} ended by itself with code {code}:\n{errors}")
        if all(other.is_worker for other in self._children.values()):
            (self._options.folder / INPUT_COMPLETE).touch()

    def _forget(self, child: Child) -> None:
        for pipe in (child.process.stdin, child.process.stdout):
            assert pipe is not None
            if pipe is child.process.stdout:
                self._selector.unregister(pipe)
            pipe.close()
        del self._children[child.job.name]

    def _end_everyone(self) -> None:
        for child in list(self._children.values()):
            child.process.kill()
            child.process.wait()
            self._forget(child)
        self._selector.close()

    # -- strikes

    def _plan_strikes(self) -> list[str]:
        """Plan a third of each kind, in random order."""
        kinds = (AFTER_EFFECT, BEFORE_EFFECT, ANY_MOMENT)
        strikes = [kinds[number % len(kinds)] for number in range(self._options.kills)]
        self._rng.shuffle(strikes)
        return strikes

    def _plan_sender_strikes(self, sends: int) -> list[tuple[int, str]]:
        """Two for each sender: one where the outcome of a send stays unknown, one at any moment."""
        first, second = sorted(self._rng.randrange(max(1, sends // 5), max(2, sends * 2 // 3)) for _ in range(2))
        return [(first, AFTER_SEND), (second - first, ANY_MOMENT)]

    def _strike(self) -> None:
        """Kill whoever is due: everyone who halted, for such a process holds what others wait for, and then by plan."""
        for child in list(self._children.values()):
            if child.halted:
                self._kill_halted(child)
            elif not child.is_worker:
                self._strike_sender(child)
        point = self._next_strike()
        if point == ANY_MOMENT:
            self._strike_at_any_moment()
        elif point is not None:
            self._strike_with_aim(point)

    def _next_strike(self) -> str | None:
        return self._strikes[self._strikes_done] if self._strikes_done < len(self._strikes) else None

    def _kill_halted(self, child: Child) -> None:
        killed = self._kill(child)
        # Of two workers that were ordered to halt, the second may do so when its strike is done already.
        if killed and child.halts_at == self._next_strike():
            self._next_order_s = None
            self._strikes_done += 1

    def _strike_sender(self, sender: Child) -> None:
        if not sender.halts_at and sender.strikes and sender.steps >= sender.strikes[0][0]:
            _, kind = sender.strikes.pop(0)
            if kind == ANY_MOMENT:
                self._kill(sender)
            else:
                sender.order_halt(kind)

    def _strike_is_due(self) -> bool:
        """Spread the strikes over the input, counting what each kill may have taken with it as done."""
        options = self._options
        done = self._progress.messages_finished + self._strikes_done * options.batch
        return done >= (self._strikes_done + 0.5) / options.kills * STRIKES_UNTIL * options.bodies

    def _strike_with_aim(self, point: str) -> None:
        """Order a worker to halt at the point, and another one each time that none got there in time."""
        now_s = time.monotonic()
        free = [worker for worker in self._workers() if not worker.halts_at]
        if free and (now_s >= self._next_order_s if self._next_order_s else self._strike_is_due()):
            self._next_order_s = now_s + NEXT_ORDER_S
            self._rng.choice(free).order_halt(point)

    def _strike_at_any_moment(self) -> None:
        """Kill whoever it hits, after a random time. When that one was not at work, one who is must follow."""
        if self._strike_at_s is None:
            if self._strike_is_due():
                self._strike_at_s = time.monotonic() + self._rng.uniform(0, STRIKE_DELAY_S_MAX)
            return
        workers = self._workers()
        if self._missed:
            workers = [worker for worker in workers if unfinished_work(worker.job.journal_path)]
        if workers and time.monotonic() >= self._strike_at_s:
            struck = self._rng.choice(workers)
            self._strike_at_s = None
            self._missed = not (self._kill(struck) and unfinished_work(struck.job.journal_path))
            self._strikes_done += not self._missed

    def _workers(self) -> list[Child]:
        """List the workers that have opened the store."""
        return [child for child in self._children.values() if child.is_worker and child.ready]
