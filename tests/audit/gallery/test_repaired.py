"""Plans made real: the rebuilt networks are exact, measured with ``jnp.roll`` and without the audit, and judged so by it."""

import itertools
from math import ceil, floor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from tests.audit.gallery.repaired import REPAIRS

EXACT = 1e-10


def shifts(sizes):
    """Returns all shifts of a small torus; of a larger one some along each axis and along the diagonal."""
    if np.prod(sizes) <= 64:
        return np.array(list(itertools.product(*map(range, sizes))))
    steps = np.vstack([np.eye(len(sizes), dtype=int), np.ones((1, len(sizes)), int)])
    lengths = [k for k in (1, 2, 3, 4, 5, 6, 8, 11, 16, 21, 32, 43) if k < max(sizes)]
    return np.concatenate([k * steps for k in lengths])


def largest_error(model, x):
    """Returns by how much the output of a shifted input differs from the shifted output, relative to it.

    An output on a coarse grid moves by a whole number of its places: one of the two next to the shift of the input divided by
    the stride, along each axis. Which one depends on the samples that were chosen in each image.
    """
    sizes, run = x.shape[1:-1], jax.jit(lambda x, t: model(jnp.roll(x, t, tuple(range(1, x.ndim - 1)))))
    y = np.asarray(run(x, np.zeros(len(sizes), int)))
    grid = y.shape[1:-1] if y.ndim == x.ndim else ()
    length = lambda a: np.linalg.norm(a.reshape(len(a), -1), axis=1)  # noqa: E731
    errors = []
    for shift in shifts(sizes):
        z = np.asarray(run(x, shift))
        where = [shift[k] * n / sizes[k] for k, n in enumerate(grid)]
        images = [np.roll(y, t, range(1, 1 + len(grid))) for t in itertools.product(*({floor(t), ceil(t)} for t in where))]
        errors.append(np.min([length(z - image) for image in images], 0) / length(y))
    return np.max(errors)


@pytest.mark.parametrize("repair", [pytest.param(r, id=r.name, marks=[pytest.mark.slow] * r.slow) for r in REPAIRS])
def test_the_plan_makes_the_network_exact(repair):
    entry = repair.entry
    with jax.numpy_dtype_promotion("standard"):
        report = entry.audit()
        plan = report.plan
        assert plan.complete and plan.error <= EXACT < plan.errors[0]
        assert {repair.key(report, mend): set(mend.kinds) for mend in plan.mends} == repair.expected
        assert len(plan.mends) == len(repair.expected)

        model = repair.model(report)
        assert largest_error(model, entry.x) <= EXACT

        report = ej.audit.explain(model, entry.x, **{"in_action": entry.action, **entry.options, **repair.options})
        assert report.judgement == "kept" and report.exact
