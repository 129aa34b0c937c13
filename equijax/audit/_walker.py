"""Running a network from any cut, moving its activations, and comparing them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from equijax.audit._beyond import Beyond
from equijax.audit._error import eps_of, gap, widened
from equijax.audit._layout import Layout
from equijax.audit._network import Network
from equijax.audit._steps import Step
from equijax.nn._jaxpr import Equation, Values, evaluate

#: An error up to this many times its floor is rounding.
SAFE = 10.0

#: Variable → relative change by rounding alone.
Floors = dict[int, float]


class Walker:
    """Runs a network and compares its activations.

    Args:
      network: the network.
      state: leaves of its state.
      seed: of the random signs and activations.
    """

    def __init__(self, network: Network, state: Sequence[Any], seed: int = 0):
        self.network, self.frame = network, network.frame
        self.statics = network.known if state is network.trace.state else network.statics(state)
        self.random = np.random.default_rng(seed)
        self.results = tuple(dict.fromkeys(v for v in network.trace.result_variables if v in network.depends))
        self.beyond = [Beyond(self.frame, e) for e in range(self.frame.count)]
        program = network.trace.program
        floats = [v for v in network.trace.x_variables if jnp.issubdtype(program.avals[v].dtype, jnp.inexact)]
        self.of_floats = program.depends_on(floats)

    def run(
        self, steps: Iterable[Step], start: Values, jitter: bool = False, keep: Callable[[int], bool] = lambda v: True
    ) -> Values:
        """Evaluates steps from the given activations and returns those at their cuts, or some of them."""
        values: Values = {**self.statics, **start}
        kept: Values = dict(start)
        for step in steps:
            if jitter:
                for equation in step.equations:
                    self._jittered(equation, values)
            else:
                evaluate(step.equations, values)
            kept.update({v: values[v] for v in step.written if keep(v)})
            for v in step.dead:
                values.pop(v, None)
        return kept

    def step(self, step: Step, now: Values) -> Values:
        """Returns the activations behind a step, computed from those before it."""
        values: Values = {**self.statics, **now}
        evaluate(step.equations, values)
        return {v: values[v] for v in step.after}

    def _jittered(self, equation: Equation, values: Values) -> None:
        """Evaluates an equation, and multiplies every float that it returns by 1 ± eps."""
        evaluate([equation], values)
        for v in equation.outputs:
            dtype = self.network.trace.program.avals[v].dtype
            if jnp.issubdtype(dtype, jnp.inexact):
                exact = np.asarray(values[v])
                signs = self.random.integers(0, 2, exact.shape, np.int8) * 2 - 1
                values[v] = (exact * (1 + float(jnp.finfo(dtype).eps) * signs)).astype(exact.dtype)

    def image(self, e: int, clean: Values, other: Values, variables: Iterable[int]) -> Values:
        """Returns the moved clean activations; where they are not known (content that a crop left out), ``other``'s."""
        result: Values = {}
        for v in variables:
            value, known = self.beyond[e].move(clean[v], self.layout(v))
            result[v] = value if known is None else np.where(known, value, np.asarray(other[v]))
        return result

    def layout(self, v: int) -> Layout:
        """Returns the layout of a variable at a cut."""
        layout = self.network.layouts[v]
        if layout is None:
            raise ValueError(f"variable {v} has no known action")
        return layout

    def acts(self, e: int, variables: Iterable[int]) -> bool:
        """Tells whether an element has an action on all of these activations."""
        return self.network.acts(e, variables)

    def difference(self, e: int, run: Values, clean: Values, v: int) -> np.ndarray:
        """Returns a run's activation minus the moved clean one, 0 where that is not known."""
        value, known = self.beyond[e].move(clean[v], self.layout(v))
        return gap(run[v], value, known)

    def compare(self, e: int, run: Values, clean: Values, variables: Iterable[int], floors: Floors) -> tuple[float, float]:
        """Returns the relative error of the variable that is worst in terms of its floor, and that floor."""
        worst = (0.0, float(np.finfo(np.float64).eps))
        for v in variables:
            error = relative(self.difference(e, run, clean, v), clean[v])
            if error / floors[v] >= worst[0] / worst[1]:
                worst = (error, floors[v])
        return worst

    def floor_of(self, clean: Values, jittered: Values) -> Floors:
        """Returns for every activation the relative change by rounding alone; at least one unit of rounding."""
        return {v: max(relative(gap(jittered[v], clean[v]), clean[v]), eps_of(clean[v])) for v in clean if v in jittered}


def size_of(array: np.ndarray) -> float:
    """Returns the Euclidean norm of all entries."""
    flat = array.reshape(-1)
    return float(np.sqrt(np.einsum("i,i->", flat, flat.conj()).real))  # in one thread: others may have the rest


def plain_size(value: Any) -> float:
    """Returns the Euclidean norm of an array of any dtype, in float64, without a copy of it."""
    flat = np.asarray(value).reshape(-1)
    kind = np.complex128 if np.iscomplexobj(flat) else np.float64
    return float(np.sqrt(abs(np.einsum("i,i->", flat, flat.conj(), dtype=kind, casting="unsafe"))))


def relative(difference: np.ndarray, scale: Any) -> float:
    """Returns the size of a difference in units of an array's, in which infinities don't count."""
    return size_of(difference) / (finite_size(scale) or 1.0)


def finite_size(value: Any) -> float:
    """Returns the Euclidean norm of an array, in which infinities don't count."""
    wide = widened(value)
    infinite = np.isinf(wide)
    return size_of(np.where(infinite, 0.0, wide) if infinite.any() else wide)
