"""What a rule is, and what it needs to know about an equation."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from equijax.audit._atoms import Atom
from equijax.audit._layout import Layout, normalised


@dataclasses.dataclass(frozen=True)
class Operand:
    """One input of an equation.

    Attributes:
      shape: its shape.
      depends: whether it depends on the input of the network.
      layout: its layout; None where it is unknown or where it does not depend on the input.
      value: its value where it does not depend on the input and is known.
      learned: whether it depends on the parameters of the network.
    """

    shape: tuple[int, ...]
    depends: bool
    layout: Layout | None = None
    value: Any = None
    learned: bool = False


Params = Mapping[str, Any]
Operands = list[Operand]
Shapes = list[tuple[int, ...]]
Layouts = list[Layout | None]
Rule = Callable[[Params, Operands, Shapes], Layouts]


def assembled(axes: list[tuple[Atom, ...] | None]) -> Layout | None:
    """Returns a layout of axes, None where one of them is unknown."""
    kept = [axis for axis in axes if axis is not None]
    return normalised(tuple(kept)) if len(kept) == len(axes) else None
