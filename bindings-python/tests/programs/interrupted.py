"""Waits, and says whether Ctrl-C ended the wait; the store works afterwards.

usage: interrupted.py path receive|receive_many|consume
"""

import sys

import onceward

with onceward.open(sys.argv[1]) as store:
    queue = store.queue("jobs", semantics="at-least-once")
    try:
        print("waiting", flush=True)
        if sys.argv[2] == "receive":
            queue.receive(wait=3600)
        elif sys.argv[2] == "receive_many":
            queue.receive_many(10, wait=3600)
        else:
            with queue.consume() as consumer:
                next(consumer)
        print("ended")
    except KeyboardInterrupt:
        print("interrupted")
    queue.send(b"x")
    print("received", queue.receive() is not None)
