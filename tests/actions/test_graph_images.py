"""Traced images that are no permutation mark the features of a graph."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej


@pytest.mark.parametrize("images", [[0, 1, 7], [0, 0, 1], [0, 1, -1]])
def test_wrong_images_mark_a_graph(images):
    graph = ej.Graph(np.ones((3, 1), np.float32), [0], [1], edges=np.ones((1, 1), np.float32))
    move = jax.jit(lambda p: ej.GraphAction()((p, jnp.arange(1)), graph))
    assert jnp.isnan(move(jnp.array(images)).nodes).all() and jnp.isnan(move(jnp.array(images)).edges).all()
    assert not jnp.isnan(move(jnp.array([2, 1, 0])).nodes).any()
    hetero = ej.graphs.HeteroGraph({"a": graph.nodes}, {("a", "to", "a"): ([0], [1], graph.edges)})
    action = ej.actions.HeteroGraphAction().for_input(hetero)
    moved = jax.jit(lambda p: action((p, jnp.arange(1)), hetero))
    wrong = moved(jnp.array(images))
    assert jnp.isnan(wrong.nodes["a"]).all() and jnp.isnan(wrong.edges["a", "to", "a"].edges).all()
    assert not jnp.isnan(moved(jnp.array([2, 1, 0])).nodes["a"]).any()
