"""Layers between fibres that mix their coordinates: vectors, irreps, tensors, of finite and of Lie groups."""

import dataclasses
import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.nn import Conv, ConvTranspose, EquivariantLinear, LiftingConv, ProjectionConv
from equijax.reps import Irrep, Regular, Representation, Scalar
from equijax.sharing import BasisSharing, LinearSharing
from equijax.sharing._variance import normalised
from equijax.testing import check_equivariance
from tests.helpers import dense_matrix, options, randn
from tests.sharing.fibres import Skew, Vector

P4, P4M, CUBE = ej.wallpaper("p4"), ej.wallpaper("p4m"), ej.SpaceGroup(ej.Octahedral())
C4, D4 = P4.point_group, P4M.point_group
PLANE = Irrep(D4, 4)


def _plain(**more):
    given = options(None, **more)
    given.pop("group")
    return given


CONVS = {
    "vector to vector": lambda **o: Conv(2, 3, 3, in_fibre=PLANE, out_fibre=PLANE, **options(P4M, **o)),
    "scalar to a sum": lambda **o: LiftingConv(2, 3, 2, out_fibre=Scalar(C4) + Vector(C4), **options(P4, **o)),
    "a sum to regular": lambda **o: Conv(2, 3, 3, in_fibre=Irrep(D4, 3) + PLANE, out_fibre=Regular(D4), **options(P4M, **o)),
    "vector to scalar": lambda **o: ProjectionConv(2, 3, 3, in_fibre=Vector(C4), **options(P4, **o)),
    "transposed": lambda **o: ConvTranspose(2, 3, 4, 2, in_fibre=PLANE, out_fibre=PLANE + Scalar(D4), **options(P4M, **o)),
    "strided": lambda **o: Conv(2, 3, 3, 2, in_fibre=PLANE, out_fibre=PLANE, **options(P4M, **o)),
    "groups of features": lambda **o: Conv(
        4, 2, 3, in_fibre=PLANE, out_fibre=PLANE + Scalar(D4), feature_group_count=2, **options(P4M, **o)
    ),
    "volume": lambda **o: Conv(
        1, 1, 3, in_fibre=Vector(CUBE.point_group), out_fibre=Vector(CUBE.point_group), **options(CUBE, **o)
    ),
}


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _errors(graph, before, behind, state, given):
    """Errors of the law over the elements, forward and gradient, before and after one step of gradient descent."""
    elements, x, v = given

    def of(state):
        layer = nnx.merge(graph, state)
        y, pull = jax.vjp(layer, x)

        def at(g):
            moved, back = jax.vjp(layer, before(g, x))
            adjoint = lambda action, v: jax.linear_transpose(lambda w: action(g, w), v)(v)[0]  # noqa: E731
            rest = adjoint(before, back(v)[0]) - pull(adjoint(behind, v))[0]
            return jnp.abs(moved - behind(g, y)).max() / jnp.abs(y).max(), jnp.abs(rest).max()

        return jax.tree.map(jnp.max, jax.vmap(at)(elements))

    slope = jax.grad(lambda state: jnp.mean(nnx.merge(graph, state)(x) ** 2))(state)
    after = jax.tree.map(lambda p, g: p - 0.1 * g, state, slope)
    change = [jnp.abs(a - b).sum() for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True)]
    return of(state), of(after), change


def _require_law(layer, before, behind, shape, elements):
    x = randn(shape)
    graph, state = nnx.split(layer)
    given = (elements, x, randn(jax.eval_shape(layer, x).shape, 1))
    first, second, change = _errors(graph, before, behind, state, given)
    assert max(*first, *second) <= 1e-12, (first, second)
    assert min(change) > 0


@pytest.mark.parametrize("name", CONVS)
def test_convolutions(name):
    """The law for every element, forward and gradient, before and after a training step."""
    layer = CONVS[name](padding="CIRCULAR")
    assert isinstance(layer.sharing.rule, BasisSharing)
    shape = (*(4,) * layer.group.ndim, *layer.in_fibre.shape, layer.in_features)
    exactness = layer.exactness(shape)
    elements = exactness.elements()
    assert len(jax.tree.leaves(elements)[0]) == layer.in_fibre.group.order
    _require_law(layer, exactness.in_action, exactness.out_action, shape, elements)


def test_a_window_of_the_whole_torus_has_the_maps_of_the_reference_layer():
    layer = Conv(1, 1, 3, in_fibre=Vector(C4), out_fibre=Vector(C4), padding="CIRCULAR", **options(P4))
    into = layer.in_action.on((3, 3))
    reference = LinearSharing(into, into)
    assert isinstance(reference.rule, BasisSharing) and reference.count == layer.sharing.count
    matrix = dense_matrix(layer, (3, 3, 2, 1))
    assert reference.defect(matrix) <= 1e-12
    spoiled = matrix.copy()
    spoiled[0, np.argmax(np.abs(matrix[0]))] *= 2
    assert reference.defect(spoiled) > 1e-3, "negative control"


def test_one_weight_changed_on_its_own_is_noticed():
    layer = CONVS["vector to vector"](padding="CIRCULAR")
    exactness = layer.exactness((4, 4, 2, 2))

    class Broken(Conv):
        def _expand(self, kernel):
            full = super()._expand(kernel)
            return full.at[(0,) * full.ndim].add(0.1)

    layer.__class__ = Broken
    with pytest.raises(AssertionError):
        _require_law(layer, exactness.in_action, exactness.out_action, (4, 4, 2, 2), exactness.elements())


@dataclasses.dataclass(frozen=True)
class Defining(Representation):
    """The matrices of a group of matrices themselves."""

    group: ej.Group

    @property
    def dim(self):
        return self.group.matrix_size

    def __call__(self, g):
        return self.group.matrix(g)


@dataclasses.dataclass(frozen=True)
class Square(Representation):
    """Pairs of indices of another representation."""

    inner: Representation

    @property
    def group(self):
        return self.inner.group

    @property
    def dim(self):
        return self.inner.dim**2

    def __call__(self, g):
        m = self.inner(g)
        return jnp.einsum("...ij,...kl->...ikjl", m, m).reshape(*m.shape[:-2], self.dim, self.dim)


SO3, O3, LORENTZ, SE2 = ej.SO(3), ej.O(3), ej.groups.Lorentz(), ej.SE(2)
S3 = ej.FiniteGroup.from_permutations([[1, 2, 0], [1, 0, 2]])
LINEAR = {
    "finite, skew": (Skew(Regular(S3), 0.4), Regular(S3), 6),
    "SO(3)": (Square(Defining(SO3)), Defining(SO3), 1),
    "SO(3), tensors": (Square(Defining(SO3)), Square(Defining(SO3)), 3),
    "O(3)": (Square(Defining(O3)), Square(Defining(O3)), 3),
    "Lorentz": (Square(Defining(LORENTZ)), Square(Defining(LORENTZ)), 3),
    "SE(2)": (Square(Defining(SE2)), Defining(SE2), None),
}


def _elements(group):
    if group.order < 100:
        return group.elements()
    return group.near_identity(jax.random.key(0), (3,)) if group is LORENTZ else group.sample(jax.random.key(0), (3,))


@pytest.mark.parametrize("name", LINEAR)
def test_linear_maps_of_one_vector(name):
    """The law for elements, and for the Lie algebra in the dense matrix."""
    into, out, count = LINEAR[name]
    layer = EquivariantLinear(ej.FibreAction(into), ej.FibreAction(out), 2, 3, **_plain())
    assert count in (None, layer.sharing.count)
    _require_law(layer, layer.in_action, layer.out_action, (into.dim, 2), _elements(into.group))
    matrix = np.asarray(layer.sharing.expand(layer.kernel[...]))
    for a, b in (*zip(into.algebra, out.algebra, strict=True), *zip(into.generators, out.generators, strict=True)):
        error = np.einsum("po,oicf->picf", b, matrix) - np.einsum("ojcf,ji->oicf", matrix, a)
        assert np.abs(error).max() <= 1e-12 * np.abs(matrix).max()


def test_fields_of_vectors_on_a_grid():
    act, out = ej.GridAction(P4, Vector(C4)).on((3, 3)), ej.GridAction(P4).on((3, 3))
    layer = EquivariantLinear(act, out, 2, 3, **_plain())
    elements = jax.tree.map(lambda *g: jnp.stack(g), *layer.sharing.generators)
    _require_law(layer, layer.in_action, layer.out_action, (3, 3, 2, 2), elements)


@dataclasses.dataclass(frozen=True)
class Turned(ej.actions.Action):
    """A user's own action: quarter turns of a pair of numbers, ``(*batch, 2, features)``."""

    group: ej.Group = C4

    def __call__(self, g, x):
        matrix = jnp.asarray(C4.integer_matrices)[g].astype(x.dtype)
        return jnp.einsum("ij,...jf->...if", matrix, x)

    def axes(self, ndim):
        role = ej.actions.Axis
        return (*(role("batch"),) * (ndim - 2), role("base", 0), role("feature"))

    def on(self, shape=()):
        return ej.actions.FiniteAction(self, (2,))


def test_an_action_of_a_user_that_does_not_say_whether_it_permutes():
    layer = EquivariantLinear(Turned(), Turned(), 2, 3, **_plain())
    assert layer.sharing.count == 2 and layer.bias is None
    _require_law(layer, Turned(), Turned(), (5, 2, 2), C4.elements())
    x = randn((5, 2, 2))
    with pytest.raises(AssertionError, match="fails for"):
        check_equivariance(lambda x: nnx.relu(layer(x)), Turned(), Turned(), x, gradient=False)


@pytest.mark.parametrize("initialiser", ["lecun_normal", "lecun_uniform", "glorot_normal"])
@pytest.mark.parametrize("name", ["SO(3)", "SO(3), tensors", "vector to vector", "a sum to regular", "volume"])
def test_variance_at_initialisation(name, initialiser):
    """The variance of every output coordinate that is reached is 1, from the weights themselves."""
    sharing = CONVS[name]().sharing if name in CONVS else LinearSharing(*map(ej.FibreAction, LINEAR[name][:2]))
    init = getattr(nnx.initializers, initialiser)()
    features = 64
    theta = init(jax.random.key(0), (*sharing.init.shape, features, features), jnp.float64)
    weight = np.asarray(sharing.weights(theta))
    variance = (weight**2).sum(tuple(range(1, weight.ndim - 1))).mean(-1)
    reached = np.abs(sharing.rule.basis).max((0, *range(2, sharing.rule.basis.ndim))) > 0
    expected = 1.0 if initialiser != "glorot_normal" else 2 * sharing.count / (2 * sharing.count)
    if reached.all():
        assert np.abs(variance - expected).max() < 0.15


def test_variance_without_an_inner_product():
    """On SE(2) the naive rule breaks the law; one number for the whole basis keeps it, with variance 1 on average."""
    into = Square(Defining(SE2))
    sharing = LinearSharing(ej.FibreAction(into), ej.FibreAction(into))
    basis = sharing.rule.basis
    law = lambda maps: max(  # noqa: E731
        np.abs(g @ maps - maps @ g).max() for g in (*into.algebra, *np.asarray(into(SE2.sample(jax.random.key(1), (3,)))))
    )
    assert law(basis) <= 1e-11
    variance = np.einsum("koi,koi->o", basis, basis) / len(basis)
    assert abs(variance[variance > 0].mean() - 1) < 1e-12
    naive = normalised(basis, np.eye(9), np.eye(9))
    assert law(naive) > 0.1


def test_irreps_that_nothing_reaches_are_named():
    with pytest.warns(UserWarning, match=r"Irrep\(Dihedral\(4\), 4\)"):
        layer = Conv(2, 3, (), in_fibre=Scalar(D4), out_fibre=PLANE, **options(P4M))
    assert layer.kernel.shape == (0, 2, 3) and layer.bias is None
    assert not np.asarray(layer(randn((5, 2)))).any()
    with pytest.warns(UserWarning, match=r"Irrep\(Dihedral\(4\), 4\)"):
        EquivariantLinear(ej.FibreAction(Irrep(D4, 1)), ej.FibreAction(Irrep(D4, 1) + PLANE), 2, 3, **_plain())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        EquivariantLinear(ej.FibreAction(Scalar(D4)), ej.FibreAction(Regular(D4)), 2, 3, **_plain())
        Conv(2, 3, 3, in_fibre=Scalar(D4), out_fibre=PLANE, **options(P4M))


def test_bias_lives_in_the_invariants():
    both = Conv(2, 3, 3, in_fibre=PLANE, out_fibre=PLANE + Scalar(D4), **options(P4M))
    assert both.bias.shape == (1, 3)
    assert Conv(2, 3, 3, in_fibre=PLANE, out_fibre=PLANE, **options(P4M)).bias is None
    y = both(jnp.zeros((4, 4, 2, 2)))
    assert np.abs(y[..., :2, :]).max() < 1e-15 and np.abs(y[..., 2, :]).min() > 0


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_dtypes(dtype):
    layer = Conv(2, 3, 3, in_fibre=PLANE, out_fibre=PLANE, group=P4M, param_dtype=dtype, rngs=nnx.Rngs(0))
    assert layer(jnp.ones((4, 4, 2, 2), dtype)).dtype == dtype
    linear = EquivariantLinear(
        ej.FibreAction(PLANE), ej.FibreAction(PLANE), 2, 3, param_dtype=dtype, dtype=dtype, rngs=nnx.Rngs(0)
    )
    assert linear(jnp.ones((4, 2, 2), dtype)).dtype == dtype
