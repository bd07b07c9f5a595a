"""Onceward: an embedded, durable message queue and deduplication ledger over one SQLite file.

    import onceward

    with onceward.open("app.db") as store:
        payments = store.queue("payments", semantics="exactly-once")
        payments.send(b'{"order": 42, "cents": 1999}', key="order-42")
        with payments.consume(wait=0) as deliveries:
            for delivery in deliveries:
                with delivery.transaction() as tx:  # the effect and the acknowledgement are one commit
                    tx.execute("INSERT INTO entries(order_id, cents) VALUES (?, ?)", (42, 1999))

Bodies are bytes. Durations are seconds (int or float) or timedeltas. Everything is safe to use from any thread; after a
fork the child opens its own store.
"""

from ._errors import (
    BusyError,
    ClosedError,
    ConflictError,
    CorruptError,
    DeniedError,
    DetachedError,
    Error,
    ExpiredError,
    FailedError,
    FullError,
    InDoubtError,
    InvalidArgumentError,
    LeaseLostError,
    NotFoundError,
    SqlError,
    StorageError,
    UnsupportedError,
)
from ._once import NOT_APPLIED, UNKNOWN, Answer, Applied
from ._onceward import (
    Backoff,
    Consumer,
    DeadLetter,
    Delivery,
    InDoubt,
    Ledger,
    Message,
    Peeked,
    Queue,
    QueueSettings,
    Receipt,
    Receiver,
    Resolved,
    Rows,
    Sent,
    Stats,
    Store,
    StoreStats,
    Subscription,
    Transaction,
    __version__,
    open,
)

__all__ = [
    "NOT_APPLIED",
    "UNKNOWN",
    "Answer",
    "Applied",
    "Backoff",
    "BusyError",
    "ClosedError",
    "ConflictError",
    "Consumer",
    "CorruptError",
    "DeadLetter",
    "Delivery",
    "DeniedError",
    "DetachedError",
    "Error",
    "ExpiredError",
    "FailedError",
    "FullError",
    "InDoubt",
    "InDoubtError",
    "InvalidArgumentError",
    "LeaseLostError",
    "Ledger",
    "Message",
    "NotFoundError",
    "Peeked",
    "Queue",
    "QueueSettings",
    "Receipt",
    "Receiver",
    "Resolved",
    "Rows",
    "Sent",
    "SqlError",
    "Stats",
    "StorageError",
    "Store",
    "StoreStats",
    "Subscription",
    "Transaction",
    "UnsupportedError",
    "__version__",
    "open",
]
