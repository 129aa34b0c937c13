"""From vectors to numbers that nothing moves."""

import jax
import jax.numpy as jnp

from equijax._dtypes import accumulation_dtype, require_real
from equijax.groups import Group
from equijax.nn.fields._blocks import block_count, block_indicators, coefficients_of_invariants
from equijax.nn.fields._layer import FieldLayer, require_field, require_fields, require_orthogonal, to_vectors
from equijax.nn.fields._norm_nonlinearity import block_lengths
from equijax.reps import Representation, Scalar


class InvariantPool(FieldLayer):
    r"""Reads the invariants off each vector: its parts along the invariant vectors, and the lengths of the rest.

    .. math:: y = (c_1, …, c_k, |r_1|, …, |r_n|), \qquad v = \sum_k c_k e_k + r

    Here e_k are the invariant vectors of the fibre, and r_p is what is left of a block p, a summand of a direct sum (an
    orbit of coordinates where the group permutes them). Blocks that the group leaves alone have nothing left and no length.
    The numbers become features of a scalar field, so that any layer may follow. On a regular fibre it is the mean and, up
    to a factor, the standard deviation.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g: the output is a scalar field.

    Range: squares overflow beyond about 1e18 in float32 (half precision is squared in it) and 1e150 in float64.

    Attributes:
      count: the number k + n of invariants.

    Args:
      fibre: a representation, orthogonal where lengths are wanted.
      group: the group of the layer; None is the group of the fibre.
      lengths: whether to give the lengths; without them a fibre without invariant vectors is refused.
      epsilon: added to squares of lengths, so that gradients are finite at 0.

    Raises:
      ValueError: the group changes lengths, the fibre has no invariants, or it belongs to another group.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> pool = ej.nn.InvariantPool(ej.reps.Regular(ej.Cyclic(4)))
      >>> pool(jnp.ones((2, 4, 8))).shape
      (2, 16)
    """

    def __init__(self, fibre: Representation, *, group: Group | None = None, lengths: bool = True, epsilon: float = 1e-6):
        self.in_fibre, self.group = require_field(fibre, group)
        self.out_fibre = Scalar(fibre.group)
        self.lengths, self.epsilon = lengths, epsilon
        invariants = fibre.invariants
        if lengths:
            require_orthogonal(fibre, "InvariantPool with lengths=True")
        elif not len(invariants):
            raise ValueError(
                f"`fibre` is {fibre!r}, which has no invariant vectors, so lengths=False leaves nothing. Use lengths=True "
                "where the fibre is orthogonal, or put a Bilinear layer with scalars in its out_fibre before this one."
            )
        self._blocks = _moved_blocks(fibre) if lengths else ()
        self.count = len(invariants) + len(self._blocks)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps ``(*batch, *positions, fibre, features)`` to ``(*batch, *positions, count · features)``."""
        require_fields(inputs, self.in_fibre)
        require_real(inputs, "inputs", "InvariantPool")
        fibre, v = self.in_fibre, to_vectors(inputs, self.in_fibre)
        dtype = v.dtype
        v = v.astype(accumulation_dtype(dtype))
        read = jnp.asarray(coefficients_of_invariants(fibre), v.dtype)
        found = jnp.einsum("kd,...df->...kf", read, v, precision="highest")
        if self._blocks:
            along = jnp.einsum("kd,...kf->...df", jnp.asarray(fibre.invariants, v.dtype), found, precision="highest")
            lengths = block_lengths(v - along, fibre, self.epsilon)
            found = jnp.concatenate([found, lengths[..., list(self._blocks), :]], axis=-2)
        return found.reshape(*found.shape[:-2], self.count * found.shape[-1]).astype(dtype)


def _moved_blocks(fibre: Representation) -> tuple[int, ...]:
    """The blocks in which something is left beside the invariants."""
    fixed = (coefficients_of_invariants(fibre) * fibre.invariants).sum(0)
    left = block_indicators(fibre) @ (1 - fixed)
    return tuple(k for k in range(block_count(fibre)) if left[k] > 0.5)
