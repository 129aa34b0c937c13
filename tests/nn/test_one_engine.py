"""Every fast layer against the reference layer, and against the projection onto the shared weights."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.reps import PermutationRepresentation, Quotient, Regular, Scalar
from equijax.sharing import LinearSharing
from equijax.sharing._orbit_sharing import defect
from tests.helpers import KERNEL, compiled, dense_matrix, fibres_of, options, randn
from tests.nn.test_equivariance import KINDS, build, in_shape

LINE = ej.SpaceGroup(ej.Reflection(1))
CUBE = ej.SpaceGroup(ej.Octahedral())
CASES = [
    *[(kind, name, k) for kind in KINDS[:-1] for name in ("p4", "cmm") for k in (3, 2)],
    *[(kind, "line", k) for kind in KINDS[:-1] for k in (5, 4)],
    ("Conv", "cube", 3),
    ("LiftingConv", "cube", 3),
]


def group_of(name):
    return {"line": LINE, "cube": CUBE}.get(name) or ej.wallpaper(name)


def reference_of(layer, sizes):
    """``EquivariantLinear`` between the layer's actions, with the layer's weights read off its dense matrix."""
    into, out = layer.in_action.on(sizes), layer.out_action.on(layer.sampling.out_sizes(sizes))
    linear = ej.nn.EquivariantLinear(
        into, out, layer.in_features, layer.out_features, param_dtype=jnp.float64, kernel_init=KERNEL, rngs=nnx.Rngs(1)
    )
    matrix = dense_matrix(compiled(layer), in_shape(layer, sizes))
    matrix = matrix.reshape(out.size, layer.out_features, into.size, layer.in_features)
    orbits = linear.sharing.orbits
    assert defect(np.moveaxis(matrix, 2, 1), orbits) <= 1e-12
    first = np.unique(orbits, return_index=True)[1]
    rows, columns = np.unravel_index(first, orbits.shape)
    linear.kernel[...] = jnp.asarray(np.swapaxes(matrix[rows, :, columns, :], 1, 2))
    linear.bias[...] = layer.bias[...]
    return linear


@pytest.mark.parametrize(("kind", "name", "size"), CASES)
def test_window_of_the_whole_torus_equals_the_reference_layer(kind, name, size):
    """As many weights, and with these weights the same function."""
    group = group_of(name)
    layer = build(kind, group, size, features=(2, 3))
    sizes = (size,) * group.ndim
    linear = reference_of(layer, sizes)
    assert linear.sharing.count == layer.sharing.count
    x = randn((2, *in_shape(layer, sizes)))
    expected = compiled(linear)(x)
    assert np.abs(compiled(layer)(x) - expected).max() <= 1e-12 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["p4m", "cmm"])
def test_any_mix_of_fibres_equals_the_reference_layer(name):
    group = ej.wallpaper(name)
    point = group.point_group
    fibres = [*fibres_of(point)[::2], Regular(point) + Quotient(point.subgroup([1]))]
    for a, b in itertools.product(fibres, fibres):
        layer = ej.nn.Conv(1, 1, 3, in_fibre=a, out_fibre=b, padding="CIRCULAR", **options(group))
        into, out = layer.in_action.on((3, 3)), layer.out_action.on((3, 3))
        sharing = LinearSharing(into, out)
        assert sharing.count == layer.sharing.count
        matrix = dense_matrix(compiled(layer), in_shape(layer, (3, 3)))
        assert sharing.defect(matrix.reshape(out.size, into.size)) <= 1e-12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["pmm", "p4m", "p3m1", "p6m", "line"])
def test_defect_of_smaller_windows(name, kind):
    group = group_of(name)
    layer = build(kind, group, 3, 2 if kind == "ConvTranspose" else 1)
    sizes = (5,) if group.ndim == 1 else (3, 3) if kind == "ConvTranspose" else (4, 4)
    into = layer.exactness(in_shape(layer, sizes)).in_action.on(sizes)
    out = layer.exactness(in_shape(layer, sizes)).out_action.on(layer.sampling.out_sizes(sizes))
    sharing = LinearSharing(into, out)
    matrix = dense_matrix(compiled(layer), in_shape(layer, sizes)).reshape(out.size, into.size)
    assert sharing.defect(matrix) <= 1e-12
    spoiled = matrix.copy()
    spoiled[0, np.argmax(np.abs(matrix[0]))] *= 2
    assert sharing.defect(spoiled) > 1e-3, "negative control: one weight changed on its own is noticed"


@pytest.mark.parametrize(
    "group", [ej.Dihedral(5), ej.Octahedral(), ej.FiniteGroup.from_permutations([[1, 2, 0], [1, 0, 2]])]
)
def test_plain_finite_groups_equal_the_reference_layer(group):
    fibres = [Regular(group), Quotient(group.subgroup([group.generators[0]]))]
    for a, b in itertools.product(fibres, fibres):
        layer = ej.nn.Conv(2, 3, (), in_fibre=a, out_fibre=b, **options(group))
        linear = ej.nn.EquivariantLinear(layer.in_action, layer.out_action, 2, 3, **without_group(options(group)))
        assert linear.kernel.shape == layer.kernel.shape
        linear.kernel[...], linear.bias[...] = layer.kernel[...], layer.bias[...]
        x = randn((4, a.dim, 2))
        assert np.abs(compiled(layer)(x) - compiled(linear)(x)).max() <= 1e-12


def without_group(given):
    return {k: v for k, v in given.items() if k != "group"}


def test_sets_are_deepsets():
    layer = ej.nn.EquivariantLinear(ej.SetAction(5), ej.SetAction(5), 2, 3, **without_group(options(None)))
    x = randn((4, 5, 2))
    own, others = layer.kernel[0], layer.kernel[1]
    expected = x @ (own - others) + x.sum(1, keepdims=True) @ others + layer.bias[...][None, None]
    assert np.abs(layer(x) - expected).max() <= 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_count_orbits_and_do_not_depend_on_the_image(kind):
    for name in ej.groups.WALLPAPER_NAMES:
        layer = build(kind, ej.wallpaper(name), 3, features=(2, 3))
        count = sum(leaf.size for leaf in (nnx.state(layer)["kernel"][...],))
        assert count == layer.sharing.count * 2 * 3
        before = layer.kernel.shape
        if name in ("p4", "p6"):
            layer(jnp.zeros(in_shape(layer, (4, 4))))
            layer(jnp.zeros(in_shape(layer, (6, 6))))
        assert layer.kernel.shape == before


def test_isotropic_weights_tell_p3m1_and_p31m_apart():
    counts = {}
    for name in ("p3m1", "p31m"):
        layer = ej.nn.Conv(1, 1, 3, padding="CIRCULAR", **options(ej.wallpaper(name)))
        counts[name] = layer.kernel.shape[0]
    assert counts == {"p3m1": 2, "p31m": 3}


@pytest.mark.parametrize("groups", [2, 4])
def test_feature_groups_are_separate_convolutions(groups):
    group = ej.wallpaper("p4m")
    layer = ej.nn.GroupConv(4, 8, 3, feature_group_count=groups, **options(group))
    x = randn((2, 5, 5, 8, 4))
    parts = []
    for k in range(groups):
        into, out = slice(k * 4 // groups, (k + 1) * 4 // groups), slice(k * 8 // groups, (k + 1) * 8 // groups)
        single = ej.nn.GroupConv(4 // groups, 8 // groups, 3, **options(group))
        single.kernel[...], single.bias[...] = layer.kernel[...][..., out], layer.bias[...][out]
        parts.append(single(x[..., into]))
    assert np.abs(layer(x) - jnp.concatenate(parts, -1)).max() <= 1e-12


def test_several_bias_orbits():
    group = ej.Dihedral(3)
    fibre = Regular(group) + Scalar(group) + PermutationRepresentation(group, np.zeros((6, 1), int))
    layer = ej.nn.Conv(1, 2, (), in_fibre=Regular(group), out_fibre=fibre, **options(group))
    assert layer.bias.shape == (3, 2)
    y = layer(jnp.zeros((6, 1)))
    assert (y[:6] == layer.bias[0][None]).all() and (y[6] == layer.bias[1]).all() and (y[7] == layer.bias[2]).all()
