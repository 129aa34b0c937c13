"""The causes of a report, put together: one entry for all rows with the same fault and the same advice."""

import dataclasses
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from equijax.audit._report import Cause


class Named(Protocol):
    """A row of either report."""

    @property
    def name(self) -> str:
        """The name of the row."""
        ...

    @property
    def causes(self) -> "tuple[Cause, ...]":
        """Its causes."""
        ...


@dataclasses.dataclass(frozen=True)
class Advice:
    """One fault of one or several rows, and what to use instead.

    Attributes:
      kind: kind of the cause.
      names: names of the rows.
      sentence: what is wrong; of several rows with "each" in the place of their names.
      replacement: what to use instead.
    """

    kind: str
    names: tuple[str, ...]
    sentence: str
    replacement: str

    @property
    def title(self) -> str:
        """The rows and the kind of the fault."""
        if len(self.names) == 1:
            return f"{self.names[0]}: {self.kind}"
        return f"{self.kind} in {len(self.names)} rows: {', '.join(self.names)}"


def advice(rows: Iterable[Named]) -> tuple[Advice, ...]:
    """Returns the causes of all rows, in order of appearance.

    Those that differ in the name of the row only are one; details in brackets at the end are kept where all have them.
    """
    found: dict[tuple[str, str, str], list[tuple[str, str, str]]] = {}
    for row in rows:
        for cause in row.causes:
            detail = re.search(r"( \([^()]*\))?$", cause.sentence)[0]  # pyright: ignore[reportOptionalSubscript]
            plain = re.sub("`[^`]*`", "each", cause.sentence.removesuffix(detail), count=1)
            found.setdefault((cause.kind, plain, cause.replacement), []).append((row.name, cause.sentence, detail))
    result = []
    for (kind, plain, replacement), entries in found.items():
        names, sentences, details = zip(*entries, strict=True)
        shared = plain + (details[0] if len(set(details)) == 1 else "")
        result.append(Advice(kind, names, shared if len(names) > 1 else sentences[0], replacement))
    return tuple(result)
