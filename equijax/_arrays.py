"""Arrays that can be compared, hashed and shared: the form in which groups keep their defining data."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def read_only(array: np.ndarray) -> np.ndarray:
    """Returns ``array`` after forbidding writes to it, so that it may be shared."""
    array.setflags(write=False)
    return array


def as_array(value: Any) -> Any:
    """The value as a numpy array where it is known, else as a traced array; None where it is no array."""
    if isinstance(value, Tracer):
        return value
    try:
        array = np.asarray(value)
    except jax.errors.TracerArrayConversionError:
        return jnp.asarray(value)
    except (TypeError, ValueError):  # lists of unequal lengths
        return None
    return None if array.dtype == object else array


def require_real(value: Any, name: str) -> None:
    """Raises ``ValueError`` where numbers are complex: they would lose their imaginary parts without a word.

    Args:
      value: an array, or lists of numbers and arrays.
      name: name of the argument.
    """
    if _is_complex(value):
        raise ValueError(
            f"`{name}` holds complex numbers, but matrices and vectors are real here. Write ℂⁿ as ℝ²ⁿ: the matrix A + iB is "
            "np.block([[A, -B], [B, A]]), which acts on the real parts followed by the imaginary ones."
        )


def _is_complex(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_is_complex, value))
    return bool(np.iscomplexobj(value))


class FrozenArray:
    """An immutable array with value equality and a hash that is the same in every process.

    Args:
      array: anything ``numpy.asarray`` accepts; it is copied.
      dtype: the dtype to store.
    """

    __slots__ = ("_digest", "array")

    array: np.ndarray

    def __init__(self, array: Any, dtype: Any):
        frozen = read_only(np.array(array, dtype=dtype, order="C"))
        object.__setattr__(self, "array", frozen)
        object.__setattr__(self, "_digest", digest(frozen))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FrozenArray):
            return NotImplemented
        return self._digest == other._digest and np.array_equal(self.array, other.array)

    def __hash__(self) -> int:
        return self._digest

    def __reduce__(self) -> tuple:
        return (FrozenArray, (self.array, self.array.dtype))


def digest(array: np.ndarray) -> int:
    """Returns a 64-bit hash of shape, dtype and bytes that does not depend on the process."""
    header = f"{array.shape}{array.dtype.str}".encode()
    return int.from_bytes(hashlib.blake2b(header + array.tobytes(), digest_size=8).digest(), "little", signed=True)
