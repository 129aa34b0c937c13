"""The plan: which mends make a network exact, tried by replaying it with them."""

import dataclasses
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from equijax.audit._code import CHOICE, code_for
from equijax.audit._findings import Walk
from equijax.audit._mend import KINDS, Mends
from equijax.audit._network import Network
from equijax.audit._replayed import Replayed
from equijax.audit._table import figure
from equijax.audit._walker import SAFE

if TYPE_CHECKING:
    from equijax.audit._report import Row


@dataclasses.dataclass(frozen=True)
class Mend:
    """What to change in one row.

    Attributes:
      name: the name of the row.
      kinds: what is mended, kinds of causes; ``"choice"`` where samples are to be brought back to where a layer that chooses
        by the data took them from.
      share: the row's share of the end-to-end error.
      code: what to write instead.
    """

    name: str
    kinds: tuple[str, ...]
    share: float | None
    code: str

    @property
    def title(self) -> str:
        """The row, what is mended, and the share."""
        share = "" if self.share is None else f", {round(100 * self.share)} % of the error"  # rounded: not -0
        return f"{self.name} ({', '.join(self.kinds)}{share})"

    @property
    def parts(self) -> tuple[str, ...]:
        """The code, and where it shares the choice of another row how it is called."""
        code, *words = self.code.split("; as `short`")
        return (code, *(f"as `short`{one}" for one in words))


@dataclasses.dataclass(frozen=True)
class Plan:
    """The mends of a network, in the order of their shares.

    Every figure was measured by replaying the network with the mends made. The replay knows the element, where a layer
    that chooses its samples looks at the data, so that only the last figure is one of the network that is rebuilt.

    Attributes:
      mends: what to change.
      errors: largest end-to-end error without a mend, with the first one, with the first two, …
      floor: end-to-end error that rounding alone makes.
      remaining: names of the accused rows that no mend removes.
    """

    mends: tuple[Mend, ...]
    errors: tuple[float, ...]
    floor: float
    remaining: tuple[str, ...]

    @property
    def error(self) -> float:
        """End-to-end error with all mends."""
        return self.errors[-1]

    @property
    def complete(self) -> bool:
        """True where the mended network is exact."""
        return not self.remaining and self.error <= SAFE * self.floor

    @property
    def sentence(self) -> str:
        """What the mends achieve."""
        if not self.mends:
            return "No mend is known." if self.remaining else "Nothing to mend."
        count = f"these {len(self.mends)} mends" if len(self.mends) > 1 else "this mend"
        verdict = "which is rounding" if self.complete else "which is not exact"
        return f"With {count} the end-to-end error is {figure(self.error)}, {verdict}; without, {figure(self.errors[0])}."

    @property
    def stays(self) -> str:
        """What no mend removes; ``""`` where there is nothing."""
        return f"No mend removes the error of {', '.join(self.remaining)}." if self.remaining else ""

    def __str__(self) -> str:
        fill = textwrap.TextWrapper(77, break_long_words=False, break_on_hyphens=False)
        lines = [fill.fill(self.sentence)]
        margin = " " * (len(str(len(self.mends))) + 2)
        fold = textwrap.TextWrapper(77, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False)
        for number, (mend, error) in enumerate(zip(self.mends, self.errors[1:], strict=True), 1):
            lines += fold.wrap(f"{f'{number}.':{len(margin)}}{mend.title}: error left {figure(error)}")
            lines += [one for part in mend.parts for one in fold.wrap(margin + part)]
        return "\n".join([*lines, *fill.wrap(self.stays)])


def plan_of(subject: Any, found: Walk, rows: Sequence["Row"]) -> Plan:
    """Makes the plan for the rows of a report.

    Args:
      subject: what was audited.
      found: what the walk through it found, in the order of the rows.
      rows: the rows.
    """
    network: Network = subject.network
    causes = {i: frozenset(cause.kind for cause in row.causes) for i, row in enumerate(rows) if row.accused}
    unknown = {i for i, own in causes.items() if not own or own - set(KINDS)}
    kinds: dict[int, Mends] = {i: own & set(KINDS) for i, own in causes.items() if "order" not in own}  # it is meant so
    replayed = Replayed(network, found, subject.x, subject.moved)
    if any("phase" in own for own in kinds.values()):  # who goes back to a fine grid has to be told where samples come from
        back = [i for i, finding in enumerate(found.findings) if replayed.returns(finding.step)]
        kinds.update({i: kinds.get(i, frozenset()) | {CHOICE} for i in back})
    stays = replayed.stays({i: own for i, own in kinds.items() if own})
    order = sorted(
        (i for i in kinds if kinds[i] and i not in stays), key=lambda i: (i not in causes, -(rows[i].share or 0.0))
    )
    made: dict[int, Mends] = {}
    errors = [replayed.error(made)]
    mends: list[Mend] = []
    for i in order:
        own = made[i] = kinds[i]
        errors.append(replayed.error(made))
        code = code_for(network, found.findings[i].step, own, replayed.sharing(i, kinds))
        mends.append(Mend(rows[i].name, tuple(k for k in (*KINDS, CHOICE) if k in own), rows[i].share, code))
    return Plan(tuple(mends), tuple(errors), found.floor, tuple(rows[i].name for i in sorted(unknown | stays)))
