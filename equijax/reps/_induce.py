"""Induced representations of finite groups."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import shown
from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.groups import FiniteGroup, Subgroup
from equijax.groups._elements import looked_up
from equijax.reps._decompose import all_matrices
from equijax.reps._permutation import PermutationRepresentation
from equijax.reps._regular import Quotient
from equijax.reps._representation import Representation, require_representation


@dataclasses.dataclass(frozen=True)
class Induced(Representation):
    r"""The representation of a group that one of its subgroup K induces: one copy of the fibre for each left coset.

    .. math:: ρ(g)\, e_{iK} ⊗ v = e_{jK} ⊗ σ(t_j^{-1} g\, t_i)\, v \quad\text{where } g\, t_i ∈ t_j K

    with :math:`t_i` the smallest element of coset number i. ``rep.induce(subgroup)`` makes it; coordinates are ordered
    (coset, coordinate of the fibre).

    Attributes:
      rep: the representation σ of ``subgroup.as_group()``.
      subgroup: K.

    Example: the sign of a mirror, carried around a triangle.
      >>> import equijax as ej
      >>> mirror = ej.Dihedral(3).subgroup([3])
      >>> signs = ej.reps.Irrep(mirror.as_group(), 1).induce(mirror)
      >>> signs.dim, [irrep.index for irrep, _ in signs.irreps]
      (3, [1, 2])
    """

    rep: Representation
    subgroup: Subgroup

    def __post_init__(self) -> None:
        _require_fits(self.rep, self.subgroup)

    @property
    def group(self) -> FiniteGroup:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The whole group."""
        return self.subgroup.group

    @property
    def dim(self) -> int:
        """Number of cosets times the dimension of the fibre."""
        return self.subgroup.index * self.rep.dim

    @property
    def is_orthogonal(self) -> bool:
        """That of the fibre."""
        return self.rep.is_orthogonal

    @property
    def generators(self) -> tuple[np.ndarray, ...]:
        """Matrices of the group's generators, float64 ``(dim, dim)``. Read-only."""
        return _generators(self)

    def __call__(self, g: Any) -> jax.Array:
        """Returns the matrix of ``g``, float ``(…, dim, dim)``."""
        cosets, inner = (looked_up(table, g) for table in _moves(self.subgroup))
        blocks = self.rep(inner)
        where = jax.nn.one_hot(cosets, self.subgroup.index, dtype=blocks.dtype)
        matrix = jnp.einsum("...ij,...iab->...jaib", where, blocks)
        return matrix.reshape(*matrix.shape[:-4], self.dim, self.dim)


def induce(rep: Representation, subgroup: Subgroup) -> Representation:
    """Returns the representation of ``subgroup.group`` that ``rep`` induces: permutations where ``rep`` permutes.

    Raises:
      ValueError: ``rep`` belongs to another group than ``subgroup.as_group()``.
    """
    _require_fits(rep, subgroup)
    if not rep.is_permutation:
        return Induced(rep, subgroup)
    if not rep.shape:
        return Quotient(subgroup)
    cosets, inner = _moves(subgroup)
    images = np.argmax(all_matrices(rep), axis=-2)
    table = cosets[:, :, None] * rep.dim + images[inner]
    return PermutationRepresentation(subgroup.group, table.reshape(subgroup.group.order, -1))


@bounded
def _generators(induced: Induced) -> tuple[np.ndarray, ...]:
    cosets, inner = _moves(induced.subgroup)
    matrices = all_matrices(induced.rep)
    found = []
    for g in induced.group.generators:
        blocks = np.zeros((induced.subgroup.index, induced.rep.dim) * 2)
        blocks[cosets[g], :, np.arange(induced.subgroup.index), :] = matrices[inner[g]]
        found.append(read_only(blocks.reshape(induced.dim, induced.dim)))
    return tuple(found)


@bounded
def _moves(subgroup: Subgroup) -> tuple[np.ndarray, np.ndarray]:
    """For each element g and coset i: the coset j of g t_i, and the number in K of t_j⁻¹ g t_i; int32 ``(order, index)``."""
    group, firsts = subgroup.group, subgroup.cosets[:, 0]
    moved = group.table[:, firsts]
    cosets = subgroup.coset_of[moved]
    inner = group.table[group.inverses[firsts[cosets]], moved]
    return read_only(cosets), read_only(np.searchsorted(subgroup.elements, inner).astype(np.int32))


def _require_fits(rep: Any, subgroup: Any) -> None:
    require_representation(rep, "rep")
    if not isinstance(subgroup, Subgroup):
        raise TypeError(
            f"`subgroup` is {shown(subgroup)}; induction needs a Subgroup, which group.subgroup(elements) makes."
        )
    if rep.group != subgroup.as_group():
        raise ValueError(
            f"`rep` represents {rep.group!r}, and `subgroup` as a group is {subgroup.as_group()!r}. Make the representation "
            "from subgroup.as_group(), whose elements are numbered as in the subgroup."
        )
