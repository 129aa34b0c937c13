"""The small group CNNs that are compared, in equijax and in plain Flax with the same expanded channels."""

import dataclasses
from typing import Any, ClassVar

import jax
from flax import nnx

import equijax as ej


@dataclasses.dataclass(frozen=True)
class Network:
    """Five convolutions, of which the first lifts, and how large a batch they see."""

    name: str
    group: str
    widths: tuple[int, ...]
    kernel: int
    size: int = 28
    batch: int = 64

    family: ClassVar[str] = "networks"
    modes: ClassVar[tuple[str, ...]] = ("train", "eval", "frozen")
    peer: ClassVar[str] = "escnn"


NETWORKS = {
    network.name: network
    for network in (
        Network("p4", "p4", (16, 16, 32, 32, 64), 5),
        Network("p4m", "p4m", (8, 8, 16, 16, 32), 5),
        Network("wide", "p4m", (16, 16, 32, 32, 64), 3),
    )
}
POOL_AFTER = (1, 3)  # the second and the fourth convolution
CLASSES = 10


def network(name: str, kind: str, rngs: nnx.Rngs) -> nnx.Module:
    """Makes the network ``name`` of ``NETWORKS``; ``kind`` is ``"equijax"`` or ``"nnx"``."""
    made = {"equijax": equijax_network, "nnx": nnx_network}
    return made[kind](NETWORKS[name], rngs)


def equijax_network(spec: Network, rngs: nnx.Rngs) -> nnx.Module:
    """The network in layers of equijax; its linear head is a convolution without a window, so that nothing is compiled for it."""
    group, features = ej.wallpaper(spec.group), 1
    layers: list[Any] = []
    for k, width in enumerate(spec.widths):
        conv = ej.nn.GroupConv if k else ej.nn.LiftingConv
        layers.append(conv(features, width, spec.kernel, group=group, use_bias=False, rngs=rngs))
        layers += [ej.nn.BatchNorm(width, group=group, rngs=rngs), jax.nn.relu]
        layers += [ej.nn.AvgPool(2, 2, group=group)] if k in POOL_AFTER else []
        features = width
    scalar = ej.reps.Scalar(group.point_group)
    layers += [ej.nn.FibrePool(group=group), ej.nn.GlobalPool("mean", group=group, in_fibre=scalar)]
    return ej.nn.Sequential(*layers, ej.nn.Conv(features, CLASSES, (), group=group, rngs=rngs))


def nnx_network(spec: Network, rngs: nnx.Rngs) -> nnx.Module:
    """The same operations without a symmetry: ``nnx.Conv`` with (fibre × features) channels."""
    order, channels = ej.wallpaper(spec.group).point_group.order, 1
    layers: list[Any] = []
    for k, width in enumerate(spec.widths):
        layers.append(nnx.Conv(channels, order * width, (spec.kernel,) * 2, use_bias=False, rngs=rngs))
        channels = order * width
        layers += [nnx.BatchNorm(channels, rngs=rngs), jax.nn.relu]
        layers += [lambda x: nnx.avg_pool(x, (2, 2), (2, 2))] if k in POOL_AFTER else []
    pools = [lambda x: x.reshape(*x.shape[:-1], order, -1).max(-2), lambda x: x.mean((1, 2))]
    return nnx.Sequential(*layers, *pools, nnx.Linear(channels // order, CLASSES, rngs=rngs))
