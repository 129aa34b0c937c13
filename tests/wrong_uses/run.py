"""Running all wrong uses of a part of the library, and which public names they reach."""

import importlib
import inspect
from collections.abc import Iterator

import equijax as ej
from tests.wrong_uses.trying import Outcome, outcomes

FAMILIES = (
    "groups",
    "reps",
    "actions",
    "sharing",
    "checks",
    "graphs",
    "graph_functions",
    "layers",
    "windows",
    "phases",
    "graph_layers",
)
WITHOUT = {
    "what a subclass fulfils; it can't be called": (
        "Group LieGroup SemidirectProduct IrrepFamily Representation Action FieldAction Kept Sharing Layer FieldLayer GraphLayer "
        "HeteroLayer Aggregation OrderedAggregation"
    ),
    "a result of the library, which users read and do not make": (
        "BudgetReport LaplacianEncoding Decomposition GridMotions KeptProduct ListedMatrices Choice Exactness Cause Consistency Infinitesimal Judgement Mend Plan Report Row "
        "StaticReport StaticRow PointGroup"
    ),
    "no arguments": "Sum Mean Max Min Variance LogSumExp",
    "several layers or aggregations, whose arguments are theirs": "Sequential Several as_aggregation",
}


def run(family: str) -> Iterator[Outcome]:
    """Tries every wrong use of one part."""
    for use in importlib.import_module(f"tests.wrong_uses.{family}").USES:
        yield from outcomes(use)


def public_names() -> set[str]:
    """The classes and functions that a user can name."""
    modules = (ej.groups, ej.reps, ej.actions, ej.sharing, ej.graphs, ej.testing, ej.audit, ej.nn)
    names = (
        name for module in modules for name, value in vars(module).items() if callable(value) and not inspect.ismodule(value)
    )
    return {name for name in names if not name.startswith("_")}


def names_tried() -> set[str]:
    """The public names that a table holds."""
    uses = (use.name for family in FAMILIES for use in importlib.import_module(f"tests.wrong_uses.{family}").USES)
    return {name.replace(".", " ").split()[0] for name in uses}
