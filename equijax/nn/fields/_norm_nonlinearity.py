"""A nonlinear function of the length of each vector."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes

from equijax._dtypes import accumulation_dtype, require_real
from equijax.actions import Action
from equijax.groups import Group
from equijax.nn._exactness import Exactness
from equijax.nn._parameters import new_offset, read_offset
from equijax.nn._pointwise import claimed, lead_and_features
from equijax.nn._returned import require_pointwise
from equijax.nn.fields._blocks import block_count, block_indicators, block_numbers
from equijax.nn.fields._layer import (
    FieldLayer,
    broadcast,
    from_vectors,
    per_block,
    require_features,
    require_field,
    require_fields,
    require_orthogonal,
    to_vectors,
)
from equijax.nn.fields._taken import taken
from equijax.reps import Representation

_half = nnx.initializers.constant(0.5)


class NormNonlinearity(FieldLayer):
    r"""Changes the length of each vector of a field and leaves its direction.

    .. math:: y = \frac{φ(|v| - b)}{|v|}\, v, \qquad |v| = \sqrt{v·v + ε}

    Here v is one block of the fibre, a summand of a direct sum (an orbit of coordinates where the group permutes them),
    and one feature. A sum of irreps has one length for each irrep and copy. ε keeps value and gradient finite at 0.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g, since lengths are invariant.

    Range: squares overflow beyond about 1e18 in float32 (half precision is squared in it) and 1e150 in float64.

    Attributes:
      bias: Param b, ``(num_features,)``, or ``(blocks, num_features)`` where there are several blocks; or None.

    Args:
      num_features: number of features.
      fibre: an orthogonal representation.
      activation: the function φ of a number; of one that mixes positions :meth:`exactness` claims nothing.
      group: the group of the layer; None is the group of the fibre.
      epsilon: ε.
      use_bias: whether to subtract b.
      dtype: dtype of the result; None promotes inputs and parameters. Lengths are at least float32.
      param_dtype: dtype in which the parameters are stored.
      bias_init: initialiser of b; ½ by default, since φ = relu does nothing to a length without b.
      rngs: key source, used at construction only.
      bias_metadata: metadata of the bias.

    Raises:
      ValueError: the group changes lengths, or the fibre belongs to another group.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.NormNonlinearity(8, ej.reps.Regular(ej.Cyclic(4)), rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 4, 8))).shape
      (2, 4, 8)

    References:
      Worrall et al., "Harmonic Networks", CVPR 2017, arXiv:1612.04642, section 4.
    """

    def __init__(
        self,
        num_features: int,
        fibre: Representation,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
        *,
        group: Group | None = None,
        epsilon: float = 1e-6,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        bias_init: Any = _half,
        rngs: nnx.Rngs,
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        self.num_features = require_features(num_features)
        self.in_fibre, self.group = require_field(fibre, group)
        self.out_fibre = self.in_fibre
        require_orthogonal(fibre, "NormNonlinearity")
        self.activation, self.epsilon, self.dtype, self.param_dtype = activation, epsilon, dtype, param_dtype
        self.bias = new_offset(use_bias, self._bias_shape, bias_init, param_dtype, rngs, bias_metadata)

    @property
    def _bias_shape(self) -> tuple[int, ...]:
        return per_block(block_count(self.in_fibre), self.num_features)

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements the layer respects; nothing is claimed where ``activation`` mixes positions."""
        found = super().exactness_for(in_action, input_shape)
        lead, _ = lead_and_features(input_shape, 1 + len(self.in_fibre.shape))
        shape = (*lead, block_count(self.in_fibre), self.num_features)
        return claimed(found, self.activation, "activation", shape, len(lead))

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Applies the function to ``(*batch, *positions, fibre, num_features)``; any number of batch axes."""
        require_fields(inputs, self.in_fibre, features=self.num_features)
        require_real(inputs, "inputs", "NormNonlinearity")
        bias = read_offset(self.bias, self._bias_shape)
        x, bias = dtypes.promote_dtype((inputs, bias), dtype=self.dtype)
        v = to_vectors(x, self.in_fibre)
        wide = v.astype(accumulation_dtype(v.dtype))
        length = block_lengths(wide, self.in_fibre, self.epsilon)
        moved = length if bias is None else length - broadcast(bias.astype(wide.dtype), length.ndim)
        factor = (require_pointwise(self.activation(moved), moved, "activation") / length).astype(v.dtype)
        return from_vectors(v * taken(factor, block_numbers(self.in_fibre)), self.in_fibre)


def block_lengths(v: jax.Array, fibre: Representation, epsilon: float) -> jax.Array:
    """Returns the length of each block, ``(…, blocks, features)``: the root of the sum of squares and ``epsilon``."""
    indicators = jnp.asarray(block_indicators(fibre), v.dtype)
    squares = jnp.einsum("kd,...df->...kf", indicators, jnp.square(v), precision="highest")
    return jnp.sqrt(squares + jnp.asarray(epsilon, v.dtype))
