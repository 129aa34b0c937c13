"""A group without its sizes: what layers that work at every size have in common."""

from equijax.groups._group import Group, require_is_group


def bare(group: Group) -> Group:
    """Returns ``group.open``: without the period of a torus and the number of points, in every factor of a product.

    Example:
      >>> import equijax as ej
      >>> from equijax.groups import bare
      >>> bare(ej.DirectProduct(ej.Permutation(5), ej.Translation(2, period=(8, 8))))
      DirectProduct(Permutation(), Translation(2))
    """
    require_is_group(group, "group")
    return group.open


def agree(a: Group, b: Group) -> bool:
    """Returns ``a.agrees(b)``: equal, where a number of points that is left open agrees with every number.

    Example:
      >>> import equijax as ej
      >>> from equijax.groups import agree
      >>> agree(ej.Permutation(), ej.Permutation(5)), agree(ej.Permutation(4), ej.Permutation(5))
      (True, False)
    """
    require_is_group(a, "a")
    require_is_group(b, "b")
    return a.agrees(b)
