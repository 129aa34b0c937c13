"""Products of relations: what a linear map and pointwise functions cannot reach."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._dtypes import accumulation_dtype
from equijax._numbers import positive_int
from equijax.actions import Action, TensorAction
from equijax.nn._checked_linear import Linear
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._layer import Layer, require_same_group
from equijax.nn._mask import keep_nodes, require_mask
from equijax.nn._returned import require_returned
from equijax.nn.tensors._contract import node_count

_EXPONENTS = {"mean": 1.0, "sqrt": 0.5, "sum": 0.0}


class MatrixProductBlock(Layer):
    r"""The block of a network as strong as the 3-Weisfeiler-Leman test: a pointwise map beside a matrix product.

    .. math:: y_{ij} = \Bigl[\, m_3(x_{ij}) \;\Big|\; N^{-α} \sum_k m_1(x_{ik}) \, m_2(x_{kj}) \Bigr]

    :math:`m_1, m_2, m_3` are perceptrons of two layers that act on the features of each entry; the product is taken for each
    feature, the bar concatenates features, and N is the number of nodes. Entry (i, j) thus sees all triangles i, k, j.
    Alternate it with :class:`PermutationEquivariantLinear` of orders 2 → 2, and end with orders 2 → 0 or 2 → 1.

    Law: ``layer(p·x) == p·layer(x)`` for every permutation p of the nodes; ``in_action`` and ``out_action`` are
    ``TensorAction(None, 2)``.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.MatrixProductBlock(3, 8, rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((4, 10, 10, 3))).shape
      (4, 10, 10, 8)

    Attributes:
      left: the perceptron m₁, an ``nnx.Sequential``.
      right: the perceptron m₂.
      beside: the perceptron m₃.

    Args:
      in_features: number of input features.
      out_features: number of output features, at least 2; those of m₃ first, then those of the product.
      product_features: how many of them the product gives, at least 1 and fewer than all; None is half, rounded down.
      hidden_features: width of the hidden layers; None is ``out_features``.
      activation: pointwise function between the two layers of a perceptron; give a named function, not a lambda.
      normalization: ``"mean"`` divides the product by N, ``"sqrt"`` by √N (terms that are independent keep their
        variance), ``"sum"`` not at all.
      use_bias: whether the perceptrons have biases.
      dtype: dtype of the computation; None promotes inputs and parameters. Products accumulate in 32 bits at least.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: initialiser of the weights of the perceptrons.
      bias_init: initialiser of their biases.
      rngs: key source, used at construction only.

    Raises:
      ValueError: a feature count does not fit, or ``normalization`` is another word.

    References:
      Maron, Ben-Hamu, Serviansky and Lipman, "Provably Powerful Graph Networks", NeurIPS 2019, arXiv:1905.11136: the
      block of the network with matrix multiplication.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        product_features: int | None = None,
        hidden_features: int | None = None,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
        normalization: str = "mean",
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        rngs: nnx.Rngs,
    ):
        self.in_features = positive_int(in_features, "in_features")
        self.out_features = positive_int(out_features, "out_features", 2)
        product = self.out_features // 2 if product_features is None else positive_int(product_features, "product_features")
        if product >= self.out_features:
            raise ValueError(
                f"`product_features` is {product}, but `out_features` is {self.out_features}. It must be smaller: the rest "
                "are the features beside the product."
            )
        hidden = self.out_features if hidden_features is None else positive_int(hidden_features, "hidden_features")
        if normalization not in _EXPONENTS:
            raise ValueError(f"`normalization` is {normalization!r}; it must be 'mean', 'sqrt' or 'sum'.")
        self.normalization = normalization
        self.dtype, self.precision = dtype, precision

        def perceptron(features: int) -> nnx.Sequential:
            first, second = (
                Linear(
                    *sizes,
                    use_bias=use_bias,
                    dtype=dtype,
                    param_dtype=param_dtype,
                    precision=precision,
                    kernel_init=kernel_init,
                    bias_init=bias_init,
                    rngs=rngs,
                )
                for sizes in ((in_features, hidden), (hidden, features))
            )
            return nnx.Sequential(first, activation, second)

        self.left, self.right, self.beside = perceptron(product), perceptron(product), perceptron(out_features - product)

    @property
    def in_action(self) -> Action:
        """Permutations of the nodes on the input."""
        return TensorAction(None, 2)

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on the output: that on the input."""
        require_same_group(self.in_action, in_action)
        return in_action

    def __call__(self, inputs: jax.Array, mask: Any = None) -> jax.Array:
        """Applies the block.

        Args:
          inputs: ``(*batch, n, n, in_features)``. What stands at nodes that are not there does not matter.
          mask: bool ``(*batch, n)``, True at the nodes that are there; None for all.

        Returns:
          ``(*batch, n, n, out_features)``, zero at nodes that are not there.

        Raises:
          TypeError: the mask is not boolean.
          ValueError: a shape does not fit.
        """
        shape = inputs.shape
        if len(shape) < 3 or shape[-1] != self.in_features or shape[-3] != shape[-2]:
            raise ValueError(f"`inputs` has shape {shape}; the layer needs (*batch, n, n, {self.in_features}).")
        mask = None if mask is None else require_mask(mask, shape[:-2])
        x = keep_nodes(inputs, mask, 2)
        left, right = keep_nodes(_applied(self.left, x), mask, 2), _applied(self.right, x)
        wide = accumulation_dtype(left.dtype)
        total = jnp.einsum("...ikf,...kjf->...ijf", left, right, precision=self.precision, preferred_element_type=wide)
        scale = node_count(shape[-2], mask, total.dtype) ** _EXPONENTS[self.normalization]
        product = total / scale.reshape(scale.shape + (1,) * (total.ndim - scale.ndim))
        return keep_nodes(jnp.concatenate([_applied(self.beside, x), product.astype(left.dtype)], axis=-1), mask, 2)


def _applied(perceptron: nnx.Sequential, x: jax.Array) -> jax.Array:
    """Applies a perceptron, after which nothing but the number of features may have changed."""
    y = perceptron(x)
    return require_returned(y, (*x.shape[:-1], y.shape[-1]), "activation", "one number for each of its input")
