"""Measures what waiting costs: the share of one core that an idle receiver uses.

usage: idle.py [seconds]      the target is under 0.5 %
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

CHILD = """
import sys, time
import onceward
path, kind, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
with onceward.open(path) as store:
    queue = store.queue("jobs", semantics="at-least-once")
    queue.receive(wait=0.2)
    before, thread, start = time.process_time(), time.thread_time(), time.monotonic()
    if kind == "nobody":
        time.sleep(seconds)
    elif kind == "receive":
        queue.receive(wait=seconds)
    else:
        list(queue.consume(wait=seconds))
    after, thread_after, end = time.process_time(), time.thread_time(), time.monotonic()
    print((after - before) / (end - start), (thread_after - thread) / (end - start))
"""


def main() -> None:
    """Print one line per way of waiting."""
    seconds = sys.argv[1] if len(sys.argv) > 1 else "4"
    print(f"{os.cpu_count()} cores, {seconds} s each; the process, and of it the thread that waits")
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("nobody", "receive", "consume"):
            command = [sys.executable, "-c", CHILD, str(Path(folder) / "app.db"), kind, seconds]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            process, thread = (float(share) * 100 for share in output.split())
            print(f"{kind:8} {process:6.3f} % of a core, {thread:6.3f} %")


main()
