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

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from rich.console import Console
from rich.progress import Progress
from rotated_digits_parts import measure, pictures, report
from rotated_digits_parts.data import Digits, load
from rotated_digits_parts.options import BATCH, parse
from rotated_digits_parts.sizes import Kind, equal_sized_kinds

import equijax as ej

LEARNING_RATE, P4M_WIDTH = 5e-3, 5
P4, P4M = ej.wallpaper("p4"), ej.wallpaper("p4m")

# The models. `width` is the only thing in which they are tuned.


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


MODELS = {
    "MLP": mlp,
    "CNN": plain_cnn,
    "CNN, copies": plain_cnn,
    "p4": functools.partial(group_cnn, P4),
    "p4m": functools.partial(group_cnn, P4M),
}

# Training. A loop over a jitted step: on a CPU, XLA runs convolutions ten times slower in lax.scan.


@functools.cache
def optimizer(steps: int) -> optax.GradientTransformation:
    """Adam with a cosine schedule; made once, since a new one would compile anew."""
    return optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))


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


# The result.


def main(arguments: list[str] | None = None) -> None:
    """Trains every model at every size, measures it, and reports."""
    started = time.perf_counter()
    parser, options = parse(arguments, __doc__.splitlines()[0])
    try:
        data = load(options.data, options.sizes, 200 if options.quick else 600, options.seed)
        report.make_room(options.out, options.json)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax reports every file
    console, sizes, largest = Console(), options.sizes, options.sizes[-1]
    kinds = equal_sized_kinds(MODELS, "p4m", P4M_WIDTH, data.test_x.shape[2], data.classes)
    results: dict[str, Any] = {name: {str(n): [] for n in sizes} for name in kinds}
    models: dict[str, nnx.Module] = {}

    with Progress(console=console) as progress:
        steps = {name: 3 * options.steps if kind.copies else options.steps for name, kind in kinds.items()}
        task = progress.add_task("", total=sum(steps.values()) * len(sizes) * options.seeds)
        for name, kind in kinds.items():
            for size in sizes:
                for seed in range(options.seed, options.seed + options.seeds):
                    progress.update(task, description=f"{name}, {size} labels, seed {seed}")
                    start = time.perf_counter()
                    model = train(kind, data, size, steps[name], seed, functools.partial(progress.advance, task))
                    figures = measure.measure(model, data, options.angles if size == largest else [])
                    figures |= {"seed": seed, "seconds": time.perf_counter() - start}
                    results[name][str(size)].append(figures)
                    if size == largest:
                        models.setdefault(name, model)

    needed = report.labels_needed(results, sizes, "CNN, copies")
    report.show(console, results, kinds, sizes, needed)
    exact = measure.checkpoint_is_exact(models["p4m"], kinds["p4m"], options.out / "checkpoint", data.test_x[0])
    console.print(f"checkpoint read back into a fresh p4m model: logits bitwise equal: {exact}")
    pictures.draw_curves(options.out / "curves.png", results, sizes)
    sample = int(np.argmax(data.test_y == min(6, data.classes - 1)))
    difference = pictures.draw_features(options.out / "features.png", models["p4"], data.test_x[0, sample])
    console.print(f"wrote {options.out}/curves.png and {options.out}/features.png")
    if options.json:
        found = {"sizes": sizes, "test_samples": len(data.test_y), "results": results, "labels_needed": needed}
        found |= {"checkpoint_bitwise_equal": exact, "feature_map_difference": difference}
        report.write(options.json, kinds, found, time.perf_counter() - started)
    console.print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
