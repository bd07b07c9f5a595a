"""What runs the Rust tests: every program that cargo built runs, and what fails is said."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("rust_tests.py")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def executable(path: Path, script: str) -> Path:
    """Write a shell script that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def artifact(root: Path, name: str, script: str, *, test: bool = True) -> str:
    """Return what cargo says of a test program that does what the script says."""
    package = root / "package"
    program = executable(package / "target" / name, script)
    return json.dumps(
        {
            "reason": "compiler-artifact",
            "manifest_path": str(package / "Cargo.toml"),
            "target": {"src_path": str(package / "tests" / f"{name}.rs")},
            "profile": {"test": test},
            "executable": str(program),
        }
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the script with a cargo that says this of its build, and ends its build and its doc tests so."""

    def run(*lines: str, build: int = 0, doc: int = 0) -> "subprocess.CompletedProcess[str]":
        said = tmp_path / "said"
        said.write_text("".join(f"{line}\n" for line in lines))
        cargo = f'echo "$*" >> {tmp_path}/calls\ncase "$*" in *--doc) exit {doc};; *) cat {said}; exit {build};; esac'
        folder = executable(tmp_path / "bin" / "cargo", cargo).parent
        command = [sys.executable, str(SCRIPT), "2", "--workspace"]
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)

    return run


def test_every_test_program_runs_in_the_folder_of_its_package(tmp_path: Path, run: Run) -> None:
    built = [
        artifact(tmp_path, name, f"echo {name} in $(basename $PWD)") for name in ("sending", "receiving", "settling")
    ]
    others = [
        '{"reason": "build-finished", "success": true}',
        artifact(tmp_path, "driver", "echo not a test", test=False),
    ]
    done = run(*built, *others)
    assert done.returncode == 0, done.stderr
    for name in ("sending", "receiving", "settling"):
        assert f"Running package/tests/{name}.rs\n{name} in package\n" in done.stdout
    assert "not a test" not in done.stdout
    assert "3 test programs and the doc tests: 0 failed" in done.stdout
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == ["test --workspace --no-run --message-format json-render-diagnostics", "test --workspace --doc"]


def test_one_that_fails_is_named_and_the_others_run(tmp_path: Path, run: Run) -> None:
    done = run(artifact(tmp_path, "sending", "echo it broke; exit 101"), artifact(tmp_path, "receiving", "echo fine"))
    assert done.returncode == 1
    assert done.stderr == "failed: package/tests/sending.rs (exit status 101)\n"
    assert "it broke" in done.stdout
    assert "fine" in done.stdout


def test_one_that_is_killed_fails(tmp_path: Path, run: Run) -> None:
    done = run(artifact(tmp_path, "sending", "kill -9 $$"))
    assert (done.returncode, done.stderr) == (1, "failed: package/tests/sending.rs (exit status -9)\n")


def test_a_build_that_fails_runs_nothing(tmp_path: Path, run: Run) -> None:
    done = run(artifact(tmp_path, "sending", "echo ran"), build=101)
    assert (done.returncode, done.stdout) == (101, "")


def test_failing_doc_tests_fail(tmp_path: Path, run: Run) -> None:
    done = run(artifact(tmp_path, "sending", "true"), doc=101)
    assert (done.returncode, done.stderr) == (1, "failed: doc tests\n")


def test_no_test_program_at_all_is_a_failure(run: Run) -> None:
    done = run('{"reason": "build-finished", "success": true}')
    assert (done.returncode, done.stderr) == (1, "there is no test program\n")
