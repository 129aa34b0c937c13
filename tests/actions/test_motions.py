"""Which motions two grids share, against brute force over all elements of the torus."""

import itertools

import jax
import numpy as np
import pytest

import equijax as ej
from equijax.actions._motions import common_motions
from tests.catalogue import WALLPAPER


def _pairs():
    for name, n in (("p4m", 4), ("p4m", 5), ("p4", 6), ("p6", 4), ("p6m", 6), ("cm", 4)):
        yield name, (n, n), {}, (n, n), {}
        yield name, (n, n), {}, (n, n), {"origin": 0.5}
    for name, n in (("p4m", 4), ("p4", 6), ("p6", 4), ("p31m", 6)):
        yield name, (n, n), {}, (n // 2, n // 2), {"spacing": 2}
        yield name, (n, n), {}, (n // 2, n // 2), {"spacing": 2, "origin": 1}
        yield name, (n, n), {}, (n // 2, n // 2), {"spacing": 2, "origin": 0.5}
    yield "pmm", (4, 6), {}, (2, 2), {"spacing": (2, 3)}
    yield "p4m", (6, 6), {}, (3, 2), {"spacing": (2, 3)}


@pytest.mark.parametrize(("name", "sizes", "one", "others", "two"), list(_pairs()), ids=str)
def test_kept_elements_of_a_torus(name, sizes, one, others, two):
    group = WALLPAPER[name]
    first, second = ej.GridAction(group, **one), ej.GridAction(group, **two)
    motions = common_motions((first, sizes), (second, others))
    torus = first.period(sizes)
    order = group.point_group.order
    acting = set()
    for t in itertools.product(*map(range, torus)):
        for h in range(order):
            g = (np.array(t, np.int32), np.int32(h))
            if first.acts(g, (*sizes, 1)) and second.acts(g, (*others, 1)):
                acting.add((t, h))
    assert set(motions.elements) == {h for _, h in acting}
    assert set(motions.elements) | set(motions.lost) == set(range(order)) and not set(motions.elements) & set(motions.lost)
    shifts = itertools.product(*(range(0, n, step) for n, step in zip(torus, motions.steps, strict=True)))
    shifts = list(shifts)
    found = {(tuple((np.add(t, s) % torus).tolist()), h) for h, t in motions.elements.items() for s in shifts}
    assert found == acting
    assert all(isinstance(reason, str) and reason for reason in motions.lost.values())


@pytest.mark.parametrize(("sizes", "others", "kept"), [((4, 4), (4, 4), 8), ((4, 4), (3, 3), 2), ((4, 5), (4, 5), 4)])
def test_arrays_with_borders_must_be_turned_about_one_point(sizes, others, kept):
    action = ej.GridAction(WALLPAPER["p4m"], boundary="zero")
    motions = common_motions((action, sizes), (action, others))
    assert len(motions.elements) == kept and motions.steps == (None, None)


def test_sampled_elements_and_generators_act():
    group = WALLPAPER["p4m"]
    first, second = ej.GridAction(group), ej.GridAction(group, spacing=2)
    motions = common_motions((first, (6, 6)), (second, (3, 3)))
    t, h = (np.asarray(part) for part in motions.sample(group, jax.random.key(0), (10,)))
    drawn = [(t[i], h[i]) for i in range(10)]
    for g in [*drawn, *motions.generators(group)]:
        assert first.acts(g, (6, 6, 1)) and second.acts(g, (3, 3, 1))
