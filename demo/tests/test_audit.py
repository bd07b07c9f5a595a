"""The auditor on histories written by hand: it must accept the good ones and notice each way of being bad."""

import hashlib
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from webhooks.audit import Evidence, Findings, audit
from webhooks.bodies import DEMO_FOLDER
from webhooks.promises import AT_LEAST_ONCE, AT_MOST_ONCE, EXACTLY_ONCE, Semantics

BODIES = {"a": b"body of a", "b": b"body of b", "c": b"body of c"}
SENDER = """
sending a
confirmed a 1 new
sending b
confirmed b 2 new
sending c
confirmed c 3 new
sending a
confirmed a 1 duplicate
sending b
"""
"""Every body once, one repeat, and one send whose outcome the killed sender did not note."""


class History:
    """One round, written by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "webhooks.db"
        self.write("sender-1.1", SENDER)
        with closing(sqlite3.connect(self.database)) as connection:
            connection.execute("CREATE TABLE webhook_event (guid TEXT, body BLOB)")

    def write(self, name: str, lines: str) -> None:
        for guid, body in BODIES.items():
            lines = lines.replace(f"applied {guid}", f"applied {guid} {hashlib.sha256(body).hexdigest()}")
        (self.folder / f"{name}.journal").write_text(lines.lstrip("\n"))

    def rows(self, *guids: str) -> None:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.executemany("INSERT INTO webhook_event VALUES (?, ?)", [(guid, BODIES[guid]) for guid in guids])

    def audit(self, semantics: Semantics, *killed: str) -> Findings:
        return audit(Evidence(semantics, self.folder, self.database, BODIES, frozenset({"sender-1.1", *killed}), 1))


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


def killed_before_the_effect_of_c(history: History) -> None:
    history.write("worker-1.1", "taken a 1 1\napplied a\nfinished a\ntaken c 3 1\n")


def killed_after_the_effect_of_c(history: History) -> None:
    history.write("worker-1.1", "taken a 1 1\napplied a\nfinished a\ntaken c 3 1\napplied c\n")


def test_a_good_at_most_once_history_passes(history: History) -> None:
    killed_before_the_effect_of_c(history)
    history.write("worker-1.2", "taken b 2 1\napplied b\nfinished b\n")
    findings = history.audit(AT_MOST_ONCE, "worker-1.1")
    assert (findings.broken, findings.unproven) == ([], [])
    assert (findings.sent, findings.distinct, findings.delivered, findings.applied) == (5, 3, 3, 2)
    assert (findings.lost, findings.duplicated, findings.kills_survived, findings.sends_in_doubt) == (1, 0, 1, 1)


def test_a_good_at_least_once_history_passes(history: History) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-1.2", "taken c 3 2\napplied c\nfinished c\ntaken b 2 1\napplied b\nfinished b\n")
    findings = history.audit(AT_LEAST_ONCE, "worker-1.1")
    assert (findings.broken, findings.unproven) == ([], [])
    assert (findings.delivered, findings.applied, findings.lost, findings.duplicated) == (4, 4, 0, 1)
    assert findings.kills_with_effect == 1


def test_a_good_exactly_once_history_passes(history: History) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-1.2", "taken c 3 2\napplied c\nfinished c\ntaken b 2 1\napplied b\nfinished b\n")
    history.rows("a", "b", "c")
    findings = history.audit(EXACTLY_ONCE, "worker-1.1")
    assert (findings.broken, findings.unproven) == ([], [])
    assert (findings.delivered, findings.applied, findings.lost, findings.duplicated) == (4, 3, 0, 0)


def test_a_duplicate_breaks_at_most_once(history: History) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-1.2", "taken c 3 2\napplied c\nfinished c\n")
    broken = history.audit(AT_MOST_ONCE, "worker-1.1").broken
    assert "at-most-once promises duplicated = 0, and 1 were found" in broken
    assert "1 messages were delivered again without a reason" in broken


def test_a_loss_breaks_at_least_once(history: History) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-1.2", "taken c 3 2\napplied c\nfinished c\n")
    broken = history.audit(AT_LEAST_ONCE, "worker-1.1").broken
    assert broken == ["at-least-once promises lost = 0, and 1 were found"]


@pytest.mark.parametrize(
    ("rows", "column"), [(("a", "b", "c", "c"), "duplicated"), (("a", "b"), "lost")], ids=["twice", "never"]
)
def test_a_row_too_many_or_too_few_breaks_exactly_once(history: History, rows: tuple[str, ...], column: str) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-1.2", "taken c 3 2\napplied c\nfinished c\ntaken b 2 1\napplied b\nfinished b\n")
    history.rows(*rows)
    broken = history.audit(EXACTLY_ONCE, "worker-1.1").broken
    assert broken == [f"exactly-once promises {column} = 0, and 1 were found"]


def test_another_body_than_was_sent_is_noticed(history: History) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-1.2", "taken c 3 2\napplied c\nfinished c\ntaken b 2 1\napplied b \nfinished b\n")
    journal = history.folder / "worker-1.2.journal"
    journal.write_text(journal.read_text().replace(hashlib.sha256(BODIES["b"]).hexdigest() + " ", "0" * 64))
    broken = history.audit(AT_LEAST_ONCE, "worker-1.1").broken
    assert broken == ["the effect for b is not of the body that was sent under this GUID"]


def test_two_messages_for_one_key_are_noticed(history: History) -> None:
    history.write("sender-1.1", SENDER.replace("confirmed a 1 duplicate", "confirmed a 4 new"))
    killed_before_the_effect_of_c(history)
    history.write("worker-1.2", "taken b 2 1\napplied b\nfinished b\n")
    broken = history.audit(AT_MOST_ONCE, "worker-1.1").broken
    assert broken == ["1 webhooks became more than one message each, a is one"]


def test_a_delivery_repeated_while_its_worker_lives_is_noticed(history: History) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-1.2", "taken c 3 2\napplied c\nfinished c\ntaken b 2 1\napplied b\nfinished b\n")
    history.write("worker-2.1", "taken b 2 2\napplied b\nfinished b\n")
    broken = history.audit(AT_LEAST_ONCE, "worker-1.1").broken
    assert broken == ["1 messages were delivered again without a reason"]


def test_an_attempt_number_that_comes_twice_is_noticed(history: History) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-1.2", "taken c 3 1\napplied c\nfinished c\ntaken b 2 1\napplied b\nfinished b\n")
    broken = history.audit(AT_LEAST_ONCE, "worker-1.1").broken
    assert broken == ["1 messages were delivered twice under the same attempt number"]


@pytest.mark.parametrize("semantics", [AT_MOST_ONCE, AT_LEAST_ONCE, EXACTLY_ONCE])
def test_a_history_in_which_nothing_went_wrong_proves_nothing(history: History, semantics: Semantics) -> None:
    history.write("sender-1.1", "sending a\nconfirmed a 1 new\nsending b\nconfirmed b 2 new\n")
    history.write("worker-1.1", "taken a 1 1\napplied a\nfinished a\ntaken b 2 1\napplied b\nfinished b\n")
    history.rows("a", "b")
    findings = history.audit(semantics, "worker-1.1")
    assert findings.broken == []
    assert "1 of 3 webhooks were never confirmed as sent" in findings.unproven
    assert "0 kills hit a worker in the middle of a message, and 1 had to" in findings.unproven
    assert "no sender was killed in the middle of a send" in findings.unproven
    assert "no repeated send was recognised as a duplicate" in findings.unproven


def test_a_line_cut_short_by_a_kill_was_never_written(history: History) -> None:
    killed_after_the_effect_of_c(history)
    journal = history.folder / "worker-1.1.journal"
    journal.write_text(journal.read_text()[:-10])
    history.write("worker-1.2", "taken b 2 1\napplied b\nfinished b\n")
    findings = history.audit(AT_MOST_ONCE, "worker-1.1")
    assert (findings.applied, findings.lost, findings.kills_with_effect) == (2, 1, 0)


def test_a_journal_that_is_not_as_it_was_written_is_refused(history: History) -> None:
    history.write("worker-1.1", "took a\n")
    with pytest.raises(ValueError, match=r"line 1 of worker-1\.1\.journal is no journal line"):
        history.audit(AT_MOST_ONCE)


@pytest.mark.parametrize("module", ["webhooks.audit", "webhooks.supervisor", "webhooks.__main__"])
def test_whoever_kills_and_judges_does_not_import_onceward(module: str) -> None:
    code = f"import sys, {module}; sys.exit('onceward' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=DEMO_FOLDER, check=False).returncode == 0
