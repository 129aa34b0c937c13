"""Whether the input of an audit tries a step at all: a zero, a constant, a dead layer show no fault."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from equijax.audit._error import gap, widened
from equijax.audit._steps import Step
from equijax.audit._walker import SAFE, Floors, Walker, relative
from equijax.nn._jaxpr import Values


def another(leaf: Any) -> Any:
    """Returns other floats for an input, as large as they are; whole numbers and masks stay."""
    value = np.asarray(leaf)
    if not jnp.issubdtype(value.dtype, jnp.inexact):
        return leaf
    noise = np.random.default_rng(2).standard_normal(value.shape) * (float(np.std(widened(value))) or 1.0)
    return jnp.asarray((value + noise).astype(value.dtype), value.dtype)


def is_vain(walker: Walker, step: Step, clean: Values, other: Values, floors: Floors) -> bool:
    """Tells whether this input can't judge a step: no element changes what enters it, or no input what leaves it.

    What is computed of masks and whole numbers alone may well be constant: a graph without padding.
    """

    def differs(v: int, changed: Any) -> bool:
        return relative(gap(changed, clean[v]), clean[v]) > SAFE * floors[v]

    def moves(e: int, v: int, value: Any) -> bool:
        layout = walker.layout(v)
        return layout.numbers is None and bool((walker.frame.move(e, value, layout)[0] != value).any())

    free = [v for v in step.written if v in walker.of_floats and not walker.layout(v).chosen]
    if free and not any(differs(v, other[v]) for v in free):
        return True
    pairs = [(e, v) for e in range(walker.frame.count) if walker.acts(e, step.read) for v in step.read]
    if any(differs(v, walker.frame.move(e, clean[v], walker.layout(v))[0]) for e, v in pairs):
        return False
    if walker.of_floats.isdisjoint(step.read):
        return False
    random = {v: np.random.default_rng(0).standard_normal(np.shape(clean[v])) for v in step.read}
    return any(moves(e, v, random[v]) for e, v in pairs)
