"""Takes payments and books them in another database; dies with SIGKILL where it is told to.

usage: inbox_worker.py store database way

The way is `inbox`, or `plain` for what a program without an inbox does: the effect, its commit, the acknowledgement.
The body of a message is its number; the number and the attempt say where the worker dies: before the effect, after it,
after the commit, or nowhere. From the third attempt on it lives.
"""

import os
import signal
import sqlite3
import sys
from typing import Any

import onceward
import psycopg
from onceward.inbox import Inbox

PLACES = ("before the effect", "before the commit", "after the commit", "nowhere")
INBOX = Inbox("payments")


def place(number: int, attempt: int) -> str:
    """Say where the worker dies that has this message at this attempt."""
    return PLACES[number % 4] if attempt == 1 else PLACES[number // 4 % 4] if attempt == 2 else "nowhere"


def die_if(here: str, delivery: onceward.Delivery) -> None:
    """Die here, if this is the place."""
    if place(int(delivery.body), delivery.attempt) == here:
        os.kill(os.getpid(), signal.SIGKILL)


class Mortal:
    """A delivery whose holder may die after the commit: the acknowledgement is what comes next."""

    def __init__(self, delivery: onceward.Delivery) -> None:
        """Take the delivery."""
        self._delivery = delivery

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """Pass for a delivery."""
        return onceward.Delivery

    def __getattr__(self, name: str) -> Any:
        """Be the delivery in everything else."""
        return getattr(self._delivery, name)

    def ack(self) -> None:
        """Acknowledge, unless this is the place."""
        die_if("after the commit", self._delivery)
        self._delivery.ack()


def effect(connection: Any, delivery: onceward.Delivery) -> None:
    """Book the payment, uncommitted."""
    die_if("before the effect", delivery)
    connection.execute(f"INSERT INTO effects (number) VALUES ({int(delivery.body)})")
    die_if("before the commit", delivery)


def plainly(connection: Any, delivery: onceward.Delivery) -> None:
    """Book it without an inbox."""
    effect(connection, delivery)
    connection.commit()
    die_if("after the commit", delivery)
    delivery.ack()


def with_inbox(connection: Any, delivery: onceward.Delivery) -> None:
    """Book it with the inbox."""
    with INBOX.transaction(connection, Mortal(delivery)) as first:  # type: ignore[arg-type]
        if first:
            effect(connection, delivery)


def main(store_path: str, address: str, way: str) -> None:
    """Work until nothing has come for a while."""
    connection: Any
    is_postgres = address.startswith("postgresql:")
    connection = psycopg.connect(address) if is_postgres else sqlite3.connect(address, timeout=30)
    book = {"plain": plainly, "inbox": with_inbox}[way]
    with onceward.open(store_path) as store:
        queue = store.queue("payments")
        while delivery := queue.receive(wait=0.3):
            book(connection, delivery)


main(*sys.argv[1:])
