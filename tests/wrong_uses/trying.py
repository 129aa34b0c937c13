"""Trying one wrong use and saying what came of it."""

import contextlib
import dataclasses
import inspect
import signal
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from equijax.reps import Representation
from tests.wrong_uses.replacements import KINDS, Traced, replacements

LONGEST = 900  # characters of a message


@dataclasses.dataclass(frozen=True)
class Use:
    """A valid call.

    Attributes:
      name: how it is reported.
      call: the function, method or class.
      given: the arguments of a valid call, by name.
      kinds: the kind of each argument where its name does not say it; an argument of kind "skip" is not tried.
      right: for an argument, replacements that are right here alone, each with the reason.
    """

    name: str
    call: Callable[..., Any]
    given: dict[str, Any]
    kinds: dict[str, str] = dataclasses.field(default_factory=dict)
    right: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one replacement: "clear", "documented", "silent", "internal" or "refused"."""

    use: str
    argument: str
    replacement: str
    kind: str
    what: str

    @property
    def is_fault(self) -> bool:
        return self.kind in ("silent", "internal", "refused")


def outcomes(use: Use) -> Iterator[Outcome]:
    """Tries every replacement of every argument of a valid call."""
    from tests.wrong_uses.arguments import DEFAULTS, kind_of

    expected = use.call(**use.given)
    for name, parameter in inspect.signature(use.call).parameters.items():
        if parameter.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
            continue
        valid = use.given.get(name, parameter.default)
        kind = use.kinds.get(name) or kind_of(name, valid)
        if kind == "skip":
            continue
        valid = DEFAULTS.get(name) if valid is None else valid
        right = KINDS[kind] | use.right.get(name, {})
        for replacement, value in replacements(valid):
            if replacement not in right and _is_default(value, parameter.default):
                continue  # no replacement
            found = _try(
                use,
                name,
                value,
                (expected,) if replacement == "np.int64" and kind.endswith("int") else None,
                right.get(replacement),
            )
            yield Outcome(use.name, name, replacement, *found)


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and isinstance(value, (bool, tuple)) and value == default)


def _try(use: Use, name: str, value: Any, expected: Any, reason: str | None) -> tuple[str, str]:
    try:
        with _limit(), jax.numpy_dtype_promotion("standard"):
            if isinstance(value, Traced):
                jax.eval_shape(lambda t: [use.call(**use.given | {name: t}), None][1], value.value)
            else:
                result = use.call(**use.given | {name: value})
    except Exception as error:
        if expected is not None or (reason is not None and not reason.startswith("either")):
            return "refused", _shown(error)
        return ("clear", "") if _is_clear(error, name, value) else ("internal", _shown(error))
    if expected is not None:
        return ("documented", "np.int64 is an integer") if _same(result, *expected) else ("silent", "another result")
    return ("documented", reason) if reason is not None else ("silent", _short(value))


@contextlib.contextmanager
def _limit(seconds: int = 20) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise RuntimeError("took too long")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _is_clear(error: BaseException, name: str, value: Any) -> bool:
    """Raised by equijax, of the right type, short, and it names the argument or what came."""
    innermost = traceback.extract_tb(error.__traceback__)[-1].filename
    message = str(error)
    if isinstance(error, AssertionError) and "/equijax/testing/" in innermost:
        return True  # what a check is for
    right = type(error) in (ValueError, TypeError) and "/equijax/" in innermost and len(message) <= LONGEST
    return right and (f"`{name}" in message or any(shown in message for shown in _ways_to_show(value)))


def _ways_to_show(value: Any) -> list[str]:
    if isinstance(value, Traced) or value is None or isinstance(value, bool):
        return []
    shown = [repr(value)] if len(repr(value)) > 1 else []
    shown += [repr(value.group)] if isinstance(value, Representation) else []
    array = (hasattr(value, "shape") and np.ndim(value)) or isinstance(value, (list, tuple)) and not value
    shown += ["shape ()"] if hasattr(value, "shape") and not np.ndim(value) else []
    return [*shown, str(np.shape(value)), f"dtype {getattr(value, 'dtype', None)}"] if array else shown


def _same(result: Any, expected: Any) -> bool:
    if isinstance(result, jax.Array) and jax.numpy.issubdtype(result.dtype, jax.dtypes.prng_key):
        return True
    if isinstance(result, (np.ndarray, jax.Array)):
        return result.dtype == expected.dtype and np.array_equal(result, expected)
    return type(result) is type(expected)


def _shown(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {str(error)[:110]!r} at {'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno}"


def _short(value: Any) -> str:
    return repr(value)[:60].replace("\n", " ")
