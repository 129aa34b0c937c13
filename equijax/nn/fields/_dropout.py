"""Dropout that keeps or drops whole vectors."""

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._arguments import boolean
from equijax._dtypes import as_floats
from equijax.groups import Group
from equijax.nn._dropout import key_from
from equijax.nn.fields._blocks import block_count, block_numbers
from equijax.nn.fields._layer import FieldLayer, from_vectors, require_field, require_fields, to_vectors
from equijax.nn.fields._taken import taken
from equijax.reps import Representation


class FieldDropout(FieldLayer):
    """Drops whole fields: one mask for each sample, block of the fibre and feature, the same at every position.

    A block is a summand of a direct sum (an orbit of coordinates where the group permutes them). What is kept is divided by
    ``1 - rate``. ``nnx.Dropout`` does the same on the scalar fibre with ``broadcast_dims`` over the positions.

    Law: ``layer(in_action(g, x), rngs=r) == out_action(g, layer(x, rngs=r))`` for every g and equal streams r.

    Args:
      rate: the probability of dropping, 0 … 1.
      fibre: any representation; it need not be orthogonal.
      group: the group of the layer, whose grid axes are the positions; None is the group of the fibre, without positions.
      deterministic: whether to do nothing, as in a view for evaluation.
      rng_collection: name of the stream that is drawn from.

    Raises:
      ValueError: the rate is no probability, or the fibre belongs to another group.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> p4 = ej.wallpaper("p4")
      >>> dropout = ej.nn.FieldDropout(0.5, ej.reps.Regular(p4.point_group), group=p4)
      >>> y = dropout(jnp.ones((2, 5, 5, 4, 8)), rngs=nnx.Rngs(dropout=0))
      >>> bool((y == y[:, :1, :1, :1]).all())
      True

    References:
      Srivastava et al., "Dropout", JMLR 2014.
    """

    def __init__(
        self,
        rate: float,
        fibre: Representation,
        *,
        group: Group | None = None,
        deterministic: bool = False,
        rng_collection: str = "dropout",
    ):
        self.in_fibre, self.group = require_field(fibre, group)
        self.out_fibre = self.in_fibre
        self.rate, self.deterministic, self.rng_collection = rate, deterministic, rng_collection

    def __call__(
        self,
        inputs: jax.Array,
        *,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | jax.Array | None = None,
    ) -> jax.Array:
        """Drops fields of ``(*batch, *sizes, fibre, features)``.

        Args:
          inputs: the field.
          deterministic: whether to do nothing; None is what the layer was built with.
          rngs: the streams, one of them, or a key.

        Raises:
          ValueError: ``rngs`` is missing.
        """
        ndim = self.group.grid_ndim
        require_fields(inputs, self.in_fibre, ndim)
        inputs = as_floats(inputs)
        deterministic = boolean(self.deterministic if deterministic is None else deterministic, "deterministic")
        if (self.deterministic if deterministic is None else deterministic) or self.rate == 0:
            return inputs
        key = key_from(rngs, self.rng_collection)
        if self.rate == 1:
            return jnp.zeros_like(inputs)
        v = to_vectors(inputs, self.in_fibre)
        batch = v.shape[: v.ndim - 2 - ndim]
        shape = (*batch, *(1,) * ndim, block_count(self.in_fibre), v.shape[-1])
        kept = jax.random.bernoulli(key, 1 - self.rate, shape)
        each = taken(kept, block_numbers(self.in_fibre))
        scaled = v / jnp.asarray(1 - self.rate, v.dtype)
        return from_vectors(jnp.where(jnp.broadcast_to(each, v.shape), scaled, jnp.zeros_like(v)), self.in_fibre)

    def set_view(self, deterministic: bool | None = None) -> None:
        """Class method used by ``nnx.view``.

        Args:
          deterministic: if True, nothing is dropped.
        """
        if deterministic is not None:
            self.deterministic = boolean(deterministic, "deterministic")
