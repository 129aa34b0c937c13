"""Draws layers of convolution at random: group, fibres, window, sampling, sizes; the same ones every time."""

import dataclasses
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import equijax as ej
from equijax.reps import Quotient, Regular, Scalar, Vector, irreps
from tests.helpers import QUATERNIONS

GRIDS = {
    "T1": ej.Translation(1),
    "T2": ej.Translation(2),
    "T3": ej.Translation(3),
    "line": ej.SpaceGroup(ej.Reflection(1)),
    "p2": ej.wallpaper("p2"),
    "p4": ej.wallpaper("p4"),
    "p4m": ej.wallpaper("p4m"),
    "p6": ej.wallpaper("p6"),
    "p6m": ej.wallpaper("p6m"),
    "cube": ej.SpaceGroup(ej.Octahedral()),
}
FINITE = {"C7": ej.Cyclic(7), "D5": ej.Dihedral(5), "quaternions": QUATERNIONS}
WORDS = ("strides", "kernel_dilation", "padding", "in_fibre", "out_fibre", "feature_group_count", "use_bias")
#: Groups on whose grids a window has a sample in its middle.
ODD = ("p6", "p6m")


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A layer, and where it is looked at.

    Attributes:
      text: what was drawn.
      layer: the layer.
      point: an input and the layer's state, float64, all of which float32 holds exactly.
      along: a direction in which both move; it leads outwards.
    """

    text: str
    layer: nnx.Module
    point: tuple[Any, Any]
    along: tuple[Any, Any]


class _Draw:
    """Numbers and choices from one seed."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def pick(self, *options):
        return options[int(self.rng.integers(len(options)))]

    def often(self, part):
        return bool(self.rng.random() < part)

    def numbers(self, shape, scale=1.0):
        """Normal numbers that float32 holds exactly, float64."""
        return jnp.asarray(np.asarray(scale * self.rng.normal(size=shape), np.float32), jnp.float64)

    def initial(self, key, shape, dtype):
        """An initialiser with the variance of a layer's own."""
        del key
        return jnp.asarray(self.numbers(shape, max(1, np.prod(shape[:-1])) ** -0.5), dtype)

    def subgroup(self, H):
        """A subgroup that one element generates."""
        return H.subgroup([int(self.rng.integers(1, H.order))])

    def fibre(self, H, permuted):
        """A fibre of the point group; one that it only permutes where that is asked for."""
        if H.order == 1:
            return Scalar(H)
        kinds = ["scalar", "regular", "quotient", "sum"]
        kind = self.pick(*kinds, *(() if permuted else ("vector", "irrep")))
        if kind == "vector" and getattr(H, "ndim", 0):
            return Scalar(H) + Vector(H)
        if kind in ("vector", "irrep"):
            return Scalar(H) + self.pick(*irreps(H)[1:])  # an invariant beside it, so that something gets through
        fibres = {"scalar": Scalar(H), "regular": Regular(H), "quotient": Quotient(self.subgroup(H))}
        return fibres[kind] if kind in fibres else Regular(H) + self.pick(Scalar(H), fibres["quotient"])

    def padding(self, d, reflects):
        """A mode, or pairs."""
        modes = ["SAME", "VALID", "CIRCULAR", "pairs", *(("REFLECT", "CAUSAL")[: 2 if d == 1 else 1] if reflects else ())]
        mode = self.pick(*modes)
        return mode if mode != "pairs" else tuple(tuple(map(int, self.rng.integers(0, 4, 2))) for _ in range(d))


def draw(seed: int) -> Drawn:
    """Draws one layer."""
    one = _Draw(seed)
    plain = one.often(0.2)
    name = one.pick(*(FINITE if plain else GRIDS))
    group = (FINITE if plain else GRIDS)[name]
    H, d = (group, 0) if plain else (group.point_group, group.ndim)
    kind = one.pick("Conv", "Conv", "GroupConv") if plain else one.pick(
        "Conv", "Conv", "LiftingConv", "GroupConv", "GroupConv", "ProjectionConv", "ConvTranspose"
    )  # fmt: skip
    given: dict[str, Any] = {"group": group, "use_bias": one.often(0.7)}
    if not plain:
        given |= _on_grid(one, kind, name, d)
    permuted = one.often(0.75)
    if kind in ("Conv", "ConvTranspose"):
        given |= {"in_fibre": one.fibre(H, permuted), "out_fibre": one.fibre(H, permuted)}
    elif kind == "LiftingConv" and one.often(0.3):
        given |= {"out_fibre": one.fibre(H, permuted)}
    features = [int(n) for n in one.rng.integers(1, 4, 2)]
    if kind != "ConvTranspose" and one.often(0.15):
        given["feature_group_count"] = one.pick(2, 3)
        features = [n * given["feature_group_count"] for n in features]
    window = () if plain else given.pop("kernel_size")
    given |= {"kernel_init": one.initial, "bias_init": one.initial, "param_dtype": jnp.float64, "allow_inexact": True}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no equivariant map reaches")  # a part that stays 0 is a case, too
        layer = getattr(ej.nn, kind)(*features, window, rngs=nnx.Rngs(0), **given)
    sizes = _sizes(one, layer, d)
    x = one.numbers((int(one.rng.integers(1, 4)), *sizes, *layer.in_fibre.shape, features[0]))
    point = x, nnx.state(layer)
    along = jax.tree.map(lambda leaf: leaf + one.numbers(leaf.shape, 0.3), point)
    words = ", ".join(f"{key}={given[key]}" for key in WORDS if key in given)
    text = f"{seed}: {kind} {name} {features} window {window} on {sizes}, {words}"
    return Drawn(text, layer, point, along)


def _on_grid(one, kind, name, d):
    """Window, strides, dilation and padding."""
    largest = {1: 5, 2: 5, 3: 3}[d]
    window = 1 if one.often(0.1 if name[0] == "T" else 0.5) else int(one.rng.integers(2, largest + 1))
    window += window % 2 == 0 and name in ODD
    own = (window,) * d if name not in ("T2", "p2") or window == 1 else (window, int(one.rng.integers(1, 5)))
    stride, dilation = 2 if one.often(0.15 if kind != "ConvTranspose" else 0.6) else 1, 2 if one.often(0.2) else 1
    padding = one.padding(d, kind != "ConvTranspose") if window > 1 else one.pick("SAME", "VALID", "CIRCULAR")
    return {"kernel_size": own, "strides": stride, "kernel_dilation": dilation, "padding": padding}


def _sizes(one, layer, d):
    """Sizes that the window fits into; unequal ones too."""
    least = max(layer.sampling.extents, default=1)
    few = {0: 1, 1: 8, 2: 4, 3: 2}[d]
    return tuple(max(least, few) + int(one.rng.integers(0, 3)) for _ in range(d))
