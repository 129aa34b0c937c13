"""A group without its sizes: what layers that work at every size have in common."""

from equijax.groups._group import Group
from equijax.groups._permutation import Permutation
from equijax.groups._product import DirectProduct
from equijax.groups._space import SpaceGroup
from equijax.groups._translation import Translation
from equijax.groups._wreath import WreathProduct


def bare(group: Group) -> Group:
    """Returns the group without the period of a torus and without the number of points, in every factor of a product.

    Example:
      >>> import equijax as ej
      >>> from equijax.groups import bare
      >>> bare(ej.DirectProduct(ej.Permutation(5), ej.Translation(2, period=(8, 8))))
      DirectProduct(Permutation(), Translation(2))
    """
    if isinstance(group, SpaceGroup) and group.period is not None:
        return SpaceGroup(group.point_group)
    if isinstance(group, Translation) and group.period is not None:
        return Translation(group.ndim)
    if isinstance(group, Permutation):
        return Permutation()
    if isinstance(group, DirectProduct):
        return DirectProduct(*map(bare, group.factors))
    if isinstance(group, WreathProduct):
        return WreathProduct(Permutation(), bare(group.inner))
    return group


def agree(a: Group, b: Group) -> bool:
    """Tells whether two groups are equal, where a number of points that is left open agrees with every number.

    Example:
      >>> import equijax as ej
      >>> from equijax.groups import agree
      >>> agree(ej.Permutation(), ej.Permutation(5)), agree(ej.Permutation(4), ej.Permutation(5))
      (True, False)
    """
    if isinstance(a, Permutation) and isinstance(b, Permutation):
        return None in (a.n, b.n) or a.n == b.n
    if isinstance(a, DirectProduct) and isinstance(b, DirectProduct):
        return len(a.factors) == len(b.factors) and all(map(agree, a.factors, b.factors))
    if isinstance(a, WreathProduct) and isinstance(b, WreathProduct):
        return agree(a.outer, b.outer) and agree(a.inner, b.inner)
    return a == b
