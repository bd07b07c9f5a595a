"""What the programs that fork share."""

from collections.abc import Callable

import onceward


def show_refusals(calls: dict[str, Callable[[], object]]) -> None:
    """Make each call, and print which error it raised."""
    for name, call in calls.items():
        try:
            call()
            print("child", name, "none", flush=True)
        except onceward.Error as error:
            print("child", name, type(error).__name__, flush=True)
