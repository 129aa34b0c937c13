"""The audit without data: the right reason for every planted fault, none on exact networks, checked against measurements."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.audit.exact_networks import EXACT
from tests.audit.networks import IMAGE, P4M, SHIFT2, Chain, conv, linear, mean
from tests.audit.planted import PLANTED

#: What can't be read off: state, batch, masks, and a learned map that is still zero.
UNSEEN = {"batch", "state", "mask"}
UNREAD = {"learned map of zeros"}


def read(case, **more):
    """Returns the static report on a case."""
    options = {k: v for k, v in case.options.items() if k in ("out_action", "actions")}
    with jax.numpy_dtype_promotion("standard"):
        return ej.audit.static(
            case.make(), np.shape(case.x), in_action=case.action, dtype=np.asarray(case.x).dtype, **options, **more
        )


READ = [case for case in PLANTED if not isinstance(case.x, dict) and case.name not in UNREAD]


@pytest.mark.parametrize("case", READ, ids=lambda case: case.name)
def test_planted_faults(case):
    wanted = {kind for kinds in case.expected.values() for kind in kinds} - UNSEEN
    found = read(case)
    assert {c.kind for row in found.rows for c in row.causes} == wanted, str(found)
    assert found.exact == (not wanted) and len(found.sentence) > 10


HAND_WRITTEN = {
    "hand-written lifting",
    "p4m in a chain, stride 2",
    "U-Net with shifts that the stride divides",
    "sorted points",
}


@pytest.mark.parametrize("case", [c for c in EXACT if not isinstance(c.x, dict)], ids=lambda case: case.name)
def test_exact_networks(case):
    if case.name not in HAND_WRITTEN:
        found = read(case)
        assert [(row.name, row.causes) for row in found.rows if row.causes] == [], str(found)


def strided(padding="CIRCULAR", k=3, size=8):
    """Two strided isotropic layers, and an input."""
    options = {"group": P4M.group, "padding": padding, "allow_inexact": True, "param_dtype": jnp.float64}
    model = Chain("stem", jnp.tanh, "more", jnp.tanh, mean, "head",
                  stem=ej.nn.Conv(3, 4, (k, k), 2, rngs=nnx.Rngs(0), **options),
                  more=ej.nn.Conv(4, 4, (k, k), 2, rngs=nnx.Rngs(1), **options), head=linear(4, 2))  # fmt: skip
    return model, IMAGE[:, :size, :size]


def test_the_step_of_the_shifts_and_the_sentence():
    model, x = strided()
    found = ej.audit.static(model, x.shape, in_action=P4M, dtype=x.dtype)
    assert (
        found.steps == (4, 4)
        and "multiples of 4" in found.sentence
        and "`stem` subsamples by 2 with a 3×3 kernel" in found.sentence
    )
    plain = Chain("stem", jnp.tanh, mean, stem=conv(3, 4, strides=2))
    found = ej.audit.static(plain, (1, 8, 8, 3), in_action=P4M, dtype=jnp.float64)
    assert "exact for shifts by multiples of 2" in found.sentence and "not for quarter turn" in found.sentence
    assert "kernel" in str(found) and found.to_dict()["steps"] == (2, 2)


@pytest.mark.parametrize(("padding", "k"), [("CIRCULAR", 3), ("CIRCULAR", 2), ("SAME", 3), ("SAME", 2), ("SAME", 4)])
def test_against_measurements(padding, k):
    model, x = strided(padding, k)
    found = ej.audit.static(model, x.shape, in_action=P4M, dtype=x.dtype)
    out = ej.TrivialAction(P4M.group)
    call = jax.jit(model)
    every = [(t, h) for h in range(1, 8) for t in np.ndindex(4, 4)]
    elements = (jnp.asarray([t for t, _ in every], jnp.int32), jnp.asarray([h for _, h in every], jnp.int32))
    error = ej.equivariance_error(call, P4M, out, x, elements).reshape(7, 16).min(1)
    exact = {h for h in range(1, 8) if error[h - 1] <= 1e-12}
    said = {int(label.split(",")[0].split()[-1]) for label in found.kept}
    assert said == exact, (str(found), error)
    shifts = (jnp.asarray([[1, 0], [2, 0], [4, 0], [0, 4]], jnp.int32), jnp.zeros(4, jnp.int32))
    measured = ej.equivariance_error(call, P4M, out, x, shifts)
    assert (found.steps == (4, 4)) == bool((measured[2:] <= 1e-12).all()) and measured[0] > 1e-6


def test_abstract_models_need_no_memory():
    class Net(nnx.Module):
        def __init__(self):
            self.stem = nnx.Conv(3, 4, (3, 3), strides=2, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.stem(x).mean((1, 2))

    found = ej.audit.static(nnx.eval_shape(Net), (1, 8, 8, 3), in_action=SHIFT2)
    assert {c.kind for row in found.rows for c in row.causes} == {"border", "phase"} and not found.exact


def test_layers_that_choose_by_the_data_keep_every_shift():
    """What they choose does not count as lost, unless somebody goes back to the fine grid without looking."""
    given, x = {"param_dtype": float, "rngs": nnx.Rngs(0)}, (2, 16, 16, 3)
    down = ej.nn.PolyphaseConv(3, 4, (3, 3), 2, **given)
    exact = Chain("down", jnp.tanh, mean, down=down)
    read = ej.audit.static(exact, x, in_action=SHIFT2, dtype=float)
    assert read.exact and read.steps == (1, 1)
    back = lambda y: jnp.repeat(jnp.repeat(y, 2, 1), 2, 2)  # noqa: E731
    read = ej.audit.static(Chain("down", back, jnp.tanh, down=down), x, in_action=SHIFT2, dtype=float)
    assert read.steps == (2, 2) and "without looking where they were chosen from" in str(read)
    assert ej.audit.explain(exact, jnp.ones(x), in_action=SHIFT2).judgement == "not judged"
