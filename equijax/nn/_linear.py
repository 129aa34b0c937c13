"""The reference layer: any finite action, slow and always right."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.nnx.nn import dtypes

from equijax._numbers import positive_int
from equijax.actions import Action, GridAction
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._exactness import Exactness, everything, of_points
from equijax.nn._layer import Layer, require_same_group
from equijax.sharing import LinearSharing


class EquivariantLinear(Layer):
    r"""The most general linear layer between two finite actions of one group.

    .. math:: y[o] = β[o] + \sum_i W[o, i]\, f[i], \qquad W[g·o, g·i] = W[o, i]

    W is constant on the orbits of the group on pairs (output point, input point): one ``(in_features, out_features)``
    matrix for each. It is dense, so it costs ``out_size · in_size`` products: the oracle for faster layers, and the layer
    to use for groups that have none.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g that permutes the points of both sides.

    Example: a linear layer on sets has two weights.
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.EquivariantLinear(ej.SetAction(5), ej.SetAction(5), 3, 8, rngs=nnx.Rngs(0))
      >>> layer.kernel.shape, layer(jnp.ones((2, 5, 3))).shape
      ((2, 3, 8), (2, 5, 8))

    Attributes:
      kernel: Param ``(orbits, in_features, out_features)``, orbits of :class:`equijax.sharing.LinearSharing`.
      bias: Param ``(out_features,)``, or ``(orbits of output points, out_features)`` where there are several; or None.

    Args:
      in_action: a finite action, e.g. ``GridAction(group).on((8, 8))``, ``SetAction(5)``, ``FibreAction(fibre)``.
      out_action: a finite action of the same group.
      in_features: number of input features.
      out_features: number of output features.
      use_bias: whether to add a bias.
      dtype: dtype of the computation; None promotes inputs and parameters.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: called with shape ``(in_size, in_features, out_features)``: the true fan-in.
      bias_init: initialiser of the bias.
      promote_dtype: function that promotes ``(inputs, kernel, bias)``.
      preferred_element_type: as in ``jax.lax.dot_general``.
      rngs: key source, used at construction only.
      kernel_metadata: metadata of the kernel's Param.
      bias_metadata: metadata of the bias.

    Raises:
      ValueError: the actions belong to different groups, or a grid has no size yet.

    References:
      Ravanbakhsh, Schneider and Póczos, "Equivariance Through Parameter-Sharing", ICML 2017, arXiv:1702.08389.
    """

    def __init__(
        self,
        in_action: Action,
        out_action: Action,
        in_features: int,
        out_features: int,
        *,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        promote_dtype: Callable = dtypes.promote_dtype,
        preferred_element_type: Any = None,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        self.sharing = LinearSharing(in_action, out_action)  # pyright: ignore[reportArgumentType]
        self.in_features = positive_int(in_features, "in_features")
        self.out_features = positive_int(out_features, "out_features")
        self.dtype, self.param_dtype, self.precision = dtype, param_dtype, precision
        self.promote_dtype, self.preferred_element_type = promote_dtype, preferred_element_type
        orbits, out_orbits = self.sharing.orbits, self.sharing.out_orbits
        key = rngs.params()
        rows = np.unique(out_orbits, return_index=True)[1]
        parts = []
        for k, row in zip([key] if len(rows) == 1 else jax.random.split(key, len(rows)), rows, strict=True):
            first = np.unique(orbits[row], return_index=True)[1]
            parts.append(kernel_init(k, (orbits.shape[1], in_features, out_features), param_dtype)[first])
        order = np.argsort(np.concatenate([np.unique(orbits[row]) for row in rows]))
        self.kernel = nnx.Param(jnp.concatenate(parts)[order], **kernel_metadata)
        shape = (out_features,) if len(rows) == 1 else (len(rows), out_features)
        self.bias = nnx.Param(bias_init(rngs.params(), shape, param_dtype), **bias_metadata) if use_bias else nnx.data(None)

    @property
    def in_action(self) -> Action:
        """The action on the input."""
        return self.sharing.in_action

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on the output."""
        require_same_group(self.in_action, in_action)
        return self.sharing.out_action

    def exactness(self, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements the layer respects exactly: all that permute the points of both sides."""
        del input_shape
        into, out = self.sharing.in_action, self.sharing.out_action
        if isinstance(into.action, GridAction):
            return of_points(into.action, out.action, into.shape[: into.action.ndim])
        return everything(into.action, out.action)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Applies the layer.

        Args:
          inputs: ``(*batch, *in_shape, in_features)``; any number of batch axes, none included.

        Returns:
          ``(*batch, *out_shape, out_features)``.

        Raises:
          ValueError: the shape does not fit the input action.
        """
        in_shape, out_shape = self.sharing.in_action.shape, self.sharing.out_action.shape
        batch = inputs.shape[: inputs.ndim - 1 - len(in_shape)]
        if inputs.shape != (*batch, *in_shape, self.in_features):
            raise ValueError(
                f"`inputs` has shape {inputs.shape}; the layer needs (*batch, *{in_shape}, {self.in_features}), the points "
                "that `in_action` moves and in_features last."
            )
        kernel = self.kernel[...]
        bias = None if self.bias is None else self.bias[...]
        x, kernel, bias = self.promote_dtype((inputs, kernel, bias), dtype=self.dtype)
        x = x.reshape(*batch, self.sharing.in_action.size, self.in_features)
        y = jnp.einsum(
            "...ic,oicd->...od",
            x,
            kernel[jnp.asarray(self.sharing.orbits)],
            precision=self.precision,
            preferred_element_type=self.preferred_element_type,
        )
        if bias is not None:
            spread = bias if bias.ndim == 1 else bias[jnp.asarray(self.sharing.out_orbits)]
            y = y + spread.reshape((1,) * (y.ndim - spread.ndim) + spread.shape)
        return y.reshape(*batch, *out_shape, self.out_features)
