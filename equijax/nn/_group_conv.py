"""Lifting, group and projection convolution: :class:`Conv` with other default fibres."""

from equijax.nn._conv import Conv
from equijax.reps import Regular, Scalar


class LiftingConv(Conv):
    r"""Convolution from scalar fields to functions on the group: the first layer of a group CNN.

    .. math:: y[x, b, o] = β[o] + \sum_{δ, i} ψ[b^{-1} δ, i, o]\; f[x + δ, i]

    Every element b of the point group gives one copy of the kernel ψ, moved by b. Arguments and law as in :class:`Conv`,
    with the defaults ``in_fibre=Scalar`` and ``out_fibre=Regular``.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.LiftingConv(1, 8, (5, 5), group=ej.wallpaper("p4m"), rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 28, 28, 1))).shape, layer.kernel.shape
      ((2, 28, 28, 8, 8), (25, 1, 8))

    DNA, whose letters a strand reversal exchanges in pairs (arrays ``(*batch, length, 4, 1)``):
      >>> group = ej.SpaceGroup(ej.Reflection(1))
      >>> letters = ej.reps.PermutationRepresentation(group.point_group, [[0, 1, 2, 3], [3, 2, 1, 0]])
      >>> layer = ej.nn.LiftingConv(1, 16, (9,), group=group, in_fibre=letters, rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 100, 4, 1))).shape
      (2, 100, 2, 16)

    References:
      Cohen and Welling, "Group Equivariant Convolutional Networks", ICML 2016, arXiv:1602.07576, section 6.
    """

    _default_in = Scalar
    _default_out = Regular
    _lifts = True


class GroupConv(Conv):
    r"""Convolution of functions on the group.

    .. math:: y[x, b, o] = β[o] + \sum_{δ, a, i} ψ[b^{-1} δ, b^{-1} a, i, o]\; f[x + δ, a, i]

    Arguments and law as in :class:`Conv`, with the defaults ``in_fibre=Regular`` and ``out_fibre=Regular``. On a plain
    finite group (``kernel_size=()``) it is the convolution on the group itself.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.GroupConv(8, 16, (3, 3), group=ej.wallpaper("p4"), rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 15, 15, 4, 8))).shape, layer.kernel.shape
      ((2, 15, 15, 4, 16), (36, 8, 16))
      >>> on_group = ej.nn.GroupConv(8, 16, (), group=ej.Dihedral(5), rngs=nnx.Rngs(0))
      >>> on_group(jnp.ones((2, 10, 8))).shape
      (2, 10, 16)

    References:
      Cohen and Welling, "Group Equivariant Convolutional Networks", ICML 2016, arXiv:1602.07576, section 6.
    """

    _default_in = Regular
    _default_out = Regular


class ProjectionConv(Conv):
    r"""Convolution from functions on the group back to scalar fields.

    .. math:: y[x, o] = β[o] + \sum_{δ, a, i} ψ[a^{-1} δ, i, o]\; f[x + δ, a, i]

    Arguments and law as in :class:`Conv`, with the defaults ``in_fibre=Regular`` and ``out_fibre=Scalar``.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.ProjectionConv(8, 3, (3, 3), group=ej.wallpaper("p4"), rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 15, 15, 4, 8))).shape, layer.kernel.shape
      ((2, 15, 15, 3), (9, 8, 3))
    """

    _default_in = Regular
    _default_out = Scalar
