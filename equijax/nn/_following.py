"""What a function of JAX does to the axes that a group moves, read from its program.

Every axis of every array on the way gets a label: which moved axis of the input it is, uniform (the array is constant along
it), or any other axis. A step whose labels can't be followed ends the search: then nothing is known.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax.nn._jaxpr import POINTWISE, Equation, Program, read

UNIFORM, OTHER = "uniform", "other"
Label = int | str

_KEEPS_LINEAR = frozenset("convert_element_type copy copy_p reduce_precision neg".split())
_MANTISSA = 7  # of bfloat16, the coarsest format in which a law is said to hold up to rounding
_REDUCTIONS = frozenset("reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or reduce_xor".split())
_ALONG = frozenset("cumsum cumprod cummax cummin cumlogsumexp argmax argmin rev sort".split())


@dataclasses.dataclass(frozen=True)
class Array:
    """What is known of one array.

    Attributes:
      labels: for each axis the number of the moved axis of the input that it is, ``UNIFORM`` or ``OTHER``.
      depends: whether it depends on the input.
      is_linear: whether it is linear in the input, with coefficients that are the same along the fibre.
      pools_fibre: whether coordinates of the fibre were combined on the way.
    """

    labels: tuple[Label, ...]
    depends: bool = False
    is_linear: bool = False
    pools_fibre: bool = False

    @property
    def moved(self) -> tuple[int, ...]:
        """The moved axes that are there, in their order."""
        return tuple(a for a in self.labels if isinstance(a, int))


@dataclasses.dataclass(frozen=True)
class Blocks:
    """The axes that are moved, and which of them must be reduced together.

    Attributes:
      count: number of moved axes.
      groups: sets of axes; to reduce one is to reduce all of its set.
      fibre: the axes along which a matrix may mix the entries: those of the fibre of a field, else all.
    """

    count: int
    groups: tuple[frozenset[int], ...]
    fibre: frozenset[int]


def follow(fn: Any, shape: Sequence[int], places: Sequence[int], blocks: Blocks) -> tuple[Array | None, tuple[int, ...]]:
    """Reads what a function or Flax module does to an array of the given shape.

    ``nnx.Dropout`` is read as it is in evaluation, since random zeros are equivariant on average only.

    Args:
      fn: the function.
      shape: shape of the float array.
      places: which of its axes are moved, in their order.
      blocks: the moved axes.

    Returns:
      What is known of its one result, or None where the program can't be followed; and the shape of the result.

    Raises:
      Exception: what ``fn`` itself raises on such an array.
    """
    return follow_program(program_of(fn, shape), shape, places, blocks)


def program_of(fn: Any, shape: Sequence[int]) -> Program:
    """Returns the program of a function or Flax module of one float array.

    Raises:
      Exception: what ``fn`` itself raises on such an array.
    """
    x = jax.ShapeDtypeStruct(tuple(shape), jnp.float32)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        if isinstance(fn, nnx.Module):
            graph, state = nnx.split(fn)
            return read(jax.make_jaxpr(lambda state, x: _evaluating(nnx.merge(graph, state))(x))(state, x))
        return read(jax.make_jaxpr(lambda x: fn(x))(x))  # JAX would take an old trace of the function itself


def follow_program(
    program: Program, shape: Sequence[int], places: Sequence[int], blocks: Blocks
) -> tuple[Array | None, tuple[int, ...]]:
    """Returns what :func:`follow` does, for a program that was read already."""
    known: dict[int, Array | None] = {v: _constant(program.avals[v].shape) for v in (*program.inputs, *program.constants)}
    labels: list[Label] = [OTHER] * len(shape)
    for number, place in enumerate(places):
        labels[place] = number
    known[program.inputs[-1]] = Array(tuple(labels), True, True)
    for equation in program.equations:
        if _rounds(equation, [program.avals[v].dtype for v in equation.inputs]):
            equation = dataclasses.replace(equation, name="round")
        operands = [known[v] for v in equation.inputs]
        shapes = [program.avals[v].shape for v in equation.inputs]
        out_shapes = [program.avals[v].shape for v in equation.outputs]
        known.update(zip(equation.outputs, _step(equation, operands, shapes, out_shapes, blocks), strict=True))
    if len(program.outputs) != 1:
        return None, ()
    return known[program.outputs[0]], program.avals[program.outputs[0]].shape


def _rounds(equation: Equation, dtypes: Sequence[Any]) -> bool:
    """Tells whether it is a cast that is coarser than the rounding of a floating dtype: to integers, bools, eight bits."""
    if equation.name == "reduce_precision":
        return equation.params["mantissa_bits"] < _MANTISSA
    if equation.name != "convert_element_type":
        return False
    new = equation.params["new_dtype"]
    return new != dtypes[0] and not (jnp.issubdtype(new, jnp.inexact) and jnp.finfo(new).nmant >= _MANTISSA)


def _evaluating(module: nnx.Module) -> Any:
    module.set_attributes(nnx.Dropout, deterministic=True, raise_if_not_found=False)
    return module


def _constant(shape: Sequence[int]) -> Array:
    return Array(tuple(UNIFORM if n == 1 else OTHER for n in shape))


def _step(
    equation: Equation,
    operands: list[Array | None],
    shapes: list[tuple[int, ...]],
    out_shapes: list[tuple[int, ...]],
    blocks: Blocks,
) -> list[Array | None]:
    """Returns what is known of the results of one equation."""
    if any(o is None for o in operands):
        return [None] * len(out_shapes)
    arrays: list[Array] = operands  # type: ignore[assignment]
    depends = any(o.depends for o in arrays)
    rule = _RULES.get("pointwise" if equation.name in POINTWISE else equation.name)
    result = None if rule is None else rule(equation, arrays, shapes, out_shapes, blocks)
    if result is None:
        return [None if depends else _constant(shape) for shape in out_shapes]
    if depends:
        pooled = any(o.pools_fibre for o in arrays) or result.pools_fibre
        result = dataclasses.replace(result, depends=True, pools_fibre=pooled)
    else:
        result = dataclasses.replace(result, depends=False, is_linear=False)
    if len(set(result.moved)) < len(result.moved):
        return [None] * len(out_shapes)
    return [result if len(result.labels) == len(shape) else None for shape in out_shapes]


def _joined(a: Label, b: Label) -> Label | None:
    """The label of an axis along which two arrays are combined entry by entry."""
    if a == b or b == UNIFORM:
        return a
    return b if a == UNIFORM else None


def _pointwise(eqn: Equation, arrays: list[Array], shapes: Any, out_shapes: Any, blocks: Blocks) -> Array | None:
    del blocks
    out = out_shapes[0]
    labels: list[Label] = [UNIFORM] * len(out)
    for array, shape in zip(arrays, shapes, strict=True):
        if shape == ():
            continue
        if len(shape) != len(out):
            return None
        own = [UNIFORM if n == 1 < m else a for a, n, m in zip(array.labels, shape, out, strict=True)]
        joined = [_joined(a, b) for a, b in zip(labels, own, strict=True)]
        if None in joined:
            return None
        labels = joined  # type: ignore[assignment]
    linear = [a.is_linear for a in arrays]
    is_linear = (
        (eqn.name in ("add", "add_any", "sub") and all(linear))
        or (eqn.name in _KEEPS_LINEAR and all(linear))
        or (eqn.name == "mul" and _one_linear(arrays))
        or (eqn.name == "div" and linear[0] and not arrays[1].depends)
    )
    return Array(tuple(labels), is_linear=is_linear)


def _one_linear(arrays: Sequence[Array]) -> bool:
    return any(a.is_linear and not b.depends for a, b in (arrays, arrays[::-1]))


def _broadcast(eqn: Equation, arrays: list[Array], shapes: Any, out_shapes: Any, blocks: Blocks) -> Array | None:
    del blocks
    labels: list[Label] = [UNIFORM] * len(out_shapes[0])
    for source, target in enumerate(eqn.params["broadcast_dimensions"]):
        if shapes[0][source] == out_shapes[0][target]:
            labels[target] = arrays[0].labels[source]
        elif isinstance(arrays[0].labels[source], int):
            return None
    return dataclasses.replace(arrays[0], labels=tuple(labels))


def _reshape(eqn: Equation, arrays: list[Array], shapes: Any, out_shapes: Any, blocks: Blocks) -> Array | None:
    """Splits and merges axes: one that is moved has to stay as it is."""
    del eqn
    array, into, out = arrays[0], list(shapes[0]), list(out_shapes[0])
    if 0 in into:
        return None
    labels: list[Label] = [UNIFORM] * len(out)
    i = j = 0
    while i < len(into) or j < len(out):
        if i < len(into) and into[i] == 1:
            i += 1
            continue
        if j < len(out) and out[j] == 1:
            j += 1
            continue
        rows, columns, a, b = [i], [j], into[i], out[j]
        while a != b:
            if a < b:
                rows.append(rows[-1] + 1)
                a *= into[rows[-1]]
            else:
                columns.append(columns[-1] + 1)
                b *= out[columns[-1]]
        old = [array.labels[k] for k in rows if into[k] > 1]
        kept = [k for k in columns if out[k] > 1]
        if len(old) == len(kept) == 1:
            labels[kept[0]] = old[0]
        elif any(isinstance(a, int) for a in old):
            return None
        else:
            for k in kept:
                labels[k] = UNIFORM if set(old) == {UNIFORM} else OTHER
        i, j = rows[-1] + 1, columns[-1] + 1
    ones = {a for a, n in zip(array.labels, into, strict=True) if n == 1 and isinstance(a, int)}
    return dataclasses.replace(array, labels=tuple(labels), pools_fibre=bool(ones & blocks.fibre))


def _squeeze(eqn: Equation, arrays: list[Array], shapes: Any, out_shapes: Any, blocks: Blocks) -> Array | None:
    del shapes, out_shapes
    gone = {k % len(arrays[0].labels) for k in eqn.params["dimensions"]}
    labels = tuple(a for k, a in enumerate(arrays[0].labels) if k not in gone)
    pooled = any(a in blocks.fibre for k, a in enumerate(arrays[0].labels) if k in gone)
    return dataclasses.replace(arrays[0], labels=labels, pools_fibre=pooled)


def _transpose(eqn: Equation, arrays: list[Array], shapes: Any, out_shapes: Any, blocks: Blocks) -> Array | None:
    del shapes, out_shapes, blocks
    return dataclasses.replace(arrays[0], labels=tuple(arrays[0].labels[k] for k in eqn.params["permutation"]))


def _reduce(eqn: Equation, arrays: list[Array], shapes: Any, out_shapes: Any, blocks: Blocks) -> Array | None:
    """Reduces axes: of those that are moved together all or none."""
    del shapes, out_shapes
    if len(arrays) != 1:
        return None
    array, axes = arrays[0], set(eqn.params["axes"])
    gone = {a for k, a in enumerate(array.labels) if k in axes and isinstance(a, int)}
    if any(group & gone and group & set(array.moved) - gone for group in blocks.groups):
        return None
    labels = tuple(a for k, a in enumerate(array.labels) if k not in axes)
    pooled = bool(gone & blocks.fibre)
    is_linear = array.is_linear and eqn.name == "reduce_sum" and not pooled
    return Array(labels, is_linear=is_linear, pools_fibre=pooled)


def _along(eqn: Equation, arrays: list[Array], shapes: Any, out_shapes: Any, blocks: Blocks) -> Array | None:
    """Something that runs along axes, none of which may be moved."""
    del blocks
    params = eqn.params
    axes = params.get("axes", params.get("dimensions", (params.get("axis", params.get("dimension", 0)),)))
    labels: list[Label] = list(arrays[0].labels)
    for other in arrays[1:]:
        joined = [_joined(a, b) for a, b in zip(labels, other.labels, strict=True)]
        if None in joined:
            return None
        labels = joined  # type: ignore[assignment]
    if any(isinstance(labels[k], int) for k in axes):
        return None
    for k in axes:
        labels[k] = OTHER
    if len(out_shapes[0]) < len(shapes[0]):
        labels = [a for k, a in enumerate(labels) if k not in axes]
    return Array(tuple(labels), is_linear=eqn.name in ("cumsum", "rev") and arrays[0].is_linear)


def _pick(eqn: Equation, arrays: list[Array], shapes: Any, out_shapes: Any, blocks: Blocks) -> Array | None:
    """Takes a part of an array that holds all of every moved axis; where the part lies is not up to the input."""
    del eqn, blocks
    if any(a.depends for a in arrays[1:]):
        return None
    for label, before, after in zip(arrays[0].labels, shapes[0], out_shapes[0], strict=True):
        if isinstance(label, int) and before != after:
            return None
    return arrays[0]


def _concatenate(eqn: Equation, arrays: list[Array], shapes: Any, out_shapes: Any, blocks: Blocks) -> Array | None:
    del shapes, out_shapes, blocks
    axis = eqn.params["dimension"]
    labels: list[Label] = [UNIFORM] * len(arrays[0].labels)
    for array in arrays:
        if isinstance(array.labels[axis], int):
            return None
        joined = [_joined(a, b) for a, b in zip(labels, array.labels, strict=True)]
        joined[axis] = OTHER
        if None in joined:
            return None
        labels = joined  # type: ignore[assignment]
    return Array(tuple(labels), is_linear=all(a.is_linear for a in arrays))


def _split(eqn: Equation, arrays: list[Array], shapes: Any, out_shapes: Any, blocks: Blocks) -> Array | None:
    del shapes, out_shapes, blocks
    return None if isinstance(arrays[0].labels[eqn.params["axis"]], int) else arrays[0]


def _iota(eqn: Equation, arrays: list[Array], shapes: Any, out_shapes: Any, blocks: Blocks) -> Array | None:
    del arrays, shapes, blocks
    return Array(tuple(OTHER if k == eqn.params["dimension"] else UNIFORM for k in range(len(out_shapes[0]))))


def _dot(eqn: Equation, arrays: list[Array], shapes: Any, out_shapes: Any, blocks: Blocks) -> Array | None:
    """Sums of products over axes that are not moved."""
    del shapes, out_shapes, blocks
    contracted, batched = eqn.params["dimension_numbers"]
    labels: list[Label] = []
    for i, j in zip(*batched, strict=True):
        joined = _joined(arrays[0].labels[i], arrays[1].labels[j])
        if joined is None:
            return None
        labels.append(joined)
    for array, over, batch in zip(arrays, contracted, batched, strict=True):
        if any(isinstance(array.labels[k], int) for k in over):
            return None
        labels += [a for k, a in enumerate(array.labels) if k not in (*over, *batch)]
    return Array(tuple(labels), is_linear=_one_linear(arrays))


Rule = Callable[[Equation, list[Array], Any, Any, Blocks], Array | None]
_RULES: Mapping[str, Rule] = {
    "pointwise": _pointwise,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _squeeze,
    "transpose": _transpose,
    "slice": _pick,
    "dynamic_slice": _pick,
    "concatenate": _concatenate,
    "split": _split,
    "iota": _iota,
    "dot_general": _dot,
    **dict.fromkeys(_REDUCTIONS, _reduce),
    **dict.fromkeys(_ALONG, _along),
}

RULED = POINTWISE | frozenset(_RULES)
"""The primitives that are followed; the others may do anything."""


def stands_at(array: Array, places: Sequence[int]) -> bool:
    """Tells whether the moved axes stand, in order, at these places and nowhere else."""
    return [a for a in array.labels if isinstance(a, int)] == [array.labels[k] for k in places] == list(range(len(places)))


def filled(array: Array, into: Sequence[int], out: Sequence[int], places: Sequence[int]) -> Array:
    """Takes axes along which the array is constant, as long as the moved ones were, for these: motions change nothing."""
    if len(into) != len(out):
        return array
    labels = list(array.labels)
    for number, k in enumerate(places):
        if labels[k] == UNIFORM and into[k] == out[k] > 1 and number not in labels:
            labels[k] = number
    return dataclasses.replace(array, labels=tuple(labels))


def ends_as_field(array: Array) -> bool:
    """Tells whether what is left of the moved axes stands, in order, right before one last axis."""
    moved = array.moved
    last = len(array.labels) - 1
    place = array.labels[last - len(moved) : last] if last >= len(moved) else ()
    return moved == tuple(sorted(moved)) and tuple(place) == moved and (not moved or not isinstance(array.labels[-1], int))
