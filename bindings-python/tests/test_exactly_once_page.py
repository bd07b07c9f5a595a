"""The page on exactly-once: each of its Python examples runs, in order, and has the effect it is there for."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import onceward
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "exactly-once.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


class NotSentError(Exception):
    """The bank was not reached."""


class Bank:
    """The third party of the page."""

    def __init__(self) -> None:
        self.made: list[tuple[str, int]] = []
        self.troubles: list[Exception] = []
        self.asked = 0

    def transfer(self, reference: str, cents: int) -> bytes:
        trouble = self.troubles.pop(0) if self.troubles else None
        if isinstance(trouble, NotSentError):
            raise trouble
        self.made.append((reference, cents))
        if trouble is not None:
            raise trouble
        return b"receipt of " + reference.encode()

    def find(self, reference: str) -> bytes | None:
        self.asked += 1
        return next((b"receipt of " + name.encode() for name, _ in self.made if name == reference), None)


class Page:
    """The examples of the page, run one by one in one module."""

    def __init__(self) -> None:
        self.bank = Bank()
        self.references: dict[int, str] = {}
        self.names: dict[str, Any] = {
            "bank": self.bank,
            "NotSentError": NotSentError,
        }
        self.blocks = iter(BLOCKS)
        self.last = ""

    def run(self, has: str, *, settle: int = 60) -> None:
        """Run the next example, which is the one with these words in it."""
        self.last = next(self.blocks)
        assert has in self.last
        self.run_again(settle=settle)

    def run_again(self, *, settle: int = 60) -> None:
        """Run the last example again."""
        block = self.last.replace("settle=60", f"settle={settle}")
        exec(compile(block, str(PAGE), "exec"), self.names)

    def send(self, key: str) -> None:
        self.references[self.names["payments"].send(b"500", key=key).id] = key

    def unfinished(self) -> list[int]:
        ids: list[int] = self.names["payments"].unfinished(list(self.references))
        return ids


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    monkeypatch.chdir(tmp_path)
    opened = Page()
    yield opened
    opened.names["store"].close()
    if "ledger" in opened.names:
        opened.names["ledger"].close()


def entries(path: str) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT order_key, cents FROM entries").fetchall()


def test_every_example_of_the_page_runs_and_does_what_it_is_there_for(page: Page) -> None:
    page.run("onceward.open")
    store = page.names["store"]

    page.run("delivery.transaction()")
    assert entries("app.db") == [("order-42", 1999)]

    page.send("order-43")
    page.run("inbox.transaction")
    assert entries("ledger.db") == [("order-43", 500)]
    assert page.unfinished() == []

    for key in ("order-44", "order-45", "order-46"):
        page.send(key)
    page.bank.troubles = [TimeoutError("no answer"), NotSentError("closed")]
    page.run('on_unknown="park"')
    assert page.bank.made == [("order-44", 500), ("order-46", 500)]
    assert [page.references[doubt.message] for doubt in store.in_doubt()] == ["order-44"]
    assert sorted(page.references[message] for message in page.unfinished()) == ["order-44", "order-45"]

    lost = page.names["payments"].receive(wait=30)  # order-45, which was given back
    assert lost.key == "order-45"
    page.bank.troubles = [NotSentError("closed")]
    page.names["delivery"] = lost
    with pytest.raises(onceward.InDoubtError):
        lost.once("transfer", page.names["transfer"], on_unknown="park")
    page.run("store.resolve")
    assert [kept.resolution for kept in store.resolutions()] == [
        onceward.Applied(b"receipt of order-44"),
        onceward.NOT_APPLIED,
    ]

    page.run('on_unknown="probe"')
    assert page.unfinished() == []
    assert sorted(page.bank.made) == [("order-44", 500), ("order-45", 500), ("order-46", 500)]

    page.run('store.ledger("refunds")')
    page.run_again()
    assert page.bank.made[3:] == [("refund-42", -1999)]
    assert list(page.blocks) == []


def test_the_probe_of_the_page_finds_what_was_made(page: Page) -> None:
    for has in ("onceward.open", "delivery.transaction()", "inbox.transaction", 'on_unknown="park"', "store.resolve"):
        page.run(has)
    page.send("order-50")
    page.bank.troubles = [TimeoutError("no answer")]
    page.run('on_unknown="probe"', settle=0)
    while page.bank.asked == 0 and (retry := page.names["payments"].receive(wait=30)):
        retry.release()
        page.run_again(settle=0)
    assert page.bank.asked == 1
    assert page.unfinished() == []
    assert page.bank.made == [("order-50", 500)]


def test_the_sql_of_the_page_acknowledges_in_the_applications_own_transaction(page: Page) -> None:
    page.run("onceward.open")
    delivery = page.names["payments"].receive()
    (script,) = re.findall(r"^```sql\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    shown = "(274877906945, 4294967297)"
    assert shown in script
    with closing(sqlite3.connect("app.db", isolation_level=None)) as connection:
        connection.executescript(script.replace(shown, f"({delivery.id}, {delivery.token})"))
    assert entries("app.db") == [("order-42", 1999)]
    assert page.names["payments"].unfinished([delivery.id]) == []
