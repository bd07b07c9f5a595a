"""Killed, stopped, poisoned and forked processes."""

import multiprocessing
import signal
import time
from collections.abc import Callable
from pathlib import Path

import onceward
import pytest

from conftest import PATIENCE, Program, take


def test_the_messages_of_a_killed_consumer_are_offered_again_long_before_their_lease_ends(
    program: Callable[..., Program], path: str, queue: onceward.Queue
) -> None:
    queue.send_many([b"%d" % number for number in range(10)])
    holder = program("hold", path, "3600", "10")
    assert holder.line() == "holding 10"
    assert queue.receive() is None
    holder.kill()
    again = [take(queue)]
    while len(again) < 10:
        again += queue.receive_many(10, wait=PATIENCE) or pytest.fail("not all of them came back")
    assert {one.body for one in again} == {b"%d" % number for number in range(10)}
    assert {one.attempt for one in again} == {2}
    assert queue.ack(again) == []


def test_a_stopped_consumer_keeps_its_messages_until_its_lease_ends_and_its_late_ack_fails(
    program: Callable[..., Program], path: str, queue: onceward.Queue
) -> None:
    lease = 3.0
    sent = queue.send(b"x")
    before = time.monotonic()
    holder = program("hold", path, str(lease), "1")
    assert holder.line() == "holding 1"
    holder.signal(signal.SIGSTOP)
    again = queue.receive(wait=PATIENCE)
    after = time.monotonic()
    assert again is not None
    assert (again.id, again.attempt) == (sent.id, 2)
    # Not before the lease ended: the lease began after `before`, and clocks round to a millisecond.
    assert after - before >= lease - 0.002
    holder.signal(signal.SIGCONT)
    holder.say("go on")
    assert holder.line() == "LeaseLostError"
    assert holder.finish()[0] == 0
    again.ack()
    assert queue.stats().in_flight == 0


def test_a_message_that_kills_its_worker_ends_dead_and_its_99_neighbours_are_done(
    program: Callable[..., Program], path: str, tmp_path: Path, queue: onceward.Queue
) -> None:
    bodies = [b"poison" if number == 41 else b"%d" % number for number in range(100)]
    sent = queue.send_many(bodies)
    done = tmp_path / "done"
    kills = 0
    for _ in range(200):
        code, _, errors = program("poisoned", path, str(done)).finish()
        if code == 0:
            break
        assert (code, errors) == (-signal.SIGKILL, "")
        kills += 1
    else:
        pytest.fail("the queue never became empty")
    assert kills >= 1
    letters = queue.dead_letters()
    assert [(letter.id, letter.body) for letter in letters] == [(sent[41].id, b"poison")]
    assert letters[0].reason
    stats = queue.stats()
    assert (stats.ready, stats.delayed, stats.blocked, stats.in_flight, stats.dead) == (0, 0, 0, 0, 1)
    assert {line.encode() for line in done.read_text().split()} == set(bodies) - {b"poison"}


@pytest.mark.parametrize("transaction", [[], ["in a transaction"]], ids=["idle", "in a transaction"])
def test_a_forked_child_is_told_that_its_store_is_closed_and_both_end_cleanly(
    program: Callable[..., Program], path: str, transaction: list[str]
) -> None:
    code, output, errors = program("forked", path, *transaction).finish()
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert [line for line in lines if line.startswith("child ")] == [
        "child send ClosedError",
        "child receive ClosedError",
        "child ack ClosedError",
        "child next ClosedError",
        "child waited next ClosedError",
        "child waited flush ClosedError",
        "child waited close ClosedError",
        "child transaction ClosedError",
        "child commit ClosedError",
        "child stats ClosedError",
        "child queues ClosedError",
        *([] if transaction else ["child own store 2"]),
    ]
    assert lines[-2:] == ["child's exit code 7", f"parent {2 if transaction else 1} 0"]


def test_a_forked_child_waits_for_no_call_that_a_thread_of_its_parent_was_in(
    program: Callable[..., Program], path: str
) -> None:
    code, output, errors = program("forked_in_calls", path).finish()
    assert (code, errors) == (0, "")
    assert output.splitlines() == [
        *(f"child {name} ClosedError" for name in ("execute", "commit", "rollback", "settled", "ack", "extend")),
        "child's exit code 7",
        "parent ExpiredError",
    ]


def _send_from_a_child(path: str) -> None:
    with onceward.open(path) as own:
        own.queue("jobs").send(b"from the child")


def test_a_child_of_multiprocessing_opens_its_own_store_of_the_same_file(path: str, queue: onceward.Queue) -> None:
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_send_from_a_child, args=(path,)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(PATIENCE)
        assert child.exitcode == 0
    queue.send(b"from the parent")
    bodies = sorted(one.body for one in queue.receive_many(10))
    assert bodies == [b"from the child"] * 3 + [b"from the parent"]


def test_a_message_from_another_process_wakes_a_waiting_receiver(
    program: Callable[..., Program], path: str, queue: onceward.Queue
) -> None:
    holder = program("hold", path, "60", "1")
    queue.send(b"x")
    assert holder.line() == "holding 1"
    holder.say("go on")
    assert holder.finish()[:2] == (0, "acknowledged\n")


def test_nobody_waits_for_ever_for_a_store_that_was_stopped_while_it_opened(
    program: Callable[..., Program], path: str, queue: onceward.Queue
) -> None:
    queue.send(b"x")
    opener = program("stopped_opening", f"{path}-onceward")
    assert opener.line() == "opening"
    with pytest.raises(onceward.BusyError, match="another store began to open the file and did not finish within 50ms"):
        onceward.open(path, busy_timeout=0.05)
    # Whoever has it open is not disturbed, and once the other is gone it opens.
    take(queue).ack()
    opener.kill()
    onceward.open(path).close()


@pytest.mark.parametrize("call", ["receive", "receive_many", "consume"])
def test_ctrl_c_ends_a_wait(program: Callable[..., Program], path: str, call: str) -> None:
    waiting = program("interrupted", path, call)
    assert waiting.line() == "waiting"
    time.sleep(0.3)
    waiting.signal(signal.SIGINT)
    code, output, errors = waiting.finish()
    assert (code, output, errors) == (0, "interrupted\nreceived True\n", "")


@pytest.mark.parametrize("run", range(10))
def test_leaving_with_an_open_store_and_waiting_threads_does_not_crash(
    program: Callable[..., Program], path: str, run: int
) -> None:
    code, output, errors = program("leaving", path, str(run * 0.03)).finish()
    assert (code, output, errors) == (0, "leaving\n", "")
    with onceward.open(path) as store:
        queue = store.queue("jobs")
        bodies = {one.body for one in queue.receive_many(3, wait=PATIENCE)}
        assert bodies & {b"a", b"b", b"c"}
