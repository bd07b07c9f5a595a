"""Receiving and settling, one and many, subscriptions, dead letters, and looking without touching."""

import contextlib
import datetime
import sqlite3
import threading
import time

import onceward
import pytest

from conftest import PATIENCE, take


def test_an_empty_queue_is_none_or_an_empty_list(queue: onceward.Queue) -> None:
    assert queue.receive() is None
    assert queue.receive(wait=0.01) is None
    assert queue.receive_many(10) == []


def test_a_waiting_receive_lets_other_threads_run_and_gets_what_they_send(queue: onceward.Queue) -> None:
    received: list[onceward.Delivery | None] = []
    thread = threading.Thread(target=lambda: received.append(queue.receive(wait=PATIENCE)))
    thread.start()
    queue.send(b"here")
    thread.join(PATIENCE)
    assert [delivery.body for delivery in received if delivery] == [b"here"]


def test_receive_many_takes_at_most_so_many(queue: onceward.Queue) -> None:
    queue.send_many([b"%d" % number for number in range(5)])
    assert [one.body for one in queue.receive_many(3)] == [b"0", b"1", b"2"]
    assert [one.body for one in queue.receive_many(3, wait=1)] == [b"3", b"4"]


def test_an_acknowledged_message_is_finished(queue: onceward.Queue) -> None:
    queue.send(b"x")
    delivery = take(queue)
    assert not delivery.settled
    delivery.ack()
    assert delivery.settled
    stats = queue.stats()
    assert (stats.ready, stats.in_flight, stats.dead, stats.oldest_age) == (0, 0, 0, None)


@pytest.mark.parametrize("verb", ["ack", "nack", "dead_letter", "release"])
def test_settling_a_delivery_twice_is_refused(queue: onceward.Queue, verb: str) -> None:
    queue.send(b"x")
    delivery = take(queue)
    arguments = ["reason"] if verb == "dead_letter" else []
    getattr(delivery, verb)(*arguments)
    for again in (
        delivery.ack,
        delivery.nack,
        delivery.release,
        delivery.transaction,
        lambda: delivery.dead_letter("again"),
        lambda: delivery.extend(1),
        lambda: queue.ack([delivery]),
        lambda: queue.extend([delivery], 1),
    ):
        with pytest.raises(onceward.InvalidArgumentError, match=f"message {delivery.id} is already settled"):
            again()


def test_a_nack_offers_the_message_again_with_the_next_attempt(queue: onceward.Queue) -> None:
    queue.send(b"x")
    first = take(queue)
    first.nack(error="the first time")
    second = take(queue)
    assert (second.id, second.attempt) == (first.id, 2)
    assert second.token > first.token
    second.nack(delay=3600)
    assert queue.receive() is None
    assert queue.stats().delayed == 1


def test_a_release_does_not_count_the_attempt(queue: onceward.Queue) -> None:
    queue.send(b"x")
    take(queue).release()
    assert take(queue).attempt == 1


def test_a_lease_that_ran_out_is_lost(queue: onceward.Queue) -> None:
    queue.send(b"x")
    late = queue.receive(lease=0.05)
    assert late is not None
    current = take(queue)
    assert (current.id, current.attempt) == (late.id, 2)
    with pytest.raises(onceward.LeaseLostError, match=str(late.id)) as caught:
        late.ack()
    assert (caught.value.code, caught.value.kind_number) == ("LeaseLost", 4)
    assert queue.ack([late.receipt]) == [late.receipt]
    current.ack()


def test_an_extended_lease_lasts(queue: onceward.Queue) -> None:
    queue.send(b"x")
    delivery = queue.receive(lease=3)
    assert delivery is not None
    received, before = delivery.lease_expires_at, datetime.datetime.now(datetime.UTC)
    assert delivery.sent_at < received <= before + datetime.timedelta(seconds=3)
    delivery.extend(60)
    assert delivery.lease_expires_at > before + datetime.timedelta(seconds=59)
    assert queue.receive(wait=3.5) is None
    assert queue.extend([delivery], 60) == []
    delivery.ack()


def test_a_call_that_waits_for_another_of_the_same_delivery_holds_up_no_other_thread(path: str) -> None:
    with onceward.open(path, busy_timeout=60) as store:
        queue = store.queue("jobs", semantics="at-least-once")
        queue.send(b"x")
        delivery = take(queue)
        seen: list[object] = []

        def extend() -> None:
            delivery.extend(60)
            seen.append("extended")

        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            extending = threading.Thread(target=extend)
            extending.start()
            time.sleep(0.5)
            asking = threading.Thread(target=lambda: seen.append(delivery.settled))
            asking.start()
            time.sleep(0.5)
            assert seen == []
            other.execute("ROLLBACK")
        extending.join()
        asking.join()
        assert sorted(seen, key=str) == [False, "extended"]
        delivery.ack()


def test_settling_many_is_one_call_and_returns_what_was_lost(queue: onceward.Queue) -> None:
    queue.send_many([b"%d" % number for number in range(6)])
    held = queue.receive_many(5)
    assert len(held) == 5
    lost = queue.receive(lease=0.02)
    assert lost is not None
    assert take(queue).id == lost.id
    assert queue.ack([held[0], lost, held[1].receipt]) == [lost.receipt]
    assert (held[0].settled, held[1].settled, lost.settled) == (True, False, False)
    assert queue.ack([held[1].receipt]) == []
    assert queue.nack([held[2]], error="later", delay=3600) == []
    assert queue.dead_letter([held[3]], "broken") == []
    assert queue.release(one for one in [held[4]]) == []
    assert queue.ack([]) == []
    stats = queue.stats()
    assert (stats.ready, stats.delayed, stats.dead, stats.in_flight) == (1, 1, 1, 1)


def test_a_receipt_can_be_built_again_elsewhere(queue: onceward.Queue) -> None:
    queue.send(b"x")
    delivery = take(queue)
    assert queue.ack([onceward.Receipt(delivery.id, delivery.token)]) == []
    assert repr(delivery.receipt) == f"Receipt(id={delivery.id}, token={delivery.token})"


def test_attempts_that_are_used_up_make_a_dead_letter_with_the_last_error(store: onceward.Store) -> None:
    queue = store.queue(
        "jobs", semantics="at-least-once", attempts_max=2, backoff=onceward.Backoff(first=0, cap=0, jitter=0)
    )
    sent = queue.send(b"x", key="k", headers={"a": "b"}, ordering_key="o")
    take(queue).nack(error="one")
    take(queue).nack(error="two")
    assert queue.receive() is None
    (letter,) = queue.dead_letters()
    assert (letter.id, letter.body, letter.key, letter.headers) == (sent.id, b"x", "k", {"a": "b"})
    assert (letter.ordering_key, letter.priority) == ("o", 4)
    assert (letter.attempts, letter.error) == (2, "two")
    assert letter.reason
    assert letter.died_at >= letter.sent_at
    assert repr(letter).startswith(f"DeadLetter(id={sent.id}, attempts=2, reason=")


def test_dead_letters_are_listed_in_pages_redriven_and_purged(queue: onceward.Queue) -> None:
    ids = [one.id for one in queue.send_many([b"%d" % number for number in range(5)])]
    queue.dead_letter(queue.receive_many(5), "no good")
    assert [letter.id for letter in queue.dead_letters(max=2)] == ids[:2]
    assert [letter.id for letter in queue.dead_letters(after=ids[1], max=2)] == ids[2:4]
    assert {letter.reason for letter in queue.dead_letters()} == {"no good"}
    assert queue.redrive([ids[0]]) == 1
    again = take(queue)
    assert (again.id, again.attempt) == (ids[0], 1)
    again.ack()
    assert queue.purge_dead([ids[1]]) == 1
    assert queue.redrive() == 3
    assert [one.id for one in queue.receive_many(10)] == ids[2:]
    assert queue.dead_letters() == []
    assert (queue.redrive(), queue.purge_dead()) == (0, 0)


def test_a_redrive_is_not_eaten_by_deduplication(exact: onceward.Queue) -> None:
    sent = exact.send(b"x", key="k")
    take(exact).dead_letter("by hand")
    assert exact.redrive([sent.id]) == 1
    assert take(exact).key == "k"


def test_peek_shows_what_comes_without_taking_it(queue: onceward.Queue) -> None:
    sent = queue.send(b"x", key="k", headers={"a": "b"}, priority=2)
    queue.send(b"y")
    first, second = queue.peek(10)
    assert (first.id, first.body, first.key, first.headers, first.priority) == (sent.id, b"x", "k", {"a": "b"}, 2)
    assert (first.attempts, first.ordering_key, second.body) == (0, None, b"y")
    assert repr(first) == f"Peeked(id={sent.id}, body=<1 bytes>, key='k', attempts=0)"
    assert len(queue.peek(1)) == 1
    assert queue.stats().ready == 2
    delivery = take(queue)
    assert delivery.sent_at == first.sent_at


def test_a_message_that_is_not_in_flight_can_be_cancelled(queue: onceward.Queue) -> None:
    ready, delayed = queue.send(b"ready"), queue.send(b"delayed", delay=3600)
    assert queue.cancel(ready.id) is True
    assert queue.cancel(delayed.id) is True
    assert queue.cancel(ready.id) is False
    assert queue.receive() is None
    held = queue.send(b"held")
    delivery = take(queue)
    with pytest.raises(onceward.ConflictError, match=str(held.id)):
        queue.cancel(held.id)
    delivery.ack()
    assert queue.cancel(held.id) is False


def test_purge_leaves_what_is_in_flight_or_dead(queue: onceward.Queue) -> None:
    queue.send_many([b"a", b"b", b"c"])
    queue.send(b"later", delay=3600)
    take(queue).dead_letter("no")
    held = take(queue)
    assert queue.purge() == 2
    stats = queue.stats()
    assert (stats.ready, stats.delayed, stats.in_flight, stats.dead) == (0, 0, 1, 1)
    held.ack()


def test_a_paused_queue_hands_over_nothing_and_still_takes_sends_and_settles(queue: onceward.Queue) -> None:
    queue.send_many([b"a", b"b"])
    held = take(queue)
    queue.pause()
    assert queue.is_paused()
    assert queue.receive(wait=0.05) is None
    queue.send(b"c")
    held.ack()
    queue.resume()
    assert not queue.is_paused()
    assert [one.body for one in queue.receive_many(10)] == [b"b", b"c"]


def test_statistics_count_every_state(queue: onceward.Queue) -> None:
    queue.send_many([b"a", b"b", b"c", b"d"])
    queue.send(b"later", delay=3600)
    queue.send_many([onceward.Message(b"1", ordering_key="k"), onceward.Message(b"2", ordering_key="k")])
    take(queue).dead_letter("no")
    take(queue)
    stats = queue.stats()
    assert (stats.dead, stats.in_flight, stats.delayed, stats.in_doubt) == (1, 1, 1, 0)
    assert stats.ready + stats.blocked == 4
    assert stats.oldest_age is not None
    assert 0 <= stats.oldest_age < PATIENCE
    assert repr(stats).startswith("Stats(ready=")


def test_every_subscription_sees_every_message(store: onceward.Store) -> None:
    queue = store.queue("orders", semantics="at-least-once", subscriptions=["billing", "audit"])
    assert sorted(queue.subscriptions()) == ["audit", "billing"]
    billing, audit = queue.subscription("billing"), queue.subscription("audit")
    assert (billing.name, repr(billing)) == ("billing", "Subscription(name='billing')")
    sent = queue.send(b"x")
    take(billing).ack()
    assert billing.receive() is None
    delivery = take(audit)
    assert delivery.id == sent.id
    assert audit.ack([delivery]) == []
    with pytest.raises(onceward.NotFoundError, match="default"):
        queue.receive()


def test_a_subscription_starts_now_or_with_the_oldest_kept_message(queue: onceward.Queue) -> None:
    queue.send(b"before")
    now, oldest = queue.subscribe("now"), queue.subscribe("oldest", start="oldest")
    queue.send(b"after")
    assert [one.body for one in now.receive_many(10)] == [b"after"]
    assert [one.body for one in oldest.receive_many(10)] == [b"before", b"after"]
    assert sorted(queue.subscriptions()) == ["default", "now", "oldest"]
    queue.unsubscribe("now")
    assert sorted(queue.subscriptions()) == ["default", "oldest"]
    with pytest.raises(onceward.NotFoundError, match="now"):
        queue.subscription("now")
    with pytest.raises(onceward.NotFoundError, match="now"):
        queue.unsubscribe("now")


def test_a_lease_per_call_is_used_instead_of_the_queues(store: onceward.Store) -> None:
    queue = store.queue("jobs", semantics="at-least-once", lease=0.05)
    queue.send(b"x")
    assert queue.receive(lease=60) is not None
    assert queue.receive(wait=0.3) is None
    queue.send(b"y")
    assert take(queue).body == b"y"
    end = time.monotonic() + PATIENCE
    while (again := queue.receive(wait=1)) is None:
        assert time.monotonic() < end
    assert (again.body, again.attempt) == (b"y", 2)
