"""Pays for a message at a bank that is a log file, and stops in the middle of the call until it is killed.

usage: charge.py path log before|after
"""

import sys
from pathlib import Path

import onceward

path, log, where = sys.argv[1], Path(sys.argv[2]), sys.argv[3]


def pay() -> bytes:
    """Carry it out, before or after the program is killed."""
    if where == "after":
        with log.open("a") as bank:
            bank.write("paid\n")
    print("calls", flush=True)
    sys.stdin.readline()
    return b"paid"


with onceward.open(path) as store:
    delivery = store.queue("payments").receive(wait=30)
    assert delivery is not None
    delivery.once("charge", pay, on_unknown="park")
