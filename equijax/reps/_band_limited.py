"""Functions on rotation groups, circles and spheres up to a frequency."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import one_of, shown
from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.groups import Group
from equijax.groups._group import Element, require_is_group
from equijax.reps._irrep import Irrep
from equijax.reps._representation import Representation
from equijax.reps._sum import direct_sum


def band_limited(group: Group, degree: int, *, on: str = "sphere") -> Representation:
    r"""Returns the functions up to a frequency as a representation: a sum of irreps.

    On the circle or the sphere that is the irreps 0 + 1 + … + L, each once, with the parity of the harmonics:
    dimension 2L + 1 in the plane, (L + 1)² in space. On the group itself each irrep comes as often as
    :func:`fourier` needs it (Peter–Weyl): dim times, or dim/2 times where its type is complex. For SO(2) both are the same.

    Law: coefficients c of harmonics move as the function does: ``(g·f)(x) = f(g⁻¹ x)`` has the coefficients ``ρ(g) c``.

    Args:
      group: SO(2), O(2), SO(3) or O(3).
      degree: the largest frequency L.
      on: ``"sphere"``: functions on the circle or the sphere; ``"group"``: functions on the group.

    Raises:
      ValueError: the group's irreps have no degree, or ``on`` is another word.

    Example:
      >>> import equijax as ej
      >>> [ej.reps.band_limited(group, 3).dim for group in (ej.SO(2), ej.O(2), ej.SO(3))]
      [7, 7, 16]
      >>> ej.reps.band_limited(ej.SO(3), 2, on="group").dim
      35
    """
    require_is_group(group, "group")
    one_of(on, "on", ("sphere", "group"))
    require_degrees(group, degree)
    labels = group.irrep_family.up_to(degree)
    if on == "sphere":
        parts = [Irrep(group, l) for l in range(labels[-1].index + 1)]
    else:
        irreps = [Irrep(group, label.index, parity=label.parity) for label in labels]
        parts = [irrep for irrep in irreps for _ in range(irrep.dim // irrep.commutant_dim)]
    return direct_sum(*parts)


def require_degrees(group: Group, degree: object) -> None:
    """Raises ``ValueError`` where the irreps of a group have no degrees: of a finite one."""
    if group.order < math.inf:
        raise ValueError(
            f"`degree` is {shown(degree)}, but the irreps of `group` {group!r} have no degree: only those of rotations have."
        )


def fourier_basis(group: Group, degree: int, g: Element) -> jax.Array:
    r"""Returns the values at ``g`` of an orthonormal basis of the functions on a group up to a frequency.

    .. math:: φ_{ψ,u,a}(g) = \sqrt{d}\; ψ(g)_{au}

    for the irreps ψ of dimension d up to the degree, all u (one u where the type is complex) and all a, in this order.
    Orthonormal for the mean over the group. Moving a function, ``(h·f)(g) = f(h⁻¹ g)``, multiplies its coefficients by
    ``band_limited(group, degree, on="group")(h)``.

    Args:
      group: SO(2), O(2), SO(3) or O(3).
      degree: the largest frequency.
      g: elements, float ``(…, n, n)``.

    Returns:
      float ``(…, count)``.

    Example:
      >>> import equijax as ej
      >>> ej.reps.fourier_basis(ej.SO(2), 1, [[0.0, -1.0], [1.0, 0.0]]).round(3).tolist()
      [1.0, 0.0, 1.4140000343322754]
    """
    require_is_group(group, "group")
    require_degrees(group, degree)
    columns = []
    for label in group.irrep_family.up_to(degree):
        irrep = Irrep(group, label.index, parity=label.parity)
        matrix = irrep(g)[..., : irrep.dim // irrep.commutant_dim]
        columns.append(math.sqrt(irrep.dim) * jnp.swapaxes(matrix, -1, -2).reshape(*matrix.shape[:-2], -1))
    return jnp.concatenate(columns, axis=-1)


def fourier_samples(group: Group, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the elements at which :func:`fourier` wants a function on a rotation group, and their weights.

    The weighted mean of a product of two functions up to the degree is the mean over the group, exactly: equal angles in
    the plane; in space turns about y, x, y with Gauss–Legendre nodes for the second. With reflections, both components.

    Args:
      group: SO(2), O(2), SO(3) or O(3).
      degree: the largest frequency.

    Returns:
      Matrices, float64 ``(samples, n, n)``, and weights, float64 ``(samples,)``, of sum 1. Read-only.

    Example:
      >>> import equijax as ej
      >>> [len(ej.reps.fourier_samples(group, 2)[1]) for group in (ej.SO(2), ej.O(2), ej.SO(3))]
      [5, 10, 75]
    """
    require_is_group(group, "group")
    require_degrees(group, degree)
    return group.irrep_family.quadrature(degree)


@bounded
def fourier_tables(group: Group, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Matrices of the transform, ``(count, samples)``, and of its inverse, ``(samples, count)``, float64. Read-only."""
    elements, weights = fourier_samples(group, degree)
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        values = np.asarray(fourier_basis(group, degree, elements))
    return read_only(np.ascontiguousarray(values.T * weights)), read_only(np.ascontiguousarray(values))
