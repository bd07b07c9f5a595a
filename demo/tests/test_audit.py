"""The auditor on histories written by hand: it must accept the good ones and notice each way of being bad."""

import hashlib
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from webhooks.audit import Evidence, Findings, Share, audit
from webhooks.bodies import DEMO_FOLDER
from webhooks.languages import Language
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
        self.write("sender-python-1.1", SENDER)
        with closing(sqlite3.connect(self.database)) as connection:
            connection.execute("CREATE TABLE webhook_event (worker TEXT, guid TEXT, body BLOB)")

    def write(self, name: str, lines: str) -> None:
        for guid, body in BODIES.items():
            lines = lines.replace(f"applied {guid}", f"applied {guid} {hashlib.sha256(body).hexdigest()}")
        opened = f"opened {name.split('-')[1]} 0.1.0\n"
        (self.folder / f"{name}.journal").write_text(opened + lines.lstrip("\n"))

    def rows(self, *guids: str) -> None:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            rows = [("worker-python-1.1", guid, BODIES[guid]) for guid in guids]
            connection.executemany("INSERT INTO webhook_event VALUES (?, ?, ?)", rows)

    def audit(self, semantics: Semantics, *killed: str, languages: tuple[Language, ...] = ("python",)) -> Findings:
        killed_ones = frozenset({"sender-python-1.1", *killed})
        return audit(Evidence(semantics, self.folder, self.database, BODIES, killed_ones, 1, languages))


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


def killed_before_the_effect_of_c(history: History) -> None:
    history.write("worker-python-1.1", "taken a 1 1\napplied a\nfinished a\ntaken c 3 1\n")


def killed_after_the_effect_of_c(history: History) -> None:
    history.write("worker-python-1.1", "taken a 1 1\napplied a\nfinished a\ntaken c 3 1\napplied c\n")


def test_a_good_at_most_once_history_passes(history: History) -> None:
    killed_before_the_effect_of_c(history)
    history.write("worker-python-1.2", "taken b 2 1\napplied b\nfinished b\n")
    findings = history.audit(AT_MOST_ONCE, "worker-python-1.1")
    assert (findings.broken, findings.unproven) == ([], [])
    assert (findings.sent, findings.distinct, findings.delivered, findings.applied) == (5, 3, 3, 2)
    assert (findings.lost, findings.duplicated, findings.kills_survived, findings.sends_in_doubt) == (1, 0, 1, 1)


def test_a_good_at_least_once_history_passes(history: History) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-python-1.2", "taken c 3 2\napplied c\nfinished c\ntaken b 2 1\napplied b\nfinished b\n")
    findings = history.audit(AT_LEAST_ONCE, "worker-python-1.1")
    assert (findings.broken, findings.unproven) == ([], [])
    assert (findings.delivered, findings.applied, findings.lost, findings.duplicated) == (4, 4, 0, 1)
    assert findings.kills_with_effect == 1


def test_a_good_exactly_once_history_passes(history: History) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-python-1.2", "taken c 3 2\napplied c\nfinished c\ntaken b 2 1\napplied b\nfinished b\n")
    history.rows("a", "b", "c")
    findings = history.audit(EXACTLY_ONCE, "worker-python-1.1")
    assert (findings.broken, findings.unproven) == ([], [])
    assert (findings.delivered, findings.applied, findings.lost, findings.duplicated) == (4, 3, 0, 0)


def test_a_duplicate_breaks_at_most_once(history: History) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-python-1.2", "taken c 3 2\napplied c\nfinished c\n")
    broken = history.audit(AT_MOST_ONCE, "worker-python-1.1").broken
    assert "at-most-once promises duplicated = 0, and 1 were found" in broken
    assert "1 messages were delivered again without a reason" in broken


def test_a_loss_breaks_at_least_once(history: History) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-python-1.2", "taken c 3 2\napplied c\nfinished c\n")
    broken = history.audit(AT_LEAST_ONCE, "worker-python-1.1").broken
    assert broken == ["at-least-once promises lost = 0, and 1 were found"]


@pytest.mark.parametrize(
    ("rows", "column"), [(("a", "b", "c", "c"), "duplicated"), (("a", "b"), "lost")], ids=["twice", "never"]
)
def test_a_row_too_many_or_too_few_breaks_exactly_once(history: History, rows: tuple[str, ...], column: str) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-python-1.2", "taken c 3 2\napplied c\nfinished c\ntaken b 2 1\napplied b\nfinished b\n")
    history.rows(*rows)
    broken = history.audit(EXACTLY_ONCE, "worker-python-1.1").broken
    assert broken == [f"exactly-once promises {column} = 0, and 1 were found"]


def test_another_body_than_was_sent_is_noticed(history: History) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-python-1.2", "taken c 3 2\napplied c\nfinished c\ntaken b 2 1\napplied b \nfinished b\n")
    journal = history.folder / "worker-python-1.2.journal"
    journal.write_text(journal.read_text().replace(hashlib.sha256(BODIES["b"]).hexdigest() + " ", "0" * 64))
    broken = history.audit(AT_LEAST_ONCE, "worker-python-1.1").broken
    assert broken == ["the effect for b is not of the body that was sent under this GUID"]


def test_two_messages_for_one_key_are_noticed(history: History) -> None:
    history.write("sender-python-1.1", SENDER.replace("confirmed a 1 duplicate", "confirmed a 4 new"))
    killed_before_the_effect_of_c(history)
    history.write("worker-python-1.2", "taken b 2 1\napplied b\nfinished b\n")
    broken = history.audit(AT_MOST_ONCE, "worker-python-1.1").broken
    assert broken == ["1 webhooks became more than one message each, a is one"]


def test_a_delivery_repeated_while_its_worker_lives_is_noticed(history: History) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-python-1.2", "taken c 3 2\napplied c\nfinished c\ntaken b 2 1\napplied b\nfinished b\n")
    history.write("worker-python-2.1", "taken b 2 2\napplied b\nfinished b\n")
    broken = history.audit(AT_LEAST_ONCE, "worker-python-1.1").broken
    assert broken == ["1 messages were delivered again without a reason"]


def test_an_attempt_number_that_comes_twice_is_noticed(history: History) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-python-1.2", "taken c 3 1\napplied c\nfinished c\ntaken b 2 1\napplied b\nfinished b\n")
    broken = history.audit(AT_LEAST_ONCE, "worker-python-1.1").broken
    assert broken == ["1 messages were delivered twice under the same attempt number"]


@pytest.mark.parametrize("semantics", [AT_MOST_ONCE, AT_LEAST_ONCE, EXACTLY_ONCE])
def test_a_history_in_which_nothing_went_wrong_proves_nothing(history: History, semantics: Semantics) -> None:
    history.write("sender-python-1.1", "sending a\nconfirmed a 1 new\nsending b\nconfirmed b 2 new\n")
    history.write("worker-python-1.1", "taken a 1 1\napplied a\nfinished a\ntaken b 2 1\napplied b\nfinished b\n")
    history.rows("a", "b")
    findings = history.audit(semantics, "worker-python-1.1")
    assert findings.broken == []
    assert "1 of 3 webhooks were never confirmed as sent" in findings.unproven
    assert "0 kills hit a worker in the middle of a message, and 1 had to" in findings.unproven
    assert "no sender was killed in the middle of a send" in findings.unproven
    assert "no repeated send was recognised as a duplicate" in findings.unproven


def test_a_line_cut_short_by_a_kill_was_never_written(history: History) -> None:
    killed_after_the_effect_of_c(history)
    journal = history.folder / "worker-python-1.1.journal"
    journal.write_text(journal.read_text()[:-10])
    history.write("worker-python-1.2", "taken b 2 1\napplied b\nfinished b\n")
    findings = history.audit(AT_MOST_ONCE, "worker-python-1.1")
    assert (findings.applied, findings.lost, findings.kills_with_effect) == (2, 1, 0)


def test_a_journal_that_is_not_as_it_was_written_is_refused(history: History) -> None:
    history.write("worker-python-1.1", "took a\n")
    with pytest.raises(ValueError, match=r"line 2 of worker-python-1\.1\.journal is no journal line"):
        history.audit(AT_MOST_ONCE)


def test_each_language_is_counted_by_what_its_processes_wrote(history: History) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-c-2.1", "taken b 2 1\napplied b\nfinished b\ntaken c 3 2\n")
    history.write("sender-c-2.1", "sending c\nconfirmed c 3 duplicate\n")
    findings = history.audit(AT_LEAST_ONCE, "worker-python-1.1", "worker-c-2.1", languages=("python", "c"))
    assert findings.shares == {
        "python": Share(sent=5, delivered=2, applied=2, kills_survived=1, kills_with_effect=1, senders_killed=1),
        "c": Share(sent=1, delivered=2, applied=1, kills_survived=1, kills_with_effect=0, senders_killed=0),
    }
    assert (findings.sent, findings.delivered, findings.applied, findings.kills_survived) == (6, 4, 3, 2)


def test_the_rows_count_for_the_language_of_their_worker(history: History) -> None:
    history.write("worker-node-2.1", "")
    with closing(sqlite3.connect(history.database)) as connection, connection:
        connection.execute("INSERT INTO webhook_event VALUES ('worker-node-2.1', 'a', ?)", (BODIES["a"],))
    findings = history.audit(EXACTLY_ONCE, languages=("python", "node"))
    assert {language: share.applied for language, share in findings.shares.items()} == {"python": 0, "node": 1}


def test_a_language_that_took_no_part_proves_nothing(history: History) -> None:
    killed_after_the_effect_of_c(history)
    history.write("worker-python-1.2", "taken c 3 2\napplied c\nfinished c\ntaken b 2 1\napplied b\nfinished b\n")
    findings = history.audit(AT_LEAST_ONCE, "worker-python-1.1", languages=("python", "node"))
    assert findings.broken == []
    assert findings.unproven == [
        "nothing was sent in node",
        "nothing was delivered to a worker in node",
        "no message was applied in node",
        "no worker in node was killed in the middle of a message",
    ]


def test_a_process_that_says_it_is_of_another_language_is_refused(history: History) -> None:
    history.write("worker-python-1.1", "")
    journal = history.folder / "worker-python-1.1.journal"
    journal.rename(history.folder / "worker-c-1.1.journal")
    with pytest.raises(ValueError, match=r"worker-c-1\.1\.journal does not begin with the language"):
        history.audit(AT_LEAST_ONCE, languages=("python", "c"))


def test_two_versions_in_one_round_are_noticed(history: History) -> None:
    (history.folder / "worker-c-1.1.journal").write_text("opened c 0.2.0\n")
    findings = history.audit(AT_LEAST_ONCE, languages=("python", "c"))
    assert "the languages have different versions of Onceward: 0.1.0, 0.2.0" in findings.broken


@pytest.mark.parametrize("module", ["webhooks.audit", "webhooks.supervisor", "webhooks.__main__"])
def test_whoever_kills_and_judges_does_not_import_onceward(module: str) -> None:
    code = f"import sys, {module}; sys.exit('onceward' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=DEMO_FOLDER, check=False).returncode == 0
