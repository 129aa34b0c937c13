"""Sums over neighbours, measured by ``neighbour_sums.py`` in the folder above, as rows of the tables here."""

import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any, ClassVar

sys.path.append(str(Path(__file__).resolve().parents[1]))
from neighbour_sums import cases, sum_rows  # noqa: E402  # pyright: ignore[reportMissingImports]
from neighbour_sums import differences as differences  # noqa: E402  # pyright: ignore[reportMissingImports]

graphs = functools.cache(cases)  # name -> (senders, receivers, number of nodes)
NAMES = {"chosen": "equijax", "segment_sum": "nnx", "pyg": "pyg"}


@dataclasses.dataclass(frozen=True)
class NeighbourSum:
    """The sum over the neighbours of every node of a graph."""

    graph: str
    features: int

    family: ClassVar[str] = "neighbours"
    modes: ClassVar[tuple[str, ...]] = ("forward", "gradient")
    peer: ClassVar[str] = "pyg"

    @property
    def name(self) -> str:
        """What a table shows."""
        return f"sum on {self.graph} ({self.features})"

    def rows(self, peer_python: Path | None, rounds: int) -> list[dict]:
        """Measures, and names the columns as those of the other families."""
        python = None if peer_python is None else str(peer_python)
        return [self._row(found) for found in sum_rows(self.graph, self.features, python, rounds, weightings=(False,))]

    def _row(self, found: dict) -> dict[str, Any]:
        row: dict[str, Any] = {"family": self.family, "case": self.name, "pass": found["pass"]}
        row["input"] = [graphs()[self.graph][2], self.features]
        row |= {f"{name}_ms": found[f"{form}_ms"] for form, name in NAMES.items() if f"{form}_ms" in found}
        others = [name for name in ("nnx", "pyg") if f"{name}_ms" in row]
        row |= {f"{name}_over_equijax": row[f"{name}_ms"] / row["equijax_ms"] for name in others}
        row |= {f"{NAMES[form]}_compile_s": found[f"{form}_compile_s"] for form in ("chosen", "segment_sum")}
        return row | {"difference": found["difference"]}


NEIGHBOURS = [NeighbourSum(graph, features) for graph in graphs() for features in (16, 64)]
