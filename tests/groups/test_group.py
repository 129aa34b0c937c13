"""The axioms, on every group."""

import math

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from tests.catalogue import ALL, INFINITE, STRUCTURED, leaves, parametrize, pick, same

every_group = pytest.mark.parametrize("group", **parametrize(ALL))
not_tables = pytest.mark.parametrize("group", **parametrize({**INFINITE, **STRUCTURED}))


CHECKED = ("Trivial(2)", "icosahedral", "Q8", "p6m", "Translation × D4", "Translation(2, (3, 5))", "Permutation(5)")
CHECKED += ("p6 on a torus", "Wreath()")


@pytest.mark.parametrize("group", **parametrize({name: ALL[name] for name in CHECKED}))
def test_public_check_accepts(group):
    ej.testing.check_group(group, samples=4)


@not_tables
@hypothesis.settings(max_examples=5)
@hypothesis.given(seed=st.integers(0, 2**31 - 1))
def test_axioms(group, seed):
    a, b, c = (group.sample(key, (4,)) for key in jax.random.split(jax.random.key(seed), 3))
    assert same(group.compose(group.compose(a, b), c), group.compose(a, group.compose(b, c)))
    assert same(group.compose(group.identity, a), a)
    assert same(group.compose(a, group.identity), a)
    e = group.compose(a, group.inverse(a))
    assert all((x == y[None]).all() for x, y in zip(leaves(e), leaves(group.identity), strict=True))
    assert same(group.inverse(group.inverse(a)), a)
    assert same(group.inverse(group.compose(a, b)), group.compose(group.inverse(b), group.inverse(a)))


@every_group
def test_identity_has_the_stated_shape(group):
    spec, identity = group.element_shape, group.identity
    assert jax.tree.structure(spec) == jax.tree.structure(identity)
    assert [(s.shape, s.dtype) for s in jax.tree.leaves(spec)] == [(x.shape, x.dtype) for x in leaves(identity)]
    assert all(x.dtype == np.int32 for x in leaves(identity))


@pytest.mark.parametrize("group", **parametrize({k: ALL[k] for k in ("A4", "p6m")}))
def test_broadcasting_over_leading_axes(group):
    drawn = (group.sample(jax.random.key(i), s) for i, s in enumerate([(3, 2), (2,), ()]))
    many, row, one = (jax.tree.map(np.asarray, g) for g in drawn)
    for a, b in [(many, one), (one, many), (many, row), (row, many)]:
        whole = jax.tree.map(np.asarray, group.compose(a, b))
        for i in range(3):
            for j in range(2):

                def at(x, i=i, j=j):
                    return x if x is one else pick(x, j) if x is row else pick(pick(x, i), j)

                assert same(pick(pick(whole, i), j), group.compose(at(a), at(b)))
        assert np.asarray(group.isclose(whole, whole)).shape == (3, 2)
    assert [x.shape[:2] for x in leaves(group.inverse(many))] == [(3, 2)] * len(leaves(many))


SAMPLED = {**STRUCTURED, **{name: ALL[name] for name in ("A4", "p6m", "Translation(3)", "Translation × D4")}}


@pytest.mark.parametrize("group", **parametrize(SAMPLED))
def test_sample_shape_dtype_and_repeatability(group):
    drawn = group.sample(jax.random.key(3), (2, 3))
    for leaf, spec in zip(leaves(drawn), jax.tree.leaves(group.element_shape), strict=True):
        assert leaf.shape == (2, 3, *spec.shape) and leaf.dtype == spec.dtype
    assert same(drawn, group.sample(jax.random.key(3), (2, 3)))


UNIFORM = {
    "A4": ALL["A4"],
    "S3": ej.Permutation(3),
    "torus": ej.Translation(2, (2, 3)),
    "p2": ej.wallpaper("p2", (2, 2)),
}


@pytest.mark.parametrize("group", **parametrize(UNIFORM))
def test_sampling_is_uniform(group):
    draws = 6000
    rows = np.concatenate([x.reshape(draws, -1) for x in leaves(group.sample(jax.random.key(0), (draws,)))], axis=1)
    found, counts = np.unique(rows, axis=0, return_counts=True)
    assert len(found) == group.order
    chi_squared = float(((counts - draws / group.order) ** 2).sum() / (draws / group.order))
    assert chi_squared < group.order - 1 + 5 * math.sqrt(2 * group.order)


def test_infinite_translations_are_drawn_from_minus_8_to_8():
    drawn = np.asarray(ej.Translation(2).sample(jax.random.key(0), (2000,)))
    assert sorted(set(drawn.reshape(-1).tolist())) == list(range(-8, 9))


@pytest.mark.parametrize("group", **parametrize({k: g for k, g in ALL.items() if g.order <= 64}))
def test_generators_generate(group):
    def key(element):
        return tuple(np.concatenate([x.reshape(-1) for x in leaves(element)]).tolist())

    found = {key(group.identity): group.identity}
    frontier = [group.identity]
    while frontier:
        products = [group.compose(a, s) for a in frontier for s in group.generators]
        new = {key(p): p for p in products if key(p) not in found}
        found |= new
        frontier = list(new.values())
    assert len(found) == group.order


LISTED = ("S4", "Translation(2, (3, 5))", "p4m on a torus", "Flips(5)")


@pytest.mark.parametrize("group", **parametrize({name: ALL[name] for name in LISTED}))
def test_elements_are_all_different_and_start_with_the_identity(group):
    rows = np.concatenate([x.reshape(group.order, -1) for x in leaves(group.elements())], axis=1)
    assert len(np.unique(rows, axis=0)) == group.order
    assert same(pick(group.elements(), 0), group.identity)


@pytest.mark.parametrize("group", **parametrize(INFINITE))
def test_infinite_groups_say_so(group):
    assert group.order == math.inf
    with pytest.raises(ValueError, match="sample"):
        group.elements()


class Rotations(ej.Group):
    """A user's group with floating-point elements: angles of the circle, as unit complex pairs."""

    @property
    def identity(self):
        return jnp.array([1.0, 0.0])

    def compose(self, a, b):
        return jnp.stack([a[..., 0] * b[..., 0] - a[..., 1] * b[..., 1], a[..., 0] * b[..., 1] + a[..., 1] * b[..., 0]], -1)

    def inverse(self, a):
        return a * jnp.broadcast_to(jnp.array([1.0, -1.0]), a.shape)

    def sample(self, key, shape=()):
        angle = jax.random.uniform(key, shape, maxval=2 * jnp.pi)
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1)


def test_a_minimal_user_group():
    group = Rotations()
    ej.testing.check_group(group)
    assert group.order == math.inf
    assert bool(group.isclose(group.identity, group.identity + 1e-8))
    assert not bool(group.isclose(group.identity, group.identity + 1e-4))
    with pytest.raises(ValueError, match="Override `generators` in Rotations"):
        _ = group.generators
