"""Attention between two sets."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._dtypes import accumulation_dtype
from equijax._extrema import below_largest
from equijax._numbers import positive_int
from equijax.nn._checked_linear import Linear
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._dropout import DropsAttention, Streams, dropped
from equijax.nn._given import checked
from equijax.nn._mask import keep
from equijax.nn._norm import normalised
from equijax.nn.sets._layer import require_set


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    key_mask: jax.Array | None = None,
    precision: Any = None,
    drop: Callable[[jax.Array], jax.Array] | None = None,
) -> jax.Array:
    r"""Scaled dot-product attention of every head, :math:`\mathrm{softmax}(Q_h K_h^T / \sqrt{d_h}) V_h`.

    Args:
      query: ``(*batch, queries, heads, d)``.
      key: ``(*batch, keys, heads, d)``.
      value: ``(*batch, keys, heads, d)``; finite also where the mask is False.
      key_mask: bool ``(*batch, keys)``, True where a key is there, or ``(*batch, queries, keys)``, True where a query may
        look at a key; None for all.
      precision: as in ``jax.lax.dot_general``.
      drop: dropout of the weights ``(*batch, heads, queries, keys)``, or None.

    Returns:
      ``(*batch, queries, heads, d)`` of the dtype of ``value``; zeros where there is no key. Scores, softmax and sums are
      computed in at least float32.
    """
    weights = attention_weights(query, key, key_mask, precision)
    return weighted_values(weights if drop is None else drop(weights), value, precision)


def attention_weights(query: jax.Array, key: jax.Array, key_mask: jax.Array | None, precision: Any) -> jax.Array:
    """Returns the softmax of :func:`attend`, ``(*batch, heads, queries, keys)``, at least float32; 0 without key.

    The largest product is subtracted from the products themselves, which stand in memory, and the difference is scaled. Were
    products scaled before, XLA would scale them twice, with two roundings, and of large ones no exponential would be left.
    """
    wide = accumulation_dtype(query.dtype)
    scores = jnp.einsum("...qhd,...khd->...hqk", query, key, precision=precision, preferred_element_type=wide)
    there = jnp.ones(key.shape[:-2], bool) if key_mask is None else key_mask
    there = there[..., None, :] if there.ndim == key.ndim - 2 else there
    there = jnp.broadcast_to(there[..., None, :, :], scores.shape)
    if query.shape[-1] == 1:  # products of two numbers are multiplied wherever they are read
        shifted, _ = below_largest(scores, -1, there)
    else:
        lowest = jnp.asarray(jnp.finfo(wide).min, wide)
        largest = jnp.max(jnp.where(there, scores, lowest), axis=-1, keepdims=True, initial=lowest)
        shifted = (scores - jax.lax.stop_gradient(largest)) * jnp.asarray(query.shape[-1] ** -0.5, wide)
    weights = jnp.where(there, jnp.exp(jnp.where(there, shifted, jnp.zeros((), wide))), jnp.zeros((), wide))
    total = weights.sum(axis=-1, keepdims=True)
    return weights / jnp.where(there.any(axis=-1, keepdims=True), total, jnp.ones((), wide))


def weighted_values(weights: jax.Array, value: jax.Array, precision: Any) -> jax.Array:
    """Returns the sums of the values by weights ``(*batch, heads, queries, keys)``, of the dtype of ``value``."""
    products = {"precision": precision, "preferred_element_type": weights.dtype}
    return jnp.einsum("...hqk,...khd->...qhd", weights.astype(value.dtype), value, **products).astype(value.dtype)


@checked
class FeedForward(nnx.Module):
    """The same network for every element, ``relu(x W_1 + b_1) W_2 + b_2``: the ``rFF`` of the set transformer."""

    def __init__(self, features: int, hidden_features: int, **options: Any):
        self.hidden = Linear(features, hidden_features, **options)
        self.out = Linear(hidden_features, features, **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the network to ``(*batch, features)``."""
        return self.out(jax.nn.relu(self.hidden(x)))


@checked
class MultiheadAttentionBlock(DropsAttention):
    r"""Each element x of one set looks at all elements y of another.

    .. math:: \mathrm{MAB}(X, Y) = \mathrm{LN}(H + \mathrm{rFF}(H)), \qquad H = \mathrm{LN}(X + \mathrm{MH}(X, Y, Y)),

    .. math:: \mathrm{MH}(Q, K, V) = \mathrm{concat}_h\big(\mathrm{softmax}(Q_h K_h^T / \sqrt{d_h})\, V_h\big)\, W_o

    Law: ``block(act(p, x), act(q, y)) == act(p, block(x, y))`` for permutations p and q: equivariant in x, invariant in y.
    Padding does not matter. Without any y the attention is 0, so that the result depends on x alone. With dropout the law
    holds in distribution: another order draws other noise.

    Args:
      features: number of features of both sets and of the result.
      num_heads: number of heads, a divisor of ``features``.
      hidden_features: width of the feed-forward network; None is ``features``.
      use_norm: whether to normalise the features of each element (``nnx.LayerNorm``).
      dropout_rate: the probability with which a weight of the softmax is dropped; what is kept is divided by
        ``1 - dropout_rate``.
      deterministic: whether nothing is dropped, as in a view for evaluation (``nnx.view(layer, deterministic=True)``).
      dtype: dtype of the computation; None promotes inputs and parameters. The softmax is at least float32.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: initialiser of all matrices.
      bias_init: initialiser of all their biases.
      rngs: key source, used at construction only.

    Attributes:
      query: ``nnx.Linear``, and likewise ``key``, ``value`` and ``out``.
      feed_forward: the network of each element.
      norm: ``nnx.LayerNorm`` after the attention, or None.
      last_norm: ``nnx.LayerNorm`` at the end, or None.

    Raises:
      ValueError: ``num_heads`` does not divide ``features``.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> block = ej.nn.MultiheadAttentionBlock(8, 2, rngs=nnx.Rngs(0))
      >>> block(jnp.ones((2, 3, 8)), jnp.ones((2, 5, 8)), y_mask=jnp.ones((2, 5), bool)).shape
      (2, 3, 8)

    References:
      Lee, Lee, Kim, Kosiorek, Choi and Teh, "Set Transformer", ICML 2019, arXiv:1810.00825, section 3.
    """

    def __init__(
        self,
        features: int,
        num_heads: int = 4,
        *,
        hidden_features: int | None = None,
        use_norm: bool = True,
        dropout_rate: float = 0.0,
        deterministic: bool = False,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        rngs: nnx.Rngs,
    ):
        super().__init__(dropout_rate, deterministic)
        self.features = positive_int(features, "features")
        self.num_heads = positive_int(num_heads, "num_heads")
        if features % num_heads:
            raise ValueError(f"`num_heads` is {num_heads}; it must divide features = {features}.")
        hidden = features if hidden_features is None else positive_int(hidden_features, "hidden_features")
        self.precision = precision
        stored = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        linear = {"precision": precision, "kernel_init": kernel_init, "bias_init": bias_init, **stored}
        self.query = Linear(features, features, **linear)
        self.key = Linear(features, features, **linear)
        self.value = Linear(features, features, **linear)
        self.out = Linear(features, features, **linear)
        self.norm = nnx.LayerNorm(features, **stored) if use_norm else nnx.data(None)
        self.feed_forward = FeedForward(features, hidden, **linear)
        self.last_norm = nnx.LayerNorm(features, **stored) if use_norm else nnx.data(None)

    def __call__(
        self,
        x: jax.Array,
        y: jax.Array,
        mask: jax.Array | None = None,
        y_mask: jax.Array | None = None,
        *,
        return_attention_weights: bool = False,
        deterministic: bool | None = None,
        rngs: Streams | None = None,
    ) -> Any:
        """Lets every x attend to all y.

        Args:
          x: ``(*batch, n, features)``.
          y: ``(*batch, m, features)``, the same batch axes.
          mask: bool ``(*batch, n)``, which x are there; None for all.
          y_mask: bool ``(*batch, m)``, which y are there; None for all.
          return_attention_weights: whether to return the softmax too.
          deterministic: whether nothing is dropped; None is what the block was built with.
          rngs: the streams, one of them, or a key; dropout takes one key. Every weight has noise of its own.

        Returns:
          ``(*batch, n, features)``; zeros where ``mask`` is False. With ``return_attention_weights`` that and the softmax
          before dropout, ``(*batch, num_heads, n, m)``, 0 where a mask is False, at least float32.

        Raises:
          TypeError: a mask is not boolean.
          ValueError: a shape does not fit, or dropout lacks ``rngs``.
        """
        mask = require_set(x, self.features, mask, "x")
        y_mask = require_set(y, self.features, y_mask, "y", "y_mask")
        if x.shape[:-2] != y.shape[:-2]:
            raise ValueError(f"`x` has shape {x.shape} and `y` {y.shape}; their batch axes must be the same.")
        x, y = keep(x, mask), keep(y, y_mask)
        heads = (self.num_heads, self.features // self.num_heads)
        query, key, value = (
            layer(z).reshape(*z.shape[:-1], *heads) for layer, z in ((self.query, x), (self.key, y), (self.value, y))
        )
        weights = attention_weights(query, key, y_mask, self.precision)
        kept = dropped(weights, self.dropout_rate, self.dropout_key(deterministic, rngs))
        attended = self.out(weighted_values(kept, value, self.precision).reshape(x.shape))
        hidden = normalised(self.norm, x.astype(attended.dtype) + attended)
        result = keep(normalised(self.last_norm, hidden + self.feed_forward(hidden)), mask)
        if not return_attention_weights:
            return result
        return result, keep(weights, None if mask is None else jnp.broadcast_to(mask[..., None, :], weights.shape[:-1]))
