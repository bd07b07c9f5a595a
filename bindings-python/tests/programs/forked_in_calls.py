"""Forks while threads are in calls of a transaction and of a delivery: the child waits for none of them.

usage: forked_in_calls.py path
"""

import os
import signal
import sys
import threading
import time

import onceward
from refusals import show_refusals

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

store = onceward.open(sys.argv[1], transaction_time_limit=4, busy_timeout=60)
queue = store.queue("jobs", semantics="at-least-once")
queue.send(b"a")
held = queue.receive(lease=60)
assert held is not None
delivery = held
transaction = store.transaction()
transaction.execute("CREATE TABLE t(v)")


def query() -> None:
    try:
        transaction.query(ENDLESS)
    except onceward.ExpiredError:
        print("parent ExpiredError", flush=True)


# The one is in the call that does not end, the other waits for it with the delivery in its hands.
threads = [threading.Thread(target=query), threading.Thread(target=lambda: delivery.extend(60))]
for thread in threads:
    thread.start()
time.sleep(1)
child = os.fork()
if child == 0:
    signal.alarm(60)
    show_refusals(
        {
            "execute": lambda: transaction.execute("SELECT 1"),
            "commit": transaction.commit,
            "rollback": transaction.rollback,
            "settled": lambda: delivery.settled,
            "ack": delivery.ack,
            "extend": lambda: delivery.extend(60),
        }
    )
    os._exit(7)
_, status = os.waitpid(child, 0)
print("child's exit code", os.waitstatus_to_exitcode(status), flush=True)
for thread in threads:
    thread.join()
delivery.ack()
store.close()
