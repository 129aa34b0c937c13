"""Layers of message passing: graph convolution, and a network of both ends of every edge."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from neighbours import graphs
from sets import scale

import equijax as ej

ON = {"GCN": "random", "EdgeConv": "molecules"}


@dataclasses.dataclass(frozen=True)
class MessageLayer:
    """A layer from features of the nodes to as many."""

    layer: str
    features: int

    family: ClassVar[str] = "messages"
    modes: ClassVar[tuple[str, ...]] = ("forward", "gradient")
    peer: ClassVar[str] = "pyg"

    @property
    def name(self) -> str:
        """What a table shows."""
        return f"{self.layer} on {ON[self.layer]} ({self.features})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the input."""
        return graphs()[ON[self.layer]][2], self.features

    def data(self) -> dict[str, Any]:
        """The nodes, the edges without those from a node to itself, and the weights that all sides get."""
        senders, receivers, nodes = graphs()[ON[self.layer]]
        keep, draw, width = senders != receivers, np.random.default_rng(1), self.features
        shapes: dict[str, tuple[int, ...]] = {"x": (nodes, width)}
        if self.layer == "GCN":
            shapes |= {"matrix": (width, width), "bias": (width,)}
        else:
            shapes |= {"first": (2 * width, width), "first_bias": (width,), "second": (width, width), "bias": (width,)}
        drawn = {name: draw.normal(size=shape) * scale(name, width) for name, shape in shapes.items()}
        return {"senders": senders[keep], "receivers": receivers[keep]} | {k: v.astype(np.float32) for k, v in drawn.items()}

    def module(self, kind: str, rngs: nnx.Rngs) -> nnx.Module:
        """Makes the layer; ``kind`` is ``"equijax"`` or ``"nnx"``."""
        width = self.features
        if self.layer == "GCN":
            return (ej.nn.GCNConv if kind == "equijax" else PlainGCN)(width, width, rngs=rngs)
        mlp = nnx.Sequential(nnx.Linear(2 * width, width, rngs=rngs), jax.nn.relu, nnx.Linear(width, width, rngs=rngs))
        return ej.nn.EdgeConv(mlp, aggregation="sum") if kind == "equijax" else PlainEdgeConv(mlp)

    def parts(self, kind: str) -> dict[str, str]:
        """Where each weight of ``data`` is in the module."""
        if self.layer == "GCN":
            return {"matrix": "linear.kernel", "bias": "linear.bias"}
        first, second = "network.layers.0", "network.layers.2"
        return {
            "first": f"{first}.kernel", "first_bias": f"{first}.bias", "second": f"{second}.kernel", "bias": f"{second}.bias",
        }  # fmt: skip

    def inputs(self, kind: str) -> tuple[Any, ...]:
        """Nodes, and the graph: with its table of neighbours, which is made once for a graph, in equijax."""
        data = self.data()
        mask = np.ones(len(data["x"]), bool)
        graph = ej.Graph(None, data["senders"], data["receivers"], node_mask=jnp.array(mask))
        return data["x"], graph.with_table() if kind == "equijax" else graph

    def apply(self, kind: str, module: Any, x: jax.Array, graph: ej.Graph) -> jax.Array:
        """The new nodes."""
        return module(graph.replace(nodes=x)).nodes if kind == "equijax" else module(x, graph.senders, graph.receivers)


class PlainGCN(nnx.Module):
    """Graph convolution in Flax: gather, ``segment_sum``, one matrix."""

    def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs):
        self.linear = nnx.Linear(in_features, out_features, rngs=rngs)

    def __call__(self, x: jax.Array, senders: jax.Array, receivers: jax.Array) -> jax.Array:
        """Maps nodes to nodes."""
        degrees = 1 + jax.ops.segment_sum(jnp.ones(len(receivers)), receivers, len(x))
        scale = jax.lax.rsqrt(degrees)[:, None]
        scaled = x * scale
        return self.linear((scaled + jax.ops.segment_sum(scaled[senders], receivers, len(x))) * scale)


class PlainEdgeConv(nnx.Module):
    """A network of a node and the difference to its neighbour, summed, in Flax."""

    def __init__(self, network: Callable):
        self.network = network

    def __call__(self, x: jax.Array, senders: jax.Array, receivers: jax.Array) -> jax.Array:
        """Maps nodes to nodes."""
        own, other = x[receivers], x[senders]
        messages = self.network(jnp.concatenate([own, other - own], -1))
        return jax.ops.segment_sum(messages, receivers, len(x))


MESSAGES = [MessageLayer(layer, features) for layer in ON for features in (16, 64, 128)]
