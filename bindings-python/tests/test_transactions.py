"""Effects, sends and acknowledgements in one commit."""

import time
from concurrent.futures import ThreadPoolExecutor

import onceward
import pytest

from conftest import PATIENCE, take


@pytest.fixture
def table(store: onceward.Store) -> None:
    """Create an application's table."""
    with store.transaction() as tx:
        tx.execute("CREATE TABLE entries(id INTEGER PRIMARY KEY, note TEXT, amount REAL, raw BLOB)")


def count(store: onceward.Store) -> object:
    """Count the application's rows."""
    with store.transaction() as tx:
        return tx.query("SELECT count(*) FROM entries")[0][0]


def test_a_clean_exit_commits_the_effect_the_send_and_the_acknowledgement(
    store: onceward.Store, table: None, exact: onceward.Queue
) -> None:
    receipts = store.queue("receipts", semantics="exactly-once")
    exact.send(b"order", key="order-42")
    delivery = take(exact)
    with delivery.transaction() as tx:
        assert repr(tx) == "<onceward.Transaction, open>"
        assert tx.execute("INSERT INTO entries(note) VALUES (?)", ("paid",)) == 1
        assert not tx.send("receipts", b"thanks", key="receipt-42", headers={"a": "b"}).duplicate
        assert not tx.send(receipts, b"thanks again", key="receipt-43").duplicate
    assert repr(tx) == "<onceward.Transaction, over>"
    assert delivery.settled
    assert count(store) == 1
    assert {one.body for one in receipts.receive_many(10)} == {b"thanks", b"thanks again"}
    assert (exact.stats().ready, exact.stats().in_flight) == (0, 0)
    with pytest.raises(onceward.InvalidArgumentError, match="already settled"):
        delivery.ack()


def test_threads_may_share_a_transaction(store: onceward.Store, table: None, exact: onceward.Queue) -> None:
    exact.send(b"order", key="order-42")
    with take(exact).transaction() as tx, ThreadPoolExecutor(8) as threads:
        written = threads.map(lambda note: tx.execute("INSERT INTO entries(note) VALUES (?)", (str(note),)), range(40))
        assert list(written) == [1] * 40
    assert count(store) == 40
    assert exact.stats().in_flight == 0


def test_an_exception_rolls_back_and_gives_the_message_back_with_its_text(
    store: onceward.Store, table: None, queue: onceward.Queue
) -> None:
    other = store.queue("other", semantics="at-least-once")
    queue.send(b"x")
    delivery = take(queue)
    with pytest.raises(LookupError, match="no such order"), delivery.transaction() as tx:
        tx.execute("INSERT INTO entries(note) VALUES ('never')")
        tx.send(other, b"never")
        raise LookupError("no such order")
    assert delivery.settled
    assert count(store) == 0
    assert other.receive() is None
    again = take(queue)
    assert again.attempt == 2
    again.dead_letter("enough")
    assert queue.dead_letters()[0].error == "LookupError: no such order"


def test_a_very_long_exception_text_is_cut_at_the_limit(queue: onceward.Queue) -> None:
    queue.send(b"x")
    with pytest.raises(LookupError), take(queue).transaction():
        raise LookupError("ö" * 10_000)
    take(queue).dead_letter("enough")
    error = queue.dead_letters()[0].error
    assert error is not None
    assert error.startswith("LookupError: öö")
    assert 4090 <= len(error.encode()) <= 4096


def test_a_lost_lease_rolls_everything_back(store: onceward.Store, table: None, exact: onceward.Queue) -> None:
    exact.send(b"order", key="order-42")
    late = exact.receive(lease=0.05)
    assert late is not None
    current = take(exact)
    tx = late.transaction()
    with pytest.raises(onceward.LeaseLostError, match=str(late.id)):
        tx.execute("INSERT INTO entries(note) VALUES ('twice')")
        tx.commit()
    tx.rollback()
    assert count(store) == 0
    with current.transaction() as tx:
        tx.execute("INSERT INTO entries(note) VALUES ('once')")
    assert count(store) == 1


def test_commit_and_rollback_by_hand(store: onceward.Store, table: None, queue: onceward.Queue) -> None:
    queue.send(b"x")
    delivery = take(queue)
    tx = delivery.transaction()
    tx.execute("INSERT INTO entries(note) VALUES ('never')")
    tx.rollback()
    tx.rollback()
    assert not delivery.settled
    tx = delivery.transaction()
    tx.execute("INSERT INTO entries(note) VALUES ('kept')")
    tx.commit()
    assert delivery.settled
    assert count(store) == 1
    for call in (
        tx.commit,
        lambda: tx.execute("SELECT 1"),
        lambda: tx.query("SELECT 1"),
        lambda: tx.send(queue, b"x"),
    ):
        with pytest.raises(onceward.InvalidArgumentError, match="the transaction is over"):
            call()


def test_a_rollback_inside_the_block_is_respected(store: onceward.Store, table: None, queue: onceward.Queue) -> None:
    queue.send(b"x")
    delivery = take(queue)
    with delivery.transaction() as tx:
        tx.execute("INSERT INTO entries(note) VALUES ('never')")
        tx.rollback()
    assert count(store) == 0
    delivery.ack()


def test_every_kind_of_value_goes_in_and_comes_out(store: onceward.Store, table: None) -> None:
    rows = [
        (1, "text ö", 1.5, b"\x00\xff"),
        (2, None, -0.0, b""),
        (-(2**63), "", 1e300, b"array"),
        (2**63 - 1, "\U0001f600", 0.1, b"view"),
    ]
    with store.transaction() as tx:
        changed = tx.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?)",
            [rows[0], list(rows[1]), (*rows[2][:3], bytearray(b"array")), (*rows[3][:3], memoryview(b"view"))],
        )
        assert changed == 4
        result = tx.query("SELECT id, note, amount, raw FROM entries WHERE id > ? ORDER BY id", [0])
        assert result.columns == ("id", "note", "amount", "raw")
        assert list(result) == [rows[0], rows[1], rows[3]]
        assert (len(result), result[0], result[-1], result[1:]) == (3, rows[0], rows[3], [rows[1], rows[3]])
        assert repr(result) == "Rows(columns=('id', 'note', 'amount', 'raw'), rows=<3 rows>)"
        with pytest.raises(IndexError):
            result[3]
        assert tx.query("SELECT ?", (True,))[0] == (1,)
        assert list(tx.query("SELECT 1 WHERE 0")) == []


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ((2**63,), onceward.InvalidArgumentError),
        ((object(),), TypeError),
        ("text", TypeError),
        ({"a": 1}, TypeError),
        (1, TypeError),
        (("\ud800",), onceward.InvalidArgumentError),
    ],
    ids=["too big", "object", "a bare str", "dict", "int", "lone surrogate"],
)
def test_other_parameters_are_refused(store: onceward.Store, parameters: object, error: type[Exception]) -> None:
    with store.transaction() as tx, pytest.raises(error, match="parameter"):
        tx.query("SELECT ?", parameters)  # type: ignore[arg-type]


def test_wrong_sql_is_an_sql_error_and_rolls_nothing_else_back(store: onceward.Store, table: None) -> None:
    with store.transaction() as tx:
        tx.execute("INSERT INTO entries(id) VALUES (1)")
        with pytest.raises(onceward.SqlError, match="nowhere") as caught:
            tx.execute("INSERT INTO nowhere VALUES (1)")
        assert (caught.value.code, caught.value.kind_number) == ("Sql", 13)
        with pytest.raises(onceward.SqlError, match="UNIQUE"):
            tx.execute("INSERT INTO entries(id) VALUES (1)")
    assert count(store) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "PRAGMA synchronous=OFF",
        "ATTACH 'other.db' AS other",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT a",
        "DELETE FROM onceward_message",
        "SELECT 1; SELECT 2",
    ],
)
def test_what_is_not_the_applications_is_refused(store: onceward.Store, queue: onceward.Queue, sql: str) -> None:
    queue.send(b"x")
    with store.transaction() as tx, pytest.raises((onceward.SqlError, onceward.InvalidArgumentError)):
        tx.execute(sql)
    assert take(queue).body == b"x"


def test_a_transaction_acknowledges_further_deliveries(
    store: onceward.Store, table: None, queue: onceward.Queue
) -> None:
    queue.send_many([b"a", b"b", b"c"])
    first, second, third = queue.receive_many(3)
    with first.transaction() as tx:
        tx.ack(queue, [second, third.receipt])
        assert not second.settled
    assert second.settled
    stats = queue.stats()
    assert (stats.ready, stats.in_flight) == (0, 0)


def test_acknowledgements_of_a_transaction_that_rolls_back_did_not_happen(
    store: onceward.Store, queue: onceward.Queue
) -> None:
    queue.send(b"a")
    delivery = take(queue)
    tx = store.transaction()
    tx.ack(queue, [delivery])
    tx.rollback()
    assert not delivery.settled
    delivery.ack()
    assert queue.stats().in_flight == 0


def test_a_send_in_a_transaction_is_deduplicated_and_exists_if_and_only_if_it_commits(
    store: onceward.Store, exact: onceward.Queue
) -> None:
    tx = store.transaction()
    first = tx.send(exact, b"x", key="k")
    assert tx.send(exact, b"x", key="k") != first
    tx.rollback()
    assert exact.receive() is None
    with store.transaction() as tx:
        assert not tx.send(exact, b"x", key="k").duplicate
        with pytest.raises(onceward.ConflictError, match="k"):
            tx.send(exact, b"other", key="k")
        with pytest.raises(onceward.InvalidArgumentError, match="key"):
            tx.send(exact, b"no key")
        with pytest.raises(onceward.NotFoundError, match="nowhere"):
            tx.send("nowhere", b"x", key="k")
    assert take(exact).body == b"x"


def test_a_transaction_past_its_time_limit_is_rolled_back(path: str) -> None:
    with onceward.open(path, transaction_time_limit=0.2) as store:
        queue = store.queue("jobs", semantics="at-least-once")
        tx = store.transaction()
        tx.send(queue, b"never")
        end = time.monotonic() + PATIENCE
        with pytest.raises(onceward.ExpiredError):
            while time.monotonic() < end:
                time.sleep(0.05)
                tx.query("SELECT 1")
        tx.rollback()
        assert queue.receive() is None
        queue.send(b"works again")


def test_an_open_transaction_that_is_dropped_leaves_nothing(store: onceward.Store, queue: onceward.Queue) -> None:
    tx = store.transaction()
    tx.send(queue, b"never")
    del tx
    queue.send(b"x")
    assert [one.body for one in queue.receive_many(10)] == [b"x"]


def test_nothing_is_locked_before_the_first_statement(store: onceward.Store, queue: onceward.Queue) -> None:
    with store.transaction():
        queue.send(b"x")
        assert take(queue).body == b"x"
