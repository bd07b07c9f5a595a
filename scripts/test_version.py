"""One version number: a difference is found wherever it is, and setting it sets it everywhere."""

import re
import shutil
from pathlib import Path

import pytest

from version import Place, check, members, places, set_version

TREE = Path(__file__).resolve().parents[1]
OTHER = "9.8.7"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Copy what holds a version."""
    names = {place.path for place in places(TREE)} | set(members(TREE).values())
    for name in names | {"CHANGELOG.md", "bindings-python/pyproject.toml"}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TREE / name, tmp_path / name)
    return tmp_path


def edit(path: Path, pattern: str, text: str) -> None:
    before = path.read_text()
    after = re.sub(pattern, text, before, count=1, flags=re.MULTILINE)
    assert after != before
    path.write_text(after)


def test_the_tree_has_one_version_number() -> None:
    assert check(TREE) == []


def test_every_crate_is_looked_at() -> None:
    folders = {path.parent.relative_to(TREE).as_posix() for path in TREE.glob("*/Cargo.toml")}
    assert folders | {"tests/hostile"} <= {manifest.removesuffix("/Cargo.toml") for manifest in members(TREE).values()}


@pytest.mark.parametrize("place", [*places(TREE)], ids=lambda place: f"{place.path} {place.what}")
def test_a_version_that_differs_in_one_place_is_found(tree: Path, place: Place) -> None:
    path = tree / place.path
    path.write_text(place.replaced(path.read_text(), OTHER))
    assert any(place.expected(OTHER) in finding for finding in check(tree))


@pytest.mark.parametrize("place", [*places(TREE)][1:], ids=lambda place: f"{place.path} {place.what}")
def test_a_version_that_is_missing_in_one_place_is_found(tree: Path, place: Place) -> None:
    path = tree / place.path
    path.write_text(re.sub(place.pattern, "", path.read_text(), flags=re.MULTILINE))
    assert check(tree) == [f"{place.path}: {place.what} stands there 0 times, not {place.times}"]


def test_a_crate_with_a_version_of_its_own_is_found(tree: Path) -> None:
    edit(tree / "bindings-node/Cargo.toml", r"^version\.workspace = true$", 'version = "0.1.0"')
    assert check(tree) == [
        "bindings-node/Cargo.toml: the crate onceward-node has a version of its own, not the workspace's"
    ]


def test_a_python_package_with_a_version_of_its_own_is_found(tree: Path) -> None:
    edit(tree / "bindings-python/pyproject.toml", r'^dynamic = \["version"\]$', 'version = "0.1.0"\ndynamic = []')
    assert check(tree) == ["bindings-python/pyproject.toml: the package has a version of its own, not the crate's"]


@pytest.mark.parametrize("heading", ["## 0.0.1 - 2020-01-01", "## [0.0.1]"])
def test_a_release_of_another_version_is_found(tree: Path, heading: str) -> None:
    edit(tree / "CHANGELOG.md", r"^## .*$", heading)
    (finding,) = check(tree)
    assert finding.startswith("CHANGELOG.md: the top release is 0.0.1, not ")


def test_a_changelog_without_a_release_is_found(tree: Path) -> None:
    (tree / "CHANGELOG.md").write_text("# Changelog\n")
    assert check(tree) == ["CHANGELOG.md: there is no release, and nothing unreleased"]


def test_setting_the_version_sets_it_everywhere(tree: Path) -> None:
    before = {place: len(place.found((tree / place.path).read_text())) for place in places(tree)}
    set_version(tree, OTHER)
    edit(tree / "CHANGELOG.md", r"^## .*$", f"## {OTHER} - 2030-01-01")
    assert check(tree) == []
    for place, times in before.items():
        assert place.found((tree / place.path).read_text()) == [place.expected(OTHER)] * times
