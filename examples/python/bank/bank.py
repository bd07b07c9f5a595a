"""A bank without idempotency: `python bank.py FOLDER` serves FOLDER/bank.sock until it is killed.

It carries out what it is asked for as often as it is asked. Each transfer is a line of FOLDER/bank.log, on disk before
the answer. With `--trouble 0.3` three requests of ten go badly: it dies, or drops the connection, before the transfer
or after it. It serves one request after another in the order of their arrival, so a statement that is asked for later
shows every transfer that was asked for earlier and will ever be made.
"""

import argparse
import json
import os
import random
import signal
import socket
import time
from pathlib import Path
from typing import Any

THINKING_S = 0.02
"""A request takes up to so long, so that who is killed while waiting is often killed in the middle of a call."""
PATIENCE_S = 5.0
"""A connection that says nothing for so long is dropped."""
TROUBLES = ("drop before", "die before", "drop after", "die after")


class Bank:
    """Transfers, each a line of a file that only grows."""

    def __init__(self, log: Path) -> None:
        self.log = log
        log.touch()

    def transfers(self) -> list[dict[str, Any]]:
        """Return every transfer there ever was."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def transfer(self, reference: str, cents: int) -> dict[str, Any]:
        """Carry out a transfer, whatever was carried out before."""
        entry = {"transfer": len(self.transfers()) + 1, "reference": reference, "cents": cents}
        with self.log.open("ab", buffering=0) as log:
            log.write(json.dumps(entry).encode() + b"\n")
            os.fsync(log.fileno())
        return entry

    def find(self, reference: str) -> dict[str, Any]:
        """Return the first transfer with a reference; its number is None where there is none."""
        nothing = {"transfer": None, "reference": reference, "cents": None}
        return next((entry for entry in self.transfers() if entry["reference"] == reference), nothing)


def suffer(trouble: str) -> None:
    """Die, or drop the connection."""
    if trouble.startswith("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    raise ConnectionAbortedError(trouble)


def serve_one(bank: Bank, connection: socket.socket, dice: random.Random, trouble_share: float) -> None:
    """Answer the one request of a connection, or suffer."""
    with connection.makefile("rb") as stream:
        request = json.loads(stream.readline())
    time.sleep(dice.uniform(0, THINKING_S))
    if request["do"] == "find":
        answer = bank.find(request["reference"])
    else:
        trouble = dice.choice(TROUBLES) if dice.random() < trouble_share else ""
        if trouble.endswith("before"):
            suffer(trouble)
        answer = bank.transfer(request["reference"], request["cents"])
        if trouble.endswith("after"):
            suffer(trouble)
    connection.sendall(json.dumps(answer).encode() + b"\n")


def main(folder: Path, seed: str, trouble_share: float) -> None:
    """Serve for ever."""
    bank, dice, address = Bank(folder / "bank.log"), random.Random(seed), folder / "bank.sock"
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen(128)
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(PATIENCE_S)
                try:
                    serve_one(bank, connection, dice, trouble_share)
                except (OSError, ValueError):
                    continue  # The caller is gone, or is made to believe that the bank is.


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", default="1", help="decides which requests go badly")
    parser.add_argument("--trouble", type=float, default=0.0, help="the share of the requests that do")
    options = parser.parse_args()
    main(options.folder, options.seed, options.trouble)
