"""The package itself: exceptions, names, documentation, version."""

import inspect
import pickle
import tomllib
from pathlib import Path

import onceward
import pytest

KINDS = {
    "Invalid": (1, onceward.InvalidArgumentError),
    "NotFound": (2, onceward.NotFoundError),
    "Conflict": (3, onceward.ConflictError),
    "LeaseLost": (4, onceward.LeaseLostError),
    "Busy": (5, onceward.BusyError),
    "Full": (6, onceward.FullError),
    "Closed": (7, onceward.ClosedError),
    "Detached": (8, onceward.DetachedError),
    "Corrupt": (9, onceward.CorruptError),
    "Storage": (10, onceward.StorageError),
    "Unsupported": (11, onceward.UnsupportedError),
    "Denied": (12, onceward.DeniedError),
    "Sql": (13, onceward.SqlError),
    "Expired": (14, onceward.ExpiredError),
    "InDoubt": (15, onceward.InDoubtError),
    "Failed": (16, onceward.FailedError),
}


@pytest.mark.parametrize("code", KINDS)
def test_every_kind_has_its_exception_with_the_name_and_number_of_every_language(code: str) -> None:
    number, kind = KINDS[code]
    assert (kind.code, kind.kind_number, kind.__module__) == (code, number, "onceward")
    assert issubclass(kind, onceward.Error)
    assert kind.__doc__
    again = pickle.loads(pickle.dumps(kind("text")))
    assert (type(again), str(again), again.code) == (kind, "text", code)


def test_an_invalid_argument_is_a_value_error_too() -> None:
    assert issubclass(onceward.InvalidArgumentError, ValueError)


def test_everything_public_is_documented() -> None:
    for name in onceward.__all__:
        public = getattr(onceward, name)
        if name == "__version__":
            continue
        assert inspect.getdoc(public), name
        if inspect.isclass(public) and not issubclass(public, BaseException):
            for attribute, value in vars(public).items():
                if not attribute.startswith("_"):
                    assert inspect.getdoc(value), f"{name}.{attribute}"


def test_signatures_show_the_defaults() -> None:
    assert str(inspect.signature(onceward.open)) == (
        "(path, *, busy_timeout=5.0, body_bytes_max=1048576, wal_bytes_max=268435456, "
        "allow_remote_file_system=False, create=True, transaction_time_limit=5.0)"
    )
    assert str(inspect.signature(onceward.Queue.receive)) == "(self, /, *, wait=0.0, lease=None)"
    assert str(inspect.signature(onceward.Queue.consume)) == "(self, /, *, batch=100, wait=None, lease=None)"


def test_the_version_is_the_workspaces() -> None:
    workspace = Path(__file__).parents[2] / "Cargo.toml"
    assert onceward.__version__ == tomllib.loads(workspace.read_text())["workspace"]["package"]["version"]
