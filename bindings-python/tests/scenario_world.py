"""Running the scenarios of `tests/scenarios/`: `python scenario_world.py FOLDER FORM` takes steps and answers."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import onceward

from scenario_steps import MistakeError, Scenario, Step, body, duration

T = TypeVar("T")
#: Public operations that were called, by the name of the class that has them.
CALLED: set[str] = set()


class Api:
    """An object of the library. Whatever is asked of it is noted in `CALLED`."""

    def __init__(self, of: Any) -> None:
        self._of = of

    def __getattr__(self, name: str) -> Any:
        for owner in type(self._of).__mro__:
            if name in vars(owner):
                CALLED.add(f"{owner.__name__}.{name}")
        return getattr(self._of, name)


def make(name: str, *arguments: Any, **options: Any) -> Any:
    """Call a function or a class of the module."""
    CALLED.add(name)
    return getattr(onceward, name)(*arguments, **options)


class RefusedError(Exception):
    """The call at a third party is known not to have happened."""


class Child:
    """A process that takes steps."""

    def __init__(self, folder: Path, form: str) -> None:
        command = [sys.executable, "-u", __file__, str(folder), form]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, step: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(step + "\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise MistakeError("the process has ended")
        return line.rstrip("\n")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


class World:
    """What the steps of a scenario have made so far. With the form `async`, effects are those of asyncio."""

    def __init__(self, folder: Path, form: str) -> None:
        self.folder = folder
        self.form = form
        self.stores: dict[str, onceward.Store] = {}
        self.receivers: dict[str, onceward.Receiver] = {}
        self.deliveries: dict[str, onceward.Delivery] = {}
        self.receipts: dict[str, onceward.Receipt] = {}
        self.transactions: dict[str, onceward.Transaction] = {}
        self.consumers: dict[str, onceward.Consumer] = {}
        self.ledgers: dict[str, onceward.Ledger] = {}
        self.doubts: dict[str, int] = {}
        self.keys: list[str] = []
        self.ids: dict[str, int] = {}
        self.calls = 0
        self.probes = 0
        self._children: dict[str, Child] = {}

    def answer(self, line: str) -> str:
        """Take a step, and answer in one line."""
        try:
            answer = self._take(line)
        except onceward.Error as error:
            answer = f"error {Api(error).code} {error}"
        except RefusedError as error:
            # What `failed_on` names comes out as it is.
            answer = f"error Failed {error}"
        except MistakeError as mistake:
            answer = f"mistake: {mistake}"
        return answer.replace("\n", " ")

    def _take(self, line: str) -> str:
        name, colon, step = line.partition(": ")
        if colon and name in self._children:
            self._children[name].tell(step)
            return self._children[name].hear()
        if colon and name.startswith("tell "):
            self._child(name.removeprefix("tell ")).tell(step)
            return "ok"
        taken = Step(line)
        verb = VERBS.get(taken.verb)
        if verb is None:
            raise MistakeError(f"there is no verb {taken.verb}")
        answer = verb(self, taken)
        taken.finish()
        return "ok" if answer is None else answer

    def _child(self, name: str) -> Child:
        return named(self._children, name)

    def start(self, step: Step) -> None:
        self._children[step.word()] = Child(self.folder, self.form)

    def hear(self, step: Step) -> str:
        return self._child(step.word()).hear()

    def kill(self, step: Step) -> None:
        name = step.word()
        self._child(name).kill()
        del self._children[name]

    def signal(self, step: Step) -> None:
        number = signal.SIGSTOP if step.verb == "stop" else signal.SIGCONT
        self._child(step.word()).signal(number)

    def path(self, name: str) -> str:
        return name if name == ":memory:" else str(self.folder / name)

    def file(self, step: Step) -> None:
        """Change a file that no SQLite of this process has open."""
        path = Path(self.path(step.word()))
        match step.verb:
            case "write":
                path.write_bytes(body(step.word()))
            case "remove":
                path.unlink()
            case "move":
                path.rename(self.path(step.word()))
            case "mkdir":
                path.mkdir()
            case _:
                with path.open("r+b") as file:
                    file.seek(int(step.needed("at")))
                    file.write(body(step.word()))

    def store(self, step: Step) -> Any:
        return Api(named(self.stores, step.option("in") or "store"))

    def receiver(self, step: Step) -> Any:
        return Api(named(self.receivers, step.word()))

    def queue(self, name: str) -> onceward.Queue:
        queue = named(self.receivers, name)
        if not isinstance(queue, onceward.Queue):
            raise MistakeError(f"{name} is no queue")
        return queue

    def delivery(self, name: str) -> Any:
        return Api(named(self.deliveries, name))

    def name_of(self, id: int) -> str:
        """Return the first name that a message was given."""
        return next((name for name, known in self.ids.items() if known == id), "?")

    def receipt(self, name: str) -> onceward.Receipt:
        """Return what a settle of many takes."""
        if name not in self.deliveries:
            return named(self.receipts, name)
        receipt: onceward.Receipt = Api(self.deliveries[name]).receipt
        return receipt

    def lost(self, words: list[str], lost: list[onceward.Receipt]) -> str:
        """Name the deliveries that were lost."""
        known = {self.receipt(word): word for word in words}
        return " ".join(["lost", *(known.get(receipt, "?") for receipt in lost)]) if lost else "ok"

    def wait_for(self, coroutine: Any) -> Any:
        return asyncio.run(coroutine)

    def end(self) -> None:
        """Kill what still runs, and close what is open."""
        for child in self._children.values():
            child.kill()
        for transaction in self.transactions.values():
            transaction.rollback()
        for store in self.stores.values():
            store.close()


def named(made: dict[str, T], name: str) -> T:
    """Return what was made under a name."""
    if name not in made:
        raise MistakeError(f"nothing is named {name}")
    return made[name]


VERBS: dict[str, Callable[[World, Step], str | None]] = {
    "process": World.start,
    "hear": World.hear,
    "kill": World.kill,
    "stop": World.signal,
    "continue": World.signal,
    "write": World.file,
    "patch": World.file,
    "remove": World.file,
    "move": World.file,
    "mkdir": World.file,
    "wait": lambda _, step: time.sleep(duration(step.word()).total_seconds()),
}


def verb(*names: str) -> Callable[[Callable[[World, Step], str | None]], Callable[[World, Step], str | None]]:
    """Register what runs the steps with these verbs."""

    def register(function: Callable[[World, Step], str | None]) -> Callable[[World, Step], str | None]:
        VERBS.update(dict.fromkeys(names, function))
        return function

    return register


def run(scenario: Scenario, folder: Path, form: str) -> str | None:
    """Run a scenario in a folder of its own; say at which line it went wrong, and how."""
    world = World(folder, form)
    try:
        for line in scenario.lines:
            answer = world.answer(line.step)
            if not line.fits(answer):
                wanted = line.wanted or "no error"
                return f"{line.at}: {scenario.title} ({form})\n  {line.step}\n  wanted: {wanted}\n  found:  {answer}"
    finally:
        world.end()
    return None


def main() -> None:
    """Take steps from the one who started this process, and answer."""
    world = World(Path(sys.argv[1]), sys.argv[2])
    for line in sys.stdin:
        print(world.answer(line.rstrip("\n")), flush=True)


if __name__ == "__main__":
    # The verbs must find this very module, not another copy of it.
    sys.modules["scenario_world"] = sys.modules["__main__"]
    import scenario_effects  # noqa: F401
    import scenario_verbs  # noqa: F401

    main()
