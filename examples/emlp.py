"""Learning physics from a handful of examples: the synthetic tasks of the EMLP paper.

Three functions of vectors, each with a symmetry: a function of two vectors in five dimensions that no rotation or reflection
changes (O(5)); the moment of inertia of five masses, a matrix that turns with them (O(3)); and the matrix element of
electron-muon scattering, a function of four momenta that no Lorentz transformation changes (O(1,3)). One network class,
`ej.nn.EMLP`, learns all three; only the group and the two representations differ. The protocol is that of the paper: 30 to
30 000 examples to learn, 1000 to choose the step at which to stop, 5000 to test, three seeds.

    python examples/emlp.py            # all sizes, three seeds
    python examples/emlp.py --quick    # 30 and 300 examples, one seed

Finzi, Welling and Wilson, "A Practical Method for Constructing Equivariant Multilayer Perceptrons for Arbitrary Matrix
Groups", ICML 2021, arXiv:2104.09459; the published figures are the means of the three seeds in its authors' repository.
"""

import argparse
import json
import platform
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

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

import equijax as ej

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

SIZES, VALIDATION, TEST = (30, 100, 300, 1000, 3000, 10000, 30000), 1000, 5000
BATCH, CHUNK = 300, 100

# A 3×3 matrix has an antisymmetric part, a pseudovector. The moment of inertia has none, and the network carries none.
warnings.filterwarnings("ignore", message="no equivariant map reaches Irrep\\(O\\(3\\), 1, parity=1\\)")

O5, O3, LORENTZ = ej.O(5), ej.O(3), ej.Lorentz()
VECTOR, SCALAR = ej.reps.Vector, ej.reps.Scalar


class Data(NamedTuple):
    """Inputs `(number, fibre, features)` and what they should give, `(number, fibre, 1)` or `(number, 1)`."""

    x: np.ndarray
    y: np.ndarray


def invariant_function(random, number):
    """Two vectors of R⁵: sin|a| - |b|³/2 + cos of the angle between them."""
    x = random.normal(size=(number, 5, 2))
    a, b = np.linalg.norm(x, axis=1).T
    return Data(x, (np.sin(a) - b**3 / 2 + (x[..., 0] * x[..., 1]).sum(1) / (a * b))[:, None])


def moment_of_inertia(random, number):
    """Five masses and positions; the fibre of each is (mass, x, y, z)."""
    mass, place = np.log1p(np.exp(random.normal(size=(number, 5)))), random.normal(size=(number, 3, 5))
    trace = np.einsum("nk,nik,nik->n", mass, place, place)[:, None, None] * np.eye(3)
    inertia = trace - np.einsum("nk,nik,njk->nij", mass, place, place)
    return Data(np.concatenate([mass[:, None], place], axis=1), inertia.reshape(number, 9, 1))


def scattering(random, number):
    """Four momenta (E, x, y, z); the contraction of the electron's and the muon's tensor."""
    x = random.normal(size=(number, 4, 4)) / 4
    metric = np.diag([1.0, -1.0, -1.0, -1.0])
    products = np.einsum("nak,ab,nbl->nkl", x, metric, x)
    p, q, p_out, q_out = np.moveaxis(x, 2, 0)
    electron = p[:, :, None] * p_out[:, None] - (products[:, 0, 2] - products[:, 0, 0])[:, None, None] * metric
    muon = q[:, :, None] * q_out[:, None] - (products[:, 1, 3] - products[:, 1, 1])[:, None, None] * metric
    return Data(x, 4 * np.einsum("nab,ac,bd,ncd->n", electron, metric, metric, muon)[:, None])


class Task(NamedTuple):
    """One function to learn, and the network for it."""

    name: str
    draw: Callable[[Any, int], Data]
    in_rep: ej.reps.Representation
    out_rep: ej.reps.Representation
    network: dict[str, Any]
    steps: int
    published: dict[str, tuple[float, ...]]


TASKS = (
    Task(
        "O(5) invariance",
        invariant_function,
        VECTOR(O5),
        SCALAR(O5),
        {"hidden_rep": 4 * SCALAR(O5) + VECTOR(O5), "hidden": 144, "layers": 3},
        2000,
        {
            "EMLP": (0.152, 0.0408, 0.0344, 0.0170, 0.0311, 0.0130, 0.0273),
            "MLP": (28.1, 2.83, 0.248, 0.0892, 0.0622, 0.0616, 0.0622),
            "MLP, turned copies": (0.476, 0.397, 0.0937, 0.0634, 0.0890, 0.0702, 0.0672),
        },
    ),
    Task(
        "inertia, O(3)",
        moment_of_inertia,
        SCALAR(O3) + VECTOR(O3),
        VECTOR(O3) * VECTOR(O3),
        {"hidden_rep": 4 * SCALAR(O3) + VECTOR(O3) + ej.reps.Irrep(O3, 2), "hidden": 192, "layers": 2},
        2000,
        {
            "EMLP": (4.11, 1.44, 0.304, 0.136, 0.0281, 0.0180, 0.0141),
            "MLP": (13.5, 7.90, 4.94, 3.24, 0.840, 0.154, 0.111),
            "MLP, turned copies": (4.64, 1.78, 0.463, 0.130, 0.112, 0.112, 0.106),
        },
    ),
    Task(
        "scattering, Lorentz",
        scattering,
        VECTOR(LORENTZ),
        SCALAR(LORENTZ),
        {"hidden_rep": 4 * SCALAR(LORENTZ) + VECTOR(LORENTZ), "hidden": 128, "layers": 2},
        2000,
        {
            "EMLP": (0.540, 0.00888, 0.00195, 0.00033, 0.000266, 0.000264, 0.000158),
            "MLP": (0.733, 0.733, 0.698, 0.364, 0.0504, 0.0166, 0.0120),
            "MLP, turned copies": (0.628, 0.190, 0.0396, 0.0125, 0.0108, 0.0134, 0.0117),
        },
    ),
)


def scaled(task, training, *others):
    """Divides inputs by one number, and shifts and scales outputs, in ways that commute with the group."""
    size = np.sqrt(np.mean(training.x**2))
    centre = training.y.mean(0) if not task.out_rep.shape else 0.0
    spread = training.y.std()
    return spread, [
        Data(jnp.asarray(part.x / size, jnp.float32), jnp.asarray((part.y - centre) / spread, jnp.float32))
        for part in (training, *others)
    ]


def mean_square(model, data):
    """Mean squared error over all numbers of all outputs."""
    return jnp.mean((model(data.x) - data.y) ** 2)


@nnx.jit(static_argnames="batch")
def train_chunk(model, optimizer, training, validation, test, key, batch):
    """Takes CHUNK steps of Adam; returns the errors on the validation and the test set."""
    graph, state = nnx.split((model, optimizer))

    def step(state, key):
        model, optimizer = nnx.merge(graph, state)
        chosen = jax.random.randint(key, (batch,), 0, len(training.y))
        part = Data(training.x[chosen], training.y[chosen]) if batch < len(training.y) else training
        optimizer.update(model, nnx.grad(mean_square)(model, part))
        return nnx.state((model, optimizer)), None

    state, _ = jax.lax.scan(step, state, jax.random.split(key, CHUNK))
    nnx.update((model, optimizer), state)
    return mean_square(model, validation), mean_square(model, test)


def learn(task, number, seed, advance):
    """Trains one network; returns the test error at the step at which the validation error is least, and the network."""
    random = np.random.RandomState(seed)
    spread, parts = scaled(task, *(task.draw(random, count) for count in (number, VALIDATION, TEST)))
    features = parts[0].x.shape[-1]
    model = ej.nn.EMLP(task.in_rep, task.out_rep, in_features=features, **task.network, rngs=nnx.Rngs(seed))
    schedule = optax.warmup_cosine_decay_schedule(0, 3e-3, task.steps // 10, task.steps)
    optimizer = nnx.Optimizer(model, optax.adamw(schedule, weight_decay=1e-4), wrt=nnx.Param)
    history = []
    for key in jax.random.split(jax.random.key(seed), task.steps // CHUNK):
        history.append(train_chunk(model, optimizer, *parts, key, batch=min(BATCH, number)))
        advance(CHUNK)
    errors = np.array(history, float) * spread**2
    return float(errors[np.argmin(errors[:, 0]), 1]), model


def broken_law(model):
    """The largest relative error of the law over random elements of every component, in double precision."""
    with jax.enable_x64(True):
        graph, state = nnx.split(model)
        exact = jax.jit(nnx.merge(graph, jax.tree.map(lambda a: a.astype(jnp.float64), state)))
        x = jax.random.normal(jax.random.key(0), (5, model.in_rep.dim, model.blocks[0].linear.in_features))
        elements = model.group.draw(jax.random.key(1), (8,))
        return float(np.max(ej.equivariance_error(exact, model.in_action, model.out_action, x, elements)))


def tables(results, sizes):
    """One table for each task: ours beside the published figures."""
    for task in TASKS:
        table = Table(title=f"{task.name}: mean squared error on {TEST} test examples", title_justify="left")
        for column in ("examples to learn", *map(str, sizes)):
            table.add_column(column, justify="left" if column.startswith("e") else "right")
        means = np.mean(results[task.name]["error"], axis=0)
        table.add_row("EMLP, here", *(f"{error:.3g}" for error in means), style="bold")
        for name, row in task.published.items():
            table.add_row(f"{name}, published", *(f"{row[SIZES.index(size)]:.3g}" for size in sizes))
        yield table


def picture(results, sizes, path):
    """Test error against the number of examples; a band spans the seeds, broken lines are published."""
    plt.rcParams.update({"font.size": 14, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(1, len(TASKS), figsize=(15, 5), layout="constrained")
    for axis, task in zip(axes, TASKS, strict=True):
        errors = np.array(results[task.name]["error"])
        axis.plot(sizes, errors.mean(0), "o-", color="tab:blue", lw=2.5, label="EMLP, here")
        axis.fill_between(sizes, errors.min(0), errors.max(0), color="tab:blue", alpha=0.25, lw=0)
        styles = zip(task.published.items(), ("tab:blue", "tab:red", "tab:orange"), "s^D", strict=True)
        for (name, row), colour, marker in styles:
            axis.plot(SIZES, row, ls="--", marker=marker, color=colour, lw=1.5, ms=5, label=f"{name}, published")
        axis.set(xscale="log", yscale="log", title=task.name, xlabel="examples to learn from")
    axes[0].set_ylabel("mean squared error on test examples")
    axes[0].legend(frameon=False, fontsize=12)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    """Trains all networks on all sizes, prints the tables, writes a picture and the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, two sizes, fewer steps")
    parser.add_argument("--out", type=Path, default=Path("emlp_out"), help="folder for what is written")
    parser.add_argument("--json", type=Path, help="file for the figures; None is figures.json in the folder")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    console, start = Console(width=None if sys.stdout.isatty() else 110), time.perf_counter()
    seeds, sizes = (1, (30, 300)) if options.quick else (3, SIZES)
    results = {}
    with Progress(console=console, transient=True) as progress:
        for task in TASKS:
            task = task._replace(steps=400) if options.quick else task
            bar = progress.add_task(task.name, total=seeds * len(sizes) * task.steps)
            errors = np.zeros((seeds, len(sizes)))
            for k, number in enumerate(sizes):
                for seed in range(seeds):
                    errors[seed, k], model = learn(task, number, seed, lambda steps: progress.advance(bar, steps))  # noqa: B023
            results[task.name] = {"error": errors.tolist(), "broken law": broken_law(model), "steps": task.steps}
    for table in tables(results, sizes):
        console.print(table)
    for name, row in results.items():
        console.print(f"{name}: the trained network breaks the law by {row['broken law']:.0e}, float64")
    picture(results, sizes, options.out / "emlp.png")
    seconds = time.perf_counter() - start
    versions = {"python": platform.python_version(), "jax": jax.__version__, "flax": flax.__version__}
    figures = {"sizes": sizes, "results": results, "published": {task.name: task.published for task in TASKS}}
    figures |= {"seeds": seeds, "seconds": seconds, "versions": versions | {"equijax": ej.__version__}}
    (options.json or options.out / "figures.json").write_text(json.dumps(figures, indent=1))
    console.print(f"{seconds:.0f} s; emlp.png and figures.json are in {options.out}")


if __name__ == "__main__":
    main()
