"""The weight sharing that a point group forces on a depthwise kernel, which keeps the coordinates of a fibre apart."""

import dataclasses

import numpy as np
from jaxtyping import Array, Float

from equijax._cache import bounded
from equijax.actions._field import require_fibre
from equijax.groups import FiniteGroup
from equijax.groups._group import require_is_group
from equijax.reps import Representation, Scalar
from equijax.sharing._kernel import KernelSharing
from equijax.sharing._sharing import MadeSharing


@dataclasses.dataclass(frozen=True)
class DiagonalKernelSharing(MadeSharing):
    r"""The kernels of a convolution that keeps the coordinates of a fibre apart and commutes with a point group.

    A convolution ``out(x, b) = Σ κ[δ, b] f(x + δ, b)`` commutes with the point group H, which permutes the fibre, if and
    only if

    .. math:: κ[hδ, hb] = κ[δ, b] \qquad \text{for all } h ∈ H,

    that is, κ is constant on the orbits of H on pairs (fibre index b, offset δ). The same law holds for the kernels of a
    *lifting* convolution, from scalars to the fibre: this is their :class:`KernelSharing`, from which numbering,
    initialisation and expansion are taken. A depthwise convolution multiplies by that kernel coordinate by coordinate.
    One kernel has the shape ``(|fibre|, offsets, 1)``: an output reads its own coordinate alone. The offsets are its fan-in.
    On the regular fibre κ[δ, b] = ψ[b⁻¹δ], one free weight for each offset.

    Args:
      point_group: H, or any finite group with ``kernel_size=()``.
      kernel_size: sizes of the window, one for each grid axis.
      fibre: representation of H by permutations.

    Raises:
      TypeError: the fibre is no representation.
      ValueError: the fibre does not permute or belongs to another group, or H does not map the window to itself.

    Example: a regular fibre has one weight for each offset, a scalar one for each orbit of offsets.
      >>> import equijax as ej
      >>> group = ej.Dihedral(4)
      >>> ej.sharing.DiagonalKernelSharing(group, (3, 3), ej.reps.Regular(group)).count
      9
      >>> ej.sharing.DiagonalKernelSharing(group, (3, 3), ej.reps.Scalar(group)).count
      3
    """

    point_group: FiniteGroup
    kernel_size: tuple[int, ...]
    fibre: Representation

    def __post_init__(self) -> None:
        require_is_group(self.point_group, "point_group")
        require_fibre(self.fibre, self.point_group, "fibre")
        if not self.fibre.is_permutation:
            raise ValueError(
                f"`fibre` is {self.fibre!r}, which mixes its coordinates; a kernel that keeps them apart commutes with "
                "permutations alone. Use a permutation fibre (Scalar, Regular, Quotient, PermutationRepresentation), or "
                "KernelSharing."
            )
        lifting = KernelSharing(self.point_group, self.kernel_size, Scalar(self.point_group), self.fibre)
        object.__setattr__(self, "kernel_size", lifting.kernel_size)

    @property
    def rule(self) -> KernelSharing:
        """The sharing of the kernels from scalars to the fibre, which obey the same law."""
        return _lifting(self.point_group, self.kernel_size, self.fibre)

    @property
    def is_free(self) -> bool:
        """True where no two weights of the box are shared and the fibre is scalar: an ordinary depthwise convolution."""
        return self.rule.is_free

    @property
    def offsets(self) -> int:
        """Number of offsets in the window."""
        return self.rule.offsets

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Leading axes of the parameter, ``kernel_size`` for an ordinary convolution and else ``(count,)``."""
        return self.rule.kernel_shape

    @property
    def table(self) -> np.ndarray:
        """Orbit of each pair, int32 ``(|fibre|, offsets, 1)``, numbered by first appearance. Read-only."""
        return self.rule.table

    def expand(self, theta: Float[Array, "orbits 1 features"]) -> Float[Array, "*window 1 channels"]:
        """Writes the free weights out as the kernel of a planar convolution with one channel in each group.

        Args:
          theta: ``(*kernel_shape, 1, features)``.

        Returns:
          ``(*kernel_size, 1, |fibre| · features)``, zero outside the window.

        Raises:
          ValueError: ``theta`` has other leading axes.
        """
        return self.rule.expand(theta)


@bounded
def _lifting(point_group: FiniteGroup, kernel_size: tuple[int, ...], fibre: Representation) -> KernelSharing:
    return KernelSharing(point_group, kernel_size, Scalar(point_group), fibre)
