"""Initial values without a program for each shape.

Called outside of ``jit``, an initialiser of JAX compiles one program for each shape that it is asked for: nearly all of the
time that it takes to build a network. Under ``jax_threefry_partitionable``, the default, the random bits of an entry depend
on the key and on the entry's flat index alone. So for the initialisers that layers use by default the bits are computed
here by numpy, and one program of one size makes numbers of them: the same values, bit by bit.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

_lecun = jax.nn.initializers.lecun_normal()
_zeros, _ones = jax.nn.initializers.zeros, jax.nn.initializers.ones

_CHUNK = 1 << 14
_MOST = 1 << 22  # beyond, the program of JAX, which uses all cores, saves more than its compilation takes


def quick_values(init: Any, key: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array | None:
    """Returns ``init(key, shape, dtype)`` for the initialisers that layers use by default, on a CPU; else None.

    None too wherever it might show that the initialiser was not called: under a transformation that traces, for keys of
    another kind or with a place of their own, under a mesh.
    """
    dtype = jnp.dtype(dtype)
    if dtype != jax.dtypes.canonicalize_dtype(dtype) or not _free(key):
        return None
    if init is _zeros or init is _ones:
        return jax.device_put(np.full(shape, init is _ones, dtype))
    normal = len(shape) > 1 and dtype == np.float32 and 0 < math.prod(shape) <= _MOST and _same(init, _lecun)
    seed = _seed(key) if normal else None
    return None if seed is None else jax.device_put(_lecun_normal(seed, shape))


def filled(value: float, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Returns ``jnp.full(shape, value, dtype)``."""
    return jax.device_put(np.full(shape, value, dtype)) if _on_a_cpu() else jnp.full(shape, value, dtype)


def split(key: jax.Array, number: int) -> list[jax.Array]:
    """Returns the keys of ``jax.random.split(key, number)``."""
    seed = _seed(key) if _free(key) else None
    if seed is None:
        return list(jax.random.split(key, number))
    data = np.stack(_threefry(seed, np.arange(number, dtype=np.uint32)), axis=1)
    return [jax.random.wrap_key_data(jax.device_put(row), impl=jax.random.key_impl(key)) for row in data]


def kept(parts: Sequence[Any], rows: Sequence[np.ndarray | None]) -> jax.Array:
    """Returns the rows that are kept of several arrays ``(…, in, out)``, one after another; None keeps all.

    Args:
      parts: the arrays.
      rows: for each of them indices of its rows, which are the leading axes as one.
    """
    if not all(map(_free, parts)):
        return _kept_by_jax(list(parts), list(rows))
    flat = [np.asarray(part).reshape(-1, *part.shape[-2:]) for part in parts]
    return jax.device_put(
        np.concatenate([p if r is None else np.take(p, r, axis=0, mode="clip") for p, r in zip(flat, rows, strict=True)])
    )


@functools.partial(jax.jit, inline=True)
def _kept_by_jax(parts: list[jax.Array], rows: list[Any]) -> jax.Array:
    """What :func:`kept` returns, in one program."""
    flat = [part.reshape(-1, *part.shape[-2:]) for part in parts]
    taken = [part if row is None else jnp.take(part, row, axis=0, mode="clip") for part, row in zip(flat, rows, strict=True)]
    return taken[0] if len(taken) == 1 else jnp.concatenate(taken)


def _free(array: Any) -> bool:
    """Whether an array is known, and it and what is made now lie on a CPU because nobody said where."""
    if not isinstance(array, jax.Array) or isinstance(array, Tracer) or array.committed:
        return False
    return _on_a_cpu() and {device.platform for device in array.devices()} == {"cpu"}


def _on_a_cpu() -> bool:
    """Whether what is made now is known and lies on a CPU because nobody said where."""
    made = jax.device_put(np.float32(0))  # it is traced where everything is
    meshed = not jax.sharding.get_abstract_mesh().empty  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(made, Tracer) or jax.config.jax_disable_jit or meshed:  # pyright: ignore[reportAttributeAccessIssue]
        return False
    return {device.platform for device in made.devices()} == {"cpu"}


def _seed(key: jax.Array) -> tuple[int, int] | None:
    """The two words of a single typed key of Threefry, or None for another key."""
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()
    if not typed or jax.random.key_impl(key) != "threefry2x32" or not jax.config.jax_threefry_partitionable:  # pyright: ignore[reportAttributeAccessIssue]
        return None
    first, second = np.asarray(jax.random.key_data(key)).tolist()
    return first, second


def _same(init: Any, other: Any) -> bool:
    """Whether two functions have the same code and the same values in it: two calls of one maker of initialisers."""
    if init is other:
        return True
    parts = [(f.__code__, f.__defaults__, f.__kwdefaults__, _cells(f)) for f in (init, other) if hasattr(f, "__code__")]
    return len(parts) == 2 and parts[0] == parts[1]


def _cells(function: Any) -> list[str]:
    return [repr(cell.cell_contents) for cell in function.__closure__ or ()]


def _lecun_normal(seed: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
    size = math.prod(shape)
    values = np.empty(size, np.float32)
    for start in range(0, size, _CHUNK):
        first, second = _threefry(seed, np.arange(start, start + _CHUNK, dtype=np.uint32))
        values[start : start + _CHUNK] = np.asarray(_truncated_normal(first ^ second))[: size - start]
    values *= _deviation(shape[-2] * (size / shape[-2] / shape[-1]))
    return values.reshape(shape)


def _deviation(fan_in: float) -> np.float32:
    """What numbers that are cut off at 2 are multiplied by, so that their variance is 1 / fan_in."""
    return np.sqrt(np.float32(1.0 / fan_in)) / np.float32(0.87962566103423978)


def _threefry(seed: tuple[int, int], counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Threefry-2x32 of 20 rounds on the counts ``(0, counts)``."""
    words = (*seed, seed[0] ^ seed[1] ^ 0x1BD11BDA)
    x, y = np.full_like(counts, words[0]), counts + np.uint32(words[1])
    for block in range(5):
        for turn in ((13, 15, 26, 6), (17, 29, 16, 24))[block % 2]:
            x += y
            y = (y << np.uint32(turn)) | (y >> np.uint32(32 - turn))
            y ^= x
        x += np.uint32(words[(block + 1) % 3])
        y += np.uint32((words[(block + 2) % 3] + block + 1) % (1 << 32))
    return x, y


@jax.jit
def _truncated_normal(bits: jax.Array) -> jax.Array:
    """``jax.random.truncated_normal(key, -2, 2)`` from the key's bits, in the same operations: so the same rounding."""
    two, root = np.float32(2), np.array(np.sqrt(2), np.float32)
    low, high = lax.erf(-two / root), lax.erf(two / root)
    one_to_two = lax.bitcast_convert_type((bits >> np.uint32(9)) | np.uint32(0x3F800000), jnp.float32)
    uniform = lax.max(jnp.broadcast_to(low, bits.shape), (one_to_two - np.float32(1)) * (high - low) + low)
    inside = np.nextafter(two, np.float32(0))
    return lax.clamp(-inside, root * lax.erf_inv(uniform), inside)
