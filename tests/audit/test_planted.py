"""Planted faults: the right row, causes and plan; shares that add up; models left alone."""

import chex
import jax
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.audit.claims import contradictions
from tests.audit.planted import PLANTED

NAMES = [case.name for case in PLANTED]


#: Planted faults that no mend of one row removes: orders (causal layers too), dense bottlenecks, crops, and what depends on batch or state.
STAY = {
    "a window as large as the image", "unpadded window", "cumulative sum", "cumulative maximum", "mirrored branch",
    "recurrent along rows", "cumulative sum of points", "first point", "recurrent over points", "plain convolution on a fibre",
    "dropout", "batch statistics", "mean of the batch", "counting", "leaking mask", "causal padding", "causal and dilated",
}  # fmt: skip


#: Planted faults that can't be read off a model: what depends on the batch, on the state, on masked entries.
UNSEEN = {"batch statistics", "mean of the batch", "counting", "leaking mask"}


def culprit(row, expected):
    """Returns the planted fault that a row holds."""
    for key in expected:
        words = {word for member in row.members for word in member.split()}
        if key == row.path or key in row.name.split(" + ") or key in words:
            return key
    return None


def check_plan(case, found):
    """The plan mends what can be mended, and names what stays."""
    plan = found.plan
    assert plan.complete == (case.name not in STAY), plan
    assert len(plan.errors) == len(plan.mends) + 1
    if case.name in STAY:
        assert set(plan.remaining) <= {row.name for row in found.accused}
    else:
        assert {row.name for row in found.accused} <= {mend.name for mend in plan.mends}
        assert plan.error <= 10 * plan.floor


@pytest.mark.parametrize("case", PLANTED, ids=NAMES)
def test_the_right_row_and_the_right_causes(case):
    found = case.audit()
    blamed = {}
    for row in found.accused:
        key = culprit(row, case.expected)
        assert key is not None, (row.name, row.verdict, [c.kind for c in row.causes])
        blamed.setdefault(key, set()).update(cause.kind for cause in row.causes)
    assert blamed == dict(case.expected), [(row.name, row.members, row.verdict) for row in found.rows]
    floor = 10 * found.floor
    if (np.nan_to_num(found.error) > floor).any():
        assert abs(sum(row.share for row in found.rows) - 1) <= 1e-6
    else:
        assert all(row.share is None for row in found.rows)
    check_plan(case, found)
    if case.name not in UNSEEN:
        assert contradictions(case, found) == []
    if case.single and not any(found.lost):
        everywhere = case.audit(every_cut=True, perturb=False)
        for row in everywhere.rows:
            assert abs(row.share - (culprit(row, case.expected) is not None and row.accused)) <= 1e-6


@pytest.mark.slow
def test_models_are_left_alone():
    for case in PLANTED[::6]:
        model = case.make()
        classes = [(path, type(m), type(m).__call__) for path, m in nnx.iter_modules(model) if callable(m)]
        before = jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.RngKey))))
        ej.audit.explain(model, case.x, in_action=case.action, **case.options)
        assert [(path, type(m), type(m).__call__) for path, m in nnx.iter_modules(model) if callable(m)] == classes
        chex.assert_trees_all_equal(jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.RngKey)))), before)


def test_there_are_enough():
    assert len(PLANTED) >= 40 and len(set(NAMES)) == len(NAMES)
