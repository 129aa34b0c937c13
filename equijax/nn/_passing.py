"""How the output of a function or Flax module is moved, given how its input is."""

from collections.abc import Iterator, Sequence
from typing import Any

from flax import nnx

from equijax.actions import Action, TrivialAction
from equijax.actions._unknown import UnknownAction
from equijax.nn._following import Array, Blocks, ends_as_field, filled, follow, stands_at
from equijax.reps import Scalar

_SIZES, _FEATURES = (6, 9), (4, 8, 3, 1, 2, 16)


def name_of(fn: Any) -> str:
    """Returns the name of a function, or of the class of a module."""
    return getattr(fn, "__name__", None) or type(fn).__name__


def require_no_convolution(fn: Any) -> None:
    """Raises ``ValueError`` for a convolution of Flax, alone or in an ``nnx.Sequential``."""
    if isinstance(fn, nnx.Sequential):
        for layer in fn.layers:
            require_no_convolution(layer)
    if isinstance(fn, (nnx.Conv, nnx.ConvTranspose)):
        raise ValueError(
            f"`layers` holds an nnx.{type(fn).__name__}, which does not share weights under the group and would "
            f"read the fibre as a grid axis. Use equijax.nn.{type(fn).__name__}."
        )


def action_after(
    fn: Any, action: Action, place: str, shape: Sequence[int] | None, features: int | None
) -> tuple[Action, Any]:
    """Follows a function of one array by its program.

    Args:
      fn: function or Flax module.
      action: how its input is moved.
      place: what the function is called in messages, such as ``"layer 2 (relu)"``.
      shape: shape of the input; None where it is not known, then a few are tried.
      features: length of the last axis, where that is known.

    Returns:
      How the output is moved, an ``UnknownAction`` where nobody can tell; and the length of its last axis, or None.

    Raises:
      ValueError: a pointwise function, or a module with a bias or a mean for each coordinate, on a fibre that does not
        permute.
    """
    moved = _moved(action)
    if moved == ():
        return action, None
    if moved is None:
        return _unknown(action, place, "its input is no single array"), None
    failed = "it can't be traced without knowing the shape of its input"
    for tried in (tuple(shape),) if shape is not None else _guesses(fn, action, features):
        axes = action.axes(len(tried))
        places = [k for k, axis in enumerate(axes) if axis.role in ("base", "fibre")]
        try:
            array, out_shape = follow(fn, tried, places, _blocks(action, axes, places))
        except Exception as error:  # noqa: BLE001  # whatever the function raises: it is not ours
            failed = f"tracing it gave {type(error).__name__}"
            continue
        if array is not None and action.permutes is True:
            array = filled(array, tried, out_shape, places)
        return _moved_by(fn, array, action, place), out_shape[-1] if out_shape else None
    return _unknown(action, place, failed), None


def unknown(action: Action, place: str, why: str) -> UnknownAction:
    """Returns the action of which nothing is known, with the remedy."""
    return _unknown(action, place, why)


def _unknown(action: Action, place: str, why: str) -> UnknownAction:
    return UnknownAction(
        action.group,
        f"Nothing is claimed behind {place}: {why}. If it is equivariant, say so: equijax.nn.Declared(fn, in_action, "
        "out_action); or use a layer of equijax.",
    )


def _moved(action: Action) -> tuple | None:
    """The axes that an action moves, or None where it does not move one array."""
    try:
        return action.moved_axes
    except ValueError:
        return None


def _blocks(action: Action, axes: Sequence[Any], places: Sequence[int]) -> Blocks:
    """On a field the base moves alike over every coordinate of the fibre; elsewhere all axes belong together."""
    fibre = frozenset(k for k, place in enumerate(places) if axes[place].role == "fibre")
    every = frozenset(range(len(places)))
    if action.vector is None:
        return Blocks(len(places), (every,), every)
    return Blocks(len(places), tuple(group for group in (every - fibre, fibre) if group), fibre)


def _moved_by(fn: Any, array: Array | None, action: Action, place: str) -> Action:
    count = len(action.moved_axes)
    if array is None or not _is_laid_out(array, action):
        return _unknown(action, place, "its steps on the axes that the group moves can't be followed")
    if action.permutes is not True and not (array.is_linear and not array.pools_fibre):
        if action.permutes is False and (not array.pools_fibre or _is_of_flax(fn)):
            raise ValueError(
                f"{place} treats each coordinate of the fibre by itself (a pointwise function, a bias or a mean for each "
                f"coordinate), but {action!r} does not permute them, so it would break the symmetry. Use the norm, gated or "
                "Fourier nonlinearities and the norm layers of equijax.nn, and use_bias=False in linear layers."
            )
        return _unknown(action, place, "nothing says that the elements permute the entries which it treats alike")
    if len(array.moved) == count:
        return action
    if not array.moved:
        return TrivialAction(action.group)
    vector = action.vector
    fibre = {k for k, axis in enumerate(action.moved_axes) if axis.role == "fibre"}
    if vector is not None and set(array.moved) == fibre:
        return vector
    if vector is not None and set(array.moved) == set(range(count)) - fibre:
        return action.with_fibre(Scalar(vector.fibre.group))  # type: ignore[attr-defined]
    return _unknown(action, place, "it pools a part of the axes that the group moves together")


def _is_laid_out(array: Array, action: Action) -> bool:
    """Tells whether the moved axes that are left stand where the action expects them."""
    if len(array.moved) < len(action.moved_axes):
        return not array.moved or ends_as_field(array)
    axes = action.axes(len(array.labels))
    return stands_at(array, [k for k, axis in enumerate(axes) if axis.role in ("base", "fibre")])


def _is_of_flax(fn: Any) -> bool:
    """Tells whether it is a module of Flax itself: its norms take means over coordinates, which no matrix fibre allows."""
    return isinstance(fn, nnx.Module) and type(fn).__module__.split(".")[0] == "flax"


def _guesses(fn: Any, action: Action, features: int | None) -> Iterator[tuple[int, ...]]:
    """Shapes to try: what the fibre needs, and a few sizes of grids and numbers of features."""
    own = [getattr(fn, name, None) for name in ("in_features", "num_features")]
    known = [n for n in (*own, features) if isinstance(n, int)]
    for size in _SIZES:
        for last in dict.fromkeys((*known, *(_FEATURES if not known else ()))):
            yield (2, *_lengths(action, size), last)


def _lengths(action: Action, size: int) -> list[int]:
    if action.factors is not None:
        return [n for factor in action.factors for n in _lengths(factor, size)]
    fibre = size if action.vector is None else action.vector.fibre.dim
    return [fibre if axis.role == "fibre" else size for axis in action.moved_axes]
