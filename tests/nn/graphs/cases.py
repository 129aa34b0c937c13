"""Every layer on graphs, as the common suite sees it. To add one, append a ``Case``."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import equijax as ej

FEATURES, EDGE_FEATURES, GRAPHS = 4, 3, 5


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer: how it is made of options, the names of its parameters, and what of the graph it reads beside the nodes."""

    name: str
    build: Callable[..., Any]
    names: tuple[str, ...]
    reads: tuple[str, ...] = ()
    fibre: bool = False
    dtypes: bool = True

    def __call__(self, seed: int = 0, **options: Any) -> Any:
        """The layer with random float64 parameters; drawn in numpy, since initialisers would be compiled; or by ``rngs``."""
        if "rngs" in options:
            return self.build(param_dtype=jnp.float64, **options)
        random = np.random.default_rng(seed)
        build = lambda: self.build(param_dtype=jnp.float64, rngs=nnx.Rngs(seed), **options)  # noqa: E731
        static, state = nnx.split(nnx.eval_shape(build))
        draw = lambda leaf: jnp.asarray(random.normal(size=leaf.shape) / 2, leaf.dtype)  # noqa: E731
        return nnx.merge(static, jax.tree.map(draw, state))

    def graph(self, **more: Any) -> ej.Graph:
        """The world, with what the layer reads."""
        return world(self.reads, **more)


def world(reads: tuple[str, ...] = (), seed: int = 0) -> ej.Graph:
    """A batch in random order: graph 0, graph 1, graph 2 equal to graph 0, graph 3 without nodes, and padding.

    Graph 0 has a node without edges, parallel edges, and an edge from a node to itself. Padding holds arbitrary numbers.
    """
    random = np.random.default_rng(seed)
    own = lambda *shape: random.normal(size=shape)  # noqa: E731
    senders, receivers = [0, 0, 1, 2, 1, 1], [1, 1, 0, 1, 2, 1]
    nodes, edges, places = own(4, FEATURES), own(6, EDGE_FEATURES), own(4, 3)
    fields = {"nodes": jnp.asarray(np.concatenate([nodes, own(3, FEATURES), nodes, own(3, FEATURES)]))}
    if "edges" in reads:
        fields["edges"] = jnp.asarray(np.concatenate([edges, own(4, EDGE_FEATURES), edges, own(4, EDGE_FEATURES)]))
    if "weights" in reads:
        weights = np.concatenate([edges, own(4, EDGE_FEATURES), edges, own(4, EDGE_FEATURES)])[:, 0]
        fields["edges"] = jnp.asarray(np.abs(weights))
    if "square edges" in reads:
        wide = own(6, FEATURES)
        fields["edges"] = jnp.asarray(np.concatenate([wide, own(4, FEATURES), wide, own(4, FEATURES)]))
    if "positions" in reads:
        fields["positions"] = jnp.asarray(np.concatenate([places, own(3, 3), places, own(3, 3)]))
    graph = ej.Graph(
        senders=np.array([*senders, 4, 5, 6, 6, *(7 + i for i in senders), 11, 12, 13, 13]),
        receivers=np.array([*receivers, 5, 6, 4, 5, *(7 + i for i in receivers), 12, 11, 13, 11]),
        node_graph=np.repeat([0, 1, 2, 4], [4, 3, 4, 3]),
        node_mask=np.arange(14) < 11,
        edge_mask=np.arange(20) < 16,
        graph_mask=np.arange(GRAPHS) < 4,
        **fields,
    )
    action = ej.GraphAction().for_input(graph)
    return action(action.group.sample(jax.random.key(seed + 7)), graph)


def mlp(inputs: int, outputs: int = FEATURES, **options: Any) -> nnx.Sequential:
    return nnx.Sequential(nnx.Linear(inputs, 5, **options), jax.nn.silu, nnx.Linear(5, outputs, **options))


def of_linear(*names: str, bias: bool = True) -> tuple[str, ...]:
    return tuple(f"{name}.{leaf}" for name in names for leaf in (("kernel", "bias") if bias else ("kernel",)))


def of_mlp(name: str) -> tuple[str, ...]:
    return of_linear(f"{name}.layers.0", f"{name}.layers.2")


class Differences(ej.nn.MessagePassing):
    """A layer as users write it."""

    def message(self, senders, receivers, edges):
        return jnp.tanh(senders - receivers)

    def update(self, nodes, aggregated):
        return nodes + aggregated


n = ej.nn
F, E = FEATURES, EDGE_FEATURES
DEGREES = (1.3, 0.8)
BLOCK = (
    *of_linear("query", "key", "value", "out", "feed_forward.hidden", "feed_forward.out"),
    *(f"{name}.{leaf}" for name in ("global_norm", "last_norm") for leaf in ("scale", "bias")),
)
CASES = [
    Case(
        "MessagePassing of modules",
        lambda **o: n.MessagePassing(message=mlp(2 * F + E, **o), update=mlp(F + 2 * F, **o), aggregation=("mean", "max")),
        (*of_mlp("message_network"), *of_mlp("update_network")),
        ("edges",),
        fibre=True,
    ),
    Case("MessagePassing subclass", lambda **o: Differences(aggregation="min"), (), dtypes=False),
    Case(
        "MessagePassing default",
        lambda **o: n.MessagePassing(aggregation=("sum", n.Quantiles((0.5,)), "logsumexp")),
        (),
        fibre=True,
        dtypes=False,
    ),
    Case("GCNConv", lambda **o: n.GCNConv(F, F, **o), of_linear("linear"), fibre=True),
    Case("GCNConv weights", lambda **o: n.GCNConv(F, F, edge_weights=True, **o), of_linear("linear"), ("weights",)),
    Case(
        "SAGEConv",
        lambda **o: n.SAGEConv(F, F, aggregation=("mean", "std"), normalize=True, **o),
        (*of_linear("neighbours"), "root.kernel"),
        fibre=True,
    ),
    Case(
        "GINConv",
        lambda **o: n.GINConv(mlp(F, **o), train_epsilon=True, param_dtype=o["param_dtype"]),
        (*of_mlp("mlp"), "epsilon"),
        fibre=True,
    ),
    Case(
        "GINEConv",
        lambda **o: n.GINEConv(F, mlp(F, **o), edge_features=E, **o),
        (*of_mlp("mlp"), *of_linear("edge")),
        ("edges",),
        fibre=True,
    ),
    Case(
        "GATConv",
        lambda **o: n.GATConv(F, F, 2, edge_features=E, **o),
        ("linear.kernel", "sender", "receiver", "edge_attention", "edge.kernel", "bias"),
        ("edges",),
        fibre=True,
    ),
    Case(
        "GATv2Conv",
        lambda **o: n.GATv2Conv(F, F, 2, edge_features=E, concat=False, self_loops=False, **o),
        (*of_linear("sender", "receiver"), "attention", "edge.kernel", "bias"),
        ("edges",),
        fibre=True,
    ),
    Case("EdgeConv", lambda **o: n.EdgeConv(mlp(2 * F, **o)), of_mlp("network"), fibre=True),
    Case(
        "PNAConv",
        lambda **o: n.PNAConv(F, F, DEGREES, edge_features=E, towers=2, divide_input=True, **o),
        of_linear("pre.0.0", "pre.1.0", "post.0.0", "post.1.0", "edge", "linear"),
        ("edges",),
        fibre=True,
    ),
    Case(
        "ResGatedGraphConv",
        lambda **o: n.ResGatedGraphConv(F, F, edge_features=E, **o),
        (*of_linear("receiver", "sender", "value", "root"), "edge.kernel"),
        ("edges",),
        fibre=True,
    ),
    Case(
        "GatedGCN",
        lambda **o: n.GatedGCN(F, **o),
        (
            *of_linear("receiver", "sender", "value", bias=False),
            *of_linear("edge", "root"),
            *(f"{name}.{leaf}" for name in ("node_norm", "edge_norm") for leaf in ("scale", "bias")),
        ),
        ("square edges",),
    ),
    Case(
        "TransformerConv",
        lambda **o: n.TransformerConv(F, F, 2, edge_features=E, **o),
        (*of_linear("query", "key", "value", "root"), "edge.kernel"),
        ("edges",),
        fibre=True,
    ),
    Case(
        "GraphTransformerBlock",
        lambda **o: n.GraphTransformerBlock(F, 2, local=n.GCNConv(F, F, **o), **o),
        (*BLOCK, *of_linear("local.linear"), "local_norm.scale", "local_norm.bias"),
    ),
    Case(
        "GraphTransformerBlock dense",
        lambda **o: n.GraphTransformerBlock(F, 2, nodes_per_graph=4, **o),
        BLOCK,
    ),
    Case("GraphNorm", lambda **o: n.GraphNorm(F, **o), ("scale", "bias", "mean_scale")),
    Case("GraphLayerNorm", lambda **o: n.GraphLayerNorm(F, **o), ("scale", "bias")),
    Case("PairNorm", lambda **o: n.PairNorm(2.0), (), dtypes=False),
    Case("GraphPool", lambda **o: n.GraphPool(("mean", "max", "std", "median")), (), fibre=True, dtypes=False),
    Case("GraphAttentionPool", lambda **o: n.GraphAttentionPool(F, F, 2, **o), of_linear("score", "value"), fibre=True),
    Case(
        "SignNet",
        lambda **o: n.SignNet(n.GINConv(mlp(1, 2, **o)), mlp(2 * F, **o)),
        (*of_mlp("phi.mlp"), *of_mlp("rho.fn")),
    ),
    Case("MapNodes", lambda **o: n.MapNodes(mlp(F, **o)), of_mlp("fn")),
    Case(
        "EGNN",
        lambda **o: n.EGNN(F, F, **o),
        of_linear("message.0", "message.1", "position.0", "node.0", "node.1") + ("position.1.kernel",),
        ("positions",),
    ),
    Case(
        "Sequential",
        lambda **o: n.Sequential(n.GCNConv(F, F, **o), n.MapNodes(jax.nn.relu), n.GraphNorm(F, **o), n.GraphPool("max")),
        ("layers.0.linear.kernel", "layers.0.linear.bias", "layers.2.scale", "layers.2.bias", "layers.2.mean_scale"),
    ),
]
