"""The audit of fibres that are mixed, of Lie groups, and of actions that the library has never heard of."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.reps import Irrep, Scalar, Vector
from equijax.testing import check_action, check_equivariance
from tests.audit.networks import DOUBLE, Chain, conv, linear
from tests.helpers import BIAS, KERNEL, randn

D4, C4, SO2, SO3, O3, LORENTZ = ej.Dihedral(4), ej.Cyclic(4), ej.SO(2), ej.SO(3), ej.O(3), ej.Lorentz()
FIBRES = {
    "D4": Scalar(D4) + 2 * Vector(D4),
    "SO(2)": Scalar(SO2) + 2 * Irrep(SO2, 1),
    "SO(3)": Scalar(SO3) + 2 * Vector(SO3),
    "O(3)": Scalar(O3) + Vector(O3) + Irrep(O3, 1, parity=1),
    "Lorentz": Scalar(LORENTZ) + 2 * Vector(LORENTZ),
}


def options(seed=0, **more):
    """Keyword arguments of a layer in float64."""
    return {"param_dtype": jnp.float64, "rngs": nnx.Rngs(seed), **more}


def mapped(into, out, inputs=4, outputs=4, seed=0):
    """A linear map between two fibres."""
    ends = ej.FibreAction(into), ej.FibreAction(out)
    return ej.nn.EquivariantLinear(*ends, inputs, outputs, **options(seed, kernel_init=KERNEL, bias_init=BIAS))


def network(fibre, *steps, **modules):
    """Linear maps, a norm nonlinearity where lengths are kept, a gate; steps are planted behind the first map."""
    gate = ej.nn.Gate(fibre)
    norm = {"norm": ej.nn.NormNonlinearity(4, fibre, **options(3, bias_init=BIAS))} if fibre.is_orthogonal else {}
    parts = {"first": mapped(fibre, fibre, 3), "more": mapped(fibre, gate.in_fibre, seed=1), "gate": gate, **norm}
    parts["last"] = mapped(fibre, fibre, seed=2)
    return Chain("first", *steps, *norm, "more", "gate", "last", **parts, **modules)


class FibreBias(nnx.Module):
    """A number for every coordinate of the fibre."""

    def __init__(self, dim):
        self.bias = nnx.Param(randn((dim, 1), 4))

    def __call__(self, x):
        return x + self.bias[...][None]


def across(x):
    """The fibre last."""
    return jnp.swapaxes(x, -1, -2)


def weighted(dim):
    """A dense layer over the coordinates of the fibre."""
    return nnx.Linear(dim, dim, use_bias=False, **options(5, kernel_init=KERNEL))


FAULTS = {
    "dense": (lambda dim: ((across, "bad", across), {"bad": weighted(dim)}), "bad", "fibre"),
    "relu": (lambda dim: ((jax.nn.relu,), {}), "max", "nonlinearity"),
    "silu": (lambda dim: ((jax.nn.silu,), {}), "mul", "nonlinearity"),
    "feature bias": (
        lambda dim: (("bad",), {"bad": nnx.Linear(4, 4, **options(6, kernel_init=KERNEL, bias_init=BIAS))}),
        "bad",
        "fibre",
    ),
    "fibre bias": (lambda dim: (("bad",), {"bad": FibreBias(dim)}), "bad", "fibre"),
    "one coordinate": (lambda dim: ((lambda x: x * x[..., -1:, :],), {}), "mul", "fibre"),
}
REMEDY = {"fibre": "ej.nn.EquivariantLinear", "nonlinearity": "gate"}


def input_of(fibre):
    """Vectors, and how the group moves them."""
    return randn((4, fibre.dim, 3)), ej.FibreAction(fibre)


@pytest.mark.parametrize("name", FIBRES)
def test_exact(name):
    model, (x, action) = network(FIBRES[name]), input_of(FIBRES[name])
    found = ej.audit.explain(model, x, in_action=action, infinitesimal=True)
    found.assert_exact()
    assert len(found.infinitesimal) == len(action.group.algebra)
    assert all(one.error <= 1e-13 and max(one.local) <= 1e-13 and not one.shares for one in found.infinitesimal)
    assert len(set(found.elements)) == len(found.elements) and all(row.verdict.startswith("exact") for row in found.rows)
    read = ej.audit.static(model, x.shape, in_action=action, dtype=x.dtype)
    assert read.exact and read.kept == found.elements and not read.unknown
    assert [("not compact" in note) for note in found.notes] == [True] * (name == "Lorentz")


SLOW = [(n, f) for n in ("SO(2)", "O(3)") for f in ("dense", "silu", "fibre bias", "one coordinate")]
SLOW += [("Lorentz", f) for f in ("silu", "feature bias", "one coordinate")]


@pytest.mark.parametrize(
    ("name", "fault"),
    [pytest.param(n, f, marks=[pytest.mark.slow] * ((n, f) in SLOW)) for n in FIBRES for f in FAULTS],
)
def test_a_planted_fault(name, fault):
    """The right row is accused of the right fault, by measurement and without data."""
    fibre, (make, word, kind) = FIBRES[name], FAULTS[fault]
    steps, modules = make(fibre.dim)
    model, (x, action) = network(fibre, *steps, **modules), input_of(fibre)
    found = ej.audit.explain(model, x, in_action=action, infinitesimal=True)
    (row,) = found.accused
    assert word in {part for member in row.members for part in member.split()}
    assert [c.kind for c in row.causes] == [kind] and REMEDY[kind] in row.causes[0].replacement, row.causes
    assert row.verdict == "broken" and row.share == pytest.approx(1, abs=1e-6) and (found.error > 0.01).any()
    if action.group.algebra:  # seen along the Lie algebra too
        assert max(one.error for one in found.infinitesimal) > 0.01
    with pytest.raises(AssertionError, match=kind):
        found.assert_exact()
    read = ej.audit.static(model, x.shape, in_action=action, dtype=x.dtype)
    assert not read.exact and read.lost and {c.kind for row in read.rows for c in row.causes} == {kind}, str(read)


def test_elements_of_every_part():
    """Haar where the group is compact; near every part where it is not."""
    for name, parts in (("O(3)", 2), ("Lorentz", 4)):
        x, action = input_of(FIBRES[name])
        g = ej.audit._elements.audited_elements(action, x)
        signs = {(bool(np.linalg.det(m) > 0), bool(m[0, 0] > 0) if name == "Lorentz" else True) for m in np.asarray(g)}
        assert len(signs) == parts
    x, action = input_of(FIBRES["Lorentz"])
    with pytest.raises(ValueError, match="not compact"):
        LORENTZ.sample(jax.random.key(0))
    named = jnp.asarray(LORENTZ.components)
    found = ej.audit.explain(network(FIBRES["Lorentz"]), x, in_action=action, elements=named)
    assert found.exact and not found.notes  # nothing was drawn


def squared(x):
    """Divides by lengths, over several lines."""
    squares = x**2
    return x / jnp.sqrt(1 + squares.sum(-2, keepdims=True))


def test_what_is_not_known_without_data():
    """A square alone is no vector, but it becomes a length; without parameters nothing is said."""
    fibre = FIBRES["SO(3)"]
    model, (x, action) = network(fibre, squared), input_of(fibre)
    read = ej.audit.static(model, x.shape, in_action=action, dtype=x.dtype)
    assert read.exact and len(read.kept) == 4 and ej.audit.explain(model, x, in_action=action).exact
    blank = nnx.eval_shape(lambda: network(fibre, "bad", bad=FibreBias(fibre.dim)))
    read = ej.audit.static(blank, x.shape, in_action=action, dtype=x.dtype)
    assert not read.exact and not read.lost and not read.kept and len(read.unknown) == 4
    assert "not known for" in read.sentence and "values are not known" in read.sentence and read.to_dict()["unknown"]


P4 = ej.GridAction(ej.wallpaper("p4"), Vector(C4))


def on_grid(*steps, **modules):
    """Convolutions of vector fields around planted steps."""
    own = {"group": P4.group, "in_fibre": Vector(C4), "out_fibre": Vector(C4), "padding": "CIRCULAR", **DOUBLE}
    norm = ej.nn.NormNonlinearity(4, Vector(C4), group=P4.group, **options(3, bias_init=BIAS))
    parts = {"first": ej.nn.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0), **own), "norm": norm}
    parts["last"] = ej.nn.Conv(4, 2, (3, 3), rngs=nnx.Rngs(1), **own)
    return Chain("first", "norm", *steps, "last", **parts, **modules)


def merged(x):
    """Fibre and features as channels."""
    return x.reshape(*x.shape[:3], -1)


def opened(x):
    """Channels as vectors with features."""
    return x.reshape(*x.shape[:3], 2, -1)


ON_GRID = {
    "exact": ((), {}, set()),
    "relu": ((jax.nn.relu,), {}, {"nonlinearity"}),
    "plain convolution": ((merged, "bad", opened), {"bad": lambda: conv(8, 8)}, {"kernel"}),
    "bias": (("bad",), {"bad": lambda: linear(4, 4)}, {"fibre"}),
    "zero padding": ((merged, "bad", opened), {"bad": lambda: conv(8, 8, padding="SAME")}, {"kernel", "border"}),
}


@pytest.mark.parametrize("name", ON_GRID)
def test_vectors_on_a_grid(name):
    steps, modules, kinds = ON_GRID[name]
    model = on_grid(*steps, **{k: v() for k, v in modules.items()})
    if name == "bias":
        model.bad.bias[...] = randn((4,))
    x = randn((2, 6, 6, 2, 3))
    found = ej.audit.explain(model, x, in_action=P4)
    assert {c.kind for row in found.accused for c in row.causes} == kinds and len(found.accused) == bool(kinds), str(found)
    assert found.exact == (not kinds)
    assert all("in_fibre" in c.replacement for row in found.accused for c in row.causes if c.kind == "kernel")
    read = ej.audit.static(model, x.shape, in_action=P4, dtype=x.dtype)
    assert {c.kind for row in read.rows for c in row.causes} == kinds and read.exact == (not kinds), str(read)
    assert read.steps == ((None, None) if "border" in kinds else (1, 1))


@dataclasses.dataclass(frozen=True)
class Corners(ej.actions.FieldAction):
    """A user's own action: the corners of a square go round, and the fibre at each one turns with them."""

    fibre: ej.reps.Representation
    group = C4
    ndim = 1

    def with_fibre(self, fibre):
        return Corners(fibre)

    def restrict(self, subgroup):
        raise NotImplementedError

    def on(self, shape=()):
        return ej.actions.FiniteAction(self, (4, *self.fibre.shape))

    def __call__(self, g, x):
        x = jnp.asarray(x)
        moved = self.fibre.act(g, x, axis=x.ndim - 2)
        return jnp.take(moved, (jnp.arange(4, dtype=jnp.int32) - jnp.asarray(g, jnp.int32)) % 4, axis=x.ndim - 3)


@dataclasses.dataclass(frozen=True)
class Arrows(ej.actions.Action):
    """A user's own action of a Lie group that is no field: pairs of arrows, ``(*batch, 2, coordinates, features)``."""

    group = SO2

    def axes(self, ndim):
        base = (ej.actions.Axis("base", 0), ej.actions.Axis("base", 1))
        return (*(ej.actions.Axis("batch"),) * (ndim - 3), *base, ej.actions.Axis("feature"))

    def __call__(self, g, x):
        return jnp.einsum("ij,...jf->...if", jnp.asarray(g, jnp.result_type(x)), x, precision="highest")


def longer(x):
    """Arrows times a function of their lengths."""
    return x * jnp.sqrt(1 + (x**2).sum(-2, keepdims=True))


@pytest.mark.parametrize("action", [Corners(Vector(C4)), Arrows()], ids=lambda action: type(action).__name__)
def test_an_action_of_the_users_own(action):
    x = randn((4, 2, 3)) if isinstance(action, Corners) else randn((2, 2, 3))
    check_action(action, x, samples=2)
    check_equivariance(longer, action, action, x, tolerance=1e-11)
    assert ej.equivariance_error(jnp.abs, action, action, x).max() > 0.1
    wide = {"in_action": action, "out_action": action}
    found = ej.audit.explain(Chain(longer), x[None], infinitesimal=True, **wide)
    found.assert_exact()
    assert all(one.error < 1e-13 for one in found.infinitesimal)
    assert ej.audit.static(Chain(longer), x[None].shape, dtype=x.dtype, **wide).exact
    broken = Chain(jax.nn.relu, longer)
    found = ej.audit.explain(broken, x[None], infinitesimal=True, **wide)
    assert [[c.kind for c in row.causes] for row in found.accused] == [["nonlinearity"]]
    assert all(one.error > 0.1 for one in found.infinitesimal)
    read = ej.audit.static(broken, x[None].shape, dtype=x.dtype, **wide)
    assert read.lost and {c.kind for row in read.rows for c in row.causes} == {"nonlinearity"}


def test_a_layer_on_an_action_of_the_users_own():
    """Built by the library, its claim measured, audited inside a chain."""
    action, x = Corners(Vector(C4)), randn((2, 4, 2, 3))
    layer = ej.nn.EquivariantLinear(action, action, 3, 3, **options(kernel_init=KERNEL))
    elements = layer.exactness(x.shape).elements()
    assert len(elements) == 4 and ej.equivariance_error(layer, action, action, x, elements).max() < 1e-13
    ej.audit.explain(Chain("layer", longer, layer=layer), x, in_action=action, out_action=action).assert_exact()
    found = ej.audit.explain(Chain("layer", jnp.abs, layer=layer), x, in_action=action, out_action=action)
    assert [row.name.split()[0] for row in found.accused] == ["abs"]


@pytest.mark.parametrize("group", [O3, LORENTZ], ids=repr)
def test_multilayer_networks(group):
    vector = Vector(group)
    model = ej.nn.EMLP(2 * vector, vector, hidden=40, layers=2, **options(kernel_init=KERNEL))
    x = randn((4, 2 * vector.dim, 1))
    found = ej.audit.explain(model, x, in_action=model.in_action, infinitesimal=True)
    found.assert_exact()
    assert [row.name for row in found.rows] == ["blocks.0", "blocks.1", "linear"]
    assert max(one.error for one in found.infinitesimal) < 1e-13
    assert ej.audit.static(model, x.shape, in_action=model.in_action, dtype=x.dtype).exact
    broken = Chain("model", jnp.tanh, model=model)
    found = ej.audit.explain(broken, x, in_action=model.in_action)
    assert [[c.kind for c in row.causes] for row in found.accused] == [["nonlinearity"]]
