"""Payments through a bank without idempotency, while workers and bank are killed with SIGKILL: `python run.py`.

At the end an auditor compares the payments with the bank's own log, a person resolves what is in doubt, the payments
go on by themselves, and the auditor looks again. `--probe`: the bank is asked instead, and nothing stays in doubt.
`--naive`: without `once`; watch it pay twice. Exits with 1 if a promise is broken, with 2 if the run proved nothing.
"""

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import onceward
from audit import Report, all_in_doubt, audit, transfers
from resolve import resolve_all

from worker import open_payments

HERE = Path(__file__).parent
PATIENCE_S = 120.0
"""A round that lasts longer is stuck."""


class Cast:
    """The processes: a bank and workers, which are killed and started again."""

    def __init__(self, folder: Path, way: str, seed: int, output: IO[str]) -> None:
        self.folder, self.way, self.seed, self.output = folder, way, seed, output
        self.dice = random.Random(seed)
        self.bank: subprocess.Popen[str] | None = None
        self.workers: list[subprocess.Popen[str]] = []
        self.killed: Counter[str] = Counter()
        self.starts = 0

    def start(self, program: str, *arguments: object) -> subprocess.Popen[str]:
        """Start a program of this folder."""
        command = [sys.executable, str(HERE / program), str(self.folder), *map(str, arguments)]
        self.starts += 1
        return subprocess.Popen(command, stdout=self.output, stderr=self.output, text=True)

    def staff(self, workers: int, trouble: float) -> None:
        """Start again who is gone. A bank in trouble dies by its own hand; a worker never does."""
        if self.bank is None or self.bank.poll() is not None:
            self.bank = self.start("bank.py", "--trouble", trouble, "--seed", f"{self.seed}-{self.starts}")
        for worker in self.workers:
            if worker.poll() is not None:
                raise RuntimeError(f"a worker ended by itself with {worker.returncode}; see workers.log")
        while len(self.workers) < workers:
            self.workers.append(self.start("worker.py", self.way))

    def kill_one(self) -> None:
        """Kill a worker, or now and then the bank."""
        if self.bank is not None and self.dice.random() < 0.2:
            self.kill(self.bank, "bank")
        else:
            self.kill(self.workers.pop(self.dice.randrange(len(self.workers))), "worker")

    def kill(self, process: subprocess.Popen[str], role: str) -> None:
        """Kill a process, and count it if it was alive."""
        was_alive = process.poll() is None
        process.kill()
        process.wait()
        self.killed[role] += was_alive

    def end(self) -> None:
        """Stop everybody, the way they live."""
        for process in (*self.workers, *([] if self.bank is None else [self.bank])):
            process.kill()
            process.wait()
        self.workers, self.bank = [], None


@contextlib.contextmanager
def cast(folder: Path, way: str, seed: int) -> Iterator[Cast]:
    """Leave no process behind."""
    with (folder / "workers.log").open("a") as output:
        people = Cast(folder, way, seed, output)
        try:
            yield people
        finally:
            people.end()


def send(folder: Path, payments: onceward.Queue, first: int, count: int, dice: random.Random) -> None:
    """Send payments, and note what was asked for."""
    with (folder / "orders.log").open("a") as orders:
        for number in range(first, first + count):
            reference = f"order-{number}"
            payment = {"reference": reference, "cents": dice.randrange(1, 100_000)}
            sent = payments.send(json.dumps(payment).encode(), key=reference)
            orders.write(json.dumps(payment | {"message": sent.id}) + "\n")


def is_at_rest(payments: onceward.Queue) -> bool:
    """Say whether no payment waits or is under way; what is in doubt may."""
    stats = payments.stats()
    return stats.ready + stats.delayed + stats.blocked + stats.in_flight == 0


def work(people: Cast, payments: onceward.Queue, workers: int, trouble: float, *, kills: bool) -> None:
    """Keep the staff at work until every payment is at rest."""
    give_up_at, kill_at = time.monotonic() + PATIENCE_S, 0.0
    while not is_at_rest(payments):
        now = time.monotonic()
        if now > give_up_at:
            raise RuntimeError(f"stuck: {payments.stats()}")
        people.staff(workers, trouble)
        if kills and now > kill_at:
            if kill_at:
                people.kill_one()
            kill_at = now + people.dice.uniform(0.1, 0.5)
        time.sleep(0.01)


def proved(folder: Path, people: Cast, store: onceward.Store, kills: int) -> bool:
    """Say whether enough went wrong for the outcome to mean something."""
    if people.killed["worker"] < kills:
        return False
    if people.way == "naive":
        made = Counter(entry["reference"] for entry in transfers(folder))
        return any(times > 1 for times in made.values())
    # Wanted are payments in doubt because a worker died, and because the bank did not answer a worker that lives.
    if people.way == "park":
        causes = [doubt.error for doubt in all_in_doubt(store)]
        killed = sum("ended during the call" in cause for cause in causes)
        return 0 < killed < len(causes)
    said = (folder / "workers.log").read_text().splitlines()
    looked_up = {line.partition(":")[0] for line in said if ": the bank was asked" in line}
    unanswered = {line.partition(":")[0] for line in said if ": InDoubtError: " in line}
    return bool(looked_up - unanswered and looked_up & unanswered)


def conclude(report: Report, people: Cast) -> None:
    """Print what the auditor found."""
    killed = f"{people.killed['worker']} workers and {people.killed['bank']} banks killed"
    print(f"\n{report.counts.total()} payments; {killed}")
    print(report.table())
    for line in report.broken:
        print(line)


def run(folder: Path, options: argparse.Namespace) -> int:
    """Play it, and return the exit code."""
    with onceward.open(folder / "store.db") as store, cast(folder, options.way, options.seed) as people:
        payments = open_payments(store)
        for number in range(options.rounds):
            send(folder, payments, number * options.payments, options.payments, people.dice)
            work(people, payments, options.workers, options.trouble, kills=True)
            if enough := proved(folder, people, store, options.kills):
                break
        people.end()
        report = audit(folder)
        conclude(report, people)
        if not report.broken and report.counts["in doubt", "not paid"] + report.counts["in doubt", "paid once"]:
            print(f"\na person looks into the bank's log; resolved: {resolve_all(folder, 'alice')}")
            work(people, payments, options.workers, 0.0, kills=False)
            people.end()
            report = audit(folder)
            conclude(report, people)
            if store.stats().in_doubt:
                report.broken.append("something is still in doubt")
    if report.broken:
        print("\na promise was BROKEN")
        return 1
    if not enough:
        print("\nnothing was proved: too little went wrong")
        return 2
    print("\nevery payment was made once")
    return 0


def main() -> int:
    """Read the options and run in a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--probe", action="store_true", help="ask the bank about what is in doubt")
    way.add_argument("--naive", action="store_true", help="call and acknowledge, without once")
    parser.add_argument("--seed", type=int, default=1, help="decides who is killed, and when requests go badly")
    parser.add_argument("--payments", type=int, default=40, help="of a round; rounds follow until enough went wrong")
    parser.add_argument("--rounds", type=int, default=100, help="at most so many; then nothing was proved")
    parser.add_argument("--kills", type=int, default=10, help="workers to kill at least")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--trouble", type=float, default=0.15, help="the share of the bank's requests that go badly")
    parser.add_argument("--folder", type=Path, help="an empty folder to work in and to keep; otherwise a temporary one")
    options = parser.parse_args()
    options.way = "probe" if options.probe else "naive" if options.naive else "park"
    if options.folder is not None:
        options.folder.mkdir(parents=True)
        return run(options.folder, options)
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder), options)


if __name__ == "__main__":
    sys.exit(main())
