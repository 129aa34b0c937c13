"""The weight sharing that two finite actions force on a linear map between them."""

import dataclasses

import jax
import numpy as np

from equijax._cache import bounded
from equijax.actions import Action, FiniteAction
from equijax.actions._action import require_action
from equijax.actions._motions import common_motions
from equijax.groups._group import Element
from equijax.groups._space import grid_ndim, point_group_of
from equijax.reps import Representation, intertwiners
from equijax.reps._solver import invariant_vectors, solve
from equijax.sharing._basis_sharing import BasisSharing, unreached_irreps
from equijax.sharing._inner_product import invariant_form
from equijax.sharing._orbit_sharing import OrbitSharing
from equijax.sharing._orbits import orbits, pair_orbits
from equijax.sharing._parts_sharing import parts_sharing
from equijax.sharing._sharing import MadeSharing, Sharing
from equijax.sharing._variance import normalised


@dataclasses.dataclass(frozen=True)
class LinearSharing(MadeSharing):
    r"""The linear maps ``in_action → out_action`` that commute with a group.

    .. math:: ρ_{out}(g)\, W = W\, ρ_{in}(g)

    Where both actions permute their points, W is constant on the orbits on pairs (output point, input point). Else the
    maps have a basis, which the generators and the Lie algebra fix.

    Args:
      in_action: a finite action, for example ``GridAction(group).on((8, 8))``. Actions without a grid are made finite.
      out_action: a finite action of the same group.

    Raises:
      TypeError: an argument is no action.
      ValueError: the groups differ, or the points are so many that the maps can't be solved for.

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
            require_action(action, name, "it must be an Action, made finite by `.on(sizes)`")
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
        with jax.ensure_compile_time_eval():
            return tuple(g for g in _candidates(*sides) if all(side.acts(g) for side in sides))

    @property
    def rule(self) -> Sharing:
        """Orbits where both actions permute their points, else a basis."""
        return _rule(self)

    @property
    def unreached(self) -> tuple[Representation, ...]:
        """Irreps of the output that no map reaches; empty where points permute, or where it is no single vector."""
        return _unreached(self)

    @property
    def orbits(self) -> np.ndarray:
        """Orbit of each pair, int32 ``(out_size, in_size)``. Read-only.

        Raises:
          ValueError: an action does not permute its points.
        """
        return _orbits_only(self).table

    @property
    def out_orbits(self) -> np.ndarray:
        """Orbit of each output point, int32 ``(out_size,)``: points of one orbit share their bias. Read-only."""
        return _orbits_only(self).out_orbits


def _candidates(*sides: FiniteAction) -> list[Element]:
    """Generators of the elements of which some permute the points of both sides; of a product, those of each factor."""
    group = sides[0].group
    factors = _factors(*sides)
    if factors is not None:
        return [group.embed(k, g) for k, pair in enumerate(factors) for g in _candidates(*pair)]  # type: ignore[attr-defined]
    grids = [grid for side in sides if (grid := side.grid((*side.shape, 1))) is not None]
    if not grids:
        return list(group.discrete_generators)
    if all(action.boundary == "zero" for action, _ in grids):
        still = np.zeros(grid_ndim(group), np.int32)  # with zeros outside, each array turns about its own centre
        return [group.join(still, np.int32(h)) for h in range(point_group_of(group).order)]
    return common_motions(*grids).generators(group)


def _factors(*sides: FiniteAction) -> list[tuple[FiniteAction, ...]] | None:
    """Both sides of each factor of a product, or None where a side does not come apart."""
    apart = [side.factors for side in sides]
    if any(factors is None for factors in apart):
        return None
    return [tuple(action.on() for action in pair) for pair in zip(*apart, strict=True)]  # pyright: ignore[reportArgumentType]


def _require_one_torus(into: FiniteAction, out: FiniteAction) -> None:
    for pair in _factors(into, out) or ():
        _require_one_torus(*pair)
    grids = [side.grid((*side.shape, 1)) for side in (into, out)]
    if None in grids:
        return
    first, second = (grid[0] for grid in grids)  # type: ignore[index]
    if first.torus != second.torus:
        raise ValueError(
            f"`in_action` lives on a torus of {first.torus} pixels and `out_action` on one of {second.torus} (None: no "
            "torus). One element must move both: use one boundary, and sizes · spacing that agree."
        )


def _made_finite(action: Action, name: str) -> FiniteAction:
    try:
        return action.on()
    except ValueError as error:
        raise ValueError(
            f"`{name}` is {action!r}, an action of unknown size: {error} Write {name}.on(sizes), e.g. .on((8, 8))."
        ) from error


@bounded
def _rule(sharing: LinearSharing) -> Sharing:
    into, out, generators = sharing.in_action, sharing.out_action, sharing.generators
    if _permutes(into, generators) and _permutes(out, generators):
        in_images, out_images = ([side.permutation(g) for g in generators] for side in (into, out))
        return OrbitSharing(pair_orbits(out_images, in_images, out.size, into.size), orbits(out_images, out.size))
    reps = [_representation(side) for side in (into, out)]
    if None not in reps and reps[0].group == reps[1].group:  # type: ignore[union-attr]
        return parts_sharing(reps[0], reps[1], intertwiners)  # pyright: ignore[reportArgumentType]
    in_side, out_side = (([side.matrix(g) for g in generators], list(side.algebra), side.size) for side in (into, out))
    basis = solve(in_side[0], out_side[0], in_side[1], out_side[1], in_dim=into.size, out_dim=out.size)
    return BasisSharing(normalised(basis, invariant_form(*in_side), invariant_form(*out_side)), invariant_vectors(*out_side))


@bounded
def _unreached(sharing: LinearSharing) -> tuple[Representation, ...]:
    if not isinstance(sharing.rule, BasisSharing):
        return ()
    into, out = _representation(sharing.in_action), _representation(sharing.out_action)
    if into is None or out is None or into.group != out.group:
        return ()
    return unreached_irreps(sharing.rule, out, lambda irrep: len(intertwiners(into, irrep)) > 0)


def _permutes(side: FiniteAction, generators: tuple[Element, ...]) -> bool:
    """Whether a side permutes its points; where the action does not say, its matrices do."""
    said = side.permutes
    if said is not None:
        return said
    matrices = [side.matrix(g) for g in generators]
    return not side.group.algebra and all(_is_permutation(matrix) for matrix in matrices)


def _is_permutation(matrix: np.ndarray) -> bool:
    return bool(((matrix == 0) | (matrix == 1)).all() and (matrix.sum(0) == 1).all() and (matrix.sum(1) == 1).all())


def _representation(side: FiniteAction) -> Representation | None:
    """The fibre where one vector of it is moved, and nothing else; its parts make a large problem small."""
    vector = side.vector
    return None if vector is None or vector != side.plain else vector.fibre


def _orbits_only(sharing: LinearSharing) -> OrbitSharing:
    rule = sharing.rule
    if not isinstance(rule, OrbitSharing):
        raise ValueError(f"{sharing!r} shares no weights along orbits: an action mixes its points. Use `rule.basis`.")
    return rule
