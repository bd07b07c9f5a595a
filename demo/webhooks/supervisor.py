"""The supervisor: runs one round (one promise), kills its processes with SIGKILL, and starts them again.

Every kill is a real SIGKILL from outside. Some strike at a random moment. Others are aimed: the process is told to stop
and say so when it reaches a certain point of its next message, and is killed there, so that the moments which matter
(after the effect and before the acknowledgement, say) are hit in every run and not by luck.

Its processes are written in several languages, and each language gets its share of the kills. A worker begins a message
when the supervisor says so, and not before: where a process takes long to start, or a strike waits for one, the others
get nothing to do, so that the input lasts until every kill was made, however slow or busy the machine is.

The supervisor itself never opens the store.
"""

import os
import random
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from webhooks.bodies import DEMO_FOLDER
from webhooks.child import BEGIN, HALTED, INPUT_COMPLETE, NEVER, READY, STEP, Job
from webhooks.interruption import deferred
from webhooks.journal import unfinished_work
from webhooks.languages import SENDER, WORKER, Language, command
from webhooks.promises import Semantics
from webhooks.strikes import ANY_MOMENT, Strike, languages_behind, plan_sender_strikes, plan_strikes

STRIKE_DELAY_S_MAX = 0.01
"""The longest random time before a strike at any moment."""
NEXT_ORDER_S = 0.05
"""How long a worker has to reach the point at which it is to halt, before another one is ordered to as well."""
STRIKES_UNTIL = 0.7
"""The part of the input after which the last strike is due: the rest shows that everything goes on afterwards."""
OVERDUE_MAX = 1
"""With more strikes than that overdue, the workers of the languages that had their share begin nothing."""
STALL_S = 1.0
"""When nobody says anything for so long, the rest of the input may be in the hands of who waits: each begins one."""
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
    languages: tuple[Language, ...]
    sabotage: str
    saboteurs: tuple[Language, ...]
    """The languages whose programs do the sabotage."""


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
    language: Language
    process: subprocess.Popen[bytes]
    ready: bool = False
    halts_at: str = ""
    """The point at which it was ordered to halt."""
    halted: bool = False
    is_to_begin: bool = False
    """It was ordered to begin a message and has not said that it is through with it."""
    steps: int = 0
    strikes: tuple[int, ...] = ()
    """For a sender: after how many noted sends it is struck, and its successors."""

    @property
    def is_worker(self) -> bool:
        """Whether it is a worker, else a sender."""
        return self.job.name.startswith("worker-")

    def order_halt(self, point: str) -> None:
        """Tell the process to stop at its next passing of the point."""
        self.halts_at = point
        self._order(point)

    def order_begin(self) -> None:
        """Tell the process to begin one more message."""
        self.is_to_begin = True
        self._order(BEGIN)

    def stop_at_work(self) -> bool:
        """Stop the process where it is, and let it go on if that is not in the middle of a message."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        is_at_work = unfinished_work(self.job.journal_path) is not None
        if not is_at_work:
            self.process.send_signal(signal.SIGCONT)
        return is_at_work

    def _order(self, order: str) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # It has just ended by itself, which its output will tell.
            self.process.stdin.write(f"{order}\n".encode())


def sending_orders(rng: random.Random, bodies: int, copies: int, senders: int) -> list[tuple[int, ...]]:
    """Deal every webhook `copies` times, to different senders where there are enough of them, evenly, and shuffle."""
    orders: list[list[int]] = [[] for _ in range(senders)]
    for place, index in enumerate(rng.sample(range(bodies), bodies)):
        for copy in range(copies):
            orders[(place * copies + copy) % senders].append(index)
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
        self._strikes = plan_strikes(self._rng, options.kills, options.languages)
        """Those to come."""
        self._strike: Strike | None = None
        """The one of them that is under way."""
        self._strikes_done = 0
        self._next_order_s: float | None = None
        self._strike_at_s: float | None = None
        self._missed = False
        self._is_ending = False
        """The input is used up: nobody has to wait any more."""
        self._heard_s = time.monotonic()
        self._stalled_s = self._heard_s
        """When everybody was last told to begin a message because of a stall."""

    def run(self) -> list[str]:
        """Run until every process has ended; end them all in any case."""
        with deferred() as raise_if_interrupted:
            try:
                self._start_everyone()
                while self._children:
                    raise_if_interrupted()
                    if time.monotonic() - self._heard_s > SILENCE_S_MAX:
                        raise RoundFailedError(f"{self._options.semantics}: stuck, silent for {SILENCE_S_MAX:.0f} s")
                    for key, _ in self._selector.select(timeout=0.002 if self._strike_at_s else 0.02):
                        self._hear(key.data)
                    self._kill_who_is_due()
                    self._let_begin()
                    self._watch(self._progress)
            finally:
                self._end_everyone()
        return self._killed

    # -- processes

    def _start_everyone(self) -> None:
        options = self._options
        for place in range(1, options.workers + 1):
            self._start(WORKER, self._language_of(place), f"{place}.1", order=())
        orders = sending_orders(self._rng, options.bodies, options.copies, options.senders)
        for place, order in enumerate(orders, start=1):
            strikes = plan_sender_strikes(self._rng, len(order)) if options.kills else ()
            self._start(SENDER, self._language_of(place), f"{place}.1", order, strikes)

    def _language_of(self, place: int) -> Language:
        return self._options.languages[(place - 1) % len(self._options.languages)]

    def _start(
        self,
        role: str,
        language: Language,
        turn: str,
        order: tuple[int, ...],
        strikes: tuple[int, ...] = (),
    ) -> None:
        options = self._options
        name = f"{role}-{language}-{turn}"
        job = Job(
            name=name,
            folder=str(options.folder),
            semantics=options.semantics,
            seed=options.seed,
            batch=options.batch,
            sabotage=options.sabotage if language in options.saboteurs else "",
            order=order,
            # The first strike at a sender is aimed: the outcome of a send then stays unknown, in every run.
            halt_after=strikes[0] if strikes and turn.endswith(".1") else NEVER,
        )
        with (options.folder / f"{name}.errors").open("wb") as errors:
            process = subprocess.Popen(
                [*command(role, language), *job.to_arguments()],
                cwd=DEMO_FOLDER,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                # Ctrl-C is for the supervisor, which then ends the others.
                start_new_session=True,
            )
        child = Child(job, language, process, strikes=strikes)
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
            child.is_to_begin &= word != STEP
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
        role, _, place_and_turn = child.job.name.split("-")
        place, _, turn = place_and_turn.partition(".")
        self._start(role, child.language, f"{place}.{int(turn) + 1}", child.job.order, child.strikes[1:])
        return True

    def _bury(self, child: Child) -> None:
        """Take note of a process that ended by itself: the last sender completes the input, an error ends the round."""
        self._forget(child)
        code = child.process.returncode
        if code != 0:
            errors = (self._options.folder / f"{child.job.name}.errors").read_text(errors="replace").strip()
            raise RoundFailedError(f"{child.job.name} ended by itself with code {code}:\n{errors}")
        self._is_ending |= child.is_worker
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

    def _kill_who_is_due(self) -> None:
        """Kill everyone who halted, for such a process holds what others wait for, and then by plan."""
        for child in list(self._children.values()):
            if child.halted:
                self._kill_halted(child)
            elif not child.is_worker:
                self._strike_sender(child)
        if self._strike is None:
            self._strike = self._next_strike()
        if self._strike is not None and self._strike.kind == ANY_MOMENT:
            self._strike_at_any_moment(self._strike.language)
        elif self._strike is not None:
            self._strike_with_aim(self._strike)

    def _next_strike(self) -> Strike | None:
        """Choose the first strike for which there is a worker, once one is due."""
        if not self._overdue(0):
            return None
        able = {worker.language for worker in self._workers() if not worker.halts_at}
        return next((strike for strike in self._strikes if strike.language in able), None)

    def _overdue(self, count: int) -> bool:
        """Spread the strikes over the input, counting what each kill may have taken with it as done."""
        options = self._options
        done = self._progress.messages_finished + self._progress.workers_killed * options.batch
        due = (self._strikes_done + 0.5 + count) / max(options.kills, 1) * STRIKES_UNTIL * options.bodies
        return bool(self._strikes) and done >= due

    def _let_begin(self) -> None:
        """Let workers begin a message, but not while a language has nobody who works yet, or lacks too many strikes."""
        workers = [child for child in self._children.values() if child.is_worker]
        starting = {worker.language for worker in workers} - {worker.language for worker in workers if worker.ready}
        behind = languages_behind(self._strikes) if self._overdue(OVERDUE_MAX) else set(self._options.languages)
        now_s = time.monotonic()
        is_stalled = not starting and now_s - max(self._heard_s, self._stalled_s) > STALL_S
        if is_stalled:
            self._stalled_s = now_s
        for worker in workers:
            is_due = self._strike is not None and worker.language == self._strike.language
            has_turn = is_due or (not starting and worker.language in behind)
            if worker.ready and not worker.is_to_begin and (has_turn or is_stalled or self._is_ending):
                worker.order_begin()

    def _strike_is_done(self, strike: Strike) -> None:
        self._strikes.remove(strike)
        self._strikes_done += 1
        self._strike = None
        self._next_order_s = None
        self._strike_at_s = None

    def _kill_halted(self, child: Child) -> None:
        killed = self._kill(child)
        # Of two workers that were ordered to halt, the second may do so when its strike is done already.
        strike = self._strike
        if killed and strike is not None and (child.halts_at, child.language) == (strike.kind, strike.language):
            self._strike_is_done(strike)

    def _strike_sender(self, sender: Child) -> None:
        """Kill the successor of a sender that halted, at any moment after its number of sends."""
        if sender.strikes and sender.job.halt_after == NEVER and sender.steps >= sender.strikes[0]:
            self._kill(sender)

    def _strike_with_aim(self, strike: Strike) -> None:
        """Order a worker to halt at the point, and another one each time that none got there in time."""
        now_s = time.monotonic()
        free = [worker for worker in self._workers(strike.language) if not worker.halts_at]
        if free and (self._next_order_s is None or now_s >= self._next_order_s):
            self._next_order_s = now_s + NEXT_ORDER_S
            self._rng.choice(free).order_halt(strike.kind)

    def _strike_at_any_moment(self, language: Language) -> None:
        """Kill whoever it hits, after a random time. When that one was not at work, one who is must follow."""
        if self._strike_at_s is None:
            self._strike_at_s = time.monotonic() + self._rng.uniform(0, STRIKE_DELAY_S_MAX)
            return
        workers = self._workers(language)
        if workers and time.monotonic() >= self._strike_at_s:
            struck = self._rng.choice(workers)
            if self._missed and not struck.stop_at_work():
                return
            self._strike_at_s = None
            self._missed = not (self._kill(struck) and unfinished_work(struck.job.journal_path))
            if not self._missed and self._strike is not None:
                self._strike_is_done(self._strike)

    def _workers(self, language: Language | None = None) -> list[Child]:
        """List the workers that have opened the store, of one language or of all."""
        workers = (child for child in self._children.values() if child.is_worker and child.ready)
        return [worker for worker in workers if language in (None, worker.language)]
