"""Iterating over messages."""

import signal
import threading
import time

import onceward
import pytest

from conftest import PATIENCE, take


def test_consume_iterates_until_nothing_came_for_its_wait(queue: onceward.Queue) -> None:
    queue.send_many([b"%d" % number for number in range(250)])
    seen = []
    with queue.consume(batch=100, wait=0.05) as consumer:
        assert repr(consumer) == "<onceward.Consumer>"
        for delivery in consumer:
            seen.append(delivery.body)
            delivery.ack()
        assert next(consumer, None) is None
        assert repr(consumer) == "<onceward.Consumer, ended>"
    assert seen == [b"%d" % number for number in range(250)]
    stats = queue.stats()
    assert (stats.ready, stats.in_flight) == (0, 0)


def test_a_consumer_without_a_with_block_works_too(queue: onceward.Queue) -> None:
    queue.send_many([b"a", b"b"])
    for delivery in queue.consume(wait=0):
        delivery.ack()
    assert queue.receive() is None


def test_leaving_the_block_commits_acknowledgements_and_gives_the_rest_back(queue: onceward.Queue) -> None:
    queue.send_many([b"%d" % number for number in range(10)])
    with queue.consume(batch=10, wait=0) as consumer:
        for delivery in consumer:
            if delivery.body == b"4":
                break
            delivery.ack()
    consumer.close()
    rest = queue.receive_many(100)
    # What was handed out and not settled counts as an attempt; what was only prefetched does not.
    assert {one.body: one.attempt for one in rest} == {
        b"%d" % number: 2 if number == 4 else 1 for number in range(4, 10)
    }


def test_an_exception_in_the_block_gives_the_rest_back_and_passes(queue: onceward.Queue) -> None:
    queue.send_many([b"a", b"b"])
    with pytest.raises(LookupError), queue.consume(batch=10) as consumer:
        for delivery in consumer:
            raise LookupError(delivery.body)
    assert sorted(one.body for one in queue.receive_many(10)) == [b"a", b"b"]


def test_an_exception_in_the_block_is_not_replaced_by_what_closing_raises(path: str, queue: onceward.Queue) -> None:
    queue.send(b"a")
    with pytest.raises(KeyboardInterrupt) as caught, queue.consume() as consumer:
        delivery = next(consumer)
        with onceward.open(path) as other:
            other.queue("jobs").ack([delivery.receipt])
        delivery.ack()  # It is noted, and too late: closing finds that out.
        raise KeyboardInterrupt
    (note,) = caught.value.__notes__
    assert "closing failed as well" in note
    assert f"message {delivery.id}" in note


def test_at_most_once_what_was_received_ahead_is_lost_at_the_end_and_in_batches_of_one_nothing_is(
    store: onceward.Store,
) -> None:
    queue = store.queue("metrics", semantics="at-most-once")
    for batch, left in ((100, 0), (1, 9)):
        queue.send_many([b"%d" % number for number in range(10)])
        with queue.consume(batch=batch) as consumer:
            assert next(consumer).body == b"0"
        assert len(queue.receive_many(100)) == left


def test_a_dropped_consumer_gives_its_messages_back(queue: onceward.Queue) -> None:
    queue.send_many([b"a", b"b"])
    consumer = queue.consume(batch=10, lease=60)
    assert next(consumer).body == b"a"
    del consumer
    assert {take(queue).body, take(queue).body} == {b"a", b"b"}


def test_flush_commits_the_acknowledgements_now(queue: onceward.Queue) -> None:
    queue.send_many([b"a", b"b"])
    with queue.consume(batch=10) as consumer:
        next(consumer).ack()
        consumer.flush()
        stats = queue.stats()
        assert (stats.ready, stats.in_flight) == (0, 1)


def test_who_waits_for_another_threads_turn_is_interrupted(queue: onceward.Queue) -> None:
    consumer = queue.consume(wait=60)
    first = threading.Thread(target=lambda: next(consumer, None))
    first.start()
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        time.sleep(0.3)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt):
            next(consumer)
    finally:
        signal.signal(signal.SIGALRM, previous)
    queue.send(b"for the other thread")
    first.join()
    assert queue.stats().in_flight == 1
    consumer.close()


def test_leases_are_extended_while_a_handler_works(queue: onceward.Queue) -> None:
    queue.send_many([b"a", b"b"])
    with queue.consume(batch=10, lease=3, wait=0) as consumer:
        first, second = next(consumer), next(consumer)
        assert queue.receive(wait=4) is None
        first.ack()
        second.ack()
    assert queue.receive() is None


def test_a_consumers_delivery_can_be_settled_in_every_way(queue: onceward.Queue) -> None:
    queue.send_many([b"ack", b"nack", b"dead", b"release", b"extend"])
    with queue.consume(batch=10, wait=0) as consumer:
        for number, delivery in enumerate(consumer):
            match delivery.body, delivery.attempt:
                case b"ack", 1:
                    delivery.ack()
                case b"nack", 1:
                    delivery.nack(error="no", delay=3600)
                case b"dead", 1:
                    delivery.dead_letter("broken")
                case b"release", 1 if number < 5:
                    delivery.release()
                case _:
                    delivery.extend(60)
                    delivery.ack()
    stats = queue.stats()
    assert (stats.ready, stats.in_flight, stats.delayed, stats.dead) == (0, 0, 1, 1)


def test_a_lease_lost_by_a_folded_acknowledgement_is_raised_and_iterating_goes_on(queue: onceward.Queue) -> None:
    sent = queue.send(b"a")
    consumer = queue.consume(batch=1, wait=0.05)
    delivery = next(consumer)
    assert queue.dead_letter([delivery.receipt], "taken away") == []
    delivery.ack()
    queue.send(b"b")
    with pytest.raises(onceward.LeaseLostError, match=str(sent.id)):
        for other in consumer:
            other.ack()
        consumer.close()
    for other in consumer:
        other.ack()
    consumer.close()
    assert (queue.stats().ready, queue.stats().in_flight, queue.stats().dead) == (0, 0, 1)


def test_stop_ends_a_waiting_consumer_from_another_thread(queue: onceward.Queue) -> None:
    consumer = queue.consume()
    seen: list[bytes] = []

    def work() -> None:
        for delivery in consumer:
            seen.append(delivery.body)
            delivery.ack()

    thread = threading.Thread(target=work)
    thread.start()
    queue.send(b"x")
    end = time.monotonic() + PATIENCE
    while not seen and time.monotonic() < end:
        time.sleep(0.01)
    consumer.stop()
    thread.join(PATIENCE / 2)
    assert not thread.is_alive()
    consumer.close()
    assert seen == [b"x"]
    assert queue.stats().in_flight == 0


def test_a_waiting_consumer_lets_another_thread_flush(queue: onceward.Queue) -> None:
    queue.send(b"x")
    consumer = queue.consume(lease=60)
    next(consumer).ack()
    thread = threading.Thread(target=lambda: list(consumer))
    thread.start()
    for _ in range(20):
        consumer.flush()
    stats = queue.stats()
    assert (stats.ready, stats.in_flight) == (0, 0)
    consumer.close()
    thread.join(PATIENCE / 2)
    assert not thread.is_alive()


def test_closing_from_another_thread_ends_a_waiting_consumer(queue: onceward.Queue) -> None:
    consumer = queue.consume()
    thread = threading.Thread(target=lambda: list(consumer))
    thread.start()
    consumer.close()
    thread.join(PATIENCE / 2)
    assert not thread.is_alive()


def test_a_subscription_can_be_consumed(queue: onceward.Queue) -> None:
    audit = queue.subscribe("audit")
    queue.send(b"x")
    with audit.consume(wait=0) as consumer:
        for delivery in consumer:
            delivery.ack()
    assert audit.receive() is None
    take(queue).ack()


def test_transactions_of_a_consumers_deliveries_acknowledge_them(store: onceward.Store, exact: onceward.Queue) -> None:
    with store.transaction() as tx:
        tx.execute("CREATE TABLE entries(key TEXT PRIMARY KEY) STRICT")
    exact.send_many([onceward.Message(b"%d" % number, key=f"k{number}") for number in range(20)])
    with exact.consume(batch=7, wait=0) as consumer:
        for delivery in consumer:
            with delivery.transaction() as tx:
                tx.execute("INSERT INTO entries(key) VALUES (?)", (delivery.key,))
    with store.transaction() as tx:
        assert tx.query("SELECT count(*) FROM entries")[0] == (20,)
    assert (exact.stats().ready, exact.stats().in_flight) == (0, 0)
