"""The arithmetic of ``exactness`` against brute force over all elements of the torus group."""

import itertools

import jax
import numpy as np
import pytest

import equijax as ej
from equijax.actions import GridAction
from equijax.nn._sampling import Sampling
from equijax.nn._windowed import _exactness
from tests.helpers import compiled, dense_matrix, moved, options


def brute_force(layer, in_action, sizes):
    """All elements g of the torus group (wrap) or point group (zero) for which some motion Q of the output has W·P = Q·W.

    On a torus Q may be any permutation of the output, so the rows of W are compared as a set. With zero borders an output
    array has one candidate, the element itself about the centre of the array.
    """
    matrix, out_sizes = measured(layer, sizes)
    if in_action.boundary == "zero":
        every = range(in_action.point_group.order)
        return {((0,) * len(sizes), h) for h in every if turns(layer, matrix, h, sizes, out_sizes)}
    rows = sorted_rows(matrix)
    shifts = list(itertools.product(*map(range, sizes)))
    finite = in_action.on(sizes)
    kept = set()
    for h in range(in_action.point_group.order):
        for t in shifts:
            pixels = tuple(s * a for s, a in zip(in_action.spacing, t, strict=True))
            for offset in half_steps(in_action):
                g = element(in_action.group, np.add(pixels, offset), h)
                if finite.acts(g):
                    columns = matrix[:, finite.permutation(g)]
                    if np.allclose(sorted_rows(columns), rows, atol=1e-9):
                        kept.add((tuple(reduce_shift(in_action, np.add(pixels, offset), sizes)), h))
    return kept


def measured(layer, sizes):
    """The matrix of the layer, and the sizes of its output."""
    fn, shapes = compiled(layer), []

    def apply(x):
        y = fn(x)
        shapes.append(y.shape[1:-1])
        return y

    return dense_matrix(apply, (*sizes, 1)), shapes[0]


def turns(layer, matrix, h, sizes, out_sizes):
    """Whether W commutes with element h, turning input and output arrays each about its own centre."""
    actions = [layer.in_action.on(sizes), layer.out_action.on(out_sizes)]
    g = element(layer.group, (0,) * len(sizes), h)
    if not all(action.acts(g) for action in actions):
        return False
    into, out = (np.argsort(action.permutation(g)) for action in actions)
    return np.allclose(matrix[:, np.argsort(into)], matrix[out], atol=1e-9)


def half_steps(action):
    """Every translation by less than the spacing: with spacing s the elements (t, h) may need any t modulo s."""
    return list(itertools.product(*(range(s) for s in action.spacing)))


def element(group, t, h):
    return np.asarray(t, np.int32) if isinstance(group, ej.Translation) else (np.asarray(t, np.int32), np.int32(h))


def reduce_shift(action, t, sizes):
    if action.boundary == "zero":
        return np.asarray(t)
    return np.asarray(t) % np.array(action.spacing) // 1 + (np.asarray(t) // np.array(action.spacing) % np.array(sizes)) * (
        np.array(action.spacing)
    )


def sorted_rows(matrix):
    rounded = np.round(matrix, 9) + 0.0
    return rounded[np.lexsort(rounded.T[::-1])]


def claimed(exactness, sizes):
    """All elements that ``exactness`` names, on the torus."""
    action = exactness.in_action
    total = tuple(s * n for s, n in zip(action.spacing, sizes, strict=True))
    ranges = [range(0, n, step) if step else (0,) for n, step in zip(total, exactness.shift_step, strict=True)]
    named = set()
    for h, t in zip(exactness.point_elements, exactness.translations, strict=True):
        for shift in itertools.product(*ranges):
            sums = np.add(t, shift)
            named.add((tuple((sums % np.array(total) if action.boundary == "wrap" else sums).tolist()), h))
    return named


def as_set(pairs):
    return {(tuple(int(v) for v in t), h) for t, h in pairs}


def check(layer, sizes):
    exactness = layer.exactness((*sizes, 1))
    found, named = as_set(brute_force(layer, exactness.in_action, sizes)), as_set(claimed(exactness, sizes))
    if layer.sampling.padding == "REFLECT" and layer.sampling.window[0] % 2 == 0:
        # A mirror-symmetric kernel on a scalar field can be saved by the mirror at the border, by chance of the sizes;
        # no other fibre is, so the arithmetic does not name the element.
        assert named <= found, (str(exactness), sorted(named - found)[:5])
    else:
        assert found == named, (str(exactness), sorted(found - named)[:5], sorted(named - found)[:5])
    check_law(layer, exactness, sizes)


def check_law(layer, exactness, sizes):
    """The kept elements move input and output as ``in_action`` and ``out_action`` say."""
    matrix, out_sizes = measured(layer, sizes)
    x = np.random.default_rng(0).normal(size=(*sizes, 1))
    y = (matrix @ x.reshape(-1)).reshape(*out_sizes, 1)
    for g in exactness.generators():
        image = matrix @ np.asarray(moved(exactness.in_action, g, x)).reshape(-1)
        assert np.allclose(image.reshape(y.shape), moved(exactness.out_action, g, y), atol=1e-9), (g, str(exactness))


def conv(cls, group, kernel, strides, padding, dilation=1):
    return cls(
        1, 1, kernel, strides, padding=padding, kernel_dilation=dilation, allow_inexact=True, **options(group, seed=3)
    )


LINE = ej.SpaceGroup(ej.Reflection(1))
PADDINGS = ["SAME", "VALID", "CIRCULAR", "REFLECT", "CAUSAL", 1, [(1, 2)], [(2, 1)]]


@pytest.mark.parametrize("strides", [1, 2, 3, 4])
@pytest.mark.parametrize("padding", PADDINGS, ids=str)
def test_line(padding, strides):
    for kernel, size in itertools.product((1, 2, 3, 4), (6, 7) if strides < 4 else (5, 8)):
        check(conv(ej.nn.Conv, LINE, (kernel,), strides, padding), (size,))


@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR", 1], ids=str)
def test_line_dilated(padding, strides):
    for kernel, size in itertools.product((2, 3), (6, 7)):
        check(conv(ej.nn.Conv, LINE, (kernel,), strides, padding, dilation=2), (size,))


@pytest.mark.parametrize("strides", [1, 2, 3, 4])
@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR", ((1, 1), (1, 1))], ids=str)
def test_line_transposed(padding, strides):
    padding = [(1, 1)] if isinstance(padding, tuple) else padding
    for kernel, size in itertools.product((1, 2, 3, 4), (4,)):
        if padding == "VALID" and kernel == 1 and strides == 4:
            continue  # three of four outputs are empty: more symmetric than any statement about the geometry
        layer = conv(ej.nn.ConvTranspose, LINE, (kernel,), strides, padding)
        if kernel >= strides:
            check(layer, (size,))
        else:
            check_law(layer, layer.exactness((size, 1)), (size,))


@pytest.mark.parametrize("strides", [1, 2, 3, 4])
@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR", ((1, 1), (1, 2))], ids=str)
def test_square(padding, strides):
    group = ej.wallpaper("p4m")
    cases = [(3, (5, 5)), (2, (5, 5)), (3, (4, 4)), (2, (4, 4))]
    for kernel, sizes in cases:
        check(conv(ej.nn.Conv, group, (kernel, kernel), strides, padding), sizes)


@pytest.mark.parametrize("padding", ["SAME", "CIRCULAR"])
@pytest.mark.parametrize("sizes", [(4, 6), (5, 6), (6, 4)])
def test_rectangle(sizes, padding):
    check(conv(ej.nn.Conv, ej.wallpaper("p4m"), (3, 3), 2, padding), sizes)


@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("name", ["p3", "p6m", "p31m"])
def test_hexagonal_torus(name, strides):
    for size in (5, 6):
        check(conv(ej.nn.Conv, ej.wallpaper(name), (3, 3), strides, "CIRCULAR"), (size, size))


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_hexagonal_rhombus_keeps_four_of_twelve(padding):
    layer = conv(ej.nn.Conv, ej.wallpaper("p6m"), (3, 3), 1, padding)
    assert len(layer.exactness((6, 6, 1)).point_elements) == 4
    check(layer, (6, 6))


def test_translations_on_a_torus():
    for strides, size in itertools.product((1, 2, 3), (6, 7)):
        check(conv(ej.nn.Conv, ej.Translation(1), (3,), strides, "CIRCULAR"), (size,))


@pytest.mark.parametrize(
    ("padding", "kernels", "strides", "kept"),
    [
        ("SAME", (3, 5), 2, (2, 8, 2, 8, 2, 8)),
        ("SAME", (2, 4), 2, (8, 2, 8, 2, 8, 2)),
        ("SAME", (3, 5), 3, (8, 8, 2, 8, 8, 2)),
        ("VALID", (3, 5), 2, (2, 8, 2, 8, 2, 8)),
        ("VALID", (2, 4), 2, (8, 2, 8, 2, 8, 2)),
        ("CIRCULAR", (2, 3), 1, (8, 8, 8, 8, 8, 8)),
    ],
)
def test_known_table(padding, kernels, strides, kept):
    for kernel in kernels:
        layer = conv(ej.nn.Conv, ej.wallpaper("p4m"), (kernel, kernel), strides, padding)
        counts = tuple(len(layer.exactness((n, n, 1)).point_elements) for n in range(12, 18))
        assert counts == kept


def test_stride_on_a_torus_turns_about_a_pixel():
    exactness = conv(ej.nn.Conv, ej.wallpaper("p4m"), (3, 3), 2, "CIRCULAR").exactness((12, 12, 1))
    assert exactness.keeps_point_group
    assert exactness.shift_step == (2, 2)
    assert exactness.centre == (0.0, 0.0)
    assert sum(t == (0, 0) for t in exactness.translations) == 2


def test_window_of_one_pixel_is_exact_for_shifts_with_any_padding():
    layer = ej.nn.GroupConv(2, 3, (1, 1), **options(ej.wallpaper("p4m")))
    assert layer.exactness((6, 6, 8, 2)).shift_step == (1, 1)
    assert layer.in_action.boundary == "wrap"


def test_exactness_of_a_plain_finite_group():
    layer = ej.nn.GroupConv(2, 3, (), **options(ej.Dihedral(5)))
    exactness = layer.exactness((10, 2))
    assert exactness.keeps_point_group
    assert exactness.generators() == list(range(1, 10))
    assert exactness.sample(jax.random.key(0), (3,)).shape == (3,)


def first_factor(g):
    return g[0]


MIXED = ej.DirectProduct(ej.Lorentz(), ej.Cyclic(3))


@pytest.mark.parametrize("group", [ej.Lorentz(), ej.SL(2), MIXED], ids=repr)
def test_kept_elements_are_drawn_where_there_is_no_uniform_measure(group):
    fibre = ej.reps.FunctionRepresentation(group, first_factor) if group is MIXED else ej.reps.Vector(group)
    action = ej.FibreAction(fibre)
    made = options(group)
    del made["group"]
    layer = ej.nn.EquivariantLinear(action, action, 2, 2, **made)
    drawn = layer.exactness((fibre.dim, 2)).sample(jax.random.key(0), (3,))
    wanted = group.draw(jax.random.key(0), (3,))
    assert jax.tree.map(np.shape, drawn) == jax.tree.map(np.shape, wanted)
    g = jax.tree.map(lambda leaf: leaf[1], drawn)
    x = np.random.default_rng(0).normal(size=(fibre.dim, 2))
    np.testing.assert_allclose(layer(action(g, x)), action(g, layer(x)), rtol=1e-12, atol=1e-12)


def test_a_false_claim_is_noticed(monkeypatch):
    """Negative control: with a wrong origin the arithmetic no longer agrees with brute force."""
    layer = conv(ej.nn.Conv, LINE, (4,), 2, "CIRCULAR")
    check(layer, (10,))
    _exactness.cache_clear()
    monkeypatch.setattr(Sampling, "shift", lambda self, sizes=None: (0.0,) * len(self.window))
    with pytest.raises(AssertionError):
        check(layer, (10,))
    _exactness.cache_clear()


def test_actions_fold_origin_and_spacing():
    layer = conv(ej.nn.Conv, LINE, (2,), 2, "CIRCULAR")
    once = layer.out_action
    assert isinstance(once, GridAction)
    assert (once.spacing, once.origin) == ((2,), (0.5,))
    twice = layer.out_action_for(once)
    assert (twice.spacing, twice.origin) == ((4,), (1.5,))
