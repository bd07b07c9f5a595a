"""The page on the Python module and the README: their examples run, in order, and say what they show."""

import re
from pathlib import Path
from typing import Any

import onceward
import pytest

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
    assert sum("assert" in block for block in found) >= 4
    assert names["sent"].id > 0
    assert names["again"].id == names["held"].id


def test_the_example_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(TREE / "README.md")
    exec(compile(block, "README.md", "exec"), {})
    with onceward.open("app.db") as store, store.transaction() as tx:
        assert list(tx.query("SELECT order_id, cents FROM entries")) == [(42, 1999)]
