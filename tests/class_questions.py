"""Counts where the library asks an action, a group or a representation for its class instead of asking its contract.

    python -m tests.class_questions [--list]

A question is, outside the folder where the class it names lives,

- ``isinstance(x, C)`` or ``issubclass(x, C)`` where C (or a member of a tuple or union) is Group, Action or Representation or derives
  from one of them, whatever alias or module path names it there;
- ``hasattr(x, name)``, and ``getattr(x, name, default)``, where x is called like a group, action or representation (``group``,
  ``in_action``, ``self.fibre``, ``action.group``, ``rep``, …);
- a ``case C():`` of a ``match``.

Each folder of the contracts (groups, reps, actions) may ask about its own classes. Questions about them from any other folder
count, those of ``actions`` about groups and representations included.
"""

import ast
import functools
import importlib
import inspect
import pathlib
import pkgutil
import sys
from typing import NamedTuple

import equijax
from equijax.actions import Action
from equijax.groups import Group
from equijax.reps import Representation

ROOT = pathlib.Path(equijax.__file__).parent
HOMES = {Group: "groups", Representation: "reps", Action: "actions"}
#: What a variable that holds a group, an action or a representation is called in this library.
WORDS = {"group", "groups", "point_group", "subgroup", "action", "actions", "in_action", "out_action", "act", "base"}
WORDS |= {"fibre", "in_fibre", "out_fibre", "rep", "reps", "in_rep", "out_rep", "representation", "factor"}


class Question(NamedTuple):
    """One place in the code."""

    folder: str
    file: str
    line: int
    code: str


@functools.cache
def _classes() -> dict[type, str]:
    """Every class of a contract that the library defines, and the folder it lives in."""
    found = {}
    for info in pkgutil.walk_packages([str(ROOT)], "equijax."):
        if info.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(info.name)).values():
            if inspect.isclass(value) and issubclass(value, tuple(HOMES)) and value.__module__.startswith("equijax."):
                found[value] = value.__module__.split(".")[1]
    return found


def _named(node: ast.expr, scope: dict) -> list[type]:
    """The classes that an expression names: a name, a dotted name, a tuple or a union of them."""
    if isinstance(node, ast.Tuple):
        return [cls for part in node.elts for cls in _named(part, scope)]
    if isinstance(node, ast.BinOp):
        return _named(node.left, scope) + _named(node.right, scope)
    path = ast.unparse(node).split(".")
    value = scope.get(path[0])
    for name in path[1:]:
        value = getattr(value, name, None)
    values = value if isinstance(value, tuple) else (value,)
    return [value for value in values if inspect.isclass(value)]


def _scope(tree: ast.Module, module: str) -> dict:
    """What names mean in a file, those that are imported inside of functions included."""
    scope = dict(vars(importlib.import_module(module)))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            source = importlib.import_module(node.module)
            scope |= {alias.asname or alias.name: getattr(source, alias.name, None) for alias in node.names}
    return scope


def _holder(node: ast.expr) -> bool:
    """Whether an expression is called like a group, action or representation."""
    return ast.unparse(node).split("(")[0].split(".")[-1].lstrip("_") in WORDS


def _asks(node: ast.AST, scope: dict, folder: str, classes: dict[type, str]) -> bool:
    foreign = lambda names: any(classes.get(cls, folder) != folder for cls in names)  # noqa: E731
    if isinstance(node, ast.MatchClass):
        return foreign(_named(node.cls, scope))
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) >= 2):
        return False
    if node.func.id in ("isinstance", "issubclass"):
        return foreign(_named(node.args[1], scope))
    if node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) == 3):
        return _holder(node.args[0])
    return False


def questions_in(source: str, scope: dict, folder: str, file: str = "") -> list[Question]:
    """The questions of one file, given what its names mean and the folder it lies in."""
    classes, found = _classes(), []
    for node in ast.walk(ast.parse(source)):
        if _asks(node, scope, folder, classes):
            code = node.cls if isinstance(node, ast.MatchClass) else node
            found.append(Question(folder, file, getattr(node, "lineno", 0), ast.unparse(code)))
    return found


def questions() -> list[Question]:
    """Every question of the library, by folder and file."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] in ("__main__", "__init__"):
            continue
        source, folder = path.read_text(), parts[0] if len(parts) > 1 else "."
        scope = _scope(ast.parse(source), ".".join(("equijax", *parts)))
        found += questions_in(source, scope, folder, str(path.relative_to(ROOT.parent)))
    return sorted(found)


def main() -> None:
    """Prints the count of each folder, and each question with ``--list``."""
    asked = questions()
    for folder in sorted({question.folder for question in asked}):
        of_folder = [question for question in asked if question.folder == folder]
        print(f"{folder}: {len(of_folder)}")
        for question in of_folder if "--list" in sys.argv else ():
            print(f"  {question.file}:{question.line}  {question.code}")
    print(f"all: {len(asked)}")


if __name__ == "__main__":
    main()
