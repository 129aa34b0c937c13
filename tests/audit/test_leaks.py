"""Faults that are no errors of equivariance have a size: what masked entries, other samples and calls change."""

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.audit._table import percent
from tests.audit.networks import IMAGE, MASKED, SHIFT2, Chain, Counting, MaskedMean, MaskedSet, conv, linear, mean
from tests.audit.reports import made_report, made_row
from tests.helpers import randn


def near(a, b):
    return abs(a - b) <= 1e-9 * abs(b)


def other_padding(x):
    """The points with all masked ones exchanged."""
    return {**x, "x": jnp.where(x["mask"][..., None], x["x"], -1.7 * x["x"] + 0.9)}


def part(a, b):
    return float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))


class Head(nnx.Module):
    """A mean of a set that leaks, and a dense layer behind it."""

    def __init__(self):
        self.pool, self.head = MaskedMean(True), linear(4, 2)

    def __call__(self, x):
        return jnp.tanh(self.head(self.pool(x)))


def test_masked_entries_that_change_the_result():
    model = Head()
    report = ej.audit.explain(model, MASKED, in_action=MaskedSet())
    (row,) = report.accused
    pooled, output = (part(f(other_padding(MASKED)), f(MASKED)) for f in (model.pool, model))
    assert row.path == "pool" and set(row.leaks) == {"mask"} and near(row.leak, pooled)
    assert set(report.leaks) == {"mask"} and near(report.leaks["mask"], output)
    assert row.local_error <= 10 * row.floor and report.judgement == row.judgement == "broken" and not report.exact
    with pytest.raises(AssertionError, match="must not matter"):
        report.assert_exact()
    words = " ".join(str(report).split())
    assert f"Masked entries change `{row.name}` by {100 * pooled:.0f} %, the output by {100 * output:.0f} %." in words
    assert "breaks the symmetry" not in words and "1 of 5 rows leaks" in words
    assert f"leak {100 * pooled:.0f} %" in words and "an error of equivariance" in words
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert found["leaks"] == report.leaks and [r["leak"] for r in found["rows"]] == [r.leak for r in report.rows]


def test_the_page_shows_leaks(tmp_path):
    report = ej.audit.explain(Head(), MASKED, in_action=MaskedSet())
    report.to_html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    (row,) = report.accused
    assert (
        f"leak {100 * row.leak:.0f} %" in text
        and f'data-value="{row.leak!r}"' in text
        and "an error of equivariance" in text
    )


def test_samples_that_change_each_other():
    stem = conv(3, 4)
    model = Chain("stem", lambda x: x - 0.2 * x.mean(0, keepdims=True), jnp.tanh, mean, "head", stem=stem, head=linear(4, 2))
    report = ej.audit.explain(model, IMAGE, in_action=SHIFT2)
    others = jnp.concatenate([IMAGE[:1], -1.3 * IMAGE[:0:-1] + 0.1])
    before, after = (stem(x) - 0.2 * stem(x).mean(0, keepdims=True) for x in (IMAGE, others))
    (row,) = report.accused
    assert set(row.leaks) == {"batch"} and near(row.leak, part(after[:1], before[:1]))
    assert near(report.leaks["batch"], part(model(others)[:1], model(IMAGE)[:1]))
    words = " ".join(str(report).split())
    assert f"Samples of the batch change each other's output by {percent(report.leaks['batch'])}" in words


def test_a_leak_beside_an_error():
    """A row that breaks the symmetry and mixes samples shows both."""
    model = Chain("bad", jnp.tanh, mean, bad=Both())
    report = ej.audit.explain(model, IMAGE, in_action=SHIFT2, depth=1)
    (row,) = report.accused
    assert {c.kind for c in row.causes} == {"border", "batch"} and row.local_error > 0.1 < row.leak
    text = str(report)
    assert "breaks the symmetry" in text and f"leak {100 * row.leak:.0f} %" in text and "÷ floor" in report.table(width=140)


class Both(nnx.Module):
    """A padded convolution, and the mean of the batch taken away."""

    def __init__(self):
        self.conv = conv(3, 4, padding="SAME")

    def __call__(self, x):
        y = self.conv(x)
        return y - y.mean(0, keepdims=True)


def test_state_that_changes():
    report = ej.audit.explain(Chain("stem", "bad", mean, stem=conv(3, 4), bad=Counting()), IMAGE, in_action=SHIFT2)
    (row,) = report.accused
    assert row.leaks == {"state": 1.0} and report.leaks == {}
    words = " ".join(str(report).split())
    assert "A call changes the state of `bad` by 100 %." in words and "1 of 3 rows changes the state" in words


def test_batch_statistics_have_both():
    norm = nnx.BatchNorm(4, rngs=nnx.Rngs(0))
    model = Chain("stem", "bad", mean, stem=nnx.Conv(3, 4, (3, 3), padding="CIRCULAR", rngs=nnx.Rngs(0)), bad=norm)
    report = ej.audit.explain(model, IMAGE.astype(jnp.float32), in_action=SHIFT2)
    (row,) = report.accused
    assert set(row.leaks) == {"batch", "state"} and all(0.001 < size < 10 for size in row.leaks.values())
    assert row.leak == max(row.leaks.values())


def test_nothing_leaks_from_an_exact_network():
    report = ej.audit.explain(MaskedMean(False), MASKED, in_action=MaskedSet())
    assert report.exact and report.leaks == {} and all(row.leaks == {} and row.leak == 0.0 for row in report.rows)
    assert "leak" not in str(report)


@pytest.mark.parametrize("broken", [True, False])
def test_masks_under_groups_that_move_no_places(broken):
    still = ej.TrivialAction(SHIFT2.group)
    actions: Any = {"x": still, "mask": still}
    report = ej.audit.explain(MaskedMean(broken), MASKED, in_action=actions)
    assert set(report.leaks) == ({"mask"} if broken else set())
    assert [row.name.split()[0] for row in report.accused] == (["reduce_sum"] if broken else [])


class Centred(nnx.Module):
    """Takes the mean over all nodes away."""

    def __call__(self, graph):
        return graph.nodes - graph.nodes.mean(0, keepdims=True)


def test_graphs_have_sizes():
    graph = ej.Graph(randn((6, 3)), senders=[0, 1, 2, 3, 4, 5], receivers=[1, 2, 1, 4, 4, 3], node_graph=[0, 0, 0, 1, 1, 1])
    report = ej.audit.explain(Centred(), graph, in_action=ej.GraphAction())
    assert set(report.leaks) == {"mask", "batch"} and all(size > 0.01 for size in report.leaks.values())
    leaks = [row.leaks for row in report.rows if row.leaks]
    assert leaks and all(set(own) == {"mask", "batch"} for own in leaks)


@pytest.mark.parametrize("width", [80, 120, 160])
def test_lines_stay_within_the_width(width):
    row = made_row("some.long.name.of.a.module", error=1e-9, leaks={"mask": 0.593})
    both = made_row("b", leaks={"batch": 0.12, "state": 0.3})
    endless = made_row("c", error=1e-9, leaks={"mask": np.inf})
    report = made_report(row, both, endless, leaks={"mask": 0.2, "batch": np.inf})
    lines = report.table(width=width).splitlines()
    assert max(map(len, lines)) <= width and any("leak 59 %" in line for line in lines)
    json.dumps(report.to_dict(), allow_nan=False)
