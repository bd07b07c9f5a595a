"""Builds and runs the tests of the Rust crates as `cargo test` does, several programs at a time: most of them wait.

usage: rust_tests.py JOBS CARGO-OPTION...

What a program prints is shown when it has ended. The exit status is 1 when any of them fails, or a doc test does.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Program:
    """A test program, and the folder of its package, in which it runs."""

    executable: str
    package: Path
    source: str

    def run(self) -> tuple[int, str]:
        """Run it to its end. Return its exit status and what it printed."""
        done = subprocess.run(
            [self.executable],
            check=False,
            cwd=self.package,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.returncode, done.stdout.decode(errors="replace")


def programs(messages: str) -> Iterator[Program]:
    """Read the test programs out of what cargo says of a build, a JSON object a line."""
    for line in messages.splitlines():
        message = json.loads(line)
        if message["reason"] != "compiler-artifact" or not message["profile"]["test"] or message["executable"] is None:
            continue
        package = Path(message["manifest_path"]).parent
        source = Path(message["target"]["src_path"]).relative_to(package)
        yield Program(message["executable"], package, f"{package.name}/{source}")


def run_all(found: Sequence[Program], jobs: int) -> list[str]:
    """Run the programs, and show what they print. Return the sources of those that failed."""
    failed = []
    pool = ThreadPoolExecutor(jobs)
    try:
        running = {pool.submit(program.run): program for program in found}
        for future in as_completed(running):
            status, output = future.result()
            source = running[future].source
            print(f"     Running {source}\n{output}", flush=True)
            if status != 0:
                failed.append(f"{source} (exit status {status})")
    finally:
        # After Ctrl-C, which ended those that ran, no others begin.
        pool.shutdown(cancel_futures=True)
    return failed


def main(arguments: Sequence[str]) -> int:
    """Build, run, and say what failed."""
    jobs, options = int(arguments[0]), list(arguments[1:])
    test = ["cargo", "test", *options]
    build = [*test, "--no-run", "--message-format", "json-render-diagnostics"]
    built = subprocess.run(build, check=False, stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        return built.returncode
    found = list(programs(built.stdout))
    if not found:
        print("there is no test program", file=sys.stderr)
        return 1
    failed = run_all(found, jobs)
    if subprocess.run([*test, "--doc"], check=False).returncode != 0:
        failed.append("doc tests")
    for one in failed:
        print(f"failed: {one}", file=sys.stderr)
    print(f"{len(found)} test programs and the doc tests: {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
