"""Compiled gradients of maxima, against numpy: XLA may compute the members a second time, and round otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax._extrema import largest, segment_largest, segment_largest_weighed
from tests.helpers import AS_USERS_COMPILE, randn

#: As users compile, with the optimisations that conftest.py leaves out.
OPTIMISED = {**AS_USERS_COMPILE, "xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
P4, P4M, P6 = (ej.wallpaper(name) for name in ("p4", "p4m", "p6"))
GRID, SETS = ("batch", "fibrewise", "layer", "group"), ("batch", "layer")


def over_fibre(group):
    fibre = group.point_group.order
    return (fibre,), ej.nn.FibrePool(group=group), lambda places: np.moveaxis(places, -2, -1), GRID


def over_cosets():
    subgroup = P4M.point_group.subgroup([2, 4])
    return (
        (8,),
        ej.nn.CosetPool(subgroup, group=P4M),
        lambda p: np.moveaxis(p[..., np.asarray(subgroup.cosets), :], -2, -1),
        GRID,
    )


def over_grid():
    merged = lambda p: np.moveaxis(p, (1, 2), (-2, -1)).reshape(p.shape[0], *p.shape[3:], -1)  # noqa: E731
    return (4,), ej.nn.GlobalPool("max", group=P4), merged, GRID


def over_windows():
    def members(p):
        n, h, w, *rest = p.shape
        split = p[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, *rest)
        return np.moveaxis(split, (2, 4), (-2, -1)).reshape(n, h // 2, w // 2, *rest, 4)

    return (4,), ej.nn.MaxPool(2, 2, group=P4, allow_inexact=True), members, GRID


def over_sets(word):
    there = lambda shape: np.arange(shape[1]) % 5 != 3  # noqa: E731
    layer = lambda x: ej.nn.as_aggregation(word).over_axis(x, jnp.asarray(np.broadcast_to(there(x.shape), x.shape[:2])))  # noqa: E731
    return None, layer, lambda p: np.moveaxis(p[:, there(p.shape)], -2, -1), SETS


def rows_of(ids, segments, places):
    """Places of the rows of each segment, filled up with -1."""
    rows = [places[ids == s] for s in range(segments)]
    longest = max(map(len, rows))
    return np.stack([np.pad(r.T, ((0, 0), (0, longest - len(r))), constant_values=-1) for r in rows])


def over_segments(word):
    ids = lambda rows: np.random.default_rng(rows).integers(0, 9, rows) // 2 * 2  # noqa: E731  (some are empty)
    layer = lambda x: ej.nn.as_aggregation(word).over_segments(x, jnp.asarray(ids(len(x))), 10)  # noqa: E731
    return (), layer, lambda p: rows_of(ids(len(p)), 10, p), SETS


def over_neighbours(word):
    def ends(nodes):
        return np.random.default_rng(nodes).integers(0, nodes, (2, 3 * nodes))

    def layer(x):
        graph = ej.Graph(x, *ends(len(x)))
        return ej.graphs.message_reduce(lambda sender, receiver, edge: sender, graph, x, reductions=word)

    def members(places):
        senders, receivers = ends(len(places))
        return rows_of(receivers, len(places), places[senders])

    return (), layer, members, SETS


KINDS = [
    over_fibre(P4), over_segments("max"), over_grid(), over_neighbours("max"), over_fibre(P4M), over_sets("max"), over_windows(),
    over_segments("min"), over_cosets(), over_sets("min"), over_fibre(P6), over_neighbours("min"),
]  # fmt: skip
SMALLEST = {7, 9, 11}


class Case:
    """A norm with scale and shift, a maximum, relu, and an inner product; shape, norm, kind and precision rotate."""

    def __init__(self, number):
        self.kind = number % len(KINDS)
        fibre, self.layer, self.members, norms = KINDS[self.kind]
        turn = number // len(KINDS)
        self.norm, features = norms[(turn + self.kind) % len(norms)], 3 + (turn + number) % 6
        self.dtype = np.float64 if turn % 4 == 3 else np.float32
        side, batch = (5, 8, 6, 7)[turn % 4], 2 + (3 * turn + number) % 15
        if fibre == ():
            self.shape = (30 + 7 * (number % 19) + turn, features)
        elif fibre is None:
            self.shape = (batch, 6 + (5 * turn + number) % 29, features)
        else:
            self.shape = (batch, side, side, *fibre, features)
        random = np.random.default_rng(number)
        self.given = tuple(
            random.normal(size=size).astype(self.dtype) for size in (self.shape, features, features, self.places.shape[:-1])
        )

    @property
    def places(self):
        return self.members(np.arange(np.prod(self.shape)).reshape(self.shape))

    @property
    def axes(self):
        rank = len(self.shape)
        axes = {"batch": range(rank - 1), "fibrewise": range(rank - 2), "layer": [rank - 1], "group": range(1, rank)}
        return axes[self.norm]

    def loss(self, x, scale, shift, c):
        axes = tuple(self.axes)
        centred = x - x.mean(axes, keepdims=True)
        normed = centred * jax.lax.rsqrt(jnp.square(centred).mean(axes, keepdims=True) + np.array(1e-5, x.dtype))
        rows = (1,) * (x.ndim - 1) + (-1,)
        y = self.layer(normed * (1 + 0.1 * scale).reshape(rows) + 0.1 * shift.reshape(rows))
        return jnp.vdot(c, jax.nn.relu(-y if self.kind in SMALLEST else y))

    def reference(self, x, scale, shift, c):
        """The loss and its gradient in numpy, float64: the winner of each maximum gets it all."""
        x, scale, shift, c = (np.asarray(a, np.float64) for a in (x, scale, shift, c))
        axes, sign = tuple(self.axes), -1 if self.kind in SMALLEST else 1
        centred = x - x.mean(axes, keepdims=True)
        root = 1 / np.sqrt(np.square(centred).mean(axes, keepdims=True) + 1e-5)
        y = centred * root * (1 + 0.1 * scale) + 0.1 * shift
        places = self.places
        values = np.where(places < 0, -np.inf, sign * y.reshape(-1)[places])
        winner = np.take_along_axis(places, values.argmax(-1)[..., None], -1)[..., 0]
        extreme = np.where(winner < 0, 0, values.max(-1))
        there, dy = (winner >= 0) & (extreme > 0), np.zeros(y.size)
        np.add.at(dy, winner[there], sign * c[there])
        dy = dy.reshape(y.shape)
        outer = tuple(range(y.ndim - 1))
        dn, n = dy * (1 + 0.1 * scale), centred * root
        dx = root * (dn - dn.mean(axes, keepdims=True) - n * (dn * n).mean(axes, keepdims=True))
        return np.vdot(c, np.maximum(extreme, 0)), (dx, 0.1 * (dy * n).sum(outer), 0.1 * dy.sum(outer))


def wrong_gradients(numbers, compiler_options=None):
    """The cases whose gradients, compiled as one program, differ from numpy's by more than rounding: {case: errors}."""
    cases = [Case(number) for number in numbers]
    given = [case.given for case in cases]

    def loss(given):
        return sum(case.loss(*arrays).astype(jnp.float64) for case, arrays in zip(cases, given, strict=True))

    found = jax.jit(jax.grad(loss), compiler_options=compiler_options)(given)
    wrong = {}
    for number, case, gradient in zip(numbers, cases, jax.device_get(found), strict=True):
        _, expected = case.reference(*case.given)
        errors = [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(gradient, expected, strict=False)]
        if not max(errors) < (1e-10 if case.dtype == np.float64 else 2e-4):
            wrong[number, case.kind, case.norm] = errors
    return wrong


@pytest.mark.parametrize("first", [0, 8, 16, *(pytest.param(k, marks=pytest.mark.slow) for k in range(24, 216, 8))])
def test_compiled_gradients_are_those_of_numpy(first):
    """Eight cases to a program, each of another shape; what is lost is 3 to 200 per cent of a gradient, or it is NaN.

    Without optimisations JAX's own rule loses twice as many of them, and programs compile in an eighth of the time. Every kind is
    compiled with optimisations too, in three programs of nine; ``tests/benchmarks/maxima_lost.py`` counts all cases that way.
    """
    assert wrong_gradients(range(first, first + 8), OPTIMISED if first // 24 % 3 == 0 else None) == {}


def test_the_reference_is_the_derivative():
    """Central differences of the loss in numpy, along one direction for each case."""
    for number in range(24):
        case = Case(number)
        x, *rest = case.given
        direction, h = np.random.default_rng(99).normal(size=x.shape), 1e-6
        up, down = (case.reference(x.astype(np.float64) + t * direction, *rest)[0] for t in (h, -h))
        slope = np.vdot(case.reference(x, *rest)[1][0], direction)
        np.testing.assert_allclose((up - down) / (2 * h), slope, rtol=1e-5, atol=1e-7)


# ties, derivatives of any order, and what is not a number


def test_equal_members_share_the_gradient_and_its_law_holds():
    """Behind ReLU many values are 0; what several elements of the group make equal, must share equally."""
    x = jnp.maximum(randn((5, 5, 6, 2)).round(0), 0)
    pools = {
        "fibre": lambda x: ej.nn.FibrePool(group=P6)(x),
        "grid": lambda x: ej.nn.GlobalPool("max", group=P6)(x),
        "hexagons": lambda x: ej.nn.MaxPool(3, padding="CIRCULAR", group=P6)(x),
        "set": lambda x: ej.nn.Max().over_axis(x.reshape(25, 12)),
        "segments": lambda x: ej.nn.Max().over_segments(x.reshape(25, 12), jnp.arange(25) % 4, 4),
    }
    found = jax.jit(jax.grad(lambda x: sum(pool(x).sum() for pool in pools.values())))(x)

    def share(values):
        return (values == values.max(0)) / (values == values.max(0)).sum(0)

    x = np.asarray(x)
    flat, offsets = x.reshape(25, 12), [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) not in ((1, 1), (-1, -1))]
    windows = share(np.stack([np.roll(x, (-i, -j), (0, 1)) for i, j in offsets]))
    expected = np.moveaxis(share(np.moveaxis(x, 2, 0)), 0, 2) + share(x.reshape(25, 6, 2)).reshape(x.shape)
    expected += sum(np.roll(w, (i, j), (0, 1)) for w, (i, j) in zip(windows, offsets, strict=True))
    expected += share(flat).reshape(x.shape)
    segments = np.zeros_like(flat)
    for s in range(4):
        segments[s::4] = share(flat[s::4])
    np.testing.assert_allclose(found, expected + segments.reshape(x.shape), rtol=1e-12)


def test_derivatives_of_every_order_through_scan_checkpoint_and_vmap():
    """They equal those of ``jnp.max`` where nothing is lost: it is given numbers, and no program to compute again."""
    ids, x = jnp.asarray([2, 0, 2, 1, 0, 2]), randn((3, 6, 2))
    ours = lambda row: largest(row, 0) @ segment_largest(row, ids, 3).sum(0)  # noqa: E731
    plain = lambda row: row.max(0) @ jnp.stack([row[jnp.asarray(k)].max(0) for k in ([1, 4], [3], [0, 2, 5])]).sum(0)  # noqa: E731

    def inner(fn):
        def loss(x):
            return jax.lax.scan(jax.checkpoint(lambda total, row: (total + fn(row) ** 2, None)), jnp.float64(0), x)[0]

        second = jax.grad(lambda x: jnp.vdot(jax.grad(loss)(x), jnp.cos(x)))
        return jax.jit(lambda x: (second(x), jax.jvp(loss, (x,), (x + 1,))[1], jax.vmap(jax.hessian(fn))(x)))(x)

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), inner(ours), inner(plain))


def test_infinities_nan_integers_and_open_sizes():
    x = jnp.asarray([[-jnp.inf, 1.0, jnp.nan], [-jnp.inf, jnp.inf, 2.0]])
    for fn in (lambda x: largest(x, 0), lambda x: segment_largest(x, jnp.zeros(2, int), 2)[0]):
        y, pull = jax.vjp(fn, x)
        np.testing.assert_array_equal(y, [-np.inf, np.inf, np.nan])
        np.testing.assert_array_equal(pull(jnp.ones(3))[0], [[0.5, 0, 1], [0.5, 1, 0]])
    there = jnp.asarray([[True, False], [False, False]])
    aggregate = lambda x: ej.nn.Max().over_axis(x, there)  # noqa: E731
    y, pull = jax.vjp(aggregate, jnp.full((2, 2, 1), -3.0))
    assert y[:, 0].tolist() == [-3, 0] and pull(jnp.ones((2, 1)))[0][..., 0].tolist() == [[1, 0], [0, 0]]
    assert [a.shape for a in segment_largest_weighed(x, jnp.zeros(2, int), 0)] == [(0, 3), (0, 3)]
    whole = jnp.asarray([3, -5, 3], jnp.int32)
    assert int(largest(whole, 0)) == 3 and segment_largest(whole, jnp.asarray([0, 1, 0]), 2).tolist() == [3, -5]
    (n,) = jax.export.symbolic_shape("n")
    exported = jax.export.export(jax.jit(jax.grad(lambda x: largest(x, 0).sum())))(jax.ShapeDtypeStruct((n, 2), jnp.float64))
    assert exported.call(jnp.asarray([[1.0, 2], [3, 2], [0, 1]])).tolist() == [[0, 0.5], [1, 0.5], [0, 0]]
