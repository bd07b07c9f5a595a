"""Works on messages in batches of 100 until none is left; the message b"poison" kills it.

usage: poisoned.py path file      the file gets a line for each message done
"""

import os
import signal
import sys
import time

import onceward

with onceward.open(sys.argv[1]) as store, open(sys.argv[2], "a", buffering=1) as done:  # noqa: PTH123
    queue = store.queue("jobs")
    while True:
        batch = queue.receive_many(100, wait=0.2, lease=60)
        for delivery in batch:
            if delivery.body == b"poison":
                os.kill(os.getpid(), signal.SIGKILL)
            done.write(f"{delivery.body.decode()}\n")
            delivery.ack()
        stats = queue.stats()
        if not batch and stats.ready + stats.delayed + stats.in_flight == 0:
            break
        time.sleep(0)
