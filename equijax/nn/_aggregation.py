"""Sums, means, extremes and spreads of sets, and the words for them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from equijax._arguments import real_number, shown
from equijax.nn._invariant import Aggregation as Aggregation
from equijax.nn._members import Members
from equijax.nn._order_statistics import OrderStatistics as OrderStatistics
from equijax.nn._order_statistics import Quantiles as Quantiles
from equijax.nn._ordered import OrderedAggregation as OrderedAggregation
from equijax.nn._ordered import RecurrentAggregation as RecurrentAggregation


@dataclasses.dataclass(frozen=True)
class Sum(Aggregation):
    r"""The sum, :math:`\sum_i x_i`.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> x = jnp.array([[1.0], [2.0], [jnp.nan]])
      >>> ej.nn.Sum().over_axis(x, jnp.array([True, True, False])).tolist()
      [3.0]
      >>> ej.nn.Sum().over_segments(x, jnp.array([1, 1, 0]), 3, jnp.array([True, True, False]))[:, 0].tolist()
      [0.0, 3.0, 0.0]
    """

    def reduce(self, members: Members, x: jax.Array) -> jax.Array:
        """Returns the sum."""
        return members.sum(x)


@dataclasses.dataclass(frozen=True)
class Mean(Aggregation):
    r"""The mean over the N members, :math:`\frac{1}{N} \sum_i x_i`."""

    def reduce(self, members: Members, x: jax.Array) -> jax.Array:
        """Returns the mean."""
        return members.sum(x) / jnp.maximum(members.count, 1).astype(x.dtype)


@dataclasses.dataclass(frozen=True)
class Max(Aggregation):
    r"""The largest value of each feature, :math:`\max_i x_i`. Equal values share the gradient equally."""

    def reduce(self, members: Members, x: jax.Array) -> jax.Array:
        """Returns the maximum."""
        return members.max(x)


@dataclasses.dataclass(frozen=True)
class Min(Aggregation):
    r"""The smallest value of each feature, :math:`\min_i x_i`. Equal values share the gradient equally."""

    def reduce(self, members: Members, x: jax.Array) -> jax.Array:
        """Returns the minimum."""
        return -members.max(-x)


@dataclasses.dataclass(frozen=True)
class LogSumExp(Aggregation):
    r"""A smooth maximum, :math:`\log \sum_i e^{x_i}`."""

    def reduce(self, members: Members, x: jax.Array) -> jax.Array:
        """Returns the logarithm of the sum of exponentials, computed with the maximum taken out."""
        shifted, largest = members.below_max(x)
        total = members.sum(jnp.exp(members.known(shifted)))
        return jnp.log(jnp.where(members.count > 0, total, jnp.ones((), x.dtype))) + largest


@dataclasses.dataclass(frozen=True)
class Variance(Aggregation):
    r"""The variance over the N members, :math:`\frac{1}{N} \sum_i (x_i - \bar x)^2`, in two passes.

    Range: squares of differences overflow beyond about 1e18 in float32 and vanish below 1e-18 (float64: 1e150, 1e-150).
    """

    def reduce(self, members: Members, x: jax.Array) -> jax.Array:
        """Returns the variance."""
        centred = x - members.spread(Mean().reduce(members, x))
        return Mean().reduce(members, jnp.square(centred))


@dataclasses.dataclass(frozen=True)
class StandardDeviation(Aggregation):
    r"""The square root of :class:`Variance`.

    Args:
      threshold: a variance of at most this gives 0 with gradient 0. The root has no derivative at 0, and rounding makes
        the variance of equal numbers tiny rather than 0: set it where the gradient of nearly equal members matters.

    Raises:
      TypeError: the threshold is no number.
      ValueError: it is negative or not finite.
    """

    threshold: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", float(real_number(self.threshold, "threshold", 0.0)))

    def reduce(self, members: Members, x: jax.Array) -> jax.Array:
        """Returns the standard deviation."""
        variance = Variance().reduce(members, x)
        flat = variance <= jnp.asarray(self.threshold, x.dtype)
        root = jnp.sqrt(jnp.where(flat, jnp.ones((), x.dtype), variance))
        return jnp.where(flat, jnp.zeros((), x.dtype), root)


@dataclasses.dataclass(frozen=True)
class Several(Aggregation):
    """Several aggregations side by side on the features; ``("mean", "std")`` is short for it.

    Args:
      parts: words or aggregations.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> ej.nn.Several(("mean", ej.nn.Quantiles((0.0, 1.0)))).over_axis(jnp.ones((2, 5, 3))).shape
      (2, 9)
    """

    parts: tuple[Aggregation, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.parts, Sequence) or isinstance(self.parts, str) or not self.parts:
            raise ValueError(f"`parts` is {self.parts!r}; give several aggregations, e.g. ('mean', 'std').")
        object.__setattr__(self, "parts", tuple(as_aggregation(part, "parts") for part in self.parts))

    def out_features(self, features: int) -> int:
        """Returns the number of features of all parts together."""
        return sum(part.out_features(features) for part in self.parts)

    def reduce(self, members: Members, x: jax.Array) -> jax.Array:
        """Returns all parts, in order."""
        return jnp.concatenate([part.reduce(members, x) for part in self.parts], axis=-1)


_WORDS: dict[str, Aggregation] = {
    "sum": Sum(), "mean": Mean(), "max": Max(), "min": Min(), "logsumexp": LogSumExp(), "var": Variance(),
    "std": StandardDeviation(), "median": Quantiles((0.5,)),
}  # fmt: skip


def as_aggregation(given: Any, name: str = "aggregation") -> Aggregation:
    """Returns the invariant aggregation that a word, an aggregation, or a sequence of them stands for.

    Args:
      given: ``"sum"``, ``"mean"``, ``"max"``, ``"min"``, ``"logsumexp"``, ``"var"``, ``"std"``, ``"median"``; an
        :class:`Aggregation`; or several of these, whose results are put side by side.
      name: the argument's name, for the message.

    Raises:
      TypeError: it is no aggregation, or one that depends on the order.
      ValueError: an unknown word.

    Example:
      >>> import equijax as ej
      >>> ej.nn.as_aggregation("mean"), ej.nn.as_aggregation(("sum", "max"))
      (Mean(), Several(parts=(Sum(), Max())))
    """
    if isinstance(given, Aggregation):
        return given
    if isinstance(given, OrderedAggregation):
        raise TypeError(
            f"`{name}` is a {type(given).__name__}, which depends on the order of the elements, but a set has none. Average "
            "it over orders with JanossyPool, or use an aggregation that ignores the order, such as 'mean' or Quantiles."
        )
    if isinstance(given, str):
        if given not in _WORDS:
            raise ValueError(f"`{name}` is {given!r}; use one of {', '.join(_WORDS)}, or an Aggregation.")
        return _WORDS[given]
    if isinstance(given, Sequence):
        return Several(tuple(as_aggregation(part, name) for part in given))
    call = f" Write {given.__name__}()." if isinstance(given, type) and issubclass(given, Aggregation) else ""
    raise TypeError(
        f"`{name}` is {shown(given)}; it must be a word such as 'mean', an Aggregation, or several of them.{call}"
    )
