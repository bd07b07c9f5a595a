"""Ledgers: effects at third parties, made once by keys of the application's own."""

import threading
import time

import onceward
import pytest
from onceward import Applied

from bank import Bank, BankError, never, the_doubt
from conftest import PATIENCE


@pytest.fixture
def bank() -> Bank:
    return Bank()


def test_a_ledger_makes_a_call_once_for_each_key(store: onceward.Store, bank: Bank) -> None:
    refunds = store.ledger("refunds")
    for _ in range(2):
        assert refunds.once("order-42", bank.pay, on_unknown="park") == b"receipt 1"
    assert refunds.once("order-43", bank.pay, on_unknown="park") == b"receipt 2"
    assert (refunds.name, repr(refunds), store.ledgers()) == ("refunds", "Ledger(name='refunds')", ["refunds"])
    assert refunds.idempotency_key("order-42") != refunds.idempotency_key("order-43")
    with pytest.raises(BankError):
        refunds.once("order-44", bank.refuse, on_unknown="fail", failed_on=BankError)
    assert refunds.once("order-44", bank.pay, on_unknown="fail") == b"receipt 3"


def test_a_ledgers_doubt_is_listed_until_it_is_resolved(store: onceward.Store, bank: Bank) -> None:
    refunds = store.ledger("refunds", window="forever")
    for call in (bank.pay_and_hang_up, never):
        with pytest.raises(onceward.InDoubtError, match="no answer"):
            refunds.once("k", call, on_unknown="park")
    doubt = the_doubt(store)
    assert (doubt.ledger, doubt.name, doubt.queue, doubt.subscription, doubt.message) == (
        "refunds",
        "k",
        None,
        None,
        None,
    )
    store.resolve(doubt.doubt, Applied(b"seen"), evidence="asked", actor="alice")
    assert refunds.once("k", never, on_unknown="park") == b"seen"
    (kept,) = store.resolutions()
    assert (kept.ledger, kept.message, kept.name) == ("refunds", None, "k")


def test_a_second_caller_waits_and_another_request_is_a_conflict(store: onceward.Store, bank: Bank) -> None:
    refunds = store.ledger("refunds")
    inside, go_on = threading.Event(), threading.Event()

    def pay() -> bytes:
        inside.set()
        assert go_on.wait(PATIENCE)
        return bank.pay()

    worker = threading.Thread(target=lambda: refunds.once("k", pay, on_unknown="park", request=b"1 cent"))
    worker.start()
    assert inside.wait(PATIENCE)
    with pytest.raises(onceward.BusyError, match="alive"):
        refunds.once("k", never, on_unknown="park")
    with pytest.raises(onceward.ConflictError, match="another request"):
        refunds.once("k", never, on_unknown="park", request=b"2 cents")
    results: list[bytes] = []
    second = threading.Thread(
        target=lambda: results.append(refunds.once("k", never, on_unknown="park", wait=PATIENCE, request=b"1 cent"))
    )
    second.start()
    time.sleep(0.2)
    go_on.set()
    worker.join(PATIENCE)
    second.join(PATIENCE)
    assert results == [b"receipt 1"]


def test_bad_ledgers_are_refused(store: onceward.Store) -> None:
    with pytest.raises(onceward.InvalidArgumentError, match="ledger name is empty"):
        store.ledger("")
    with pytest.raises(onceward.InvalidArgumentError, match="ledger window is"):
        store.ledger("refunds", window=0)
    with pytest.raises(onceward.InvalidArgumentError, match="neither a number nor"):
        store.ledger("refunds", window="never")  # type: ignore[arg-type]
    refunds = store.ledger("refunds")
    with pytest.raises(onceward.InvalidArgumentError, match="effect key is empty"):
        refunds.once("", never, on_unknown="park")
    with pytest.raises(onceward.InvalidArgumentError, match="wait is"):
        refunds.once("k", never, on_unknown="park", wait=86401)
    with pytest.raises(TypeError, match="request must be bytes"):
        refunds.once("k", never, on_unknown="park", request="text")  # type: ignore[call-overload]
    assert store.in_doubt() == []
