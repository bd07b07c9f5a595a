"""The Python side of the comparison: bench.py CALL FILE COUNT BATCH, started by the benchmark.

Says "ready", does one run for each line that it reads, and says how many messages it handled in a second; at the end
of its input it says what it handled in all. The bodies begin with their number.
"""

import sys
import time

import onceward


def send(queue: onceward.Queue, first: int, count: int, batch: int) -> tuple[float, int]:
    """Send messages in batches; the seconds that it took, and the sum of their numbers."""
    numbers = range(first, first + count)
    bodies = [number.to_bytes(8, "little") + bytes(92) for number in numbers]
    start = time.perf_counter()
    for at in range(0, count, batch):
        queue.send_many(bodies[at : at + batch])
    return time.perf_counter() - start, sum(numbers)


def receive(queue: onceward.Queue, count: int, batch: int) -> tuple[float, int]:
    """Receive and acknowledge messages in batches, reading each body."""
    bodies: list[bytes] = []
    start = time.perf_counter()
    while len(bodies) < count:
        deliveries = queue.receive_many(batch)
        bodies += [delivery.body for delivery in deliveries]
        lost = queue.ack(deliveries)
        if lost or len(deliveries) != batch:
            sys.exit(f"{len(deliveries)} of {batch} came, {len(lost)} leases were lost")
    return time.perf_counter() - start, sum(int.from_bytes(body[:8], "little") for body in bodies)


def consume(queue: onceward.Queue, count: int, batch: int) -> tuple[float, int]:
    """Consume messages, reading each body."""
    bodies: list[bytes] = []
    start = time.perf_counter()
    with queue.consume(batch=batch) as consumer:
        for delivery in consumer:
            bodies.append(delivery.body)
            delivery.ack()
            if len(bodies) == count:
                break
    return time.perf_counter() - start, sum(int.from_bytes(body[:8], "little") for body in bodies)


def main() -> None:
    """Do as many runs as are asked for."""
    call, path, count, batch = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    handled = total = 0
    with onceward.open(path) as store:
        queue = store.queue("bench", semantics="at-least-once")
        print("ready", flush=True)
        for _ in sys.stdin:
            if call == "send":
                seconds, numbers = send(queue, handled, count, batch)
            elif call == "consume":
                seconds, numbers = consume(queue, count, batch)
            else:
                seconds, numbers = receive(queue, count, batch)
            handled += count
            total += numbers
            print(count / seconds, flush=True)
    print(f"count {handled}\nsum {total}")


main()
