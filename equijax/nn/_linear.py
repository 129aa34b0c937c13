"""The reference layer: any two actions of one group, slow and always right."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes

from equijax._numbers import positive_int
from equijax.actions import Action
from equijax.actions._kept import Nothing
from equijax.actions._kept_parts import kept_by, meet
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._exactness import Exactness
from equijax.nn._frozen import Frozen
from equijax.nn._layer import Layer, require_same_group
from equijax.nn._parameters import add_bias, new_bias, new_kernel, read_bias, read_kernel
from equijax.sharing import LinearSharing


class EquivariantLinear(Layer):
    r"""The most general linear layer between two actions of one group, finite or Lie.

    .. math:: y[o] = β[o] + \sum_i W[o, i]\, f[i], \qquad ρ_{out}(g)\, W = W\, ρ_{in}(g), \quad ρ_{out}(g)\, β = β

    Where both actions permute their points, W is constant on the orbits of the group on pairs (output point, input point):
    one ``(in_features, out_features)`` matrix for each. Other actions (vectors, irreps, tensors, of any group) have a basis
    of maps, solved for from the generators and the Lie algebra, and one such matrix for each of them. The bias lives in the
    outputs that nothing moves. The layer is dense, so it costs ``out_size · in_size`` products: the oracle for faster
    layers, and the layer to use for groups that have none.

    At initialisation, on independent inputs of variance 1, every output coordinate that the input reaches has variance 1
    under every initialiser of Flax (in orthonormal coordinates of an invariant inner product; on average where there is
    none). What nothing reaches stays 0, and a ``UserWarning`` names it where the irreps are known.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g that maps the points of both sides to themselves.

    Example: a linear layer on sets has two weights.
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.EquivariantLinear(ej.SetAction(5), ej.SetAction(5), 3, 8, rngs=nnx.Rngs(0))
      >>> layer.kernel.shape, layer(jnp.ones((2, 5, 3))).shape
      ((2, 3, 8), (2, 5, 8))

    Attributes:
      kernel: Param ``(count, in_features, out_features)``, one row for each orbit, or map of the basis, of
        :class:`equijax.sharing.LinearSharing`.
      bias: Param ``(out_features,)``, or ``(k, out_features)`` for the k invariants of an output that has several or does
        not permute (orbits of output points where it does); or None, as where nothing is invariant.

    Args:
      in_action: an action, finite where it has a base: ``GridAction(group).on((8, 8))``, ``SetAction(5)``,
        ``FibreAction(rep)``.
      out_action: an action of the same group.
      in_features: number of input features.
      out_features: number of output features.
      use_bias: whether to add a bias.
      dtype: dtype of the computation; None promotes inputs and parameters.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: called with shape ``(in_size, in_features, out_features)``: the true fan-in; where an action does not
        permute, with ``(count, in_features, out_features)`` to the same end.
      bias_init: initialiser of the bias.
      promote_dtype: function that promotes ``(inputs, kernel, bias)``.
      preferred_element_type: as in ``jax.lax.dot_general``.
      rngs: key source, used at construction only.
      kernel_metadata: metadata of the kernel's Param.
      bias_metadata: metadata of the bias.

    Raises:
      ValueError: the actions belong to different groups, a grid has no size yet, or the maps are too many to solve for.

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
        self.kernel = new_kernel(self.sharing, in_features, out_features, kernel_init, param_dtype, rngs, kernel_metadata)
        self.bias = new_bias(use_bias, self.sharing, out_features, bias_init, param_dtype, rngs, bias_metadata)

    @property
    def in_action(self) -> Action:
        """The action on the input."""
        return self.sharing.in_action

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on the output."""
        require_same_group(self.in_action, in_action)
        return self.sharing.out_action

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements the layer respects exactly: all that permute the points of both sides.

        Its weights belong to one spacing, origin and boundary; where a chain brings another grid nothing is claimed.
        """
        self.out_action_for(in_action)
        into, out = self.sharing.in_action, self.sharing.out_action
        brought = in_action.grid(tuple(input_shape))
        if brought is not None and brought[0].on(brought[1]).action != into.action:
            why = f"The layer was built for {into.action!r}, but {brought[0]!r} comes."
            return Exactness(in_action, out.action, Nothing(in_action.group), why)
        kept = meet(kept_by(into.action, (*into.shape, 1)), kept_by(out.action, (*out.shape, 1)))
        return Exactness(into.action, out.action, kept, "")

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
        frozen = isinstance(self.kernel, Frozen)
        kernel = self.kernel[...] if frozen else self._kernel()
        bias = read_bias(self.bias, self.sharing, self.out_features)
        x, kernel, bias = self.promote_dtype((inputs, kernel, bias), dtype=self.dtype)
        x = x.reshape(*batch, self.sharing.in_action.size, self.in_features)
        y = jnp.einsum(
            "...ic,oicd->...od",
            x,
            kernel if frozen else self.sharing.expand(kernel),
            precision=self.precision,
            preferred_element_type=self.preferred_element_type,
        )
        return add_bias(y, bias, self.sharing).reshape(*batch, *out_shape, self.out_features)

    def _kernel(self) -> jax.Array:
        return read_kernel(self.kernel, self.sharing, self.in_features, self.out_features)

    def frozen(self) -> Frozen:
        """What the layer multiplies with when it is frozen."""
        return Frozen(self.sharing.expand(self._kernel()))
