"""The one version number: `version.py` compares every place where it stands, `version.py 0.2.0` sets it.

The workspace's Cargo.toml is where it comes from. The compiled parts take it from there; that they did is tested where
they are built (`tests/mixed/test_versions.py`). Each finding is one line, and the exit status is 1 when there is any.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCE = "Cargo.toml"
UNRELEASED = "Unreleased"
VERSION = re.compile(r"(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the version stands: every match of the pattern, whose group is the version, or one of its three numbers."""

    path: str
    pattern: str
    what: str
    times: int = 1
    number: int | None = None

    def expected(self, version: str) -> str:
        """Return what has to stand there."""
        return version if self.number is None else version.split(".")[self.number]

    def found(self, text: str) -> list[str]:
        """Return what stands there."""
        return re.findall(self.pattern, text, re.MULTILINE)

    def replaced(self, text: str, version: str) -> str:
        """Return the file's text with this version."""
        end = 0
        pieces = []
        for match in re.finditer(self.pattern, text, re.MULTILINE):
            pieces += [text[end : match.start(1)], self.expected(version)]
            end = match.end(1)
        return "".join([*pieces, text[end:]])


def members(root: Path) -> dict[str, str]:
    """Return the crates of the workspace: their manifests, by name."""
    workspace = tomllib.loads((root / SOURCE).read_text())["workspace"]
    manifests = (f"{member}/Cargo.toml" for member in workspace["members"])
    return {tomllib.loads((root / manifest).read_text())["package"]["name"]: manifest for manifest in manifests}


def places(root: Path) -> Iterator[Place]:
    """Yield every place."""
    yield Place(SOURCE, r'^version = "(.+)"$', "the workspace")
    yield Place(SOURCE, r'^onceward = \{.*version = "(.+?)".*\}$', "the dependency on the core")
    for name in members(root):
        yield Place("Cargo.lock", rf'^name = "{re.escape(name)}"\nversion = "(.+)"$', f"the crate {name}")
    yield Place("bindings-node/package.json", r'^  "version": "(.+)",$', "the package")
    yield Place(
        "bindings-node/package-lock.json", r'"name": "onceward",\n +"version": "(.+)",$', "the package", times=2
    )
    yield Place("include/onceward.h", r'^#define ONCEWARD_VERSION "(.+)"$', "ONCEWARD_VERSION")
    for number, part in enumerate(("MAJOR", "MINOR", "PATCH")):
        macro = f"ONCEWARD_VERSION_{part}"
        yield Place("include/onceward.h", rf"^#define {macro} (\d+)$", macro, number=number)


def check(root: Path) -> list[str]:
    """Return what differs."""
    version: str = tomllib.loads((root / SOURCE).read_text())["workspace"]["package"]["version"]
    if VERSION.fullmatch(version) is None:
        return [f"{SOURCE}: {version!r} is not of the form 1.2.3"]
    findings = []
    for place in places(root):
        wanted = place.expected(version)
        found = place.found((root / place.path).read_text())
        findings += [f"{place.path}: {place.what} is {one}, not {wanted}" for one in found if one != wanted]
        if len(found) != place.times:
            findings.append(f"{place.path}: {place.what} stands there {len(found)} times, not {place.times}")
    for name, manifest in members(root).items():
        if tomllib.loads((root / manifest).read_text())["package"].get("version") != {"workspace": True}:
            findings.append(f"{manifest}: the crate {name} has a version of its own, not the workspace's")
    project = tomllib.loads((root / "bindings-python/pyproject.toml").read_text())["project"]
    if "version" in project or "version" not in project["dynamic"]:
        findings.append("bindings-python/pyproject.toml: the package has a version of its own, not the crate's")
    findings.extend(check_changelog((root / "CHANGELOG.md").read_text(), version))
    return findings


def check_changelog(text: str, version: str) -> Iterator[str]:
    """Compare the top of the changelog: what is not released yet, or the release of this version."""
    headings = re.findall(r"^## \[?([^\]\s]+)", text, re.MULTILINE)
    if not headings:
        yield "CHANGELOG.md: there is no release, and nothing unreleased"
    elif headings[0] not in (UNRELEASED, version):
        yield f"CHANGELOG.md: the top release is {headings[0]}, not {version}"


def set_version(root: Path, version: str) -> None:
    """Write the version everywhere."""
    for place in list(places(root)):
        path = root / place.path
        path.write_text(place.replaced(path.read_text(), version))


def main() -> int:
    """Compare, after setting the version that is given, if one is."""
    root = Path(__file__).resolve().parents[1]
    if len(sys.argv) > 1:
        if VERSION.fullmatch(sys.argv[1]) is None:
            print(f"{sys.argv[1]!r} is not of the form 1.2.3", file=sys.stderr)
            return 2
        set_version(root, sys.argv[1])
    findings = check(root)
    print("\n".join(findings) or "one version number everywhere")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
