"""The languages in which there is a sender and a worker, and how each is started.

The programs know of each other through the file alone. They do the same, step for step, and write the same journal, in
which each says itself what it is: `opened LANGUAGE VERSION`.
"""

import sys
from collections.abc import Sequence
from typing import Final, Literal

from webhooks.bodies import DEMO_FOLDER, InputMissingError

Language = Literal["python", "node", "c"]

ALL: Final[tuple[Language, ...]] = ("python", "node", "c")
"""In the order in which places are given to them, and in which they are shown."""

SENDER: Final = "sender"
WORKER: Final = "worker"

BUILT_FOR_C: Final = DEMO_FOLDER.parent / "build" / "demo"
"""Where the Makefile puts the two programs in C."""
NODE_MODULE: Final = DEMO_FOLDER.parent / "bindings-node" / "onceward.node"
"""The compiled part of the Node module, which the two programs in JavaScript load."""


def command(role: str, language: Language) -> list[str]:
    """Return what starts a program, without its arguments."""
    if language == "python":
        return [sys.executable, "-m", f"webhooks.{role}"]
    if language == "node":
        return ["node", str(DEMO_FOLDER / "node" / f"{role}.mjs")]
    return [str(BUILT_FOR_C / role)]


def require_built(languages: Sequence[Language]) -> None:
    """Fail when something that has to be compiled was not."""
    needed = {"python": [], "node": [NODE_MODULE], "c": [BUILT_FOR_C / SENDER, BUILT_FOR_C / WORKER]}
    for path in (path for language in languages for path in needed[language]):
        if not path.exists():
            raise InputMissingError(f"{path} is missing: run `make demo`, which builds it")
