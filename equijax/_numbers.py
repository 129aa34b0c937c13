"""Checks of arguments that are numbers, in one place."""

import operator
from typing import Any

from equijax._arguments import listed, real_number, shown

LARGEST = 2**31 - 1
"""The largest integer that is accepted: sizes and numbers are int32 in tables."""


def positive_int(value: Any, name: str, minimum: int = 1, whole: Any = None, maximum: int = LARGEST) -> int:
    """Returns ``value`` as an int after checking that it is an integer of at least ``minimum``.

    Args:
      value: the number.
      name: the argument's name, for the message.
      minimum: the smallest number that is accepted.
      whole: the argument of which ``value`` is one entry, for the message.
      maximum: the largest number that is accepted.

    Raises:
      TypeError: it is no integer (a bool is none).
      ValueError: it is too small or too large.
    """
    given = value if whole is None else whole
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"`{name}` is {shown(given)}; it must be {_wanted(minimum)}.")
    if number < minimum:
        raise ValueError(f"`{name}` is {number if whole is None else shown(whole)}; it must be {_wanted(minimum)}.")
    if number > maximum:
        why = ", since things are numbered by integers of 32 bits" if maximum == LARGEST else ""
        raise ValueError(f"`{name}` is {number if whole is None else shown(whole)}; it must be at most {maximum}{why}.")
    return number


def each_positive(value: Any, name: str, minimum: int = 1) -> tuple[int, ...]:
    """Returns positive ints, one for each axis, as many as there are.

    Raises:
      TypeError: it is no list, tuple or array, or an entry no integer.
      ValueError: an entry is smaller than ``minimum``, or there is none.
    """
    entries = listed(value, name, "positive integers, one for each axis of the grid")
    if not entries:
        raise ValueError(f"`{name}` is {shown(value)}; it must hold one positive integer for each axis of the grid.")
    return tuple(positive_int(entry, name, minimum, value) for entry in entries)


def per_axis(value: Any, ndim: int, name: str, of: str = "") -> tuple[int, ...]:
    """Returns ``ndim`` positive ints; one integer stands for all axes, None for 1.

    Args:
      value: the integers.
      ndim: number of axes.
      name: the argument's name, for the message.
      of: the argument that says how many axes there are, for the message.

    Raises:
      TypeError: an entry is no integer.
      ValueError: the number of entries is wrong, or one is not positive.
    """
    value = 1 if value is None else value
    values = tuple(value) if isinstance(value, (tuple, list)) or getattr(value, "ndim", 0) == 1 else (value,) * ndim
    if len(values) != ndim:
        axes = f"grid axes{of and f' of `{of}`'}"
        raise ValueError(f"`{name}` is {shown(value)}; give one positive integer for each of the {ndim} {axes}.")
    return tuple(positive_int(v, name, 1, value) for v in values)


def probability(value: Any, name: str) -> float:
    """Returns ``value`` as a float after checking that it is a probability.

    Raises:
      TypeError: it is no number.
      ValueError: it is not within 0 … 1.
    """
    return float(real_number(value, name, 0.0, 1.0, what="probability"))


def _wanted(minimum: int) -> str:
    if minimum <= -LARGEST:
        return "an integer"
    return "a positive integer, at least 1" if minimum == 1 else f"an integer, at least {minimum}"
