"""The bank without idempotency: nobody is paid twice, and the auditor would see it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onceward
import pytest

BANK = Path(__file__).resolve().parents[1] / "bank"
Spoil = Callable[[list[str]], list[str]]


def start(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BANK / program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def play(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return start("run.py", "--folder", folder, "--payments", 16, "--kills", 4, *options)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def references(path: Path) -> list[str]:
    return sorted(json.loads(line)["reference"] for line in lines(path))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Play it once with a bank that is asked: all is paid and acknowledged."""
    folder = tmp_path_factory.mktemp("bank") / "run"
    result = play(folder, "--probe")
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture
def paid(played: Path, tmp_path: Path) -> Path:
    """Copy what was played, closed as it is."""
    return Path(shutil.copytree(played, tmp_path / "copy", ignore=shutil.ignore_patterns("*.sock", "*-onceward")))


def test_a_person_resolves_what_is_in_doubt_and_every_payment_is_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = play(folder)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "every payment was made once" in result.stdout
    assert references(folder / "bank.log") == references(folder / "orders.log")
    with onceward.open(folder / "store.db") as store:
        assert store.in_doubt() == []
        resolved = store.resolutions(max=1000)
        assert {kept.actor for kept in resolved} == {"alice"}
        assert all(kept.evidence.startswith("bank.log: ") for kept in resolved)
        assert any("ended during the call" in kept.error for kept in resolved)
    assert f"resolved: {len(resolved)}" in result.stdout


def test_a_bank_that_is_asked_leaves_nothing_in_doubt(paid: Path) -> None:
    assert references(paid / "bank.log") == references(paid / "orders.log")
    with onceward.open(paid / "store.db") as store:
        assert (store.in_doubt(), store.resolutions()) == ([], [])
        stats = store.queue("payments").stats()
        assert (stats.ready, stats.in_flight, stats.delayed, stats.dead) == (0, 0, 0, 0)


def test_without_once_the_same_bank_pays_twice_and_the_auditor_sees_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = play(folder, "--naive")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "acknowledged, paid twice" in result.stdout
    made = references(folder / "bank.log")
    assert len(made) > len(set(made))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda log: [*log, log[3]], "acknowledged, paid twice"),
        (lambda log: log[1:], "acknowledged, not paid"),
        (lambda log: [*log, '{"transfer": 0, "reference": "order-x", "cents": 1}'], "transfer 0: nobody asked for it"),
    ],
)
def test_the_auditor_sees_one_payment_too_many_or_too_few(
    paid: Path, spoil: Callable[[list[str]], list[str]], says: str
) -> None:
    fine = start("audit.py", paid)
    assert fine.returncode == 0, fine.stdout
    count = len(lines(paid / "orders.log"))
    words = fine.stdout.split("paid twice\n")[1].replace("in doubt", "in-doubt").split()
    assert words == f"acknowledged 0 {count} 0 in-doubt 0 0 0 neither 0 0 0".split()
    log = paid / "bank.log"
    log.write_text("\n".join(spoil(lines(log))) + "\n")
    broken = start("audit.py", paid)
    assert broken.returncode == 1
    assert says in broken.stdout


def test_the_auditor_sees_a_payment_that_nobody_made(paid: Path) -> None:
    with onceward.open(paid / "store.db") as store:
        sent = store.queue("payments").send(b"{}", key="forgotten")
    with (paid / "orders.log").open("a") as orders:
        orders.write(json.dumps({"reference": "forgotten", "cents": 1, "message": sent.id}) + "\n")
    broken = start("audit.py", paid)
    assert broken.returncode == 1
    assert "forgotten: neither, not paid" in broken.stdout


def test_a_run_in_which_nothing_went_wrong_proves_nothing(tmp_path: Path) -> None:
    result = play(tmp_path / "run", "--probe", "--trouble", "0", "--payments", "1", "--rounds", "3")
    assert result.returncode == 2, result.stdout + result.stderr
    assert "nothing was proved" in result.stdout
