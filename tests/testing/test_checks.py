"""The public checks accept what is right and, above all, reject what is wrong."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.reps import Regular
from equijax.testing import check_action, check_equivariance, check_group

D4 = ej.Dihedral(4)
LINE = ej.GridAction(ej.Translation(1))
SIGNAL = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)))


@dataclasses.dataclass(frozen=True)
class Altered(ej.Group):
    """Dihedral(4) with one of its methods replaced."""

    name: str = "nothing"
    group = D4

    @property
    def identity(self):
        return jnp.int32(1 if self.name == "identity" else 0)

    @property
    def element_shape(self):
        return jax.ShapeDtypeStruct((1,) if self.name == "shape" else (), jnp.int32)

    def compose(self, a, b):
        if self.name == "compose in numpy":
            return jnp.asarray(D4.table[np.asarray(a), np.asarray(b)])
        a, b = jnp.broadcast_arrays(jnp.asarray(a, jnp.int32), jnp.asarray(b, jnp.int32))
        if self.name == "compose":
            return (a - b) % 8
        return D4.compose(a, b)

    def inverse(self, a):
        return jnp.asarray(a, jnp.int32) if self.name == "inverse" else D4.inverse(a)

    def sample(self, key, shape=()):
        return D4.sample(key, shape)

    def isclose(self, a, b):
        same = super().isclose(a, b) if self.name != "shape" else jnp.asarray(a) == jnp.asarray(b)
        return same[..., None] if self.name == "isclose" else same

    def __eq__(self, other):
        if self.name == "equality":
            return True
        return isinstance(other, Altered) and self.name == other.name or NotImplemented

    __hash__ = object.__hash__


def test_check_group_accepts_the_unaltered_group():
    check_group(Altered())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("compose", "associativity"),
        ("identity", "identity on the"),
        ("inverse", "inverse on the right"),
        ("isclose", "`isclose` returned shape"),
        ("shape", "`element_shape` says"),
        ("equality", "foreign object"),
    ],
)
def test_check_group_rejects(name, message):
    with pytest.raises(AssertionError, match=message):
        check_group(Altered(name))


def test_check_group_rejects_what_does_not_trace():
    with pytest.raises(jax.errors.TracerArrayConversionError):
        check_group(Altered("compose in numpy"))


def test_check_group_names_the_elements():
    with pytest.raises(AssertionError, match=r"Altered\(name='inverse'\) violates .* at \{'a': "):
        check_group(Altered("inverse"))


def test_check_group_rejects_a_group_that_cannot_be_hashed():
    class Unhashable(Altered):
        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(TypeError, match="unhashable"):
        check_group(Unhashable())


@dataclasses.dataclass(frozen=True)
class OnD4(ej.Action):
    """D4 moves a regular fibre, in right and wrong ways."""

    how: str
    group = D4

    def __call__(self, g, x):
        act = functools.partial(Regular(D4).act, axis=x.ndim - 2)
        match self.how:
            case "right":
                return act(g, x)
            case "wrong direction":
                return act(D4.inverse(g), x)
            case "from the right":  # (u·f)(g) = f(g u) is a left action too
                return jnp.take(x, jnp.asarray(D4.table.T)[g], axis=x.ndim - 2, mode="clip")
            case "from the right, wrong direction":
                return jnp.take(x, jnp.asarray(D4.table.T[D4.inverses])[g], axis=x.ndim - 2, mode="clip")
            case "scales":
                return 2 * act(g, x)
            case "no derivative":
                return jax.lax.stop_gradient(act(g, x))
            case "not under jit":
                return act(g, x) if not isinstance(g, jax.core.Tracer) else x
        raise AssertionError(self.how)

    def axes(self, ndim):
        return ()


FIELD = jnp.asarray(np.random.default_rng(0).normal(size=(8, 2)))


@pytest.mark.parametrize("how", ["right", "from the right"])
def test_check_action_accepts(how):
    check_action(OnD4(how), FIELD)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("wrong direction", r"g·\(h·x\) differs from \(g∘h\)·x"),
        ("from the right, wrong direction", r"g·\(h·x\) differs from \(g∘h\)·x"),
        ("scales", "does not leave x alone under the identity"),
        ("no derivative", "not differentiated as a linear map"),
        ("not under jit", r"jit\(vmap\(action\)\) differs"),
    ],
)
def test_check_action_rejects(how, message):
    with pytest.raises(AssertionError, match=message):
        check_action(OnD4(how), FIELD)


def test_check_action_leaves_shifts_of_a_border_out():
    check_action(ej.GridAction(ej.Translation(1), boundary="zero"), SIGNAL, samples=2)


def test_check_action_accepts_integers_and_fixed_actions():
    check_action(ej.GridAction(ej.wallpaper("p2")).on((2, 3)), jnp.arange(6).reshape(2, 3, 1), samples=2)


def test_complex_arrays():
    x = jax.lax.complex(SIGNAL, SIGNAL[::-1])
    check_action(LINE, x, samples=2)
    check_equivariance(lambda x: x * x.conj() * x, LINE, LINE, x)
    with pytest.raises(AssertionError):
        check_equivariance(
            lambda x: jax.lax.complex(x.real, x.imag * jnp.arange(6.0)[:, None]), LINE, LINE, x, gradient=False
        )


def test_check_equivariance_accepts():
    check_equivariance(lambda x: jnp.tanh(x) + jnp.roll(x, 1, 0) * x, LINE, LINE, SIGNAL)
    check_equivariance(lambda x: x.sum(0), LINE, ej.TrivialAction(LINE.group), SIGNAL)


@jax.custom_vjp
def _wrong_gradient(x):
    return jnp.tanh(x)


_wrong_gradient.defvjp(
    lambda x: (jnp.tanh(x), x),
    lambda x, v: (v * (1 - jnp.tanh(x) ** 2) * jnp.arange(1.0, 1.0 + x.shape[0])[:, None],),
)


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda x: x * jnp.arange(6.0)[:, None], r"fn\(g·x\) = g·fn\(x\) fails"),
        (lambda x: jnp.zeros_like(x).at[1:].set(x[:-1]), r"fn\(g·x\) = g·fn\(x\) fails"),
        (lambda x: x + 1e-9 * jnp.arange(6.0)[:, None], "fails for"),
        (lambda x: x * jnp.where(x > 1e9, 1.0, jnp.nan), "the worst error is nan"),
        (_wrong_gradient, "the gradient's law"),
    ],
    ids=["position", "zero padding", "a billionth", "nan", "gradient only"],
)
def test_check_equivariance_rejects(fn, message):
    with pytest.raises(AssertionError, match=message):
        check_equivariance(fn, LINE, LINE, SIGNAL)


def test_the_gradient_is_checked_only_on_request():
    check_equivariance(_wrong_gradient, LINE, LINE, SIGNAL, gradient=False)


def test_the_gradients_law_where_matrices_are_not_orthogonal():
    """A boost moves gradients by the inverse transposed matrix: the square of a vector, and its first entry alone."""
    v, s = (ej.FibreAction(kind(ej.Lorentz())) for kind in (ej.reps.Vector, ej.reps.Scalar))
    x = jax.random.normal(jax.random.key(0), (3, 4, 2), jnp.float64)
    metric = jnp.asarray([1.0, -1.0, -1.0, -1.0]).reshape(1, 4, 1)
    square = lambda x: jnp.sum(metric * x**2, axis=-2)  # noqa: E731
    ej.testing.check_equivariance(square, v, s, x, tolerance=1e-11)
    ej.testing.check_equivariance(lambda x: x * square(x)[..., None, :], v, v, x, tolerance=1e-11)
    for wrong in (lambda x: x[..., 0, :], lambda x: jnp.sum(x**2, axis=-2)):
        with pytest.raises(AssertionError, match="fn"):
            ej.testing.check_equivariance(wrong, v, s, x)
    # Right forward at every x, wrong in the gradient.
    blind = lambda x: square(jax.lax.stop_gradient(x)) * (1 + x[..., 0, :] - jax.lax.stop_gradient(x[..., 0, :]))  # noqa: E731
    ej.testing.check_equivariance(blind, v, s, x, tolerance=1e-11, gradient=False)
    with pytest.raises(AssertionError, match="gradient's law"):
        ej.testing.check_equivariance(blind, v, s, x, tolerance=1e-11)


def test_an_invariant_function_is_not_equivariant():
    with pytest.raises(AssertionError, match="fails"):
        check_equivariance(lambda x: jnp.sort(x, 0), LINE, LINE, SIGNAL)


def test_elements_can_be_chosen():
    even = jnp.array([[0], [2], [4]])
    flip = lambda x: x * jnp.array([1.0, -1.0] * 3)[:, None]  # noqa: E731
    check_equivariance(flip, LINE, LINE, SIGNAL, even)
    with pytest.raises(AssertionError, match=r"fails for 1 of 2 elements.*at g = \[3\]"):
        check_equivariance(flip, LINE, LINE, SIGNAL, jnp.array([[2], [3]]))


def test_the_tolerance_follows_the_dtype():
    noise = lambda x: x + jnp.asarray(1e-7, x.dtype) * jnp.arange(6.0, dtype=x.dtype)[:, None]  # noqa: E731
    check_equivariance(noise, LINE, LINE, SIGNAL.astype(jnp.float32), gradient=False)
    with pytest.raises(AssertionError):
        check_equivariance(noise, LINE, LINE, SIGNAL, gradient=False)
    check_equivariance(noise, LINE, LINE, SIGNAL, gradient=False, tolerance=1e-3)


def test_pytrees_go_in_and_out():
    class Twice(ej.Action):
        group = LINE.group

        def __call__(self, g, x):
            return jax.tree.map(lambda leaf: LINE(g, leaf), x)

        def axes(self, ndim):
            return ()

    x = {"a": SIGNAL, "b": 2 * SIGNAL}
    check_equivariance(lambda x: (x["a"] * x["b"], x["a"]), Twice(), Twice(), x)
    with pytest.raises(AssertionError):
        check_equivariance(lambda x: (x["a"] * x["b"], x["a"][::-1]), Twice(), Twice(), x)
