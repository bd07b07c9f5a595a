"""Pays what is in the queue: `python worker.py FOLDER park` (or probe, or naive). Start many, kill them at any moment.

`park`: a payment of which nobody knows whether it was made waits for a person. `probe`: the bank is asked. `naive`:
what many programs do, and what pays twice.
"""

import functools
import json
import sys
from pathlib import Path

import client
import onceward
from onceward import NOT_APPLIED, Applied

SETTLE_S = 0.2
"""How long after its caller was found dead a transfer could still be made. This bank works in the order of arrival, so
any time would do; where requests overtake one another, it must be longer than the slowest can be under way."""


def open_payments(store: onceward.Store) -> onceward.Queue:
    """Open the queue. A payment is never given up: a closed bank opens again."""
    retry = onceward.Backoff(first=0.05, cap=0.5)
    return store.queue("payments", semantics="exactly-once", attempts_max="unlimited", backoff=retry)


def pay(folder: Path, delivery: onceward.Delivery, way: str) -> None:
    """Make one payment, once."""
    payment = json.loads(delivery.body)
    reference = payment["reference"]
    transfer = functools.partial(client.transfer, folder, reference, payment["cents"])

    def look_up() -> Applied | onceward.Answer:
        receipt = client.find(folder, reference)
        say(reference, "the bank was asked")
        return NOT_APPLIED if receipt is None else Applied(receipt)

    try:
        if way == "probe":
            receipt = delivery.once(
                "transfer",
                transfer,
                failed_on=client.NotSentError,
                on_unknown="probe",
                probe=look_up,
                settle=SETTLE_S,
            )
        else:
            receipt = delivery.once("transfer", transfer, failed_on=client.NotSentError, on_unknown="park")
        delivery.ack()
    except (onceward.Error, client.NotSentError, OSError) as error:
        # In doubt, or somebody else is at it: the message is where it belongs. In all other cases it is still ours.
        if not delivery.settled:
            delivery.nack(error=str(error))
        say(reference, f"{type(error).__name__}: {error}")
    else:
        say(reference, f"paid, {receipt.decode()}")


def pay_naively(folder: Path, delivery: onceward.Delivery) -> None:
    """Call, then acknowledge; on an error, try again."""
    payment = json.loads(delivery.body)
    try:
        client.transfer(folder, payment["reference"], payment["cents"])
    except (client.NotSentError, OSError) as error:
        delivery.nack(error=str(error))
    else:
        delivery.ack()


def say(reference: str, what: str) -> None:
    """Write one line in one piece: others write to the same file."""
    sys.stdout.write(f"{reference}: {what}\n")
    sys.stdout.flush()


def main(folder: Path, way: str) -> None:
    """Pay for ever."""
    with onceward.open(folder / "store.db") as store, open_payments(store).consume(batch=1) as deliveries:
        for delivery in deliveries:
            if way == "naive":
                pay_naively(folder, delivery)
            else:
                pay(folder, delivery, way)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[2] not in ("park", "probe", "naive"):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2])
