"""Tables are forgotten: many groups, one after another, take no more memory than a few."""

import gc
import tracemalloc

import numpy as np
import pytest

import equijax as ej
from equijax import _cache
from equijax._cache import bounded, bytes_of


def test_the_latest_results_are_kept_up_to_a_number_and_to_a_size(monkeypatch):
    monkeypatch.setattr(_cache, "ENTRIES", 3)
    monkeypatch.setattr(_cache, "BYTES", 100)
    made = []

    @bounded
    def zeros(n, *, of=1):
        made.append(n)
        return (np.zeros(n * of, np.int8),)

    assert [zeros(n)[0].size for n in (1, 2, 3, 1, 4)] == [1, 2, 3, 1, 4] and made == [1, 2, 3, 4]
    assert zeros(1) is zeros(1) and made == [1, 2, 3, 4]  # it was asked for lately
    assert zeros(2) is not None and made[-1] == 2  # it was forgotten
    assert zeros(90)[0].size == 90 and zeros(50, of=4)[0].size == 200
    assert zeros(50, of=4) is zeros(50, of=4)  # the latest is kept whatever its size
    zeros(1)
    assert made[-3:] == [90, 50, 1]
    assert bytes_of((np.zeros(3), {"a": [np.zeros(2, np.int32)]}, "word")) == 32


def _one_group(k):
    """A group of an order from 100 to 400 that is equal to no other, and what its representations know."""
    order = 100 + k
    group = ej.FiniteGroup.from_table(np.add.outer(np.arange(order), np.arange(order)) % order)
    fibres = [
        ej.reps.Regular(group),
        ej.reps.Quotient(group.subgroup([order // 2 if order % 2 == 0 else 0])),
        ej.reps.Scalar(group),
    ]
    for fibre in fibres:
        assert fibre.invariants.shape[1] == fibre.dim and len(fibre.generators) == len(group.generators)
        fibre.sources(1)
    return group.conjugacy_classes


@pytest.mark.slow
def test_three_hundred_groups_take_no_more_memory_than_some(monkeypatch):
    monkeypatch.setattr(_cache, "BYTES", 2**21)
    monkeypatch.setattr(_cache, "ENTRIES", 8)
    _one_group(0)
    gc.collect()
    tracemalloc.start()
    sizes = []
    for k in range(1, 300):
        _one_group(k)
        if k % 100 == 99:
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0] / 2**20)
    tracemalloc.stop()
    assert sizes[-1] < 40 and sizes[-1] < 3 * max(sizes[0], 10), sizes
