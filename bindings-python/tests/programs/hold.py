"""Takes messages under a lease and holds them; acknowledges them when it is told to.

usage: hold.py path lease count
"""

import sys

import onceward

path, lease, count = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
with onceward.open(path) as store:
    queue = store.queue("jobs")
    held = queue.receive_many(count, wait=30, lease=lease)
    print("holding", len(held), flush=True)
    sys.stdin.readline()
    for delivery in held:
        try:
            delivery.ack()
            print("acknowledged", flush=True)
        except onceward.Error as error:
            print(type(error).__name__, flush=True)
