"""Which side does each member take? Node classification on Zachary's karate club, from two known members a side.

The graph ships with networkx: 34 members, 78 friendships, and the side each took when the club split. Graph networks see
two labels a side and predict the other thirty. What they see at a node decides much: nothing but the shape of its
surroundings (return probabilities of a random walk), its name (one-hot, a positional encoding that no graph symmetry
moves), or eigenvectors of the Laplacian, whose sign is arbitrary. Relabelling all members moves the predictions along.

    python examples/nodes.py            # about a minute on two cores
    python examples/nodes.py --quick    # fifteen seconds
"""

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import flax
import jax
import jax.numpy as jnp
import matplotlib
import networkx as nx
import numpy as np
import optax
from flax import nnx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import equijax as ej

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

WIDTH = 16
LAYERS = {
    "MLP": lambda i, o, rngs: ej.nn.MapNodes(nnx.Linear(i, o, rngs=rngs)),
    "GCN": lambda i, o, rngs: ej.nn.GCNConv(i, o, rngs=rngs),
    "GraphSAGE": lambda i, o, rngs: ej.nn.SAGEConv(i, o, rngs=rngs),
    "GAT": lambda i, o, rngs: ej.nn.GATConv(i, o, rngs=rngs),
}


def club():
    """The graph without features, and the side of each member (0: the instructor's, 1: the officer's)."""
    data = nx.karate_club_graph()
    sides = np.array([int(data.nodes[i]["club"] == "Officer") for i in data])
    return data, sides


def features(data):
    """Three ways of telling members apart, float32 ``(34, …)`` each."""
    graph = ej.graphs.from_networkx(data)
    walk = ej.graphs.random_walk_encoding(graph, 8)
    spectrum = ej.graphs.laplacian_encoding(graph, 4).vectors
    named = {"random walk": walk, "name": np.eye(graph.num_nodes), "Laplacian": spectrum}
    return {name: graph.replace(nodes=jnp.asarray(x, jnp.float32)) for name, x in named.items()}


class Training(nnx.Module):
    """A network of two layers, and its optimiser."""

    def __init__(self, kind, in_features, rngs):
        layer = LAYERS[kind]
        self.model = ej.nn.Sequential(layer(in_features, WIDTH, rngs), ej.nn.MapNodes(jax.nn.relu), layer(WIDTH, 2, rngs))
        self.optimizer = nnx.Optimizer(self.model, optax.adamw(1e-2, weight_decay=5e-3), wrt=nnx.Param)


def step(training, graph, sides, known):
    """One step of Adam on the cross-entropy of the known members."""

    def loss_fn(model):
        loss = optax.softmax_cross_entropy_with_integer_labels(model(graph).nodes, sides)
        return jnp.where(known, loss, 0.0).sum() / known.sum()

    training.optimizer.update(training.model, nnx.grad(loss_fn)(training.model))


def trained(kind, graph, sides, known, steps):
    """Trains one network for each row of ``known``, all at once; returns the networks, stacked, and their logits."""
    rngs = nnx.Rngs(0).split(len(known))
    trainings = nnx.vmap(lambda rngs: Training(kind, graph.nodes.shape[-1], rngs))(rngs)
    all_at_once = nnx.jit(nnx.vmap(step, in_axes=(0, None, None, 0)))
    for _ in range(steps):
        all_at_once(trainings, graph, jnp.asarray(sides), jnp.asarray(known))
    return trainings.model, nnx.vmap(lambda model: model(graph).nodes)(trainings.model)


def draws(sides, count):
    """Two known members of each side, drawn again for every training, bool ``(count, 34)``."""
    known = np.zeros((count, len(sides)), bool)
    for seed in range(count):
        random = np.random.default_rng(seed)
        for side in (0, 1):
            known[seed, random.choice(np.flatnonzero(sides == side), 2, replace=False)] = True
    return known


def relabelling_error(models, graph):
    """The largest error of the first network's predictions when members are renamed and friendships reordered."""
    graph_def, state = nnx.split(models)
    model = nnx.merge(graph_def, jax.tree.map(lambda leaf: leaf[0], state))
    return float(ej.equivariance_error(model, model.in_action, model.out_action, graph).max())


def picture(data, sides, shown, accuracy, path):
    """Draws the club with one network's predictions, and all accuracies."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.2), layout="constrained", width_ratios=(1, 1.15))
    known, probability = shown
    place = nx.spring_layout(data, seed=3)
    nx.draw_networkx_edges(data, place, ax=left, alpha=0.3)
    for side, marker in ((0, "o"), (1, "s")):
        own = np.flatnonzero(sides == side)
        xy, edge = np.array([place[i] for i in own]), np.where(known[own], "black", "white")
        drawn = left.scatter(*xy.T, c=probability[own], cmap="coolwarm", vmin=0, vmax=1, marker=marker, s=190, edgecolors=edge,
                             linewidths=2.5, label=("instructor's side", "officer's side")[side])  # fmt: skip
    figure.colorbar(drawn, ax=left, label="predicted probability of the officer's side")
    left.set_title("GCN on names; black rims: the four known members", fontsize=12)
    left.legend(fontsize=10, loc="upper left")
    left.axis("off")
    encodings, kinds = list(next(iter(accuracy.values()))), list(accuracy)
    for k, kind in enumerate(kinds):
        rows = [100 * np.array(accuracy[kind][name]) for name in encodings]
        x = np.arange(len(encodings)) + 0.2 * (k - 1.5)
        right.bar(x, [row.mean() for row in rows], 0.18, yerr=[row.std() for row in rows], capsize=3, label=kind)
    right.set_xticks(range(len(encodings)), encodings, fontsize=12)
    right.set_xlabel("what is known of each member", fontsize=12)
    right.set_ylabel("accuracy on the other 30 members (%)", fontsize=12)
    right.set_ylim(0, 118)
    right.set_yticks(range(0, 101, 20))
    right.axhline(50, color="grey", linestyle=":", linewidth=1)
    right.legend(fontsize=11, ncols=4, loc="upper center")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    """Trains every network on every encoding; writes a picture and the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer draws and steps")
    parser.add_argument("--out", type=Path, default=Path("nodes_out"), help="folder for what is written")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    console, start = Console(width=None if sys.stdout.isatty() else 110), time.perf_counter()
    count, steps = (3, 100) if options.quick else (20, 200)
    data, sides = club()
    graphs = features(data)
    accuracy, errors, shown = {kind: {} for kind in LAYERS}, {}, None
    known = draws(sides, count)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("training", total=len(LAYERS) * len(graphs))
        for kind in LAYERS:
            for name, graph in graphs.items():
                models, logits = trained(kind, graph, sides, known, steps)
                right = np.asarray(logits.argmax(-1)) == sides
                accuracy[kind][name] = [float(row[~mask].mean()) for row, mask in zip(right, known, strict=True)]
                errors[f"{kind}, {name}"] = relabelling_error(models, graph)
                if (kind, name) == ("GCN", "name"):
                    shown = known[0], np.asarray(jax.nn.softmax(logits[0])[:, 1])
                progress.advance(bar)
    table = Table(title=f"accuracy on the other 30 members, mean and spread of {count} draws of the known four")
    table.add_column("network")
    for name in graphs:
        table.add_column(name)
    table.add_column("error under relabelling")
    for kind, rows in accuracy.items():
        worst = max(error for name, error in errors.items() if name.startswith(f"{kind},"))
        table.add_row(
            kind, *(f"{100 * np.mean(row):.1f} ± {100 * np.std(row):.1f} %" for row in rows.values()), f"{worst:.0e}"
        )
    console.print(table)
    picture(data, sides, shown, accuracy, options.out / "nodes.png")
    seconds = time.perf_counter() - start
    versions = {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "flax": flax.__version__,
        "equijax": ej.__version__,
    }
    figures = {
        "accuracy": accuracy,
        "errors": errors,
        "draws": count,
        "steps": steps,
        "seconds": seconds,
        "versions": versions,
    }
    (options.out / "figures.json").write_text(json.dumps(figures, indent=1))
    console.print(f"{seconds:.0f} s; nodes.png and figures.json are in {options.out}")


if __name__ == "__main__":
    main()
