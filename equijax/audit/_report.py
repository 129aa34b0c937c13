"""What an audit found: rows, causes, and the whole report."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from equijax.audit._html import save_html
from equijax.audit._plot import save_plot
from equijax.audit._table import as_text, renderable

if TYPE_CHECKING:
    from equijax.audit._plan import Plan

Verdict = Literal[
    "exact by construction",
    "exact at this shape",
    "exact at these parameters only",
    "exact as a block",
    "approximate",
    "broken",
    "lost here",
    "action unknown",
]

#: The verdicts that accuse a row, the worst first.
ACCUSING: tuple[Verdict, ...] = ("broken", "lost here", "approximate", "exact at these parameters only")

#: What is known of a row, or of the whole network.
Judgement = Literal["kept", "broken", "not judged"]

CauseKind = Literal[
    "kernel",
    "phase",
    "border",
    "position",
    "dense",
    "fibre",
    "nonlinearity",
    "order",
    "aliasing",
    "mask",
    "tie",
    "batch",
    "state",
    "randomness",
    "unknown",
]


@dataclasses.dataclass(frozen=True)
class Cause:
    """One reason why a row breaks the symmetry.

    Attributes:
      kind: ``"kernel"`` (weights that the point group moves onto each other differ), ``"phase"`` (subsampling), ``"border"``
        (padding), ``"position"`` (an operand that depends on the place), ``"dense"`` (flatten + dense), ``"fibre"``
        (coordinates that the group mixes are treated one by one), ``"nonlinearity"`` (on a fibre that is not permuted),
        ``"order"`` (along a moved axis), ``"aliasing"``, ``"mask"``, ``"tie"``, ``"batch"``, ``"state"``, ``"randomness"``,
        ``"unknown"``.
      sentence: what is wrong, in words.
      replacement: what to use instead.
    """

    kind: CauseKind
    sentence: str
    replacement: str


@dataclasses.dataclass(frozen=True)
class Row:
    """One step of the network: a call of a submodule, an operation between submodules, or a block of them.

    Attributes:
      name: the module path with ``#2`` for its second call (``"blocks.0.conv"``), or an operation and where it stands
        (``"reduce_window_max (model.py:23)"``). Unique in a report.
      path: path of the module, ``""`` for operations of the model itself.
      operation: class of the module, or names of the operations.
      action_in: how the group acts on the input of the step, in words.
      action_out: how it acts on the output, and whether that was declared, propagated or assumed.
      verdict: see :data:`Verdict`.
      local_error: ‖f(g·a) − g·f(a)‖ / ‖f(a)‖, the largest over the elements that act on both sides.
      floor: the same for rounding alone.
      share: signed share of the end-to-end error, pooled over samples and elements; the shares of all rows add up to 1. None
        where the end-to-end error is at its floor.
      share_error: standard error of ``share`` over the samples; None for one sample.
      term: size of the row's term of the telescoping sum, relative to the output.
      survival: ``term / local_error``: what the layers behind make of the error.
      border: part of the squared local error that lies in the border band of the output, from 0 to 1; None without a grid.
      causes: the reasons.
      members: what the row consists of: names of modules and operations.
      error_map: root mean square of the local error over samples, elements and features at each place of the output's grid;
        None without a grid.
      lost: labels of the elements that have no action behind this row.
      vain: True where the input tries nothing, at the given and at jittered parameters: no element changes what enters the
        row (a constant image), or no other input what leaves it (a dead or saturated layer).
      doubt: what can be read off the operations of a row against it, although no error was measured; ``""`` for nothing.
      leaks: what is no error of equivariance, kind of the cause → ‖change of what must not change‖ / ‖it‖ behind the row.
        ``"mask"``: of the valid entries, when masked ones are exchanged; ``"batch"``: of the first sample, or of a graph,
        when others are; ``"state"``: of the model's state, when it is called. Empty where nothing leaks.
    """

    name: str
    path: str
    operation: str
    action_in: str
    action_out: str
    verdict: Verdict
    local_error: float
    floor: float
    share: float | None = None
    share_error: float | None = None
    term: float = 0.0
    survival: float | None = None
    border: float | None = None
    causes: tuple[Cause, ...] = ()
    members: tuple[str, ...] = ()
    error_map: np.ndarray | None = None
    lost: tuple[str, ...] = ()
    vain: bool = False
    doubt: str = ""
    leaks: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def leak(self) -> float:
        """The largest of ``leaks``; 0.0 where nothing leaks."""
        return max(self.leaks.values(), default=0.0)

    @property
    def only_leaks(self) -> bool:
        """True where the row has a leak, or changes the state, and is exact else."""
        beside = {cause.kind for cause in self.causes} <= {"mask", "batch", "state"}
        return bool(self.leaks) and beside and self.ratio <= 10

    @property
    def judgement(self) -> Judgement:
        """``"broken"`` here or at other parameters, ``"not judged"`` if nothing is known or was tried, else ``"kept"``."""
        if self.accused:
            return "broken"
        return "not judged" if self.vain or self.doubt or self.verdict == "action unknown" else "kept"

    @property
    def accused(self) -> bool:
        """True where the verdict says that the row breaks the symmetry, here or at other parameters."""
        return self.verdict in ACCUSING

    @property
    def ratio(self) -> float:
        """``local_error / floor``: up to 10 is rounding."""
        return self.local_error / self.floor if self.floor else (np.inf if self.local_error else 0.0)


@dataclasses.dataclass(frozen=True)
class Consistency:
    """How often a classifier keeps its prediction under shifts.

    Attributes:
      circular: part of (sample, circular shift) pairs with an unchanged prediction; None where not measured.
      crops: part of (sample, pair of crops) with equal predictions; None where the model does not take the crop's size.
      shifts: number of shifts drawn.
      note: why a figure is missing.
    """

    circular: float | None
    crops: float | None
    shifts: int
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Infinitesimal:
    """The Lie derivative of the network along one generator.

    Attributes:
      name: the generator, such as ``"shift along axis 0"`` or ``"direction 2 of the Lie algebra"``.
      error: ‖Lf(x)‖ / ‖f(x)‖, of shifts per pixel.
      shares: signed share of each row, in the order of the report's rows; empty where the error is at the floor.
      local: local Lie derivative of each row, relative to its output.
    """

    name: str
    error: float
    shares: tuple[float, ...]
    local: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of :func:`equijax.audit.explain`.

    Attributes:
      model: class of the model.
      group: the group, as text.
      input_shape: shapes of the input, as text.
      elements: a label for each element that was measured.
      error: end-to-end error of each element, float64; NaN where the element has no action on the output. The model is
        computed with dense convolutions, as for the rows; see ``error_as_run``.
      floor: end-to-end error that rounding alone makes.
      rows: the steps, in order.
      lost: for each element the name of the row behind which it has no action, or ``""``.
      cancellation: sum of the sizes of the terms over the size of their sum: 1 where nothing cancels; None at the floor.
      infinitesimal: Lie derivatives, one for each generator (continuous shifts, directions of a Lie algebra).
      consistency: of predictions under shifts, or None where the output is no row of scores.
      notes: sentences about what was found beside the rows (state that changes, randomness, mixing of the batch).
      leaks: ``"mask"`` and ``"batch"`` → relative change of the output when masked entries, or other samples, are exchanged;
        where rows leak.
      versions: of Python, jax, flax and equijax.
      seconds: time that the audit took.
    """

    model: str
    group: str
    input_shape: str
    elements: tuple[str, ...]
    error: np.ndarray
    floor: float
    rows: tuple[Row, ...]
    lost: tuple[str, ...]
    cancellation: float | None = None
    infinitesimal: tuple[Infinitesimal, ...] = ()
    consistency: Consistency | None = None
    notes: tuple[str, ...] = ()
    leaks: Mapping[str, float] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    _as_run: np.ndarray | None = dataclasses.field(default=None, repr=False)
    _planned: Callable[[], "Plan"] | None = dataclasses.field(default=None, repr=False, compare=False)

    @functools.cached_property
    def plan(self) -> "Plan | None":
        """The mends that make the network exact, in the order of their shares, tried by replay; made when first asked for.

        None of a report that was loaded, or made by hand, and had no plan yet.
        """
        return None if self._planned is None else self._planned()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_planned"}  # it holds the whole network

    @property
    def error_as_run(self) -> np.ndarray:
        """End-to-end error of each element as the model runs, with the algorithms of its convolutions; float64.

        NaN where ``error`` is; the same as ``error`` where all convolutions are dense.
        """
        return self.error if self._as_run is None else self._as_run

    @property
    def broken_as_run(self) -> tuple[str, ...]:
        """Labels of the elements whose error is rounding with dense convolutions, but not as the model runs."""
        bound = 10 * self.floor
        pairs = zip(self.elements, self.error, self.error_as_run, strict=True)
        return tuple(label for label, dense, error in pairs if dense <= bound and not error <= bound)

    @property
    def accused(self) -> tuple[Row, ...]:
        """The rows that break the symmetry, here or at other parameters; in order."""
        return tuple(row for row in self.rows if row.accused)

    @property
    def unjudged(self) -> tuple[Row, ...]:
        """The rows of which nothing is known, or which the input does not try; in order."""
        return tuple(row for row in self.rows if row.judgement == "not judged")

    @property
    def judgement(self) -> Judgement:
        """What is known of the whole network: ``"kept"`` where every row is and every error is rounding, also as it runs."""
        if self.accused or self.undefined or self.broken_as_run or bool((np.nan_to_num(self.error) > 10 * self.floor).any()):
            return "broken"
        return "not judged" if self.unjudged else "kept"

    @property
    def exact(self) -> bool:
        """True where the end-to-end error of every element is rounding, also as the model runs, and every row was kept.

        An error that is no number although its element has an action on the output (the model returns NaN) is not exact.
        """
        return self.judgement == "kept"

    @property
    def undefined(self) -> tuple[str, ...]:
        """Labels of the elements whose error is NaN although no row lost them: the output holds NaN or infinities."""
        figures = zip(self.elements, self.error, self.lost, strict=True)
        return tuple(label for label, error, row in figures if np.isnan(error) and not row)

    def __getitem__(self, name: str) -> Row:
        """Returns the row of this name."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"`name` is {name!r}; the rows are {[row.name for row in self.rows]}.")

    def table(self, *, every: bool = False, width: int = 80) -> str:
        """Returns the report as plain text; ``print(report)`` does it with exact rows counted.

        Args:
          every: show exact rows too.
          width: characters in a line.
        """
        return as_text(self, every, width)

    def __str__(self) -> str:
        return self.table()

    def __rich__(self) -> Any:
        return renderable(self)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Saves a picture: shares by row, error by element, and where in the image the error sits.

        Args:
          path: file to write; its ending says the format (``.png``, ``.svg``, ``.pdf``).

        Raises:
          ImportError: matplotlib is not installed; ``pip install 'equijax[audit]'``.
        """
        save_plot(self, path)

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Writes one HTML page with a table that sorts and the pictures; it opens from disk and loads nothing.

        Raises:
          ImportError: matplotlib is not installed; ``pip install 'equijax[audit]'``.
        """
        save_html(self, path)

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as plain lists, numbers and strings for JSON; NaN and infinities become None."""
        plain = _plain(dataclasses.asdict(dataclasses.replace(self, _planned=None)))
        del plain["_planned"], plain["_as_run"]
        plain |= {"error_as_run": _plain(self.error_as_run), "exact": self.exact, "judgement": self.judgement}
        plan = self.plan
        plain["plan"] = None if plan is None else _plain(dataclasses.asdict(plan)) | {"complete": plan.complete}
        for row, found in zip(self.rows, plain["rows"], strict=True):
            found |= {"judgement": row.judgement, "leak": _plain(row.leak)}
        return plain

    def assert_exact(self) -> None:
        """Does nothing where the network is exact; for tests.

        Raises:
          AssertionError: it is not; the message is the table, with the causes and what to use instead.
        """
        if self.exact:
            return
        reason = "the equivariance of the network is undefined" if self.undefined else "the network is not equivariant"
        if self.accused and not self.undefined and all(row.only_leaks for row in self.accused):
            reason = "the network lets something through that must not matter, or changes its state"
        if self.judgement == "not judged":
            rows = ", ".join(f"`{row.name}`" for row in self.unjudged)
            reason = f"whether the network is equivariant is not known, as these rows were not judged: {rows}"
        raise AssertionError(f"{reason}.\n{self.table(width=120)}")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
