"""Effects at third parties, made once: begin, call or ask, say how it ended.

`Delivery.once` and `Ledger.once`, and their twins for asyncio, come here.
"""

import asyncio
import enum
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, final

from ._errors import BusyError, InvalidArgumentError
from ._onceward import _Effect, _OnceOptions, _Probe

_T = TypeVar("_T")
_FailedOn = type[Exception] | tuple[type[Exception], ...] | None
#: How long one who waits for another caller in asyncio sleeps between two looks.
_LOOK_EVERY_S = 0.02


@final
@dataclass(frozen=True)
class Applied:
    """What a probe, or a person, says of an effect that happened: `Applied(result)`, with the bytes it is to return."""

    #: What whoever asks for the effect gets.
    result: bytes

    def __post_init__(self) -> None:
        """Refuse at once what could not be recorded later."""
        if not isinstance(self.result, (bytes, bytearray, memoryview)):
            raise TypeError(f"the result of Applied must be bytes, not {_short(self.result)}")


class Answer(enum.Enum):
    """What a probe says when it did not find the effect."""

    #: It did not happen.
    NOT_APPLIED = "not applied"
    #: It cannot tell.
    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        """Return the name under which it is imported."""
        return self.name


NOT_APPLIED: Final = Answer.NOT_APPLIED
UNKNOWN: Final = Answer.UNKNOWN


class _Once(Protocol):
    """A delivery, or a ledger."""

    def _begin(self, name: str, options: _OnceOptions, /) -> bytes | _Effect | _Probe: ...


def once(
    of: _Once,
    name: str,
    call: Callable[[], bytes],
    probe: Callable[[], Applied | Answer] | None,
    failed_on: _FailedOn,
    options: _OnceOptions,
) -> bytes:
    """Make a call once."""
    for given in (call, probe):
        if inspect.iscoroutinefunction(given):
            raise TypeError("once takes plain functions; once_async takes coroutine functions")
    failures = _failures(failed_on)
    begun = of._begin(name, options)
    if isinstance(begun, _Probe):
        assert probe is not None
        begun = _answered(begun, probe())
    if isinstance(begun, bytes):
        return begun
    try:
        result = call()
    except failures as error:
        _tell(error, begun.failed(error))
        raise
    except Exception as error:
        raise begun.unknown(error) from error
    except BaseException as error:
        begun.unknown(error)
        raise
    return _returned(begun, result)


async def once_async(
    of: _Once,
    name: str,
    call: Callable[[], Awaitable[bytes]],
    probe: Callable[[], Awaitable[Applied | Answer]] | None,
    failed_on: _FailedOn,
    options: _OnceOptions,
) -> bytes:
    """Make a call once, in asyncio. Whatever waits for the disk does so in threads of the loop's executor."""
    failures = _failures(failed_on)
    begun = await _begin(of, name, options)
    if isinstance(begun, _Probe):
        assert probe is not None
        begun = await _begin_in_thread(_answered, begun, await _awaited(probe(), "probe"))
    if not isinstance(begun, _Effect):
        assert isinstance(begun, bytes)
        return begun
    effect = begun
    try:
        result = await _awaited(call(), "call")
    except failures as error:
        _tell(error, await _in_thread(effect.failed, error))
        raise
    except Exception as error:
        raise await _in_thread(effect.unknown, error) from error
    except BaseException as error:
        await _in_thread(effect.unknown, error)
        raise
    return await _in_thread(_returned, effect, result)


def _failures(failed_on: _FailedOn) -> tuple[type[Exception], ...]:
    """Check which exceptions say that the call did not happen."""
    kinds = failed_on if isinstance(failed_on, tuple) else () if failed_on is None else (failed_on,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(f"failed_on must be a class of exceptions or a tuple of them, not {kind!r}")
    return kinds


def _answered(question: _Probe, answer: object) -> bytes | _Effect:
    """Apply what a probe said."""
    if isinstance(answer, Applied):
        return question.applied(answer.result)
    if answer is UNKNOWN:
        raise question.unknown("the probe could not tell")
    if answer is not NOT_APPLIED:
        raise InvalidArgumentError(f"a probe returns Applied(result), NOT_APPLIED or UNKNOWN, not {_short(answer)}")
    begun = question.not_applied()
    if isinstance(begun, _Probe):
        raise BusyError("the effect was decided anew while the third party was asked; ask again")
    return begun


def _returned(effect: _Effect, result: object) -> bytes:
    """Keep what a call returned. It did happen, so what cannot be kept leaves it in doubt."""
    if isinstance(result, bytes | bytearray | memoryview):
        return effect.done(bytes(result))
    if inspect.iscoroutine(result):
        result.close()
    text = f"the call returned {_short(result)}, and the result of an effect is bytes"
    raise TypeError(f"{text}; it may have happened and is in doubt") from effect.unknown(text)


def _short(value: object) -> str:
    """Show a value, or its type where that is long."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"a {type(value).__name__}"


def _tell(error: BaseException, recorded: Exception) -> None:
    """Raise what is in doubt for an earlier call's sake; tell with the call's own exception what else went wrong."""
    code = getattr(recorded, "code", None)
    if code == "InDoubt":
        raise recorded from error
    if code != "Failed":
        error.add_note(str(recorded))


async def _awaited(value: Awaitable[_T], name: str) -> _T:
    if not inspect.isawaitable(value):
        raise TypeError(f"once_async takes coroutine functions, and {name} returned {_short(value)}")
    return await value


async def _begin(of: _Once, name: str, options: _OnceOptions) -> bytes | _Effect | _Probe:
    """Begin, and wait for another caller in the loop: waiting threads would leave it none to record its outcome in."""
    loop, at_once = asyncio.get_running_loop(), options.at_once()
    until = loop.time() + options.wait
    while True:
        try:
            return await _begin_in_thread(of._begin, name, at_once)
        except BusyError:
            if loop.time() >= until:
                raise
        await asyncio.sleep(_LOOK_EVERY_S)


async def _in_thread(work: Callable[..., _T], *arguments: object) -> _T:
    """Run what waits for the disk in a thread; it ends there even when the one who waits is cancelled."""
    return await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, work, *arguments))


async def _begin_in_thread(
    work: Callable[..., bytes | _Effect | _Probe], *arguments: object
) -> bytes | _Effect | _Probe:
    """Begin in a thread. When the one who waits is cancelled meanwhile, the call is never made, and recorded so."""
    begun = asyncio.get_running_loop().run_in_executor(None, work, *arguments)
    try:
        return await asyncio.shield(begun)
    except asyncio.CancelledError:
        begun.add_done_callback(_never_called)
        raise


def _never_called(begun: asyncio.Future[Any]) -> None:
    if not begun.cancelled() and begun.exception() is None:
        effect = begun.result()
        if isinstance(effect, _Effect):
            effect.not_called()


def result_of(resolution: object) -> bytes | None:
    """Return what a person found out: the result of what happened, or None."""
    if isinstance(resolution, Applied):
        return resolution.result
    if resolution is NOT_APPLIED:
        return None
    raise InvalidArgumentError(f"a resolution is Applied(result) or NOT_APPLIED, not {_short(resolution)}")


# Tracebacks and pickles name the classes as users import them.
for _class in (Applied, Answer):
    _class.__module__ = "onceward"
del _class
