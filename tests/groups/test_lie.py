"""Lie groups: algebras close, exp and log, Haar measure, products, a user's own group, bad input."""

import dataclasses
import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.groups import SL, SU, LieGroup, Lorentz, Power, Sp, U
from tests.helpers import check_message

TURN = np.array([[0.0, -1.0], [1.0, 0.0]])
COMPACT = [ej.SO(3), ej.O(4), U(2), SU(2)]
OPEN = [Sp(2), SL(3), Lorentz(), Lorentz(proper=True), ej.E(2), ej.SE(3)]
DIMENSIONS = {
    ej.SO(4): 6, U(3): 9, SU(3): 8, Sp(2): 10, SL(3): 8, Lorentz(): 6, ej.E(3): 6, ej.SE(2): 3, SU(1): 0, SL(1): 0, ej.SO(1): 0,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Heisenberg(LieGroup):
    algebra = tuple(np.eye(1, 9, k).reshape(3, 3) for k in (1, 5, 2))


def test_dimensions_components_and_values():
    for group, dimension in DIMENSIONS.items():
        assert len(group.algebra) == dimension, group
        assert group.structure_constants.shape == (dimension,) * 3
        assert hash(group) == hash(pickle.loads(pickle.dumps(group))) and not any(x.flags.writeable for x in group.algebra)
    assert [len(g.components) for g in (*COMPACT, *OPEN)] == [1, 2, 1, 1, 1, 1, 4, 1, 2, 1]
    assert [g.is_compact for g in (*COMPACT, *OPEN)] == [True] * 4 + [False] * 6
    assert [repr(g) for g in (U(2), Lorentz(), Lorentz(proper=True))] == ["U(2)", "Lorentz()", "Lorentz(proper=True)"]
    assert len({ej.SO(2), ej.O(2), U(2), SU(2), SL(2), Sp(2)}) == 6 and Lorentz() != Lorentz(proper=True)
    assert SL(1).is_compact and SL(1).order == 1 and SL(2).order == math.inf


@pytest.mark.parametrize("group", [Lorentz(), Heisenberg()], ids=repr)
def test_axioms(group):
    ej.testing.check_group(group)


def test_turns_about_x_y_z_are_right_handed():
    constants = ej.SO(3).structure_constants
    levi_civita = np.zeros((3, 3, 3))
    for i in range(3):
        levi_civita[i, (i + 1) % 3, (i + 2) % 3], levi_civita[i, (i + 2) % 3, (i + 1) % 3] = 1, -1
    np.testing.assert_allclose(constants, levi_civita, atol=1e-15)
    np.testing.assert_array_equal(ej.SO(3).algebra[2][:2, :2], TURN)
    np.testing.assert_array_equal(ej.SO(2).algebra[0], TURN)
    np.testing.assert_allclose(np.einsum("ijk,kab->ijab", constants, np.stack(ej.SO(3).algebra))[0, 1], ej.O(3).algebra[2])


def forms(group):
    """Residuals of the equations that say what the elements of each family are, for a matrix of the group."""
    n = group.matrix_size
    half = n // 2
    omega = (
        np.block([[np.zeros((half, half)), np.eye(half)], [-np.eye(half), np.zeros((half, half))]]) if n % 2 == 0 else None
    )
    metric = np.diag([1.0, -1, -1, -1])
    invariant = {O: [np.eye(n)] for O in (ej.SO, ej.O)} | {U: [np.eye(n), omega], SU: [np.eye(n), omega], Sp: [omega]}
    invariant |= {Lorentz: [metric], SL: []}
    special = {ej.SO, U, SU, Sp, SL}
    return lambda m: (
        [m.T @ f @ m - f for f in invariant[type(group)]]
        + ([np.linalg.det(m) - 1.0] if type(group) in special else [abs(np.linalg.det(m)) - 1.0])
    )


@pytest.mark.parametrize("group", [*COMPACT, *OPEN[:4]], ids=repr)
def test_exponentials_and_draws_lie_in_the_group_and_logarithms_invert(group):
    residuals = forms(group)
    near = group.near_identity(jax.random.key(0), (4,), 0.4)
    for m in (*near, *group.draw(jax.random.key(1), (4,))):
        assert all(np.abs(r).max() < 1e-12 for r in residuals(np.asarray(m)))
    inverse = group.compose(near, group.inverse(near))
    np.testing.assert_allclose(inverse, np.broadcast_to(np.eye(group.matrix_size), inverse.shape), atol=1e-13)
    X = group.log(near)
    np.testing.assert_allclose(group.exp(X), near, atol=1e-12)
    again = group.log(group.exp(0.5 * X))
    np.testing.assert_allclose(again, 0.5 * X, atol=1e-12)


def test_special_unitary_matrices_have_complex_determinant_one():
    m = np.asarray(SU(3).sample(jax.random.key(0), (5,)))
    np.testing.assert_allclose(np.linalg.det(m[:, :3, :3] + 1j * m[:, 3:, :3]), 1.0, atol=1e-13)
    m = np.asarray(U(3).sample(jax.random.key(0), (5,)))
    assert np.abs(np.linalg.det(m[:, :3, :3] + 1j * m[:, 3:, :3]) - 1).min() > 0.1


def test_logarithms_of_motions_and_of_what_has_none():
    X = np.zeros((4, 4))
    X[:3, :3], X[:3, 3] = 2.5 * ej.SO(3).algebra[1], [1.0, 2.0, 3.0]
    t, R = ej.SE(3).exp(X)
    assert t.shape == (3,) and R.shape == (3, 3)
    np.testing.assert_allclose(ej.SE(3).log((t, R)), X, atol=1e-12)
    half_turn = np.diag([-1.0, -1.0, 1.0])
    check_message(lambda: ej.SO(3).log(half_turn), ValueError, ["`g`", "SO(3)", "half turn", "components"])
    check_message(lambda: ej.O(3).log(np.diag([1.0, 1.0, -1.0])), ValueError, ["`g`", "components"])
    check_message(lambda: Heisenberg().log(np.diag([2.0, 1.0, 1.0])), ValueError, ["`g`", "Heisenberg"])
    assert np.isnan(jax.jit(ej.SO(3).log)(jnp.asarray(half_turn))).all()
    _, slope = jax.jvp(lambda a: ej.SO(2).log(ej.SO(2).exp(a * TURN))[1, 0], (0.7,), (1.0,))
    np.testing.assert_allclose(slope, 1.0, atol=1e-12)


CIRCLE = LieGroup.from_algebra([[[0, -1, 0], [1, 0, 0], [0, 0, 0]]], [np.eye(3), np.diag([1.0, -1.0, -1.0])])


@pytest.mark.parametrize("group", [U(2), SU(2), CIRCLE, LieGroup.from_algebra(SU(2).algebra)], ids=repr)
def test_samples_follow_the_haar_measure(group):
    """First and second moments of the entries are those of the fixed elements' products."""
    m = np.asarray(group.sample(jax.random.key(2), (2500,)))
    fixed = np.asarray(group.sample(jax.random.key(3)))
    second = lambda m: np.einsum("kab,kcd->abcd", m, m) / len(m)  # noqa: E731
    expected = _second_moment(group)
    for moved in (m, fixed @ m, m @ fixed):
        np.testing.assert_allclose(second(moved), expected, atol=0.06)
    biased = np.asarray(group.near_identity(jax.random.key(2), (2500,), 0.3))
    assert np.abs(second(biased) - expected).max() > 0.2  # a measure that is not Haar fails


def test_samples_are_orthogonal_to_rounding_in_single_precision():
    """The walk is long; its rounding must not be left in the elements, or the axioms fail for them."""
    groups = [CIRCLE, LieGroup.from_algebra(ej.SO(3).algebra), LieGroup.from_algebra(ej.SO(7).algebra)]
    for group in groups:
        with jax.enable_x64(False):
            drawn = group.sample(jax.random.key(0), (64,))
        assert drawn.dtype == jnp.float32
        products = np.asarray(drawn, np.float64) @ np.asarray(drawn, np.float64).swapaxes(-1, -2)
        np.testing.assert_allclose(products, np.broadcast_to(np.eye(drawn.shape[-1]), drawn.shape), atol=1e-6)
    with jax.enable_x64(False):
        ej.testing.check_group(groups[1])


def _second_moment(group):
    """The projector on what g ⊗ g leaves alone, from the null space of the generators."""
    n = group.matrix_size
    one = np.eye(n)
    rows = [np.kron(X, one) + np.kron(one, X) for X in group.algebra]
    rows += [np.kron(c, c) - np.eye(n * n) for c in group.components]
    _, s, vt = np.linalg.svd(np.concatenate(rows))
    null = vt[s < 1e-9]
    return (null.T @ null).reshape(n, n, n, n).transpose(0, 2, 1, 3)


def test_products_and_powers_carry_their_algebras():
    group = ej.DirectProduct(ej.SO(3), ej.Cyclic(4), ej.E(2))
    assert len(group.algebra) == 6 and group.algebra[0].shape == (6, 6) and not group.is_compact
    assert len(group.components) == 8 and len(group.discrete_generators) == 1 + 1 + 2
    assert group.structure_constants[0, 1, 2] == pytest.approx(1.0)
    X = 0.3 * group.algebra[1] + 0.2 * group.algebra[4]
    R, k, (t, S) = group.exp(X)
    np.testing.assert_allclose(R, ej.SO(3).exp(0.3 * ej.SO(3).algebra[1]), atol=1e-15)
    np.testing.assert_allclose(t, [0.0, 0.2], atol=1e-15)
    np.testing.assert_allclose(S, np.eye(2), atol=1e-15)
    assert int(k) == 0
    dR, dk, (dt, dS) = group.tangent(X)
    np.testing.assert_allclose(dR, 0.3 * ej.SO(3).algebra[1])
    assert dk.dtype == jax.dtypes.float0 and dt.tolist() == [0.0, 0.2] and not dS.any()
    power = Power(ej.O(2), 2)
    assert len(power.algebra) == 2 and len(power.components) == 4 and power.is_compact
    np.testing.assert_allclose(power.exp(0.3 * power.algebra[1])[0], np.eye(2))
    assert ej.DirectProduct(ej.SO(3), U(1)).is_compact and ej.Cyclic(3).is_compact and not ej.Translation(2).is_compact


def test_euclidean_point_groups_and_homogeneous_matrices():
    group = ej.E(3)
    assert group.point_group == ej.O(3) and ej.SE(2).point_group == ej.SO(2)
    a, b = (group.sample(key, (4,)) for key in jax.random.split(jax.random.key(0)))
    np.testing.assert_allclose(group.matrix(group.compose(a, b)), group.matrix(a) @ group.matrix(b), atol=1e-13)
    t, R = group.split(a)
    assert all(group.isclose(group.join(t, R), a)) and not group.join(None, R)[0].any()
    np.testing.assert_array_equal(group.element(group.matrix(a))[1], R)
    np.testing.assert_allclose(np.asarray(ej.E(2).components[1][1]), np.diag([1.0, -1.0]))


def test_a_group_of_a_users_own_is_a_value():
    again = LieGroup.from_algebra(*(list(v) for v in (CIRCLE.algebra, CIRCLE.components)))
    assert again == CIRCLE and hash(again) == hash(CIRCLE) and pickle.loads(pickle.dumps(again)) == CIRCLE
    assert CIRCLE != LieGroup.from_algebra(CIRCLE.algebra) and (CIRCLE == 3) is False
    assert LieGroup.from_algebra([TURN]).order == math.inf
    finite = LieGroup.from_algebra([], [np.eye(2), -np.eye(2)])
    assert finite.order == 2 and finite.is_compact and finite.sample(jax.random.key(0), (3,)).shape == (3, 2, 2)
    with pytest.raises(AttributeError, match="immutable"):
        CIRCLE.n = 3
    jax.jit(lambda g, group: group.inverse(g), static_argnums=1)(jnp.eye(3), CIRCLE)


def test_check_group_finds_an_algebra_that_does_not_close():
    @dataclasses.dataclass(frozen=True)
    class Broken(LieGroup):
        algebra = tuple(ej.SO(3).algebra[:2])

    with pytest.raises(ValueError, match="does not close"):
        ej.testing.check_group(Broken())


LISTED = [ej.O(2), ej.O(3), ej.O(5), Lorentz(), Lorentz(proper=False), ej.E(2), ej.E(3), ej.O(9)]


@pytest.mark.parametrize("group", LISTED, ids=repr)
def test_the_parts_of_known_groups_are_accepted(group):
    with jax.enable_x64(True):
        parts = [np.asarray(group.matrix(c)) for c in group.components]
    made = LieGroup.from_algebra(group.algebra, parts)
    assert len(made.components) == len(group.components)
    late = parts[-1] @ jax.scipy.linalg.expm(0.3 * jnp.asarray(group.algebra[-1]))
    check_message(lambda: LieGroup.from_algebra(group.algebra, [*parts, late]), ValueError, ["one connected part"])


def test_parts_that_nothing_decides_are_accepted():
    """The turns by irrational multiples are dense in a torus, whose every element they come near."""
    winding = np.zeros((4, 4))
    winding[:2, :2], winding[2:, 2:] = TURN, 2**0.5 * TURN
    half = np.diag([-1.0, -1.0, 1.0, 1.0])
    assert len(LieGroup.from_algebra([winding], [np.eye(4), half]).components) == 2


@pytest.mark.parametrize("unit", [1e-12, 1e-7, 1.0, 1e7])
def test_an_algebra_may_be_written_in_any_unit(unit):
    stretch = LieGroup.from_algebra([unit * np.diag([1.0, -1.0])])
    assert not stretch.is_compact and not ej.reps.Vector(stretch).is_orthogonal
    assert ej.sharing._inner_product.invariant_form_of(ej.reps.Vector(stretch)) is None
    turns = LieGroup.from_algebra([unit * X for X in L])
    assert turns.is_compact and ej.reps.Vector(turns).is_orthogonal
    np.testing.assert_allclose(turns.structure_constants, unit * ej.SO(3).structure_constants, atol=1e-15 * unit)
    check_message(lambda: LieGroup.from_algebra([unit * X for X in L[:2]]), ValueError, ["`algebra`", "does not close"])
    one = np.eye(2)
    check_message(
        lambda: LieGroup.from_algebra([unit * TURN], [one, np.diag([1.0, 2.0])]), ValueError, ["`components`", "normalise"]
    )


def test_directions_of_very_different_sizes():
    sizes = (1e-8, 1.0, 1e6)
    turns = LieGroup.from_algebra([a * X for a, X in zip(sizes, L, strict=True)])
    assert turns.is_compact
    expected = ej.SO(3).structure_constants[0, 1, 2] * sizes[0] * sizes[1] / sizes[2]
    np.testing.assert_allclose(turns.structure_constants[0, 1, 2], expected, rtol=1e-12)
    mixed = LieGroup.from_algebra([np.diag([0.0, 0.0, 0.0, 1.0]), *(1e-10 * np.pad(X, ((0, 1), (0, 1))) for X in L)])
    assert not mixed.is_compact


L = ej.SO(3).algebra
BAD = {
    "open": (lambda: LieGroup.from_algebra(L[:2]), ["`algebra`", "does not close", "X0 X1", "Add it"]),
    "dependent": (lambda: LieGroup.from_algebra([*L, L[0] + L[1]]), ["`algebra`", "dependent", "Leave out"]),
    "zero": (lambda: LieGroup.from_algebra([np.zeros((2, 2))]), ["`algebra`", "dependent"]),
    "shape": (lambda: LieGroup.from_algebra([np.ones((2, 3))]), ["`algebra`", "(2, 3)", "square"]),
    "sizes": (lambda: LieGroup.from_algebra([TURN, L[0]]), ["`algebra`", "(3, 3)", "(2, 2)"]),
    "complex": (lambda: LieGroup.from_algebra([TURN * 1j]), ["`algebra`", "complex", "np.block"]),
    "complex lists": (lambda: LieGroup.from_algebra([[[0, 1j], [1j, 0]]]), ["`algebra`", "complex"]),
    "complex part": (lambda: LieGroup.from_algebra([TURN], [np.eye(2), 1j * np.eye(2)]), ["`components`", "complex"]),
    "nan": (lambda: LieGroup.from_algebra([TURN * np.nan]), ["`algebra`", "finite"]),
    "empty": (lambda: LieGroup.from_algebra([]), ["`algebra`", "empty"]),
    "no one": (lambda: LieGroup.from_algebra([TURN], [-np.eye(2)]), ["`components`", "unit matrix"]),
    "singular": (lambda: LieGroup.from_algebra([TURN], [np.eye(2), np.ones((2, 2))]), ["`components`", "singular"]),
    "normal": (lambda: LieGroup.from_algebra([TURN], [np.eye(2), np.diag([1.0, 2.0])]), ["`components`", "normalise"]),
    "twice": (lambda: LieGroup.from_algebra([TURN], [np.eye(2), -np.eye(2)]), ["`components`", "one connected part"]),
    "again": (lambda: LieGroup.from_algebra([TURN], [np.eye(2), np.eye(2)]), ["`components`", "0 and 1", "Leave one"]),
    "mirrors": (
        lambda: LieGroup.from_algebra([TURN], [np.eye(2), np.diag([1.0, -1.0]), np.diag([-1.0, 1.0])]),
        ["`components`", "1 and 2", "one connected part"],
    ),
    "no group": (lambda: LieGroup.from_algebra([TURN], [np.eye(2), 2 * np.eye(2)]), ["`components`", "product", "add it"]),
    "discrete": (
        lambda: LieGroup.from_algebra([], [np.eye(2), np.array([[0.0, -1.0], [1.0, 0.0]])]),
        ["`components`", "lies in no part"],
    ),
    "open mirrors": (
        lambda: LieGroup.from_algebra(
            [np.pad(TURN, ((0, 2), (0, 2)))], [np.eye(4), np.diag([1.0, 1, -1, 1]), np.diag([1.0, 1, 1, -1])]
        ),
        ["`components`", "lies in no part"],
    ),
    "haar": (lambda: Lorentz().sample(jax.random.key(0)), ["Lorentz()", "Haar", "near_identity", "draw"]),
    "haar sl": (lambda: SL(2).sample(jax.random.key(0)), ["SL(2)", "not compact"]),
    "proper": (lambda: Lorentz(proper=1), ["`proper`", "1"]),
    "n": (lambda: U(0), ["`n`", "at least 1"]),
    "generators": (lambda: Sp(1).generators, ["Sp(1)", "continuous", "algebra"]),
    "discrete exp": (lambda: ej.Cyclic(3).exp(1.0), ["Cyclic(3)", "Lie algebra"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    make, words = BAD[case]
    check_message(make, (ValueError, TypeError), words)


def test_derivatives_of_representations_follow_the_tangent():
    @dataclasses.dataclass(frozen=True)
    class Square(ej.reps.Representation):
        group: ej.Group
        dim = 9

        def __call__(self, g):
            R = g[0][0] if isinstance(g[0], tuple) else g[0] if isinstance(g, tuple) else g
            return jnp.kron(R, R)

    one = np.eye(3)
    expected = [np.kron(X, one) + np.kron(one, X) for X in L]
    np.testing.assert_allclose(Square(ej.SO(3)).algebra, expected, atol=1e-15)
    mixed = Square(ej.DirectProduct(ej.SO(3), ej.Cyclic(2), ej.SE(2)))
    np.testing.assert_allclose(mixed.algebra, expected + 3 * [np.zeros((9, 9))], atol=1e-15)
    along = mixed.group.exp(0.7 * mixed.group.algebra[0])
    np.testing.assert_allclose(mixed(along), jax.scipy.linalg.expm(0.7 * expected[0]), atol=1e-13)


def test_vectors_of_every_family_have_the_algebra_itself():
    """The derivative of g ↦ g is X, also where elements are pairs (t, R)."""
    for group in (ej.SE(2), ej.E(3), Lorentz(), CIRCLE, SU(2)):
        vector = ej.reps.Vector(group)
        np.testing.assert_array_equal(vector.algebra, group.algebra)
        assert vector.dim == group.matrix_size and vector.is_orthogonal == group.is_compact


def test_actions_of_groups_without_a_uniform_measure_are_measured_all_the_same():
    group, x = Lorentz(), jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 2)))
    action = ej.FibreAction(ej.reps.Vector(group))
    assert np.max(ej.equivariance_error(lambda x: 2 * x, action, action, x)) < 1e-14
    assert np.min(ej.equivariance_error(jnp.tanh, action, action, x)) > 0.01
