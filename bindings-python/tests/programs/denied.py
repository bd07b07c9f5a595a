"""Opens what the operating system refuses, as an ordinary user, and prints the class of each error.

Everything is imported before the user changes: the interpreter may lie in a folder of root's.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import onceward

NOBODY = 65534


def attempt(case: str, call: Callable[[], onceward.Store]) -> None:
    """Print what a call raises."""
    try:
        store = call()
        store.queue("jobs", semantics="at-least-once").send(b"x")
        print(f"{case}: none")
    except onceward.Error as error:
        print(f"{case}: {type(error).__name__} {error.code} {error.kind_number} {error}")


def main() -> None:
    """Set the folders up, become an ordinary user, and try."""
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        for name in ("private", "readonly", "locked", "empty"):
            (folder / name).mkdir()
            (folder / name).chmod(0o755)
            if name != "empty":
                onceward.open(folder / name / "app.db").close()
        if os.getuid() == 0:
            for name in ("private", "readonly", "locked"):
                for file in (folder / name, *(folder / name).iterdir()):
                    os.chown(file, NOBODY, NOBODY)
        for file in (folder / "private").iterdir():
            file.chmod(0o000)
        for file in (folder / "readonly").iterdir():
            file.chmod(0o444)
        (folder / "locked").chmod(0o555)
        (folder / "empty").chmod(0o555)
        child = os.fork()
        if child == 0:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            attempt("no permission", lambda: onceward.open(folder / "private" / "app.db"))
            attempt("read-only file", lambda: onceward.open(folder / "readonly" / "app.db"))
            attempt("unwritable folder", lambda: onceward.open(folder / "locked" / "app.db"))
            attempt("unwritable folder, new file", lambda: onceward.open(folder / "empty" / "app.db"))
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)
    finally:
        for path in folder.iterdir():
            path.chmod(0o755)
        shutil.rmtree(folder)


main()
