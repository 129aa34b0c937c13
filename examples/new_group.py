"""A group of your own in under ten lines, and every layer on it.

Two groups that equijax does not name: the quaternion group Q8, made from permutations, and the
pyritohedral group T_h (the symmetry of a volleyball), made from 3x3 matrices. The first gets every layer
on functions on the group, the second every layer on three-dimensional grids, without a line of code more.

    python examples/new_group.py [--json FILE] [--out DIR]
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from flax import nnx
from rich.console import Console
from rich.table import Table

import equijax as ej

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

# The quaternions 1, i, j, k, -1, -i, -j, -k are points 0 … 7; these are left multiplications by i and by j.
Q8 = ej.FiniteGroup.from_permutations([[1, 4, 3, 6, 5, 0, 7, 2], [2, 7, 4, 1, 6, 3, 0, 5]])

# A third of a turn about the diagonal, a mirror, and the inversion.
T_H = ej.PointGroup.from_matrices(
    [[[0, 0, 1], [1, 0, 0], [0, 1, 0]], [[-1, 0, 0], [0, 1, 0], [0, 0, 1]], [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]]
)


class Case(NamedTuple):
    """A layer, and the shape of an input for it."""

    group: str
    layer: ej.nn.Layer
    shape: tuple[int, ...]


def layers_on_q8(rngs: nnx.Rngs) -> list[Case]:
    """Functions on the group, `(batch, 8, features)`, or on its cosets."""
    minus_one = Q8.compose(1, 1)  # elements are numbered breadth first: 1 is i, and i∘i = -1
    signs = ej.reps.Quotient(Q8.subgroup([minus_one]))  # cosets of {1, -1}: four points
    function = ej.FibreAction(ej.reps.Regular(Q8))
    common = {"group": Q8, "rngs": rngs}
    layers = [
        (ej.nn.EquivariantLinear(function, function, 3, 5, rngs=rngs), (2, 8, 3)),
        (ej.nn.LiftingConv(3, 5, (), in_fibre=signs, **common), (2, signs.dim, 3)),
        (ej.nn.GroupConv(3, 5, (), **common), (2, 8, 3)),
        (ej.nn.ProjectionConv(3, 5, (), **common), (2, 8, 3)),
        (ej.nn.CosetPool(signs.subgroup, group=Q8), (2, 8, 3)),
        (ej.nn.FibrePool(group=Q8), (2, 8, 3)),
    ]
    return [Case("Q8", layer, shape) for layer, shape in layers]


def layers_on_th(rngs: nnx.Rngs) -> list[Case]:
    """Fields on a cube of voxels, `(batch, x, y, z, 24, features)`."""
    group = ej.SpaceGroup(T_H)
    fibre = ej.reps.Regular(T_H)
    common = {"group": group, "rngs": rngs}
    scalars, fields = (1, 5, 5, 5, 2), (1, 5, 5, 5, T_H.order, 2)
    layers = [
        (ej.nn.Conv(2, 3, (3, 3, 3), **common), scalars),
        (ej.nn.LiftingConv(2, 3, (3, 3, 3), **common), scalars),
        (ej.nn.GroupConv(2, 3, (3, 3, 3), **common), fields),
        (ej.nn.ProjectionConv(2, 3, (3, 3, 3), **common), fields),
        (ej.nn.ConvTranspose(2, 3, (2, 2, 2), 2, in_fibre=fibre, out_fibre=fibre, **common), fields),
        (ej.nn.MaxPool((3, 3, 3), 2, group=group), fields),
        (ej.nn.CosetPool(T_H.subgroup([1]), group=group), fields),
        (ej.nn.FibrePool(group=group), fields),
        (ej.nn.GlobalPool(group=group), fields),
    ]
    return [Case("T_h", layer, shape) for layer, shape in layers]


def all_elements(layer: ej.nn.Layer) -> Any:
    """Every element of the point group; on a grid without a shift."""
    action = layer.in_action
    if not isinstance(action, ej.GridAction):
        return action.group.elements()
    h = action.point_group.elements()
    return jnp.zeros((len(h), action.ndim), jnp.int32), h


def error_of(layer: ej.nn.Layer, shape: tuple[int, ...], fn: Callable | None = None) -> np.ndarray:
    """Equivariance error of the layer (or of `fn` in its place) for each element, on random float64 input."""
    x = jax.random.normal(jax.random.key(1), shape, jnp.float64)
    fn = jax.jit(layer if fn is None else fn)
    return ej.equivariance_error(fn, layer.in_action, layer.out_action, x, all_elements(layer))


def broken(layer: ej.nn.Layer) -> Callable[[jax.Array], jax.Array]:
    """The same layer with one channel of the output fibre made 1 % louder."""
    return lambda x: layer(x).at[..., 0, :].multiply(1.01)


def draw(path: Path, errors: dict[str, float], broken_names: set[str]) -> None:
    """The two Cayley tables, and the error of every layer."""
    plt.rcParams.update({"font.size": 12, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(1, 3, figsize=(15, 5.4), layout="constrained", width_ratios=[1, 1, 1.3])
    for axis, (name, group) in zip(axes, {"Q8": Q8, "T_h": T_H}.items(), strict=False):
        axis.imshow(group.table, cmap="viridis", interpolation="nearest")
        axis.set(title=f"{name}: the product a∘b", xlabel="element b", ylabel="element a")
    places = np.arange(len(errors))[::-1]
    floored = [max(error, 1e-17) for error in errors.values()]
    colours = ["tab:red" if name in broken_names else "tab:blue" for name in errors]
    axes[2].barh(places, floored, left=1e-18, color=colours, height=0.7)
    axes[2].set_yticks(places, list(errors))
    axes[2].set(xscale="log", xlim=(1e-18, 1), xlabel="equivariance error, float64 (0 is drawn as 1e-17)")
    axes[2].set_title("Every layer; red: broken on purpose")
    axes[2].axvline(1e-12, color="k", ls="--", lw=1)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Builds every layer on both groups, measures, and reports."""
    started = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here")
    parser.add_argument("--out", type=Path, default=Path("new_group_out"), help="folder of the picture")
    options = parser.parse_args(arguments)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.open("a").close()
    except OSError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")

    console = Console()
    table = Table(title="Layers on two groups of your own")
    for column in ("group", "layer", "parameters", "equivariance error"):
        table.add_column(column, justify="right" if column in ("parameters", "equivariance error") else "left")
    rows, errors = [], {}

    def add(name: str, case: Case, error: np.ndarray) -> None:
        params = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(case.layer, nnx.Param)))
        table.add_row(case.group, name, str(params), f"{error.max():.1e}")
        rows.append({"group": case.group, "layer": name, "parameters": params, "errors": error.tolist()})
        errors[f"{name}, {case.group}"] = float(error.max())

    with jax.enable_x64(True):
        rngs = nnx.Rngs(0)
        cases = [*layers_on_q8(rngs), *layers_on_th(rngs)]
        for case in cases:
            add(type(case.layer).__name__, case, error_of(case.layer, case.shape))
        controls = [case for case in cases if isinstance(case.layer, ej.nn.GroupConv)]
        for case in controls:
            add("GroupConv, broken", case, error_of(case.layer, case.shape, broken(case.layer)))
    for group in (Q8, T_H, ej.SpaceGroup(T_H)):
        ej.testing.check_group(group)

    console.print(table)
    console.print(f"Q8 has order {Q8.order}, {len(Q8.conjugacy_classes)} classes, {len(Q8.subgroups())} subgroups;", end=" ")
    console.print(f"T_h has order {T_H.order}, {len(T_H.conjugacy_classes)} classes. The group axioms hold for both.")
    broken_names = {f"GroupConv, broken, {case.group}" for case in controls}
    draw(options.out / "new_group.png", errors, broken_names)
    console.print(f"wrote {options.out}/new_group.png in {time.perf_counter() - started:.0f} s")
    if options.json:
        versions = {"python": platform.python_version(), "jax": jax.__version__, "flax": flax.__version__}
        report = {"versions": versions | {"equijax": ej.__version__}, "layers": rows}
        options.json.write_text(json.dumps(report | {"seconds": time.perf_counter() - started}, indent=1))


if __name__ == "__main__":
    main()
