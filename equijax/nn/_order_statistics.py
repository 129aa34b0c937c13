"""Quantiles and values of given ranks."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from equijax._arguments import real_number, shown
from equijax._numbers import positive_int
from equijax.nn._invariant import Aggregation
from equijax.nn._members import Members


@dataclasses.dataclass(frozen=True)
class Quantiles(Aggregation):
    """Quantiles of each feature, linear between neighbouring values; 0.5 is the median.

    Where members are equal the gradient goes to one of them.

    Args:
      probabilities: numbers from 0 (the smallest value) to 1 (the largest).

    Example: two numbers for each feature, all features of the first quantile in front.
      >>> import equijax as ej, jax.numpy as jnp
      >>> ej.nn.Quantiles((0.5, 1.0)).over_axis(jnp.array([[4.0], [1.0], [3.0], [2.0]])).tolist()
      [2.5, 4.0]
    """

    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        given = self.probabilities
        numbers = given if isinstance(given, Sequence) and not isinstance(given, (str, bytes)) else ()
        values = tuple(float(real_number(p, "probabilities")) for p in numbers)
        if not values or not all(0 <= p <= 1 for p in values):
            raise ValueError(f"`probabilities` is {shown(given)}; give numbers from 0 to 1, e.g. (0.25, 0.5, 0.75).")
        object.__setattr__(self, "probabilities", values)

    def out_features(self, features: int) -> int:
        """Returns the number of features of the result, one for each probability."""
        return features * len(self.probabilities)

    def reduce(self, members: Members, x: jax.Array) -> jax.Array:
        """Returns the quantiles, side by side on the features."""
        ranked, last = members.sorted(x), jnp.maximum(members.count - 1, 0)
        found = []
        for share in self.probabilities:
            position = last.astype(x.dtype) * jnp.asarray(share, x.dtype)
            below = jnp.floor(position)
            rank, weight = below.astype(jnp.int32), position - below
            low, high = members.at(ranked, rank), members.at(ranked, jnp.minimum(rank + 1, last))
            between = (weight > 0) & (high != low)  # beside an infinite value 0 times the difference is NaN
            apart = high - low
            inside = jnp.where(jnp.isfinite(apart), low + weight * apart, low * (1 - weight) + high * weight)
            found.append(jnp.where(between, inside, low))
        return jnp.concatenate([_known(members, x, value) for value in found], axis=-1)


@dataclasses.dataclass(frozen=True)
class OrderStatistics(Aggregation):
    """The values of given ranks of each feature; 0 where a set is too small.

    Where members are equal the gradient goes to one of them.

    Args:
      ranks: 0 is the smallest value, 1 the next; -1 the largest, -2 the next.

    Example: the two largest.
      >>> import equijax as ej, jax.numpy as jnp
      >>> ej.nn.OrderStatistics((-1, -2)).over_axis(jnp.array([[4.0], [1.0], [3.0]])).tolist()
      [4.0, 3.0]
    """

    ranks: tuple[int, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.ranks, Sequence) or isinstance(self.ranks, str) or not self.ranks:
            raise ValueError(
                f"`ranks` is {shown(self.ranks)}; give integers, e.g. (0, -1) for the smallest and the largest."
            )
        ranks = tuple(positive_int(rank, "ranks", -(2**31), self.ranks) for rank in self.ranks)
        object.__setattr__(self, "ranks", ranks)

    def out_features(self, features: int) -> int:
        """Returns the number of features of the result, one for each rank."""
        return features * len(self.ranks)

    def reduce(self, members: Members, x: jax.Array) -> jax.Array:
        """Returns the values of all ranks, side by side on the features."""
        ranked, count = members.sorted(x), members.count
        ranks = [jnp.full_like(count, rank) if rank >= 0 else count + jnp.int32(rank) for rank in self.ranks]
        return jnp.concatenate([_known(members, x, members.at(ranked, rank)) for rank in ranks], axis=-1)


def _known(members: Members, x: jax.Array, found: jax.Array) -> jax.Array:
    """Returns NaN for sets that hold one, which has no place in the order; else what was found."""
    unknown = members.sum((x != x).astype(x.dtype)) > 0
    return jnp.where(unknown, jnp.asarray(jnp.nan, x.dtype), found)
