"""What the weights of every convolution have in common: they are written out over a window."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from equijax.groups import FiniteGroup
from equijax.reps import Representation
from equijax.sharing._sharing import MadeSharing
from equijax.sharing._window import window


class WindowSharing(MadeSharing):
    """The kernels of a convolution that commutes with a group.

    Attributes:
      lattice_group: the point group that maps the window to itself.
      kernel_size: sizes of the window, one for each grid axis.
      in_fibre: representation on the input.
      out_fibre: representation on the output.
    """

    kernel_size: tuple[int, ...]
    in_fibre: Representation
    out_fibre: Representation

    @property
    def lattice_group(self) -> FiniteGroup:
        """The point group that maps the window to itself."""
        raise NotImplementedError

    @property
    def is_free(self) -> bool:
        """True where no two weights of the box are shared and fibres are scalar: an ordinary convolution."""
        return False

    @property
    def offsets(self) -> int:
        """Number of offsets in the window."""
        return len(window(self.lattice_group, self.kernel_size)[0])

    def expand(
        self, theta: Float[Array, "orbits in_features out_features"]
    ) -> Float[Array, "*window channels_in channels_out"]:
        """Writes the free weights out as the kernel of a planar convolution.

        Args:
          theta: ``(*kernel_shape, in_features, out_features)``.

        Returns:
          ``(*kernel_size, |in fibre| · in_features, |out fibre| · out_features)``, zero outside the window.

        Raises:
          ValueError: ``theta`` has other leading axes.
        """
        if theta.ndim < 2 or theta.shape[:-2] not in (self.kernel_shape, (self.count,)):
            raise ValueError(
                f"the kernel has shape {theta.shape}, but {self!r} has {self.count} free weights: it must be "
                f"{(*self.kernel_shape, 'in_features', 'out_features')}. Parameters of another group or fibre don't fit."
            )
        into, out = theta.shape[-2:]
        if self.is_free:
            return theta.reshape(*self.kernel_size, into, out)
        places, _ = window(self.lattice_group, self.kernel_size)
        size = math.prod(self.kernel_size)
        full = self.weights(theta, (1, 2, 0))
        if len(places) < size:
            empty = jnp.zeros((size, *full.shape[1:]), full.dtype)
            full = empty.at[places].set(full, unique_indices=True, indices_are_sorted=True)
        full = jnp.transpose(full, (0, 1, 3, 2, 4))
        return full.reshape(*self.kernel_size, self.in_fibre.dim * into, self.out_fibre.dim * out)
