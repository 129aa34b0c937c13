"""What was read off a model without data."""

import dataclasses
import textwrap
from collections.abc import Mapping
from typing import Any

from equijax.audit._advice import advice
from equijax.audit._report import Cause


@dataclasses.dataclass(frozen=True)
class StaticRow:
    """What was read off one step.

    Attributes:
      name: as in :class:`equijax.audit.Row`.
      action_out: how the group acts on the output of the step, in words.
      causes: what breaks the symmetry, with replacements.
    """

    name: str
    action_out: str
    causes: tuple[Cause, ...]


@dataclasses.dataclass(frozen=True)
class StaticReport:
    """The result of :func:`equijax.audit.static`.

    Attributes:
      model: class of the model.
      group: the group, as text.
      steps: for every axis of the grid the step of the shifts that are respected, None where none is; empty without a grid.
      kept: labels of the other elements that are respected, some with a shift of their own.
      lost: label of an element → why it is not respected.
      shift_reason: why no shift, or not every shift is respected; ``""`` where every one is.
      rows: the steps, in order.
      limits: names of blocks inside which nothing is known.
      unknown: label of an element → why it is not known whether it is respected.
    """

    model: str
    group: str
    steps: tuple[int | None, ...]
    kept: tuple[str, ...]
    lost: Mapping[str, str]
    shift_reason: str
    rows: tuple[StaticRow, ...]
    limits: tuple[str, ...]
    unknown: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """True where nothing was found that breaks the symmetry, and no element is left of which it is not known."""
        return not self.lost and not self.unknown and not any(row.causes for row in self.rows)

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        parts = []
        if self.steps:
            if all(step == 1 for step in self.steps):
                parts.append("exact for all shifts")
            elif None not in self.steps:
                sizes = " and ".join(str(step) for step in dict.fromkeys(self.steps))
                parts.append(f"exact for shifts by multiples of {sizes}, because {self.shift_reason}")
            else:
                parts.append(f"not exact for shifts, because {self.shift_reason}")
        if self.kept:
            parts.append(f"exact for {', '.join(self.kept)}")
        for words, reasons in (("not for", self.lost), ("not known for", self.unknown)):
            joined: dict[str, list[str]] = {}
            for label, reason in reasons.items():
                joined.setdefault(reason, []).append(label)
            parts += [f"{words} {', '.join(labels)}, because {reason}" for reason, labels in joined.items()]
        return "; ".join(parts) or "nothing is known"

    def __str__(self) -> str:
        parts = [f"{self.model} under {self.group}: {self.sentence}."]
        parts += [f"  {one.title}: {one.sentence}. Use {one.replacement}." for one in advice(self.rows)]
        parts += [f"  nothing is known inside {name}" for name in self.limits]
        fill = textwrap.TextWrapper(80, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False).fill
        return "\n".join(map(fill, parts))

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as plain lists and strings for JSON."""
        return dataclasses.asdict(self) | {"sentence": self.sentence, "exact": self.exact}
