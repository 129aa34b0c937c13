"""Running all wrong uses of a part of the library."""

import importlib
from collections.abc import Iterator

from tests.wrong_uses.trying import Outcome, outcomes

FAMILIES = ("groups",)


def run(family: str) -> Iterator[Outcome]:
    """Tries every wrong use of one part."""
    for use in importlib.import_module(f"tests.wrong_uses.{family}").USES:
        yield from outcomes(use)
