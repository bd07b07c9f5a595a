"""The demo itself, small: it passes, it fails under each sabotage, it notices when it proves nothing, it clears up."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from webhooks import languages
from webhooks.bodies import BODIES_MAX, DEMO_FOLDER, InputMissingError, load_webhooks, read_webhooks, write_webhooks
from webhooks.child import INPUT, Job
from webhooks.journal import CONFIRMED, OPENED, SENDING, read_journal
from webhooks.supervisor import sending_orders

SMALL = ("--bodies", "90", "--kills", "9", "--workers", "3", "--copies", "2")
LANGUAGES = ("python", "node", "c")


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "webhooks", *arguments],
        cwd=DEMO_FOLDER,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def counts(output: str, semantics: str) -> dict[str, int]:
    """Read one line of the table."""
    (line,) = re.findall(rf"^{semantics} +([\d ]+)$", output, re.MULTILINE)
    names = ("sent", "distinct", "delivered", "applied", "lost", "duplicated", "kills")
    return dict(zip(names, map(int, line.split()), strict=True))


def shares(output: str, semantics: str) -> dict[str, dict[str, int]]:
    """Read the lines that say which language did what."""
    names = ("sent", "delivered", "applied", "kills", "with effect", "senders killed")
    lines = re.findall(rf"^{semantics} +([a-z]+) +([\d ]+)$", output, re.MULTILINE)
    return {language: dict(zip(names, map(int, cells.split()), strict=True)) for language, cells in lines}


def test_every_promise_holds_while_the_processes_are_killed(tmp_path: Path) -> None:
    result = demo(tmp_path, *SMALL)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Every promise held." in result.stdout
    once, least, exactly = (counts(result.stdout, name) for name in ("at-most-once", "at-least-once", "exactly-once"))
    assert once["lost"] > 0
    assert once["duplicated"] == 0
    assert least["lost"] == 0
    assert least["duplicated"] > 0
    assert (exactly["distinct"], exactly["applied"], exactly["lost"], exactly["duplicated"]) == (90, 90, 0, 0)
    assert exactly["delivered"] > exactly["applied"]
    assert all(line["sent"] > 180 and line["kills"] >= 9 for line in (once, least, exactly))
    for semantics in ("at-most-once", "at-least-once", "exactly-once"):
        by_language = shares(result.stdout, semantics)
        assert tuple(by_language) == LANGUAGES
        for share in by_language.values():
            assert share["sent"] > 60, share
            assert share["delivered"] >= share["applied"] > 0, share
            assert share["kills"] >= 3, share
            assert share["with effect"] > 0, share
            assert share["senders killed"] > 0, share
        everything = counts(result.stdout, semantics)
        for name in ("sent", "delivered", "applied", "kills"):
            assert sum(share[name] for share in by_language.values()) == everything[name]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sender_halts_where_its_job_says_however_fast_it_is(tmp_path: Path, language: languages.Language) -> None:
    write_webhooks(tmp_path / INPUT, load_webhooks())
    job = Job(f"sender-{language}-1.1", str(tmp_path), "exactly-once", 1, 1, "", order=(3, 1, 2, 0), halt_after=2)
    with subprocess.Popen(
        [*languages.command(languages.SENDER, language), *job.to_arguments()],
        cwd=DEMO_FOLDER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as sender:
        assert sender.stdout is not None
        said = [sender.stdout.readline() for _ in range(4)]
        sender.kill()
        assert sender.stdout.read() == ""
    assert said == ["ready\n", "step\n", "step\n", "halted\n"]
    verbs = [entry.verb for entry in read_journal(job.journal_path)]
    assert verbs == [OPENED, SENDING, CONFIRMED, SENDING, CONFIRMED, SENDING]


@pytest.mark.parametrize("saboteur", LANGUAGES)
@pytest.mark.parametrize(
    ("semantics", "sabotage", "column"),
    [
        ("at-most-once", "no-deduplication", "duplicated"),
        ("at-least-once", "ack-before-effect", "lost"),
        ("exactly-once", "ack-before-effect", "lost"),
        ("exactly-once", "effect-apart", "duplicated"),
    ],
)
def test_each_check_fails_when_one_language_does_the_work_wrongly(
    tmp_path: Path, semantics: str, sabotage: str, column: str, saboteur: str
) -> None:
    wrong = ("--semantics", semantics, "--sabotage", sabotage, "--saboteurs", saboteur)
    # One kill of each kind may hit a message whose effect an earlier, killed worker had made; two hardly ever do.
    result = demo(tmp_path, *SMALL, "--batch", "2", "--kills", "18", *wrong)
    assert result.returncode == 1, result.stdout + result.stderr
    found = counts(result.stdout, semantics)[column]
    assert found > 0
    assert f"promise broken: {semantics}: {semantics} promises {column} = 0, and {found} were found" in result.stdout


def test_without_kills_the_demo_proves_nothing(tmp_path: Path) -> None:
    result = demo(tmp_path, *SMALL, "--kills", "0", "--semantics", "at-least-once")
    assert result.returncode == 3, result.stdout + result.stderr
    assert "the demo proved nothing: at-least-once: no message was duplicated" in result.stdout
    assert "the demo proved nothing: at-least-once: 0 kills hit a worker" in result.stdout


def test_a_language_may_be_left_out(tmp_path: Path) -> None:
    result = demo(tmp_path, *SMALL, "--semantics", "exactly-once", "--languages", "c,python")
    assert result.returncode == 0, result.stdout + result.stderr
    assert tuple(shares(result.stdout, "exactly-once")) == ("python", "c")


def test_with_too_few_kills_for_every_language_the_demo_proves_nothing(tmp_path: Path) -> None:
    result = demo(tmp_path, *SMALL, "--kills", "2", "--semantics", "at-least-once")
    assert result.returncode == 3, result.stdout + result.stderr
    (language,) = [name for name, share in shares(result.stdout, "at-least-once").items() if share["kills"] == 0]
    assert f"no worker in {language} was killed in the middle of a message" in result.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interruption_leaves_no_process_and_no_folder(tmp_path: Path, number: signal.Signals) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "webhooks", "--seed", "1"],
        cwd=DEMO_FOLDER,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: any(tmp_path.glob("*/*/worker-*.journal")))
    assert processes_that_name(tmp_path) > 0
    running.send_signal(number)
    _, errors = running.communicate(timeout=20)
    assert running.returncode == 130
    assert "interrupted" in errors
    assert list(tmp_path.iterdir()) == []
    assert processes_that_name(tmp_path) == 0


def test_when_the_supervisor_is_killed_its_processes_end_as_well(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "webhooks"],
        cwd=DEMO_FOLDER,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: any(tmp_path.glob("*/*/worker-*.journal")))
    running.kill()
    running.wait()
    wait_for(lambda: processes_that_name(tmp_path) == 0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--bodies", "0"), "argument --bodies: 0 is not between 1 and 329"),
        (("--bodies", "330"), "argument --bodies: 330 is not between 1 and 329"),
        (("--workers", "many"), "argument --workers: 'many' is no whole number"),
        (("--seed", "-1"), "argument --seed: -1 is not between 0 and"),
        (("--semantics", "twice"), "argument --semantics: invalid choice: 'twice'"),
        (("--languages", "python,rust"), "argument --languages: 'rust' is none of python, node, c"),
        (("--workers", "2"), "--workers 2 are too few for 3 languages"),
        (("--senders", "1", "--languages", "node,c"), "--senders 1 are too few for 2 languages"),
        (("--languages", "node", "--saboteurs", "c"), "--saboteurs c: not among --languages node"),
        (("--bodies", "20", "--kills", "24"), "--kills 24 are too many for --bodies 20 with --batch 3: at most 3"),
    ],
    ids=" ".join,
)
def test_a_size_outside_its_limits_is_refused(tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    result = demo(tmp_path, *arguments)
    assert result.returncode == 2
    assert complaint in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_input_is_329_bodies_and_their_guids_are_distinct() -> None:
    webhooks = load_webhooks()
    assert len(webhooks) == len({webhook.guid for webhook in webhooks}) == BODIES_MAX
    assert len({webhook.body for webhook in webhooks}) == 324
    assert load_webhooks() == webhooks


def test_the_senders_read_the_input_as_it_is(tmp_path: Path) -> None:
    write_webhooks(tmp_path / "input", load_webhooks())
    assert read_webhooks(tmp_path / "input") == load_webhooks()


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="npm ci"):
        load_webhooks(demo_folder=tmp_path)


def test_a_program_that_was_not_built_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "BUILT_FOR_C", tmp_path)
    languages.require_built(["python"])
    with pytest.raises(InputMissingError, match="sender is missing: run `make demo`"):
        languages.require_built(["python", "c"])


@pytest.mark.parametrize(("bodies", "copies", "senders"), [(50, 3, 4), (50, 3, 6), (329, 8, 16)])
def test_every_webhook_is_dealt_to_the_senders_as_often_as_asked(bodies: int, copies: int, senders: int) -> None:
    orders = sending_orders(random.Random(1), bodies=bodies, copies=copies, senders=senders)
    dealt = [index for order in orders for index in order]
    assert sorted(dealt) == sorted([*range(bodies)] * copies)
    assert all(len(set(order)) == len(order) for order in orders), "the repeats go to different senders"
    assert all(list(order) != sorted(order) for order in orders), "out of order"
    lengths = [len(order) for order in orders]
    assert max(lengths) - min(lengths) <= 1, "evenly"


def wait_for(condition: object, limit_s: float = 20) -> None:
    assert callable(condition)
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def processes_that_name(folder: Path) -> int:
    """Count the living processes whose command line names the folder."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += str(folder).encode() in path.read_bytes()
        except OSError:  # It ended in between.
            continue
    return found
