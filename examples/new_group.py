"""A group of your own in under ten lines, and every layer on it.

Three groups that equijax does not name. The quaternion group Q8, made from permutations, gets every layer on functions
on the group. The pyritohedral group T_h (the symmetry of a volleyball), made from 3x3 matrices, gets every layer on
three-dimensional grids, for numbers, for functions on the group and for vectors. The Lie group G2, made from slow moves,
gets the layers on vectors and tensors. Not a line of code more is needed.

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


def slow_turn(i: int, j: int) -> np.ndarray:
    """The turn of axis i towards axis j, in seven dimensions whose axes are counted modulo 7."""
    return np.eye(7)[:, [j % 7]] @ np.eye(7)[[i % 7]] - np.eye(7)[:, [i % 7]] @ np.eye(7)[[j % 7]]


# The turns of seven dimensions that keep a cross product, e(i) x e(i+1) = e(i+3). Axis k is the product of three pairs of
# axes: turn one pair on and another back.
PAIRS = [[slow_turn(k + 1, k + 3), slow_turn(k + 2, k + 6), slow_turn(k + 4, k + 5)] for k in range(7)]
G2 = ej.LieGroup.from_algebra([move for a, b, c in PAIRS for move in (a - b, b - c)])

#: Layers that are measured once more, broken.
CONTROLS = [("Q8", ej.nn.GroupConv), ("T_h", ej.nn.GroupConv), ("T_h vectors", ej.nn.Conv), ("G2", ej.nn.Bilinear)]


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
    """Fields on a cube of voxels: functions on the group `(batch, x, y, z, 24, features)`, vectors `(…, 3, features)`."""
    group = ej.SpaceGroup(T_H)
    fibre, vector = ej.reps.Regular(T_H), ej.reps.Vector(T_H)
    common = {"group": group, "rngs": rngs}
    scalars, fields, vectors = (1, 5, 5, 5, 2), (1, 5, 5, 5, T_H.order, 2), (1, 5, 5, 5, 3, 2)
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
    on_vectors = [
        (ej.nn.Conv(2, 3, (3, 3, 3), in_fibre=vector, out_fibre=vector, **common), vectors),
        (ej.nn.NormNonlinearity(2, vector, **common), vectors),
        (ej.nn.InvariantPool(vector, group=group), vectors),
    ]
    lift = ej.nn.Conv(2, 2, (3, 3, 3), out_fibre=vector, **common)
    on_vectors += [(ej.nn.Sequential(lift, *[layer for layer, _ in on_vectors[1:]]), scalars)]
    return [Case("T_h", *pair) for pair in layers] + [Case("T_h vectors", *pair) for pair in on_vectors]


def layers_on_g2(rngs: nnx.Rngs) -> list[Case]:
    """Vectors `(batch, 7, features)`, products of two vectors, and a number beside a vector."""
    scalar, vector = ej.reps.Scalar(G2), ej.reps.Vector(G2)
    gate = ej.nn.Gate(scalar + vector)
    layers = [
        (ej.nn.EquivariantLinear(ej.FibreAction(vector * vector), ej.FibreAction(vector), 3, 5, rngs=rngs), (2, 49, 3)),
        (ej.nn.Bilinear(3, 5, vector, rngs=rngs), (2, 7, 3)),
        (gate, (2, gate.in_fibre.dim, 3)),
        (ej.nn.EMLP(3 * vector, scalar + vector, hidden=32, layers=1, rngs=rngs), (2, 21, 1)),
    ]
    return [Case("G2", *pair) for pair in layers]


def some_elements(layer: ej.nn.Layer) -> Any:
    """Every element of the point group; on a grid without a shift; of a Lie group twelve random ones."""
    action = layer.in_action
    if action.group == G2:
        return G2.sample(jax.random.key(2), (12,))
    if not isinstance(action, ej.GridAction):
        return action.group.elements()
    h = action.point_group.elements()
    return jnp.zeros((len(h), action.ndim), jnp.int32), h


def error_of(layer: ej.nn.Layer, shape: tuple[int, ...], fn: Callable | None = None) -> np.ndarray:
    """Equivariance error of the layer (or of `fn` in its place) for each element, on random float64 input."""
    x = jax.random.normal(jax.random.key(1), shape, jnp.float64)
    fn = jax.jit(layer if fn is None else fn)
    return ej.equivariance_error(fn, layer.in_action, layer.out_action, x, some_elements(layer))


def error_along_algebra(layer: ej.nn.Layer, shape: tuple[int, ...], fn: Callable | None = None) -> np.ndarray:
    """Error of the law's derivative, `Df(x)[Ax] = B f(x)`, for each slow move: A moves the input, B the output."""
    x = jax.random.normal(jax.random.key(1), shape, jnp.float64)
    y, derivative = jax.linearize(jax.jit(layer if fn is None else fn), x)
    inward, outward = (np.stack(action.on().algebra) for action in (layer.in_action, layer.out_action))
    gap = jax.vmap(derivative)(jnp.einsum("kij,bjf->kbif", inward, x)) - jnp.einsum("kij,bjf->kbif", outward, y)
    return np.asarray(jnp.linalg.norm(gap.reshape(len(gap), -1), axis=1) / jnp.linalg.norm(y))


def broken(layer: ej.nn.Layer) -> Callable[[jax.Array], jax.Array]:
    """The same layer with one channel of the output fibre made 1 % louder."""
    return lambda x: layer(x).at[..., 0, :].multiply(1.01)


def draw(path: Path, errors: dict[str, float]) -> None:
    """The products of the finite groups, the product of vectors that G2 keeps, and the error of every layer."""
    plt.rcParams.update({"font.size": 12, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplot_mosaic("ad;bd;cd", figsize=(12, 13), layout="constrained", width_ratios=[1, 1.4])
    for key, name, group in (("a", "Q8", Q8), ("b", "T_h", T_H)):
        axes[key].imshow(group.table, cmap="viridis", interpolation="nearest")
        axes[key].set(title=f"{name}: the product a∘b", xlabel="element b", ylabel="element a")
    draw_product(axes["c"])
    floored = [max(error, 1e-17) for error in errors.values()]
    colours = ["tab:red" if "broken" in name else "tab:blue" for name in errors]
    axes["d"].barh(list(errors), floored, left=1e-18, color=colours, height=0.7)
    axes["d"].invert_yaxis()
    axes["d"].margins(y=0.01)
    axes["d"].set(xscale="log", xlim=(1e-18, 1), xlabel="equivariance error, float64 (0 is drawn as 1e-17)")
    axes["d"].set_title("Every layer; red: broken on purpose")
    axes["d"].axvline(1e-12, color="k", ls="--", lw=1)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_product(axis: Any) -> None:
    """The only linear map of G2 from two vectors to one, found by the library: the cross product."""
    vector = ej.reps.Vector(G2)
    (product,) = ej.reps.intertwiners(vector * vector, vector).reshape(-1, 7, 7, 7)
    signed = np.einsum("kij,k->ij", np.sign(product.round(6)), np.arange(1, 8))
    axis.imshow(signed, cmap="RdBu", vmin=-9, vmax=9)
    for (i, j), number in np.ndenumerate(signed):
        axis.text(j, i, f"{'−' if number < 0 else ''}e{abs(number) - 1:.0f}" if number else "0", ha="center", va="center")
    axis.set(title="G2: the product of two vectors", xlabel="axis j", ylabel="axis i")


def main(arguments: list[str] | None = None) -> None:
    """Builds every layer on all groups, measures, and reports."""
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
    table = Table(title="Layers on three groups of your own")
    for column in ("group", "layer", "parameters", "equivariance error"):
        table.add_column(column, justify="right" if column in ("parameters", "equivariance error") else "left")
    rows, errors = [], {}

    def add(case: Case, break_it: bool = False) -> None:
        name = type(case.layer).__name__ + ", broken" * break_it
        fn = broken(case.layer) if break_it else None
        found = error_of(case.layer, case.shape, fn)
        along = error_along_algebra(case.layer, case.shape, fn) if case.group == "G2" else np.zeros(0)
        worst = max([*found, *along])
        params = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(case.layer, nnx.Param)))
        table.add_row(case.group, name, str(params), f"{worst:.1e}")
        row = {"group": case.group, "layer": name, "parameters": params}
        rows.append(row | {"errors": found.tolist(), "errors_along_algebra": along.tolist()})
        errors[f"{name}, {case.group}"] = float(worst)

    with jax.enable_x64(True):
        rngs = nnx.Rngs(0)
        cases = [*layers_on_q8(rngs), *layers_on_th(rngs), *layers_on_g2(rngs)]
        for case in cases:
            add(case)
        for case in cases:
            if (case.group, type(case.layer)) in CONTROLS:
                add(case, break_it=True)
    for group in (Q8, T_H, ej.SpaceGroup(T_H), G2):
        ej.testing.check_group(group)

    console.print(table)
    console.print(f"Q8 has order {Q8.order}, {len(Q8.conjugacy_classes)} classes, {len(Q8.subgroups())} subgroups;", end=" ")
    console.print(f"T_h has order {T_H.order}, {len(T_H.conjugacy_classes)} classes;", end=" ")
    console.print(f"G2 has {len(G2.algebra)} slow moves. The group axioms hold for all.")
    draw(options.out / "new_group.png", errors)
    console.print(f"wrote {options.out}/new_group.png in {time.perf_counter() - started:.0f} s")
    if options.json:
        versions = {"python": platform.python_version(), "jax": jax.__version__, "flax": flax.__version__}
        report = {"versions": versions | {"equijax": ej.__version__}, "layers": rows}
        options.json.write_text(json.dumps(report | {"seconds": time.perf_counter() - started}, indent=1))


if __name__ == "__main__":
    main()
