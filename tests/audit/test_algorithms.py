"""What the audit says of a network does not depend on the algorithms of its convolutions; what it measures as run does."""

import json
import pickle

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.audit._html import page
from equijax.nn import _frequency
from tests.audit.networks import IMAGE, MASKED, SHIFT2, Chain, MaskedSet, linear
from tests.audit.reports import made_report, made_row
from tests.helpers import options, randn

P4 = ej.wallpaper("p4")
FAST = ("frequency", "group", "auto")
TURNS = ej.GridAction(P4)
SQUARES = randn((2, 5, 5, 3))


def exact(dtype=jnp.float64):
    """Quarter turns and shifts of a torus, kept: windows of nine samples and of one."""
    o = options(P4, padding="CIRCULAR", param_dtype=dtype)
    first, second, third = ej.nn.LiftingConv(3, 2, 3, **o), ej.nn.GroupConv(2, 3, 1, **o), ej.nn.GroupConv(3, 2, 3, **o)
    pool = ej.nn.GlobalPool("mean", group=P4)
    return Chain("first", nnx.relu, "second", nnx.relu, "third", "pool", first=first, second=second, third=third, pool=pool)


def broken():
    """Zero padding, a stride, flatten and dense."""
    o = options(ej.Translation(2))
    flat = lambda x: x.reshape(x.shape[0], -1)  # noqa: E731
    modules = {"pad": ej.nn.Conv(3, 4, 3, **o), "stride": ej.nn.Conv(4, 4, 3, 2, padding="CIRCULAR", **o)}
    return Chain("pad", jnp.tanh, "stride", jnp.tanh, flat, "dense", **modules, dense=linear(64, 2))


class Leaking(nnx.Module):
    """A mean over a set that counts what is masked, behind a convolution on a plain group."""

    def __init__(self):
        self.conv = ej.nn.GroupConv(1, 2, (), **options(ej.Cyclic(3)))

    def __call__(self, x):
        values = jnp.tanh(self.conv(x["x"][..., None]))
        return values.mean((1, 2))


INVARIANT = {"out_action": ej.TrivialAction(SHIFT2.group)}
NETWORKS = {
    "exact": (exact, SQUARES, TURNS, {}),
    "broken": (broken, IMAGE, SHIFT2, INVARIANT),
    "leaking": (Leaking, MASKED, MaskedSet(), {}),
}


def under(make, algorithm):
    model = make()
    model.set_attributes(algorithm=algorithm)
    return model


def words(report):
    """All that is no number of a report."""
    told = [
        (r.name, r.verdict, r.causes, r.lost, r.vain, r.doubt, r.action_in, r.action_out, set(r.leaks)) for r in report.rows
    ]
    return told, report.judgement, report.elements, report.lost, report.undefined, set(report.leaks)


def numbers(report):
    """The numbers of a report."""
    rows = [(r.local_error, r.floor, r.term, r.share or 0.0, r.leak, r.border or 0.0) for r in report.rows]
    return np.concatenate([np.ravel(rows), report.error, list(report.leaks.values()), [report.floor]])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_report_is_that_of_the_dense_program(name):
    make, x, action, more = NETWORKS[name]
    audit = lambda algorithm: ej.audit.explain(under(make, algorithm), x, in_action=action, **more)  # noqa: E731
    dense = audit("dense")
    assert dense.judgement == ("kept" if name == "exact" else "broken")
    assert {"exact": set(), "broken": {"border", "phase", "dense"}, "leaking": {"mask"}}[name] == {
        cause.kind for row in dense.accused for cause in row.causes
    }
    assert dense.error_as_run is dense.error and not any("as the model runs" in note for note in dense.notes)
    for algorithm in FAST:
        found = audit(algorithm)
        assert words(found) == words(dense)
        np.testing.assert_allclose(numbers(found), numbers(dense), rtol=1e-9, atol=1e-14)
        assert [note for note in found.notes if "as the model runs" not in note] == list(dense.notes)
        (note,) = set(found.notes) - set(dense.notes)
        assert note.startswith(
            "the rows read the convolutions in their dense form; as the model runs, with its own algorithms"
        )
        np.testing.assert_allclose(found.error_as_run, found.error, rtol=1e-9, atol=4 * found.floor)
        assert found.error_as_run.dtype == np.float64 and not found.broken_as_run


@pytest.mark.parametrize("name", ["exact", "broken"])
def test_static_reads_the_dense_program(name):
    make, x, action, more = NETWORKS[name]
    told = {
        str(ej.audit.static(under(make, algorithm), x.shape, in_action=action, dtype=jnp.float64, **more))
        for algorithm in ("dense", *FAST)
    }
    assert len(told) == 1


@pytest.mark.parametrize("algorithm", FAST)
def test_single_precision_as_run_stays_near_the_floor(algorithm):
    model = under(lambda: exact(jnp.float32), algorithm)
    for x in (SQUARES, SQUARES + 1000.0):
        found = ej.audit.explain(model, x.astype(jnp.float32), in_action=TURNS)
        assert found.exact and 0 < found.error_as_run.max() <= 10 * found.floor


def tilted(program, factor):
    """A program of an output, wrong by a factor for one row of the grid."""
    return lambda s, x, w: (lambda y: y.at[0].multiply(factor))(program(s, x, w))


@pytest.mark.parametrize("factor", [1.01, np.nan])
def test_a_transform_that_breaks_the_symmetry_is_seen(monkeypatch, factor):
    """The negative control: the rows are exact in their dense form, the network as it runs is not."""
    monkeypatch.setattr(_frequency, "output", tilted(_frequency.output, factor))
    found = ej.audit.explain(under(exact, "frequency"), SQUARES, in_action=TURNS)
    assert not found.accused and found.error.max() <= 10 * found.floor
    assert not found.exact and found.judgement == "broken" and found.broken_as_run
    assert np.isnan(factor) or 1e-5 < found.error_as_run.max() < 1e-1
    with pytest.raises(AssertionError, match="not equivariant"):
        found.assert_exact()
    told = " ".join(str(found).split())
    what = "makes the output undefined" if np.isnan(factor) else "changes the output by"
    assert f"{what}" in told and "as the model runs, with the algorithms of its convolutions, but not with dense" in told
    assert "as the model runs" in page(found)
    assert found.to_dict()["exact"] is False


def test_saved_reports():
    report = made_report(made_row("a", "exact at this shape"), error=np.array([0.0, 0.0, np.nan, 0.0]))
    assert report.error_as_run is report.error and report.to_dict()["error_as_run"] == [0.0, 0.0, None, 0.0]
    run = np.array([0.0, 0.5, np.nan, 0.0])
    made = made_report(*report.rows, error=report.error, _as_run=run)
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again.error_as_run, run)
    assert again.broken_as_run == ("mirror",)
    assert json.loads(json.dumps(again.to_dict(), allow_nan=False))["error_as_run"] == [0.0, 0.5, None, 0.0]
    assert "_as_run" not in again.to_dict()
    del again.__dict__["_as_run"]  # as one that was saved before there were figures as run
    old = pickle.loads(pickle.dumps(again))
    assert old.error_as_run is old.error and old.judgement == report.judgement


def test_depthwise_convolutions_run_by_their_algorithm_too():
    model = ej.nn.Sequential(ej.nn.DepthwiseConv(3, 3, **options(P4, padding="CIRCULAR", algorithm="frequency")))
    x = randn((2, 5, 5, 4, 3))
    report = ej.audit.explain(model, x, in_action=model.in_action)
    assert report.exact
    assert report.error_as_run is not report.error
    model.set_attributes(algorithm="dense")
    dense = ej.audit.explain(model, x, in_action=model.in_action)
    assert dense.error_as_run is dense.error
