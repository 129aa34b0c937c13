"""A nonlinearity that multiplies vectors by functions of invariant scalars."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax._dtypes import require_real
from equijax.actions import Action
from equijax.groups import Group
from equijax.nn._exactness import Exactness
from equijax.nn._pointwise import claimed, lead_and_features
from equijax.nn._returned import require_pointwise
from equijax.nn.fields._blocks import block_numbers, pointwise_coordinates
from equijax.nn.fields._layer import FieldLayer, from_vectors, require_field, require_fields, to_vectors
from equijax.nn.fields._taken import taken
from equijax.reps import Representation, Scalar


class Gate(FieldLayer):
    r"""Multiplies each vector by a function of a scalar that the layer before makes for it.

    .. math:: y_p = σ(s_p)\, v_p, \qquad y_q = φ(v_q)

    The input is the fibre ``in_fibre = gates · Scalar + fibre``: one more scalar s for each summand p of the fibre that only
    a matrix moves. The summands q that the group leaves alone or permutes need no gate: the activation φ acts on their
    coordinates. Where the fibre holds nothing else, ``in_fibre`` is the fibre.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g, for every group: no length is taken, so the
    fibre need not be orthogonal.

    Attributes:
      gates: number of scalars that the layer wants beside the fibre.

    Args:
      fibre: the fibre of the result.
      gate: the function σ of the scalars.
      activation: the function φ of coordinates, each by itself; of one that mixes them :meth:`exactness` claims nothing.
      group: the group of the layer; None is the group of the fibre.

    Raises:
      ValueError: the fibre belongs to another group.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> gate = ej.nn.Gate(ej.reps.Regular(ej.Cyclic(4)))
      >>> gate.gates, gate(jnp.ones((2, 4, 8))).shape
      (0, (2, 4, 8))

    References:
      Weiler et al., "3D Steerable CNNs", NeurIPS 2018, arXiv:1807.02547, section 4.3.
      Finzi, Welling and Wilson, "A Practical Method for Constructing Equivariant Multilayer Perceptrons for Arbitrary
      Matrix Groups", ICML 2021, arXiv:2104.09459, section 6.
    """

    def __init__(
        self,
        fibre: Representation,
        gate: Callable[[jax.Array], jax.Array] = jax.nn.sigmoid,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.silu,
        *,
        group: Group | None = None,
    ):
        self.out_fibre, self.group = require_field(fibre, group)
        self.gate, self.activation = gate, activation
        self.gates = int(_gate_of(fibre).max()) + 1
        self.in_fibre = self.gates * Scalar(fibre.group) + fibre if self.gates else fibre

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements the layer respects; nothing is claimed where a function mixes what the group moves."""
        found = super().exactness_for(in_action, input_shape)
        lead, features = lead_and_features(input_shape, 1 + len(self.in_fibre.shape))
        number = _gate_of(self.out_fibre)
        if self.gates:
            found = claimed(found, self.gate, "gate", (*lead, self.gates, features), len(lead))
        if (number < 0).any():
            found = claimed(found, self.activation, "activation", (*lead, len(number), features), len(lead) + 1)
        return found

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps ``(*batch, *positions, gates + dim, features)`` to ``(*batch, *positions, dim, features)``."""
        require_fields(inputs, self.in_fibre)
        require_real(inputs, "inputs", "Gate")
        v = to_vectors(inputs, self.in_fibre)
        scalars, v = v[..., : self.gates, :], v[..., self.gates :, :]
        number = _gate_of(self.out_fibre)
        if not self.gates:
            return from_vectors(require_pointwise(self.activation(v), v, "activation"), self.out_fibre)
        gated = v * taken(require_pointwise(self.gate(scalars), scalars, "gate"), np.maximum(number, 0))
        if (number >= 0).all():
            return gated
        free = jnp.asarray(number < 0).reshape((1,) * (v.ndim - 2) + (len(number), 1))
        return jnp.where(jnp.broadcast_to(free, v.shape), require_pointwise(self.activation(v), v, "activation"), gated)


@bounded
def _gate_of(fibre: Representation) -> np.ndarray:
    """Returns the number of the gate of each coordinate, int32 ``(dim,)``; -1 where a pointwise function serves."""
    blocks, free = block_numbers(fibre), pointwise_coordinates(fibre)
    gated = np.unique(blocks[~free])
    return read_only(np.where(free, -1, np.searchsorted(gated, blocks)).astype(np.int32))
