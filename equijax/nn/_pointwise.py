"""What layers claim whose activation is meant to act on numbers one by one."""

import dataclasses
from typing import Any

from equijax.actions import Nothing
from equijax.nn._exactness import Exactness
from equijax.nn._following import RULED, UNIFORM, Blocks, follow_program, program_of


def claimed(found: Exactness, fn: Any, name: str, shape: tuple[int, ...], moved: int) -> Exactness:
    """Returns what a layer respects, or nothing where one of its functions mixes entries that the group moves.

    Args:
      found: what the layer respects where the function is pointwise.
      fn: the function.
      name: name of the argument.
      shape: shape of the array that the function gets.
      moved: number of leading axes along which it must treat every entry alike; it is free to mix the others.
    """
    if keeps_entries_apart(fn, shape, moved):
        return found
    why = (
        f"`{name}` is no pointwise function: it mixes the entries that the group moves, or treats them differently. Give a "
        "function of single numbers, such as jax.nn.relu."
    )
    return dataclasses.replace(found, kept=Nothing(found.in_action.group), reason=why)


def keeps_entries_apart(fn: Any, shape: tuple[int, ...], moved: int) -> bool:
    """Tells whether a function of an array treats all entries along the first ``moved`` axes alike, each by itself.

    It is read from the program. Where that holds a step that can't be followed, such as a loop or a look-up, the function
    is believed if it can be applied to a single number.

    Args:
      fn: function or Flax module of one array.
      shape: shape of the array.
      moved: number of leading axes.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> keeps_entries_apart(jax.nn.silu, (4, 5, 3), 2), keeps_entries_apart(lambda x: jnp.cumsum(x, 0), (4, 5, 3), 2)
      (True, False)
    """
    shape = (*(max(n, 2) for n in shape[:moved]), *shape[moved:])  # an axis of length 1 hides what is done along it
    program = program_of(fn, shape)
    every = frozenset(range(moved))
    array, out_shape = follow_program(program, shape, range(moved), Blocks(moved, (every,), every))
    if array is not None:
        in_place = all(label in (k, UNIFORM) for k, label in enumerate(array.labels[:moved]))
        return tuple(out_shape) == shape and in_place and not array.pools_fibre
    if all(equation.name in RULED for equation in program.equations):
        return False
    try:
        alone = program_of(fn, ())
    except Exception:  # noqa: BLE001  # whatever the function of the user raises
        return False
    return [alone.avals[v].shape for v in alone.outputs] == [()]


def lead_and_features(input_shape: Any, trailing: int) -> tuple[tuple[int, ...], int]:
    """Returns the leading axes of an input whose last ``trailing`` are fibre and features, and the features.

    Of a graph one axis of nodes, and one feature.
    """
    if not isinstance(input_shape, (tuple, list)):
        return (2,), 1
    return tuple(input_shape[: len(input_shape) - trailing]), input_shape[-1]
