"""Forks in the middle of a call: the call is the parent's, and the child learns so.

usage: fork_in_call.py path
"""

import os
import sys

import onceward


def pay() -> bytes:
    """Return in two processes."""
    return b"child" if os.fork() == 0 else b"parent"


with onceward.open(sys.argv[1]) as store:
    delivery = store.queue("payments").receive(wait=30)
    assert delivery is not None
    try:
        result = delivery.once("charge", pay, on_unknown="park")
    except onceward.ClosedError:
        os._exit(0)
    os.wait()
    print(result.decode(), len(store.in_doubt()), flush=True)
