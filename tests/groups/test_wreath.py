"""Powers and wreath products."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.groups import Power, agree, bare
from equijax.testing import check_group
from tests.helpers import check_message

SETS = ej.WreathProduct(ej.Permutation(3), ej.Permutation(4))
TURNS = ej.WreathProduct(ej.Permutation(3), ej.Cyclic(4))
IMAGES = ej.WreathProduct(ej.Permutation(2), ej.wallpaper("p4m"))
NESTED = ej.WreathProduct(ej.Permutation(2), ej.WreathProduct(ej.Permutation(3), ej.Cyclic(2)))


@pytest.mark.parametrize("group", [Power(ej.Cyclic(5), 3), IMAGES, NESTED], ids=repr)
def test_the_axioms(group):
    check_group(group, samples=4)


def test_orders():
    assert Power(ej.Cyclic(5), 3).order == 125
    assert SETS.order == 24**3 * 6
    assert NESTED.order == (2**3 * 6) ** 2 * 2
    assert IMAGES.order == np.inf


def test_one_block_carries_what_happens_in_it_along():
    """Conjugating what happens in block i by a permutation of the blocks makes it happen in block p[i]."""
    swap, identity = jnp.array([1, 0, 2, 3], jnp.int32), SETS.inner.identity
    in_block = lambda k: jnp.stack([swap if i == k else identity for i in range(3)])  # noqa: E731
    p, still = jnp.array([2, 0, 1], jnp.int32), jnp.arange(3, dtype=jnp.int32)
    q = SETS.normal.identity
    for k in range(3):
        moved = SETS.compose(SETS.compose((q, p), (in_block(k), still)), SETS.inverse((q, p)))
        assert bool(SETS.isclose(moved, (in_block(int(p[k])), still)))


@pytest.mark.parametrize("group", [Power(ej.Cyclic(3), 2), ej.WreathProduct(ej.Permutation(2), ej.Cyclic(3))], ids=repr)
def test_generators_generate(group):
    key = lambda g: tuple(int(n) for leaf in jax.tree.leaves(g) for n in np.asarray(leaf).reshape(-1))  # noqa: E731
    found, frontier = {key(group.identity)}, [group.identity]
    for g in frontier:
        for s in group.generators:
            product = group.compose(g, s)
            if key(product) not in found:
                found.add(key(product))
                frontier.append(product)
    assert len(found) == group.order


def test_elements_of_a_power_vary_fastest_in_the_last_place():
    assert Power(ej.Cyclic(2), 2).elements().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    t, h = Power(ej.wallpaper("p4"), 0).identity
    assert t.shape == (0, 2) and h.shape == (0,)


def test_composing_broadcasts_over_leading_axes():
    a = TURNS.sample(jax.random.key(0), (5, 1))
    b = TURNS.sample(jax.random.key(1), (4,))
    q, p = TURNS.compose(a, b)
    assert q.shape == (5, 4, 3) and p.shape == (5, 4, 3)
    one = TURNS.compose(jax.tree.map(lambda leaf: leaf[2, 0], a), jax.tree.map(lambda leaf: leaf[3], b))
    assert bool(TURNS.isclose(one, (q[2, 3], p[2, 3])))


def test_they_are_values():
    for group in (SETS, IMAGES, Power(ej.Cyclic(5), 3)):
        again = pickle.loads(pickle.dumps(group))
        assert again == group and hash(again) == hash(group)
    assert SETS != TURNS and Power(ej.Cyclic(5), 3) != Power(ej.Cyclic(5), 2)


def test_sizes_may_be_left_open():
    anything = ej.WreathProduct(ej.Permutation(), ej.Permutation())
    assert bare(SETS) == anything and bare(IMAGES) == ej.WreathProduct(ej.Permutation(), ej.wallpaper("p4m"))
    assert agree(SETS, anything) and not agree(SETS, ej.WreathProduct(ej.Permutation(3), ej.Permutation(5)))
    check_message(lambda: anything.identity, ValueError, ["`n` is None", "for_input"])


def test_bad_input():
    check_message(lambda: ej.WreathProduct(ej.Cyclic(3), ej.Cyclic(3)), TypeError, ["`outer`", "Permutation"])
    check_message(lambda: ej.WreathProduct(ej.Permutation(3), 4), TypeError, ["`inner`", "int"])
    check_message(lambda: Power(3, 2), TypeError, ["`base`", "int"])
    check_message(lambda: Power(ej.Cyclic(3), -1), ValueError, ["`n`", "-1"])
