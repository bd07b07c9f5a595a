"""What was built has the version that stands in the source, in every language."""

import importlib.metadata
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import C_PREFIX, LANGUAGES, TREE, Peer

VERSION = tomllib.loads((TREE / "Cargo.toml").read_text())["workspace"]["package"]["version"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_library_says_the_version_of_the_workspace(
    peer: Callable[..., Peer], tmp_path: Path, language: str
) -> None:
    assert peer(language, tmp_path / "mixed.db").greeting == ["ready", language, VERSION]


def test_what_is_installed_for_python_has_it() -> None:
    assert importlib.metadata.version("onceward") == VERSION


def test_what_is_installed_for_c_has_it() -> None:
    header = (C_PREFIX / "include/onceward.h").read_text()
    assert re.findall(r'^#define ONCEWARD_VERSION "(.*)"$', header, re.MULTILINE) == [VERSION]
    package = (C_PREFIX / "lib/pkgconfig/onceward.pc").read_text()
    assert re.findall(r"^Version: (.*)$", package, re.MULTILINE) == [VERSION]
    cmake = (C_PREFIX / "lib/cmake/Onceward/OncewardConfigVersion.cmake").read_text()
    assert re.findall(r'^set\(PACKAGE_VERSION "(.*)"\)$', cmake, re.MULTILINE) == [VERSION]
    assert (C_PREFIX / "lib/libonceward.so").resolve().name == f"libonceward.so.{VERSION}"
