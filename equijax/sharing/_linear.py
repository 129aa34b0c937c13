"""The weight sharing that two finite actions force on a linear map between them."""

import dataclasses
import functools

import numpy as np

from equijax._arrays import read_only
from equijax.actions import Action, FiniteAction, GridAction
from equijax.actions._motions import common_motions
from equijax.actions._product import factors_of
from equijax.groups._group import Element
from equijax.groups._space import grid_ndim, join_element, point_group_of
from equijax.sharing._orbits import orbits, pair_orbits


@dataclasses.dataclass(frozen=True)
class LinearSharing:
    """Which weights of a linear map ``in_action → out_action`` must be equal.

    Args:
      in_action: a finite action, for example ``GridAction(group).on((8, 8))``. Actions without a grid are made finite.
      out_action: a finite action of the same group.

    Raises:
      ValueError: the groups differ.

    Example: circular convolution is what translations force.
      >>> import equijax as ej
      >>> act = ej.GridAction(ej.Translation(1)).on((5,))
      >>> ej.sharing.LinearSharing(act, act).count
      5
    """

    in_action: FiniteAction
    out_action: FiniteAction

    def __post_init__(self) -> None:
        for name in ("in_action", "out_action"):
            action = getattr(self, name)
            if not isinstance(action, Action):
                raise TypeError(f"`{name}` is {action!r}; it must be an Action, made finite by `.on(sizes)`.")
            object.__setattr__(self, name, _made_finite(action, name))
        if self.in_action.group != self.out_action.group:
            raise ValueError(
                f"`in_action` belongs to {self.in_action.group!r} and `out_action` to {self.out_action.group!r}. "
                "Both sides must be moved by one group; a torus counts with its period, so build both on one torus."
            )
        _require_one_torus(self.in_action, self.out_action)

    @property
    def generators(self) -> tuple[Element, ...]:
        """Generators of the elements that permute the points of both sides."""
        sides = (self.in_action, self.out_action)
        return tuple(g for g in _candidates(*sides) if all(side.acts(g) for side in sides))

    @property
    def orbits(self) -> np.ndarray:
        """Orbit of each pair, int32 ``(out_size, in_size)``. Read-only."""
        return _pair_orbits(self)

    @property
    def count(self) -> int:
        """Number of free weights for each pair of features."""
        return int(self.orbits.max()) + 1

    @property
    def out_orbits(self) -> np.ndarray:
        """Orbit of each output point, int32 ``(out_size,)``: points of one orbit share their bias. Read-only."""
        return _out_orbits(self)

    def project(self, weight: np.ndarray) -> np.ndarray:
        """Returns the nearest equivariant weight, ``P W``: the mean of W over each orbit.

        Args:
          weight: ``(out_size, in_size, …)``, for example a dense layer's matrix, or one with feature axes behind.
        """
        return project(weight, self.orbits)

    def defect(self, weight: np.ndarray) -> float:
        """Returns ``‖W − P W‖ / ‖W‖``: 0 for an equivariant weight, about 1 for a random one of many points."""
        return defect(weight, self.orbits)


def project(weight: np.ndarray, orbit: np.ndarray) -> np.ndarray:
    """Replaces every weight by the mean over its orbit.

    Args:
      weight: float ``(*orbit.shape, …)``.
      orbit: int array of orbit numbers.

    Returns:
      float64 array of the shape of ``weight``.
    """
    values = np.asarray(weight, np.float64)
    if values.shape[: orbit.ndim] != orbit.shape:
        raise ValueError(f"`weight` has shape {values.shape}; its leading axes must be {orbit.shape}, the shared pairs.")
    flat = values.reshape(orbit.size, -1)
    count = np.bincount(orbit.reshape(-1))
    total = np.zeros((len(count), flat.shape[1]))
    np.add.at(total, orbit.reshape(-1), flat)
    return (total / count[:, None])[orbit.reshape(-1)].reshape(values.shape)


def defect(weight: np.ndarray, orbit: np.ndarray) -> float:
    """Returns the weight-space defect ``‖W − P W‖ / ‖W‖`` (0 for W = 0)."""
    values = np.asarray(weight, np.float64)
    norm = float(np.linalg.norm(values))
    return float(np.linalg.norm(values - project(values, orbit))) / norm if norm else 0.0


def _candidates(*sides: FiniteAction) -> list[Element]:
    """Generators of the elements of which some permute the points of both sides; of a product, those of each factor."""
    group = sides[0].group
    factors = _factors(*sides)
    if factors is not None:
        return [group.embed(k, g) for k, pair in enumerate(factors) for g in _candidates(*pair)]  # type: ignore[attr-defined]
    grids = [(side.action, side.shape[: side.action.ndim]) for side in sides if isinstance(side.action, GridAction)]
    if not grids:
        return list(group.generators)
    if all(action.boundary == "zero" for action, _ in grids):
        still = np.zeros(grid_ndim(group), np.int32)  # with zeros outside, each array turns about its own centre
        return [join_element(group, still, np.int32(h)) for h in range(point_group_of(group).order)]
    return common_motions(*grids).generators(group)


def _factors(*sides: FiniteAction) -> list[tuple[FiniteAction, ...]] | None:
    """Both sides of each factor of a product, or None where a side does not come apart."""
    apart = [factors_of(side) for side in sides]
    if any(factors is None for factors in apart):
        return None
    return [tuple(action.on() for action in pair) for pair in zip(*apart, strict=True)]  # pyright: ignore[reportArgumentType]


def _require_one_torus(into: FiniteAction, out: FiniteAction) -> None:
    for pair in _factors(into, out) or ():
        _require_one_torus(*pair)
    first, second = into.action, out.action
    if isinstance(first, GridAction) and isinstance(second, GridAction) and first.torus != second.torus:
        raise ValueError(
            f"`in_action` lives on a torus of {first.torus} pixels and `out_action` on one of {second.torus} (None: no "
            "torus). One element must move both: use one boundary, and sizes · spacing that agree."
        )


def _made_finite(action: Action, name: str) -> FiniteAction:
    if isinstance(action, FiniteAction):
        return action
    if isinstance(action, GridAction):
        raise ValueError(f"`{name}` is {action!r} on a grid of unknown size. Write {name}.on(sizes), e.g. .on((8, 8)).")
    return action.on()


@functools.lru_cache(maxsize=64)
def _pair_orbits(sharing: LinearSharing) -> np.ndarray:
    into, out = sharing.in_action, sharing.out_action
    generators = sharing.generators
    return read_only(
        pair_orbits([out.permutation(g) for g in generators], [into.permutation(g) for g in generators], out.size, into.size)
    )


@functools.lru_cache(maxsize=64)
def _out_orbits(sharing: LinearSharing) -> np.ndarray:
    out = sharing.out_action
    return read_only(orbits([out.permutation(g) for g in sharing.generators], out.size))
