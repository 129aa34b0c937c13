"""Blurring before subsampling: approximate, cheap."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from equijax._dtypes import widened
from equijax._numbers import per_axis, positive_int
from equijax.groups import Group
from equijax.nn._conv import merge_fibre, split_fibre, window_of
from equijax.nn._convolve import flatten_batch, restore_batch
from equijax.nn._dense import pad
from equijax.nn._layer import pool_default, require_group, require_input, resolve_fibre
from equijax.nn._sampling import Padding, Sampling, canonical_padding
from equijax.nn._windowed import WindowedLayer
from equijax.reps import Representation


class BlurPool(WindowedLayer):
    r"""Binomial low-pass filter, then every s-th sample.

    .. math:: y[m] = \sum_j h[j]\, x[s m + j - p], \qquad h = \tfrac{1}{2^{k-1}} \tbinom{k-1}{j} \text{ along every axis}

    **Approximate**: shifts that the stride does not divide change the output a little, the less the smoother the input is.
    What is exact is :class:`PolyphaseDownsample`. Point elements and shifts by the stride are respected as ``exactness``
    says.

    Args:
      size: samples of the filter along every axis: 3 is (1, 2, 1)/4.
      strides: one int per grid axis; an int stands for all axes of ``group``.
      padding: ``"CIRCULAR"``, ``"REFLECT"``, ``"SAME"`` (zeros) or ``"VALID"``.
      group: ``Translation`` or ``SpaceGroup``; None is the translations of as many axes as ``strides`` has.
      in_fibre: representation of the point group; None is ``Regular`` (``Scalar`` on translations).
      allow_inexact: accept input shapes at which elements of the point group are lost.

    Raises:
      ValueError: a group that does not map a box to itself (hexagonal ones).

    References:
      Zhang, "Making convolutional networks shift-invariant again", ICML 2019, section 3.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> blur = ej.nn.BlurPool(3, (2,))
      >>> blur(jnp.asarray([0.0, 4.0, 0.0, 0.0])[:, None])[:, 0].tolist()
      [1.0, 1.0]
    """

    def __init__(
        self,
        size: int,
        strides: int | Sequence[int],
        padding: Padding = "CIRCULAR",
        *,
        group: Group | None = None,
        in_fibre: Representation | None = None,
        allow_inexact: bool = False,
    ):
        d = len(window_of(strides, group, "strides"))
        self.group = require_group(group, d, "strides")
        if not d:
            raise ValueError("`strides` is (); blurring needs a grid.")
        self.in_fibre = resolve_fibre(in_fibre, self.group, pool_default(self.group), "in_fibre")
        self.out_fibre = self.in_fibre
        point_group: Any = self.in_fibre.group
        if point_group.order > 1 and not point_group.signed_permutations.all():
            raise ValueError(f"`group` is {self.group!r}; the binomial filter is a box, which it does not map to itself.")
        modes = ("CIRCULAR", "REFLECT", "SAME", "VALID")
        window = (positive_int(size, "size"),) * d
        self.sampling = Sampling(window, per_axis(strides, d, "strides"), (1,) * d, canonical_padding(padding, d, modes))
        self.allow_inexact = allow_inexact

    @property
    def needs_square(self) -> bool:
        """False: what the shape had lost before is not refused here."""
        return False

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Filters and subsamples ``(*batch, *sizes, fibre, features)``; any number of batch axes."""
        require_input(inputs.shape, self.in_action, None)
        self._require_exact(inputs.shape)
        wide, dtype = widened(inputs)
        x, batch = flatten_batch(merge_fibre(wide, self.in_fibre), len(self.sampling.window))
        pads = self.sampling.pads(x.shape[1:-1])
        if self.sampling.padding in ("CIRCULAR", "REFLECT"):
            x = pad(x, self.sampling)
        else:
            x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
        for k, (window, stride) in enumerate(zip(self.sampling.window, self.sampling.strides, strict=True)):
            x = _filtered(x, k + 1, window, stride)
        return split_fibre(restore_batch(x, batch), self.in_fibre).astype(dtype)

    def __repr__(self) -> str:
        s = self.sampling
        fields = f"{s.window[0]}, {s.strides}, {s.padding!r}, group={self.group!r}, in_fibre={self.in_fibre!r}"
        return f"{type(self).__name__}({fields})"


def _filtered(x: jax.Array, axis: int, window: int, stride: int) -> jax.Array:
    """Filters along one axis without padding; the two halves are added in pairs, so that a mirror image gives the same."""
    weights = [math.comb(window - 1, j) / 2 ** (window - 1) for j in range(window)]
    count = (x.shape[axis] - window) // stride + 1
    parts = [lax.slice_in_dim(x, j, j + (count - 1) * stride + 1, stride, axis) for j in range(window)]
    pairs = [parts[j] + parts[window - 1 - j] for j in range(window // 2)]
    terms = [pair * np.array(w, x.dtype) for pair, w in zip(pairs, weights, strict=False)]
    if window % 2:
        terms.append(parts[window // 2] * np.array(weights[window // 2], x.dtype))
    return functools.reduce(jnp.add, terms)
