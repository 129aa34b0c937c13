"""The single convolutions that are compared: one, two and three dimensions, ordinary ones, and curves of scaling."""

import dataclasses
from typing import ClassVar

from flax import nnx

import equijax as ej

ON_PLANE = ("p1", "p2", "p4", "p4m")
NDIM = {"reflection": 1, "octahedral": 3}  # all others: 2


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution from features to as many, with its input's shape; a point ``at`` of the curve ``along`` if any."""

    family: str
    group: str
    features: int
    kernel: int = 3
    size: int = 28
    batch: int = 16
    along: str = ""
    at: int = 0

    modes: ClassVar[tuple[str, ...]] = ("forward", "gradient")

    @property
    def name(self) -> str:
        """What a table shows."""
        if self.along:
            return f"{self.along} {self.at}"
        kernel = "x".join([str(self.kernel)] * self.ndim)
        return f"{self.group} {kernel} ({self.features})"

    @property
    def ndim(self) -> int:
        """Number of grid axes."""
        return NDIM.get(self.group, 2)

    @property
    def has_peer(self) -> bool:
        """Whether escnn has this layer."""
        return self.group in ON_PLANE

    @property
    def order(self) -> int:
        """Order of the point group."""
        group = space_group(self.group)
        return 1 if group is None else group.point_group.order


def space_group(name: str) -> ej.SpaceGroup | None:
    """The group of a layer; None is translations alone, which an ordinary convolution has."""
    points = {"reflection": lambda: ej.Reflection(1), "octahedral": ej.Octahedral}
    if name == "plain":
        return None
    return ej.SpaceGroup(points[name]()) if name in points else ej.wallpaper(name)


def layer(case: Layer, kind: str, rngs: nnx.Rngs) -> nnx.Module:
    """Makes the layer; ``kind`` is ``"equijax"`` or ``"nnx"``, which has all expanded channels."""
    group, window = space_group(case.group), (case.kernel,) * case.ndim
    if kind == "nnx":
        return nnx.Conv(case.order * case.features, case.order * case.features, window, rngs=rngs)
    if group is None:
        return ej.nn.Conv(case.features, case.features, window, rngs=rngs)
    return ej.nn.GroupConv(case.features, case.features, window, group=group, rngs=rngs)


def input_shape(case: Layer, kind: str) -> tuple[int, ...]:
    """Shape of the input: the fibre is an axis in equijax, and in the channels elsewhere."""
    grid = (case.batch, *[case.size] * case.ndim)
    if kind == "equijax" and case.group != "plain":
        return (*grid, case.order, case.features)
    return (*grid, case.order * case.features)


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
    *(Layer("plain", "plain", 64, kernel=kernel, batch=64) for kernel in (3, 5)),
    *group_curve(),
    *curve("features", features=(4, 8, 16, 32)),
    *curve("image size", size=(7, 14, 28, 56)),
    *curve("batch", batch=(4, 16, 64)),
]
