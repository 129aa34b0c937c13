"""Wrong use is an error that names the argument, what it got, and what to do."""

import numpy as np
import pytest

import equijax as ej
from equijax.reps import Regular, Scalar
from equijax.sharing import KernelSharing, LinearSharing
from equijax.sharing._orbit_sharing import defect, project
from tests.helpers import check_message

C4, HEX = ej.Cyclic(4), ej.wallpaper("p6").point_group


def _kernel(group, size):
    return KernelSharing(group, size, Scalar(group), Scalar(group))


CASES = {
    "oblong kernel": (
        lambda: _kernel(C4, (3, 5)),
        ValueError,
        ["`kernel_size`", "(3, 5)", "Cyclic(4)", "axes 0 and 1", "(5, 5)", "reflections"],
    ),
    "oblong box": (lambda: _kernel(ej.Octahedral(), (3, 3, 1)), ValueError, ["`kernel_size`", "(3, 3, 1)", "(3, 3, 3)"]),
    "even hexagonal kernel": (lambda: _kernel(HEX, (4, 4)), ValueError, ["`kernel_size`", "(4, 4)", "hexagonal", "1, 3, 5"]),
    "kernel of another dimension": (
        lambda: _kernel(C4, (3, 3, 3)),
        ValueError,
        ["`kernel_size`", "(3, 3, 3)", "Cyclic(4)", "2 axes", "one size for each"],
    ),
    "kernel of too few axes": (lambda: _kernel(ej.Trivial(2), (3,)), ValueError, ["`kernel_size`", "(3,)", "2 axes"]),
    "in_fibre": (
        lambda: KernelSharing(C4, (3, 3), Regular(ej.Dihedral(4)), Scalar(C4)),
        ValueError,
        ["`in_fibre`", "Dihedral(4)", "Cyclic(4)"],
    ),
    "out_fibre": (
        lambda: KernelSharing(C4, (3, 3), Scalar(C4), Scalar),
        TypeError,
        ["`out_fibre`", "Write Scalar(Cyclic(4))"],
    ),
    "no lattice": (lambda: _kernel(ej.Cyclic(3), (3, 3)), ValueError, ["Cyclic(3)", "in_basis(HEXAGONAL)"]),
    "different groups": (
        lambda: LinearSharing(ej.FibreAction(Regular(C4)), ej.FibreAction(Regular(ej.Cyclic(3)))),
        ValueError,
        ["`in_action`", "Cyclic(4)", "`out_action`", "Cyclic(3)", "one group"],
    ),
    "different tori": (
        lambda: LinearSharing(ej.GridAction(ej.Translation(1)).on((4,)), ej.GridAction(ej.Translation(1)).on((5,))),
        ValueError,
        ["`in_action`", "period=(4,)", "`out_action`", "period=(5,)", "one torus"],
    ),
    "a grid of unknown size": (
        lambda: LinearSharing(ej.GridAction(ej.Translation(2)), ej.GridAction(ej.Translation(2)).on((3, 3))),
        ValueError,
        ["`in_action`", "unknown size", "in_action.on(sizes)"],
    ),
    "the other grid": (
        lambda: LinearSharing(ej.GridAction(ej.Translation(2)).on((3, 3)), ej.GridAction(ej.Translation(2))),
        ValueError,
        ["`out_action`", "out_action.on(sizes)"],
    ),
    "no action": (lambda: LinearSharing(C4, C4), TypeError, ["`in_action`", "Cyclic(4)", "Action", ".on(sizes)"]),
    "shape of a weight": (
        lambda: LinearSharing(ej.SetAction(3), ej.SetAction(3)).project(np.ones((4, 3))),
        ValueError,
        ["`weight`", "(4, 3)", "(3, 3)"],
    ),
    "shape, project": (lambda: project(np.ones(2), np.array([0, 1, 0])), ValueError, ["`weight`", "(2,)", "(3,)"]),
    "shape, defect": (lambda: defect(np.ones((3, 2)), np.zeros((2, 2), int)), ValueError, ["`weight`", "(3, 2)", "(2, 2)"]),
}


@pytest.mark.parametrize(("call", "error", "words"), list(CASES.values()), ids=list(CASES))
def test_message(call, error, words):
    check_message(call, error, words)
