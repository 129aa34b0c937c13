"""Exponential, principal logarithm and orthogonal part of real matrices, jittable and differentiable, quick to compile."""

import jax
import jax.numpy as jnp
import numpy as np

_POWERS = 12
_SQUARINGS = 16
_ROOTS = 5
_ITERATIONS = 30
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)


@jax.jit
def exponential(matrices: jax.Array) -> jax.Array:
    r"""Returns exp(X), float ``(…, n, n)``.

    .. math:: \exp X = (\exp X/2^s)^{2^s}, \qquad \|X/2^s\| \le 1/4

    with the Taylor series to the twelfth power, whose rest is below 1e-17, and at most 16 squarings: norms up to 16000.

    References:
      Higham, "Functions of Matrices", SIAM 2008, section 10.3.
    """
    norm = jax.lax.stop_gradient(jnp.abs(matrices).sum(-1).max(-1))
    squarings = jnp.clip(jnp.ceil(jnp.log2(jnp.maximum(norm, 1e-30) * 4.0)), 0.0, _SQUARINGS)[..., None, None]
    small = matrices * jnp.exp2(-squarings)
    one = jnp.broadcast_to(jnp.eye(matrices.shape[-1], dtype=matrices.dtype), matrices.shape)

    def add(i: jax.Array, series: jax.Array) -> jax.Array:
        return one + _product(small, series) / (_POWERS - i).astype(matrices.dtype)

    def square(i: jax.Array, power: jax.Array) -> jax.Array:
        return jnp.where(i < squarings, _product(power, power), power)

    return jax.lax.fori_loop(0, _SQUARINGS, square, jax.lax.fori_loop(0, _POWERS, add, one))


@jax.jit
def principal_log(matrices: jax.Array) -> jax.Array:
    r"""Returns the real X with exp(X) = A whose eigenvalues have imaginary parts in (-π, π), float ``(…, n, n)``.

    .. math:: \log A = 2^k \log A^{1/2^k}, \qquad \log(1 + E) = \int_0^1 E\,(1 + tE)^{-1} dt

    The square roots come from the iteration of Denman and Beavers, the integral from Gauss-Legendre nodes. Where A has an
    eigenvalue on the closed negative axis there is no such X, and the result is of no use: callers check.

    References:
      Higham, "Functions of Matrices", SIAM 2008, equations (6.15), (11.1) and section 11.4.
    """
    one = jnp.broadcast_to(jnp.eye(matrices.shape[-1], dtype=matrices.dtype), matrices.shape)

    def halve(_: int, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        root, back = pair
        return (root + jnp.linalg.inv(back)) / 2, (back + jnp.linalg.inv(root)) / 2

    def root(_: int, power: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, _ITERATIONS, halve, (power, one))[0]

    rest = jax.lax.fori_loop(0, _ROOTS, root, matrices) - one
    nodes, weights = (np.asarray(v, matrices.dtype) for v in ((_NODES + 1) / 2, _WEIGHTS / 2))
    systems = (
        one[..., None, :, :] + nodes[:, None, None].reshape((1,) * (rest.ndim - 2) + (-1, 1, 1)) * rest[..., None, :, :]
    )
    terms = jnp.linalg.solve(systems, jnp.broadcast_to(rest[..., None, :, :], systems.shape))
    return 2.0**_ROOTS * jnp.einsum("k,...kij->...ij", weights, terms, precision="highest")


def orthogonalised(matrices: jax.Array) -> jax.Array:
    r"""Returns the nearest orthogonal matrices, float ``(…, n, n)``, of matrices that are nearly orthogonal.

    .. math:: Q ← Q (3 - Q^⊤ Q) / 2

    twice: an error e becomes about e⁴.

    References:
      Higham, "Functions of Matrices", SIAM 2008, section 8.3 (Newton-Schulz iteration).
    """
    for _ in range(2):
        matrices = 1.5 * matrices - 0.5 * _product(matrices, _product(jnp.swapaxes(matrices, -1, -2), matrices))
    return matrices


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision="highest")
