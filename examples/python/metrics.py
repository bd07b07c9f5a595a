"""Metrics, at most once: losing a sample in a crash is fine, counting one twice is not.

`python metrics.py metrics.db record requests 3` sends a sample, without waiting for the disk;
`python metrics.py metrics.db report` takes all that is there and prints the sums. A sample is gone before it is handed
over, so that it can never be counted twice.
"""

import json
import sys
from collections import Counter

import onceward


def record(samples: onceward.Queue, name: str, value: int) -> None:
    """Send one sample."""
    samples.send(json.dumps([name, value]).encode())


def report(samples: onceward.Queue) -> Counter[str]:
    """Take every sample that is there, and add them up by name."""
    sums: Counter[str] = Counter()
    with samples.consume(wait=0) as deliveries:
        for delivery in deliveries:
            name, value = json.loads(delivery.body)
            sums[name] += value
    return sums


def main(path: str, command: str, *arguments: str) -> None:
    """Run one command."""
    with onceward.open(path) as store:
        samples = store.queue("metrics", semantics="at-most-once")
        match command, arguments:
            case "record", (name, value):
                record(samples, name, int(value))
            case "report", ():
                for name, total in sorted(report(samples).items()):
                    print(f"{name} {total}")
            case _:
                sys.exit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
