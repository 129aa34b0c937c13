"""The layers and groups that go through the contract suite."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

import equijax as ej
from equijax.reps import Irrep, Quotient, Regular, Representation, Scalar, Vector
from tests.helpers import QUATERNIONS, dna, options

P4, P4M, P6 = ej.wallpaper("p4"), ej.wallpaper("p4m"), ej.wallpaper("p6")
CUBE = ej.SpaceGroup(ej.Octahedral())
LINE = ej.SpaceGroup(ej.Reflection(1))
#: A scalar and a vector, of the quarter turns, of all rotations of space and of the Lorentz group.
PLANE = Scalar(P4.point_group) + Vector(P4.point_group)
SPACE: Representation = Scalar(ej.SO(3)) + Vector(ej.SO(3))
EVENTS: Representation = Scalar(ej.Lorentz()) + Vector(ej.Lorentz())


@dataclasses.dataclass(frozen=True)
class Case:
    """One layer: how to build it, and the shape of an input without batch axes."""

    name: str
    build: Callable
    shape: tuple[int, ...]
    names: tuple[str, ...] = ("['bias']", "['kernel']")

    def __call__(self, **more):
        return self.build(**more)


def _conv(kind, group, shape, *arguments, names=("['bias']", "['kernel']"), label="", features=None, **fixed):
    def build(features=features or (2, 3), **more):
        more.setdefault("padding", "CIRCULAR")
        return getattr(ej.nn, kind)(*features, *arguments, **options(group, **(fixed | more)))

    return Case(label or kind, build, shape, names)


def _quotient(**more):
    fibre = Quotient(P4M.point_group.subgroup([4]))
    return _conv("Conv", P4M, (5, 5, 4, 2), 3, in_fibre=fibre, out_fibre=fibre).build(**more)


def _transposed(fibre, kernel_size=4):
    """A transposed convolution that doubles the grid, between two fields of one fibre."""

    def build(features=(2, 3), **more):
        more.setdefault("padding", "CIRCULAR")
        return ej.nn.ConvTranspose(*features, kernel_size, 2, **options(P4, in_fibre=fibre, out_fibre=fibre, **more))

    return build


def _linear(into, out=None):
    """The linear layer between two actions; one that is told gives both."""

    def build(features=(2, 3), **more):
        more.pop("padding", None)
        given = options(None, **more)
        given.pop("group")
        return ej.nn.EquivariantLinear(into, out or into, *features, **given)

    return build


def _plain(kind, group, **fixed):
    def build(**more):
        more.pop("padding", None)
        return getattr(ej.nn, kind)(*more.pop("features", (2, 3)), (), **options(group, **(fixed | more)))

    return build


def _depthwise(features=(2, 3), **more):
    """As wide as its input."""
    more.setdefault("padding", "CIRCULAR")
    return ej.nn.DepthwiseConv(features[0], 3, **options(P4M, **more))


def _dna(**more):
    group, letters = dna()
    features = more.pop("features", (2, 3))
    more.setdefault("padding", "CIRCULAR")
    return ej.nn.LiftingConv(*features, 5, **options(group, in_fibre=letters, **more))


def _norm(**more):
    more.pop("padding", None)
    given = options(P4, **more)
    for name in ("kernel_init", "bias_init"):
        given.pop(name)
    features = given.pop("features", (2, 2))[0]
    return ej.nn.GroupNorm(features, 1, **given)


def _stored_norm(features=(2, 2), **more):
    """With stored averages, as in a trained network: those of a batch are no function of one sample."""
    given = options(P4, **{k: v for k, v in more.items() if k not in ("padding", "kernel_init")})
    given.pop("kernel_init", None)
    return ej.nn.BatchNorm(features[0], use_running_average=True, **given)


def _field(kind, names, *arguments, widths=1, without=("bias_init",), **fixed):
    """A layer of fields on a grid with a scalar and a vector at each pixel; ``without`` are options that it does not take."""

    def build(features=(2, 3), **more):
        given = options(P4, **(fixed | more))
        for name in ("padding", "use_bias", *without):
            given.pop(name, None)
        return getattr(ej.nn, kind)(*features[:widths], *arguments, PLANE, **given)

    return Case(kind, build, (4, 4, 3, 2), names)


def _emlp(features=(1, 1), **more):
    """Scalars and vectors of space to a vector."""
    given = options(None, **more)
    for name in ("group", "padding", "use_bias"):
        given.pop(name, None)
    widths = {"in_features": features[0], "out_features": features[1]}
    return ej.nn.EMLP(SPACE, Vector(SPACE.group), hidden=8, layers=1, **widths, **given)


def _sequential(**more):
    dtype = {k: v for k, v in more.items() if k in ("param_dtype", "dtype")}
    features = more.get("features", (2, 3))
    o = options(P4, padding="CIRCULAR", **dtype)
    lift, conv = ej.nn.LiftingConv(features[0], 2, 3, **o), ej.nn.GroupConv(2, features[1], 3, **o)
    return ej.nn.Sequential(lift, conv, ej.nn.FibrePool(mode="mean", group=P4))


def _residual(features=(2, 3), **more):
    """A residual block with a stride, on translations."""
    more.pop("padding", None)
    o = options(ej.Translation(2), **more)
    strided, short = (ej.nn.PolyphaseConv(*features, size, 2, **o) for size in (3, 1))
    return ej.nn.PolyphaseResidual(
        [strided, jnp.tanh, ej.nn.Conv(features[1], features[1], 3, padding="CIRCULAR", **o)], short
    )


def _stage(features=(2, 3), **more):
    """A stage of an encoder and decoder under quarter turns, behind a convolution; it ends as wide as it begins."""
    more.pop("padding", None)
    o, regular = options(P4, **more), Regular(P4.point_group)
    width = features[1]
    first = ej.nn.Conv(*features, 3, padding="CIRCULAR", **o)
    down = ej.nn.PolyphaseConv(width, 2, 3, 2, out_fibre=regular, **o)
    up = ej.nn.PolyphaseConvTranspose(2, width, 3, 2, in_fibre=regular, **o)
    inside = [jnp.tanh, ej.nn.GroupConv(2, 2, 3, padding="CIRCULAR", **o), jnp.tanh]
    return ej.nn.Sequential(first, ej.nn.PolyphaseStage(down, inside, up, "add"))


def _tensors(in_order, out_order, n):
    """The linear layer between tensors on n nodes."""

    def build(features=(2, 3), **more):
        more.pop("padding", None)
        given = options(None, **more)
        given.pop("group")
        return ej.nn.PermutationEquivariantLinear(in_order, out_order, *features, **given)

    return Case(f"PermutationEquivariantLinear {in_order} to {out_order}", build, (*(n,) * in_order, 2))


def _on_sets(kind, *arguments, names, widths=2, shape=(5, 2), **fixed):
    """A layer of sets of five elements; ``widths`` is 1 where the output is as wide as the input."""

    def build(features=(2, 3), **more):
        more.pop("padding", None)
        given = options(None, **(fixed | more))
        given.pop("group")
        return getattr(ej.nn, kind)(*features[:widths], *arguments, **given)

    return Case(kind, build, shape, names)


def _parameters(*paths):
    """The state names of several layers."""
    return tuple(f"{path}['{name}']" for path in paths for name in ("bias", "kernel"))


def _block(path):
    """The state names of one attention block without norms."""
    linears = [f"{path}['{name}']" for name in ("query", "key", "value", "out")]
    linears += [f"{path}['feed_forward']['{name}']" for name in ("hidden", "out")]
    return tuple(f"{linear}['{name}']" for linear in linears for name in ("bias", "kernel"))


EMLP_NAMES = tuple(
    f"{path}['{name}']"
    for path, names in (
        ("['blocks'][0]['bilinear']", ("kernel", "left", "right")),
        ("['blocks'][0]['linear']", ("bias", "kernel")),
        ("['linear']", ("kernel",)),
    )
    for name in names
)


def first_minus_square_of_second(pairs):
    """A function of ordered pairs."""
    return pairs[..., 0, :] - pairs[..., 1, :] ** 2


CASES = [
    _conv("Conv", ej.Translation(2), (6, 5, 2), (3, 3), label="Conv on translations"),
    _conv("LiftingConv", LINE, (8, 2), 4, label="LiftingConv line"),
    _conv("GroupConv", P4M, (5, 5, 8, 2), 3, label="GroupConv p4m"),
    _conv("GroupConv", P4, (6, 6, 4, 2), 2, 2, label="GroupConv p4 even stride 2"),
    _conv("GroupConv", P4, (5, 5, 4, 2), 3, label="GroupConv p4 two groups", features=(2, 4), feature_group_count=2),
    _conv("GroupConv", P6, (5, 5, 6, 2), 3, label="GroupConv p6 hexagonal"),
    _conv("LiftingConv", CUBE, (3, 3, 3, 2), 3, label="LiftingConv cube"),
    _conv("ProjectionConv", P4, (5, 5, 4, 2), 3, label="ProjectionConv p4"),
    Case("Conv quotient fibres", _quotient, (5, 5, 4, 2)),
    Case("ConvTranspose p4", _transposed(Regular(P4.point_group)), (3, 3, 4, 2)),
    _conv("Conv", P4, (4, 4, 3, 2), 3, label="Conv vectors", in_fibre=PLANE, out_fibre=PLANE),
    _conv("LiftingConv", P4M, (4, 4, 2), 2, label="LiftingConv irrep", out_fibre=Irrep(P4M.point_group, 4), names=("['kernel']",)),
    Case("ConvTranspose vectors", _transposed(PLANE, 2), (2, 2, 3, 2)),
    Case("LiftingConv DNA", _dna, (9, 4, 2)),
    Case("GroupConv quaternions", _plain("GroupConv", QUATERNIONS), (8, 2)),
    Case("Conv two orbits", _plain("Conv", ej.Dihedral(3), in_fibre=Regular(ej.Dihedral(3)),
         out_fibre=Regular(ej.Dihedral(3)) + Quotient(ej.Dihedral(3).subgroup([3]))), (6, 2)),
    Case("EquivariantLinear", _linear(ej.GridAction(P4, Regular(P4.point_group)).on((3, 3))), (3, 3, 4, 2)),
    Case("EquivariantLinear vectors", _linear(ej.GridAction(P4, PLANE).on((3, 3))), (3, 3, 3, 2)),
    Case("EquivariantLinear SO(3)", _linear(ej.FibreAction(SPACE)), (4, 2)),
    Case("EquivariantLinear Lorentz", _linear(ej.FibreAction(EVENTS)), (5, 2)),
    Case("GroupNorm", _norm, (5, 5, 4, 2), ("['bias']", "['scale']")),
    Case("BatchNorm", _stored_norm, (5, 5, 4, 2), ("['bias']", "['mean']", "['scale']", "['var']")),
    Case("Sequential", _sequential, (5, 5, 2), (
        "['layers'][0]['bias']", "['layers'][0]['kernel']", "['layers'][1]['bias']", "['layers'][1]['kernel']")),
    Case("PolyphaseResidual", _residual, (6, 4, 2), _parameters("['main'][0]['conv']", "['main'][2]", "['short'][0]['conv']")),
    Case("PolyphaseStage", _stage, (6, 6, 2), _parameters("['layers'][0]", *(
         f"['layers'][1]{path}" for path in ("['down'][0]['conv']", "['inside'][1]", "['up'][0]['conv']")))),
    _conv("SetConv", P4, (3, 4, 4, 4, 2), 3, in_fibre=Regular(P4.point_group), out_fibre=Regular(P4.point_group), names=(
          "['element']['bias']", "['element']['kernel']", "['pooled']['kernel']")),
    Case("DepthwiseConv p4m", _depthwise, (5, 5, 8, 2)),
    _conv("SeparableConv", P4, (5, 5, 4, 2), 3, label="SeparableConv p4", names=(
          "['depthwise']['bias']", "['depthwise']['kernel']", "['pointwise']['kernel']")),
    _on_sets("ExchangeableLinear", shape=(3, 4, 2), names=("['bias']", "['kernel']", "['pool_kernel']")),
    _on_sets("SetLinear", names=("['bias']", "['kernel']", "['pool_kernel']")),
    _on_sets("SetAttentionBlock", 2, use_norm=False, widths=1, names=_block("['block']")),
    _tensors(1, 2, 16), _tensors(2, 2, 24),
    _field("NormNonlinearity", ("['bias']",), without=("kernel_init",)),
    _field("FieldLayerNorm", ("['bias']", "['scale']"), without=("kernel_init",)),
    _field("FieldRMSNorm", ("['scale']",), without=("kernel_init", "bias_init")), _field("FieldGroupNorm", ("['bias']", "['scale']"), 1, without=("kernel_init",)),
    _field("Bilinear", ("['kernel']", "['left']", "['right']"), widths=2),
    Case("EMLP", _emlp, (4, 1), EMLP_NAMES),
    _on_sets("MatrixProductBlock", shape=(5, 5, 2), names=tuple(
             f"['{part}']['layers'][{k}]['{kind}']" for part in ("left", "right", "beside") for k in (0, 2) for kind in ("bias", "kernel"))),
]  # fmt: skip

POOLS = [
    Case("Gate", lambda **_: ej.nn.Gate(PLANE, group=P4), (4, 4, 4, 2), ()),
    Case("InvariantPool", lambda **_: ej.nn.InvariantPool(PLANE, group=P4), (4, 4, 3, 2), ()),
    Case("FourierNonlinearity", lambda **_: ej.nn.FourierNonlinearity(PLANE, group=P4), (4, 4, 3, 2), ()),
    Case("FibrePool", lambda **_: ej.nn.FibrePool(group=P4), (5, 5, 4, 2), ()),
    Case("FibrePool finite", lambda **_: ej.nn.FibrePool("mean", group=QUATERNIONS), (8, 2), ()),
    Case("CosetPool", lambda **_: ej.nn.CosetPool(P4M.point_group.subgroup([4]), group=P4M), (5, 5, 8, 2), ()),
    Case("GlobalPool", lambda **_: ej.nn.GlobalPool(group=P6), (5, 5, 6, 2), ()),
    Case("GlobalPool scalar", lambda **_: ej.nn.GlobalPool("max", group=P4, in_fibre=Scalar(P4.point_group)), (5, 5, 2), ()),
    Case("MaxPool", lambda **_: ej.nn.MaxPool(2, 2, group=P4M), (6, 6, 8, 2), ()),
    Case("MaxPool same", lambda **_: ej.nn.MaxPool(3, 2, "SAME", group=P4), (5, 5, 4, 2), ()),
    Case("AvgPool circular", lambda **_: ej.nn.AvgPool(2, 2, "CIRCULAR", group=P4), (6, 6, 4, 2), ()),
    Case("AvgPool same", lambda **_: ej.nn.AvgPool(3, 1, "SAME", group=P4, count_include_pad=False), (5, 5, 4, 2), ()),
    Case("AvgPool hexagonal", lambda **_: ej.nn.AvgPool(3, 2, "CIRCULAR", group=P6), (6, 6, 6, 2), ()),
    Case("MaxPool cube", lambda **_: ej.nn.MaxPool(2, 2, group=CUBE, in_fibre=Scalar(CUBE.point_group)), (4, 4, 4, 2), ()),
    Case("Restrict", lambda **_: ej.nn.Restrict(P4M.point_group.subgroup([1]), group=P4M), (5, 5, 8, 2), ()),
    Case("Restrict quotient", lambda **_: ej.nn.Restrict(P4M.point_group.subgroup([2, 4]), group=P4M,
         in_fibre=Quotient(P4M.point_group.subgroup([4]))), (5, 5, 4, 2), ()),
    Case("Restrict vectors", lambda **_: ej.nn.Restrict(
        P4M.point_group.subgroup([1]), group=P4M, in_fibre=Irrep(P4M.point_group, 4)), (4, 4, 2, 2), ()),
    Case("AvgPool vectors", lambda **_: ej.nn.AvgPool(2, 2, "CIRCULAR", group=P4, in_fibre=PLANE), (4, 4, 3, 2), ()),
    Case("GlobalPool vectors", lambda **_: ej.nn.GlobalPool(group=P4, in_fibre=PLANE), (4, 4, 3, 2), ()),
    Case("Upsample vectors", lambda **_: ej.nn.Upsample(2, padding="CIRCULAR", group=P4, in_fibre=PLANE), (2, 2, 3, 2), ()),
    Case("BlurPool", lambda **_: ej.nn.BlurPool(4, 2, group=P4), (6, 6, 4, 2), ()),
    Case("FourierDownsample", lambda **_: ej.nn.FourierDownsample((3, 2)), (6, 4, 2), ()),
    Case("CentredPool", lambda **_: ej.nn.CentredPool(3, 2, group=P4), (6, 6, 4, 2), ()),
    Case("Upsample", lambda **_: ej.nn.Upsample(2, padding="CIRCULAR", group=P4), (3, 3, 4, 2), ()),
    Case("Upsample edge", lambda **_: ej.nn.Upsample(3, group=P4M, in_fibre=Scalar(P4M.point_group)), (3, 3, 2), ()),
    Case("PolyphaseDownsample", lambda **_: ej.nn.PolyphaseDownsample((3, 2)), (6, 4, 2), ()),
    Case("PolyphaseMaxPool", lambda **_: ej.nn.PolyphaseMaxPool((2, 2)), (6, 4, 2), ()),
    Case("SetPool", lambda **_: ej.nn.SetPool(("logsumexp", "std")), (5, 2), ()),
    _on_sets("AttentionPool", 1, 2, use_norm=False, widths=1, names=("['seeds']", *_block("['block']"), *(
             f"['feed_forward']['{name}']['{kind}']" for name in ("hidden", "out") for kind in ("bias", "kernel")))),
    Case("JanossyPool", lambda **_: ej.nn.JanossyPool(first_minus_square_of_second, arity=2), (5, 2), ()),
]  # fmt: skip
