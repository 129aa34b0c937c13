"""A learned score of a phase."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from equijax._dtypes import widened
from equijax._numbers import positive_int
from equijax.groups import Group
from equijax.nn._conv import Conv
from equijax.nn._given import checked
from equijax.nn._parameters import read
from equijax.nn._phases import sorted_sum
from equijax.reps import Representation


@checked
class PhaseScore(nnx.Module):
    r"""A learned score of a phase: a circular convolution, tanh, a weighted mean over the grid.

    .. math:: q(P) = \frac1M \sum_m \tanh(κ * P + β)[m] · w

    It does not change when the phase is shifted. The mean is taken in sorted order, so not even the last bit does.

    Args:
      features: features of the input.
      hidden: features of the convolution.
      kernel_size: one int per grid axis.
      group: group of the layer; None is the translations.
      in_fibre: representation of the point group on the input; None is ``Scalar``.
      rngs: key source.
      param_dtype: dtype of the parameters.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> score = ej.nn.PhaseScore(3, 8, (3,), rngs=nnx.Rngs(0))
      >>> score(jnp.ones((2, 4, 3))).shape
      (2,)
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        kernel_size: int | Sequence[int],
        *,
        group: Group | None = None,
        in_fibre: Representation | None = None,
        rngs: nnx.Rngs,
        param_dtype: Any = jnp.float32,
    ):
        features, hidden = positive_int(features, "features"), positive_int(hidden, "hidden")
        options: dict[str, Any] = {"padding": "CIRCULAR", "param_dtype": param_dtype, "allow_inexact": True}
        self.conv = Conv(features, hidden, kernel_size, group=group, in_fibre=in_fibre, rngs=rngs, **options)
        self.weight = nnx.Param(nnx.initializers.normal(hidden**-0.5)(rngs.params(), (hidden,), param_dtype))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Scores ``(*batch, *sizes, fibre, features)``; returns ``(*batch,)``, of at least float32."""
        fields = widened(jnp.tanh(self.conv(x)))[0]
        d = len(self.conv.sampling.window)
        weight = read(self.weight, "weight", (self.conv.out_features,)).astype(fields.dtype)
        terms = (fields * jnp.broadcast_to(weight, fields.shape)).sum(-1)
        return sorted_sum(terms, d) / np.array(terms[(0,) * (terms.ndim - d)].size, terms.dtype)
