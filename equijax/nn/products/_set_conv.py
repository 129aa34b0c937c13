"""Convolution on sets of images, or of any fields."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes

from equijax._numbers import positive_int
from equijax.groups import Group
from equijax.nn._aggregation import as_aggregation
from equijax.nn._conv import Conv, default_bias_init, default_kernel_init
from equijax.nn._mask import keep
from equijax.nn._parameters import drawn
from equijax.nn._sampling import Padding
from equijax.nn.products._element import ElementLayer
from equijax.reps import Representation


class SetConv(ElementLayer):
    r"""Convolution on a set of fields: one convolution on each element, and another one on the pool of all.

    .. math:: y_i = L_1(x_i) + L_2\bigl(\mathrm{pool}_j(x_j)\bigr)

    L₁ and L₂ are :class:`Conv` with the same arguments, so the layer covers images, lifting and group convolution
    (``group``, ``in_fibre``, ``out_fibre``), and functions on a finite group (``kernel_size=()``). With the mean or the sum
    it is *every* linear layer that commutes with the permutations of the set and with the group of one element, if L₁ and
    L₂ are all that the group of one element allows: twice as many weights.

    Law: ``layer(act((p, g), x), act(p, mask)) == act((p, g), layer(x, mask))`` for every permutation p of the set and every g
    that ``layer.exactness(x.shape)`` names. One element g moves all fields of the set. Padding does not matter.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      kernel_size: window, as in :class:`Conv`; ``()`` for functions on a plain finite group.
      strides: as in :class:`Conv`.
      group: the group of one element; None means translations.
      in_fibre: representation of the point group on the input; None is ``Scalar``.
      out_fibre: representation of the point group on the output; None is ``Scalar``.
      padding: as in :class:`Conv`.
      kernel_dilation: as in :class:`Conv`.
      feature_group_count: as in :class:`Conv`.
      aggregation: the pool, a word such as ``"mean"``, ``"sum"``, ``"max"``, or an :class:`Aggregation`. A sum grows with the
        set; the mean does not.
      use_bias: whether to add a bias.
      dtype: dtype of the computation; None promotes inputs and parameters. Pools are formed in at least float32.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.conv_general_dilated``.
      kernel_init: called for L₁ and for L₂ with the features of both together, the true fan-in; its own part is kept.
      bias_init: initialiser of the bias.
      promote_dtype: function that promotes ``(inputs, kernel, bias)``.
      preferred_element_type: as in ``jax.lax.conv_general_dilated``.
      allow_inexact: accept input shapes at which elements of the point group are lost.
      algorithm: as in :class:`Conv`.
      rngs: key source, used at construction only.
      kernel_metadata: metadata of both kernels.
      bias_metadata: metadata of the bias.

    Attributes:
      element: L₁, a :class:`Conv`, with the bias.
      pooled: L₂, a :class:`Conv` without bias.

    Raises:
      TypeError: the aggregation depends on the order, or an argument of :class:`Conv` is of the wrong kind.
      ValueError: an argument does not fit the group.

    Example: sets of images that are lifted to p4.
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> group = ej.wallpaper("p4")
      >>> layer = ej.nn.SetConv(3, 8, 3, group=group, out_fibre=ej.reps.Regular(group.point_group), rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 5, 9, 9, 3)), mask=jnp.ones((2, 5), bool)).shape
      (2, 5, 9, 9, 4, 8)
      >>> print(layer.exactness((2, 5, 9, 9, 3)))
      Every order of the 5 elements; of each, 4 of 4 point elements about (4.0, 4.0) of the input, no shifts. Shifts are lost: the padding is not circular.

    References:
      Maron, Litany, Chechik and Fetaya, "On Learning Sets of Symmetric Elements", ICML 2020, arXiv:2002.08599.
    """  # noqa: E501

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        group: Group | None = None,
        in_fibre: Representation | None = None,
        out_fibre: Representation | None = None,
        padding: Padding = "SAME",
        kernel_dilation: int | Sequence[int] | None = 1,
        feature_group_count: int = 1,
        aggregation: Any = "mean",
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        promote_dtype: Callable = dtypes.promote_dtype,
        preferred_element_type: Any = None,
        allow_inexact: bool = False,
        algorithm: str | None = None,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        both = {
            "group": group, "in_fibre": in_fibre, "out_fibre": out_fibre, "padding": padding,
            "kernel_dilation": kernel_dilation, "feature_group_count": feature_group_count, "dtype": dtype,
            "param_dtype": param_dtype, "precision": precision, "bias_init": bias_init, "promote_dtype": promote_dtype,
            "preferred_element_type": preferred_element_type, "allow_inexact": allow_inexact,
            "algorithm": algorithm, "rngs": rngs,
            "kernel_metadata": kernel_metadata, "bias_metadata": bias_metadata,
        }  # fmt: skip
        self.aggregation = as_aggregation(aggregation)
        pooled_features = self.aggregation.out_features(positive_int(in_features, "in_features"))
        own = _beside(kernel_init, in_features, pooled_features)
        shared = _beside(kernel_init, pooled_features, in_features)
        window = (kernel_size, strides)
        self.element = Conv(in_features, out_features, *window, use_bias=use_bias, kernel_init=own, **both)
        self.pooled = Conv(pooled_features, out_features, *window, use_bias=False, kernel_init=shared, **both)
        self.in_features, self.out_features = self.element.in_features, self.element.out_features

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None, out_sharding: Any = None) -> jax.Array:
        """Applies the layer.

        Args:
          inputs: ``(*batch, n, *sizes, fibre, in_features)``; no fibre axis for the scalar fibre.
          mask: bool ``(*batch, n)``, True where an element is there; None for all. What padding holds does not matter.
          out_sharding: as in :class:`Conv`.

        Returns:
          ``(*batch, n, *out_sizes, out_fibre, out_features)``; zeros where the mask is False.

        Raises:
          TypeError: the mask is not boolean.
          ValueError: a shape does not fit, or loses an element of the point group.
        """
        axis, mask = self._require_set(inputs, mask)
        x = self._promoted(keep(inputs, mask))
        y = self.element(x, out_sharding)
        together = self.pooled(self.aggregation.over_axis(x, mask, axis), out_sharding)
        return keep(y + jnp.expand_dims(together, axis), mask)

    def _promoted(self, x: jax.Array) -> jax.Array:
        """Promotes the inputs as the convolutions would, so that the pool rounds no more than they do."""
        bias = None if self.element.bias is None else self.element.bias[...]
        return self.element.promote_dtype((x, self.element.kernel[...], bias), dtype=self.element.dtype)[0]


def _beside(kernel_init: Any, own: int, other: int) -> Callable:
    """Returns the initialiser that sees ``other`` features beside its ``own`` ones, and keeps the weights of its own."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        features = shape[-2] + shape[-2] * other // own
        whole = drawn(kernel_init, key, (*shape[:-2], features, shape[-1]), dtype, "kernel_init")
        return whole[..., : shape[-2], :]

    return init
