"""The contract of weight sharing."""

import abc
import dataclasses
import math
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from equijax._arguments import as_shape
from equijax.groups._elements import known_reals, numeric
from equijax.reps import Representation


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
    """How an initialiser is called for the free weights of a map, and which entries of its arrays are kept.

    The initialiser is called once for each entry of ``rows`` with the shape ``(*shape, in_features, out_features)``; of
    the entries of ``shape``, flat in C order, those that ``rows`` names are kept. Put one after another they are the
    parameter.

    Attributes:
      shape: leading axes of an array that is drawn: their product with ``in_features`` is the fan-in of an output.
      rows: for each call the entries that are kept, int, in order; None keeps all.
    """

    shape: tuple[int, ...]
    rows: tuple[np.ndarray | None, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_shape(self.shape))


class Sharing(abc.ABC):
    r"""The linear maps between two fibres, or arrays, that commute with a group: what a layer knows of its group.

    The maps are the span of ``count`` maps :math:`W_k`, float64 arrays of one ``shape`` (output points, [window], input
    points). A layer stores one matrix of features :math:`θ_k` for each of them and multiplies with

    .. math:: W = \sum_k W_k ⊗ θ_k

    Law: every W of this form has :meth:`defect` 0 up to rounding, and every W without defect has this form.

    It is an immutable value: hashable, equal by value, a static attribute of a module.
    """

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one map, ``(output points, [window], input points)``."""

    @property
    @abc.abstractmethod
    def count(self) -> int:
        """Number of free weights for each pair of features."""

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Leading axes of the parameter, ``(count,)``; behind them come ``in_features`` and ``out_features``."""
        return (self.count,)

    @property
    @abc.abstractmethod
    def init(self) -> Draws:
        """How the parameter is drawn so that outputs have variance 1 under every initialiser of Flax."""

    @property
    @abc.abstractmethod
    def out_invariants(self) -> np.ndarray:
        """Basis of the outputs that nothing moves, float64 ``(k, output points)``: where the bias lives. Read-only."""

    @property
    def unreached(self) -> tuple[Representation, ...]:
        """Irreps of the output that no map reaches, so that they stay 0; empty where the irreps are not known."""
        return ()

    @property
    @abc.abstractmethod
    def bias_shape(self) -> tuple[int, ...] | None:
        """Leading axes of the bias; None where nothing is invariant, so that there is no bias."""

    @abc.abstractmethod
    def weights(self, theta: jax.Array, axes: tuple[int, ...] | None = None) -> jax.Array:
        """Writes the free weights out as a map.

        Args:
          theta: ``(count, *features)``.
          axes: order of the axes of ``shape`` in the result; None leaves it.

        Returns:
          ``(*shape, *features)``, the first axes in the order ``axes``, of the dtype of ``theta``.

        Raises:
          ValueError: ``theta`` has another number of rows.
        """

    def expand(self, theta: Float[Array, "count in_features out_features"]) -> jax.Array:
        """Returns what the layer multiplies with: ``(*shape, in_features, out_features)``, unless a subclass says else."""
        return self.weights(theta)

    @abc.abstractmethod
    def spread_bias(self, bias: jax.Array) -> jax.Array:
        """Writes a bias ``(*bias_shape, features)`` out: ``(output points, features)``, or ``(features,)`` for all alike."""

    @abc.abstractmethod
    def project(self, weight: np.ndarray) -> np.ndarray:
        """Returns the nearest map that commutes with the group, in the Euclidean norm.

        Args:
          weight: ``(*shape, …)``: output points, the window where there is one, input points, and any axes behind.

        Returns:
          float64 array of the same shape.

        Raises:
          ValueError: the leading axes are not ``shape``.
        """

    def defect(self, weight: np.ndarray) -> float:
        """Returns ``‖W − P W‖ / ‖W‖``: 0 for a map that commutes, about 1 for a random one of many points."""
        values = known_reals(weight, "weight")
        flat_weight(values, self.shape)
        norm = float(np.linalg.norm(values))
        return float(np.linalg.norm(values - self.project(values))) / norm if norm else 0.0


class MadeSharing(Sharing):
    """A sharing that is known by what it was made for, and answers by its ``rule``, orbits or a basis."""

    @property
    @abc.abstractmethod
    def rule(self) -> Sharing:
        """The sharing itself, an ``OrbitSharing`` or a ``BasisSharing``."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one map, ``(output points, [window], input points)``."""
        return self.rule.shape

    @property
    def count(self) -> int:
        """Number of free weights for each pair of features."""
        return self.rule.count

    @property
    def init(self) -> Draws:
        """How the parameter is drawn so that outputs have variance 1 under every initialiser of Flax."""
        return self.rule.init

    @property
    def out_invariants(self) -> np.ndarray:
        """Basis of the outputs that nothing moves, float64 ``(k, output points)``: where the bias lives. Read-only."""
        return self.rule.out_invariants

    @property
    def bias_shape(self) -> tuple[int, ...] | None:
        """Leading axes of the bias; None where nothing is invariant, so that there is no bias."""
        return self.rule.bias_shape

    def weights(self, theta: jax.Array, axes: tuple[int, ...] | None = None) -> jax.Array:
        """Writes the free weights out as a map ``(*shape, *features)``; ``axes`` orders the first ones."""
        return self.rule.weights(theta, axes)

    def spread_bias(self, bias: jax.Array) -> jax.Array:
        """Writes a bias ``(*bias_shape, features)`` out: ``(output points, features)``, or ``(features,)`` for all alike."""
        return self.rule.spread_bias(bias)

    def project(self, weight: np.ndarray) -> np.ndarray:
        """Returns the nearest map that commutes with the group, float64.

        Args:
          weight: ``(*shape, …)``, for example a dense layer's matrix, or one with feature axes behind.
        """
        return self.rule.project(weight)


def require_axes(axes: Any, ndim: int) -> tuple[int, ...]:
    """Returns an order of the axes of one map.

    Raises:
      TypeError: the entries are no integers.
      ValueError: they are not ``0 … ndim - 1``, each once.
    """
    order = as_shape(axes, "axes")
    if sorted(order) != list(range(ndim)):
        raise ValueError(f"`axes` is {order}; it must hold each of 0 … {ndim - 1} once, the order of the axes of one map.")
    return order


def require_rows(theta: Any, count: int) -> jax.Array:
    """Returns a parameter as an array; raises where it has another number of rows than there are free weights."""
    theta = numeric(theta, "theta")
    if theta.ndim < 1 or theta.shape[0] != count:
        raise ValueError(
            f"the parameter `theta` has shape {theta.shape}, but there are {count} free weights: it must be "
            f"({count}, in_features, out_features). Parameters of another group or fibre don't fit."
        )
    return theta


def flat_weight(weight: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a map as float64 ``(entries, features)`` after checking its leading axes."""
    values = known_reals(weight, "weight")
    if values.shape[: len(shape)] != shape:
        raise ValueError(f"`weight` has shape {values.shape}; its leading axes must be {shape}, the shared pairs.")
    return values.reshape(math.prod(shape), -1)
