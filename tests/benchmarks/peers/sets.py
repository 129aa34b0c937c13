"""The layer of deep sets: every element through one matrix, the mean of all through another."""

import dataclasses
from typing import Any, ClassVar

import jax
import numpy as np
from flax import nnx

import equijax as ej


@dataclasses.dataclass(frozen=True)
class SetLayer:
    """A layer from features to as many, on a batch of sets."""

    features: int
    elements: int = 256
    batch: int = 64

    family: ClassVar[str] = "sets"
    modes: ClassVar[tuple[str, ...]] = ("forward", "gradient")
    peer: ClassVar[str] = "torch"

    @property
    def name(self) -> str:
        """What a table shows."""
        return f"deep sets ({self.features})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the input."""
        return self.batch, self.elements, self.features

    def data(self) -> dict[str, Any]:
        """The input, and the weights that all sides get."""
        draw, width = np.random.default_rng(0), self.features
        shapes = {"x": self.shape, "own": (width, width), "pooled": (width, width), "bias": (width,)}
        return {name: draw.normal(size=shape, scale=scale(name, width)).astype(np.float32) for name, shape in shapes.items()}

    def module(self, kind: str, rngs: nnx.Rngs) -> nnx.Module:
        """Makes the layer; ``kind`` is ``"equijax"`` or ``"nnx"``."""
        return (ej.nn.SetLinear if kind == "equijax" else PlainSetLinear)(self.features, self.features, rngs=rngs)

    def parts(self, kind: str) -> dict[str, str]:
        """Where each weight of ``data`` is in the module."""
        if kind == "equijax":
            return {"own": "kernel", "pooled": "pool_kernel", "bias": "bias"}
        return {"own": "own.kernel", "pooled": "pooled.kernel", "bias": "own.bias"}

    def inputs(self, kind: str) -> tuple[Any, ...]:
        """What ``apply`` takes behind the module."""
        return (self.data()["x"],)

    def apply(self, kind: str, module: Any, x: jax.Array) -> jax.Array:
        """The layer's output."""
        return module(x)


class PlainSetLinear(nnx.Module):
    r"""The same equation in Flax, :math:`y_i = x_i A + \mathrm{mean}_j(x_j)\, B + c`."""

    def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs):
        self.own = nnx.Linear(in_features, out_features, rngs=rngs)
        self.pooled = nnx.Linear(in_features, out_features, use_bias=False, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``(batch, n, in_features)`` to ``(batch, n, out_features)``."""
        return self.own(x) + self.pooled(x.mean(-2, keepdims=True))


def scale(name: str, width: int) -> float:
    """Inputs and biases of variance 1, matrices that keep it."""
    return 1.0 if name in ("x", "bias") else width**-0.5


SETS = [SetLayer(features) for features in (32, 128, 512)]
