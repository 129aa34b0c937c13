"""Numbers, words and results of functions that were once cut, coerced or added over a batch without a word."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej

G = ej.graphs
WORD: Any = "False"
HALF: Any = "0.5"
CUT: Any = (0.7,)
PHASES: Any = np.array([1j, 2.0])
WIDE: Any = np.array([3 * 10**9, 1], np.uint32)
WHOLE: Any = np.ones((4, 1), np.int32)
ONE: Any = "1"
X: Any = np.arange(4, dtype=np.float32)[:, None]
GRAPH = ej.Graph(X, [0, 1], [1, 2], positions=np.arange(12, dtype=np.float32).reshape(4, 3))
SETS: Any = np.ones((2, 4, 3), np.float32)
UP, DOWN = ej.nn.PolyphaseUpsample((2,)), ej.nn.PolyphaseDownsample((2,))
NAN = float("nan")

REFUSED = {
    "order nan": (lambda: ej.nn.polyphase_downsample(X, (2,), order=NAN), ValueError, "`order` is nan"),
    "order 0": (lambda: ej.nn.polyphase_downsample(X, (2,), order=0), ValueError, "`order` is 0"),
    "order True": (lambda: ej.nn.PolyphaseDownsample((2,), order=True), TypeError, "`order` is True"),
    "shift word": (lambda: ej.nn.fourier_shift(X, [ONE]), TypeError, "`shift` is '1'"),
    "shift nan": (lambda: ej.nn.fourier_shift(X, [NAN]), ValueError, "`shift` is nan"),
    "shift axes": (lambda: ej.nn.fourier_shift(X, [1.0] * 3), ValueError, "must have 3 axes of a grid"),
    "trailing": (lambda: ej.nn.low_pass(X, [2], trailing=5), ValueError, "and 5 behind them"),
    "phase cut": (lambda: UP.out_action_for(UP.in_action, CUT), TypeError, "`choice` is (0.7,)"),
    "phase of none": (lambda: DOWN.out_action_for(DOWN.in_action, (2,)), ValueError, "`choice` holds 2"),
    "phases": (lambda: DOWN.out_action_for(DOWN.in_action, (1, 1)), ValueError, "`choice` has shape (2,)"),
    "threshold": (lambda: ej.nn.StandardDeviation(HALF), TypeError, "`threshold` is '0.5'"),
    "probability": (lambda: ej.nn.Quantiles((True,)), TypeError, "`probabilities` is True"),
    "radius": (lambda: G.radius_graph(X, True), TypeError, "`radius` is True"),
    "complex points": (
        lambda: G.radius_graph(X * 1j, 1.0),
        TypeError,
        "dtype=complex64); it must hold real numbers",
    ),
    "complex cell": (lambda: G.radius_graph(X, 1.0, cell=[[2j]]), TypeError, "`cell` is"),
    "complex strain": (lambda: G.strain(GRAPH, 1j * np.eye(3)), TypeError, "`eps` is"),
    "complex weights": (lambda: G.neighbour_sum(X, GRAPH, PHASES), TypeError, "`weights` are complex"),
    "wide weights": (
        lambda: G.neighbour_sum(WHOLE, GRAPH, WIDE),
        TypeError,
        "`weights` are uint32",
    ),
    "complex maximum": (
        lambda: G.message_reduce(lambda s, r, e: jax.lax.complex(s, s), GRAPH, X, None, "max"),
        TypeError,
        "a max needs real numbers",
    ),
    "directed": (lambda: G.to_networkx(GRAPH, directed=WORD), TypeError, "`directed` is 'False'"),
    "padded": (lambda: G.to_jraph(GRAPH, padded=WORD), TypeError, "`padded` is 'False'"),
    "tables": (lambda: G.GraphBudget.of([GRAPH], 1, tables=WORD), TypeError, "`tables` is 'False'"),
    "spread": (lambda: G.GraphBudget.of([GRAPH], 1, spread=True), TypeError, "`spread` is True"),
    "drop_last": (
        lambda: G.batches([GRAPH], G.GraphBudget.of([GRAPH], 1), drop_last=WORD),
        TypeError,
        "`drop_last` is 'False'",
    ),
    "sum over the batch": (lambda: ej.nn.DeepSet(lambda x: x, lambda x: x.sum(0))(SETS), ValueError, "`rho` returned"),
    "no array": (lambda: ej.nn.DeepSet(lambda x: x, lambda x: 3.0)(SETS), TypeError, "`rho` returned a float"),
    "frames": (lambda: ej.nn.frame_average(lambda x: x.sum(), SETS), ValueError, "keep the batch axes (2,)"),
    "nothing": (lambda: ej.nn.MapNodes(lambda x: None)(GRAPH), TypeError, "returned None"),
    "no edges": (lambda: ej.nn.MapEdges(lambda x: x)(GRAPH), ValueError, "no features"),
    "lists": (lambda: ej.nn.JanossyPool(lambda x: x.tolist(), 2)(SETS), TypeError, "`fn` returned a list"),
    "no graph": (
        lambda: ej.nn.GraphTransformerBlock(1, 1, local=lambda g: g.nodes, rngs=nnx.Rngs(0))(GRAPH),
        TypeError,
        "`local` returns",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, error, words = REFUSED[case]
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)


@pytest.mark.parametrize("option", ["deterministic", "return_attention_weights"])
def test_words_are_no_switches_of_a_call(option):
    sets, graphs = ej.nn.MultiheadAttentionBlock(3, 1, rngs=nnx.Rngs(0)), ej.nn.GATConv(1, 1, rngs=nnx.Rngs(0))
    for call in (lambda value: sets(SETS, SETS, **value), lambda value: graphs(GRAPH, **value)):
        with pytest.raises(TypeError, match=f"`{option}` is 'False'"):
            call({option: WORD})
    with pytest.raises(TypeError, match="`deterministic` is 'False'"):
        graphs.set_view(deterministic=WORD)


def test_quantiles_at_the_ends_of_the_range():
    values: Any = np.array([[-3e38], [3e38]], np.float32)
    assert ej.nn.Quantiles((0.5, 0.75)).over_axis(values).tolist() == pytest.approx([0.0, 1.5e38])
    infinite: Any = np.array([[-np.inf], [1.0]], np.float32)
    assert ej.nn.Quantiles((0.25, 1.0)).over_axis(infinite).tolist() == [-np.inf, 1.0]


def test_a_centred_maximum_of_eight_bits():
    group = ej.wallpaper("p4m")
    pool = ej.nn.CentredPool((2, 2), (1, 1), group=group, in_fibre=ej.reps.Scalar(group.point_group))
    assert (pool(jnp.ones((4, 4, 1), jnp.float8_e4m3fn)).astype(jnp.float32) == 1).all()


def test_eigenspaces_that_do_not_exist():
    net: Any = ej.nn.BasisNet(1, 2, nodes_per_graph=4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`groups` holds 1"):
        net(GRAPH, np.array([[1]]))
    with pytest.raises(TypeError, match="`groups` is"):
        net(GRAPH, np.array([[0.5]]))
    nodes = jax.jit(lambda groups: net(GRAPH, groups).nodes)
    assert jnp.isnan(nodes(jnp.array([[1]]))).all() and not jnp.isnan(nodes(jnp.array([[0]]))).any()


def test_a_form_without_score_is_no_canonical_form():
    action = ej.FibreAction(ej.reps.Regular(ej.Cyclic(4)))
    form, _ = ej.nn.canonicalize(X, action, lambda x: x[0, 0] / (x[0, 0] * 0))
    assert jnp.isnan(form).all()
