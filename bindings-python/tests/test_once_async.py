"""Effects at third parties in asyncio."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import onceward
import pytest
from onceward import Applied

from bank import Bank, BankError, the_doubt
from conftest import PATIENCE, take


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
def delivery(exact: onceward.Queue) -> onceward.Delivery:
    exact.send(b"x", key="x")
    return take(exact)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, PATIENCE))


def test_coroutines_are_called_and_probed_once(exact: onceward.Queue, delivery: onceward.Delivery, bank: Bank) -> None:
    async def pay_and_hang_up() -> bytes:
        await asyncio.sleep(0)
        return bank.pay_and_hang_up()

    async def look_up() -> Applied | onceward.Answer:
        await asyncio.sleep(0)
        return bank.look_up()

    async def main() -> None:
        with pytest.raises(onceward.InDoubtError, match="no answer"):
            await delivery.once_async("charge", pay_and_hang_up, on_unknown="probe", probe=look_up, settle=0)
        assert delivery.settled
        again = await asyncio.to_thread(take, exact)
        found = await again.once_async("charge", pay_and_hang_up, on_unknown="probe", probe=look_up, settle=0)
        assert found == b"receipt 1"
        again.ack()

    run(main())
    assert bank.paid == 1


def test_a_coroutine_may_fail_and_be_called_again(exact: onceward.Queue, bank: Bank) -> None:
    exact.send(b"x", key="x")

    async def refuse() -> bytes:
        return bank.refuse()

    async def pay() -> bytes:
        return bank.pay()

    async def main() -> None:
        first = take(exact)
        with pytest.raises(BankError):
            await first.once_async("charge", refuse, on_unknown="park", failed_on=BankError)
        first.nack(delay=0)
        assert await take(exact).once_async("charge", pay, on_unknown="park") == b"receipt 1"

    run(main())


def test_a_cancelled_call_is_in_doubt(store: onceward.Store, delivery: onceward.Delivery) -> None:
    async def main() -> None:
        inside = asyncio.Event()

        async def hang() -> bytes:
            inside.set()
            await asyncio.sleep(PATIENCE)
            return b"paid"

        task = asyncio.create_task(delivery.once_async("charge", hang, on_unknown="park"))
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert the_doubt(store).error == "CancelledError"
    assert delivery.settled


def test_those_who_wait_for_a_call_leave_its_loop_the_threads_to_record_it(store: onceward.Store, bank: Bank) -> None:
    refunds = store.ledger("refunds")

    async def pay() -> bytes:
        await asyncio.sleep(0.1)
        return bank.pay()

    async def main() -> None:
        # More than the executor of the loop has threads.
        callers = [refunds.once_async("k", pay, on_unknown="park", wait=PATIENCE) for _ in range(64)]
        assert set(await asyncio.gather(*callers)) == {b"receipt 1"}

    run(main())
    assert bank.paid == 1


def test_one_who_waits_in_a_loop_gives_up_after_its_wait(store: onceward.Store, bank: Bank) -> None:
    refunds = store.ledger("refunds")

    async def main() -> None:
        inside, go_on = asyncio.Event(), asyncio.Event()

        async def pay() -> bytes:
            inside.set()
            await go_on.wait()
            return bank.pay()

        first = asyncio.create_task(refunds.once_async("k", pay, on_unknown="park"))
        await inside.wait()
        for wait in (0, 0.1):
            with pytest.raises(onceward.BusyError, match="alive"):
                await refunds.once_async("k", pay, on_unknown="park", wait=wait)
        go_on.set()
        assert await first == b"receipt 1"

    run(main())


def test_what_is_cancelled_before_its_call_was_never_called(store: onceward.Store, bank: Bank) -> None:
    refunds = store.ledger("refunds")

    async def pay() -> bytes:
        return bank.pay()

    async def main() -> None:
        tx = store.transaction()
        tx.execute("CREATE TABLE t(x)")
        task = asyncio.create_task(refunds.once_async("k", pay, on_unknown="park"))
        # It waits for the transaction in a thread of its own.
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        tx.commit()

    run(main())
    assert bank.paid == 0
    assert refunds.once("k", bank.pay, on_unknown="park", wait=PATIENCE) == b"receipt 1"
    assert store.in_doubt() == []


def test_bad_coroutines_are_refused(store: onceward.Store, exact: onceward.Queue, bank: Bank) -> None:
    refunds = store.ledger("refunds")

    async def text() -> Any:
        return "paid"

    async def main() -> None:
        with pytest.raises(TypeError, match="result of an effect is bytes"):
            await refunds.once_async("k", text, on_unknown="park")
        assert "'paid'" in the_doubt(store).error
        with pytest.raises(onceward.InDoubtError) as raised:
            await refunds.once_async("l", bank.pay, on_unknown="park")  # type: ignore[call-overload]
        assert isinstance(raised.value.__cause__, TypeError)

    run(main())
