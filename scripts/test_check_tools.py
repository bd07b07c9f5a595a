"""What `check-tools` says when something is missing: every tool by its name, and only for the targets that need it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent / "check-tools"
OWN = ("bash", "cut", "dirname", "head", "sed", "sort", "tr")
"""What the script itself runs."""
BUILD = ("cc", "ar", "ld", "objcopy", "make", "cargo", "node", "npm", "python3")
TEST_RUST = ("g++", "pkg-config", "valgrind", "nm", "readelf")
TEST_NODE = ("g++",)
TARGETS = ((), ("test",), ("test-rust",), ("test-node",), ("lint",))


class Machine:
    """A PATH that holds stand-ins for these tools and no others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in OWN:
            found = shutil.which(name)
            assert found is not None
            (folder / name).symlink_to(found)
        for name in {*BUILD, *TEST_RUST, *TEST_NODE}:
            self.put(name, "exit 0")
        self.put("cc", "while read -r line; do :; done")
        self.put("rustc", "echo 'rustc 99.0.0 (new)'")
        self.put("node", "echo v20.0.0")
        self.put("python3", "[[ $2 != *print* ]] || echo 3.11.0")

    def put(self, name: str, script: str) -> None:
        (self.folder / name).write_text(f"#!{shutil.which('bash')}\n{script}\n")
        (self.folder / name).chmod(0o755)

    def check(self, *targets: str) -> tuple[int, list[str]]:
        variables = {**os.environ, "PATH": str(self.folder), "PYTHON": "python3"}
        done = subprocess.run([SCRIPT, *targets], env=variables, capture_output=True, text=True, check=False)
        assert done.stdout == ""
        return done.returncode, done.stderr.splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("targets", TARGETS, ids=" ".join)
def test_nothing_is_said_when_nothing_is_missing(machine: Machine, targets: tuple[str, ...]) -> None:
    assert machine.check(*targets) == (0, [])


@pytest.mark.parametrize("tool", BUILD)
@pytest.mark.parametrize("targets", [(), ("test",), ("lint",)], ids=" ".join)
def test_what_building_needs_is_missed_by_every_target(machine: Machine, tool: str, targets: tuple[str, ...]) -> None:
    (machine.folder / tool).unlink()
    status, lines = machine.check(*targets)
    assert status == 1
    assert lines[0].startswith((f"missing: {tool} ", f"missing: {tool}:"))


@pytest.mark.parametrize("tool", sorted({*TEST_RUST, *TEST_NODE}))
@pytest.mark.parametrize("targets", TARGETS, ids=" ".join)
def test_what_tests_need_is_missed_by_their_targets_only(machine: Machine, tool: str, targets: tuple[str, ...]) -> None:
    (machine.folder / tool).unlink()
    needed = {"test": (*TEST_RUST, *TEST_NODE), "test-rust": TEST_RUST, "test-node": TEST_NODE}
    status, lines = machine.check(*targets)
    if any(tool in needed.get(target, ()) for target in targets):
        assert status == 1
        assert lines[0].startswith((f"missing: {tool} ", f"missing: {tool}:"))
        assert lines[-1].startswith("on Debian: apt-get install ")
    else:
        assert (status, lines) == (0, [])


def test_everything_that_is_missing_is_named_at_once(machine: Machine) -> None:
    for tool in TEST_RUST:
        (machine.folder / tool).unlink()
    status, lines = machine.check("test")
    assert status == 1
    assert [line.split(" ")[1] for line in lines[:-1]] == [*TEST_RUST]
    assert lines[-1] == "on Debian: apt-get install binutils g++ pkg-config valgrind"


def test_headers_that_are_missing_are_named(machine: Machine) -> None:
    machine.put("cc", "while read -r line; do [[ $line != *sqlite3* ]] || exit 1; done")
    assert machine.check() == (0, [])
    status, lines = machine.check("test")
    assert status == 1
    assert lines[0].startswith("missing: sqlite3.h ")
    assert lines[-1] == "on Debian: apt-get install libsqlite3-dev"
    machine.put("cc", "exit 1")
    assert machine.check()[1][0] == "missing: the headers of the C library: on Debian, the package libc6-dev"


@pytest.mark.parametrize(
    ("tool", "said", "complaint"),
    [
        ("rustc", "rustc 1.60.0 (old)", "missing: Rust 1.89 or newer (found 1.60.0)"),
        ("node", "v18.19.0", "missing: Node.js 20 or newer (found 18.19.0)"),
        ("python3", "3.10.2", "missing: Python 3.11 or newer (found 3.10.2)"),
    ],
)
def test_a_tool_that_is_too_old_is_named_with_its_version(
    machine: Machine, tool: str, said: str, complaint: str
) -> None:
    machine.put(tool, f"[[ $* == *ensurepip* ]] || echo '{said}'")
    assert machine.check() == (1, [complaint])


def test_the_lints_tools_are_missed_by_the_lint_only(machine: Machine) -> None:
    machine.put("cargo", "exit 101")
    assert machine.check("test") == (0, [])
    status, lines = machine.check("lint")
    assert status == 1
    assert lines[0] == "missing: cargo fmt (for make lint: rustup component add rustfmt)"


def test_a_target_that_is_not_known_is_refused(machine: Machine) -> None:
    status, (line,) = machine.check("everything")
    assert (status, line) == (2, "check-tools knows test, test-rust, test-node and lint, not 'everything'")
