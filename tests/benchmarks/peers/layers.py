"""The single convolutions that are compared: one, two and three dimensions, ordinary ones, and curves of scaling."""

import dataclasses
from typing import Any, ClassVar

import jax
import numpy as np
from flax import nnx

import equijax as ej

ON_PLANE = ("p1", "p2", "p4", "p4m")
NDIM = {"reflection": 1, "octahedral": 3}  # all others: 2


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution from features to as many, with its input's shape; a point ``at`` of the curve ``along`` if any.

    ``algorithm`` is set on the layer of equijax where it is given.
    """

    family: str
    group: str
    features: int
    kernel: int = 3
    size: int = 28
    batch: int = 16
    algorithm: str | None = None
    along: str = ""
    at: int = 0

    modes: ClassVar[tuple[str, ...]] = ("forward", "gradient")

    @property
    def name(self) -> str:
        """What a table shows."""
        if self.along:
            return f"{self.along} {self.at}"
        kernel = "x".join([str(self.kernel)] * self.ndim)
        chosen = "" if self.algorithm is None else f" {self.algorithm}"
        return f"{self.group} {kernel} ({self.features}){chosen}"

    @property
    def ndim(self) -> int:
        """Number of grid axes."""
        return NDIM.get(self.group, 2)

    @property
    def peer(self) -> str:
        """escnn, where it has this layer."""
        return "escnn" if self.group in ON_PLANE else ""

    @property
    def order(self) -> int:
        """Order of the point group."""
        group = space_group(self.group)
        return 1 if group is None else group.point_group.order

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the input, the fibre in the channels."""
        return (self.batch, *[self.size] * self.ndim, self.order * self.features)

    def data(self) -> dict[str, Any]:
        """The input; the weights that all sides get, where they have the same: a convolution without a point group."""
        draw, width = np.random.default_rng(0), self.features
        shapes: dict[str, tuple[int, ...]] = {"x": self.shape}
        if self.group == "plain":
            shapes |= {"kernel": (*[self.kernel] * self.ndim, width, width), "bias": (width,)}
        drawn = {name: draw.normal(size=shape) for name, shape in shapes.items()}
        if "kernel" in drawn:
            drawn["kernel"] /= np.sqrt(width * self.kernel**self.ndim)
        return {name: values.astype(np.float32) for name, values in drawn.items()}

    def parts(self, kind: str) -> dict[str, str]:
        """Where each weight of ``data`` is in the module."""
        return {"kernel": "kernel", "bias": "bias"} if self.group == "plain" else {}

    def module(self, kind: str, rngs: nnx.Rngs) -> nnx.Module:
        """Makes the layer; ``kind`` is ``"equijax"`` or ``"nnx"``, which has all expanded channels."""
        group, window = space_group(self.group), (self.kernel,) * self.ndim
        if kind == "nnx":
            return nnx.Conv(self.order * self.features, self.order * self.features, window, rngs=rngs)
        conv = ej.nn.Conv if group is None else ej.nn.GroupConv
        return conv(self.features, self.features, window, group=group, algorithm=self.algorithm, rngs=rngs)

    def inputs(self, kind: str) -> tuple[Any, ...]:
        """What ``apply`` takes behind the module: the fibre is an axis in equijax."""
        x = self.data()["x"]
        axis = kind == "equijax" and self.group != "plain"
        return (x.reshape(*x.shape[:-1], self.order, self.features) if axis else x,)

    def apply(self, kind: str, module: Any, x: jax.Array) -> jax.Array:
        """The layer's output."""
        return module(x)


def space_group(name: str) -> ej.SpaceGroup | None:
    """The group of a layer; None is translations alone, which an ordinary convolution has."""
    points = {"reflection": lambda: ej.Reflection(1), "octahedral": ej.Octahedral}
    if name == "plain":
        return None
    return ej.SpaceGroup(points[name]()) if name in points else ej.wallpaper(name)


def curve(along: str, **points: tuple) -> list[Layer]:
    """Layers that differ in one thing; the others are those of p4m with 8 features."""
    ((field, values),) = points.items()
    base = Layer("scaling", "p4m", 8, along=along)
    return [dataclasses.replace(base, **{field: value}, at=value) for value in values]


def group_curve() -> list[Layer]:
    """Layers with 16 features under more and more symmetries."""
    layers = [Layer("scaling", group, 16, along="group order") for group in ON_PLANE]
    return [dataclasses.replace(case, at=case.order) for case in layers]


LAYERS = [
    *(Layer("conv1d", "reflection", features, kernel=9, size=256, batch=64) for features in (16, 32, 64)),
    *(Layer("conv2d", "p4m", features) for features in (8, 16, 32)),
    *(Layer("conv3d", "octahedral", features, size=8, batch=4) for features in (2, 4, 8)),
    *(Layer("plain", "plain", 64, kernel=kernel, batch=64, algorithm="auto") for kernel in (3, 5, 7)),
    Layer("plain", "plain", 64, batch=64, algorithm="dense"),  # the default: the bits of nnx.Conv
    *group_curve(),
    *curve("features", features=(4, 8, 16, 32)),
    *curve("image size", size=(7, 14, 28, 56)),
    *curve("batch", batch=(4, 16, 64)),
]
