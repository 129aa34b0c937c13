"""What was measured at every step of a network."""

import dataclasses

import numpy as np

from equijax.audit._steps import Step
from equijax.audit._walker import SAFE, finite_size, size_of
from equijax.nn._jaxpr import Values


@dataclasses.dataclass
class Finding:
    """What was measured at one step.

    Attributes:
      step: the step.
      errors: element → (relative error, floor) behind the step.
      broken: the elements whose error is above the floor and does not heal.
      lost: the elements that have no action behind the step although they had one before.
      terms: element → what the step contributes to each result.
      healed: True where the step is several ones of which only the whole is exact.
      tie: True where rounding alone changes the step's output by far more than rounding.
      vain: True where nothing was tried: no element changes what enters the step, or no other input what leaves it.
      pictures: broken element → variable → mean squared error at every place.
    """

    step: Step
    errors: dict[int, tuple[float, float]] = dataclasses.field(default_factory=dict)
    broken: set[int] = dataclasses.field(default_factory=set)
    lost: set[int] = dataclasses.field(default_factory=set)
    terms: dict[int, list[np.ndarray]] = dataclasses.field(default_factory=dict)
    healed: bool = False
    tie: bool = False
    vain: bool = False
    pictures: dict[int, dict[int, np.ndarray]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Walk:
    """The result of walking through a network with given parameters.

    Attributes:
      findings: one for each step, in order.
      statics: the values of everything that does not depend on the input.
      clean: activations at the cuts.
      moved: element → results of the run that starts from the moved input, and activations of which parts can't be told
        from those of the other run.
      floors: variable → relative change by rounding alone.
      total: element → end-to-end difference of each result; only elements that act on all of them.
      errors: element → relative end-to-end error.
      results: the variables of the results.
    """

    findings: list[Finding]
    statics: Values
    clean: Values
    moved: dict[int, Values]
    floors: dict[int, float]
    total: dict[int, list[np.ndarray]]
    errors: dict[int, float]
    results: tuple[int, ...] = ()

    @property
    def floor(self) -> float:
        """End-to-end error that rounding alone makes."""
        return max((self.floors[v] for v in self.results), default=float(np.finfo(np.float64).eps))

    def is_visible(self, finding: Finding) -> bool:
        """Tells whether something is left at the output of what a step breaks."""
        scale = sum(finite_size(self.clean[v]) ** 2 for v in self.results) ** 0.5 or 1.0
        largest = max((size_of(part) for parts in finding.terms.values() for part in parts), default=0.0)
        return largest > SAFE * self.floor * scale
