"""What breaks equivariance? An audit of a plain CNN, and the repairs, one by one.

A classifier with coordinate channels, zero padding, strides and flatten + dense learns centred images: the handwritten
digits of scikit-learn, and patches of its two photographs (a temple and a flower; left halves to learn, right halves to
test). The audit says which layer breaks the symmetry under shifts. What it proposes is applied step by step: the
end-to-end error falls to rounding, predictions stop depending on where the object is, and the price is shown too.

    python examples/what_breaks_equivariance.py            # about a minute and a half on two cores
    python examples/what_breaks_equivariance.py --quick    # twenty seconds
"""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from flax import nnx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.datasets import load_digits, load_sample_images

import equijax as ej

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

SHIFTS = ej.GridAction(ej.Translation(2))
INVARIANT = ej.TrivialAction(SHIFTS.group)
ELEMENTS = jnp.asarray([[1, 0], [0, 1], [4, 0], [0, 4]])  # the strides don't divide the first two, they do the others
SIZE, WIDTH = 16, 24


@dataclasses.dataclass(frozen=True)
class Design:
    """What the classifier is made of; the repairs change one thing each."""

    coordinates: bool = True
    padding: str = "SAME"
    flatten: bool = True
    polyphase: bool = False


STEPS = {
    "plain CNN": Design(),
    "no coordinates": Design(coordinates=False),
    "circular padding": Design(coordinates=False, padding="CIRCULAR"),
    "global pool": Design(coordinates=False, padding="CIRCULAR", flatten=False),
    "polyphase strides": Design(coordinates=False, padding="CIRCULAR", flatten=False, polyphase=True),
}


class Classifier(nnx.Module):
    """Two strided convolutions and a dense layer, as the design says."""

    def __init__(self, design: Design, classes: int, rngs: nnx.Rngs):
        self.design = design
        channels = 3 if design.coordinates else 1
        if design.polyphase:
            self.stem = ej.nn.PolyphaseConv(channels, WIDTH, (3, 3), 2, rngs=rngs)
            self.body = ej.nn.PolyphaseConv(WIDTH, 2 * WIDTH, (3, 3), 2, rngs=rngs)
        else:
            self.stem = nnx.Conv(channels, WIDTH, (3, 3), strides=2, padding=design.padding, rngs=rngs)
            self.body = nnx.Conv(WIDTH, 2 * WIDTH, (3, 3), strides=2, padding=design.padding, rngs=rngs)
        self.head = nnx.Linear(2 * WIDTH * ((SIZE // 4) ** 2 if design.flatten else 1), classes, rngs=rngs)

    def __call__(self, x):
        if self.design.coordinates:
            line = jnp.linspace(-1, 1, x.shape[1], dtype=x.dtype)
            pair = jnp.stack(jnp.meshgrid(line, line), -1)
            x = jnp.concatenate([x, jnp.broadcast_to(pair, (*x.shape[:-1], 2))], -1)
        x = nnx.relu(self.stem(x))
        x = nnx.relu(self.body(x))
        x = x.reshape(x.shape[0], -1) if self.design.flatten else x.mean((1, 2))
        return self.head(x)


def digits():
    """Digits in the middle of a black square: train and test images and labels."""
    images, labels = load_digits(return_X_y=True)
    margin = (SIZE - 8) // 2
    x = np.pad(images.reshape(-1, 8, 8, 1) / 16, ((0, 0), (margin,) * 2, (margin,) * 2, (0, 0))).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    return x[order[:1200]], labels[order[:1200]], x[order[1200:]], labels[order[1200:]]


def photographs():
    """Patches of two photographs at half resolution; the left halves are for training, the right ones for testing."""
    random, parts = np.random.default_rng(0), {"train": [], "test": []}
    for label, image in enumerate(load_sample_images().images):
        grey = image[::2, ::2].mean(-1) / 255
        middle = grey.shape[1] // 2
        for name, half, count in (("train", grey[:, :middle], 600), ("test", grey[:, middle:], 300)):
            for _ in range(count):
                i, j = random.integers(half.shape[0] - SIZE), random.integers(half.shape[1] - SIZE)
                parts[name].append((half[i : i + SIZE, j : j + SIZE, None], label))
    arrays = {name: [np.array(column) for column in zip(*rows, strict=True)] for name, rows in parts.items()}
    mean = arrays["train"][0].mean()
    return tuple(
        array for name in ("train", "test") for array in ((arrays[name][0] - mean).astype(np.float32), arrays[name][1])
    )


@nnx.jit
def train_step(model, optimizer, x, y):
    """One step of Adam on the cross-entropy."""

    def loss_fn(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    loss, gradient = nnx.value_and_grad(loss_fn)(model)
    optimizer.update(model, gradient)
    return loss


def trained(design, data, steps, progress, task):
    """Trains one classifier."""
    x, y, _, _ = data
    model = Classifier(design, int(y.max()) + 1, nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(3e-3), wrt=nnx.Param)
    random = np.random.default_rng(1)
    for _ in range(steps):
        batch = random.integers(0, len(x), 64)
        train_step(model, optimizer, jnp.asarray(x[batch]), jnp.asarray(y[batch]))
        progress.advance(task)
    return model


def judged(model, data, shifts):
    """Audits a trained model, and measures accuracy and how often predictions survive a shift."""
    _, _, x, y = data
    report = ej.audit.explain(model, x[:128], in_action=SHIFTS, out_action=INVARIANT, elements=ELEMENTS, shifts=shifts)
    kept = report.consistency
    call, random, moved = nnx.jit(lambda model, x: model(x).argmax(-1)), np.random.default_rng(2), []
    for _ in range(shifts):
        moved.append(np.mean(np.asarray(call(model, jnp.roll(x, tuple(random.integers(SIZE, size=2)), (1, 2)))) == y))
    figures = {
        "error": float(np.nanmax(report.error)),
        "floor": report.floor,
        "accused": {row.name: [cause.kind for cause in row.causes] for row in report.accused},
        "accuracy": float(np.mean(np.asarray(call(model, jnp.asarray(x))) == y)),
        "accuracy_shifted": float(np.mean(moved)),
        "kept_circular": kept.circular,
        "kept_crops": kept.crops,
    }
    return report, figures


def picture(results, path):
    """Draws error, accuracy and consistency by step of the repair."""
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.6), layout="constrained")
    places, names = np.arange(len(STEPS)), list(STEPS)
    for (task, rows), colour in zip(results.items(), ("tab:blue", "tab:orange"), strict=True):
        rows = [rows[name] for name in names]
        axes[0].semilogy(places, [max(row["error"], 1e-9) for row in rows], "o-", color=colour, label=task)
        axes[1].plot(places, [100 * row["accuracy"] for row in rows], "o-", color=colour, label=f"{task}, centred")
        axes[1].plot(places, [100 * row["accuracy_shifted"] for row in rows], "s--", color=colour, label=f"{task}, shifted")
        axes[2].plot(
            places, [100 * row["kept_circular"] for row in rows], "o-", color=colour, label=f"{task}, circular shifts"
        )
        crops = [np.nan if row["kept_crops"] is None else 100 * row["kept_crops"] for row in rows]
        axes[2].plot(places, crops, "s--", color=colour, label=f"{task}, crops")
    titles = ("error under unit shifts (relative)", "test accuracy (%)", "predictions kept (%)")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_xticks(places, names, rotation=25, ha="right")
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=9)
    figure.savefig(path, dpi=130)


def main():
    """Trains, audits and repairs on both tasks; writes a picture, a page and the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    parser.add_argument("--out", type=Path, default=Path("what_breaks_equivariance"), help="folder for what is written")
    parser.add_argument("--json", type=Path, help="file for the figures; None is figures.json in the folder")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    console, start = Console(width=None if sys.stdout.isatty() else 130), time.perf_counter()
    steps, shifts = (60, 4) if options.quick else (400, 16)
    results, first = {}, None
    with Progress(console=console, transient=True) as progress:
        for task, data in (("digits", digits()), ("photographs", photographs())):
            results[task] = {}
            for name, design in STEPS.items():
                bar = progress.add_task(f"{task}: {name}", total=steps)
                model = trained(design, data, steps, progress, bar)
                report, results[task][name] = judged(model, data, shifts)
                first = first or report
    console.print(first)
    first.to_html(options.out / "audit.html")
    table = Table(title="the repairs, one by one")
    for column in ("task", "network", "error", "accused", "accuracy %", "shifted %", "kept: circular %", "kept: crops %"):
        table.add_column(column)
    for task, rows in results.items():
        for name, row in rows.items():
            crops = "–" if row["kept_crops"] is None else f"{100 * row['kept_crops']:.1f}"
            accused = ", ".join(dict.fromkeys(kind for kinds in row["accused"].values() for kind in kinds))
            figures = [f"{100 * row[key]:.1f}" for key in ("accuracy", "accuracy_shifted", "kept_circular")]
            table.add_row(task, name, f"{row['error']:.1e}", accused or "nobody", *figures, crops)
    console.print(table)
    picture(results, options.out / "repairs.png")
    seconds = time.perf_counter() - start
    figures = {"results": results, "steps": steps, "shifts": shifts, "seconds": seconds, "versions": dict(first.versions)}
    (options.json or options.out / "figures.json").write_text(json.dumps(figures, indent=1))
    console.print(f"{seconds:.0f} s; audit.html, repairs.png and figures.json are in {options.out}")


if __name__ == "__main__":
    main()
