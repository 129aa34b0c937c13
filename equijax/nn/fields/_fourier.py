"""Pointwise functions of band-limited functions: sample, act, transform back."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from equijax._arguments import shown
from equijax._dtypes import require_real, widened
from equijax._numbers import positive_int
from equijax.actions import Action, ListedMatrices, Nothing
from equijax.groups import Group, PointGroup
from equijax.groups._point import has_matrices
from equijax.nn._exactness import Exactness
from equijax.nn._pointwise import claimed, lead_and_features
from equijax.nn._returned import require_pointwise
from equijax.nn.fields._layer import (
    FieldLayer,
    from_vectors,
    require_field,
    require_fields,
    require_orthogonal,
    to_vectors,
)
from equijax.nn.fields._sampling import samples_of
from equijax.reps import Representation


class FourierNonlinearity(FieldLayer):
    r"""Reads each vector as a function on the group, applies a pointwise function to its samples, and transforms back.

    .. math:: y = T\, φ(S v), \qquad (S v)_i = w · ρ(g_i)^{-1} v, \quad T S = 1

    The samples :math:`g_i` are

    * all elements of a finite group: the sum of irreps becomes a function on the group and back, exactly;
    * equal angles for SO(2) and O(2), by default the smallest multiple of 4 from 4J + 1 on, J the largest frequency;
    * orbits of points of the sphere under the 24 rotations of the cube for SO(3) and O(3) (with their mirror images), by
      default with a quadrature that is exact for polynomials of degree 4L, L the largest degree.

    The vector must be a band-limited function: no irrep more often than in the functions on the group (for the sphere, each
    degree once, with the parity of the harmonics). ``band_limited(group, degree)`` makes such fibres.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g that maps the samples to themselves: a finite
    group entirely, else the elements of ``symmetry`` (quarter turns, or rotations of the cube) and the mirrors of the group.
    Where the samples are the default and φ is a polynomial of degree at most 3, for every g. Otherwise up to a sampling
    error; for random vectors, random elements and the default samples, root mean square in percent of the output:

    ================  =======  ====  ====  ====
    fibre             samples  relu  elu   gelu
    ================  =======  ====  ====  ====
    SO(2), O(2) to 3       16  3.0   0.73  0.63
    SO(3) to 2            192  1.1   0.28  0.41
    SO(3) to 3            240  2.0   0.53  0.77
    O(3) to 2             384  0.64  0.15  0.19
    ================  =======  ====  ====  ====

    Args:
      fibre: an orthogonal representation whose irreps are known.
      activation: the function φ of a number; of one that mixes samples :meth:`exactness` claims nothing.
      group: the group of the layer; None is the group of the fibre.
      samples: number of samples of the circle or the sphere; None as above.
      symmetry: the point group that maps the samples to themselves; None is ``Cyclic(4)`` or ``Octahedral()``. On a
        hexagonal grid use ``Cyclic(6)``.

    Raises:
      ValueError: the fibre is no band-limited function, or the number of samples does not fit the symmetry.

    Example:
      >>> import equijax as ej, jax, jax.numpy as jnp
      >>> layer = ej.nn.FourierNonlinearity(ej.reps.band_limited(ej.SO(2), 3), jax.nn.relu)
      >>> layer.sample_count, layer(jnp.ones((2, 7, 8))).shape
      (16, (2, 7, 8))

    References:
      Cohen, Geiger, Köhler and Welling, "Spherical CNNs", ICLR 2018, arXiv:1801.10130.
      de Haan, Weiler, Cohen and Welling, "Gauge Equivariant Mesh CNNs", ICLR 2021, arXiv:2003.05425, section 5.
    """

    def __init__(
        self,
        fibre: Representation,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
        *,
        group: Group | None = None,
        samples: int | None = None,
        symmetry: PointGroup | None = None,
    ):
        self.in_fibre, self.group = require_field(fibre, group)
        self.out_fibre = self.in_fibre
        require_orthogonal(fibre, "FourierNonlinearity")
        self.samples = None if samples is None else positive_int(samples, "samples")
        if symmetry is not None and not has_matrices(symmetry):
            raise TypeError(f"`symmetry` is {shown(symmetry)}; it must be a PointGroup, or None.")
        self.activation, self.symmetry = activation, symmetry
        samples_of(fibre, self.samples, symmetry)

    @property
    def sample_count(self) -> int:
        """Number of different samples."""
        return len(samples_of(self.in_fibre, self.samples, self.symmetry).values)

    @property
    def is_exact(self) -> bool:
        """True for a finite group, whose elements are all sampled."""
        return self.in_fibre.group.order < math.inf

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements the layer respects: all of a finite group, else those that map the samples to themselves.

        Nothing is claimed where ``activation`` mixes samples.
        """
        found = super().exactness_for(in_action, input_shape)
        lead, features = lead_and_features(input_shape, 1 + len(self.in_fibre.shape))
        found = claimed(found, self.activation, "activation", (*lead, self.sample_count, features), len(lead) + 1)
        if not found.kept.is_known:
            return found
        symmetry = samples_of(self.in_fibre, self.samples, self.symmetry).symmetry
        if symmetry is None:
            return found
        group = found.in_action.group
        kept = ListedMatrices.of(group, symmetry) if group == self.in_fibre.group else Nothing(group)
        why = f"Other elements move functions between the {self.sample_count} samples, up to a sampling error."
        return dataclasses.replace(found, kept=kept, reason=why)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Applies the function to ``(*batch, *positions, fibre, features)``; any number of batch axes."""
        require_fields(inputs, self.in_fibre)
        v, dtype = widened(to_vectors(require_real(inputs, "inputs", "FourierNonlinearity"), self.in_fibre))
        samples = samples_of(self.in_fibre, self.samples, self.symmetry)
        values, back = (jnp.asarray(table, v.dtype) for table in (samples.values, samples.back))
        f = jnp.einsum("nd,...df->...nf", values, v, precision="highest")
        f = require_pointwise(self.activation(f), f, "activation")
        y = jnp.einsum("dn,...nf->...df", back, f, precision="highest")
        return from_vectors(y.astype(dtype), self.in_fibre)
