"""What the tests share: a peer in each language, told what to do line by line, and the messages that they exchange."""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# Where the tests run in the background, SIGINT comes ignored, and the programs would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent
TREE = HERE.parents[1]
C_PREFIX = TREE / "build" / "c"
"""The C library as the Makefile installs it."""
LANGUAGES = ("python", "node", "c")
#: Nothing waits longer than this many seconds before the test fails.
PATIENCE = 60.0
BUSY_MS = 10_000


@dataclass(frozen=True)
class Message:
    """What is sent, and must come out as it went in."""

    key: str
    body: bytes
    ordering_key: str = ""
    headers: tuple[tuple[str, str | bytes], ...] = ()

    def packed(self) -> str:
        """Encode it the way the peers read it: hexadecimal words."""
        headers = ",".join(
            f"{name.encode().hex()}:t:{value.encode().hex()}"
            if isinstance(value, str)
            else f"{name.encode().hex()}:b:{value.hex()}"
            for name, value in sorted(self.headers)
        )
        words = (self.key.encode().hex(), self.ordering_key.encode().hex(), self.body.hex(), headers)
        return " ".join(word or "-" for word in words)


@dataclass(frozen=True)
class Delivery:
    """A message in the hands of a peer."""

    handle: int
    id: int
    token: int
    attempt: int
    message: str
    """As `Message.packed` has it."""


class PeerError(Exception):
    """The library refused what the peer asked of it."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class Peer:
    """A process in one of the languages, with the file open."""

    def __init__(self, command: list[str], path: Path, busy_ms: int) -> None:
        self.process = subprocess.Popen(
            [*command, str(path), str(busy_ms)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self._rest = b""
        self.greeting = self.line().split(" ")

    def line(self) -> str:
        """Return the next line it says; fail when there is none in time."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        end = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                assert selector.select(max(0.0, end - time.monotonic())), f"no line in time; so far {self._rest!r}"
                chunk = os.read(self.process.stdout.fileno(), 1 << 20)
                assert chunk, f"it ended: {self._rest!r} {self.process.stderr.read().decode()}"
                self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()

    def order(self, *words: object) -> None:
        """Tell it what to do, and do not wait."""
        assert self.process.stdin is not None
        # A pipe without a buffer takes a long line in several pieces.
        rest = memoryview((" ".join(map(str, words)) + "\n").encode())
        while rest:
            rest = rest[self.process.stdin.write(rest) :]

    def answer(self) -> list[str]:
        """Return the words of its next line, or raise what it says of an error."""
        words = self.line().split(" ")
        if words[0] == "error":
            raise PeerError(words[1], " ".join(words[2:]))
        return words

    def tell(self, *words: object) -> list[str]:
        """Tell it what to do and return its answer."""
        self.order(*words)
        return self.answer()

    def send(self, queue: str, message: Message) -> tuple[int, bool]:
        """Send; return the id, and whether the key was known."""
        said, message_id, outcome = self.tell("send", queue, message.packed())
        assert (said, outcome) in (("sent", "new"), ("sent", "duplicate"))
        return int(message_id), outcome == "duplicate"

    def receive(self, queue: str, most: int = 100, wait_ms: int = 60_000, lease_ms: int = 60_000) -> list[Delivery]:
        """Take up to so many messages, waiting for a first one."""
        self.order("receive", queue, most, wait_ms, lease_ms)
        found = []
        while (words := self.answer())[0] == "delivery":
            handle, message_id, token, attempt = map(int, words[1:5])
            found.append(Delivery(handle, message_id, token, attempt, " ".join(words[5:])))
        assert words == ["ok", str(len(found))]
        return found

    def kill(self) -> list[str]:
        """SIGKILL it; return the whole lines that it had said and nobody had read."""
        self.process.kill()
        assert self.process.stdout is not None
        rest = self._rest + self.process.stdout.read()
        assert self.process.wait(PATIENCE) == -signal.SIGKILL, "it was alive until it was killed"
        return [line.decode() for line in rest.split(b"\n")[:-1]]


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Compile the peer in C, and say how each one is started."""
    program = tmp_path_factory.mktemp("peer") / "peer"
    flags = ["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    where = [f"-I{C_PREFIX}/include", f"-L{C_PREFIX}/lib", f"-Wl,-rpath,{C_PREFIX}/lib", "-lonceward"]
    subprocess.run(["cc", *flags, "-o", str(program), str(HERE / "peers/peer.c"), *where], check=True)
    return {
        "python": [sys.executable, "-u", str(HERE / "peers/peer.py")],
        "node": ["node", str(HERE / "peers/peer.mjs")],
        "c": [str(program)],
    }


@pytest.fixture
def peer(commands: dict[str, list[str]]) -> Iterator[Callable[..., Peer]]:
    """Start peers; whoever still runs at the end of the test is killed."""
    started: list[Peer] = []

    def start(language: str, path: Path, busy_ms: int = BUSY_MS) -> Peer:
        started.append(Peer(commands[language], path, busy_ms))
        assert started[-1].greeting[:2] == ["ready", language]
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait(PATIENCE)
        for stream in (one.process.stdin, one.process.stdout, one.process.stderr):
            if stream is not None:
                stream.close()
