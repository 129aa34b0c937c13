"""How much data does a symmetry save? Networks learn upright digits and are tested on turned ones.

An MLP, a plain CNN, a p4 and a p4m network of equal parameter count learn the 8x8 handwritten digits
of scikit-learn, upright only, from a growing number of labels. They are tested on upright digits, on
all quarter turns and flips, and on arbitrary angles. A fifth curve is the plain CNN trained on turned
and flipped copies, the usual way to teach a symmetry, for three times as many steps, which is about as
long as p4m takes. What p4 and p4m know by construction also costs
something: a 6 turned by half is a 9, so look at their upright accuracy too.

    python examples/rotated_digits.py            # about two minutes on two cores
    python examples/rotated_digits.py --quick    # half a minute
    python examples/rotated_digits.py --data mine.npz --json figures.json
"""

import argparse
import bisect
import functools
import json
import logging
import platform
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
import orbax.checkpoint
from flax import nnx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy.ndimage import rotate
from sklearn.datasets import load_digits

import equijax as ej

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

BATCH, LEARNING_RATE, P4M_WIDTH, WIDEST = 64, 5e-3, 5, 1000
P4, P4M = ej.wallpaper("p4"), ej.wallpaper("p4m")
D4 = (jnp.zeros((8, 2), jnp.int32), jnp.arange(8))  # no shift, and each of the 8 point elements
D4_NAMES = [f"{mirror}{90 * k}°" for mirror in ("", "flip, ") for k in range(4)]
COLOURS = {
    "MLP": "tab:gray",
    "CNN": "tab:blue",
    "CNN, copies": "tab:cyan",
    "p4": "tab:orange",
    "p4m": "tab:red",
}


# The models. `width` is the only thing in which their builders are tuned.


def flatten(x: jax.Array) -> jax.Array:
    """Makes one vector of each image."""
    return x.reshape(*x.shape[:-3], -1)


def mlp(width: int, side: int, classes: int, rngs: nnx.Rngs) -> nnx.Module:
    """No symmetry: every pixel has weights of its own."""
    return nnx.Sequential(
        flatten,
        nnx.Linear(side * side, width, rngs=rngs),
        nnx.BatchNorm(width, momentum=0.9, rngs=rngs),
        nnx.relu,
        nnx.Linear(width, classes, rngs=rngs),
    )


def plain_cnn(width: int, side: int, classes: int, rngs: nnx.Rngs) -> nnx.Module:
    """Translations: what every CNN shares its weights over."""
    image = {"group": ej.Translation(2)}
    return ej.nn.Sequential(
        ej.nn.Conv(1, width, (3, 3), rngs=rngs),
        nnx.BatchNorm(width, momentum=0.9, rngs=rngs),
        nnx.relu,
        ej.nn.Conv(width, width, (3, 3), rngs=rngs),
        nnx.BatchNorm(width, momentum=0.9, rngs=rngs),
        nnx.relu,
        ej.nn.MaxPool((2, 2), (2, 2), **image),
        ej.nn.Conv(width, 2 * width, (3, 3), rngs=rngs),
        nnx.BatchNorm(2 * width, momentum=0.9, rngs=rngs),
        nnx.relu,
        ej.nn.GlobalPool("mean", **image),
        nnx.Linear(2 * width, classes, rngs=rngs),
    )


def group_cnn(group: ej.SpaceGroup, width: int, side: int, classes: int, rngs: nnx.Rngs) -> nnx.Module:
    """Translations with quarter turns (p4), and flips (p4m): the same page with a group."""
    return ej.nn.Sequential(
        ej.nn.LiftingConv(1, width, (3, 3), group=group, rngs=rngs),
        nnx.BatchNorm(width, momentum=0.9, rngs=rngs),
        nnx.relu,
        ej.nn.GroupConv(width, width, (3, 3), group=group, rngs=rngs),
        nnx.BatchNorm(width, momentum=0.9, rngs=rngs),
        nnx.relu,
        ej.nn.MaxPool((2, 2), (2, 2), group=group),
        ej.nn.GroupConv(width, 2 * width, (3, 3), group=group, rngs=rngs),
        nnx.BatchNorm(2 * width, momentum=0.9, rngs=rngs),
        nnx.relu,
        ej.nn.GlobalPool("mean", group=group),
        ej.nn.FibrePool("max", group=group),
        nnx.Linear(2 * width, classes, rngs=rngs),
    )


class Kind(NamedTuple):
    """One curve of the comparison: how to build the model, and whether it sees turned copies."""

    build: Callable[[nnx.Rngs], nnx.Module]
    parameters: int
    width: int
    copies: bool  # trained on turned and flipped copies


@functools.cache
def optimizer(steps: int) -> optax.GradientTransformation:
    """Adam with a cosine schedule; made once, since a new one would compile anew."""
    return optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))


def count(build: Callable[..., nnx.Module]) -> int:
    """Counts trainable numbers without allocating any."""
    params = nnx.state(nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0))), nnx.Param)
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def equal_sized_kinds(side: int, classes: int) -> dict[str, Kind]:
    """Widens each model until it has as many parameters as the p4m network, within a few percent."""
    p4, p4m = functools.partial(group_cnn, P4), functools.partial(group_cnn, P4M)
    builders = {"MLP": mlp, "CNN": plain_cnn, "CNN, copies": plain_cnn, "p4": p4, "p4m": p4m}
    kinds = {}
    target = count(functools.partial(p4m, P4M_WIDTH, side, classes))
    for name, builder in builders.items():

        def size(width: int, builder: Callable = builder) -> int:
            return count(functools.partial(builder, width, side, classes))

        above = bisect.bisect_left(range(WIDEST), target, lo=2, key=size)
        width = min(above - 1, above, key=lambda width: abs(size(width) - target))
        build = functools.partial(builder, width, side, classes)
        kinds[name] = Kind(lambda rngs, b=build: b(rngs=rngs), size(width), width, "copies" in name)
    return kinds


# The data.


class Digits(NamedTuple):
    """Images `(8, n, side, side, 1)`, one copy for each element of D4 (0 is upright), and labels."""

    train_x: jax.Array
    train_y: jax.Array
    test_x: jax.Array
    test_y: np.ndarray
    classes: int


def read_npz(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads `x` and `y`; anything that does not fit is a ValueError of one line."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("x", "y") if name in file}
    except Exception as error:
        raise ValueError(f"{path} can't be read as an .npz file: {error}") from None
    if missing := [name for name in ("x", "y") if name not in arrays]:
        raise ValueError(f"{path} lacks `{missing[0]}`; it needs x, uint8 (n, H, H), and y, n integer labels")
    x, y = arrays["x"], arrays["y"]
    if x.dtype != np.uint8 or x.ndim != 3:
        raise ValueError(f"x is {x.dtype} of shape {x.shape}; it must be uint8 (n, H, W)")
    if x.shape[1] != x.shape[2] or x.shape[1] < 4:
        raise ValueError(f"x holds {x.shape[1]}x{x.shape[2]} images; quarter turns need square ones, at least 4x4")
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
        raise ValueError(f"y is {y.dtype} of shape {y.shape}; it must hold one integer label for each of {len(x)} images")
    return x[..., None] / 255, y


def load(path: str | None, sizes: list[int], test: int, seed: int) -> Digits:
    """Splits the data, and makes the turned and flipped copies by the action of p4m on images."""
    if path is None:
        x, y = load_digits(return_X_y=True)
        x = x.reshape(-1, 8, 8, 1) / 16
    else:
        x, y = read_npz(path)
    classes, y = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError("all labels are equal; there is nothing to learn")
    test = min(test, len(x) // 3)
    if len(x) - test < max(sizes):
        raise ValueError(f"{len(x)} samples, of which {test} are for testing, are too few to train on {max(sizes)}")
    if x.shape[1] % 2:  # 2x2 pooling keeps the quarter turns of even sizes only
        x = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    order = np.random.default_rng(seed).permutation(len(x))
    x, y = x[order].astype(np.float32), y[order].astype(np.int32)
    copies = jax.vmap(ej.GridAction(P4M), (0, None))(D4, x)
    return Digits(copies[:, test:], jnp.asarray(y[test:]), copies[:, :test], y[:test], len(classes))


def turned(images: jax.Array, degrees: int) -> np.ndarray:
    """Turns images by an angle with linear interpolation; a dark frame keeps the corners."""
    frame = images.shape[1] // 4
    padded = np.pad(images, ((0, 0), (frame, frame), (frame, frame), (0, 0)))
    full = rotate(padded, degrees, axes=(2, 1), reshape=False, order=1)
    return full[:, frame:-frame, frame:-frame]


# Training. A loop over a jitted step: on a CPU, XLA runs convolutions ten times slower in lax.scan.


@functools.partial(jax.jit, static_argnums=0)
def train_step(graph: Any, state: Any, data: Digits, copy: jax.Array, index: jax.Array) -> Any:
    """One step on the images `index`, each moved by its element of D4 in `copy`."""
    model, optimizer = nnx.merge(graph, state)

    def loss(model: nnx.Module) -> jax.Array:
        logits = model(data.train_x[copy, index])
        return optax.softmax_cross_entropy_with_integer_labels(logits, data.train_y[index]).mean()

    optimizer.update(model, nnx.grad(loss)(model))
    return nnx.state((model, optimizer))


def train(kind: Kind, data: Digits, size: int, steps: int, seed: int, tick: Callable) -> nnx.Module:
    """Trains on the first `size` images; the number of steps is the same for every size."""
    rng = np.random.default_rng([seed, size])
    index = rng.integers(size, size=(steps, BATCH))
    copy = rng.integers(8 if kind.copies else 1, size=(steps, BATCH))
    model = kind.build(nnx.Rngs(seed))
    graph, state = nnx.split((model, nnx.Optimizer(model, optimizer(steps), wrt=nnx.Param)))
    for k in range(steps):
        state = train_step(graph, state, data, copy[k], index[k])
        tick()
    return nnx.view(nnx.merge(graph, state)[0], use_running_average=True)


# Testing.


@functools.partial(jax.jit, static_argnums=0)
def apply(graph: Any, state: Any, x: jax.Array) -> jax.Array:
    """Logits of a model that was split."""
    return nnx.merge(graph, state)(x)


def measure(model: nnx.Module, data: Digits, angles: list[int]) -> dict[str, Any]:
    """Accuracies under all elements of D4, at all angles, and the equivariance error of the logits."""
    logits = functools.partial(apply, *nnx.split(model))
    score = lambda x: float((np.argmax(logits(x), -1) == data.test_y).mean())  # noqa: E731
    guess = np.argmax(logits(data.test_x[0]), -1)
    six_or_nine = np.isin(data.test_y, (6, 9))
    swapped = six_or_nine & (guess == 15 - data.test_y)
    elements = [score(x) for x in data.test_x]
    error = ej.equivariance_error(logits, ej.GridAction(P4M), ej.TrivialAction(P4M), data.test_x[0], D4)
    return {
        "upright": elements[0],
        "quarter_turns_and_flips": float(np.mean(elements)),
        "per_element": dict(zip(D4_NAMES, elements, strict=True)),
        "per_angle": {a: score(turned(data.test_x[0], a)) for a in angles},
        "equivariance_error": dict(zip(D4_NAMES, error.tolist(), strict=True)),
        "six_read_as_nine_or_back": float(swapped.sum() / max(six_or_nine.sum(), 1)),
    }


def labels_needed(sizes: list[int], accuracies: list[float], wanted: float) -> float | None:
    """Reads off a learning curve, between its points on a logarithmic axis, how many labels reach `wanted`."""
    for k, accuracy in enumerate(accuracies):
        if accuracy >= wanted:
            if k == 0:
                return float(sizes[0])
            return float(np.exp(np.interp(wanted, accuracies[k - 1 : k + 1], np.log(sizes[k - 1 : k + 1]))))
    return None


def checkpoint_is_exact(model: nnx.Module, kind: Kind, folder: Path, x: jax.Array) -> bool:
    """Saves the state with Orbax, reads it into a fresh model, and compares logits bit for bit."""
    checkpointer = orbax.checkpoint.StandardCheckpointer()
    checkpointer.save(folder.absolute(), nnx.state(model), force=True)
    checkpointer.wait_until_finished()
    fresh = nnx.view(kind.build(nnx.Rngs(1)), use_running_average=True)
    graph, state = nnx.split(fresh)
    before = apply(*nnx.split(model), x)
    after = apply(graph, checkpointer.restore(folder.absolute(), state), x)
    return bool((before == after).all()) and not bool((apply(graph, state, x) == after).all())


# Pictures.


def draw_curves(path: Path, results: dict[str, Any], sizes: list[int]) -> None:
    """Accuracy against training-set size and against the angle, mean and range over seeds."""
    plt.rcParams.update({"font.size": 13, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.6), layout="constrained", sharey=True)
    for name, runs in results.items():
        for measure, dash in (("quarter_turns_and_flips", "-"), ("upright", ":")):
            y = 100 * np.array([[run[measure] for run in runs[str(n)]] for n in sizes])
            spread = np.abs(np.stack([y.min(1), y.max(1)]) - y.mean(1))
            left.errorbar(sizes, y.mean(1), spread, ls=dash, marker="o", ms=5, lw=2, capsize=3, color=COLOURS[name])
        runs = runs[str(sizes[-1])]
        angles = list(runs[0]["per_angle"])
        y = 100 * np.array([list(run["per_angle"].values()) for run in runs])
        right.plot([*angles, 360], [*y.mean(0), y.mean(0)[0]], lw=2, color=COLOURS[name], label=name)
        right.fill_between(angles, y.min(0), y.max(0), color=COLOURS[name], alpha=0.15, lw=0)
    left.plot([], [], "k-", label="all quarter turns and flips")
    left.plot([], [], "k:", label="upright")
    left.set(xscale="log", xlabel="training-set size (labelled upright digits)", ylabel="test accuracy (%)")
    left.set(ylim=(0, 102), title="Accuracy against labels")
    left.set_xticks(sizes, [str(n) for n in sizes])
    left.minorticks_off()
    left.legend(loc="lower center", bbox_to_anchor=(0.6, 0.04), frameon=False)
    right.set(xlabel="angle of the test digits (degrees)", title=f"Accuracy against angle, {sizes[-1]} labels")
    right.set_xticks(range(0, 361, 45))
    for axis in (left, right):
        axis.grid(alpha=0.3)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_features(path: Path, model: ej.nn.Sequential, image: jax.Array) -> float:
    """A digit, its quarter turn, and what the first two layers of the p4 network make of them."""
    turn = (jnp.zeros(2, jnp.int32), 1)
    gap, wide = [0.15], [1, 1, 1, 1]
    ratios = [1, *gap, *wide, *gap, *wide]
    figure, axes = plt.subplots(2, 11, figsize=(15, 4.5), layout="constrained", width_ratios=ratios)
    for axis in axes.flat:
        axis.axis("off")
    quarter = ej.GridAction(P4)(turn, image)
    for row, picture in zip(axes, (image, quarter), strict=True):
        row[0].imshow(picture[..., 0], cmap="gray_r")
    titles, worst = [], 0.0
    for part, stop in enumerate((3, 6)):
        layers = ej.nn.Sequential(*list(model.layers)[:stop])
        maps, turned_maps = layers(image), layers(quarter)
        difference = float(jnp.abs(turned_maps - layers.out_action(turn, maps)).max())
        difference /= float(jnp.abs(maps).max())
        worst = max(worst, difference)
        best = int(maps.std((0, 1, 2)).argmax())  # the liveliest feature
        top = float(maps[..., best].max())
        for channel in range(4):
            column = 2 + 5 * part + channel
            for row, shown in zip(axes, (maps, turned_maps), strict=True):
                row[column].imshow(shown[..., channel, best], cmap="magma", vmin=0, vmax=top)
            axes[0, column].set_title(f"layer {part + 1}\nchannel {90 * channel}°", fontsize=13)
            axes[1, column].set_title(f"channel {90 * channel}°", fontsize=13)
        titles.append(f"layer {part + 1}: {difference:.0e}")
    axes[0, 0].set_title("digit", fontsize=13)
    axes[1, 0].set_title("turned by 90°", fontsize=13)
    figure.suptitle(
        "A p4 network: turn the digit, and the maps turn and move on by one channel\n"
        f"largest difference between the lower row and the upper row so moved, relative: {', '.join(titles)}"
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return worst


# The report.


def table_of(results: dict[str, Any], kinds: dict[str, Kind], size: int) -> Table:
    """Accuracies and errors at the largest training-set size, mean over seeds."""
    table = Table(
        title=f"Trained on {size} upright digits; accuracy in %, mean over seeds",
        caption="D4: all quarter turns and flips. angles: all angles tested. error: equivariance error of the logits.\n"
        "6~9: sixes read as nines and back, upright, in %.",
    )
    columns = ("model", "params", "upright", "D4", "angles", "error, turns", "error, D4", "6~9", "s/run")
    for column in columns:
        table.add_column(column, justify="left" if column == "model" else "right")
    for name, runs in results.items():
        last = runs[str(size)]
        mean = lambda key, last=last: f"{100 * np.mean([run[key] for run in last]):.1f}"  # noqa: E731
        errors = np.array([list(run["equivariance_error"].values()) for run in last])
        angles = np.mean([list(run["per_angle"].values()) for run in last])
        table.add_row(
            name,
            str(kinds[name].parameters),
            mean("upright"),
            mean("quarter_turns_and_flips"),
            f"{100 * angles:.1f}",
            f"{errors[:, :4].max():.0e}",
            f"{errors.max():.0e}",
            mean("six_read_as_nine_or_back"),
            f"{np.mean([run['seconds'] for run in last]):.1f}",
        )
    return table


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> Any:
        """Prints the line and leaves with exit code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def positive(text: str) -> int:
    """Parses a positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def parse(arguments: list[str] | None) -> tuple[Parser, argparse.Namespace]:
    """Reads the command line; `--quick` changes the defaults only."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FILE.npz", help="x, uint8 (n, H, H), and y, n labels")
    parser.add_argument("--sizes", type=positive, nargs="+", help="training-set sizes [100 300 1000]")
    parser.add_argument("--seeds", type=positive, help="runs for each size [3]")
    parser.add_argument("--steps", type=positive, help=f"steps of {BATCH} images for each run [250]")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split and of the first run")
    parser.add_argument("--quick", action="store_true", help="two sizes, one seed, 120 steps, few angles")
    parser.add_argument("--out", type=Path, default=Path("rotated_digits_out"), help="output folder")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here")
    options = parser.parse_args(arguments)
    options.sizes = sorted(set(options.sizes or ([100, 300] if options.quick else [100, 300, 1000])))
    options.seeds = options.seeds or (1 if options.quick else 3)
    options.steps = options.steps or (120 if options.quick else 250)
    if options.seed < 0:
        parser.error(f"--seed is {options.seed}; it must not be negative")
    return parser, options


def main(arguments: list[str] | None = None) -> None:
    """Trains every model at every size, and reports."""
    started = time.perf_counter()
    parser, options = parse(arguments)
    try:
        data = load(options.data, options.sizes, 200 if options.quick else 600, options.seed)
        options.out.mkdir(parents=True, exist_ok=True)
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.open("a").close()
    except (ValueError, OSError) as error:
        parser.error(str(error))
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax reports every file
    console, sizes = Console(), options.sizes
    kinds = equal_sized_kinds(data.test_x.shape[2], data.classes)
    angles = list(range(0, 360, 45 if options.quick else 15))
    results: dict[str, Any] = {name: {str(n): [] for n in sizes} for name in kinds}
    models: dict[str, nnx.Module] = {}

    with Progress(console=console) as progress:
        work = sum(3 if kind.copies else 1 for kind in kinds.values()) * options.steps
        task = progress.add_task("", total=work * len(sizes) * options.seeds)
        for name, kind in kinds.items():
            steps = 3 * options.steps if kind.copies else options.steps
            for size in sizes:
                for seed in range(options.seed, options.seed + options.seeds):
                    progress.update(task, description=f"{name}, {size} labels, seed {seed}")
                    tick, start = functools.partial(progress.advance, task), time.perf_counter()
                    model = train(kind, data, size, steps, seed, tick)
                    figures = measure(model, data, angles if size == sizes[-1] else [])
                    figures |= {"seed": seed, "seconds": time.perf_counter() - start}
                    results[name][str(size)].append(figures)
                    models.setdefault(name, model) if size == sizes[-1] else None

    console.print(table_of(results, kinds, sizes[-1]))
    curves = {
        name: [float(np.mean([run["quarter_turns_and_flips"] for run in runs[str(n)]])) for n in sizes]
        for name, runs in results.items()
    }
    wanted = curves["CNN, copies"][-1]
    needed = {name: labels_needed(sizes, curve, wanted) for name, curve in curves.items()}
    console.print(f"Labels for {100 * wanted:.1f} % on quarter turns and flips:")
    for name, labels in needed.items():
        at_most = "at most " if labels == sizes[0] else ""
        text = f"not reached with {sizes[-1]}" if labels is None else f"{at_most}{labels:.0f}"
        console.print(f"  {name}: {text}", highlight=False)
    upright = {n: 100 * np.mean([r["upright"] for r in runs[str(sizes[-1])]]) for n, runs in results.items()}
    console.print(
        f"The price: p4 and p4m see no difference between a 6 and a 9 turned by half; upright accuracy is "
        f"{upright['p4']:.1f} and {upright['p4m']:.1f} % against {upright['CNN']:.1f} % of the plain CNN."
    )

    exact = checkpoint_is_exact(models["p4m"], kinds["p4m"], options.out / "checkpoint", data.test_x[0])
    console.print(f"checkpoint read back into a fresh p4m model: logits bitwise equal: {exact}")
    draw_curves(options.out / "curves.png", results, sizes)
    sample = int(np.argmax(data.test_y == min(6, data.classes - 1)))
    difference = draw_features(options.out / "features.png", models["p4"], data.test_x[0, sample])
    console.print(f"wrote {options.out}/curves.png and {options.out}/features.png")
    if options.json:
        report = {
            "command": shlex.join(sys.argv),
            "versions": {"python": platform.python_version(), "jax": jax.__version__}
            | {"flax": flax.__version__, "equijax": ej.__version__},
            "platform": platform.platform(),
            "device": jax.devices()[0].device_kind,
            "sizes": sizes,
            "test_samples": len(data.test_y),
            "models": {
                name: {"parameters": k.parameters, "width": k.width, "trained_on_turned_copies": k.copies}
                for name, k in kinds.items()
            },
            "results": results,
            "labels_needed": {"accuracy": wanted, **needed},
            "checkpoint_bitwise_equal": exact,
            "feature_map_difference": difference,
            "seconds": time.perf_counter() - started,
        }
        options.json.write_text(json.dumps(report, indent=1, allow_nan=False))
    console.print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
