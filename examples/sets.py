"""The sum of a set of digits: learned on sets of up to ten images, tested on sets of a hundred.

Each example is a set of handwritten digits from scikit-learn, 8x8 pixels each, and its answer is the sum of the digits. A
deep set encodes every image, sums, and reads the answer off; set attention lets the images look at each other first. Two
networks that see a sequence are trained on the same sets: a gated recurrent unit, and a dense layer on padded slots. What
is asked: does the error stay small on sets ten times larger than any in training, and does the answer depend on the order?

    python examples/sets.py            # two to three minutes on two cores
    python examples/sets.py --quick    # twenty seconds
"""

import argparse
import functools
import json
import platform
import sys
import time
from pathlib import Path

import flax
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from flax import nnx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.datasets import load_digits

import equijax as ej

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

LARGEST, SLOTS, WIDTH, BATCH = 10, 100, 64, 64
GUESS = "4.5 per image"


class Encoder(nnx.Module):
    """A vector for each image, `(…, 64)` to `(…, WIDTH)`."""

    def __init__(self, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(64, 2 * WIDTH, rngs=rngs)
        self.out = nnx.Linear(2 * WIDTH, WIDTH, rngs=rngs)

    def __call__(self, images):
        return jax.nn.relu(self.out(jax.nn.relu(self.hidden(images))))


class Recurrent(nnx.Module):
    """Encodes the images and reads them one after the other."""

    def __init__(self, rngs: nnx.Rngs):
        self.encoder = Encoder(rngs)
        self.read = ej.nn.RecurrentAggregation(WIDTH, WIDTH, rngs=rngs)
        self.out = nnx.Linear(WIDTH, 1, rngs=rngs)

    def __call__(self, images, mask):
        return self.out(self.read(self.encoder(images), mask))


class Slots(nnx.Module):
    """A dense network on a row of slots, of which those without an image hold zeros."""

    def __init__(self, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(SLOTS * 64, 2 * WIDTH, rngs=rngs)
        self.out = nnx.Linear(2 * WIDTH, 1, rngs=rngs)

    def __call__(self, images, mask):
        filled = jnp.where(mask[..., None], images, 0)
        padded = jnp.pad(filled, ((0, 0), (0, SLOTS - images.shape[1]), (0, 0)))
        return self.out(jax.nn.relu(self.hidden(padded.reshape(len(images), -1))))


def deep_set(rngs):
    """Encode, sum, read off."""
    return ej.nn.DeepSet(Encoder(rngs), nnx.Linear(WIDTH, 1, rngs=rngs), aggregation="sum")


def set_attention(rngs):
    """The same with a block of set attention before the sum."""
    encoder = ej.nn.Sequential(Encoder(rngs), ej.nn.SetAttentionBlock(WIDTH, 4, rngs=rngs))
    return ej.nn.DeepSet(encoder, nnx.Linear(WIDTH, 1, rngs=rngs), aggregation="sum")


MODELS = {"deep set": deep_set, "set attention": set_attention, "GRU": Recurrent, "dense on slots": Slots}


def digits():
    """Images `(number, 64)` between 0 and 1 and their digits; 1200 to learn, 597 to test."""
    data = load_digits()
    order = np.random.RandomState(0).permutation(len(data.target))
    images, labels = data.data[order].astype(np.float32) / 16, data.target[order].astype(np.float32)
    return (images[:1200], labels[:1200]), (images[1200:], labels[1200:])


def draw(key, data, sizes, slots):
    """Sets with the given numbers of images, padded to `slots`: images, mask, sum of the digits."""
    images, labels = data
    chosen = jax.random.randint(key, (len(sizes), slots), 0, len(labels))
    mask = jnp.arange(slots)[None] < sizes[:, None]
    return images[chosen], mask, jnp.where(mask, labels[chosen], 0).sum(1)


@nnx.jit
def train_step(model, optimizer, data, key):
    """One step of Adam on the squared error of the sum, for sets of 1 to LARGEST images."""
    sizes, sets = jax.random.split(key)
    images, mask, total = draw(sets, data, jax.random.randint(sizes, (BATCH,), 1, LARGEST + 1), LARGEST)

    def loss_fn(model):
        return jnp.mean((model(images, mask)[:, 0] - total / LARGEST) ** 2)

    loss, gradient = nnx.value_and_grad(loss_fn)(model)
    optimizer.update(model, gradient)
    return loss


def trained(build, data, steps, seed, advance):
    """Builds and trains one network; calls `advance` with the number of steps made."""
    model = build(nnx.Rngs(seed))
    schedule = optax.cosine_decay_schedule(3e-3, steps)
    optimizer = nnx.Optimizer(model, optax.adam(schedule), wrt=nnx.Param)
    keys = jax.random.split(jax.random.key(seed), steps)
    for k in range(steps):
        train_step(model, optimizer, data, keys[k])
        if k % 25 == 24:
            advance(25)
    return model


def judged(model, data, count, sizes):
    """For each size: the mean error of the sum, and how much an answer changes when the set is reordered."""
    answer = jax.jit(lambda images, mask: LARGEST * model(images, mask)[:, 0])
    errors, changes = [], []
    for size in sizes:
        images, mask, total = draw(jax.random.key(size), data, jnp.full(count, size), size)
        found = answer(images, mask)
        order = np.random.RandomState(size).permutation(size)
        errors.append(float(jnp.abs(found - total).mean()))
        changes.append(float(jnp.abs(found - answer(images[:, order], mask)).max() / jnp.abs(found).mean()))
    return {"error": errors, "change": changes}


def guessed(data, count, sizes):
    """The error of answering 4.5 for each image."""
    totals = [draw(jax.random.key(size), data, jnp.full(count, size), size)[2] for size in sizes]
    return [float(jnp.abs(total - 4.5 * size).mean()) for size, total in zip(sizes, totals, strict=True)]


def picture(results, guess, sizes, path):
    """Error and dependence on the order, against the size of the set; a band spans the seeds."""
    plt.rcParams.update({"font.size": 15, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(1, 2, figsize=(13, 5.2), layout="constrained")
    styles = zip(results.items(), ("tab:blue", "tab:green", "tab:orange", "tab:red"), "osD^", strict=True)
    for (name, rows), colour, marker in styles:
        for axis, key, first in zip(axes, ("error", "change"), (0, 1), strict=True):  # one image has no order
            values = np.maximum([row[key][first:] for row in rows], 1e-8)
            axis.plot(sizes[first:], values.mean(0), color=colour, marker=marker, lw=2, label=name)
            axis.fill_between(sizes[first:], values.min(0), values.max(0), color=colour, alpha=0.2, lw=0)
    axes[0].plot(sizes, guess, color="grey", ls=":", lw=2, label=GUESS)
    axes[0].set(title="Error of the sum", ylabel="mean absolute error")
    axes[1].set(title="Does the order matter?", ylabel="largest change / mean answer (0: 1e-8)")
    for axis in axes:
        axis.axvspan(1, LARGEST, color="k", alpha=0.06, lw=0)
        axis.set(xscale="log", yscale="log", xlabel="images in the set (shaded: seen in training)")
        axis.set_xticks(sizes, [str(size) for size in sizes], minor=False)
        axis.minorticks_off()
    axes[0].legend(frameon=False, fontsize=13)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    """Trains all networks on small sets, judges them on large ones, writes a picture and the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, fewer steps")
    parser.add_argument("--out", type=Path, default=Path("sets_out"), help="folder for what is written")
    parser.add_argument("--json", type=Path, help="file for the figures; None is figures.json in the folder")
    options = parser.parse_args()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    console, start = Console(width=None if sys.stdout.isatty() else 110), time.perf_counter()
    seeds, steps, count = (1, 200, 100) if options.quick else (3, 2000, 400)
    sizes = (1, LARGEST, SLOTS) if options.quick else (1, 2, 5, LARGEST, 20, 50, SLOTS)
    training, test = digits()
    training = tuple(map(jnp.asarray, training))
    test = tuple(map(jnp.asarray, test))
    results = {name: [] for name in MODELS}
    with Progress(console=console, transient=True) as progress:
        for name, build in MODELS.items():
            task = progress.add_task(name, total=seeds * steps)
            for seed in range(seeds):
                model = trained(build, training, steps, seed, functools.partial(progress.advance, task))
                results[name].append(judged(model, test, count, sizes))
    guess = guessed(test, count, sizes)

    table = Table(title=f"mean error of the sum (trained on up to {LARGEST} images; mean of {seeds} seeds), and order")
    for column in ("network", *map(str, sizes), "change by reordering"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for name, rows in results.items():
        errors = np.mean([row["error"] for row in rows], axis=0)
        table.add_row(name, *(f"{error:.2f}" for error in errors), f"{max(max(row['change']) for row in rows):.0e}")
    table.add_row(GUESS, *(f"{error:.2f}" for error in guess), "0")
    console.print(table)
    picture(results, guess, sizes, options.out / "sets.png")
    seconds = time.perf_counter() - start
    versions = {"python": platform.python_version(), "jax": jax.__version__, "flax": flax.__version__}
    figures = {"sizes": sizes, "results": results, "guess": guess, "seeds": seeds, "steps": steps, "sets": count}
    figures |= {"seconds": seconds, "versions": versions | {"equijax": ej.__version__}}
    (options.json or options.out / "figures.json").write_text(json.dumps(figures, indent=1))
    console.print(f"{seconds:.0f} s; sets.png and figures.json are in {options.out}")


if __name__ == "__main__":
    main()
