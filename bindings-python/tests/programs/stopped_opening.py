"""Holds the lock under which a store opens, as a store that was stopped in the middle of it does.

usage: stopped_opening.py side-file
"""

import fcntl
import signal
import sys
from pathlib import Path

OPEN_BYTE = 1 << 21

with Path(sys.argv[1]).open("r+b") as side:
    fcntl.lockf(side, fcntl.LOCK_EX, 1, OPEN_BYTE)
    print("opening", flush=True)
    signal.pause()
