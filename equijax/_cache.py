"""How tables are kept: each function keeps its latest results, so many and so many bytes, and forgets the oldest."""

import dataclasses
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

ENTRIES = 256
"""The most results that one function keeps."""
BYTES = 2**25
"""The most bytes of arrays that one function keeps, 32 MiB; the latest result is kept however large it is."""


def bounded(function: F) -> F:
    """Keeps the latest results of a function of hashable arguments, which must be immutable values.

    What was forgotten is computed again when it is asked for. A result is computed outside of the lock, perhaps twice.

    Example:
      >>> @bounded
      ... def square(n): return n * n
      >>> square(3), square(3)
      (9, 9)
    """
    kept: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
    lock, total = threading.RLock(), 0

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        nonlocal total
        key = (args, tuple(options.items())) if options else args
        with lock:
            found = kept.get(key)
            if found is not None:
                kept.move_to_end(key)
                return found[0]
        value = function(*args, **options)
        size = bytes_of(value)
        with lock:
            if key in kept:
                return kept[key][0]
            kept[key] = (value, size)
            total += size
            while len(kept) > ENTRIES or (total > BYTES and len(kept) > 1):
                total -= kept.popitem(last=False)[1][1]
        return value

    def forget() -> None:
        nonlocal total
        with lock:
            kept.clear()
            total = 0

    call.cache_clear = forget  # type: ignore[attr-defined]
    return cast(F, call)


def bytes_of(value: Any) -> int:
    """Counts the bytes of the numpy arrays in a value: an array, or tuples, lists, mappings and dataclasses of them."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, (tuple, list)):
        return sum(map(bytes_of, value))
    if isinstance(value, dict):
        return sum(map(bytes_of, value.values()))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return sum(bytes_of(entry) for entry in vars(value).values() if isinstance(entry, (np.ndarray, tuple, list, dict)))
    return 0
