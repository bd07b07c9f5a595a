"""The rules of the tree notice what they are there for."""

from pathlib import Path

import pytest

from check_tree import HOSTS, REQUIRED, check


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in REQUIRED:
        (tmp_path / name).write_text("text\n")
    return tmp_path


def test_a_clean_tree_has_no_findings(tree: Path) -> None:
    assert check(tree) == []


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_document_is_found(tree: Path, name: str) -> None:
    (tree / name).unlink()
    assert check(tree) == [f"{name}:1: missing"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("see /ho" + "me/somebody/file\n", "a path of one machine"),
        (f"https://{HOSTS[0]}/\n", "the host of a package registry"),
        ("fixes" + " #12\n", "the number of an issue"),
        ("# TO" + "DO: later\n", "an unfinished thought"),
        ("text \n", "white space at the end of a line"),
        ("text", "no newline at the end"),
        ("x\n" * 601, "more than 600 lines"),
    ],
)
def test_a_line_that_breaks_a_rule_is_found(tree: Path, text: str, what: str) -> None:
    (tree / "file.py").write_text(text)
    (finding,) = check(tree)
    assert finding.startswith("file.py:")
    assert what in finding


def test_what_tools_put_there_is_not_looked_at(tree: Path) -> None:
    for folder in ("target", "node_modules", ".venv", ".mypy_cache"):
        (tree / folder).mkdir()
        (tree / folder / "file.py").write_text("text ")
    assert check(tree) == []


def test_a_target_that_help_does_not_explain_is_found(tree: Path) -> None:
    (tree / "Makefile").write_text(".PHONY: help hidden\nhelp: ## explained\nhidden:\n")
    assert check(tree) == ["Makefile:1: the target hidden is not explained in `make help`"]
