"""The scenarios of `tests/scenarios/`, which every language runs; and that they use everything the module has."""

import functools
import itertools
import tempfile
from pathlib import Path

import onceward
import pytest

import scenario_effects
import scenario_verbs
from scenario_steps import FOLDER, Scenario, scenarios
from scenario_world import CALLED, VERBS, run

FORMS = ("plain", "async")
#: Public operations that no scenario calls, the reason, and the test that does.
NOT_CALLED = {
    "Error.kind_number": ("the number of the kind, which the scenarios name", "test_package.py"),
}


SCENARIOS = scenarios()


@functools.cache
def failure_of(number: int, form: str) -> str | None:
    """Run a scenario, once for all tests."""
    with tempfile.TemporaryDirectory() as folder:
        return run(SCENARIOS[number], Path(folder), form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("number", range(len(SCENARIOS)), ids=[scenario.title for scenario in SCENARIOS])
def test_scenario(number: int, form: str) -> None:
    assert failure_of(number, form) is None


def operations() -> set[str]:
    """Everything public: functions of the module, and what its classes have."""
    found: set[str] = set()
    for name in onceward.__all__:
        one = getattr(onceward, name)
        if not isinstance(one, type):
            found |= {name} if callable(one) else set()
        elif issubclass(one, onceward.Error) and one is not onceward.Error:
            continue  # Each is its kind and nothing else; which kinds there are is for the scenarios of all languages.
        else:
            found |= {f"{name}.{part}" for part in vars(one) if not part.startswith("_")}
    return found - {"Answer.NOT_APPLIED", "Answer.UNKNOWN"}  # Values, not operations.


def test_every_public_operation_is_called_by_a_scenario() -> None:
    for number, form in itertools.product(range(len(SCENARIOS)), FORMS):
        failure_of(number, form)
    public = operations()
    assert public - CALLED == set(NOT_CALLED)
    for name, (_, file) in NOT_CALLED.items():
        assert name.split(".")[1] in (Path(__file__).parent / file).read_text(encoding="utf-8")


#: What a runner must say, and the steps that make it.
WRONG = [
    part.removeprefix("fails ").split("\n", 1)
    for part in (FOLDER / "wrong.steps").read_text(encoding="utf-8").split("\n\n")
    if part.startswith("fails ")
]


def test_the_wrong_steps_are_found() -> None:
    assert len(WRONG) >= 10


@pytest.mark.parametrize(("found", "steps"), WRONG)
def test_a_wrong_step_fails(found: str, steps: str, tmp_path: Path) -> None:
    assert scenario_verbs
    assert scenario_effects
    assert VERBS
    wrong = Scenario("wrong")
    for line in steps.splitlines():
        wrong.add("here", line)
    failure = run(wrong, tmp_path, "plain")
    assert failure is not None
    assert found in failure
