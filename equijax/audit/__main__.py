"""The audit on the command line.

``python -m equijax.audit package.module:make_model --input-shape 4,64,64,3 --group p4m``
"""

import argparse
import contextlib
import importlib
import inspect
import json
import os
import pathlib
import sys
import traceback
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from rich.console import Console

import equijax as ej
from equijax.audit._explain import UnknownOutput
from equijax.audit._table import renderable


def main(arguments: list[str] | None = None) -> int:
    """Audits a model; returns 0 where it is exact, 1 where it is not, 2 for wrong use and for a model that fails."""
    options = _parser().parse_args(arguments)
    try:
        with jax.enable_x64(True) if options.dtype == "float64" else contextlib.nullcontext():
            return _run(options)
    except UnknownOutput as error:
        print(f"error: {error.args[1]}", file=sys.stderr)
    except (AttributeError, ImportError, OSError, TypeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
    except Exception as error:  # of the model's own code: no verdict, so not 1; it says where, for it may be anything
        frame = traceback.extract_tb(error.__traceback__)[-1]
        print(f"error: {type(error).__name__}: {error} ({frame.filename}:{frame.lineno})", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m equijax.audit", description="Which layer breaks the symmetry, and why?")
    parser.add_argument("model", help="package.module:make_model, a function that returns a module (it may take rngs)")
    parser.add_argument("--input-shape", required=True, help="shape with the batch, such as 4,64,64,3")
    parser.add_argument(
        "--group", required=True, help="a wallpaper group (p4m), shifts or translation, reflection, octahedral, set"
    )
    parser.add_argument("--boundary", choices=("wrap", "zero"), default="wrap", help="torus, or an array with borders")
    parser.add_argument("--invariant-output", action="store_true", help="the output does not move (class scores)")
    parser.add_argument("--static", action="store_true", help="read the model only, without a forward pass")
    parser.add_argument("--depth", type=int, help="how many names deep modules are opened")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="of the input")
    parser.add_argument("--seed", type=int, default=0, help="of the parameters and the input")
    parser.add_argument("--html", help="write a page")
    parser.add_argument("--plot", help="write a picture")
    parser.add_argument("--json", help="write the figures")
    parser.add_argument("--all", action="store_true", help="show exact rows too")
    return parser


def _run(options: argparse.Namespace) -> int:
    shape = _shape(options.input_shape)
    _require_folders(path for path in (options.html, options.plot, options.json) if path)
    action = _action(options.group, shape, options.boundary)
    model, dtype = _model(options.model, options.seed), jnp.dtype(options.dtype)
    out_action = ej.TrivialAction(action.group) if options.invariant_output else None
    if options.static:
        verdict = ej.audit.static(model, shape, in_action=action, out_action=out_action, depth=options.depth, dtype=dtype)
        print(verdict)
        _write(options.json, verdict.to_dict())
        return 0 if verdict.exact else 1
    x = jax.random.normal(jax.random.key(options.seed), shape, dtype)
    report = ej.audit.explain(model, x, in_action=action, out_action=out_action, depth=options.depth)
    console = Console()
    wide = console if console.is_terminal else Console(width=80)
    wide.print(renderable(report, options.all))
    if report.accused:
        print(report.plan)
    if options.html:
        report.to_html(options.html)
    if options.plot:
        report.plot(options.plot)
    _write(options.json, report.to_dict())
    return 0 if report.exact else 1


def _require_folders(paths: Iterable[str]) -> None:
    for path in paths:
        folder = pathlib.Path(path).absolute().parent
        if not folder.is_dir():
            raise ValueError(f"`{path}` can't be written: there is no folder {folder}. Make it first.")


def _write(path: str | None, figures: dict[str, Any]) -> None:
    if path:
        with open(path, "w", encoding="utf-8") as stream:
            json.dump(figures, stream, indent=1, allow_nan=False)


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError(f"`--input-shape` is {text!r}; give integers with commas, such as 4,64,64,3.") from None
    if len(shape) < 3 or min(shape) < 1:
        raise ValueError(f"`--input-shape` is {text!r}; it is batch, places, features, all at least 1, such as 4,64,64,3.")
    return shape


def _action(name: str, shape: tuple[int, ...], boundary: Any) -> ej.Action:
    if name == "set":
        return ej.SetAction(shape[-2])
    d = len(shape) - 2
    if name in ("shifts", "translation"):
        return ej.GridAction(ej.Translation(d), boundary=boundary)
    if name == "reflection":
        return ej.GridAction(ej.SpaceGroup(ej.Reflection(d)), boundary=boundary)
    group = ej.SpaceGroup(ej.Octahedral()) if name == "octahedral" else ej.wallpaper(name)
    if d != group.ndim:
        raise ValueError(
            f"`--group` {name} moves {group.ndim} axes, but `--input-shape` {shape} has {d} between batch and features. "
            "Give the shape with the batch, or another group."
        )
    return ej.GridAction(group, boundary=boundary)


def _model(name: str, seed: int) -> Any:
    module, _, attribute = name.partition(":")
    if not attribute:
        raise ValueError(f"`model` is {name!r}; write package.module:make_model.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    made: Any = getattr(importlib.import_module(module), attribute)
    if isinstance(made, nnx.Module):
        return made
    if not callable(made):
        raise TypeError(f"`model` {name!r} is {type(made).__name__}; it must be a function that returns an nnx.Module.")
    # The metaclass of nnx.Module hides what the constructor takes.
    constructor: Any = made.__init__ if inspect.isclass(made) else made
    parameters = {key: p for key, p in inspect.signature(constructor).parameters.items() if key != "self"}
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needs = [p.name for p in parameters.values() if p.default is p.empty and p.kind not in variadic]
    if len(needs) > 1 or (needs and "rngs" in parameters and needs != ["rngs"]):
        raise TypeError(f"`model` {name!r} needs {', '.join(needs)}; write a function that takes rngs or nothing.")
    make: Any = made
    rngs = nnx.Rngs(seed)
    if "rngs" in parameters and parameters["rngs"].kind is not inspect.Parameter.POSITIONAL_ONLY:
        return make(rngs=rngs)
    return make(rngs) if needs else make()


if __name__ == "__main__":
    sys.exit(main())
