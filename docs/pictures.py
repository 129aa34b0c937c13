"""Makes the two pictures of the README: maps that turn with their input, and an audit.

python docs/pictures.py            # writes docs/pictures/turning.png and docs/pictures/audit.png
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from flax import nnx
from PIL import Image
from sklearn.datasets import load_sample_image

import equijax as ej

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

FOLDER = Path(__file__).parent / "pictures"


def photograph(size: int) -> jax.Array:
    """A square piece of scikit-learn's photograph of a palace, by means of blocks of pixels, float32 ``(size, size, 3)``."""
    whole = load_sample_image("china.jpg")[:400, 60:460] / 255
    block = 400 // size
    return jnp.asarray(whole.reshape(size, block, size, block, 3).mean((1, 3)), jnp.float32)


def save(figure: plt.Figure, path: Path) -> None:
    """Writes a PNG of 256 colours, a quarter of the size."""
    figure.savefig(path, dpi=110)
    plt.close(figure)
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


def turning(path: Path) -> float:
    """Draws a photograph, its quarter turn, and the maps of two layers of p4; returns the largest relative difference."""
    group, rngs, feature = ej.wallpaper("p4"), nnx.Rngs(3), 0
    network = ej.nn.Sequential(
        ej.nn.LiftingConv(3, 8, (5, 5), padding="CIRCULAR", group=group, rngs=rngs), jax.nn.relu,
        ej.nn.GroupConv(8, 8, (5, 5), padding="CIRCULAR", group=group, rngs=rngs),
    )  # fmt: skip
    turn = ([0, 0], 1)  # no shift, one quarter turn
    image = photograph(80)
    turned = network.in_action(turn, image)
    maps, turned_maps = network(image), network(turned)
    difference = jnp.abs(turned_maps - network.out_action(turn, maps)).max() / jnp.abs(maps).max()
    figure, axes = plt.subplots(2, 5, figsize=(10, 4.5), layout="constrained")
    top = float(jnp.abs(maps[..., feature]).max())
    for line, picture, fibre, name in zip(
        axes, (image, turned), (maps, turned_maps), ("input", "turned input"), strict=True
    ):
        line[0].imshow(np.clip(picture, 0, 1))
        line[0].set_title(name, fontsize=15)
        for k, axis in enumerate(line[1:]):
            axis.imshow(fibre[..., k, feature], cmap="RdBu", vmin=-0.7 * top, vmax=0.7 * top)
            axis.set_title(f"map {90 * k}°", fontsize=15)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.suptitle("Turn the input, and every map turns and moves on by one place", fontsize=16)
    save(figure, path)
    return float(difference)


class Plain(nnx.Module):
    """A small network as many are written: zero padding, and a dense layer on a grid."""

    def __init__(self, rngs: nnx.Rngs):
        self.stem = nnx.Conv(3, 16, (3, 3), padding="CIRCULAR", rngs=rngs)
        self.padded = nnx.Conv(16, 16, (5, 5), rngs=rngs)
        self.body = nnx.Conv(16, 16, (3, 3), padding="CIRCULAR", rngs=rngs)
        self.head = nnx.Linear(16 * 20 * 20, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits ``(batch, 10)``."""
        x = nnx.relu(self.padded(nnx.relu(self.stem(x))))
        x = nnx.relu(self.body(x))
        return self.head(x.reshape(x.shape[0], -1))


def audit(path: Path) -> ej.audit.Report:
    """Draws which layer of :class:`Plain` has which share of the error under shifts, and where the padding's error sits."""
    image = photograph(20)
    batch = jnp.stack([jnp.rot90(picture, k) for picture in (image, image[::-1]) for k in range(4)])
    report = ej.explain(Plain(nnx.Rngs(0)), batch, in_action=ej.GridAction(ej.Translation(2)))
    layers = [row for row in report.rows if row.name in ("stem", "padded", "body", "head")]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.9), layout="constrained", width_ratios=(2, 1))
    shares = [100 * (row.share or 0) for row in layers]
    left.barh([row.name for row in layers], shares, color="tab:red")
    for k, row in enumerate(layers):
        what = ", ".join(cause.kind for cause in row.causes) if row.accused else "exact"
        left.text(max(shares[k], 0) + 1, k, f"{shares[k]:.0f} %  {what}", va="center", fontsize=14)
    left.invert_yaxis()
    left.set_xlim(0, 1.35 * max(shares))
    left.set_xticks(range(0, 101, 20))
    left.set_xlabel("share of the error under shifts (%)", fontsize=14)
    left.tick_params(labelsize=14)
    left.set_title("which layer, how much, and why", fontsize=15)
    left.spines[["top", "right"]].set_visible(False)
    shown = right.imshow(np.asarray(report["padded"].error_map), cmap="magma")
    right.set_title("where: the error of padded", fontsize=15)
    right.set(xticks=(0, 10, 19), yticks=(0, 10, 19))
    right.set_xlabel("column (pixels)", fontsize=14)
    right.set_ylabel("row (pixels)", fontsize=14)
    right.tick_params(labelsize=14)
    bar = figure.colorbar(shown, ax=right, shrink=0.8)
    bar.ax.tick_params(labelsize=12)
    save(figure, path)
    return report


def main() -> None:
    """Writes both pictures."""
    FOLDER.mkdir(exist_ok=True)
    print(f"largest difference, relative to the largest value: {turning(FOLDER / 'turning.png'):.0e}")
    print(audit(FOLDER / "audit.png"))


if __name__ == "__main__":
    main()
