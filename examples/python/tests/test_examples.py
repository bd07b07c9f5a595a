"""Every example does what it says, as the programs that a person would run."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import onceward
from onceward.inbox import Inbox

EXAMPLES = Path(__file__).resolve().parents[1]


def run(program: str, *arguments: object, stdin: bytes = b"") -> str:
    command = [sys.executable, str(EXAMPLES / program), *map(str, arguments)]
    result = subprocess.run(command, input=stdin, capture_output=True, timeout=30, check=False)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def test_a_payment_sent_twice_is_booked_once(tmp_path: Path) -> None:
    shop = tmp_path / "shop.db"
    assert run("sender.py", shop, 42, 1999).startswith("order 42: sent")
    assert run("sender.py", shop, 42, 1999).startswith("order 42: had been sent before")
    run("sender.py", shop, 43, 500)
    booked = run("worker.py", shop, 0.1)
    assert sorted(booked.splitlines()) == ["order 42: booked 1999 cents", "order 43: booked 500 cents"]
    assert run("worker.py", shop, 0.1) == ""
    with closing(sqlite3.connect(shop)) as connection:
        entries = connection.execute("SELECT order_id, cents FROM entries ORDER BY order_id").fetchall()
    assert entries == [(42, 1999), (43, 500)]
    with onceward.open(shop) as store:
        assert store.queue("receipts").stats().ready == 2


def test_another_amount_for_the_same_order_is_refused(tmp_path: Path) -> None:
    shop = tmp_path / "shop.db"
    run("sender.py", shop, 42, 1999)
    command = [sys.executable, str(EXAMPLES / "sender.py"), str(shop), "42", "1"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 1
    assert "order 42 was sent before with another amount" in refused.stderr


def test_a_worker_that_runs_for_ever_books_what_comes_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    shop = tmp_path / "shop.db"
    command = [sys.executable, "-u", str(EXAMPLES / "worker.py"), str(shop)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
        run("sender.py", shop, 7, 100)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "order 7: booked 100 cents\n"
        worker.send_signal(signal.SIGINT)
        _, errors = worker.communicate(timeout=20)
        assert "KeyboardInterrupt" in errors


def test_a_payment_is_booked_once_in_another_database(tmp_path: Path) -> None:
    shop, ledger = tmp_path / "shop.db", tmp_path / "ledger.db"
    run("sender.py", shop, 42, 1999)
    run("sender.py", shop, 43, 500)
    booked = run("ledger.py", shop, ledger, 0.1)
    assert sorted(booked.splitlines()) == [
        "order 42: booked",
        "order 43: booked",
        "rows of the inbox no longer needed: 2",
    ]
    assert run("ledger.py", shop, ledger, 0.1) == "rows of the inbox no longer needed: 0\n"
    with closing(sqlite3.connect(ledger)) as connection:
        entries = connection.execute("SELECT order_id, cents FROM entries ORDER BY order_id").fetchall()
    assert entries == [(42, 1999), (43, 500)]


def test_a_payment_whose_worker_died_after_the_commit_is_recognised(tmp_path: Path) -> None:
    shop, ledger = tmp_path / "shop.db", tmp_path / "ledger.db"
    run("sender.py", shop, 42, 1999)
    run("ledger.py", shop, ledger, 0.1)
    with closing(sqlite3.connect(ledger)) as connection, onceward.open(shop) as store:
        payments = store.queue("payments")
        payments.send(b'{"order": 44, "cents": 1}', key="order-44")
        delivery = payments.receive()
        assert delivery is not None
        assert Inbox("shop").record(connection, delivery)
        connection.execute("INSERT INTO entries VALUES (44, 1)")
        connection.commit()
    again = run("ledger.py", shop, ledger, 0.1)
    assert again.splitlines() == ["order 44: had been booked before", "rows of the inbox no longer needed: 1"]


def test_metrics_are_added_up_and_each_counted_once(tmp_path: Path) -> None:
    file = tmp_path / "metrics.db"
    for value in (1, 2, 3):
        run("metrics.py", file, "record", "requests", value)
    run("metrics.py", file, "record", "errors", 1)
    assert run("metrics.py", file, "report") == "errors 1\nrequests 6\n"
    assert run("metrics.py", file, "report") == ""


def test_a_webhook_that_cannot_be_passed_on_is_kept_and_redriven(tmp_path: Path) -> None:
    file, folder = tmp_path / "hooks.db", tmp_path / "received"
    assert run("webhooks.py", file, "accept", "good", stdin=b'{"a": 1}') == "good: accepted\n"
    assert run("webhooks.py", file, "accept", "good", stdin=b'{"a": 1}') == "good: had been accepted before\n"
    run("webhooks.py", file, "accept", "bad", stdin=b"{")
    assert run("webhooks.py", file, "work", folder) == ""
    listed = run("webhooks.py", file, "dead").splitlines()
    assert len(listed) == 2
    assert any(line.startswith("bad: no JSON") and line.endswith("attempts: 1") for line in listed)
    assert any(line.startswith("good: ") and "No such file" in line and "attempts: 3" in line for line in listed)
    folder.mkdir()
    assert run("webhooks.py", file, "redrive") == "offered again: 2\n"
    assert run("webhooks.py", file, "work", folder) == "good: passed on at attempt 1\n"
    assert [path.name for path in folder.iterdir()] == ["good.json"]
    assert (folder / "good.json").read_bytes() == b'{"a": 1}'
    assert run("webhooks.py", file, "dead").startswith("bad: ")
