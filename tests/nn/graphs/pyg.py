"""Our layers with the weights of PyTorch Geometric's, as ``tests/benchmarks/peers/graph_layers_torch.py`` records them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import equijax as ej

FEATURES, OUT, EDGE_FEATURES = 4, 6, 3
ALL_AGGREGATORS = ("mean", "min", "max", "std", "var", "sum")
ALL_SCALERS = ("identity", "amplification", "attenuation", "linear", "inverse_linear")


@dataclasses.dataclass(frozen=True)
class Peer:
    """How a layer is made (of the record and options), and whose weights each of its parts takes."""

    make: Callable[..., Any]
    parts: dict[str, str]
    edges: str | None = None
    repeated: str = "\0"  # weights that the record holds twice


def mlp(inputs: int, **options: Any) -> nnx.Sequential:
    return nnx.Sequential(nnx.Linear(inputs, 5, **options), jax.nn.relu, nnx.Linear(5, OUT, **options))


def degrees(name: str, record: Any) -> tuple[float, float]:
    return tuple(float(record[f"{name}/weights/aggr_module.avg_deg_{kind}"][0]) for kind in ("lin", "log"))


MLP = {"mlp.layers.0": "nn.0", "mlp.layers.2": "nn.2"}
GCN = {"linear": "lin", "linear.bias": "bias"}
SAGE = {"neighbours": "lin_l", "root": "lin_r"}
GAT = {"linear": "lin", "sender": "att_src", "receiver": "att_dst", "bias": "bias"}
GATV2 = {"sender": "lin_l", "attention": "att", "bias": "bias"}
TRANSFORMER = {"query": "lin_query", "key": "lin_key", "value": "lin_value", "root": "lin_skip"}
TOWERS = {
    f"{ours}.{tower}.{k}": f"{theirs}.{tower}.{2 * k}"
    for ours, theirs in (("pre", "pre_nns"), ("post", "post_nns"))
    for tower in (0, 1)
    for k in (0, 1)
}
PEERS = {
    "GCNConv": Peer(lambda r, **o: ej.nn.GCNConv(FEATURES, OUT, **o), GCN),
    "GCNConv weights": Peer(lambda r, **o: ej.nn.GCNConv(FEATURES, OUT, edge_weights=True, **o), GCN, "weights"),
    "GCNConv no loops": Peer(lambda r, **o: ej.nn.GCNConv(FEATURES, OUT, self_loops=False, **o), GCN),
    "SAGEConv": Peer(lambda r, **o: ej.nn.SAGEConv(FEATURES, OUT, **o), SAGE),
    "SAGEConv max": Peer(lambda r, **o: ej.nn.SAGEConv(FEATURES, OUT, aggregation="max", normalize=True, **o), SAGE),
    "GINConv": Peer(
        lambda r, **o: ej.nn.GINConv(mlp(FEATURES, **o), train_epsilon=True, param_dtype=o["param_dtype"]),
        MLP | {"epsilon": "eps"},
    ),
    "GINEConv": Peer(
        lambda r, **o: ej.nn.GINEConv(
            FEATURES, mlp(FEATURES, **o), edge_features=EDGE_FEATURES, epsilon=float(r["GINEConv/weights/eps"][0]), **o
        ),
        MLP | {"edge": "lin"},
        "edges",
    ),
    "GATConv": Peer(lambda r, **o: ej.nn.GATConv(FEATURES, OUT, 2, **o), GAT),
    "GATConv mean, edges": Peer(
        lambda r, **o: ej.nn.GATConv(FEATURES, OUT, 2, concat=False, edge_features=EDGE_FEATURES, **o),
        GAT | {"edge": "lin_edge", "edge_attention": "att_edge"},
        "edges",
    ),
    "GATConv no loops": Peer(lambda r, **o: ej.nn.GATConv(FEATURES, OUT, 2, self_loops=False, **o), GAT),
    "GATv2Conv": Peer(
        lambda r, **o: ej.nn.GATv2Conv(FEATURES, OUT, 2, edge_features=EDGE_FEATURES, **o),
        GATV2 | {"receiver": "lin_r", "edge": "lin_edge"},
        "edges",
    ),
    "GATv2Conv shared": Peer(
        lambda r, **o: ej.nn.GATv2Conv(FEATURES, OUT, 3, concat=False, share_weights=True, **o), GATV2, repeated="lin_r"
    ),
    "EdgeConv": Peer(
        lambda r, **o: ej.nn.EdgeConv(mlp(2 * FEATURES, **o)), {"network.layers.0": "nn.0", "network.layers.2": "nn.2"}
    ),
    "PNAConv": Peer(
        lambda r, **o: ej.nn.PNAConv(FEATURES, OUT, degrees("PNAConv", r), **o),
        {"pre.0.0": "pre_nns.0.0", "post.0.0": "post_nns.0.0", "linear": "lin"},
    ),
    "PNAConv towers": Peer(
        lambda r, **o: ej.nn.PNAConv(
            FEATURES, OUT, degrees("PNAConv towers", r), aggregators=ALL_AGGREGATORS, scalers=ALL_SCALERS, towers=2,
            edge_features=EDGE_FEATURES, pre_layers=2, post_layers=2, divide_input=True, **o,
        ),
        TOWERS | {"edge": "edge_encoder", "linear": "lin"},
        "edges",
    ),
    "ResGatedGraphConv": Peer(
        lambda r, **o: ej.nn.ResGatedGraphConv(FEATURES, OUT, **o),
        {"receiver": "lin_key", "sender": "lin_query", "value": "lin_value", "root": "lin_skip", "root.bias": "bias"},
    ),
    "TransformerConv": Peer(lambda r, **o: ej.nn.TransformerConv(FEATURES, OUT, 2, **o), TRANSFORMER),
    "TransformerConv mean, edges": Peer(
        lambda r, **o: ej.nn.TransformerConv(FEATURES, OUT, 2, concat=False, edge_features=EDGE_FEATURES, **o),
        TRANSFORMER | {"edge": "lin_edge"},
        "edges",
    ),
    "GraphNorm": Peer(
        lambda r, **o: ej.nn.GraphNorm(FEATURES, **o), {"scale": "weight", "bias": "bias", "mean_scale": "mean_scale"}
    ),
    "PairNorm": Peer(lambda r, **o: ej.nn.PairNorm(2.0), {}),
}  # fmt: skip


def graph_of(record: Any, edges: str | None) -> ej.Graph:
    """The graph of a record, with the edge features of this name."""
    given = {name.removeprefix("graph/"): record[name] for name in record if name.startswith("graph/")}
    return ej.Graph(
        given["nodes"],
        given["senders"],
        given["receivers"],
        edges=None if edges is None else given[edges],
        node_graph=given["node_graph"],
    )


def layer_of(name: str, record: Any) -> Any:
    """Our layer with the weights of theirs; every weight of both is used."""
    peer, weights = PEERS[name], {key: record[key] for key in record if key.startswith(f"{name}/weights/")}
    layer = peer.make(record, param_dtype=record["graph/nodes"].dtype, rngs=nnx.Rngs(0))
    left = {jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in _leaves(layer)}
    for ours, theirs in peer.parts.items():
        target = _at(layer, ours)
        for leaf in ("kernel", "bias") if isinstance(target, nnx.Linear) else ("",):
            key = ".".join(filter(None, [theirs, {"kernel": "weight"}.get(leaf, leaf)]))
            value = weights.pop(f"{name}/weights/{key}", None)
            if value is None:
                continue
            parameter = getattr(target, leaf) if leaf else target
            parameter[...] = jnp.asarray(value.T if leaf == "kernel" else value.reshape(parameter.shape))
            left.discard(".".join(filter(None, [ours, leaf])))
    unused = {key for key in weights if not any(word in key for word in ("avg_deg", "/eps", peer.repeated))}
    if left or unused:
        raise ValueError(f"{name}: {sorted(left)} got no weights, and {sorted(unused)} were not used.")
    return layer


def differences(name: str, record: Any) -> tuple[float, float]:
    """Largest differences of output and gradient, relative to the largest entry (at least 1)."""
    layer, graph = layer_of(name, record), graph_of(record, PEERS[name].edges)

    @jax.jit
    def both(graph: ej.Graph) -> tuple[jax.Array, jax.Array]:
        y, pull = jax.vjp(lambda x: layer(graph.replace(nodes=x)).nodes, graph.nodes)
        return y, pull(y)[0]

    y, gradient = both(graph)
    return tuple(
        float(np.abs(np.asarray(ours) - record[f"{name}/{key}"]).max() / max(1.0, np.abs(record[f"{name}/{key}"]).max()))
        for ours, key in ((y, "out"), (gradient, "gradient"))
    )


def _leaves(layer: Any) -> list:
    return jax.tree.leaves_with_path(nnx.to_pure_dict(nnx.state(layer, nnx.Param)))


def _at(layer: Any, path: str) -> Any:
    for name in path.split("."):
        layer = layer[int(name)] if name.isdigit() else getattr(layer, name)
    return layer
