"""Which fibre the hidden layers of a network get."""

from equijax.reps import Representation, Scalar, intertwiners


def hidden_fibre(in_rep: Representation, out_rep: Representation, hidden: int) -> tuple[Representation, int]:
    """Returns a fibre and a number of features with about ``hidden`` numbers in all.

    The summands are scalars, those of both representations, and the tensor products of two summands of the input; their
    irreps where the group knows them. Each kind gets the same share of the numbers: the largest one copy, a smaller one as
    many as it is smaller. Kinds too large for a share are left out.
    """
    kinds = _kinds(in_rep, out_rep)
    while len(kinds) > 1 and len(kinds) * kinds[-1].dim > hidden:
        kinds.pop()
    largest = kinds[-1].dim
    first, *rest = (max(1, round(largest / kind.dim)) * kind for kind in kinds)
    fibre = sum(rest, start=first)
    return fibre, max(1, round(hidden / fibre.dim))


def _kinds(in_rep: Representation, out_rep: Representation) -> list[Representation]:
    """The different summands that hidden layers may need, smallest first; the scalar leads."""
    given = _different(in_rep)
    duals = [rep.dual for rep in given if not rep.is_orthogonal and not len(intertwiners(rep, rep.dual))]
    products = [a * b for i, a in enumerate(given) for b in given[i:]]
    wanted = [*given, *duals, *products, *_different(out_rep)]
    irreducible = dict.fromkeys(part for rep in wanted for part in _irreps_or_itself(rep))
    moved = [rep for rep in irreducible if len(rep.invariants) < rep.dim]
    return [Scalar(in_rep.group), *sorted(moved, key=lambda rep: rep.dim)]


def _different(rep: Representation) -> list[Representation]:
    """The different summands that the group moves."""
    return [part for part in dict.fromkeys(rep.parts) if len(part.invariants) < part.dim]


def _irreps_or_itself(rep: Representation) -> tuple[Representation, ...]:
    """The different irreps of a representation, or itself where those of the group are not known."""
    try:
        return tuple(irrep for irrep, _ in rep.irreps)
    except ValueError:
        return (rep,)
