"""Molecules and metal clusters: what a network has to see, and forces that turn with the atoms.

1. Atomisation energies of the 148 molecules of the G2 set, which ships with ase (experimental heats of formation). A linear
   fit counts atoms; a DeepSets network sees the set of atoms; message passing sees distances, too; EGNN moves points.
   Random splits, 100 molecules to learn, 18 to choose when to stop, and 30 to test, are drawn again for every seed.
2. Energies and forces of randomly displaced clusters of Cu, Ag, Au, Ni, Pd and Pt, labelled by ase's EMT calculator. A
   network predicts the energy; the forces are its exact gradient, so they conserve energy and turn with the cluster.

    python examples/molecules.py            # about three minutes on two cores
    python examples/molecules.py --quick    # thirty seconds
"""

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import ase
import flax
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from ase import units
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron, Octahedron
from ase.collections import g2
from ase.data.g2 import data as G2
from ase.data.g2 import molecule_names
from flax import nnx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import equijax as ej

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

ELEMENTS = ["H", "Li", "Be", "B", "C", "N", "O", "F", "Na", "Al", "Si", "P", "S", "Cl"]
METALS = ["Ni", "Cu", "Pd", "Ag", "Pt", "Au"]
WIDTH = 32
BOND, REACH = 2.2, 5.5  # how far atoms see each other in molecules and in metals, ångström


def radial(distance, cutoff):
    """Smooth bumps of a distance that fade out at the cutoff, ``(E,)`` to ``(E, 24)``."""
    centres = jnp.linspace(0.5, cutoff, 24, dtype=distance.dtype)
    fade = jnp.where(distance < cutoff, 0.5 * (jnp.cos(jnp.pi * distance / cutoff) + 1), 0.0)
    return fade[:, None] * jnp.exp(-10 * (distance[:, None] - centres[None, :]) ** 2)


class Interaction(ej.nn.MessagePassing):
    """A message is the sender's features, filtered by the distance; the receiver adds what the sum says."""

    def __init__(self, rngs):
        super().__init__(aggregation="sum")
        self.of_sender = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.of_distance = nnx.Linear(24, WIDTH, use_bias=False, rngs=rngs)
        self.inner, self.outer = nnx.Linear(WIDTH, WIDTH, rngs=rngs), nnx.Linear(WIDTH, WIDTH, rngs=rngs)

    def message(self, senders, receivers, edges):
        return self.of_sender(senders) * self.of_distance(edges)

    def update(self, nodes, aggregated):
        return nodes + self.outer(nnx.silu(self.inner(nnx.silu(aggregated))))


class Invariant(nnx.Module):
    """An energy for each graph from elements and distances: a sum over atoms."""

    def __init__(self, elements, cutoff, rounds, rngs):
        self.cutoff = cutoff
        self.embed = nnx.Linear(elements, WIDTH, use_bias=False, rngs=rngs)
        self.rounds = nnx.List([Interaction(rngs) for _ in range(rounds)])
        self.hidden, self.energy = nnx.Linear(WIDTH, WIDTH, rngs=rngs), nnx.Linear(WIDTH, 1, rngs=rngs)
        self.pool = ej.nn.GraphPool("sum")

    def __call__(self, graph):
        between = graph.positions[graph.senders] - graph.positions[graph.receivers]
        square = jnp.where(graph.edge_mask, (between**2).sum(-1), 1.0)
        graph = graph.replace(edges=radial(jnp.sqrt(square), self.cutoff)).map_nodes(self.embed)
        for one in self.rounds:
            graph = one(graph)
        return self.pool(graph.map_nodes(lambda x: self.energy(nnx.silu(self.hidden(x)))))[:, 0]


class DeepSets(nnx.Module):
    """An energy from the set of atoms, without their places: rho(sum of phi)."""

    def __init__(self, rngs):
        self.phi = nnx.Sequential(nnx.Linear(len(ELEMENTS), WIDTH, rngs=rngs), nnx.silu, nnx.Linear(WIDTH, WIDTH, rngs=rngs))
        self.rho = nnx.Sequential(nnx.Linear(WIDTH, WIDTH, rngs=rngs), nnx.silu, nnx.Linear(WIDTH, 1, rngs=rngs))
        self.pool = ej.nn.GraphPool("sum")

    def __call__(self, graph):
        return self.rho(self.pool(graph.map_nodes(self.phi)) / 5)[:, 0]


class Moving(nnx.Module):
    """EGNN: features and positions are updated together; the energy is a sum over atoms."""

    def __init__(self, rngs):
        self.embed = nnx.Linear(len(ELEMENTS), WIDTH, rngs=rngs)
        self.rounds = nnx.List([ej.nn.EGNN(WIDTH, WIDTH, rngs=rngs) for _ in range(3)])
        self.energy, self.pool = nnx.Linear(WIDTH, 1, rngs=rngs), ej.nn.GraphPool("sum")

    def __call__(self, graph):
        graph = graph.map_nodes(self.embed)
        for one in self.rounds:
            graph = one(graph)
        return self.pool(graph.map_nodes(self.energy))[:, 0]


NETWORKS = {
    "DeepSets": lambda seed: DeepSets(nnx.Rngs(seed)),
    "message passing": lambda seed: Invariant(len(ELEMENTS), BOND, 3, nnx.Rngs(seed)),
    "EGNN": lambda seed: Moving(nnx.Rngs(seed)),
}


def graph_of(atoms, elements, cutoff):
    """A molecule as a graph: one-hot elements, positions in ångström, an edge between all that are closer than the cutoff."""
    species = np.eye(len(elements), dtype=np.float32)[[elements.index(s) for s in atoms.get_chemical_symbols()]]
    place = atoms.get_positions().astype(np.float32)
    far = np.linalg.norm(place[:, None] - place[None], axis=-1)
    senders, receivers = np.nonzero((far < cutoff) & ~np.eye(len(atoms), dtype=bool))
    return ej.Graph(species, senders, receivers, positions=place)


def atomisation_energy(name):
    """Experimental atomisation energy in eV: what it takes to pull all atoms apart."""
    molecule = G2[name]
    energy = molecule["ZPE"] + molecule["thermal correction"] - molecule["enthalpy"]
    atoms = g2[name].get_chemical_symbols()
    return (energy + sum(G2[a]["enthalpy"] - G2[a]["thermal correction"] for a in atoms)) * units.kcal / units.mol


@nnx.jit
def energy_step(model, optimizer, graph, target, known):
    """One step on the squared error of the molecules to learn from."""
    loss, gradient = nnx.value_and_grad(lambda model: jnp.where(known, (model(graph) - target) ** 2, 0).sum() / known.sum())(
        model
    )
    optimizer.update(model, gradient)
    return loss


@nnx.jit
def energies_of(model, graph):
    """The energies of all graphs."""
    return model(graph)


def molecules(seeds, steps, progress):
    """Mean absolute errors in eV by network and split."""
    graphs = [graph_of(g2[name], ELEMENTS, BOND) for name in molecule_names]
    energies = np.array([atomisation_energy(name) for name in molecule_names])
    together = ej.graphs.batch(graphs)
    counts = np.array([np.asarray(graph.nodes).sum(0) for graph in graphs])
    errors = {name: [] for name in ("linear fit of the counts", *NETWORKS)}
    bar = progress.add_task("molecules", total=len(NETWORKS) * seeds)
    for seed in range(seeds):
        learn, choose, test = np.split(np.random.default_rng(seed).permutation(len(graphs)), (100, 118))
        known = np.isin(np.arange(len(graphs)), learn)
        a, b = counts[learn], energies[learn]
        line = counts @ np.linalg.solve(a.T @ a + 0.1 * np.eye(len(ELEMENTS)), a.T @ b)
        rest, scale = energies - line, (energies - line)[learn].std()
        errors["linear fit of the counts"].append(float(np.abs(rest[test]).mean()))
        for name, make in NETWORKS.items():
            model = make(seed)
            adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(2e-3, weight_decay=0.1))
            optimizer, target = nnx.Optimizer(model, adam, wrt=nnx.Param), jnp.asarray(rest / scale, jnp.float32)
            best = (np.inf, np.inf)
            for k in range(1, steps + 1):
                energy_step(model, optimizer, together, target, jnp.asarray(known))
                if k % 20 == 0:
                    wrong = np.abs(np.asarray(energies_of(model, together)) * scale + line - energies)
                    best = min(best, (wrong[choose].mean(), wrong[test].mean()))
            errors[name].append(float(best[1]))
            progress.advance(bar)
    return errors


def clusters(count, seed=0):
    """Randomly displaced clusters of 13 to 19 atoms with EMT energies (eV) and forces (eV/Å)."""
    random, graphs, energies, forces = np.random.default_rng(seed), [], [], []
    shapes = [lambda m: Icosahedron(m, 2), lambda m: Octahedron(m, 3), lambda m: Octahedron(m, 3, cutoff=1)]
    for k in range(count):
        atoms = ase.Atoms(shapes[k % 3](METALS[random.integers(len(METALS))]))
        atoms.positions += random.normal(scale=random.uniform(0.03, 0.25), size=atoms.positions.shape)
        atoms.calc = EMT()
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces().astype(np.float32))
        graphs.append(graph_of(atoms, METALS, REACH))
    return graphs, np.array(energies), forces


def energy_and_forces(model, graph):
    """The energies of all graphs, and minus their gradient by the positions."""

    def total(positions):
        energies = model(graph.replace(positions=positions))
        return energies.sum(), energies

    gradient, energies = jax.grad(total, has_aux=True)(graph.positions)
    return energies, -gradient


@nnx.jit
def force_step(model, optimizer, graph):
    """One step on energies and forces, both in units of their spread."""

    def loss_fn(model):
        energies, forces = energy_and_forces(model, graph)
        wrong = jnp.where(graph.graph_mask, (energies - graph.globals[:, 0]) ** 2, 0).sum() / graph.graph_mask.sum()
        bent = jnp.where(graph.node_mask[:, None], (forces - graph.velocities) ** 2, 0).sum() / (3 * graph.node_mask.sum())
        return 0.05 * wrong + bent

    loss, gradient = nnx.value_and_grad(loss_fn)(model)
    optimizer.update(model, gradient)
    return loss


def metals(counts, epochs, progress):
    """Trains one potential; returns errors of energies and forces, predicted and true forces, the error under rotations."""
    (graphs, energies, forces), train = clusters(sum(counts)), counts[0]
    atoms = np.array([np.asarray(graph.nodes).sum(0) for graph in graphs])
    fit = np.linalg.lstsq(atoms[:train], energies[:train], rcond=None)[0]
    scale = np.concatenate(forces[:train]).std()
    labelled = [  # the label of an atom is a vector, so it travels as its velocity; all in units of the forces' spread
        graph.replace(globals=np.float32([[(e - a @ fit) / scale]]), velocities=f / scale)
        for graph, e, a, f in zip(graphs, energies, atoms, forces, strict=True)
    ]
    budget = ej.graphs.GraphBudget.of(labelled, batch_size=16)
    model = Invariant(len(METALS), REACH, 2, nnx.Rngs(0))
    schedule = optax.cosine_decay_schedule(3e-3, epochs * -(-train // 16))
    optimizer, random = nnx.Optimizer(model, optax.adam(schedule), wrt=nnx.Param), np.random.default_rng(1)
    bar = progress.add_task("clusters", total=epochs)
    for _ in range(epochs):
        shuffled = [labelled[i] for i in random.permutation(train)]
        for part in ej.graphs.batches(shuffled, budget):
            force_step(model, optimizer, part)
        progress.advance(bar)
    held = ej.graphs.batch(labelled[train:])
    predict = nnx.jit(energy_and_forces)
    guess, bent = (np.asarray(part) * scale for part in predict(model, held))
    sizes = np.array([graph.num_nodes for graph in graphs[train:]])
    wrong = np.abs(guess - np.asarray(held.globals)[:, 0] * scale) / sizes
    truth = np.asarray(held.velocities) * scale
    turn = np.asarray(ej.SO(3).sample(jax.random.key(0)), np.float32)
    turned = held.replace(positions=held.positions @ turn.T)
    apart = np.abs(np.asarray(predict(model, turned)[1]) * scale - bent @ turn.T).max() / np.abs(bent).max()
    return {
        "energy_mae_mev_per_atom": float(1e3 * wrong.mean()),
        "energy_mae_of_the_mean": float(1e3 * np.abs((energies - atoms @ fit)[train:] / sizes).mean()),
        "force_mae_mev_per_angstrom": float(1e3 * np.abs(bent - truth).mean()),
        "force_mae_of_zero": float(1e3 * np.abs(truth).mean()),
        "error_under_rotation": float(apart),
        "train": train,
        "test": len(sizes),
    }, (truth, bent)


def picture(errors, forces, path):
    """Draws the errors on molecules, and forces on clusters against the truth."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained", width_ratios=(1.25, 1))
    names = list(errors)
    left.barh(range(len(names)), [np.mean(errors[n]) for n in names], xerr=[np.std(errors[n]) for n in names], capsize=4,
              color=["grey", "tab:blue", "tab:orange", "tab:green"])  # fmt: skip
    for k, name in enumerate(names):
        left.plot(errors[name], [k] * len(errors[name]), "k.", alpha=0.6)
    left.set_yticks(range(len(names)), names, fontsize=12)
    left.invert_yaxis()
    left.set_xlabel("error of the atomisation energy (eV), 30 unseen molecules", fontsize=12)
    left.grid(alpha=0.3, axis="x")
    truth, bent = forces
    right.hexbin(truth.reshape(-1), bent.reshape(-1), gridsize=60, bins="log", mincnt=1, cmap="viridis")
    limit = np.abs(truth).max()
    right.plot([-limit, limit], [-limit, limit], "k:", linewidth=1)
    right.set_xlabel("EMT force component (eV/Å)", fontsize=12)
    right.set_ylabel("predicted force component (eV/Å)", fontsize=12)
    right.set_title("unseen metal clusters; colour: number of components", fontsize=12)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    """Both tasks; writes a picture and the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer splits, clusters and steps")
    parser.add_argument("--out", type=Path, default=Path("molecules_out"), help="folder for what is written")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    console, start = Console(width=None if sys.stdout.isatty() else 110), time.perf_counter()
    seeds, steps, counts, epochs = (2, 60, (96, 32), 4) if options.quick else (5, 400, (640, 160), 40)
    with Progress(console=console, transient=True) as progress:
        errors = molecules(seeds, steps, progress)
        figures, forces = metals(counts, epochs, progress)
    table = Table(
        title=f"G2 atomisation energies: error on 30 unseen molecules, mean and spread of {seeds} splits of 100 / 18 / 30"
    )
    table.add_column("network")
    table.add_column("mean absolute error (eV)")
    for name, row in errors.items():
        table.add_row(name, f"{np.mean(row):.2f} ± {np.std(row):.2f}")
    console.print(table)
    table = Table(title=f"EMT clusters: {figures['train']} to learn, {figures['test']} to test")
    for column in ("", "network", "reference"):
        table.add_column(column)
    table.add_row(
        "energy (meV/atom)",
        f"{figures['energy_mae_mev_per_atom']:.1f}",
        f"{figures['energy_mae_of_the_mean']:.1f} (mean of the metal)",
    )
    table.add_row(
        "force (meV/Å)", f"{figures['force_mae_mev_per_angstrom']:.0f}", f"{figures['force_mae_of_zero']:.0f} (no force)"
    )
    table.add_row("forces under a rotation, relative", f"{figures['error_under_rotation']:.0e}", "–")
    console.print(table)
    picture(errors, forces, options.out / "molecules.png")
    seconds = time.perf_counter() - start
    versions = {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "flax": flax.__version__,
        "ase": ase.__version__,
        "equijax": ej.__version__,
    }
    saved = {
        "molecules": errors,
        "clusters": figures,
        "steps": steps,
        "epochs": epochs,
        "seconds": seconds,
        "versions": versions,
    }
    (options.out / "figures.json").write_text(json.dumps(saved, indent=1))
    console.print(f"{seconds:.0f} s; molecules.png and figures.json are in {options.out}")


if __name__ == "__main__":
    main()
