"""The audit without data: what can be read off a model's operations and parameters."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from equijax._arguments import as_shape, float_dtype, function
from equijax._numbers import positive_int
from equijax.actions import Action
from equijax.actions._action import require_action
from equijax.audit._actions import require_action_tree
from equijax.audit._elements import audited_elements
from equijax.audit._explain import network_of
from equijax.audit._network import require_actions
from equijax.audit._reader import Reader
from equijax.audit._static_report import StaticReport

#: Shifts up to this many are tried together with every point element.
TRIED = 16


def static(
    model: nnx.Module,
    input_shape: Sequence[int],
    *,
    in_action: Action,
    out_action: Any = None,
    actions: Mapping[str, Action] | None = None,
    depth: int | None = None,
    dtype: Any = jnp.float32,
) -> StaticReport:
    """Reads off a model which elements it respects at one input shape, and which layer loses the others; no data, no pass.

    It sees windows, strides, padding, positions, dense layers, orders, and (where parameters are given) unshared kernels.
    What is written by hand on a fibre, or behind an action of your own, is tried on random numbers; where there are no
    parameters to do so, the elements are said to be not known. It can't see ties, aliasing, and what depends on state, masks
    or batch mates: :func:`explain` measures these.

    Args:
      model: any module that can be traced; abstract ones too (``nnx.eval_shape``), of which kernels and maps stay unread.
      input_shape: shape of the input with its batch.
      in_action: how the group moves the input.
      out_action: as in :func:`explain`.
      actions: as in :func:`explain`.
      depth: as in :func:`explain`.
      dtype: dtype of the input.

    Returns:
      A :class:`StaticReport`.

    Raises:
      ValueError: as in :func:`explain`.

    Example:
      >>> import equijax as ej
      >>> from flax import nnx
      >>> layer = nnx.Conv(3, 4, (3, 3), strides=2, padding="CIRCULAR", rngs=nnx.Rngs(0))
      >>> class Net(nnx.Module):
      ...     def __init__(self): self.stem = layer
      ...     def __call__(self, x): return self.stem(x).mean((1, 2))
      >>> ej.audit.static(Net(), (1, 8, 8, 3), in_action=ej.GridAction(ej.Translation(2))).steps
      (2, 2)
    """
    function(model, "model", "a Flax module")
    require_action(in_action, "in_action")
    require_action_tree(out_action, "out_action")
    depth = None if depth is None else positive_int(depth, "depth")
    require_actions(actions)
    dtype = float_dtype(dtype, "dtype")
    if in_action.moves is not None:
        raise ValueError(
            f"`in_action` moves a {in_action.moves.__name__}, and `static` reads arrays only. "
            "Use explain(model, graph, in_action=…)."
        )
    shape = as_shape(input_shape, "input_shape")
    in_action = in_action.for_input(jax.ShapeDtypeStruct(shape, dtype))
    elements, tried = _elements(in_action, shape)
    x = jax.ShapeDtypeStruct(shape, dtype)
    network = network_of(model, x, in_action, out_action, actions, elements, depth)
    return Reader(network, tried).report(type(model).__name__)


def _elements(action: Action, shape: tuple[int, ...]) -> tuple[Any, list[tuple[int, ...]]]:
    """Returns every point element with a few shifts, point by point, then unit shifts; and the shifts that were tried."""
    group: Any = action.group
    grid = action.plain.grid(shape)
    if grid is None or action.plain is not action:
        return audited_elements(action, np.zeros(shape)), []
    d = len(grid[1])
    reach = max(1, int(TRIED ** (1 / d))) if grid[0].boundary == "wrap" else 1
    tried = list(itertools.product(range(reach), repeat=d))
    order = group.point_group.order
    pairs = [(t, h) for h in range(1, order) for t in tried] + [(tuple(row), 0) for row in np.eye(d, dtype=int)]
    t, h = np.array([t for t, _ in pairs], np.int32), np.array([h for _, h in pairs], np.int32)
    return group.join(t, h), tried
