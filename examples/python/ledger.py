"""Payments, booked in another database: `python ledger.py shop.db ledger.db` books what `sender.py` sent.

The entry and a row that names the payment are one commit of the ledger; the payment is acknowledged after it. Kill a
worker at any moment: each payment is booked exactly once. Start as many as you like. With a number of seconds as a
third argument it ends when none came for so long. On PostgreSQL only the connection differs: see docs/inbox.md.
"""

import json
import sqlite3
import sys
from contextlib import closing

import onceward
from onceward.inbox import Inbox

CREATE_TABLE = "CREATE TABLE IF NOT EXISTS entries (order_id INTEGER NOT NULL, cents INTEGER NOT NULL)"
#: The name of shop.db in the ledger's inbox, for ever: it stays when the file moves.
INBOX = Inbox("shop")


def book(ledger: sqlite3.Connection, delivery: onceward.Delivery) -> None:
    """Write the entry of one payment, unless it is there."""
    payment = json.loads(delivery.body)
    with INBOX.transaction(ledger, delivery) as first:
        if first:
            ledger.execute("INSERT INTO entries (order_id, cents) VALUES (?, ?)", (payment["order"], payment["cents"]))
    print(f"order {payment['order']}: {'booked' if first else 'had been booked before'}")


def main(shop: str, ledger_path: str, wait_s: float | None) -> None:
    """Book payments as they come, and forget those that cannot come again."""
    with onceward.open(shop) as store, closing(sqlite3.connect(ledger_path, timeout=30)) as ledger:
        ledger.execute(CREATE_TABLE)
        INBOX.create(ledger)
        payments = store.queue("payments", semantics="exactly-once")
        with payments.consume(wait=wait_s) as deliveries:
            for delivery in deliveries:
                book(ledger, delivery)
        print(f"rows of the inbox no longer needed: {INBOX.prune(ledger, payments, older_than=0)}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else None)
