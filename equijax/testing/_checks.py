"""Checks that users run on their own groups, actions and layers."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import boolean, function, real_number, require_key
from equijax._numbers import positive_int
from equijax.actions import Action
from equijax.actions._acting import require_elements, require_moved, sample_acting, shape_of
from equijax.actions._action import require_action
from equijax.audit import equivariance_error
from equijax.audit._error import default_elements, errors_at, is_floating, moved, wide
from equijax.groups import Group
from equijax.groups._elements import as_arrays, on_device
from equijax.groups._group import Element, require_is_group


def check_group(group: Group, *, key: jax.Array | None = None, samples: int = 16) -> None:
    """Checks the axioms of a group on random elements, its value semantics, and that its methods jit and vmap.

    Args:
      group: the group.
      key: random key; None is ``jax.random.key(0)``.
      samples: number of random triples.

    Raises:
      AssertionError: a law fails; the message names the law and the elements.
      ValueError: the Lie algebra does not close.

    Example:
      >>> import equijax as ej
      >>> ej.testing.check_group(ej.Dihedral(5))
    """
    require_is_group(group, "group")
    key, samples = _key(key), positive_int(samples, "samples", 1, None, 2**20)
    _ = group.structure_constants
    keys = jax.random.split(key, 3)
    a, b, c = (group.draw(k, (samples,)) for k in keys)
    e = group.identity
    stacked = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (samples, *leaf.shape)), jax.tree.map(jnp.asarray, e))
    laws = {
        "associativity, (a∘b)∘c = a∘(b∘c)": (
            group.compose(group.compose(a, b), c),
            group.compose(a, group.compose(b, c)),
        ),
        "identity on the left, e∘a = a": (group.compose(stacked, a), a),
        "identity on the right, a∘e = a": (group.compose(a, stacked), a),
        "inverse on the right, a∘a⁻¹ = e": (group.compose(a, group.inverse(a)), stacked),
        "inverse on the left, a⁻¹∘a = e": (group.compose(group.inverse(a), a), stacked),
        "`compose` jits and vmaps": (jax.jit(jax.vmap(group.compose))(a, b), group.compose(a, b)),
        "`inverse` jits and vmaps": (jax.jit(jax.vmap(group.inverse))(a), group.inverse(a)),
        "`draw` jits": (jax.jit(lambda k: group.draw(k, (samples,)))(keys[0]), a),
    }
    for law, (left, right) in laws.items():
        same = np.asarray(group.isclose(left, right))
        _require(same.shape == (samples,), f"{group!r}: `isclose` returned shape {same.shape}, not {(samples,)}.")
        if not same.all():
            worst = int(np.argmin(same))
            names = dict(zip("abc", (_pick(x, worst) for x in (a, b, c)), strict=True))
            raise AssertionError(f"{group!r} violates {law} at {names}.")
    shapes = jax.tree.map(lambda s: (s.shape, s.dtype), group.element_shape)
    actual = jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.asarray(leaf).dtype), e)
    _require(shapes == actual, f"{group!r}: `element_shape` says {shapes}, but `identity` has {actual}.")
    _require(hash(group) == hash(group) and group == group, f"{group!r} must be hashable and equal to itself.")
    _require((group == object()) is False, f"{group!r}: comparison with a foreign object must be False.")


def check_action(
    action: Action, x: Any, *, key: jax.Array | None = None, samples: int = 8, tolerance: float | None = None
) -> None:
    """Checks that an action composes as its group does, keeps the identity, and jits, vmaps and differentiates.

    Of an action on a grid only the elements that map the array to itself are drawn; with boundary ``"zero"`` these are
    point elements without shifts.

    Args:
      action: the action.
      x: an array or pytree that it moves.
      key: random key; None is ``jax.random.key(0)``.
      samples: number of random pairs.
      tolerance: largest relative difference; None is 100 times the rounding of the dtype of ``x``.

    Raises:
      AssertionError: a law fails.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> ej.testing.check_action(ej.GridAction(ej.wallpaper("p4m")), jnp.arange(50.0).reshape(5, 5, 2))
    """
    require_action(action, "action")
    require_moved(x)
    key, samples = _key(key), positive_int(samples, "samples", 1, None, 2**20)
    tolerance = None if tolerance is None else real_number(tolerance, "tolerance", 0.0)
    action = action.for_input(x)
    group = action.group
    keys = jax.random.split(key)
    g, h = (sample_acting([(action, shape_of(x))], k, (samples,)) for k in keys)
    tolerance = _tolerance(x, 100) if tolerance is None else tolerance
    one = action(group.identity, x)
    _require(_distance(one, x) <= tolerance, f"{action!r} does not leave x alone under the identity.")
    many = jax.tree.map(np.asarray, jax.jit(jax.vmap(action, (0, None)))(g, x))
    for i in range(samples):
        a, b = _pick(g, i), _pick(h, i)
        twice, once = action(a, action(b, x)), action(group.compose(a, b), x)
        error = _distance(twice, once)
        _require(error <= tolerance, f"{action!r}: g·(h·x) differs from (g∘h)·x by {error:.2e} at g = {a}, h = {b}.")
        error = _distance(_pick(many, i), action(a, x))
        _require(error <= tolerance, f"{action!r}: jit(vmap(action)) differs from the eager call by {error:.2e} at {a}.")
    if all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(x)):
        _, tangent = jax.jvp(lambda x: action(_pick(g, 0), x), (x,), (x,))
        _require(_distance(tangent, _pick(many, 0)) <= tolerance, f"{action!r} is not differentiated as a linear map.")


def check_equivariance(
    fn: Callable[[Any], Any],
    in_action: Action,
    out_action: Action,
    x: Any,
    elements: Element | None = None,
    *,
    tolerance: float | None = None,
    gradient: bool = True,
    key: jax.Array | None = None,
) -> None:
    r"""Checks that ``fn(in_action(g, x)) == out_action(g, fn(x))``, forward and in the gradient.

    The gradient's law is that of the adjoint: for every cotangent v, ``vjp(fn, g·x)(g·v) == g·vjp(fn, x)(v)``. Where g keeps
    lengths it moves cotangents like vectors, else (a boost, a skew basis) by the inverse of its transpose. Shifts that move
    zeros in have no inverse: leave the gradient out for them.

    Args:
      fn: the function.
      in_action: how the group moves ``x``.
      out_action: how it moves ``fn(x)``.
      x: array or pytree.
      elements: group elements stacked along a leading axis, for example ``layer.exactness(x.shape).elements()``; None as
        in :func:`equijax.equivariance_error`.
      tolerance: largest relative error; None is 1e-12 in float64 and 1e-5 in float32, by the coarser of ``x`` and ``fn(x)``.
      gradient: whether to check the gradient too.
      key: for random elements.

    Raises:
      AssertionError: an element is violated; the message names it and its error.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> act = ej.GridAction(ej.Translation(1))
      >>> ej.testing.check_equivariance(lambda x: x + jnp.roll(x, 1, axis=0), act, act, jnp.arange(8.0)[:, None])
    """
    function(fn, "fn")
    require_action(in_action, "in_action")
    require_action(out_action, "out_action")
    require_moved(x)
    key = _key(key)
    tolerance = None if tolerance is None else real_number(tolerance, "tolerance", 0.0)
    gradient = boolean(gradient, "gradient")
    y = fn(x)
    tolerance = _equivariance_tolerance((x, y)) if tolerance is None else tolerance
    in_action, out_action = in_action.for_input(x), out_action.for_input(y)
    if elements is None:
        elements = default_elements(in_action, out_action, x, y, key)
    require_elements(in_action.group, elements)
    elements = as_arrays(elements)
    _report(equivariance_error(fn, in_action, out_action, x, elements), elements, tolerance, "fn(g·x) = g·fn(x)")
    if gradient:
        v = normals_like(_floats(y))

        @jax.jit
        def pull(pair: tuple) -> Any:
            point, cotangent = pair
            return jax.vjp(lambda floats: _floats(fn(_with_floats(point, floats))), _floats(point))[1](cotangent)[0]

        at_x, at_y = _on_cotangents(in_action, x), _on_cotangents(out_action, y)
        into = lambda g, pair: (moved(in_action, g, pair[0]), at_y(g, pair[1]))  # noqa: E731
        errors = errors_at(pull, into, at_x, (x, v), pull((x, v)), elements)
        _report(errors, elements, tolerance, "the gradient's law, vjp(g·x)(g·v) = g·vjp(x)(v)")


def _key(key: Any) -> jax.Array:
    if key is None:
        return jax.random.key(0)
    require_key(key)
    return key


def normals_like(tree: Any) -> Any:
    """Returns fixed standard normal numbers in the shapes and dtypes of a tree, drawn in numpy: nothing is compiled."""
    rng = np.random.default_rng(1)

    def draw(leaf: jax.Array) -> jax.Array:
        values = rng.standard_normal(leaf.shape)
        if jnp.iscomplexobj(leaf):
            values = (values + 1j * rng.standard_normal(leaf.shape)) / np.sqrt(2)
        return on_device(np.asarray(values).astype(leaf.dtype))

    return jax.tree.map(draw, tree)


def _floats(tree: Any) -> list[jax.Array]:
    """The floating leaves of a point: what can be differentiated."""
    return [leaf for leaf in jax.tree.leaves(tree) if is_floating(leaf)]


def _with_floats(tree: Any, floats: list[jax.Array]) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    given = iter(floats)
    return structure.unflatten([next(given) if is_floating(leaf) else leaf for leaf in leaves])


def _on_cotangents(action: Action, point: Any) -> Callable[[Element, list], list]:
    """How an action moves cotangents at a point: as vectors where it keeps lengths, those of one array as that array."""
    if not action.is_orthogonal:
        adjoint = _Cotangents(action, point)
        return lambda g, v: moved(adjoint, g, v)
    if isinstance(point, jax.Array):
        return lambda g, v: [moved(action, g, v[0])]
    differential = _Differential(action, point)
    return lambda g, v: moved(differential, g, v)


@dataclasses.dataclass(frozen=True, eq=False)
class _Cotangents(Action):
    """Moves the floating leaves of a cotangent by the adjoint of the derivative of the inverse at the moved ``point``."""

    action: Action
    point: Any

    @property
    def group(self) -> Group:
        return self.action.group

    def __call__(self, g: Element, x: Any) -> Any:
        there, back = self.action(g, self.point), self.group.inverse(g)
        undo = lambda floats: _floats(self.action(back, _with_floats(there, floats)))  # noqa: E731
        return jax.vjp(undo, _floats(there))[1](x)[0]

    def axes(self, ndim: int) -> tuple:
        return self.action.axes(ndim)


@dataclasses.dataclass(frozen=True, eq=False)
class _Differential(Action):
    """Moves the floating leaves of a tangent vector by the derivative of an action at ``point``."""

    action: Action
    point: Any

    @property
    def group(self) -> Group:
        return self.action.group

    def __call__(self, g: Element, x: Any) -> Any:
        move = lambda floats: _floats(self.action(g, _with_floats(self.point, floats)))  # noqa: E731
        return jax.jvp(move, (_floats(self.point),), (x,))[1]

    def axes(self, ndim: int) -> tuple:
        return self.action.axes(ndim)


def _report(errors: np.ndarray, elements: Element, tolerance: float, law: str) -> None:
    worst = int(np.argmax(errors)) if not np.isnan(errors).any() else int(np.argmax(np.isnan(errors)))
    if not errors[worst] <= tolerance:
        bad = int((~(errors <= tolerance)).sum())
        raise AssertionError(
            f"{law} fails for {bad} of {len(errors)} elements; the worst error is {errors[worst]:.3e} (tolerance "
            f"{tolerance:.1e}) at g = {_pick(elements, worst)}."
        )


def _pick(tree: Any, i: int) -> Any:
    """Entry i along the leading axes; by numpy, which compiles nothing."""
    return jax.tree.map(lambda leaf: on_device(np.asarray(leaf)[i]) if isinstance(leaf, jax.Array) else leaf[i], tree)


def _distance(a: Any, b: Any) -> float:
    pairs = list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    gap = sum(float(np.sum(np.abs(wide(x) - wide(y)) ** 2)) for x, y in pairs)
    size = sum(float(np.sum(np.abs(wide(y)) ** 2)) for _, y in pairs)
    return float(np.sqrt(gap / size)) if size else float(np.sqrt(gap))


def _tolerance(x: Any, factor: float) -> float:
    kinds = [leaf.dtype for leaf in map(jnp.asarray, jax.tree.leaves(x)) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return factor * max((float(jnp.finfo(kind).eps) for kind in kinds), default=0.0)


def _equivariance_tolerance(x: Any) -> float:
    eps = _tolerance(x, 1.0)
    return 1e-12 if eps <= 1e-15 else 1e-5 if eps <= 2e-7 else 16 * eps


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
