"""Forks with an open store: the child's copy says that it is closed, and both end cleanly.

usage: forked.py path [anything: with an open transaction, which no other store can write beside]
"""

import contextlib
import os
import sys
import threading
import time

import onceward
from refusals import show_refusals

store = onceward.open(sys.argv[1])
queue = store.queue("jobs", semantics="at-least-once")
queue.send_many([b"a", b"b"])
held = queue.receive(lease=60)
assert held is not None
consumer = queue.consume(lease=60)
other = next(consumer)
# Its lock is held by the thread that waits, which the child does not have.
waited = store.queue("nothing comes", semantics="at-least-once").consume()
thread = threading.Thread(target=lambda: next(waited, None))
thread.start()
time.sleep(0.3)
transaction = store.transaction()
if len(sys.argv) > 2:
    transaction.send(queue, b"in an open transaction")
child = os.fork()
if child == 0:
    show_refusals(
        {
            "send": lambda: queue.send(b"x"),
            "receive": lambda: queue.receive(wait=1),
            "ack": held.ack,
            "next": lambda: next(consumer),
            "waited next": lambda: next(waited),
            "waited flush": waited.flush,
            "waited close": waited.close,
            "transaction": store.transaction,
            "commit": transaction.commit,
            "stats": store.stats,
            "queues": store.queues,
        }
    )
    with contextlib.suppress(onceward.ClosedError):
        consumer.close()
    store.close()
    if len(sys.argv) == 2:
        with onceward.open(sys.argv[1]) as own:
            print("child own store", own.queue("jobs").stats().in_flight, flush=True)
    sys.exit(7)
_, status = os.waitpid(child, 0)
print("child's exit code", os.waitstatus_to_exitcode(status), flush=True)
if len(sys.argv) > 2:
    transaction.commit()
waited.stop()
thread.join()
waited.close()
held.ack()
other.ack()
consumer.close()
queue.send(b"c")
print("parent", queue.stats().ready, queue.stats().in_flight, flush=True)
