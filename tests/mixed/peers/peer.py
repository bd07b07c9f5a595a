"""The peer in Python: `peer.py FILE BUSY_MS` does what it is told on its standard input, a line each: ../README.md."""

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import onceward

PAUSE_S = 0.001


def unpacked(words: list[str]) -> tuple[bytes, dict[str, object]]:
    """Decode a message: its body and what else send takes."""
    key, ordering_key, body, packed = ("" if word == "-" else word for word in words)
    headers: dict[str, str | bytes] = {}
    for header in filter(None, packed.split(",")):
        name, kind, value = header.split(":")
        plain = bytes.fromhex(value)
        headers[bytes.fromhex(name).decode()] = plain.decode() if kind == "t" else plain
    options: dict[str, object] = {"headers": headers}
    if key:
        options["key"] = bytes.fromhex(key).decode()
    if ordering_key:
        options["ordering_key"] = bytes.fromhex(ordering_key).decode()
    return bytes.fromhex(body), options


def packed(delivery: onceward.Delivery) -> str:
    """Encode the message that was handed over."""
    headers = ",".join(
        f"{name.encode().hex()}:t:{value.encode().hex()}"
        if isinstance(value, str)
        else f"{name.encode().hex()}:b:{value.hex()}"
        for name, value in sorted(delivery.headers.items())
    )
    key, ordering_key = (delivery.key or "").encode().hex(), (delivery.ordering_key or "").encode().hex()
    return " ".join(word or "-" for word in (key, ordering_key, delivery.body.hex(), headers))


class Peer:
    """An open store, and what was received and is not settled yet."""

    def __init__(self, path: str, busy_ms: str) -> None:
        self.store = onceward.open(path, busy_timeout=int(busy_ms) / 1000)
        self.queues: dict[str, onceward.Queue] = {}
        self.deliveries: list[onceward.Delivery] = []
        self.transactions: dict[int, onceward.Transaction] = {}

    def queue(self, name: str, semantics: str) -> Iterator[str]:
        self.queues[name] = self.store.queue(name, semantics=None if semantics == "-" else semantics)  # type: ignore[arg-type]
        yield "ok"

    def send(self, name: str, *message: str) -> Iterator[str]:
        body, options = unpacked(list(message))
        sent = self.queues[name].send(body, **options)  # type: ignore[arg-type]
        yield f"sent {sent.id} {'duplicate' if sent.duplicate else 'new'}"

    def stream(self, path: str) -> Iterator[str]:
        lines = Path(path).read_text().splitlines()
        while True:
            for line in lines:
                yield from self.send(*line.split(" "))
                time.sleep(PAUSE_S)

    def receive(self, name: str, most: str, wait_ms: str, lease_ms: str) -> Iterator[str]:
        found = self.queues[name].receive_many(int(most), wait=int(wait_ms) / 1000, lease=int(lease_ms) / 1000)
        for one in found:
            yield f"delivery {len(self.deliveries)} {one.id} {one.token} {one.attempt} {packed(one)}"
            self.deliveries.append(one)
        yield f"ok {len(found)}"

    def ack(self, handle: str) -> Iterator[str]:
        self.deliveries[int(handle)].ack()
        yield "ok"

    def nack(self, handle: str) -> Iterator[str]:
        self.deliveries[int(handle)].nack(delay=0)
        yield "ok"

    def begin(self, handle: str) -> Iterator[str]:
        delivery = self.deliveries[int(handle)]
        transaction = delivery.transaction()
        transaction.execute(
            "INSERT INTO effect(message, attempt, body) VALUES (?, ?, ?)",
            (delivery.id, delivery.attempt, delivery.body),
        )
        self.transactions[int(handle)] = transaction
        yield "ok"

    def commit(self, handle: str) -> Iterator[str]:
        self.transactions.pop(int(handle)).commit()
        yield "ok"

    def once(self, handle: str, name: str, outcome: str) -> Iterator[str]:
        def call() -> bytes:
            print("calling", flush=True)
            if outcome == "hang":
                signal.pause()
            return bytes.fromhex(outcome)

        result = self.deliveries[int(handle)].once(name, call, on_unknown="park")
        yield f"result {result.hex()}"

    def doubts(self) -> Iterator[str]:
        found = self.store.in_doubt()
        for one in found:
            yield f"doubt {one.doubt} {one.message} {one.name}"
        yield f"ok {len(found)}"

    def resolve(self, doubt: str, result: str) -> Iterator[str]:
        self.store.resolve(int(doubt), onceward.Applied(bytes.fromhex(result)), evidence="seen", actor="python")
        yield "ok"

    def sql(self, *words: str) -> Iterator[str]:
        with self.store.transaction() as transaction:
            transaction.execute(" ".join(words))
        yield "ok"

    def cancel(self, name: str, message: str) -> Iterator[str]:
        yield f"ok {str(self.queues[name].cancel(int(message))).lower()}"

    def stats(self, name: str) -> Iterator[str]:
        found = self.queues[name].stats()
        yield f"ok {found.ready} {found.delayed} {found.blocked} {found.in_flight} {found.dead}"

    def close(self) -> Iterator[str]:
        self.store.close()
        yield "ok"


def main() -> None:
    """Obey until there are no more orders."""
    peer = Peer(sys.argv[1], sys.argv[2])
    print(f"ready python {onceward.__version__}", flush=True)
    for line in sys.stdin:
        verb, *words = line.rstrip("\n").split(" ")
        try:
            for answer in getattr(peer, verb)(*words):
                print(answer, flush=True)
        except onceward.Error as error:
            print(f"error {error.code} {error}", flush=True)


if __name__ == "__main__":
    main()
