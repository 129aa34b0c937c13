"""EdgeConv: a network of a node and the difference to its neighbour."""

from typing import Any

import jax
from flax import nnx

from equijax.nn._options import takes_rngs
from equijax.nn.graphs._message_passing import MessagePassing, require_no_state
from equijax.nn.graphs._messages import side_by_side


class EdgeConv(MessagePassing):
    r"""The aggregate of a network of each node and the differences to its neighbours.

    .. math:: y_i = \bigoplus_{j → i} h(x_i, \; x_j - x_i)

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling of the nodes and every order of the edges.
    Padding and the other graphs of a batch change nothing; a node without neighbours gets 0.

    Args:
      network: h, a module or function of the two side by side, ``(E, *fibre, 2 in_features)``. Its call must not change
        anything, as that of ``message`` in :class:`MessagePassing`; noise and dropout as there.
      aggregation: a word, an :class:`Aggregation`, or several.

    Attributes:
      network: h.

    Raises:
      TypeError: ``network`` can't be called, or holds statistics or random keys, or the aggregation depends on the order.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> graph = ej.Graph(jnp.ones((3, 4)), senders=[0, 1], receivers=[1, 2])
      >>> ej.nn.EdgeConv(nnx.Linear(8, 16, rngs=nnx.Rngs(0)))(graph).nodes.shape
      (3, 16)

    References:
      Wang et al., "Dynamic Graph CNN for Learning on Point Clouds", ACM TOG 2019, arXiv:1801.07829, section 3.
    """

    def __init__(self, network: Any, *, aggregation: Any = "max"):
        if not callable(network):
            raise TypeError(f"`network` is {network!r}, which can't be called. Give a module or a function.")
        require_no_state(network, "network")
        super().__init__(aggregation=aggregation)
        self.network: Any = network

    def message(self, senders: jax.Array, receivers: jax.Array, edges: Any, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Returns ``h(receivers, senders - receivers)``; the network gets ``rngs`` where it takes them."""
        del edges
        options = {"rngs": rngs} if rngs is not None and takes_rngs(self.network) else {}
        return self.network(side_by_side(receivers, senders - receivers), **options)
