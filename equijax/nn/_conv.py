"""Convolution on every group that has translations, and on plain finite groups."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes

from equijax._arguments import one_of
from equijax._numbers import per_axis, positive_int
from equijax.groups import Group
from equijax.groups._group import require_is_group
from equijax.nn._convolve import ALGORITHMS, convolve, flatten_batch, form_of, restore_batch
from equijax.nn._fibrewise import Fibrewise
from equijax.nn._frozen import FrozenKernel
from equijax.nn._layer import require_group, require_input, resolve_fibre
from equijax.nn._parameters import add_bias, new_bias, new_kernel, read_bias, read_kernel
from equijax.nn._planar import Planar
from equijax.nn._sampling import FORWARD_MODES, TRANSPOSED_MODES, Padding, Sampling, canonical_padding
from equijax.nn._trilinear import evaluate
from equijax.nn._windowed import WindowedLayer
from equijax.reps import Representation, Scalar
from equijax.sharing import KernelSharing

default_kernel_init = nnx.initializers.lecun_normal()
default_bias_init = nnx.initializers.zeros_init()


class Conv(WindowedLayer):
    r"""Convolution with the weight sharing that a group forces; the ordinary convolution is the translation case.

    .. math:: y[x, b, o] = β[b, o] + \sum_{δ, a, i} κ[δ, a, b, i, o]\; f[s x + δ, a, i],
              \qquad κ[hδ, ha, hb] = κ[δ, a, b]

    Here x are grid points, s the strides, δ the window's offsets from its centre, a and b indices of the input and output
    fibre, i and o features, h elements of the point group. With ``group=None`` (translations) it has the parameters of
    ``nnx.Conv``, gives the same bits, and compiles to the same instructions.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g that ``layer.exactness(x.shape)`` names; at
    stride 1 with ``padding="CIRCULAR"`` that is the whole group. A call whose shape loses an element of the point group
    is a ``ValueError``, unless the layer was built with ``allow_inexact=True``; lost shifts never raise.

    Example: an image that is turned gives a feature map that is turned.
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.Conv(3, 8, (3, 3), group=ej.wallpaper("p4m"), rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 16, 16, 3))).shape, layer.kernel.shape
      ((2, 16, 16, 8), (3, 3, 8))
      >>> print(layer.exactness((2, 16, 16, 3)))
      8 of 8 point elements about (7.5, 7.5) of the input, no shifts. Shifts are lost: the padding is not circular.

    Attributes:
      kernel: Param ``(count, in_features // feature_group_count, out_features)``, one row for each orbit, or kernel of the
        basis, of :class:`equijax.sharing.KernelSharing`. For translations and scalar fibres ``(*kernel_size, in, out)``.
      bias: Param ``(out_features,)``, or ``(k, out_features)`` for the k invariants of an output fibre that has several or
        does not permute (orbits of coordinates where it does); or None, as where nothing is invariant.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      kernel_size: one int per grid axis, equal along axes that the group mixes; an int stands for all axes of ``group``.
        ``()`` for functions on a plain finite group, or on the point group after global pooling.
      strides: one int per grid axis, or one for all.
      group: ``Translation``, ``SpaceGroup`` (``wallpaper("p4m")``), or a ``FiniteGroup`` with ``kernel_size=()``;
        None means ``Translation(len(kernel_size))``. Static; it never enters a checkpoint.
      in_fibre: representation of the point group on the input (``equijax.reps``); None is ``Scalar``.
      out_fibre: representation of the point group on the output; None is ``Scalar``.
      padding: ``"SAME"``, ``"VALID"``, ``"CIRCULAR"``, ``"REFLECT"``, ``"CAUSAL"`` (one axis), an int, or pairs.
      kernel_dilation: one int per grid axis, or one for all.
      feature_group_count: number of groups into which the features are divided.
      use_bias: whether to add a bias.
      dtype: dtype of the computation; None promotes inputs and parameters.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.conv_general_dilated``; use ``"highest"`` on GPUs for errors at float32 rounding.
      kernel_init: called with shape ``(offsets, |in_fibre|, in_features // feature_group_count, out_features)``, so that
        every Flax initialiser sees the true fan-in; where a fibre does not permute, with ``(count, …)`` to the same end.
      bias_init: initialiser of the bias.
      promote_dtype: function that promotes ``(inputs, kernel, bias)``.
      preferred_element_type: as in ``jax.lax.conv_general_dilated``.
      allow_inexact: accept input shapes at which elements of the point group are lost.
      algorithm: how the planar convolution is computed, the same up to rounding: ``"dense"`` as Flax does, ``"frequency"``
        by Fourier transforms of the grid (windows of several samples, stride 1), ``"group"`` irrep by irrep (windows of one
        sample, permuted fibres), or ``"auto"``, what is fastest on the platform and at the shapes. None is ``"dense"`` for
        translations and ``"auto"`` else. ``model.set_attributes(algorithm="dense")`` changes it.
      rngs: key source, used at construction only.
      kernel_metadata: metadata of the kernel's Param, for example its sharding.
      bias_metadata: metadata of the bias.

    Raises:
      TypeError: ``group`` or a fibre is of the wrong kind.
      ValueError: an argument does not fit the group; the message names the remedy.

    References:
      Cohen and Welling, "Group Equivariant Convolutional Networks", ICML 2016, arXiv:1602.07576. Cohen, Geiger and
      Weiler, "A General Theory of Equivariant CNNs on Homogeneous Spaces", NeurIPS 2019, arXiv:1811.02017.
    """

    _default_in: type[Any] = Scalar
    _default_out: type[Any] = Scalar
    _lifts = False
    _transposed = False

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        group: Group | None = None,
        in_fibre: Representation | None = None,
        out_fibre: Representation | None = None,
        padding: Padding = "SAME",
        kernel_dilation: int | Sequence[int] | None = 1,
        feature_group_count: int = 1,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        promote_dtype: Callable = dtypes.promote_dtype,
        preferred_element_type: Any = None,
        allow_inexact: bool = False,
        algorithm: str | None = None,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        window = window_of(kernel_size, group)
        self.group = require_group(group, len(window))
        if self._lifts and not window and in_fibre is None:
            raise ValueError(
                f"`in_fibre` is missing: with `kernel_size` () on the plain finite group {group!r} a scalar has no base to "
                "move on, so say how the input is permuted, for example in_fibre=Quotient(subgroup) or "
                "PermutationRepresentation(group, table)."
            )
        self.in_fibre = resolve_fibre(in_fibre, self.group, self._default_in, "in_fibre")
        self.out_fibre = resolve_fibre(out_fibre, self.group, self._default_out, "out_fibre")
        self.in_features = positive_int(in_features, "in_features")
        self.out_features = positive_int(out_features, "out_features")
        self.feature_group_count = require_groups(feature_group_count, in_features, out_features)
        self.sampling = sampling_of(window, strides, kernel_dilation, padding, self.in_fibre.group, self._transposed)
        self.sharing = KernelSharing(self.in_fibre.group, window, self.in_fibre, self.out_fibre)
        self.kernel_size = window
        self.dtype, self.param_dtype, self.precision = dtype, param_dtype, precision
        self.promote_dtype, self.preferred_element_type = promote_dtype, preferred_element_type
        self.allow_inexact = allow_inexact
        self.algorithm = resolved_algorithm(algorithm, self.in_fibre.group)
        self.kernel = new_kernel(
            self.sharing,
            in_features // feature_group_count,
            out_features,
            kernel_init,
            param_dtype,
            rngs,
            kernel_metadata,
        )
        self.bias = new_bias(use_bias, self.sharing, out_features, bias_init, param_dtype, rngs, bias_metadata)

    def __call__(self, inputs: jax.Array, out_sharding: Any = None) -> jax.Array:
        """Applies the layer.

        Args:
          inputs: ``(*batch, *sizes, fibre, in_features)``; any number of batch axes, none included; no fibre axis for the
            scalar fibre.
          out_sharding: sharding of the planar convolution's result under explicit mesh axes, as in ``nnx.Conv``.

        Returns:
          ``(*batch, *out_sizes, out_fibre, out_features)``.

        Raises:
          ValueError: the shape does not fit, or loses an element of the point group (and ``allow_inexact`` is False).
        """
        require_input(inputs.shape, self.in_action, self.in_features)
        self._require_exact(inputs.shape)
        x = merge_fibre(inputs, self.in_fibre, self.feature_group_count)
        x, batch = flatten_batch(x, len(self.kernel_size))
        kernel = self._kernel()
        bias = read_bias(self.bias, self.sharing, self.out_features)
        x, kernel, bias = self.promote_dtype((x, kernel, bias), dtype=self.dtype)
        y = split_fibre(self._convolved(x, kernel, out_sharding), self.out_fibre, self.feature_group_count)
        return restore_batch(add_bias(y, bias, self.sharing), batch)

    def _convolved(self, x: jax.Array, kernel: jax.Array, out_sharding: Any) -> jax.Array:
        form = self.form(x, kernel)
        if isinstance(self.kernel, FrozenKernel):
            y = None if form is None or out_sharding is not None else self.kernel.convolve(x, kernel, form)
            return self._planar(x, kernel, out_sharding) if y is None else y
        if isinstance(form, Fibrewise) and out_sharding is None:
            return evaluate(x, kernel, form)
        return self._planar(x, self._expand(kernel), out_sharding)

    def form(self, x: Any, kernel: Any) -> Fibrewise | Planar | None:
        """The form of the convolution of a planar input, or None where there is only one way."""
        algorithm = one_of(self.algorithm, "algorithm", ALGORITHMS)
        if self.preferred_element_type is not None:
            return None
        return form_of(x, kernel, self.sharing, self.sampling, self.feature_group_count, self.precision, algorithm)

    def _planar(self, x: jax.Array, kernel: jax.Array, out_sharding: Any) -> jax.Array:
        """Convolves with a kernel that is written out."""
        return convolve(
            x,
            kernel,
            self.sampling,
            feature_group_count=self.feature_group_count,
            precision=self.precision,
            preferred_element_type=self.preferred_element_type,
            out_sharding=out_sharding,
            algorithm=self.algorithm,
        )

    def _kernel(self) -> jax.Array:
        """The free weights; of a frozen layer the kernel written out."""
        if isinstance(self.kernel, FrozenKernel):
            return self.kernel[...]
        return read_kernel(self.kernel, self.sharing, self.in_features // self.feature_group_count, self.out_features)

    def frozen(self) -> FrozenKernel:
        """What the layer multiplies with when it is frozen."""
        kernel = self._kernel()
        return FrozenKernel(kernel, self._expand(kernel), self.form(kernel, kernel))

    def _expand(self, kernel: jax.Array) -> jax.Array:
        """Writes the kernel out over the channels (fibre, features), or (groups, fibre, features / groups)."""
        full = self.sharing.expand(kernel)
        if self.feature_group_count == 1 or not self.out_fibre.shape:
            return full
        by_group = full.reshape(*full.shape[:-1], self.out_fibre.dim, self.feature_group_count, -1)
        return jnp.moveaxis(by_group, -2, -3).reshape(full.shape)


def window_of(sizes: int | Sequence[int], group: Group | None, name: str = "kernel_size") -> tuple[int, ...]:
    """Returns the window as a tuple; an int stands for all grid axes of the group (one axis where there is none).

    Raises:
      TypeError: an entry is no integer.
      ValueError: an entry is not positive.
    """
    if sizes is None:
        raise TypeError(f"`{name}` is None; give one positive integer for each grid axis, or one for all.")
    if isinstance(sizes, (tuple, list)):
        return per_axis(sizes, len(sizes), name)
    if group is not None:
        require_is_group(group, "group", "it must be a Group, e.g. wallpaper('p4m')")
    return per_axis(sizes, 1 if group is None else max(group.grid_ndim, 1), name)


def require_groups(count: int, in_features: int, out_features: int) -> int:
    """Returns ``feature_group_count`` after checking that it divides both feature counts."""
    count = positive_int(count, "feature_group_count")
    if in_features % count or out_features % count:
        raise ValueError(
            f"`feature_group_count` is {count}; it must be a positive integer that divides in_features = {in_features} and "
            f"out_features = {out_features}."
        )
    return count


def sampling_of(
    window: tuple[int, ...], strides: Any, dilation: Any, padding: Any, point_group: Any, transposed: bool = False
) -> Sampling:
    """Returns the geometry of a convolution after checking its strides, dilation and padding."""
    sampling = Sampling(
        window,
        per_axis(strides, len(window), "strides", "kernel_size"),
        per_axis(dilation, len(window), "kernel_dilation", "kernel_size"),
        canonical_padding(padding, len(window), TRANSPOSED_MODES if transposed else FORWARD_MODES),
        transposed,
    )
    require_even_dilation(sampling, point_group)
    return sampling


def require_even_dilation(sampling: Sampling, point_group: Any) -> None:
    """Raises where the dilation differs along axes that the point group mixes."""
    if not sampling.window:
        return
    for block in point_group.mixed_axes:
        if len({sampling.dilation[k] for k in block}) > 1:
            raise ValueError(
                f"`kernel_dilation` is {sampling.dilation}, but {point_group!r} mixes axes {block}. Use one dilation for "
                "all of them."
            )


def resolved_algorithm(algorithm: str | None, point_group: Any) -> str:
    """Returns the algorithm that None stands for: that of Flax for translations, whose bits are promised."""
    if algorithm is None:
        return "dense" if point_group.order == 1 else "auto"
    return one_of(algorithm, "algorithm", ALGORITHMS)


def merge_fibre(x: jax.Array, fibre: Representation, groups: int = 1) -> jax.Array:
    """Merges (fibre, features) to channels: as they are, or ordered (groups, fibre, features / groups)."""
    if not fibre.shape:
        return x
    *rest, dim, features = x.shape
    if groups > 1:
        x = jnp.moveaxis(x.reshape(*rest, dim, groups, features // groups), -2, -3)
    return x.reshape(*rest, dim * features)


def split_fibre(y: jax.Array, fibre: Representation, groups: int = 1) -> jax.Array:
    """Undoes :func:`merge_fibre`: channels → (fibre, features)."""
    if not fibre.shape:
        return y
    *rest, channels = y.shape
    features = channels // fibre.dim
    if groups > 1:
        y = jnp.moveaxis(y.reshape(*rest, groups, fibre.dim, features // groups), -3, -2)
    return y.reshape(*rest, fibre.dim, features)
