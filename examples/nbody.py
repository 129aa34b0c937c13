"""Where do five charged bodies fly? The benchmark of the EGNN paper, on its own data, replayed number by number.

Five bodies with charges of either sign attract and repel each other. From places and velocities at one time a network
predicts the places a thousand steps later. An EGNN commutes with every rotation, reflection and translation of space; a
graph network of the same width and depth, fed with coordinates, has to learn that from 3000 trajectories. The test errors
that the paper prints are 0.0071 and 0.0107.

    python examples/nbody.py            # about six minutes on two busy cores
    python examples/nbody.py --quick    # half a minute: less data, fewer epochs
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

import equijax as ej

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

BODIES, WIDTH, LAYERS, BATCH = 5, 64, 4, 50
WEIGHT_DECAY, EPOCHS = 0.2, 100
STEP, LARGEST_FORCE = 1e-3, 100.0  # of the simulation
START, END = 3100, 4100  # the network sees the state after START steps and predicts the places after END
MOTIONS = ej.GraphAction(space=ej.E(3))
FIRST, SECOND = np.triu_indices(BODIES, 1)
RECEIVERS, SENDERS = np.nonzero(~np.eye(BODIES, dtype=bool))
PUBLISHED = {"EGNN": 0.0071, "graph network": 0.0107}  # Satorras, Hoogeboom and Welling, arXiv:2102.09844, section 5.1


def beginnings(kept):
    """Charges, places and velocities at time 0, drawn as the published script draws them; the first few of each part."""
    random, parts = np.random.RandomState(43), []
    for count, keep in zip((10_000, 2_000, 2_000), kept, strict=True):
        for k in range(count):
            charges = random.choice([-1.0, 0.0, 1.0], size=(BODIES, 1), p=[0.5, 0, 0.5])
            places, velocities = random.randn(3, BODIES), random.randn(3, BODIES)
            random.randn(2, 49, 3, BODIES)  # noise that the script scales by zero
            if k < keep:
                parts.append((charges[:, 0], places, 0.5 * velocities / np.linalg.norm(velocities, axis=0)))
    return [np.stack(column) for column in zip(*parts, strict=True)]  # (n, bodies), (n, 3, bodies), (n, 3, bodies)


def forces(charges, places):
    """Coulomb forces of one system, (3, bodies); every component is clipped."""
    difference = places[:, FIRST] - places[:, SECOND]
    squared = (difference**2).sum(0)
    pushes = (charges[FIRST] * charges[SECOND] / (squared * jnp.sqrt(squared)))[None] * difference
    total = [pushes[:, body == FIRST].sum(1) - pushes[:, body == SECOND].sum(1) for body in range(BODIES)]
    return jnp.clip(jnp.stack(total, 1), -LARGEST_FORCE, LARGEST_FORCE)


def energy(charges, places, velocities):
    """Kinetic energy of one system and that of its pairs."""
    distance = jnp.linalg.norm(places[:, FIRST] - places[:, SECOND], axis=0)
    return (velocities**2).sum() / 2 + (charges[FIRST] * charges[SECOND] / distance).sum()


@jax.jit
def simulated(charges, places, velocities, steps):
    """Places and velocities of many systems after some steps of kick and drift."""

    def one(system):
        charges, *state = system

        def step(_, state):
            places, velocities = state
            velocities = velocities + STEP * forces(charges, places)
            return places + STEP * velocities, velocities

        return jax.lax.fori_loop(0, steps, step, tuple(state))

    return jax.lax.map(one, (charges, places, velocities), batch_size=50)  # so many stay in the cache


def trajectories(kept):
    """The data set: what a network sees and has to say, the paths from START to END, and by how much energies drift."""
    with jax.enable_x64(True):
        charges, *state = map(jnp.asarray, beginnings(kept))
        states = [simulated(charges, *state, START)]
        for _ in range(10):
            states.append(simulated(charges, *states[-1], (END - START) // 10))
        before, after = (jax.vmap(energy)(charges, *states[k]) for k in (0, -1))
        drift = float(jnp.median(jnp.abs(after - before)))
    single = lambda a: np.asarray(a, np.float32)  # noqa: E731
    paths = np.stack([single(x).swapaxes(1, 2) for x, _ in states], 1)  # (n, 11, bodies, 3)
    data = {"charges": single(charges), "x": paths[:, 0], "v": single(states[0][1]).swapaxes(1, 2), "y": paths[:, -1]}
    return data, paths, drift


def as_graph(batch):
    """Trajectories as one graph: every body hears every other one of its system; edges carry the product of charges."""
    count = len(batch["x"])
    offset = BODIES * np.arange(count)[:, None]
    products = batch["charges"][:, SENDERS] * batch["charges"][:, RECEIVERS]
    return ej.Graph(
        None,
        (SENDERS + offset).ravel(),
        (RECEIVERS + offset).ravel(),
        edges=products.reshape(-1, 1),
        positions=batch["x"].reshape(-1, 3),
        velocities=batch["v"].reshape(-1, 3),
        node_graph=np.repeat(np.arange(count), BODIES),
    )


class EquivariantNetwork(nnx.Module):
    """EGNN in the paper's form; nodes begin with the speed, edges also carry the initial squared distance."""

    def __init__(self, rngs):
        self.embed = nnx.Linear(1, WIDTH, rngs=rngs)
        self.layers = nnx.List(
            [ej.nn.EGNN(WIDTH, WIDTH, edge_features=2, use_velocities=True, rngs=rngs) for _ in range(LAYERS)]
        )

    def __call__(self, graph):
        speed = jnp.linalg.norm(graph.velocities, axis=-1, keepdims=True)
        along = graph.positions[graph.receivers] - graph.positions[graph.senders]
        squared = (along**2).sum(-1, keepdims=True)
        y = graph.replace(nodes=self.embed(speed), edges=jnp.concatenate([graph.edges, squared], -1))
        for layer in self.layers:
            y = layer(y)
        return graph.replace(positions=y.positions)


def perceptron(inputs, outputs, rngs):
    """Two linear maps with an activation between them."""
    return [nnx.Linear(inputs, WIDTH, rngs=rngs), nnx.silu, nnx.Linear(WIDTH, outputs, rngs=rngs)]


class Residual(ej.nn.MessagePassing):
    """Message passing that adds what it finds to the node."""

    def update(self, nodes, aggregated):
        return nodes + super().update(nodes, aggregated)


class GraphNetwork(nnx.Module):
    """The same width, depth and edges, but coordinates are features like any other."""

    def __init__(self, rngs):
        self.embed = nnx.Linear(6, WIDTH, rngs=rngs)
        self.layers = nnx.List(
            [
                Residual(
                    message=nnx.Sequential(*perceptron(2 * WIDTH + 1, WIDTH, rngs), nnx.silu),
                    update=nnx.Sequential(*perceptron(2 * WIDTH, WIDTH, rngs)),
                )
                for _ in range(LAYERS)
            ]
        )
        self.head = nnx.Sequential(*perceptron(WIDTH, 3, rngs))

    def __call__(self, graph):
        y = graph.replace(nodes=self.embed(jnp.concatenate([graph.positions, graph.velocities], -1)))
        for layer in self.layers:
            y = layer(y)
        return graph.replace(positions=graph.positions + self.head(y.nodes))


NETWORKS = {"EGNN": EquivariantNetwork, "graph network": GraphNetwork}


def errors_of(model, batch):
    """Squared error of every trajectory, mean over bodies and axes."""
    return ((model(as_graph(batch)).positions.reshape(batch["y"].shape) - batch["y"]) ** 2).mean((1, 2))


@functools.partial(jax.jit, static_argnums=0)
def predicted(definition, params, data):
    """Squared errors and predicted places of all trajectories, a batch at a time."""

    def one(batch):
        model = nnx.merge(definition, params)
        return errors_of(model, batch), model(as_graph(batch)).positions.reshape(batch["y"].shape)

    batches = jax.tree.map(lambda a: a.reshape(-1, BATCH, *a.shape[1:]), data)
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), jax.lax.map(one, batches))


def trained(make, parts, seed, epochs, every, tick):
    """Trains one network; keeps the averaged weights that are best on validation."""
    definition, params = nnx.split(make(nnx.Rngs(seed)))
    steps = len(parts["train"]["x"]) // BATCH
    rate = optax.cosine_decay_schedule(1e-3, steps * epochs)
    optimizer = optax.chain(optax.clip_by_global_norm(0.1), optax.adamw(rate, weight_decay=WEIGHT_DECAY))
    average_of = optax.ema(0.998)

    @jax.jit
    def epoch(state, order):
        def step(state, chosen):
            params, _, memory, averaging = state
            batch = jax.tree.map(lambda a: a[chosen], parts["train"])
            loss_of = lambda params: errors_of(nnx.merge(definition, params), batch).mean()  # noqa: E731
            loss, gradient = jax.value_and_grad(loss_of)(params)
            updates, memory = optimizer.update(gradient, memory, params)
            params = optax.apply_updates(params, updates)
            average, averaging = average_of.update(params, averaging)
            return (params, average, memory, averaging), loss

        return jax.lax.scan(step, state, order)

    state = (params, params, optimizer.init(params), average_of.init(params))
    random, curve, best = np.random.default_rng(seed), [], (np.inf, 0, None)
    for k in range(1, epochs + 1):
        order = random.permutation(len(parts["train"]["x"]))[: steps * BATCH].reshape(steps, BATCH)
        state, losses = epoch(state, jnp.asarray(order))
        if k % every == 0 or k == epochs:
            error = float(predicted(definition, state[1], parts["val"])[0].mean())
            curve.append((k, float(losses.mean()), error))
            best = min(best, (error, k, state[1]), key=lambda entry: entry[0])
        tick()
    return {"definition": definition, "params": best[2], "validation": best[0], "epoch": best[1], "curve": curve}


def equivariance(run, data):
    """Relative error of the trained network under random motions and relabellings, in double precision."""
    with jax.enable_x64(True):
        double = lambda a: np.asarray(a, np.float64)  # noqa: E731
        model = nnx.merge(run["definition"], jax.tree.map(lambda a: jnp.asarray(double(a)), run["params"]))
        graph = as_graph({name: double(a)[:8] for name, a in data.items()})
        return float(ej.equivariance_error(jax.jit(model), MOTIONS, MOTIONS, graph).max())


def straight_line(parts):
    """Squared errors on the test set of x + θ v, with the best θ of the training set."""
    x, v, y = (parts["train"][name] for name in "xvy")
    theta = ((y - x) * v).sum() / (v**2).sum()
    x, v, y = (np.asarray(parts["test"][name]) for name in "xvy")
    return ((y - x - theta * v) ** 2).mean((1, 2))


def picture(runs, parts, paths, path):
    """Draws a typical test trajectory with both predictions, and the learning curves."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 6.2), layout="constrained")
    outcomes = {name: predicted(run[0]["definition"], run[0]["params"], parts["test"]) for name, run in runs.items()}
    hardness = np.argsort(straight_line(parts))
    shown = int(hardness[int(0.8 * len(hardness))])
    truth, charges = paths[shown], np.asarray(parts["test"]["charges"][shown])
    for sign, colour in ((-1, "tab:blue"), (1, "tab:red")):
        for k, body in enumerate(np.flatnonzero(charges == sign)):
            left.plot(*truth[:, body, :2].T, color=colour, lw=2.5, label=None if k else f"true path, charge {sign:+d}")
    left.plot(*truth[0, :, :2].T, "o", color="black", ms=7, label="where the network sees the bodies")
    marks = ({"marker": "x", "ms": 11, "color": "black"}, {"marker": "o", "ms": 15, "color": "tab:green"})
    for (name, (_, places)), mark in zip(outcomes.items(), marks, strict=False):
        left.plot(*np.asarray(places[shown])[:, :2].T, ls="", mew=2.5, mfc="none", label=f"{name} predicts", **mark)
    left.set(xlabel="x (simulation units)", ylabel="y (simulation units)", aspect="equal", adjustable="datalim")
    left.set_title("A test trajectory, harder than 80 % of them, one unit of time", fontsize=13)
    for name, colour in zip(runs, ("tab:orange", "tab:green"), strict=False):
        for k, run in enumerate(runs[name]):
            epochs, _, validation = zip(*run["curve"], strict=True)
            right.semilogy(epochs, validation, color=colour, lw=2, label=f"{name}, validation" if k == 0 else None)
        right.axhline(PUBLISHED[name], color=colour, ls="--", lw=1.5, label=f"{name}, published test error")
    right.set(xlabel="epochs", ylabel="mean squared error (units of length²)")
    right.set_title("Learning curves of every seed", fontsize=13)
    right.grid(alpha=0.3, which="both")
    for axis in (left, right):
        axis.xaxis.label.set_size(13)
        axis.yaxis.label.set_size(13)
        axis.legend(fontsize=11, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    """Replays the data, trains both networks with several seeds, and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the data, few epochs, one seed")
    parser.add_argument("--seeds", type=int, help="number of seeds; 3")
    parser.add_argument("--epochs", type=int, help=f"number of epochs; {EPOCHS}")
    parser.add_argument("--only", choices=NETWORKS, help="train only this network")
    parser.add_argument("--out", type=Path, default=Path("nbody_out"), help="folder for what is written")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    console, start = Console(width=None if sys.stdout.isatty() else 130), time.perf_counter()
    kept = (600, 200, 200) if options.quick else (3000, 2000, 2000)
    seeds = options.seeds or (1 if options.quick else 3)
    epochs = options.epochs or (40 if options.quick else EPOCHS)

    data, paths, drift = trajectories(kept)
    cuts = np.cumsum(kept)[:-1]
    split = {name: np.split(a, cuts) for name, a in data.items()}
    parts = {
        part: {name: jnp.asarray(arrays[k]) for name, arrays in split.items()}
        for k, part in enumerate(("train", "val", "test"))
    }
    simulation = time.perf_counter() - start
    line = straight_line(parts)
    console.print(f"{sum(kept)} trajectories replayed in {simulation:.0f} s; median energy drift {drift:.1e}")

    names = [options.only] if options.only else list(NETWORKS)
    runs, results = {name: [] for name in names}, {}
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("training", total=len(names) * seeds * epochs)
        for name in names:
            errors, seconds = [], []
            for seed in range(seeds):
                progress.update(bar, description=f"{name}, seed {seed}")
                begun = time.perf_counter()
                run = trained(NETWORKS[name], parts, seed, epochs, 5, lambda: progress.advance(bar))
                seconds.append(time.perf_counter() - begun)
                errors.append(np.asarray(predicted(run["definition"], run["params"], parts["test"])[0], np.float64))
                runs[name].append(run)
            errors = np.stack(errors)
            results[name] = {
                "test": float(errors.mean()),
                "standard_error": float(errors.mean(0).std(ddof=1) / np.sqrt(errors.shape[1])),
                "each_seed": errors.mean(1).tolist(),
                "validation": [run["validation"] for run in runs[name]],
                "epoch": [run["epoch"] for run in runs[name]],
                "curves": [run["curve"] for run in runs[name]],
                "parameters": sum(leaf.size for leaf in jax.tree.leaves(runs[name][0]["params"])),
                "equivariance_error": equivariance(runs[name][0], parts["test"]),
                "published": PUBLISHED[name],
                "seconds": seconds,
            }

    table = Table(title=f"mean squared error on {kept[2]} test trajectories, {epochs} epochs, best epoch on validation")
    for column in ("network", "parameters", "test error", "each seed", "published", "equivariance error", "seconds a seed"):
        table.add_column(column)
    straight = (float(line.mean()), float(line.std(ddof=1) / np.sqrt(len(line))))
    table.add_row("straight line x + θv", "1", f"{straight[0]:.4f} ± {straight[1]:.4f}", "–", "–", "–", "–")
    for name, row in results.items():
        each = ", ".join(f"{error:.5f}" for error in row["each_seed"])
        error, exact = f"{row['test']:.5f} ± {row['standard_error']:.5f}", f"{row['equivariance_error']:.0e}"
        table.add_row(
            name, str(row["parameters"]), error, each, str(row["published"]), exact, f"{np.mean(row['seconds']):.0f}"
        )
    console.print(table)
    console.print("± is the standard error of the mean over test trajectories, of the average over seeds.")
    picture(runs, parts, paths[cuts[1] :], options.out / "nbody.png")
    versions = {"python": platform.python_version(), "jax": jax.__version__, "flax": flax.__version__}
    report = {
        "results": results,
        "straight_line": {"test": straight[0], "standard_error": straight[1]},
        "energy_drift": drift,
        "settings": {"kept": kept, "epochs": epochs, "seeds": seeds, "batch": BATCH, "weight_decay": WEIGHT_DECAY},
        "seconds": {"simulation": simulation, "all": time.perf_counter() - start},
        "versions": versions | {"equijax": ej.__version__},
    }
    (options.out / "nbody.json").write_text(json.dumps(report, indent=1))
    console.print(f"wrote nbody.png and nbody.json to {options.out} in {report['seconds']['all']:.0f} s")


if __name__ == "__main__":
    main()
