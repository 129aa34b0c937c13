"""From measurements to rows: shares, verdicts, borders, causes."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from equijax.audit._atoms import Base
from equijax.audit._causes import causes_of
from equijax.audit._checks import SideEffects, side_effects
from equijax.audit._findings import Finding, Walk
from equijax.audit._infinitesimal import SHIFT
from equijax.audit._layout import batch_size, describe
from equijax.audit._network import Network
from equijax.audit._reader import Reader
from equijax.audit._report import Cause, Infinitesimal, Row, Verdict
from equijax.audit._sentences import cause
from equijax.audit._walker import SAFE, finite_size

#: A local error below this is called approximate, above it broken.
SMALL = 0.01

#: A local Lie derivative above this is aliasing.
ALIASED = 1e-3


@dataclasses.dataclass(frozen=True)
class Shares:
    """The terms of the telescoping sum, projected on the end-to-end error.

    Attributes:
      share: of each finding, None where the end-to-end error is rounding.
      error: standard error over the samples.
      term: size of each term relative to the output.
      cancellation: sum of the sizes of the terms over the size of their sum.
    """

    share: list[float | None]
    error: list[float | None]
    term: list[float]
    cancellation: float | None


def rows_of(
    subject: Any, found: Walk, second: Walk | None, lie: Sequence[Infinitesimal] = ()
) -> tuple[tuple[Row, ...], SideEffects, float | None]:
    """Returns the rows of a report, what was found beside errors of equivariance, and the cancellation."""
    network: Network = subject.network
    shares = shares_of(network, found)
    woken = [] if second is None else [i for i, one in enumerate(second.findings) if second.is_visible(one)]
    beside = side_effects(subject, found)
    rows, names, reader = [], {}, Reader(network)
    for i, finding in enumerate(found.findings):
        name = finding.step.name
        names[name] = names.get(name, 0) + 1
        if names[name] > 1:
            name = f"{name} ({names[name]})"
        again = second.findings[i] if second is not None and i < len(second.findings) else None
        rows.append(
            _row(
                subject,
                reader,
                found,
                second,
                finding,
                again,
                name,
                shares,
                i in woken,
                i,
                (*beside.causes.get(i, ()), *_aliasing(network, finding, i, lie)),
                beside.sizes.get(i, {}),
            )
        )
    return tuple(rows), beside, shares.cancellation


def shares_of(network: Network, found: Walk) -> Shares:
    """Pools the terms over samples and elements: Σ ⟨T_i, D⟩ / Σ |D|², per result, with the error over the samples."""
    results = found.results
    counted = [e for e, error in found.errors.items() if error > SAFE * found.floor]
    samples = [np.shape(found.clean[v])[0] if np.ndim(found.clean[v]) else 1 for v in results]
    batch = samples[0] if results and all(batch_size(network.layouts.get(v), samples[0]) for v in results) else 1
    scale = sum(finite_size(found.clean[v]) ** 2 for v in results) or 1.0

    def pooled(a: list[np.ndarray], b: list[np.ndarray]) -> np.ndarray:
        return sum((np.real(x * np.conj(y)).reshape(batch, -1).sum(1) for x, y in zip(a, b, strict=True)), np.zeros(batch))

    weights = sum((pooled(found.total[e], found.total[e]) for e in counted), np.zeros(batch))
    total = float(weights.sum())
    share: list[float | None] = []
    error: list[float | None] = []
    term: list[float] = []
    for finding in found.findings:
        own = [e for e in finding.terms if e in found.total]
        squares = sum(float(pooled(finding.terms[e], finding.terms[e]).sum()) for e in own)
        term.append(float(np.sqrt(squares / max(len(own), 1) / scale)))
        if not counted:
            share.append(None)
            error.append(None)
            continue
        parts = sum((pooled(finding.terms[e], found.total[e]) for e in own if e in counted), np.zeros(batch))
        own_share = float(parts.sum()) / total
        share.append(own_share)
        spread = float(np.sqrt(np.sum((parts - own_share * weights) ** 2) * batch / max(batch - 1, 1))) / total
        error.append(spread if batch > 1 else None)
    sizes = [
        float(np.sqrt(sum(float(pooled(f.terms[e], f.terms[e]).sum()) for e in f.terms if e in counted)))
        for f in found.findings
    ]
    return Shares(share, error, term, sum(sizes) / np.sqrt(total) if counted else None)


def _row(
    subject: Any, reader: Reader, found: Walk, second: Walk | None, finding: Finding, again: Finding | None, name: str,
    shares: Shares, woken: bool, i: int, extra: tuple[Cause, ...], leaks: dict[str, float],
) -> Row:  # fmt: skip
    network: Network = subject.network
    verdict = _verdict(reader, found, finding, again, shares.term[i], woken)
    causes: tuple[Cause, ...] = extra
    if verdict in ("broken", "approximate", "lost here"):
        causes += causes_of(subject, found, finding) if finding.broken else ()
        if finding.tie:
            causes += (TIE,)
    elif verdict == "exact at these parameters only" and second is not None and again is not None:
        causes += causes_of(subject, second, again)
    kinds: dict[str, Cause] = {}
    for one in causes:
        kinds.setdefault(one.kind, one)
    if set(kinds) & {"state", "randomness", "batch", "mask"}:
        kinds.pop("unknown", None)
        if "randomness" in kinds:
            kinds.pop("position", None)
        if verdict.startswith("exact"):
            verdict = "broken"
    exact = verdict.startswith("exact") and not kinds and not finding.healed
    worst = max(finding.errors.values(), key=lambda pair: pair[0] / pair[1], default=(0.0, float(np.finfo(float).eps)))
    border, picture = _where(network, found, finding)
    error, floor = worst
    return Row(
        name=name,
        path=finding.step.path,
        operation=_operation(network, finding),
        action_in=_describe(network, finding.step.before),
        action_out=_describe(network, finding.step.written or finding.step.after, True),
        verdict=verdict,
        local_error=error,
        floor=floor,
        share=shares.share[i],
        share_error=shares.error[i],
        term=shares.term[i],
        survival=shares.term[i] / error if finding.broken and error else None,
        border=border,
        causes=tuple(kinds.values()),
        members=finding.step.members,
        error_map=picture,
        lost=tuple(network.frame.label(e) for e in sorted(finding.lost)),
        vain=finding.vain and (again is None or again.vain),
        doubt=reader.doubt(finding.step) if exact else "",
        leaks=leaks,
    )


def _aliasing(network: Network, finding: Finding, i: int, lie: Sequence[Infinitesimal]) -> tuple[Cause, ...]:
    """Returns the cause of a step that respects whole shifts but no parts of them."""
    if finding.broken or not any(one.local[i] > ALIASED for one in lie if one.name.startswith(SHIFT)):
        return ()
    return (cause("aliasing", network, finding.step),)


TIE = Cause(
    "tie",
    "rounding alone changes the choice that is made here: two candidates are (nearly) equal",
    "break ties by data that moves along (a learned score), or report the margin of the choice",
)


def _verdict(reader: Reader, found: Walk, finding: Finding, again: Finding | None, term: float, woken: bool) -> Verdict:
    if finding.broken:
        if finding.broken <= finding.lost:
            return "lost here"
        seen = finding.broken <= set(found.total)
        if seen and term <= SAFE * found.floor:
            if woken:
                return "exact at these parameters only"
            return "action unknown"  # nothing of it is left at the output: perhaps the layers speak of another action
        error = max((finding.errors[e][0] for e in finding.broken if e in finding.errors), default=np.inf)
        return "broken" if error > SMALL else "approximate"
    if finding.tie and not (finding.vain and reader.chooses(finding.step)):  # a constant image leaves no choice
        return "approximate"
    if again is not None and again.broken:
        return "exact at these parameters only"
    if finding.healed:
        return "exact as a block"
    windows = ("conv_general_dilated", "reduce_window", "slice", "gather")
    return (
        "exact at this shape"
        if any(eq.name.startswith(windows) for eq in finding.step.equations)
        else "exact by construction"
    )


def _operation(network: Network, finding: Finding) -> str:
    modules = [network.trace.modules.get(call.path) for call in finding.step.calls]
    words = [type(m).__name__ for m in modules if m is not None]
    return ", ".join(dict.fromkeys(words)) or finding.step.members[0]


def _describe(network: Network, variables: tuple[int, ...], source: bool = False) -> str:
    if not variables:
        return "constant"
    v = variables[0]
    layouts = [network.layouts.get(w) for w in variables]
    features = [layout for layout in layouts if layout is None or layout.numbers is None]
    text = "; ".join(dict.fromkeys(describe(layout) for layout in features or layouts))
    if not source:
        return text
    return f"{text} ({'declared' if v in network.declared else 'assumed' if v in network.assumed else 'propagated'})"


def _where(network: Network, found: Walk, finding: Finding) -> tuple[float | None, np.ndarray | None]:
    """Returns the part of the squared error in the border band of the output, and a picture of the error."""
    elements = [e for e in finding.broken if e in finding.errors]
    for v in finding.step.written:
        layout = network.layouts.get(v)
        if not network.frame.is_grid or not elements or layout is None or len({a.copy for a in layout.base}) != 1:
            continue
        bases = [k for k, axis in enumerate(layout.axes) if len(axis) == 1 and isinstance(axis[0], Base)]
        if len(bases) != len(layout.base):
            continue
        squares = np.zeros([layout.shape[k] for k in bases])
        for e in elements:
            squares = squares + finding.pictures.get(e, {}).get(v, 0.0)
        picture = np.sqrt(squares / len(elements))
        inner = np.zeros_like(picture, bool)
        inner[tuple(slice(max(1, n // 8), n - max(1, n // 8)) for n in picture.shape)] = True
        total = float(np.sum(picture**2))
        if total:
            return float(np.sum(picture[~inner] ** 2)) / total, picture
    return None, None
