"""The three promises, by the names that Onceward gives them."""

from typing import Final, Literal

Semantics = Literal["at-most-once", "at-least-once", "exactly-once"]

AT_MOST_ONCE: Final = "at-most-once"
AT_LEAST_ONCE: Final = "at-least-once"
EXACTLY_ONCE: Final = "exactly-once"
ALL: Final[tuple[Semantics, ...]] = (AT_MOST_ONCE, AT_LEAST_ONCE, EXACTLY_ONCE)
"""In the order in which they are run and shown."""
