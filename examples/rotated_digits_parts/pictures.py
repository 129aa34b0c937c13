"""The two pictures."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

import equijax as ej

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

P4 = ej.wallpaper("p4")
COLOURS = {
    "MLP": "tab:gray",
    "CNN": "tab:blue",
    "CNN, copies": "tab:cyan",
    "p4": "tab:orange",
    "p4m": "tab:red",
}


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
