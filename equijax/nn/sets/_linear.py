"""The linear layer on sets: every element for itself, and all of them together."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes

from equijax._numbers import positive_int
from equijax.actions import SetAction
from equijax.nn._aggregation import Mean, Sum, as_aggregation
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._mask import keep
from equijax.nn._parameters import drawn, new_offset, read, read_offset
from equijax.nn.sets._layer import SetLayer, require_set
from equijax.sharing import LinearSharing


class SetLinear(SetLayer):
    r"""The equivariant layer of deep sets.

    .. math:: y_i = x_i A + \mathrm{pool}_j(x_j)\, B + c

    With the mean or the sum this is *every* linear layer that commutes with all permutations: two weights for each pair
    of features (:meth:`to_orbit_weights`). With another aggregation it commutes too, but is not linear.

    Law: ``layer(act(p, x), act(p, mask)) == act(p, layer(x, mask))`` for every permutation p. Padding does not matter, and
    equal elements have equal outputs.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      aggregation: the pool, a word such as ``"mean"``, ``"sum"``, ``"max"``, an :class:`Aggregation`, or several. A sum
        grows with the set; the mean does not.
      tied: whether B = -A, :math:`y_i = (x_i - \mathrm{pool}_j(x_j)) A + c`: one weight instead of two.
      use_bias: whether to add a bias.
      dtype: dtype of the computation; None promotes inputs and parameters. Pools are formed in at least float32.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: called with shape ``(in_features + pooled features, out_features)``, the true fan-in.
      bias_init: initialiser of the bias.
      promote_dtype: function that promotes ``(inputs, kernel, pool_kernel, bias)``.
      rngs: key source, used at construction only.

    Attributes:
      kernel: Param ``(in_features, out_features)``, A.
      pool_kernel: Param ``(pooled features, out_features)``, B; None if tied.
      bias: Param ``(out_features,)``, c; or None.

    Raises:
      TypeError: the aggregation depends on the order.
      ValueError: ``tied`` with an aggregation that changes the number of features.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.SetLinear(3, 8, rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 5, 3)), mask=jnp.ones((2, 5), bool)).shape
      (2, 5, 8)

    References:
      Zaheer, Kottur, Ravanbakhsh, Póczos, Salakhutdinov and Smola, "Deep Sets", NeurIPS 2017, arXiv:1703.06114.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        aggregation: Any = "mean",
        tied: bool = False,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        promote_dtype: Callable = dtypes.promote_dtype,
        rngs: nnx.Rngs,
    ):
        self.in_features = positive_int(in_features, "in_features")
        self.out_features = positive_int(out_features, "out_features")
        self.aggregation, self.tied = as_aggregation(aggregation), tied
        self.dtype, self.param_dtype, self.precision, self.promote_dtype = dtype, param_dtype, precision, promote_dtype
        pooled = self.aggregation.out_features(in_features)
        if tied and pooled != in_features:
            raise ValueError(
                f"`aggregation` is {self.aggregation!r}, which makes {pooled} features of {in_features}, but with tied=True "
                "it is subtracted from each element. Use tied=False."
            )
        fan_in = in_features if tied else in_features + pooled
        kernel = drawn(kernel_init, rngs.params(), (fan_in, out_features), param_dtype, "kernel_init")
        self.kernel = nnx.Param(kernel[:in_features])
        self.pool_kernel = nnx.data(None) if tied else nnx.Param(kernel[in_features:])
        self.bias = new_offset(use_bias, (out_features,), bias_init, param_dtype, rngs)

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """Applies the layer.

        Args:
          inputs: ``(*batch, n, in_features)``.
          mask: bool ``(*batch, n)``, True where an element is there; None for all.

        Returns:
          ``(*batch, n, out_features)``; zeros where the mask is False.

        Raises:
          TypeError: the mask is not boolean.
          ValueError: a shape does not fit.
        """
        mask = require_set(inputs, self.in_features, mask)
        own, pooled = self.in_features, self.aggregation.out_features(self.in_features)
        parameters = [
            read(self.kernel, "kernel", (own, self.out_features)),
            None if self.pool_kernel is None else read(self.pool_kernel, "pool_kernel", (pooled, self.out_features)),
            read_offset(self.bias, (self.out_features,)),
        ]
        x, kernel, pool_kernel, bias = self.promote_dtype((keep(inputs, mask), *parameters), dtype=self.dtype)
        pooled = self.aggregation.over_axis(x, mask)[..., None, :]
        if pool_kernel is None:
            y = jnp.matmul(x - pooled, kernel, precision=self.precision)
        else:
            y = jnp.matmul(x, kernel, precision=self.precision)
            y = y + jnp.matmul(pooled, pool_kernel, precision=self.precision)
        if bias is not None:
            y = y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)
        return keep(y, mask)

    def to_orbit_weights(self, n: int) -> dict[str, jax.Array]:
        r"""Converts to the weights of ``EquivariantLinear(SetAction(n), SetAction(n), …)``, the reference layer.

        The matrix between an element and itself is :math:`A + s B`, between two different ones :math:`s B`, where s is 1
        for the sum and 1/n for the mean.

        Args:
          n: number of elements.

        Returns:
          ``kernel``, ``(orbits, in_features, out_features)``, and ``bias`` where there is one.

        Raises:
          ValueError: the aggregation is not linear.
        """
        if not isinstance(self.aggregation, (Mean, Sum)):
            raise ValueError(
                f"`aggregation` is {self.aggregation!r}, so the layer is not linear and has no orbit weights. Use 'mean' or "
                "'sum'."
            )
        scale = 1 if isinstance(self.aggregation, Sum) else 1 / positive_int(n, "n")
        own = self.kernel[...]
        shared = (-own if self.pool_kernel is None else self.pool_kernel[...]) * jnp.asarray(scale, own.dtype)
        sharing = LinearSharing(SetAction(n), SetAction(n))  # pyright: ignore[reportArgumentType]
        itself = sharing.orbits[0, 0]
        kernel = jnp.stack([own + shared if orbit == itself else shared for orbit in range(sharing.count)])
        weights = {"kernel": kernel}
        return weights if self.bias is None else weights | {"bias": self.bias[...]}
