"""Sharing by a basis of kernels: the law itself, counts by characters, the orbits where fibres permute, and variance."""

import itertools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.reps import Irrep, Regular, Scalar, irreps
from equijax.reps._solver import solve
from equijax.sharing import BasisSharing, KernelSharing, OrbitSharing
from equijax.sharing._inner_product import invariant_form
from equijax.sharing._parts_sharing import PartsSharing
from equijax.sharing._variance import normalised
from equijax.sharing._window import window
from tests.sharing.fibres import Matrices, Skew, Sum, Vector

C4, D4, O = ej.Cyclic(4), ej.Dihedral(4), ej.Octahedral()  # noqa: E741
S3 = ej.FiniteGroup.from_permutations([[1, 2, 0], [1, 0, 2]])


def _sides(sharing):
    """Matrices of all elements on the input, and on functions on the window with values in the output fibre."""
    group = sharing.point_group
    moved = window(group, sharing.kernel_size)[1]
    into, out = (np.asarray(fibre(group.elements()), float) for fibre in (sharing.in_fibre, sharing.out_fibre))
    places = np.eye(moved.shape[1])[moved].transpose(0, 2, 1)
    both = np.einsum("hpo,hwv->hpwov", out, places)
    return into, both.reshape(group.order, out.shape[1] * moved.shape[1], -1)


def _law(sharing, kernels):
    """Largest error of κ(hδ) ρ_in(h) = ρ_out(h) κ(δ) over all elements."""
    into, out = _sides(sharing)
    flat = kernels.reshape(len(kernels), -1, sharing.in_fibre.dim)
    return max(np.abs(b @ flat - flat @ a).max() for a, b in zip(into, out, strict=True))


CASES = {
    "vectors of C4": KernelSharing(C4, (3, 3), Vector(C4), Vector(C4)),
    "vectors of D4, even": KernelSharing(D4, (4, 4), Vector(D4), Vector(D4)),
    "scalar to vector": KernelSharing(D4, (3, 3), Scalar(D4), Vector(D4)),
    "vector to regular": KernelSharing(D4, (3, 3), Vector(D4), Regular(D4)),
    "sum to vector": KernelSharing(C4, (2, 2), Sum(Vector(C4), Scalar(C4)), Vector(C4)),
    "skew": KernelSharing(D4, (3, 3), Skew(Vector(D4)), Sum(Scalar(D4), Skew(Vector(D4)))),
    "vectors of space": KernelSharing(O, (3, 3, 3), Vector(O), Vector(O)),
    "no window": KernelSharing(S3, (), Skew(Regular(S3), 0.3), Regular(S3)),
    "hexagons": KernelSharing(
        ej.wallpaper("p6").point_group,
        (3, 3),
        Vector(ej.wallpaper("p6").point_group),
        Scalar(ej.wallpaper("p6").point_group),
    ),
}
every_case = pytest.mark.parametrize("sharing", CASES.values(), ids=CASES)


@every_case
def test_the_law_and_the_count(sharing):
    """Every basis kernel obeys it, and there are as many as the characters say."""
    basis = sharing.rule.basis
    assert basis.shape == (sharing.count, *sharing.shape) and not basis.flags.writeable
    assert _law(sharing, basis) <= 1e-12 * np.abs(basis).max()
    into, out = _sides(sharing)
    inverse = sharing.point_group.inverses
    expected = (np.trace(out, axis1=1, axis2=2) * np.trace(into[inverse], axis1=1, axis2=2)).mean()
    assert sharing.count == round(expected) and abs(expected - round(expected)) < 1e-9
    assert np.linalg.matrix_rank(basis.reshape(len(basis), -1)) == len(basis)


@every_case
def test_the_space_is_that_of_the_generic_solver(sharing):
    """Stabilisers of offsets give the same kernels as one null space of window ⊗ fibre."""
    into, out = _sides(sharing)
    chosen = list(sharing.point_group.generators)
    generic = solve(into[chosen], out[chosen], (), (), in_dim=into.shape[1], out_dim=out.shape[1])
    flat = generic.reshape(len(generic), -1)
    projector = flat.T @ flat
    span = np.linalg.qr(sharing.rule.basis.reshape(sharing.count, -1).T)[0]
    assert np.abs(span @ span.T - projector).max() <= 1e-12


@pytest.mark.parametrize(("group", "count"), [(C4, 36), (D4, 72)], ids=repr)
def test_permutations_as_matrices_give_the_space_of_the_orbits(group, count):
    fibre = Regular(group)
    orbits, basis = (
        KernelSharing(group, (3, 3), fibre, fibre),
        KernelSharing(group, (3, 3), Matrices(fibre), Matrices(fibre)),
    )
    assert orbits.count == basis.count == count
    indicators = np.eye(count)[orbits.table.reshape(-1)]
    by_orbits = (indicators / indicators.sum(0)) @ indicators.T
    span = np.linalg.qr(basis.rule.basis.reshape(count, -1).T)[0]
    assert np.abs(span @ span.T - by_orbits).max() <= 1e-13
    weight = np.random.default_rng(0).normal(size=(*orbits.shape, 2))
    np.testing.assert_allclose(basis.project(weight), orbits.project(weight), rtol=0, atol=1e-13)


def test_vectors_of_space_have_twelve_kernels():
    assert CASES["vectors of space"].count == 12


TIED = {
    **CASES,
    "orbits": KernelSharing(D4, (3, 3), Regular(D4), Scalar(D4)),
    "orbits of pairs": ej.sharing.LinearSharing(ej.TensorAction(3, 2), ej.SetAction(3)),
    "free": KernelSharing(ej.Trivial(2), (3, 2), Scalar(ej.Trivial(2)), Scalar(ej.Trivial(2))),
}


def _as_map(sharing, expanded, features):
    """What the layer multiplies with, its axes in the order (output, [window], input, …)."""
    if expanded.shape == (*sharing.shape, *features):
        return expanded
    places = window(sharing.point_group, sharing.kernel_size)[0]
    out, _, into = sharing.shape
    planar = np.asarray(expanded).reshape(-1, into, features[0], out, features[1])[places]
    return planar.transpose(3, 0, 1, 2, 4)


@pytest.mark.parametrize("sharing", TIED.values(), ids=TIED)
def test_expand_project_and_defect_agree(sharing):
    """What `expand` gives has no defect and is its own projection; spoiled in one entry it has one."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(*sharing.kernel_shape, 2, 3))
    weight = _as_map(sharing, np.asarray(sharing.expand(jnp.asarray(theta))), (2, 3))
    assert sharing.defect(weight) <= 1e-12
    np.testing.assert_allclose(sharing.project(weight), weight, rtol=0, atol=1e-12 * np.abs(weight).max())
    rough = rng.normal(size=weight.shape)
    nearest = sharing.project(rough)
    assert abs(((rough - nearest) * weight).sum()) <= 1e-10 * np.linalg.norm(weight), "the projection is orthogonal"
    if sharing.count < np.prod(sharing.shape):
        spoiled = weight.copy()
        spoiled.reshape(-1)[np.argmax(np.abs(weight))] *= 1.5
        assert sharing.defect(spoiled) > 1e-3, "negative control"
    assert sharing.defect(np.zeros_like(weight)) == 0


def _variance(sharing, initialiser, features=64, draws=4):
    """Variance of each coordinate of the output on independent normal inputs, from the weights."""
    total = 0
    for key in range(draws):
        theta = initialiser(jax.random.key(key), (*sharing.init.shape, features, features), jnp.float64)
        weight = np.asarray(sharing.weights(theta))
        total = total + (weight**2).sum(tuple(range(1, weight.ndim - 1))).mean(-1)
    return total / draws


@pytest.mark.parametrize(
    "name", ["vectors of C4", "scalar to vector", "vector to regular", "sum to vector", "vectors of space"]
)
@pytest.mark.parametrize("initialiser", ["lecun_normal", "lecun_uniform"])
def test_outputs_have_variance_one(name, initialiser):
    variance = _variance(CASES[name], getattr(nnx.initializers, initialiser)())
    assert np.abs(variance - 1).max() < 0.1


def test_what_the_input_does_not_reach_is_zero():
    """Without a window no scalar reaches a vector: its rows are 0 exactly."""
    sharing = KernelSharing(D4, (), Scalar(D4), Sum(Scalar(D4), Vector(D4)))
    assert sharing.count == 1 and (sharing.rule.basis[:, 1:] == 0).all()
    np.testing.assert_allclose(sharing.rule.basis[0, 0], 1, atol=1e-14)
    nothing = KernelSharing(D4, (), Scalar(D4), Vector(D4))
    assert nothing.count == 0 and nothing.expand(jnp.zeros((0, 2, 3))).shape == (2, 6)
    assert nothing.project(np.ones(nothing.shape)).max() == 0 and nothing.bias_shape is None


def test_skew_coordinates():
    """Variance is 1 in orthonormal coordinates of the invariant inner product; the naive rule breaks the law."""
    fibre = Skew(Regular(S3), 0.5)
    sharing = KernelSharing(S3, (), fibre, fibre)
    basis = sharing.rule.basis
    assert _law(sharing, basis) <= 1e-12 * np.abs(basis).max()
    form = invariant_form(fibre.generators, (), fibre.dim)
    matrices = np.asarray(fibre(S3.elements()))
    np.testing.assert_allclose(form, np.mean(matrices.transpose(0, 2, 1) @ matrices, 0), atol=1e-12)
    values, vectors = np.linalg.eigh(form)
    root = (vectors * np.sqrt(values)) @ vectors.T
    straight = root @ basis[:, :, 0] @ np.linalg.inv(root)
    np.testing.assert_allclose(np.einsum("koi,kpi->op", straight, straight) / len(basis), np.eye(6), atol=1e-12)
    naive = normalised(basis, np.eye(6), np.eye(6))
    assert _law(sharing, naive) > 0.1, "negative control: D commutes with nothing in skew coordinates"


def test_no_inner_product():
    """Boosts and translations keep no length; a whole basis is then scaled by one number."""
    boost = np.array([[0.0, 1.0], [1.0, 0.0]])
    shift = np.array([[0.0, 1.0], [0.0, 0.0]])
    assert invariant_form((), (boost,), 2) is None and invariant_form((), (shift,), 2) is None
    basis = np.random.default_rng(0).normal(size=(3, 4, 5))
    basis[:, 3] = 0
    scaled = normalised(basis, None, np.eye(4))
    ratio = scaled[:, :3] / basis[:, :3]
    assert np.ptp(ratio) < 1e-12 and (scaled[:, 3] == 0).all()
    assert abs(np.einsum("koi,koi->o", scaled, scaled)[:3].mean() / 3 - 1) < 1e-12


def test_values():
    make = lambda: KernelSharing(C4, (3, 3), Vector(C4), Vector(C4))  # noqa: E731
    assert make() == make() and hash(make()) == hash(make()) and make().rule is make().rule
    rule = make().rule
    assert pickle.loads(pickle.dumps(rule)) == rule and hash(BasisSharing(rule.basis, rule.out_invariants)) == hash(rule)
    orbit = KernelSharing(C4, (3, 3), Scalar(C4), Scalar(C4)).rule
    again = pickle.loads(pickle.dumps(orbit))
    assert (
        again == orbit and hash(again) == hash(orbit) == hash(OrbitSharing(orbit.table, orbit.out_orbits)) and again != rule
    )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_dtypes(dtype):
    for sharing in (CASES["vectors of C4"], TIED["orbits"]):
        theta = jnp.ones((sharing.count, 2, 3), dtype)
        assert sharing.expand(theta).dtype == sharing.weights(theta).dtype == dtype
        if sharing.bias_shape is not None:
            assert sharing.spread_bias(jnp.ones((*sharing.bias_shape, 3), dtype)).dtype == dtype


@pytest.mark.parametrize(
    "sharing", [CASES["vectors of C4"], TIED["orbits"], TIED["orbits of pairs"], TIED["free"]], ids=repr
)
def test_a_parameter_of_another_shape_is_refused(sharing):
    for shape in ((sharing.count + 1, 2, 3), (1, 2, 3)):
        with pytest.raises(ValueError, match="free weights") as caught:
            sharing.expand(jnp.ones(shape))
        assert str(shape) in str(caught.value) and str(sharing.count) in str(caught.value)


def test_invariants_carry_the_bias():
    both = KernelSharing(D4, (3, 3), Scalar(D4), Sum(Scalar(D4), Vector(D4)))
    assert both.bias_shape == (1,)
    spread = both.spread_bias(jnp.ones((1, 2)))
    np.testing.assert_allclose(np.abs(spread), [[1, 1], [0, 0], [0, 0]], atol=1e-14)
    for fibre in itertools.chain([Scalar(D4), Regular(D4)], [Scalar(D4) + Regular(D4)]):
        sharing = KernelSharing(D4, (3, 3), Scalar(D4), fibre)
        bias = np.random.default_rng(0).normal(size=(*sharing.bias_shape, 2))
        wide = np.atleast_2d(bias)
        expected = sharing.out_invariants.T @ wide
        given = np.broadcast_to(sharing.spread_bias(jnp.asarray(bias)), expected.shape)
        np.testing.assert_array_equal(given, expected)


@pytest.mark.parametrize("group", [C4, D4], ids=repr)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_pair_of_irreps_has_as_many_kernels_as_characters_say(group, size):
    moved = window(group, (size, size))[1]
    fixed = (moved == np.arange(moved.shape[1])).sum(1)
    for into, out in itertools.product(irreps(group), repeat=2):
        expected = (fixed * out.character * into.character).mean()
        assert KernelSharing(group, (size, size), into, out).count == round(expected)


def test_parts_are_the_dense_basis_without_its_zeros():
    """Copies of parts share one small basis; the maps, their order, their scale and the projection are the dense ones."""
    plane, sign, scalar = Irrep(D4, 4), Irrep(D4, 3), Irrep(D4, 0)
    into, out = 3 * plane + 2 * scalar + plane, scalar + 2 * plane + 2 * sign
    sharing = KernelSharing(D4, (3, 3), into, out)
    rule = sharing.rule
    assert isinstance(rule, PartsSharing) and len(rule.basis) == rule.count
    assert _law(sharing, rule.basis) <= 1e-12
    dense = BasisSharing(rule.basis, rule.out_invariants)
    np.testing.assert_allclose(normalised(rule.basis, np.eye(into.dim), np.eye(out.dim)), rule.basis, atol=1e-13)
    whole = KernelSharing(D4, (3, 3), Matrices(into), Matrices(out)).rule
    weight = np.random.default_rng(0).normal(size=(*rule.shape, 2))
    for other in (dense, whole):
        np.testing.assert_allclose(rule.project(weight), other.project(weight), rtol=0, atol=1e-13)
    theta = np.random.default_rng(1).normal(size=(rule.count, 2, 3))
    for axes in (None, (1, 2, 0)):
        np.testing.assert_allclose(
            rule.weights(jnp.asarray(theta), axes), dense.weights(jnp.asarray(theta), axes), atol=1e-13
        )
    assert rule.reached == dense.reached == out.dim
    again = pickle.loads(pickle.dumps(rule))
    assert again == rule and hash(again) == hash(rule) and rule != KernelSharing(D4, (1, 1), into, out).rule


def test_many_copies_cost_little():
    fibre = 40 * Irrep(D4, 4) + 40 * Irrep(D4, 0)
    sharing = KernelSharing(D4, (), fibre, fibre)
    assert sharing.count == 3200 and sharing.weights(jnp.ones((3200, 1, 1))).shape == (120, 1, 120, 1, 1)
