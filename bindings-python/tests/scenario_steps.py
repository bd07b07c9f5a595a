"""Reading the scenarios of `tests/scenarios/`, and writing answers. The grammar is in the README there."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "tests" / "scenarios"
LONG = 32
UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class MistakeError(Exception):
    """The step is wrong."""


def words(line: str) -> list[tuple[str, bool]]:
    """Split a line at its spaces, but those in quotes; say of each word whether it began with a quote."""
    found = re.findall(r'(?:[^\s"]|"[^"]*")+', line)
    return [(word.replace('"', ""), word.startswith('"')) for word in found]


def body(word: str) -> bytes:
    """Return the bytes that a word stands for: `hex:00ff`, `x*1000`, or itself."""
    if word.startswith("hex:"):
        return bytes.fromhex(word[4:])
    if match := re.fullmatch(r"([\x20-\x7e])\*(\d+)", word):
        return match[1].encode() * int(match[2])
    return word.encode()


def text(word: str) -> str:
    return body(word).decode()


def duration(word: str) -> timedelta:
    match = re.fullmatch(r"(\d+)(ms|s|m|h|d)", word)
    if match is None:
        raise MistakeError(f"{word} is no duration")
    return timedelta(milliseconds=int(match[1]) * UNITS_MS[match[2]])


class Step:
    """A verb, its words and its options. What is read is taken out, so that in the end nothing may be left."""

    def __init__(self, line: str) -> None:
        self._words: list[str] = []
        self._options: dict[str, str] = {}
        for word, quoted in words(line):
            match = re.fullmatch(r"([\w.-]*)=(.*)", word, re.DOTALL)
            if match and not quoted:
                self._options[match[1]] = match[2]
            else:
                self._words.append(word)
        self.verb = self.word()

    def word(self) -> str:
        if not self._words:
            raise MistakeError("a word is missing")
        return self._words.pop(0)

    def rest(self) -> list[str]:
        rest, self._words = self._words, []
        return rest

    def repeated(self) -> list[str]:
        """Return the words that are left, as often as `times` says."""
        return self.rest() * int(self.option("times") or 1)

    def option(self, name: str) -> str | None:
        return self._options.pop(name, None)

    def needed(self, name: str) -> str:
        value = self.option(name)
        if value is None:
            raise MistakeError(f"{name}= is missing")
        return value

    def given(self, **readers: Callable[[str], Any]) -> dict[str, Any]:
        """Return the options of these names that are there, read."""
        values = {name: self.option(name) for name in readers}
        return {name: readers[name](value) for name, value in values.items() if value is not None}

    def options(self, begin: str) -> dict[str, str]:
        """Return the options whose names begin so, without that."""
        names = [name for name in self._options if name.startswith(begin)]
        return {name.removeprefix(begin): self._options.pop(name) for name in names}

    def finish(self) -> None:
        for left in [*self._words, *self._options]:
            raise MistakeError(f"{self.verb} does not take {left}")


def yes_or_no(word: str) -> bool:
    if word not in ("yes", "no"):
        raise MistakeError(f"{word} is not yes or no")
    return word == "yes"


def shown(value: str | bytes | None) -> str:
    """Write a text or bytes: plain, in quotes, `x*N` for a long run of one letter, or `hex:…`; `-` for none."""
    if value is None:
        return "-"
    raw = value.encode() if isinstance(value, str) else value
    if not raw:
        return '""'
    if not all(0x20 <= byte <= 0x7E and byte != 0x22 for byte in raw):
        return f"hex:{raw.hex()}"
    if len(raw) >= LONG and len(set(raw)) == 1:
        return f"{chr(raw[0])}*{len(raw)}"
    return f'"{raw.decode()}"' if b" " in raw else raw.decode()


def shown_header(value: str | bytes) -> str:
    return shown(value) if isinstance(value, str) else f"hex:{value.hex()}"


def shown_value(value: object) -> str:
    """Write a value of SQLite, with the letter of its type."""
    match value:
        case None:
            return "null"
        case int():
            return f"i:{value}"
        case float():
            return f"r:{value}"
        case str():
            return f"t:{shown(value)}"
        case bytes():
            return f"b:{value.hex()}"
    raise AssertionError(f"no value of SQLite: {value!r}")


def parameter(word: str) -> int | float | str | bytes | None:
    """Read a value of SQLite."""
    kind, _, value = word.partition(":")
    readers: dict[str, Callable[[str], int | float | str | bytes | None]]
    readers = {"null": lambda _: None, "i": int, "r": float, "t": text, "b": bytes.fromhex}
    if kind not in readers:
        raise MistakeError(f"{word} is no value")
    return readers[kind](value)


def listed(items: Iterable[str]) -> str:
    return " ".join(items) or "none"


def yes(value: bool) -> str:
    return "yes" if value else "no"


@dataclass
class Line:
    """Where it stands, the step, and the answer that it must have."""

    at: str
    step: str
    wanted: str | None

    def fits(self, answer: str) -> bool:
        """Say whether an answer is the one that was wanted: of an error the kind, and words that its message has."""
        if answer.startswith("mistake: "):
            return False
        if self.wanted is None:
            return not answer.startswith("error ")
        if not self.wanted.startswith("error "):
            return answer == self.wanted
        kind, *parts = [word for word, _ in words(self.wanted.removeprefix("error "))]
        _, found, message = (*answer.split(" ", 2), "", "")[:3]
        return answer.startswith("error ") and found == kind and all(part in message for part in parts)


@dataclass
class Scenario:
    """A title, and lines."""

    title: str
    lines: list[Line] = field(default_factory=list)

    def add(self, at: str, line: str) -> None:
        step, arrow, wanted = line.partition(" -> ")
        self.lines.append(Line(at, step.strip(), wanted.strip() if arrow else None))


def scenarios() -> list[Scenario]:
    """Read every scenario, in the order of the files."""
    found: list[Scenario] = []
    for path in sorted(FOLDER.glob("*.scenario")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if line.startswith("scenario "):
                found.append(Scenario(line.removeprefix("scenario ")))
            elif line and not line.startswith(("#", "covers ")):
                found[-1].add(f"{path.name}:{number}", line.strip())
    assert found, "there are scenarios"
    return found
