"""Ends while daemon threads wait in an open store.

usage: leaving.py path
"""

import sys
import threading
import time

import onceward

store = onceward.open(sys.argv[1])
queue = store.queue("jobs", semantics="at-least-once")
queue.send_many([b"a", b"b", b"c"])
held = queue.receive(lease=60)
consumer = queue.consume(batch=2)
first = next(consumer)
first.ack()
empty = store.queue("empty", semantics="at-least-once")


def wait_for_ever() -> None:
    """Go on receiving."""
    while True:
        empty.receive(wait=3600)


for target in (lambda: empty.receive(wait=3600), lambda: list(empty.consume()), wait_for_ever):
    threading.Thread(target=target, daemon=True).start()
threading.Thread(target=lambda: [queue.send(b"x") for _ in range(1_000_000)], daemon=True).start()
time.sleep(float(sys.argv[2]))
print("leaving", flush=True)
