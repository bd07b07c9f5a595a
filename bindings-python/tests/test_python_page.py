"""The page on the Python module and the README: their examples run, in order, and say what they show."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import onceward
import pytest

from conftest import PATIENCE

TREE = Path(__file__).parents[2]
PAGE = TREE / "docs" / "python.md"


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def test_every_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    found = blocks(PAGE)
    for block in found:
        exec(compile(block, str(PAGE), "exec"), names)
        if "CancelledError" in block:
            asyncio.run(cancelled(names["receive"], names["payments"]))
    assert sum("assert" in block for block in found) >= 4
    assert names["sent"].id > 0
    assert any("CancelledError" in block for block in found)
    assert names["again"].id == names["held"].id


async def cancelled(receive: Callable[..., Coroutine[Any, Any, object]], payments: onceward.Queue) -> None:
    """Cancel the page's receive, let a message come, and see that it was given back unused."""
    task = asyncio.create_task(receive(wait=PATIENCE))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.sleep(0.05)
    sent = payments.send(b"late", key="late")
    with pytest.raises(asyncio.CancelledError):
        await task
    again = payments.receive()
    assert again is not None
    assert (again.id, again.attempt) == (sent.id, 1)


def test_the_example_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(TREE / "README.md")
    exec(compile(block, "README.md", "exec"), {})
    with onceward.open("app.db") as store, store.transaction() as tx:
        assert list(tx.query("SELECT order_id, cents FROM entries")) == [(42, 1999)]
