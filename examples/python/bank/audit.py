"""Compares what was asked for, what the store says, and what the bank's own log says: `python audit.py FOLDER`.

Each payment must be acknowledged and paid once, or listed in doubt and paid at most once. It exits with 1, and says
which payment it was, where that does not hold. Run it when neither workers nor bank run: what is under way is neither.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onceward

STATES = ("acknowledged", "in doubt", "neither")
TIMES = ("not paid", "paid once", "paid twice")
KEPT = {("acknowledged", "paid once"), ("in doubt", "not paid"), ("in doubt", "paid once")}


@dataclass
class Report:
    """How many payments there are of each state, and what is wrong with any of them."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def table(self) -> str:
        """Return the counts: the state in the store, against the bank's log."""
        lines = ["".join(f"{title:>14}" for title in ("", *TIMES))]
        lines += [f"{state:>14}" + "".join(f"{self.counts[state, n]:>14}" for n in TIMES) for state in STATES]
        return "\n".join(lines)


def orders(folder: Path) -> list[dict[str, Any]]:
    """Return what was asked for: reference, cents, and the id of the message."""
    return [json.loads(line) for line in (folder / "orders.log").read_text().splitlines()]


def transfers(folder: Path) -> list[dict[str, Any]]:
    """Return what the bank did."""
    return [json.loads(line) for line in (folder / "bank.log").read_text().splitlines()]


def all_in_doubt(store: onceward.Store) -> Iterator[onceward.InDoubt]:
    """Yield every doubt of the store, page by page."""
    after = None
    while page := store.in_doubt(after=after):
        yield from page
        after = page[-1].doubt


def audit(folder: Path) -> Report:
    """Look at every payment."""
    report, asked, done = Report(), orders(folder), transfers(folder)
    with onceward.open(folder / "store.db", create=False) as store:
        unfinished = set(store.queue("payments").unfinished([order["message"] for order in asked]))
        in_doubt = {doubt.message for doubt in all_in_doubt(store)}
    made = Counter(entry["reference"] for entry in done)
    cents = {order["reference"]: order["cents"] for order in asked}
    for order in asked:
        reference, message = order["reference"], order["message"]
        state = "in doubt" if message in in_doubt else "neither" if message in unfinished else "acknowledged"
        times = TIMES[min(made[reference], 2)]
        report.counts[state, times] += 1
        if (state, times) not in KEPT:
            report.broken.append(f"{reference}: {state}, {times}")
    for entry in done:
        if cents.get(entry["reference"]) != entry["cents"]:
            report.broken.append(f"transfer {entry['transfer']}: nobody asked for it")
    return report


def main(folder: Path) -> None:
    """Print the table and what is wrong."""
    report = audit(folder)
    print(report.table())
    for line in report.broken:
        print(line)
    sys.exit(1 if report.broken else 0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
