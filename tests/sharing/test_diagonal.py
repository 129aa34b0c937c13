"""The sharing of depthwise kernels, against Burnside's count, plain loops, and the general sharing."""

import dataclasses
import math
import pickle

import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.reps import Quotient, Regular, Scalar, Vector
from equijax.sharing import DiagonalKernelSharing, KernelSharing
from equijax.sharing._window import window
from tests.catalogue import FINITE, WALLPAPER, brute_orbits
from tests.helpers import check_message

C4, D4, Q8 = ej.Cyclic(4), ej.Dihedral(4), FINITE["Q8"]
GRIDS = [
    (C4, (3, 3)),
    (C4, (2, 2)),
    (D4, (3, 3)),
    (ej.Dihedral(2), (2, 3)),
    (ej.Reflection(1), (5,)),
    (ej.Octahedral(), (3, 3, 3)),
    (WALLPAPER["p6"].point_group, (5, 5)),
    (ej.Trivial(2), (3, 2)),
    (Q8, ()),
]


def fibres(group):
    """A fibre of one orbit and no stabiliser, of one point, of cosets, and of two orbits."""
    subgroups = group.subgroups()
    yield Regular(group)
    yield Scalar(group)
    yield Quotient(subgroups[len(subgroups) // 2])
    yield Scalar(group) + Quotient(subgroups[-1]) + Regular(group)


CASES = [DiagonalKernelSharing(group, size, fibre) for group, size in GRIDS for fibre in fibres(group)]
every_case = pytest.mark.parametrize(
    "sharing", CASES, ids=[f"{s.point_group!r:.20}-{s.kernel_size}-{s.fibre.dim}-{k % 4}" for k, s in enumerate(CASES)]
)


@every_case
def test_orbits_on_pairs_of_fibre_and_offset(sharing):
    _, offsets = window(sharing.point_group, sharing.kernel_size)
    images = sharing.fibre.table[:, :, None] * offsets.shape[1] + offsets[:, None, :]
    images = images.reshape(sharing.point_group.order, -1)
    assert sharing.shape == sharing.table.shape == (sharing.fibre.dim, offsets.shape[1], 1)
    assert np.array_equal(sharing.table.reshape(-1), brute_orbits(images)), "numbered by first appearance in C order"
    burnside = (images == np.arange(images.shape[1])).sum() / sharing.point_group.order
    assert sharing.count == sharing.table.max() + 1 == burnside


@every_case
def test_the_diagonal_of_the_general_sharing(sharing):
    """A diagonal kernel, written as a full one, is shared as the general sharing wants it, and the nearest one is diagonal."""
    general = KernelSharing(sharing.point_group, sharing.kernel_size, sharing.fibre, sharing.fibre)
    rng, n = np.random.default_rng(0), sharing.fibre.dim

    def full(kernel):
        wide = np.zeros(general.shape)
        wide[np.arange(n), :, np.arange(n)] = kernel[..., 0]
        return wide

    kernel = rng.normal(size=sharing.count)[sharing.table]
    assert general.defect(full(kernel)) <= 1e-15 and sharing.defect(kernel) <= 1e-15
    other = rng.normal(size=sharing.shape)
    np.testing.assert_allclose(general.project(full(other)), full(sharing.project(other)), atol=1e-14)
    if sharing.count < other.size:
        assert sharing.defect(other) > 1e-3, "a kernel that is not shared is noticed"


@every_case
def test_expand_writes_the_table_out(sharing):
    kernel = np.random.default_rng(0).normal(size=(*sharing.kernel_shape, 1, 3))
    places, _ = window(sharing.point_group, sharing.kernel_size)
    full = np.zeros((math.prod(sharing.kernel_size), 1, sharing.fibre.dim, 3))
    flat = kernel.reshape(sharing.count, 3)
    for b, k in np.ndindex(*sharing.table.shape[:2]):
        full[places[k], 0, b] = flat[sharing.table[b, k, 0]]
    expanded = sharing.expand(jnp.asarray(kernel))
    assert np.array_equal(expanded, full.reshape(*sharing.kernel_size, 1, sharing.fibre.dim * 3))


@every_case
def test_the_fan_in_is_the_number_of_offsets(sharing):
    plan = sharing.init
    assert math.prod(plan.shape) == sharing.offsets
    assert len(plan.rows) == (1 if sharing.kernel_shape != (sharing.count,) else sharing.fibre.orbits.max() + 1)


def test_it_is_a_value():
    a, b = (DiagonalKernelSharing(ej.Dihedral(4), size, Regular(ej.Dihedral(4))) for size in ((3, 3), [3, 3]))
    assert a == b and hash(a) == hash(b) and pickle.loads(pickle.dumps(a)) == a
    assert a != DiagonalKernelSharing(ej.Dihedral(4), (5, 5), Regular(ej.Dihedral(4)))
    assert a != KernelSharing(D4, (3, 3), Scalar(D4), Regular(D4))
    with pytest.raises(dataclasses.FrozenInstanceError):
        a.kernel_size = (5, 5)  # type: ignore[misc]


def test_errors():
    check_message(lambda: DiagonalKernelSharing(C4, (3, 3), Vector(C4)), ValueError, ["`fibre`", "mixes", "Regular"])
    check_message(lambda: DiagonalKernelSharing(C4, (3, 2), Regular(C4)), ValueError, ["`kernel_size`", "(3, 3)"])
    check_message(lambda: DiagonalKernelSharing(C4, (3, 3), Regular(D4)), ValueError, ["`fibre`"])
    check_message(lambda: DiagonalKernelSharing(C4, (3, 3), "regular"), TypeError, ["`fibre`"])
    sharing = DiagonalKernelSharing(C4, (3, 3), Regular(C4))
    check_message(lambda: sharing.expand(jnp.ones((8, 1, 2))), ValueError, ["9 free weights"])
