"""Payments, the working half: `python worker.py shop.db` books what `sender.py` sent. Start as many as you like.

The entry, the message to the next queue and the acknowledgement are one commit. Kill a worker at any moment: each
payment is booked exactly once. With a number of seconds as a second argument it ends when none came for so long.
"""

import json
import sys

import onceward

CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS entries (
    order_id INTEGER NOT NULL,
    cents    INTEGER NOT NULL
) STRICT
"""


def book(delivery: onceward.Delivery) -> None:
    """Write the entry of one payment, and ask for its receipt."""
    payment = json.loads(delivery.body)
    with delivery.transaction() as tx:
        tx.execute("INSERT INTO entries (order_id, cents) VALUES (?, ?)", (payment["order"], payment["cents"]))
        tx.send("receipts", delivery.body, key=f"receipt-{payment['order']}")
    print(f"order {payment['order']}: booked {payment['cents']} cents")


def main(path: str, wait_s: float | None) -> None:
    """Book payments as they come."""
    with onceward.open(path) as store:
        with store.transaction() as tx:
            tx.execute(CREATE_TABLE)
        payments = store.queue("payments", semantics="exactly-once")
        store.queue("receipts", semantics="exactly-once")
        with payments.consume(wait=wait_s) as deliveries:
            for delivery in deliveries:
                book(delivery)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else None)
