"""Checks of arguments that are numbers or booleans, in one place."""

import operator
from typing import Any

import numpy as np


def positive_int(value: Any, name: str, minimum: int = 1, whole: Any = None) -> int:
    """Returns ``value`` as an int after checking that it is an integer of at least ``minimum``.

    Args:
      value: the number.
      name: the argument's name, for the message.
      minimum: the smallest number that is accepted.
      whole: the argument of which ``value`` is one entry, for the message.

    Raises:
      TypeError: it is no integer (a bool is none).
      ValueError: it is too small.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        shown = value if whole is None else whole
        raise TypeError(f"`{name}` is {shown!r}; it must be {_wanted(minimum)}.")
    if number < minimum:
        shown = number if whole is None else whole
        raise ValueError(f"`{name}` is {shown}; it must be {_wanted(minimum)}.")
    return number


def require_bool(value: Any, name: str) -> bool:
    """Returns ``value`` as a bool after checking that it is one: every string is true, "False" too.

    Raises:
      TypeError: it is neither a bool nor a ``numpy.bool_``.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"`{name}` is {value!r}; it must be True or False.")
    return bool(value)


def require_bools(**arguments: Any) -> None:
    """Checks several arguments by :func:`require_bool`, each under its own name."""
    for name, value in arguments.items():
        require_bool(value, name)


def per_axis(value: Any, ndim: int, name: str) -> tuple[int, ...]:
    """Returns ``ndim`` positive ints; one integer stands for all axes, None for 1.

    Raises:
      TypeError: an entry is no integer.
      ValueError: the number of entries is wrong, or one is not positive.
    """
    value = 1 if value is None else value
    values = tuple(value) if isinstance(value, (tuple, list)) or getattr(value, "ndim", 0) == 1 else (value,) * ndim
    if len(values) != ndim:
        raise ValueError(f"`{name}` is {value}; give one positive integer for each of the {ndim} grid axes.")
    return tuple(positive_int(v, name, 1, value) for v in values)


def probability(value: Any, name: str) -> float:
    """Returns ``value`` as a float after checking that it is a probability.

    Raises:
      ValueError: it is none.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}` is {value!r}; it must be a probability, 0 … 1.")
    return float(value)


def _wanted(minimum: int) -> str:
    return "a positive integer, at least 1" if minimum == 1 else f"an integer, at least {minimum}"
