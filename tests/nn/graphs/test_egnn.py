"""EGNN: the law of motions and relabellings, the equations in plain numpy, masks, and points that coincide."""

import ase.build
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import equijax as ej
from equijax.testing import check_equivariance, check_graph_layer
from tests.helpers import check_message, randn

FORMS = {
    "plain": {"aggregation": "mean"},
    "velocities": {"use_velocities": True, "edge_features": 2},
    "options": {
        **{"use_velocities": True, "update_velocities": False, "attention": True, "normalize": True, "tanh": True},
        **{"residual": False, "hidden_features": 5},
    },
}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def make(form=None, features=3, loud=True, **more):
    """A float64 layer; ``loud`` replaces the tiny last matrices, so that positions really move."""
    options = {"param_dtype": jnp.float64, "bias_init": nnx.initializers.normal(0.3), **(form or {}), **more}
    layer = ej.nn.EGNN(features, features, rngs=nnx.Rngs(0), **options)
    for network in (layer.position, layer.velocity) if loud else ():
        if network is not None:
            last = network[1].kernel
            last[...] = jax.random.normal(jax.random.key(5), last.shape, last.dtype)
    return layer


def cloud(form=None, n=6, edges=15, ndim=3, seed=0, **more):
    """Two random graphs in one; node 0 has no edges."""
    form = form or {}
    random = np.random.default_rng(seed)
    owner = np.arange(n) % 2
    pairs = [(i, j) for i in range(1, n) for j in range(1, n) if owner[i] == owner[j]]
    chosen = np.array(pairs)[random.integers(len(pairs), size=edges)]
    fields = dict(nodes=randn((n, 3), seed), senders=chosen[:, 0], receivers=chosen[:, 1], node_graph=owner)
    fields |= dict(positions=randn((n, ndim), seed + 1))
    if form.get("use_velocities"):
        fields |= dict(velocities=randn((n, ndim), seed + 2))
    if form.get("edge_features"):
        fields |= dict(edges=randn((edges, form["edge_features"]), seed + 3))
    return ej.Graph(**(fields | more))


def close(a, b, tolerance=1e-12):
    return all(
        np.linalg.norm(np.asarray(x) - np.asarray(y)) <= tolerance * max(1.0, np.linalg.norm(np.asarray(y)))
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def moved(graph):
    return [a for a in (graph.nodes, graph.positions, graph.velocities) if a is not None]


def test_laws():
    """Motions, relabelling, edge order, gradients, images, NaN padding, batch mates, empty graphs, constant inputs."""
    check_graph_layer(make(FORMS["velocities"]), cloud(FORMS["velocities"], shifts=randn((15, 3), 7)))


def test_a_crystal_has_the_same_outputs_in_a_cell_of_any_size():
    layer = jax.jit(make(FORMS["velocities"] | {"edge_features": 0}, normalize=True))
    salt, found = ase.build.bulk("NaCl", "rocksalt", a=5.64), []
    salt.rattle(0.1, seed=1)
    for size in (1, 2, 3):
        graph = ej.graphs.from_ase(salt.repeat(size), 4.1)
        features = jax.nn.one_hot(graph.nodes - 11, 7, dtype=jnp.float64)[:, ::3]
        out = layer(graph.replace(nodes=features, velocities=0 * graph.positions))
        found.append((out.nodes, out.positions - graph.positions, out.velocities))
        assert out.shifts is not None
        assert close(found[-1], [np.tile(x, (size**3, 1)) for x in found[0]])
    assert float(jnp.abs(found[0][1]).min()) > 1e-3
    blind = layer(graph.replace(nodes=features, velocities=0 * graph.positions, shifts=None))
    assert not close(blind.nodes[:2], found[0][0], 1e-2)  # negative control


def test_law_with_every_option():
    layer = make(FORMS["options"])
    check_equivariance(jax.jit(layer), layer.in_action, layer.out_action, cloud(FORMS["options"]))


def test_law_after_training():
    form = FORMS["velocities"]
    layer, graph, before = make(form), cloud(form), moved(make(form)(cloud(form)))
    optimizer, target = nnx.Optimizer(layer, optax.sgd(0.05), wrt=nnx.Param), randn((6, 3), 9)

    @nnx.jit
    def step(layer, optimizer):
        loss = lambda layer: jnp.mean((layer(graph).positions - target) ** 2)  # noqa: E731
        optimizer.update(layer, nnx.grad(loss)(layer))

    for _ in range(5):
        step(layer, optimizer)
    assert not close(moved(layer(graph)), before, 1e-3)
    check_equivariance(jax.jit(layer), layer.in_action, layer.out_action, graph, gradient=False)


def test_law_in_the_plane_with_padding():
    form = FORMS["velocities"]
    layer, graph = make(form, ndim=2), cloud(form, ndim=2)
    mask = jnp.arange(6) != 4
    graph = graph.replace(node_mask=mask, edge_mask=(graph.senders != 4) & (graph.receivers != 4))
    check_equivariance(jax.jit(layer), layer.in_action, layer.out_action, graph, gradient=False)
    assert layer.in_action.space == ej.E(2)
    assert not any(np.asarray(a[4]).any() for a in moved(layer(graph)))


class Absolute(ej.nn.EGNN):
    """Broken on purpose: nodes know where they are."""

    def __call__(self, graph):
        return super().__call__(graph.replace(nodes=graph.nodes.at[:, :1].add(graph.positions[:, :1])))


class Normalised(ej.nn.EGNN):
    """Broken on purpose: the components of positions are normalised."""

    def __call__(self, graph):
        y = super().__call__(graph)
        return y.replace(positions=jax.nn.standardize(y.positions))


@pytest.mark.parametrize("kind", [Absolute, Normalised])
def test_broken_layers_fail(kind):
    layer, graph = kind(3, 3, param_dtype=jnp.float64, rngs=nnx.Rngs(0)), cloud()
    with pytest.raises(AssertionError, match="fails"):
        check_equivariance(layer, layer.in_action, layer.out_action, graph, gradient=False)
    check_equivariance(layer, ej.GraphAction(), ej.GraphAction(), graph, gradient=False)  # relabellings alone are kept


def plain(layer, graph):
    """The equations, edge by edge, in numpy."""
    silu = lambda z: z / (1 + np.exp(-z))  # noqa: E731
    bias = lambda lin: 0.0 if lin.bias is None else np.asarray(lin.bias[...])  # noqa: E731
    linear = lambda lin, z: z @ np.asarray(lin.kernel[...]) + bias(lin)  # noqa: E731
    phi = lambda pair, z: linear(pair[1], silu(linear(pair[0], z)))  # noqa: E731
    h, x = np.asarray(graph.nodes), np.asarray(graph.positions)
    v = None if graph.velocities is None else np.asarray(graph.velocities)
    total, shift, degree = np.zeros((len(h), layer.hidden_features)), np.zeros_like(x), np.zeros(len(h))
    for e, (j, i) in enumerate(zip(np.asarray(graph.senders), np.asarray(graph.receivers), strict=True)):
        difference = x[i] - x[j] + (0.0 if graph.shifts is None else np.asarray(graph.shifts[e]))
        attributes = np.asarray(graph.edges[e]) if layer.edge_features else np.zeros(0)
        m = silu(phi(layer.message, np.concatenate([h[i], h[j], [difference @ difference], attributes])))
        if layer.gate is not None:
            m = m / (1 + np.exp(-linear(layer.gate, m)))
        weight = phi(layer.position, m)
        weight = np.tanh(weight) if layer.tanh else weight
        total[i] += m
        shift[i] += weight * (difference / (np.linalg.norm(difference) + layer.epsilon) if layer.normalize else difference)
        degree[i] += 1
    step = shift / np.maximum(degree, 1)[:, None]
    if layer.use_velocities:
        step = phi(layer.velocity, h) * v + step
        v = step if layer.update_velocities else v
    total = total / np.maximum(degree, 1)[:, None] if layer.aggregation == "mean" else total
    y = phi(layer.node, np.concatenate([h, total], -1)) + (h if layer.residual else 0.0)
    return [a for a in (y, x + step, v) if a is not None]


@every_form
def test_equals_the_equations_in_plain_numpy(form):
    shifts = None if form is FORMS["plain"] else randn((15, 3), 7)
    layer, graph = make(form), cloud(form, shifts=shifts)
    assert close(moved(layer(graph)), plain(layer, graph), 1e-13)


@pytest.mark.parametrize("form", [FORMS["plain"], {"normalize": True, "attention": True}], ids=["plain", "normalized"])
def test_coincident_points_and_isolated_nodes(form):
    layer, graph = make(form), cloud(form, positions=jnp.ones((6, 3)))
    y = layer(graph)
    assert close(y.positions, graph.positions, 0.0)

    def energy(layer, x):
        y = layer(graph.replace(positions=x))
        return jnp.sum(y.nodes**2) + jnp.sum(y.positions**2)

    inward = jax.jit(jax.grad(lambda x: energy(layer, x)))(graph.positions)
    assert float(jnp.abs(inward).max()) < 1e3
    for gradient in (nnx.jit(nnx.grad(energy))(layer, graph.positions), inward):
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))
    apart = layer(cloud(form))
    assert close(apart.positions[0], cloud(form).positions[0], 0.0)  # node 0 has no edges
    empty = layer(cloud(form, edges=0, senders=[], receivers=[]))
    assert close(empty.positions, cloud(form).positions, 0.0) and bool(jnp.isfinite(empty.nodes).all())


def test_a_hundred_points_stay_finite_in_float32():
    senders, receivers = np.nonzero(~np.eye(100, dtype=bool))
    x = randn((100, 3), 1, jnp.float32)
    graph = ej.Graph(randn((100, 8), 0, jnp.float32), senders, receivers, positions=x, velocities=x)
    for k in range(6):
        graph = jax.jit(ej.nn.EGNN(8, 8, use_velocities=True, aggregation="mean", rngs=nnx.Rngs(k)))(graph)
    assert float(jnp.abs(jnp.concatenate(moved(graph), -1)).max()) < 100


def test_dtypes():
    form = FORMS["velocities"]
    graph = cloud(form)
    layer = make(form, loud=False, param_dtype=jnp.float32, dtype=jnp.bfloat16)
    y = layer(graph)
    assert (y.nodes.dtype, y.positions.dtype, y.velocities.dtype) == (jnp.bfloat16, jnp.float64, jnp.float64)
    reference = make(form, loud=False, param_dtype=jnp.float32)
    single = graph.replace(nodes=graph.nodes.astype(jnp.float32))
    assert close(y.nodes.astype(jnp.float32), reference(single).nodes, 0.05)
    assert reference(single).nodes.dtype == jnp.float32 and reference(single).positions.dtype == jnp.float64
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(nnx.state(layer)))


def test_names_and_shapes_of_the_checkpoint():
    layer = make(FORMS["velocities"], features=4, hidden_features=7, attention=True)
    flat = jax.tree.leaves_with_path(nnx.to_pure_dict(nnx.state(layer)))
    shapes = {jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape for path, leaf in flat}
    assert shapes == {
        "message.0.kernel": (11, 7),
        "message.0.bias": (7,),
        "message.1.kernel": (7, 7),
        "message.1.bias": (7,),
        "position.0.kernel": (7, 7),
        "position.0.bias": (7,),
        "position.1.kernel": (7, 1),
        "node.0.kernel": (11, 7),
        "node.0.bias": (7,),
        "node.1.kernel": (7, 4),
        "node.1.bias": (4,),
        "velocity.0.kernel": (4, 7),
        "velocity.0.bias": (7,),
        "velocity.1.kernel": (7, 1),
        "velocity.1.bias": (1,),
        "gate.kernel": (7, 1),
        "gate.bias": (1,),
    }
    assert hash(nnx.graphdef(layer)) == hash(nnx.graphdef(make(FORMS["velocities"], 4, hidden_features=7, attention=True)))


def test_flax_habits():
    """Graph modes, jit, remat, split and merge, vmap."""
    form = FORMS["velocities"]
    graph, expected = cloud(form), moved(make(form)(cloud(form)))
    for modes in ((True, True), (True, False), (False, False)):
        with nnx.set_graph_mode(modes[0]), nnx.set_graph_updates(modes[1]):
            assert close(moved(nnx.jit(nnx.remat(lambda layer, graph: layer(graph)))(make(form), graph)), expected)
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), graph)
    merged = nnx.merge(*nnx.split(make(form)))
    assert close([a[1] for a in moved(jax.jit(jax.vmap(merged))(many))], expected)


def test_bad_input():
    layer, graph = make(FORMS["velocities"]), cloud(FORMS["velocities"])
    cases = [
        (lambda: layer(graph.positions), TypeError, ["`graph`", "Graph"]),
        (lambda: layer(graph.replace(positions=None)), ValueError, ["no positions", "(6, 3)"]),
        (lambda: layer(graph.replace(velocities=None)), ValueError, ["no velocities", "(6, 3)"]),
        (lambda: layer(graph.replace(edges=None)), ValueError, ["no edge features", "2"]),
        (lambda: layer(graph.replace(positions=graph.positions[:, :2])), ValueError, ["positions", "(6, 2)", "(6, 3)"]),
        (lambda: layer(graph.replace(nodes=graph.nodes[:, :2])), ValueError, ["nodes", "(6, 2)", "in_features = 3"]),
        (lambda: layer(graph.replace(positions=jnp.ones((6, 3), int))), TypeError, ["positions", "int", "float"]),
        (lambda: make()(graph), ValueError, ["velocities", "use_velocities=True"]),
        (lambda: ej.nn.EGNN(1, 8, rngs=nnx.Rngs(0)), ValueError, ["`residual`", "1", "8", "residual=False"]),
        (lambda: ej.nn.EGNN(8, 8, aggregation="max", rngs=nnx.Rngs(0)), ValueError, ["`aggregation`", "'max'", "'mean'"]),
        (lambda: ej.nn.EGNN(0, 8, rngs=nnx.Rngs(0)), ValueError, ["`in_features`"]),
        (lambda: ej.nn.EGNN(8, 8, ndim=0, rngs=nnx.Rngs(0)), ValueError, ["`ndim`"]),
        (lambda: layer.out_action_for(ej.SetAction(3)), TypeError, ["`in_action`", "GraphAction"]),
    ]
    for call, error, words in cases:
        check_message(call, error, words)
