"""Payments, the sending half: `python sender.py shop.db 42 1999` asks for 19.99 for order 42.

Run it again as often as you like, also when you do not know whether the last run came through: the key makes it one
payment. Asking for another amount under the same key is refused.
"""

import json
import sys

import onceward


def main(path: str, order: int, cents: int) -> None:
    """Send one payment."""
    body = json.dumps({"order": order, "cents": cents}).encode()
    with onceward.open(path) as store:
        payments = store.queue("payments", semantics="exactly-once")
        try:
            sent = payments.send(body, key=f"order-{order}")
        except onceward.ConflictError as error:
            sys.exit(f"order {order} was sent before with another amount: {error}")
    print(f"order {order}: {'had been sent before' if sent.duplicate else 'sent'}, message {sent.id}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
