"""A representation given by a function of the group element."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import shown
from equijax._arrays import require_real
from equijax._cache import bounded
from equijax.groups._elements import as_arrays, batch_shape
from equijax.groups._group import Element, require_is_group
from equijax.reps._representation import Representation

_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True, repr=False)
class FunctionRepresentation(Representation):
    r"""A representation of any group, Lie groups among them, by a function from elements to matrices.

    The function takes one element and returns its matrix, ``(dim, dim)``; it is differentiated for the Lie algebra.

    Checked in float64 when it is made: products of generators and of exponentials, and, of a Lie group, that the
    derivatives have the structure constants of the algebra, :math:`[X_i, X_j] = \sum_k A_{ijk} X_k`.

    Args:
      group: the group.
      function: ``function(g)`` is a real matrix that jits. Two representations are equal where their functions are the same
        object, so give a named function and not a fresh lambda.

    Raises:
      ValueError: the function returns no square matrix, or does not represent the group.

    Example: the sign of a permutation.
      >>> import jax.numpy as jnp, equijax as ej
      >>> def sign(p): return jnp.linalg.det(ej.Permutation(3).matrix(p))[None, None]
      >>> rep = ej.reps.FunctionRepresentation(ej.Permutation(3), sign)
      >>> rep.dim, rep([1, 0, 2]).tolist()
      (1, [[-1.0]])
    """

    group: Any
    function: Callable[[Element], Any]

    def __post_init__(self) -> None:
        require_is_group(self.group, "group")
        if not callable(self.function) or isinstance(self.function, type):
            raise TypeError(
                f"`function` is {shown(self.function)}; it must be a function of the group element. Matrices of a finite "
                "group go to MatrixRepresentation."
            )
        made = jax.eval_shape(lambda: jnp.asarray(self.function(self.group.identity)))
        require_real(np.zeros(0, made.dtype), "function")
        shape = made.shape
        if len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
            raise ValueError(f"`function` returns an array of shape {shape}; it must return a square matrix, (dim, dim).")
        _require_law(self)

    @property
    def dim(self) -> int:
        """Size of the matrices."""
        return _dim(self)

    def __call__(self, g: Element) -> jax.Array:
        """Returns the matrix of ``g``, float ``(…, dim, dim)``."""
        self.group.require_element(g)
        call = lambda element: jnp.asarray(self.function(element), float)  # noqa: E731
        for _ in batch_shape(self.group, g):
            call = jax.vmap(call)
        return call(as_arrays(g))

    def __repr__(self) -> str:
        return f"FunctionRepresentation({self.group!r}, {getattr(self.function, '__name__', 'function')})"


@bounded
def _dim(rep: FunctionRepresentation) -> int:
    return jax.eval_shape(lambda: jnp.asarray(rep.function(rep.group.identity))).shape[0]


def _require_law(rep: FunctionRepresentation) -> None:
    """Raises ``ValueError`` where the function represents no group, as far as products and derivatives tell."""
    group = rep.group

    def values() -> tuple[jax.Array, list[jax.Array]]:
        found = [group.identity, *group.discrete_generators, *_exponentials(group)]
        products = [jnp.stack([rep(group.compose(g, h)) for h in found]) for g in found]
        return jnp.stack([rep(g) for g in found]), products

    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        matrices, products = jax.tree.map(np.asarray, jax.jit(values)())
    scale = (1 + np.abs(matrices).max()) ** 2
    error = max(np.abs(matrices[0] - np.eye(rep.dim)).max(), np.abs(matrices[:, None] @ matrices[None] - products).max())
    if not error <= _TOLERANCE * scale:
        raise ValueError(
            f"`function` does not represent {group!r}: function(g) @ function(h) differs from function(g ∘ h) by "
            f"{error:.1e} (function(identity) must be the unit matrix). Matrices act on column vectors; for one that acts "
            "on rows return its transpose of the inverse."
        )
    error = _error_of_brackets(group.algebra, rep.algebra)
    if not error <= _TOLERANCE * scale:
        raise ValueError(
            f"the derivatives of `function` do not represent the Lie algebra of {group!r}: brackets differ from the "
            f"structure constants by {error:.1e}. It must be differentiable at the identity and multiplicative."
        )


def _exponentials(group: Any) -> list[Element]:
    """Two fixed elements that are no exponentials of single basis vectors, in general position."""
    if not group.algebra:
        return []
    weights = np.cos(np.outer([1.0, 2.0], 1.0 + np.arange(len(group.algebra))))
    return [group.exp(jnp.asarray(np.tensordot(w, np.stack(group.algebra), 1))) for w in weights]


def _error_of_brackets(algebra: tuple[np.ndarray, ...], represented: tuple[np.ndarray, ...]) -> float:
    if not algebra:
        return 0.0
    lengths = np.linalg.norm(algebra, axis=(1, 2))[:, None, None]
    x, y = np.stack(algebra) / lengths, np.stack(represented) / lengths
    brackets = x[:, None] @ x[None] - x[None] @ x[:, None]
    count = len(x)
    constants = np.linalg.lstsq(x.reshape(count, -1).T, brackets.reshape(count**2, -1).T, rcond=None)[0]
    expected = np.einsum("kp,kab->pab", constants, y).reshape(count, count, *y.shape[1:])
    return float(np.abs(y[:, None] @ y[None] - y[None] @ y[:, None] - expected).max())
