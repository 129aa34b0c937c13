"""Graph networks written by hand: GCN (Kipf and Welling, 2017), GAT (Veličković et al., 2018), GIN (Xu et al., 2019)."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import equijax as ej
from tests.audit.gallery.parts import DOUBLE, MLP, Entry, each, linear, norm
from tests.helpers import BIAS, KERNEL, randn

#: Two molecules, a lone node, and a node and two edges of padding.
GRAPH = ej.Graph(
    randn((8, 3)),
    senders=[0, 1, 1, 2, 2, 0, 3, 4, 4, 5, 5, 3, 7, 7],
    receivers=[1, 0, 2, 1, 0, 2, 4, 3, 5, 4, 3, 5, 7, 7],
    node_graph=[0, 0, 0, 1, 1, 1, 2, 2],
    node_mask=np.arange(8) < 7,
    edge_mask=np.arange(14) < 12,
)
PLAIN = ej.Graph(randn((6, 3)), [0, 1, 1, 2, 3, 4, 5], [1, 0, 2, 1, 4, 5, 3], node_graph=[0, 0, 0, 1, 1, 1])


def summed(values, graph):
    """Sum of the values of all edges that arrive at each node."""
    return jax.ops.segment_sum(values, graph.receivers, graph.num_nodes)


def pooled(h, graph):
    """Sum over the nodes of each graph."""
    real = jnp.where(graph.node_mask[:, None], h, 0.0)
    return jax.ops.segment_sum(real, graph.node_graph, graph.num_graphs)


def with_loops(graph):
    """Returns senders, receivers and weights of all edges and of one loop at each node."""
    loops = jnp.arange(graph.num_nodes)
    weights = jnp.concatenate([graph.edge_mask.astype(jnp.float64), jnp.ones(graph.num_nodes)])
    return jnp.concatenate([graph.senders, loops]), jnp.concatenate([graph.receivers, loops]), weights


class GCN(nnx.Module):
    """h ← relu(D^-½ (A + I) D^-½ h W), twice; with self-loops added to the edges or to the sum."""

    def __init__(self, loops, width=6, classes=2):
        rngs = nnx.Rngs(0)
        self.layers = nnx.List([linear(i, width, rngs=rngs) for i in (3, width)])
        self.head, self.loops = linear(width, classes, rngs=rngs), loops

    def spread(self, h, graph):
        """Multiplies by the normalised adjacency."""
        if self.loops:
            senders, receivers, weights = with_loops(graph)
            degree = jax.ops.segment_sum(weights, receivers, graph.num_nodes)
            weights = weights * jax.lax.rsqrt(degree[senders] * degree[receivers])
            return jax.ops.segment_sum(weights[:, None] * h[senders], receivers, graph.num_nodes)
        real = graph.edge_mask.astype(jnp.float64)
        root = jax.lax.rsqrt(1.0 + summed(real, graph))[:, None]
        return root * (summed(real[:, None] * (root * h)[graph.senders], graph) + root * h)

    def __call__(self, graph):
        h = graph.nodes
        for layer in self.layers:
            h = nnx.relu(self.spread(layer(h), graph))
        return self.head(pooled(h, graph))


class GAT(nnx.Module):
    """Attention of each node over its neighbours and itself, with several heads."""

    def __init__(self, width=4, heads=2, classes=2):
        rngs = nnx.Rngs(0)
        self.lift = linear(3, heads * width, rngs=rngs)
        self.sender, self.receiver = nnx.Param(randn((heads, width), 1)), nnx.Param(randn((heads, width), 2))
        self.head, self.heads = linear(heads * width, classes, rngs=rngs), heads

    def __call__(self, graph):
        senders, receivers, weights = with_loops(graph)
        count = graph.num_nodes
        h = self.lift(graph.nodes).reshape(count, self.heads, -1)
        sent, received = (jnp.einsum("nhc,hc->nh", h, part[...]) for part in (self.sender, self.receiver))
        scores = nnx.leaky_relu(sent[senders] + received[receivers], 0.2)
        scores = jnp.where(weights[:, None] > 0, scores, -1e9)
        largest = jax.ops.segment_max(scores, receivers, count)
        powers = jnp.exp(scores - largest[receivers])
        alpha = powers / jax.ops.segment_sum(powers, receivers, count)[receivers]
        h = jax.ops.segment_sum(alpha[..., None] * h[senders], receivers, count)
        return self.head(pooled(nnx.elu(h.reshape(count, -1)), graph))


class PairNorm(nnx.Module):
    """Subtracts the mean over nodes, and divides by their mean length (Zhao and Akoglu, 2020); as published, over all nodes."""

    def __call__(self, h):
        h = h - h.mean(0, keepdims=True)
        return h / jnp.sqrt(1e-5 + (h**2).sum(-1).mean())


class GIN(nnx.Module):
    """h ← MLP((1 + ε) h + Σ h_neighbour) and batch norm; sums over the nodes of every layer are read."""

    def __init__(self, pair_norm=False, width=6, classes=2, depth=2):
        rngs = nnx.Rngs(0)
        widths = (3, *(width,) * depth)
        self.mlps = nnx.List([MLP(i, width, width, rngs=rngs) for i in widths[:-1]])
        self.norms = nnx.List([norm(width, rngs=rngs) for _ in range(depth)])
        self.heads = nnx.List([linear(i, classes, rngs=rngs) for i in widths])
        self.eps, self.pair = nnx.Param(jnp.asarray(0.1)), PairNorm() if pair_norm else None

    def __call__(self, graph):
        h = graph.nodes
        result = self.heads[0](pooled(h, graph))
        for mlp, normalise, head in zip(self.mlps, self.norms, self.heads[1:], strict=True):
            messages = jnp.where(graph.edge_mask[:, None], h[graph.senders], 0.0)
            h = mlp((1 + self.eps[...]) * h + summed(messages, graph))
            h = nnx.relu(normalise(h) if self.pair is None else self.pair(h))
            result = result + head(pooled(h, graph))
        return result


class MPNN(nnx.Module):
    """Messages of both nodes, their mean, a gated update; sums over nodes are read (Gilmer et al., 2017)."""

    def __init__(self, width=4, classes=2):
        rngs = nnx.Rngs(0)
        self.lift, self.message = linear(3, width, rngs=rngs), MLP(2 * width, width, width, rngs=rngs)
        more = {"kernel_init": KERNEL, "recurrent_kernel_init": KERNEL, "bias_init": BIAS, **DOUBLE}
        self.update = nnx.GRUCell(width, width, rngs=rngs, **more)
        self.head = linear(width, classes, rngs=rngs)

    def __call__(self, graph):
        h, real = self.lift(graph.nodes), graph.edge_mask[:, None]
        for _ in range(2):
            m = self.message(jnp.concatenate([h[graph.receivers], h[graph.senders]], -1))
            count = jnp.maximum(summed(real.astype(h.dtype), graph), 1.0)
            h, _ = self.update(h, summed(jnp.where(real, m, 0.0), graph) / count)
        return self.head(pooled(h, graph))


class BothWays(nnx.Module):
    """Edges in both directions, put behind each other; sums of neighbours."""

    def __init__(self, width=4, classes=2):
        rngs = nnx.Rngs(0)
        self.own, self.other = linear(3, width, rngs=rngs), linear(3, width, rngs=rngs)
        self.head = linear(width, classes, rngs=rngs)

    def __call__(self, graph):
        senders = jnp.concatenate([graph.senders, graph.receivers])
        receivers = jnp.concatenate([graph.receivers, graph.senders])
        real = jnp.concatenate([graph.edge_mask, graph.edge_mask])[:, None]
        messages = jnp.where(real, self.other(graph.nodes)[senders], 0.0)
        h = jnp.tanh(self.own(graph.nodes) + jax.ops.segment_sum(messages, receivers, graph.num_nodes))
        return self.head(pooled(h, graph))


class Adjacency(nnx.Module):
    """A network of dense adjacency matrices: (A + I) h W, twice."""

    def __init__(self, width=4, classes=2):
        rngs = nnx.Rngs(0)
        self.layers = nnx.List([linear(i, width, rngs=rngs) for i in (3, width)])
        self.head = linear(width, classes, rngs=rngs)

    def __call__(self, graph):
        count = graph.num_nodes
        matrix = jnp.zeros((count, count)).at[graph.receivers, graph.senders].add(graph.edge_mask.astype(jnp.float64))
        matrix = matrix + jnp.eye(count)
        h = graph.nodes
        for layer in self.layers:
            h = jnp.tanh(matrix @ layer(h))
        return self.head(pooled(h, graph))


class LastMessage(nnx.Module):
    """GraphSAGE with an LSTM over the neighbours (Hamilton et al., 2017), one state for each node, in the order of the edges."""

    def __init__(self, width=4, classes=2):
        rngs = nnx.Rngs(0)
        self.lift, self.cell = linear(3, width, rngs=rngs), linear(2 * width, width, rngs=rngs)
        self.head = linear(2 * width, classes, rngs=rngs)

    def __call__(self, graph):
        h = self.lift(graph.nodes)

        def step(state, edge):
            sender, receiver, real = edge
            new = jnp.tanh(self.cell(jnp.concatenate([h[sender], state[receiver]])))
            return state.at[receiver].set(jnp.where(real, new, state[receiver])), None

        state, _ = jax.lax.scan(step, jnp.zeros_like(h), (graph.senders, graph.receivers, graph.edge_mask))
        return self.head(pooled(jnp.concatenate([h, state], -1), graph))


ACTION = ej.GraphAction()
#: Sums over edges and nodes, and softmax over the edges of a node, don't see an order; masks keep the padding out.
EXACT: dict[str, set[str]] = {}
#: A mean over all nodes of the array sees padding, and other graphs.
PAIRED = each("pair", "mask", "batch")

#: The cell sees the edges one after the other, as the loop reads them.
ORDER = each("cell", "order")
SAME = {"out_action": ej.TrivialAction(ACTION.group)}

ENTRIES = [
    Entry("GCN", lambda: GCN(True), GRAPH, ACTION, EXACT),
    Entry("GCN, told that results stay", lambda: GCN(True), GRAPH, ACTION, EXACT, SAME),
    Entry("GCN without padding", lambda: GCN(True), PLAIN, ACTION, EXACT),
    Entry("GCN, loops in the sum", lambda: GCN(False), GRAPH, ACTION, EXACT),
    Entry("GAT", GAT, GRAPH, ACTION, EXACT),
    Entry("GAT, told that results stay", GAT, GRAPH, ACTION, EXACT, SAME),
    Entry("GIN", GIN, GRAPH, ACTION, EXACT),
    Entry("GIN without padding", GIN, PLAIN, ACTION, EXACT),
    Entry("MPNN", MPNN, GRAPH, ACTION, EXACT),
    Entry("Both directions", BothWays, GRAPH, ACTION, EXACT),
    Entry("Adjacency matrix", Adjacency, GRAPH, ACTION, EXACT),
    Entry("GIN with PairNorm", lambda: GIN(True), GRAPH, ACTION, PAIRED),
    Entry("GraphSAGE with a recurrence", LastMessage, GRAPH, ACTION, ORDER),
    Entry("GraphSAGE, told that results stay", LastMessage, GRAPH, ACTION, ORDER, SAME),
]  # fmt: skip
