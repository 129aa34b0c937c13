"""Every equivariant linear map between tensors on nodes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.nnx.nn import dtypes

from equijax._dtypes import accumulation_dtype
from equijax._numbers import positive_int
from equijax.actions import Action, TensorAction
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._initial import kept, split
from equijax.nn._layer import Layer, require_same_group
from equijax.nn._mask import keep_nodes, require_mask
from equijax.nn._parameters import drawn, new_offset, read, read_offset
from equijax.nn.tensors._contract import Contractions, assemble, node_count
from equijax.nn.tensors._families import families, fan
from equijax.nn.tensors._orbit_weights import orbit_bias, orbit_kernel
from equijax.sharing import bell_number

_LARGEST_ORDER, _LARGEST_SUM = 4, 6


class PermutationEquivariantLinear(Layer):
    r"""The most general linear layer from order-k to order-l tensors on nodes, for any number of nodes.

    .. math:: y[a_1 … a_l] = \sum_{π} \sum_{b_1 … b_k} D^π[a, b] \; x[b_1 … b_k] \; W_π + \sum_{σ} [a ∈ σ] \; β_σ

    π runs over the set partitions of the l output and k input slots, and :math:`D^π[a, b] = 1` where the indices are equal
    within every block, else 0. So a block of input slots alone sums over a diagonal, a mixed block moves a diagonal of the
    input to one of the output, and a block of output slots alone repeats along one. σ runs over the partitions of the
    output slots. Order 0 is a vector of features (an invariant), order 1 a set, order 2 a relation such as a weighted graph.

    The maps are never written out, nor is what they give stacked. Partitions with the same number of mixed blocks are all
    the pairs of a contraction of the input with a place in the output, so they share one matrix product: at most
    ``min(k, l) + 1`` products for the whole layer. From order 2 to order 2 one of them is as large as the input, with two
    weights; the other thirteen weights meet n numbers or one.

    Law: ``layer(p·x) == p·layer(x)`` for every permutation p of the nodes, ``in_action = TensorAction(None, in_order)``,
    ``out_action = TensorAction(None, out_order)``.

    With ``normalization="mean"`` sums over nodes are means, so that one layer serves sets of every size. A ``mask`` tells
    which nodes are there: the layer does on them what it does on the smaller set. Sums over no node are 0.

    Initialisation: on independent normal inputs the output has variance 1 + O(1/n) at entries of different indices. Every
    weight has variance ``1 / (maps · in_features)``, where "maps" counts those that reach such an entry without summing
    (from order 2 to 2: :math:`x_{ij}, x_{ji}, x_{ii}, x_{jj}`). The mean of n independent numbers has variance 1/n: that is
    what the means add, and all that invariant layers (``out_order=0``) give. With ``"sum"`` sums grow with n.

    Example: relations to relations, 15 weights and 2 biases.
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.PermutationEquivariantLinear(2, 2, 3, 8, rngs=nnx.Rngs(0))
      >>> layer.kernel.shape, layer.bias.shape, layer(jnp.ones((4, 10, 10, 3))).shape
      ((15, 3, 8), (2, 8), (4, 10, 10, 8))

    Attributes:
      kernel: Param ``(Bell(k + l), in_features, out_features)``. Partitions are numbered as
        :func:`equijax.sharing.set_partitions` lists those of ``l + k`` slots, the output slots first.
      bias: Param ``(Bell(l), out_features)``, in the order of ``set_partitions(l)``; or None.

    Args:
      in_order: k, number of input axes that run over the nodes, at most 4.
      out_order: l, number of output axes that run over the nodes, at most 4; k + l at most 6.
      in_features: number of input features.
      out_features: number of output features.
      normalization: ``"mean"`` divides every sum over nodes by their number, ``"sum"`` does not. It only scales the
        contractions, which make up the linear maps, so it is no ``aggregation`` that could be another one, such as the max.
      use_bias: whether to add a bias, one for each pattern of equal output indices.
      dtype: dtype of the computation; None promotes inputs and parameters. Sums run in 32 bits at least.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: called with shape ``(maps, in_features, out_features)``, see above, as often as the kernel needs.
      bias_init: initialiser of the bias.
      rngs: key source, used at construction only.

    Raises:
      ValueError: an order is negative or too large, ``normalization`` is another word, a feature count is not positive.

    References:
      Maron, Ben-Hamu, Shamir and Lipman, "Invariant and Equivariant Graph Networks", ICLR 2019, arXiv:1812.09902
      (the orthogonal basis, by equality patterns). The basis of diagonals that is used here: Godfrey, Rawson, Brown and
      Kvinge, "Fast computation of permutation equivariant layers with the partition algebra", 2023, arXiv:2303.06208.
    """

    def __init__(
        self,
        in_order: int,
        out_order: int,
        in_features: int,
        out_features: int,
        *,
        normalization: str = "mean",
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        rngs: nnx.Rngs,
    ):
        self.in_order, self.out_order = _require_orders(in_order, out_order)
        self.in_features = positive_int(in_features, "in_features")
        self.out_features = positive_int(out_features, "out_features")
        if normalization not in ("mean", "sum"):
            raise ValueError(f"`normalization` is {normalization!r}; it must be 'mean' or 'sum'.")
        self.normalization = normalization
        self.dtype, self.param_dtype, self.precision = dtype, param_dtype, precision
        maps, count = fan(in_order, out_order), bell_number(in_order + out_order)
        keys = split(rngs.params(), -(-count // maps))
        shape = (maps, in_features, out_features)
        parts = [drawn(kernel_init, key, shape, param_dtype, "kernel_init") for key in keys]
        rows = [*[None] * (len(parts) - 1), np.arange(count - maps * (len(parts) - 1))]
        self.kernel = nnx.Param(kept(parts, rows))
        self.bias = new_offset(use_bias, (bell_number(out_order), out_features), bias_init, param_dtype, rngs)

    @property
    def in_action(self) -> Action:
        """Permutations of the nodes on the input."""
        return TensorAction(None, self.in_order)

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on the output, on as many nodes as ``in_action`` has."""
        require_same_group(self.in_action, in_action)
        return TensorAction(in_action.group.n, self.out_order)  # pyright: ignore[reportAttributeAccessIssue]

    def to_orbit_weights(self, n: int) -> dict[str, jax.Array]:
        """Converts to the weights of the reference layer on n nodes, which has one for each pattern of equal indices.

        The reference is ``EquivariantLinear(TensorAction(n, in_order), TensorAction(n, out_order), …)``. The weight of
        a pattern is the sum over all partitions that it satisfies, divided by n for each sum over nodes. On fewer than
        ``in_order + out_order`` nodes only patterns of at most n values exist, and different layers may become equal.

        Args:
          n: number of nodes.

        Returns:
          ``kernel``, ``(patterns, in_features, out_features)``, and ``bias`` where there is one: ``(out_features,)``, or
          ``(patterns of output indices, out_features)`` where there are several.

        Raises:
          ValueError: n is not positive.
        """
        n = positive_int(n, "n")
        mean = self.normalization == "mean"
        weights = {"kernel": orbit_kernel(self.kernel[...], self.in_order, self.out_order, n, mean)}
        return weights if self.bias is None else weights | {"bias": orbit_bias(self.bias[...], self.out_order, n)}

    def __call__(self, inputs: jax.Array, mask: Any = None, *, num_nodes: int | None = None) -> jax.Array:
        """Applies the layer.

        Args:
          inputs: ``(*batch, n, …, n, in_features)`` with ``in_order`` axes of length n; any number of batch axes. What
            stands at nodes that are not there does not matter.
          mask: bool ``(*batch, n)``, True at the nodes that are there; None for all.
          num_nodes: n, where ``in_order`` is 0 and no mask tells it.

        Returns:
          ``(*batch, n, …, n, out_features)`` with ``out_order`` axes of length n, zero at nodes that are not there.

        Raises:
          TypeError: the mask is not boolean.
          ValueError: a shape does not fit, or the number of nodes is missing or contradicts the input.
        """
        nodes, batch = self._require_input(inputs.shape, mask, num_nodes)
        mask = None if mask is None else require_mask(mask, (*inputs.shape[:batch], nodes))
        maps = bell_number(self.in_order + self.out_order)
        kernel = read(self.kernel, "kernel", (maps, self.in_features, self.out_features))
        bias = read_offset(self.bias, (bell_number(self.out_order), self.out_features))
        x, kernel, bias = dtypes.promote_dtype((inputs, kernel, bias), dtype=self.dtype)
        x = keep_nodes(x, mask, self.in_order)
        divisor = node_count(nodes, mask, accumulation_dtype(x.dtype)) if self.normalization == "mean" else None
        contract = Contractions(x, self.in_order, divisor)
        pieces = []
        for family in families(self.in_order, self.out_order):
            values = jnp.concatenate([contract(contraction) for contraction in family.contractions], axis=-1)
            weights = kernel.at[family.numbers].get(mode="promise_in_bounds", unique_indices=True)
            weights = weights.transpose(0, 2, 1, 3).reshape(values.shape[-1], -1)
            products = jnp.matmul(values, weights, precision=self.precision)
            if bias is not None and not family.targets[0].places:
                products = products + bias.reshape((1,) * batch + (-1,))
            pieces += zip(family.targets, jnp.split(products, len(family.targets), axis=-1), strict=True)
        return keep_nodes(assemble(pieces, nodes, batch, self.out_order), mask, self.out_order)

    def _require_input(self, shape: tuple[int, ...], mask: Any, num_nodes: int | None) -> tuple[int, int]:
        """Returns the number of nodes and of batch axes."""
        layout = f"(*batch{', n' * self.in_order}, {self.in_features})"
        batch = len(shape) - 1 - self.in_order
        sizes = set(shape[batch:-1])
        if batch < 0 or shape[-1] != self.in_features or len(sizes) > 1:
            raise ValueError(f"`inputs` has shape {shape}; the layer needs {layout}, one length n for every axis of nodes.")
        if not self.in_order and mask is not None:
            sizes = {np.shape(mask)[-1]} if np.ndim(mask) else set()
        if num_nodes is not None:
            sizes.add(positive_int(num_nodes, "num_nodes", 0))
        if len(sizes) > 1:
            raise ValueError(f"`num_nodes` is {num_nodes}, but the nodes number {min(sizes - {num_nodes})}. Leave it out.")
        if not sizes and self.out_order:
            raise ValueError("`num_nodes` is None, but an input of order 0 does not tell it. Give num_nodes or a mask.")
        return next(iter(sizes), 0), batch


def _require_orders(in_order: Any, out_order: Any) -> tuple[int, int]:
    orders = positive_int(in_order, "in_order", 0), positive_int(out_order, "out_order", 0)
    for order, name in zip(orders, ("in_order", "out_order"), strict=True):
        if order > _LARGEST_ORDER:
            raise ValueError(f"`{name}` is {order}; it must be at most {_LARGEST_ORDER}.")
    if sum(orders) > _LARGEST_SUM:
        raise ValueError(
            f"`in_order` is {orders[0]} and `out_order` {orders[1]}: that is {bell_number(sum(orders))} maps. "
            f"Their sum must be at most {_LARGEST_SUM}; go through a smaller order in two layers."
        )
    return orders
