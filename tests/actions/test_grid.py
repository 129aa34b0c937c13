"""Fields on grids, against a slow loop over exact positions."""

import fractions
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.actions import Axis
from equijax.reps import Quotient, Regular, Scalar
from tests.catalogue import WALLPAPER, parametrize, permutation_matrix

P4, P4M, P6, P6M = (WALLPAPER[name] for name in ("p4", "p4m", "p6", "p6m"))
C4, D4 = ej.Cyclic(4), ej.Dihedral(4)
CUBE = ej.SpaceGroup(ej.Octahedral(True))
LINE = ej.SpaceGroup(ej.Reflection(1))

#: name → (action, sizes of the array)
CONFIGURATIONS = {
    "line, odd": (ej.GridAction(LINE), (5,)),
    "line, even": (ej.GridAction(LINE), (4,)),
    "line of DNA": (
        ej.GridAction(LINE, ej.reps.PermutationRepresentation(ej.Reflection(1), [[0, 1, 2, 3], [3, 2, 1, 0]])),
        (6,),
    ),
    "translations of a rectangle": (ej.GridAction(ej.Translation(2)), (3, 4)),
    "p1 regular": (ej.GridAction(WALLPAPER["p1"], Regular(ej.Trivial(2))), (3, 4)),
    "p4, odd": (ej.GridAction(P4), (5, 5)),
    "p4, even": (ej.GridAction(P4), (4, 4)),
    "p4m regular, odd": (ej.GridAction(P4M, Regular(D4)), (3, 3)),
    "p4m quotient, even": (ej.GridAction(P4M, Quotient(D4.subgroup([4]))), (4, 4)),
    "pmm on a rectangle": (ej.GridAction(WALLPAPER["pmm"]), (3, 4)),
    "cm": (ej.GridAction(WALLPAPER["cm"], Regular(WALLPAPER["cm"].point_group)), (4, 4)),
    "p3m1, odd": (ej.GridAction(WALLPAPER["p3m1"]), (5, 5)),
    "p6, even": (ej.GridAction(P6, Regular(P6.point_group)), (4, 4)),
    "p6m, odd": (ej.GridAction(P6M), (5, 5)),
    "cubic": (ej.GridAction(CUBE), (3, 3, 3)),
    "p4 on a torus": (ej.GridAction(ej.wallpaper("p4", 4)), (4, 4)),
    "spacing": (ej.GridAction(P4, spacing=2), (3, 3)),
    "spacing and origin": (ej.GridAction(P4, Regular(C4), spacing=2, origin=1), (4, 4)),
    "half a pixel": (ej.GridAction(P4M, origin=0.5), (4, 4)),
    "half a pixel, spacing": (ej.GridAction(P4M, spacing=2, origin=0.5), (3, 3)),
    "unequal spacing": (ej.GridAction(WALLPAPER["pmm"], spacing=(2, 1), origin=(0, 0.5)), (2, 3)),
    "hexagonal, spacing": (ej.GridAction(P6M, spacing=2), (3, 3)),
    "hexagonal, spacing, even": (ej.GridAction(P6, spacing=2, origin=1), (4, 4)),
    "zero, p4m, odd": (ej.GridAction(P4M, Regular(D4), "zero"), (3, 3)),
    "zero, p4m, even": (ej.GridAction(P4M, boundary="zero"), (4, 4)),
    "zero, p4m, rectangle": (ej.GridAction(P4M, boundary="zero"), (3, 4)),
    "zero, spacing and origin": (ej.GridAction(P4, boundary="zero", spacing=2, origin=1.5), (3, 3)),
    "zero, p6m": (ej.GridAction(P6M, boundary="zero"), (3, 3)),
    "zero, line": (ej.GridAction(LINE, boundary="zero"), (4,)),
}
every_configuration = pytest.mark.parametrize(("action", "sizes"), list(CONFIGURATIONS.values()), ids=list(CONFIGURATIONS))


def slow(action, sizes, t, h, x):
    """Moves every sample to its new position, in exact fractions; None where the element does not act.

    ``x`` has shape (*sizes, fibre, features), the fibre axis also for scalars.
    """
    group, d = action.group, len(sizes)
    matrix = group.point_group.integer_matrices[h] if isinstance(group, ej.SpaceGroup) else np.eye(d, dtype=int)
    half = fractions.Fraction(1, 2)
    start = [fractions.Fraction(p) for p in action.origin]
    period = [s * n for s, n in zip(action.spacing, sizes, strict=True)]
    lengths = list(zip(period, action.spacing, sizes, strict=True))
    if any(matrix[i, j] and lengths[i] != lengths[j] for i in range(d) for j in range(d)):
        return None
    if action.boundary == "zero":
        centre = [p + s * (n - 1) * half for p, s, n in zip(start, action.spacing, sizes, strict=True)]
    elif isinstance(group, ej.SpaceGroup) and group.point_group.basis is not None:
        centre = [fractions.Fraction(n // 2) for n in period]
    else:
        centre = [(n - 1) * half for n in period]
    result = np.zeros_like(x)
    for y in itertools.product(*map(range, sizes)):
        p = [a + s * k for a, s, k in zip(start, action.spacing, y, strict=True)]
        q = [sum(int(matrix[i, j]) * (p[j] - centre[j]) for j in range(d)) + centre[i] + int(t[i]) for i in range(d)]
        place = []
        for i in range(d):
            offset = q[i] - start[i]
            if action.boundary == "wrap":
                offset %= period[i]
            if offset % action.spacing[i]:
                return None
            place.append(int(offset // action.spacing[i]))
        if all(0 <= k < n for k, n in zip(place, sizes, strict=True)):
            result[tuple(place)] = np.einsum("ij,jc->ic", permutation_matrix(action.fibre.table[h]), x[y])
    return result


def _elements(action, count=12):
    rng = np.random.default_rng(0)
    points = range(action.point_group.order) if isinstance(action.group, ej.SpaceGroup) else [0]
    shifts = [np.zeros(action.ndim, np.int32), *rng.integers(-6, 7, (2, action.ndim)).astype(np.int32)]
    every = [(t, h) for t in shifts for h in points]
    return [every[i] for i in sorted(rng.permutation(len(every))[:count])]


def _element(action, t, h):
    return (t, np.asarray(h, np.int32)) if isinstance(action.group, ej.SpaceGroup) else t


@every_configuration
def test_agrees_with_the_slow_loop_or_poisons(action, sizes):
    x = np.arange(np.prod(sizes) * action.fibre.dim * 2, dtype=np.float64).reshape(*sizes, action.fibre.dim, 2)
    given = x.reshape(*sizes, *action.fibre.shape, 2)
    chosen = _elements(action)
    stacked = _element(action, *(np.stack(part) for part in zip(*chosen, strict=True)))
    many = np.asarray(jax.jit(jax.vmap(action, (0, None)))(stacked, given))
    assert many.shape == (len(chosen), *given.shape) and many.dtype == given.dtype
    acted = 0
    for (t, h), moved in zip(chosen, many, strict=True):
        g, expected = _element(action, t, h), slow(action, sizes, t, h, x)
        if expected is None:
            assert not action.acts(g, given.shape) and np.isnan(moved).all()
            continue
        acted += 1
        assert np.array_equal(moved, expected.reshape(given.shape))
        lost = action.boundary == "zero" and not np.array_equal(np.sort(expected, None), np.sort(x, None))
        assert action.acts(g, given.shape) == (not lost)
        if not lost:
            assert np.array_equal(given.reshape(-1, 2)[action.sources(g, given.shape)], moved.reshape(-1, 2))
    assert acted


@pytest.mark.parametrize("name", ["p4m regular, odd", "spacing and origin", "zero, p4m, rectangle"])
def test_the_eager_call_agrees_with_the_slow_loop_or_refuses(name):
    action, sizes = CONFIGURATIONS[name]
    x = np.arange(np.prod(sizes) * action.fibre.dim, dtype=np.float64).reshape(*sizes, action.fibre.dim, 1)
    given = x.reshape(*sizes, *action.fibre.shape, 1)
    for t, h in _elements(action):
        g, expected = _element(action, t, h), slow(action, sizes, t, h, x)
        if expected is None:
            with pytest.raises(ValueError, match="does not map an array of shape"):
                action(g, given)
        else:
            assert np.array_equal(action(g, given), expected.reshape(given.shape))


@pytest.mark.parametrize("name", ["p4, even", "p4m regular, odd", "p6m, odd", "spacing and origin", "cubic", "cm"])
def test_the_law_of_actions_on_permutations(name):
    """Every pair of elements of a small torus, or many pairs of a large one: as permutations, in numpy."""
    action, sizes = CONFIGURATIONS[name]
    finite = action.on(sizes)
    group = finite.group
    rng = np.random.default_rng(0)
    every = list(zip(*(np.asarray(part) for part in group.elements()), strict=True))
    acting = [g for g in (every[i] for i in rng.permutation(len(every))[:120]) if finite.acts(g)][:40]
    images = np.stack([finite.permutation(g) for g in acting])
    one, two = rng.integers(0, len(acting), (2, 60))
    batch = [tuple(np.stack(part) for part in zip(*(acting[i] for i in pick), strict=True)) for pick in (one, two)]
    products = zip(*(np.asarray(part) for part in group.compose(*batch)), strict=True)
    for a, b, g in zip(one, two, products, strict=True):
        assert np.array_equal(finite.permutation(g), images[a][images[b]])


CHECKED = ("translations of a rectangle", "p4m regular, odd", "spacing and origin", "hexagonal, spacing")
CHECKED += ("zero, p4m, rectangle",)


@pytest.mark.parametrize("name", CHECKED)
def test_public_check_accepts(name):
    action, sizes = CONFIGURATIONS[name]
    x = np.random.default_rng(0).normal(size=(*sizes, *action.fibre.shape, 2))
    ej.testing.check_action(action, jnp.asarray(x), samples=3)


@pytest.mark.parametrize("n", [4, 5])
@pytest.mark.parametrize("boundary", ["wrap", "zero"])
def test_quarter_turns_are_those_of_numpy(n, boundary):
    image = np.arange(n * n * 2.0).reshape(n, n, 2)
    action = ej.GridAction(P4M, boundary=boundary)
    for k in range(4):
        turned = np.rot90(image, k)
        assert np.array_equal(action(([0, 0], k), image), turned)
        assert np.array_equal(action(([0, 0], 4 + k), image), np.rot90(image[:, ::-1], k))


def test_fibres_are_rolled():
    field = np.arange(3 * 3 * 8 * 1.0).reshape(3, 3, 8, 1)
    moved = ej.GridAction(P4M, Regular(D4))(([0, 0], 1), field)
    assert np.array_equal(moved, np.rot90(np.roll(field.reshape(3, 3, 2, 4, 1), 1, axis=3).reshape(field.shape)))
    assert np.array_equal(
        ej.GridAction(P4, Regular(C4))(([0, 0], 1), field[..., :4, :]), np.rot90(np.roll(field[..., :4, :], 1, 2))
    )


def test_translations_roll_a_torus_and_shift_in_zeros():
    image = np.arange(12.0).reshape(3, 4, 1)
    assert np.array_equal(ej.GridAction(ej.Translation(2))([1, -6], image), np.roll(image, (1, -6), (0, 1)))
    shifted = np.zeros_like(image)
    shifted[1:, :-2] = image[:-1, 2:]
    zero = ej.GridAction(ej.Translation(2), boundary="zero")
    assert np.array_equal(zero([1, -2], image), shifted)
    assert np.array_equal(zero([5, 0], image), np.zeros_like(image))
    assert not zero.acts([1, -2], image.shape) and zero.acts([0, 0], image.shape)


@pytest.mark.parametrize(
    ("name", "sizes", "kept"),
    [("p4m", (7, 8), 4), ("p4m", (7, 7), 8), ("p6m", (6, 6), 4), ("p6m", (5, 5), 4), ("p4", (2, 3), 2), ("pmm", (2, 3), 4)],
)
def test_elements_kept_by_an_array_with_a_border(name, sizes, kept):
    action = ej.GridAction(WALLPAPER[name], boundary="zero")
    elements = range(action.point_group.order)
    assert sum(action.acts((np.zeros(2, np.int32), h), (*sizes, 1)) for h in elements) == kept


def test_on_a_rectangle_only_the_diagonal_matrices_of_d4_act():
    action = ej.GridAction(P4M)
    kept = [h for h in range(8) if action.acts((np.zeros(2, np.int32), h), (7, 8, 1))]
    assert kept == [h for h in range(8) if np.count_nonzero(np.diag(D4.matrices[h])) == 2]


@pytest.mark.parametrize(
    ("dtype", "poison"),
    [
        (jnp.float32, np.nan),
        (jnp.bfloat16, np.nan),
        (jnp.complex128, np.nan),
        (jnp.int32, -(2**31)),
        (jnp.uint8, 255),
        (jnp.bool_, False),
    ],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
def test_every_dtype_is_kept_and_under_jit_an_element_that_does_not_act_poisons_it(dtype, poison):
    action = ej.GridAction(P4)
    x = (jnp.arange(12) % 5).astype(dtype).reshape(3, 4, 1)
    jitted = jax.jit(action.__call__)
    half, quarter = ((np.zeros(2, np.int32), np.int32(h)) for h in (2, 1))
    moved = jitted(half, x)
    assert moved.dtype == dtype and np.array_equal(moved, x[::-1, ::-1])
    bad = jitted(quarter, x)
    assert bad.dtype == dtype and bad.shape == x.shape
    if np.isnan(poison):
        assert bool(jnp.isnan(bad).all())
    else:
        assert bool((bad == jnp.asarray(poison, dtype)).all())
    with pytest.raises(ValueError, match="equal along the axes that the element mixes"):
        action(quarter, x)


def test_under_jit_a_shift_off_the_spacing_is_nan():
    action = ej.GridAction(ej.Translation(1), spacing=2)
    jitted = jax.jit(action.__call__)
    x = jnp.arange(3.0)[:, None]
    assert bool(jnp.isnan(jitted(jnp.array([1]), x)).all())
    assert np.array_equal(jitted(jnp.array([2]), x), np.roll(x, 1, 0))


def test_vmap_over_elements():
    action = ej.GridAction(P6M, Regular(P6M.point_group))
    x = np.random.default_rng(0).normal(size=(4, 4, 12, 1))
    g = (np.arange(-4, 4, dtype=np.int32).reshape(4, 2), np.array([0, 3, 7, 11], np.int32))
    many = jax.vmap(action, (0, None))(g, x)
    for i in range(4):
        assert np.array_equal(many[i], action((g[0][i], g[1][i]), x))


def test_the_gradient_moves_cotangents_back():
    action = ej.GridAction(P4M, Regular(D4))
    rng = np.random.default_rng(0)
    x, v = rng.normal(size=(2, 3, 3, 8, 1))
    g = (np.array([1, 2], np.int32), np.int32(5))
    _, pull = jax.vjp(lambda x: action(g, x), x)
    assert np.array_equal(pull(v)[0], action(P4M.inverse(g), v))
    _, tangent = jax.jvp(lambda x: action(g, x), (x,), (v,))
    assert np.array_equal(tangent, action(g, v))


def test_a_poisoned_element_has_a_finite_gradient_for_the_others():
    """The unused branch of ``where`` must not leak NaN into gradients of elements that act."""
    action = ej.GridAction(P4, boundary="zero")
    x = jnp.arange(9.0).reshape(3, 3, 1)
    grads = jax.jit(jax.vmap(jax.grad(lambda x, h: action((jnp.zeros(2, jnp.int32), h), x).sum()), (None, 0)))(
        x, jnp.arange(4)
    )
    assert np.array_equal(grads, np.ones((4, 3, 3, 1)))


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_any_number_of_batch_axes(batch):
    action = ej.GridAction(P4, Regular(C4))
    x = np.random.default_rng(0).normal(size=(*batch, 3, 3, 4, 2))
    moved = np.asarray(action(([0, 1], 3), x))
    flat = x.reshape(-1, 3, 3, 4, 2)
    each = [action(([0, 1], 3), one) for one in flat]
    assert np.array_equal(moved.reshape(flat.shape), np.stack(each))


def test_axes():
    batch, fibre, feature = Axis("batch"), Axis("fibre"), Axis("feature")
    base = tuple(Axis("base", k) for k in range(2))
    assert ej.GridAction(P4).axes(5) == (batch, batch, *base, feature)
    assert ej.GridAction(P4, Regular(C4)).axes(4) == (*base, fibre, feature)
    assert ej.GridAction(P4, Regular(C4)).axes(5) == (batch, *base, fibre, feature)
    assert ej.GridAction(LINE).axes(2) == (Axis("base", 0), feature)


def test_coarsen_is_subsampling_of_the_array():
    """Where an element acts on both grids, moving and subsampling commute."""
    fine = ej.GridAction(P4M, Regular(D4))
    x = np.random.default_rng(0).normal(size=(8, 8, 8, 1))
    coarse = ej.GridAction(P4M, Regular(D4)).coarsen(2)
    assert coarse.spacing == (2, 2) and coarse.origin == (0.0, 0.0) and coarse.fibre == fine.fibre
    agreed = 0
    for t in itertools.product((0, 1), (0, -1)):
        for h in range(8):
            g = (np.array(t, np.int32), np.int32(h))
            if coarse.acts(g, (4, 4, 8, 1)):
                agreed += 1
                assert np.array_equal(coarse(g, x[::2, ::2]), np.asarray(fine(g, x))[::2, ::2])
    assert agreed == 8, "one shift for each point element: the torus turns about the middle of a coarse cell"


def test_resampled_moves_the_origin_in_samples():
    action = ej.GridAction(P4, spacing=2, origin=1).resampled((3, 3), (0.5, 1.0))
    assert action.spacing == (6, 6) and action.origin == (2.0, 3.0)
    assert ej.GridAction(ej.Translation(2)).coarsen((2, 3)).spacing == (2, 3)
    twice = ej.GridAction(P4).coarsen(2).coarsen(3)
    assert twice == ej.GridAction(P4).coarsen(6)


def test_restrict_keeps_the_translations():
    action = ej.GridAction(P4M, Regular(D4), "zero", 2, 0.5)
    small = action.restrict(D4.subgroup([1]))
    assert small.group == P4 and small.fibre.dim == 8
    assert (small.boundary, small.spacing, small.origin) == ("zero", (2, 2), (0.5, 0.5))
    x = np.random.default_rng(0).normal(size=(3, 3, 8, 1))
    for h in range(4):
        assert np.array_equal(small(([0, 0], h), x), action(([0, 0], h), x))


def test_values():
    assert ej.GridAction(P4) == ej.GridAction(ej.SpaceGroup(C4), Scalar(C4), "wrap", (1, 1), (0, 0))
    assert hash(ej.GridAction(P4, spacing=2)) == hash(ej.GridAction(P4, spacing=(2, 2)))
    variants = [
        {"fibre": Regular(C4)},
        {"boundary": "zero"},
        {"spacing": 2},
        {"origin": 0.5},
        {"group": ej.wallpaper("p4", 4)},
    ]
    assert len({ej.GridAction(P4), *(ej.GridAction(**{"group": P4, **v}) for v in variants)}) == 6
    with pytest.raises(AttributeError):
        ej.GridAction(P4).spacing = (2, 2)


def test_static_argument_of_jit_without_retracing():
    traces = []

    def move(action, x):
        traces.append(action)
        return action(P4.identity, x)

    jitted = jax.jit(move, static_argnums=0)
    x = jnp.ones((3, 3, 1))
    for _ in range(2):
        assert np.array_equal(jitted(ej.GridAction(ej.SpaceGroup(ej.Cyclic(4))), x), x)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("name", "sizes", "doubled"),
    [
        ("p4", (4, 4), (3, 3)),
        ("p4", (5, 5), (4, 4)),
        ("p6", (4, 4), (4, 4)),
        ("p6", (5, 5), (4, 4)),
        ("pmm", (2, 3), (1, 2)),
    ],
)
def test_the_centre_of_a_torus(name, sizes, doubled):
    assert ej.GridAction(WALLPAPER[name]).doubled_centre(sizes) == doubled


@pytest.mark.parametrize("group", **parametrize({k: WALLPAPER[k] for k in ("p1", "pm", "cmm", "p3", "p31m", "p6m")}))
@pytest.mark.parametrize("n", [4, 5])
def test_every_element_of_a_wallpaper_group_permutes_its_torus(group, n):
    finite = ej.GridAction(group, Regular(group.point_group)).on((n, n))
    for h in range(group.point_group.order):
        for t in ([0, 0], [1, 0], [2, 3]):
            images = finite.permutation((np.array(t, np.int32), np.int32(h)))
            assert np.array_equal(np.sort(images), np.arange(finite.size))


@pytest.mark.parametrize("group", [ej.Translation(2), ej.wallpaper("p4")], ids=repr)
def test_elements_written_as_lists_under_jit(group):
    """A list whose entries are traced is one element like any other."""
    act, x = ej.GridAction(group), jnp.arange(9.0).reshape(3, 3, 1)
    g = [1, 2] if isinstance(group, ej.Translation) else ([1, 2], 1)
    assert (jax.jit(act)(g, x) == act(g, x)).all()
    wide = jnp.ones((3, 4, 1))
    if isinstance(group, ej.SpaceGroup):
        assert jnp.isnan(jax.jit(act)(([0, 0], 1), wide)).all()
        with pytest.raises(ValueError, match="does not map"):
            jax.jit(lambda x: act(([0, 0], 1), x))(wide)
