"""Set attention: blocks that keep the set, and a pool."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._numbers import positive_int
from equijax.nn._dropout import Streams, as_streams
from equijax.nn._mask import keep
from equijax.nn._parameters import new_parameter, read
from equijax.nn.sets._layer import InvariantSetLayer, SetLayer, require_set
from equijax.nn.sets._multihead import FeedForward, MultiheadAttentionBlock

default_seed_init = nnx.initializers.normal(1.0)


class SetAttentionBlock(SetLayer):
    r"""Self-attention on a set, :math:`\mathrm{SAB}(X) = \mathrm{MAB}(X, X)`; its cost is quadratic in the size of the set.

    Law: ``layer(act(p, x), act(p, mask)) == act(p, layer(x, mask))`` for every permutation p. Padding does not matter.
    With dropout the law holds in distribution.

    Args:
      features: number of features of input and output.
      num_heads: number of heads, a divisor of ``features``.
      **options: those of :class:`MultiheadAttentionBlock`; ``rngs`` is required.

    Attributes:
      block: the :class:`MultiheadAttentionBlock`.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.SetAttentionBlock(8, 2, rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 5, 8)), mask=jnp.ones((2, 5), bool)).shape
      (2, 5, 8)

    References:
      Lee et al., "Set Transformer", ICML 2019, arXiv:1810.00825, section 3.1.
    """

    def __init__(self, features: int, num_heads: int = 4, **options: Any):
        self.block = MultiheadAttentionBlock(features, num_heads, **options)

    def __call__(
        self,
        inputs: jax.Array,
        mask: jax.Array | None = None,
        *,
        return_attention_weights: bool = False,
        deterministic: bool | None = None,
        rngs: Streams | None = None,
    ) -> Any:
        """Applies the block.

        Args:
          inputs: ``(*batch, n, features)``.
          mask: bool ``(*batch, n)``, which elements are there; None for all.
          return_attention_weights: whether to return the softmax too.
          deterministic: whether nothing is dropped; None is what the layer was built with.
          rngs: the streams, one of them, or a key.

        Returns:
          ``(*batch, n, features)``; zeros where the mask is False. With ``return_attention_weights`` that and the softmax
          before dropout, ``(*batch, num_heads, n, n)``.
        """
        options = {"return_attention_weights": return_attention_weights, "deterministic": deterministic, "rngs": rngs}
        return self.block(inputs, inputs, mask, mask, **options)


class InducedSetAttentionBlock(SetLayer):
    r"""Attention through a few learned points; its cost is linear in the size of the set.

    .. math:: \mathrm{ISAB}(X) = \mathrm{MAB}(X, \mathrm{MAB}(I, X))

    Law: ``layer(act(p, x), act(p, mask)) == act(p, layer(x, mask))`` for every permutation p. Padding does not matter.
    With dropout the law holds in distribution.

    Args:
      features: number of features of input and output.
      num_points: number of learned points.
      num_heads: number of heads, a divisor of ``features``.
      seed_init: initialiser of the learned points.
      param_dtype: dtype in which the parameters are stored.
      rngs: key source, used at construction only.
      **options: those of :class:`MultiheadAttentionBlock`.

    Attributes:
      points: Param ``(num_points, features)``, I.
      gather: the inner :class:`MultiheadAttentionBlock`.
      scatter: the outer one.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> ej.nn.InducedSetAttentionBlock(8, 3, 2, rngs=nnx.Rngs(0))(jnp.ones((2, 5, 8))).shape
      (2, 5, 8)

    References:
      Lee et al., "Set Transformer", ICML 2019, arXiv:1810.00825, section 3.1.
    """

    def __init__(
        self,
        features: int,
        num_points: int,
        num_heads: int = 4,
        *,
        seed_init: Any = default_seed_init,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        self.num_points = positive_int(num_points, "num_points")
        shape = (self.num_points, positive_int(features, "features"))
        self.points = new_parameter(seed_init, shape, param_dtype, rngs, "seed_init")
        options |= {"param_dtype": param_dtype, "rngs": rngs}
        self.gather = MultiheadAttentionBlock(features, num_heads, **options)
        self.scatter = MultiheadAttentionBlock(features, num_heads, **options)

    def __call__(
        self,
        inputs: jax.Array,
        mask: jax.Array | None = None,
        *,
        return_attention_weights: bool = False,
        deterministic: bool | None = None,
        rngs: Streams | None = None,
    ) -> Any:
        """Applies the block.

        Args:
          inputs: ``(*batch, n, features)``.
          mask: bool ``(*batch, n)``, which elements are there; None for all.
          return_attention_weights: whether to return the softmax too.
          deterministic: whether nothing is dropped; None is what the layer was built with.
          rngs: the streams, one of them, or a key.

        Returns:
          ``(*batch, n, features)``; zeros where the mask is False. With ``return_attention_weights`` that and the softmaxes
          before dropout: ``(*batch, num_heads, num_points, n)`` of the points and ``(*batch, num_heads, n, num_points)`` of
          the elements.
        """
        options = {"deterministic": deterministic, "rngs": as_streams(rngs), "return_attention_weights": True}
        mask = require_set(inputs, self.gather.features, mask)
        points = read(self.points, "points", (self.num_points, self.gather.features))
        gathered, inner = self.gather(_for_batch(points, inputs), inputs, y_mask=mask, **options)
        result, outer = self.scatter(inputs, gathered, mask, **options)
        return (result, (inner, outer)) if return_attention_weights else result


class AttentionPool(InvariantSetLayer):
    r"""Pools a set by letting learned seeds attend to it.

    .. math:: \mathrm{PMA}(X) = \mathrm{MAB}(S, \mathrm{rFF}(X))

    Law: ``layer(act(p, x), act(p, mask)) == layer(x, mask)`` for every permutation p. Padding does not matter; an empty set
    gives a constant.

    Args:
      features: number of features of input and output.
      num_seeds: number of seeds, that is of vectors in the result.
      num_heads: number of heads, a divisor of ``features``.
      seed_init: initialiser of the seeds.
      param_dtype: dtype in which the parameters are stored.
      rngs: key source, used at construction only.
      **options: those of :class:`MultiheadAttentionBlock`.

    Attributes:
      seeds: Param ``(num_seeds, features)``, S.
      feed_forward: the network of each element.
      block: the :class:`MultiheadAttentionBlock`.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> ej.nn.AttentionPool(8, 3, 2, rngs=nnx.Rngs(0))(jnp.ones((2, 5, 8))).shape
      (2, 3, 8)

    References:
      Lee et al., "Set Transformer", ICML 2019, arXiv:1810.00825, section 3.2.
    """

    def __init__(
        self,
        features: int,
        num_seeds: int = 1,
        num_heads: int = 4,
        *,
        seed_init: Any = default_seed_init,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        self.num_seeds = positive_int(num_seeds, "num_seeds")
        shape = (self.num_seeds, positive_int(features, "features"))
        self.seeds = new_parameter(seed_init, shape, param_dtype, rngs, "seed_init")
        options |= {"param_dtype": param_dtype, "rngs": rngs}
        self.block = MultiheadAttentionBlock(features, num_heads, **options)
        hidden = self.block.feed_forward.hidden.out_features
        linear = {name: options[name] for name in _LINEAR if name in options}
        self.feed_forward = FeedForward(features, hidden, **linear)

    def __call__(
        self,
        inputs: jax.Array,
        mask: jax.Array | None = None,
        *,
        return_attention_weights: bool = False,
        deterministic: bool | None = None,
        rngs: Streams | None = None,
    ) -> Any:
        """Pools each set.

        Args:
          inputs: ``(*batch, n, features)``.
          mask: bool ``(*batch, n)``, which elements are there; None for all.
          return_attention_weights: whether to return the softmax too.
          deterministic: whether nothing is dropped; None is what the layer was built with.
          rngs: the streams, one of them, or a key.

        Returns:
          ``(*batch, num_seeds, features)``. With ``return_attention_weights`` that and the softmax before dropout,
          ``(*batch, num_heads, num_seeds, n)``.
        """
        options = {"return_attention_weights": return_attention_weights, "deterministic": deterministic, "rngs": rngs}
        mask = require_set(inputs, self.block.features, mask)
        encoded = self.feed_forward(keep(inputs, mask))
        seeds = read(self.seeds, "seeds", (self.num_seeds, self.block.features))
        return self.block(_for_batch(seeds, inputs), encoded, y_mask=mask, **options)


_LINEAR = ("dtype", "param_dtype", "precision", "kernel_init", "bias_init", "rngs")


def _for_batch(learned: jax.Array, inputs: jax.Array) -> jax.Array:
    """Learned points, repeated for every set of the batch."""
    return jnp.broadcast_to(learned.reshape((1,) * (inputs.ndim - 2) + learned.shape), (*inputs.shape[:-2], *learned.shape))
