"""Effects of messages at third parties: made once, kept, in doubt, resolved."""

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onceward
import pytest
from onceward import NOT_APPLIED, UNKNOWN, Applied

from bank import Bank, BankError, never, not_asked, the_doubt
from conftest import PATIENCE, Program, take


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
def delivery(exact: onceward.Queue) -> onceward.Delivery:
    exact.send(b"x", key="x")
    return take(exact)


def test_a_result_is_kept_until_the_message_is_finished(
    exact: onceward.Queue, delivery: onceward.Delivery, bank: Bank
) -> None:
    assert delivery.once("charge", bank.pay, on_unknown="park") == b"receipt 1"
    delivery.nack(delay=0)
    again = take(exact)
    assert again.once("charge", never, on_unknown="park") == b"receipt 1"
    again.ack()
    assert bank.paid == 1


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_every_kind_are_results(delivery: onceward.Delivery, kind: Callable[[bytes], Any]) -> None:
    assert delivery.once("charge", lambda: kind(b"paid"), on_unknown="park") == b"paid"


def test_an_undeclared_exception_parks_and_a_resolution_lets_it_go_on(
    store: onceward.Store, exact: onceward.Queue, delivery: onceward.Delivery, bank: Bank
) -> None:
    with pytest.raises(onceward.InDoubtError, match="TimeoutError: no answer.*parked") as raised:
        delivery.once("charge", bank.pay_and_hang_up, on_unknown="park")
    assert isinstance(raised.value.__cause__, TimeoutError)
    assert delivery.settled
    with pytest.raises(onceward.InvalidArgumentError, match="already settled"):
        delivery.nack()
    stats = exact.stats()
    assert (stats.ready, stats.delayed, stats.blocked, stats.in_flight, stats.in_doubt) == (0, 0, 0, 0, 1)
    assert store.stats().in_doubt == 1
    doubt = the_doubt(store)
    assert (doubt.queue, doubt.subscription, doubt.message, doubt.ledger) == ("payments", "default", delivery.id, None)
    assert (doubt.key, doubt.name, doubt.error) == ("x", "charge", "TimeoutError: no answer")
    assert doubt.called_at <= doubt.since
    assert repr(doubt) == f"InDoubt(doubt={doubt.doubt}, name='charge', error='TimeoutError: no answer')"
    store.resolve(doubt.doubt, Applied(b"seen"), evidence="statement of March", actor="alice")
    again = take(exact)
    assert again.once("charge", never, on_unknown="park") == b"seen"
    again.ack()
    (kept,) = store.resolutions()
    assert (kept.doubt, kept.resolution, kept.evidence, kept.actor) == (
        doubt.doubt,
        Applied(b"seen"),
        "statement of March",
        "alice",
    )
    assert (kept.message, kept.queue, kept.error) == (delivery.id, "payments", "TimeoutError: no answer")
    assert repr(kept).startswith(f"Resolved(doubt={doubt.doubt}, name='charge', resolution=Applied(result=b'seen')")
    assert bank.paid == 1


def test_not_applied_is_called_again(
    store: onceward.Store, exact: onceward.Queue, delivery: onceward.Delivery, bank: Bank
) -> None:
    with pytest.raises(onceward.InDoubtError):
        delivery.once("charge", bank.refuse, on_unknown="park")
    store.resolve(the_doubt(store).doubt, NOT_APPLIED, evidence="no entry", actor="bob")
    assert take(exact).once("charge", bank.pay, on_unknown="park") == b"receipt 1"
    assert [kept.resolution for kept in store.resolutions()] == [NOT_APPLIED]


@pytest.mark.parametrize("declared", [BankError, (OSError, BankError), Exception])
def test_a_declared_exception_is_raised_as_itself_and_the_call_made_again(
    store: onceward.Store, exact: onceward.Queue, delivery: onceward.Delivery, bank: Bank, declared: Any
) -> None:
    with pytest.raises(BankError, match="no money"):
        delivery.once("charge", bank.refuse, on_unknown="park", failed_on=declared)
    assert not delivery.settled
    assert store.in_doubt() == []
    delivery.nack(delay=0)
    assert take(exact).once("charge", bank.pay, on_unknown="park") == b"receipt 1"


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_the_program_leaves_it_in_doubt_and_passes_through(
    store: onceward.Store, delivery: onceward.Delivery, end: type[BaseException]
) -> None:
    def interrupted() -> bytes:
        raise end

    with pytest.raises(end):
        delivery.once("charge", interrupted, on_unknown="park")
    assert the_doubt(store).error == end.__name__
    assert delivery.settled


def test_fail_dead_letters_at_once(
    store: onceward.Store, exact: onceward.Queue, delivery: onceward.Delivery, bank: Bank
) -> None:
    with pytest.raises(onceward.InDoubtError, match="dead letter"):
        delivery.once("charge", bank.pay_and_hang_up, on_unknown="fail")
    (letter,) = exact.dead_letters()
    assert "in doubt" in letter.reason
    assert letter.error == "TimeoutError: no answer"
    store.resolve(the_doubt(store).doubt, Applied(b"seen"), evidence="asked", actor="alice")
    exact.redrive()
    assert take(exact).once("charge", never, on_unknown="fail") == b"seen"


def test_a_probe_finds_it(exact: onceward.Queue, delivery: onceward.Delivery, bank: Bank) -> None:
    with pytest.raises(onceward.InDoubtError, match="given back"):
        delivery.once("charge", bank.pay_and_hang_up, on_unknown="probe", probe=not_asked, settle=0)
    again = take(exact)
    assert again.once("charge", never, on_unknown="probe", probe=bank.look_up, settle=0) == b"receipt 1"
    again.ack()
    assert bank.paid == 1


def test_a_probe_that_did_not_find_it_lets_it_be_called_after_the_settle_delay(
    exact: onceward.Queue, delivery: onceward.Delivery, bank: Bank
) -> None:
    with pytest.raises(onceward.InDoubtError):
        delivery.once("charge", bank.refuse, on_unknown="probe", probe=not_asked, settle=0)
    early = take(exact)
    with pytest.raises(onceward.BusyError, match="settle delay: in 3[56]"):
        early.once("charge", never, on_unknown="probe", probe=bank.look_up, settle=3600)
    assert early.settled
    assert exact.stats().delayed == 1


def test_not_applied_calls_again(exact: onceward.Queue, delivery: onceward.Delivery, bank: Bank) -> None:
    with pytest.raises(onceward.InDoubtError):
        delivery.once("charge", bank.refuse, on_unknown="probe", probe=not_asked, settle=0.001)
    assert take(exact).once("charge", bank.pay, on_unknown="probe", probe=bank.look_up, settle=0.001) == b"receipt 1"


def test_a_probe_that_cannot_tell_parks(
    store: onceward.Store, exact: onceward.Queue, delivery: onceward.Delivery, bank: Bank
) -> None:
    with pytest.raises(onceward.InDoubtError):
        delivery.once("charge", bank.pay_and_hang_up, on_unknown="probe", probe=not_asked, settle=0)
    with pytest.raises(onceward.InDoubtError, match="could not tell.*parked"):
        take(exact).once("charge", never, on_unknown="probe", probe=lambda: UNKNOWN, settle=0)
    assert the_doubt(store).name == "charge"
    assert exact.receive() is None


@pytest.mark.parametrize("nonsense", [None, True, b"receipt", "not applied", Applied])
def test_a_probe_that_raises_or_returns_nonsense_changes_nothing(
    store: onceward.Store, exact: onceward.Queue, delivery: onceward.Delivery, bank: Bank, nonsense: Any
) -> None:
    with pytest.raises(onceward.InDoubtError):
        delivery.once("charge", bank.pay_and_hang_up, on_unknown="probe", probe=not_asked, settle=0)
    before = the_doubt(store)

    def raises() -> Applied | onceward.Answer:
        raise BankError("closed")

    again = take(exact)
    with pytest.raises(BankError, match="closed"):
        again.once("charge", never, on_unknown="probe", probe=raises, settle=0)
    assert not again.settled
    again.nack(delay=0)
    again = take(exact)
    says = re.escape("a probe returns Applied(result), NOT_APPLIED or UNKNOWN, not ")
    with pytest.raises(onceward.InvalidArgumentError, match=says):
        again.once("charge", never, on_unknown="probe", probe=lambda: nonsense, settle=0)
    assert not again.settled
    after = the_doubt(store)
    assert (after.doubt, after.error) == (before.doubt, before.error)
    again.nack(delay=0)
    text: Any = "text"
    with pytest.raises(TypeError, match="result of Applied must be bytes, not 'text'"):
        take(exact).once("charge", never, on_unknown="probe", probe=lambda: Applied(text), settle=0)


def test_applied_takes_bytes_and_says_so_at_once() -> None:
    for result in ("paid", None, 7):
        with pytest.raises(TypeError, match="the result of Applied must be bytes"):
            Applied(result)  # type: ignore[arg-type]


def test_the_error_shows_the_first_line_of_what_is_known_and_the_list_all_of_it(
    store: onceward.Store, delivery: onceward.Delivery
) -> None:
    text = "no answer " + "x" * 300 + "\nand a page of HTML"

    def call() -> bytes:
        raise TimeoutError(text)

    with pytest.raises(onceward.InDoubtError) as raised:
        delivery.once("charge", call, on_unknown="park")
    shown = str(raised.value)
    assert "TimeoutError: no answer xxx" in shown
    assert "…; the message is parked" in shown
    assert "\n" not in shown
    assert len(shown) < 400
    assert the_doubt(store).error == "TimeoutError: " + text


@pytest.mark.parametrize("result", ["paid", None, 7, ["paid"]])
def test_a_result_that_is_not_bytes_happened_and_is_in_doubt(
    store: onceward.Store, delivery: onceward.Delivery, result: Any
) -> None:
    with pytest.raises(TypeError, match="result of an effect is bytes"):
        delivery.once("charge", lambda: result, on_unknown="park")
    assert "the call returned" in the_doubt(store).error
    assert delivery.settled


def test_a_result_over_the_limit_happened_and_is_in_doubt(store: onceward.Store, delivery: onceward.Delivery) -> None:
    with pytest.raises(onceward.InvalidArgumentError, match="1048577 bytes; the limit is 1048576.*in doubt"):
        delivery.once("charge", lambda: bytes(2**20 + 1), on_unknown="park")
    assert "it happened" in the_doubt(store).error
    assert delivery.settled


Options = dict[str, Any]


@pytest.mark.parametrize(
    ("name", "options", "error", "says"),
    [
        ("charge", {}, TypeError, "on_unknown"),
        ("charge", {"on_unknown": None}, TypeError, "on_unknown must be a str, not NoneType"),
        ("charge", {"on_unknown": "retry"}, ValueError, "on_unknown is 'retry'; it takes"),
        ("charge", {"on_unknown": "probe"}, ValueError, "takes a probe and a settle delay"),
        ("charge", {"on_unknown": "probe", "settle": 1}, ValueError, "takes a probe and a settle delay"),
        ("charge", {"on_unknown": "probe", "probe": not_asked}, ValueError, "takes a probe and a settle delay"),
        ("charge", {"on_unknown": "park", "probe": not_asked}, ValueError, "go with on_unknown"),
        ("charge", {"on_unknown": "fail", "settle": 1}, ValueError, "go with on_unknown"),
        ("charge", {"on_unknown": "probe", "probe": 7, "settle": 1}, TypeError, "probe must be callable"),
        ("charge", {"on_unknown": "probe", "probe": not_asked, "settle": -1}, ValueError, "settle is -1 seconds"),
        ("charge", {"on_unknown": "probe", "probe": not_asked, "settle": 1e10}, ValueError, "settle delay is"),
        ("charge", {"on_unknown": "park", "idempotent_for": 1e10}, ValueError, "idempotent_for is"),
        ("charge", {"on_unknown": "park", "failed_on": "text"}, TypeError, "failed_on must be a class"),
        ("charge", {"on_unknown": "park", "failed_on": (BankError, KeyboardInterrupt)}, TypeError, "failed_on"),
        ("charge", {"on_unknown": "park", "wait": 1}, TypeError, "wait"),
        ("", {"on_unknown": "park"}, ValueError, "effect name is empty"),
        ("n" * 513, {"on_unknown": "park"}, ValueError, "513 bytes; the limit is 512"),
        (7, {"on_unknown": "park"}, TypeError, "effect name must be a str, not int"),
    ],
)
def test_bad_options_are_refused_before_anything_is_called(
    store: onceward.Store, delivery: onceward.Delivery, name: Any, options: Options, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        delivery.once(name, never, **options)
    assert not delivery.settled
    assert delivery.once("charge", lambda: b"paid", on_unknown="park") == b"paid"


def test_a_call_must_be_callable_and_of_the_kind_that_is_asked_for(delivery: onceward.Delivery, bank: Bank) -> None:
    async def pay() -> bytes:
        return bank.pay()

    with pytest.raises(TypeError, match="call must be callable"):
        delivery.once("charge", b"paid", on_unknown="park")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="once_async takes coroutine functions"):
        delivery.once("charge", pay, on_unknown="park")  # type: ignore[call-overload]
    assert delivery.once("charge", bank.pay, on_unknown="park") == b"receipt 1"


def test_a_name_stands_once_in_a_delivery(delivery: onceward.Delivery, bank: Bank) -> None:
    delivery.once("charge", bank.pay, on_unknown="park")
    with pytest.raises(onceward.InvalidArgumentError, match='"charge" was asked for already'):
        delivery.once("charge", never, on_unknown="park")
    assert delivery.once("receipt", bank.pay, on_unknown="park") == b"receipt 2"


def test_at_most_once_queues_have_no_effects(store: onceward.Store) -> None:
    events = store.queue("events", semantics="at-most-once")
    events.send(b"x")
    with pytest.raises(onceward.InvalidArgumentError, match="at-most-once"):
        take(events).once("charge", never, on_unknown="park")


def test_a_lost_lease_calls_nothing(exact: onceward.Queue, bank: Bank) -> None:
    exact.send(b"x", key="x")
    late = exact.receive(lease=0.001)
    assert late is not None
    current = take(exact)
    with pytest.raises(onceward.LeaseLostError):
        late.once("charge", never, on_unknown="park")
    current.once("charge", bank.pay, on_unknown="park")


def test_resolving_answers_once_and_only_what_is_in_doubt(
    store: onceward.Store, delivery: onceward.Delivery, bank: Bank
) -> None:
    said = {"evidence": "asked", "actor": "alice"}
    with pytest.raises(onceward.NotFoundError, match="no doubt 1"):
        store.resolve(1, NOT_APPLIED, **said)
    with pytest.raises(onceward.InDoubtError):
        delivery.once("charge", bank.pay_and_hang_up, on_unknown="park")
    doubt = the_doubt(store).doubt
    bad: list[tuple[Any, Any, dict[str, Any], type[Exception], str]] = [
        (doubt, UNKNOWN, said, ValueError, "a resolution is Applied"),
        (doubt, b"seen", said, ValueError, "a resolution is Applied"),
        (doubt, Applied(bytes(2**20 + 1)), said, ValueError, "1048577 bytes; the limit is 1048576"),
        (doubt, NOT_APPLIED, {"evidence": "", "actor": "a"}, ValueError, "evidence is empty"),
        (doubt, NOT_APPLIED, {"evidence": "e", "actor": " "}, ValueError, "actor is empty"),
        (doubt, NOT_APPLIED, {"evidence": "e" * 4097, "actor": "a"}, ValueError, "4097 bytes; the limit is 4096"),
        (doubt, NOT_APPLIED, {"evidence": 7, "actor": "a"}, TypeError, "evidence must be a str"),
        (doubt, NOT_APPLIED, {}, TypeError, "evidence"),
        (-1, NOT_APPLIED, said, ValueError, "doubt is -1"),
        ("1", NOT_APPLIED, said, TypeError, "doubt must be an int"),
        (2**63, NOT_APPLIED, said, ValueError, "doubt is"),
    ]
    for number, resolution, words, error, says in bad:
        with pytest.raises(error, match=says):
            store.resolve(number, resolution, **words)
    assert the_doubt(store).doubt == doubt
    store.resolve(doubt, Applied(b"seen"), **said)
    store.resolve(doubt, Applied(b"seen"), **said)
    for other in (NOT_APPLIED, Applied(b"other")):
        with pytest.raises(onceward.ConflictError, match="was resolved as applied"):
            store.resolve(doubt, other, **said)
    assert len(store.resolutions()) == 1
    assert store.resolutions(after=doubt) == []
    assert store.in_doubt(after=doubt) == []
    with pytest.raises(onceward.InvalidArgumentError, match="max is 0"):
        store.in_doubt(max=0)


def test_a_parked_delivery_leaves_its_transaction_without_complaint(
    store: onceward.Store, exact: onceward.Queue, bank: Bank
) -> None:
    for key in "ab":
        exact.send(b"x", key=key)
    delivery = take(exact)
    with delivery.transaction(), pytest.raises(onceward.InDoubtError):
        delivery.once("charge", bank.pay_and_hang_up, on_unknown="park")
    delivery = take(exact)
    with pytest.raises(onceward.InDoubtError), delivery.transaction():
        delivery.once("charge", bank.pay_and_hang_up, on_unknown="park")
    assert store.stats().in_doubt == 2


def test_once_in_a_transaction_that_has_begun_is_refused(delivery: onceward.Delivery) -> None:
    with pytest.raises(onceward.InvalidArgumentError, match="transaction"), delivery.transaction() as tx:
        tx.execute("CREATE TABLE t(x)")
        delivery.once("charge", never, on_unknown="park")


def test_consuming_goes_on_past_what_is_parked(store: onceward.Store, exact: onceward.Queue, bank: Bank) -> None:
    exact.send_many([onceward.Message(b"%d" % n, key=str(n)) for n in range(4)])
    with exact.consume(wait=0) as deliveries:
        for delivery in deliveries:
            if delivery.body == b"1":
                with pytest.raises(onceward.InDoubtError):
                    delivery.once("charge", bank.pay_and_hang_up, on_unknown="park")
                continue
            delivery.once("charge", bank.pay, on_unknown="park")
            delivery.ack()
    stats = exact.stats()
    assert (stats.ready, stats.in_flight, stats.delayed, stats.dead, stats.in_doubt) == (0, 0, 0, 0, 1)
    assert bank.paid == 4


def test_an_idempotent_third_party_is_called_again_with_the_same_key(exact: onceward.Queue) -> None:
    exact.send(b"x", key="x")
    seen: list[str] = []

    def pay(delivery: onceward.Delivery, answers: bool) -> bytes:
        seen.append(delivery.idempotency_key("charge"))
        if not answers:
            raise TimeoutError
        return b"paid"

    first = take(exact)
    with pytest.raises(onceward.InDoubtError):
        first.once(
            "charge", lambda: pay(first, False), on_unknown="probe", probe=not_asked, settle=0, idempotent_for=3600
        )
    second = take(exact)
    paid = second.once(
        "charge", lambda: pay(second, True), on_unknown="probe", probe=not_asked, settle=0, idempotent_for=3600
    )
    assert (paid, len(seen), len(set(seen))) == (b"paid", 2, 1)
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", seen[0])


def test_a_repetition_that_did_not_happen_is_still_in_doubt(exact: onceward.Queue, bank: Bank) -> None:
    exact.send(b"x", key="x")

    def hang() -> bytes:
        raise TimeoutError

    def charge(delivery: onceward.Delivery, call: Callable[[], bytes]) -> bytes:
        return delivery.once(
            "charge", call, on_unknown="probe", probe=not_asked, settle=0, failed_on=BankError, idempotent_for=3600
        )

    with pytest.raises(onceward.InDoubtError):
        charge(take(exact), hang)
    second = take(exact)
    with pytest.raises(onceward.InDoubtError, match="an earlier call may have happened") as caught:
        charge(second, bank.refuse)
    assert isinstance(caught.value.__cause__, BankError)
    assert not second.settled


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_worker_that_is_killed_in_its_call_leaves_it_in_doubt_and_never_paid_twice(
    store: onceward.Store, exact: onceward.Queue, tmp_path: Path, program: Callable[..., Program], where: str
) -> None:
    exact.send(b"x", key="x")
    log = tmp_path / "bank.log"
    worker = program("charge", store.path, str(log), where)
    assert worker.line() == "calls"
    worker.kill()
    with pytest.raises(onceward.InDoubtError, match="its caller ended during the call"):
        take(exact).once("charge", never, on_unknown="park")
    assert exact.receive() is None
    paid = log.exists()
    assert paid == (where == "after")
    store.resolve(
        the_doubt(store).doubt, Applied(b"paid") if paid else NOT_APPLIED, evidence=str(log), actor="the test"
    )
    assert take(exact).once("charge", lambda: b"paid", on_unknown="park") == b"paid"


def test_a_child_that_is_forked_in_a_call_ends_nothing_of_it(
    store: onceward.Store, exact: onceward.Queue, program: Callable[..., Program]
) -> None:
    exact.send(b"x", key="x")
    assert program("fork_in_call", store.path).line() == "parent 0"
    assert take(exact).once("charge", never, on_unknown="park") == b"parent"


def test_a_living_caller_is_waited_for(store: onceward.Store, exact: onceward.Queue, bank: Bank) -> None:
    exact.send(b"x", key="x")
    slow = exact.receive(lease=0.001)
    assert slow is not None
    inside, go_on = threading.Event(), threading.Event()

    def pay() -> bytes:
        inside.set()
        assert go_on.wait(PATIENCE)
        return bank.pay()

    worker = threading.Thread(target=lambda: slow.once("charge", pay, on_unknown="park"))
    worker.start()
    assert inside.wait(PATIENCE)
    other = take(exact)
    with pytest.raises(onceward.BusyError, match="alive; the message was given back"):
        other.once("charge", never, on_unknown="park")
    assert other.settled
    assert store.in_doubt() == []
    go_on.set()
    worker.join(PATIENCE)
    assert take(exact).once("charge", never, on_unknown="park") == b"receipt 1"
