"""Networks with planted faults: which row has to be accused, and of what."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import equijax as ej
from tests.audit.networks import (
    CUBE,
    DOUBLE,
    IMAGE,
    LINE,
    MASKED,
    MIRROR,
    P4M,
    POINTS,
    SET,
    SHIFT1,
    SHIFT2,
    SHIFT3,
    TURNS,
    VOLUME,
    WIDE,
    Attention,
    Case,
    Chain,
    Counting,
    Embedding,
    MaskedMean,
    MaskedSet,
    Mixer,
    Recurrent,
    Remat,
    Residual,
    Scanned,
    Twice,
    UNet,
    conv,
    coordinates,
    linear,
    masked_border,
    mean,
    pool,
    rngs,
)

INVARIANT = {"out_action": ej.TrivialAction(SHIFT2.group)}
INVARIANT_SET = {"out_action": ej.TrivialAction(SET.group)}


def planted(*steps, **modules):
    """A circular stem, the planted steps, tanh, a circular convolution, the mean, a dense layer."""
    return lambda: Chain(
        *("stem", jnp.tanh, *steps, jnp.tanh, "last", jnp.tanh, mean, "head"),
        **{"stem": conv(3, 4), "last": conv(4, 4, seed=9), "head": linear(4, 2), **{k: v() for k, v in modules.items()}},
    )


def image(name, expected, *steps, action=SHIFT2, x=IMAGE, single=True, options=None, **modules):
    """A planted fault in the usual network on images."""
    return Case(name, planted(*steps, **modules), x, action, expected, options or {}, single)


ON_IMAGES = [
    image("zero padding", {"bad": {"border"}}, "bad", bad=lambda: conv(4, 4, padding="SAME")),
    image("reflect padding", {"bad": {"border"}}, "bad", bad=lambda: conv(4, 4, padding="REFLECT")),
    image("stride 2", {"bad": {"phase"}}, "bad", bad=lambda: conv(4, 4, strides=2), single=False),
    image("stride 3", {"bad": {"phase"}}, "bad", bad=lambda: conv(4, 4, strides=3), x=WIDE, single=False),
    image(
        "stride and padding", {"bad": {"phase", "border"}}, "bad", bad=lambda: conv(4, 4, strides=2, padding="SAME"), single=False
    ),
    image("max pooling", {"reduce_window_max": {"phase"}}, pool("max"), single=False),
    image("average pooling", {"reduce_window_sum": {"phase"}}, pool("avg"), single=False),
    image("padded pooling", {"reduce_window_max": {"border"}}, lambda x: nnx.max_pool(x, (3, 3), padding="SAME")),
    image("pooling that counts its samples", {"reduce_window_sum": {"border"}},
          lambda x: nnx.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)),
    Case("patches", lambda: Chain("stem", jnp.tanh, lambda x: x.reshape(4, 4, 2, 4, 2, 4).transpose(0, 1, 3, 2, 4, 5),
         lambda x: x.reshape(4, 16, 16), "patch", jnp.tanh, mean, stem=conv(3, 4), patch=linear(16, 4)), IMAGE, SHIFT2,
         {"patch": {"phase"}}),
    Case("a window as large as the image", lambda: Chain("stem", jnp.tanh, "bad", mean, stem=conv(3, 4),
         bad=conv(4, 4, k=8, padding="VALID")), IMAGE, SHIFT2, {"bad": {"dense"}}),
    image("slicing", {"slice": {"phase"}}, lambda x: x[:, ::2, ::2], single=False),
    image("mean over pairs", {"reduce_sum": {"phase"}}, lambda x: x.reshape(4, 4, 2, 4, 2, 4).sum((2, 4)), single=False),
    image("coordinates", {"concatenate": {"position"}}, coordinates, "mix", mix=lambda: conv(6, 4, k=1)),
    image("learned map", {"map": {"position"}}, "map", map=lambda: Embedding((8, 8, 4))),
    image("learned map of zeros", {"map": {"position"}}, "map", map=lambda: Embedding((8, 8, 4), 0.0), single=False),
    image("mask on a corner", {"mul": {"position"}}, masked_border),
    image("written border", {"scatter": {"position"}}, lambda x: x.at[:, 0].set(0.0), single=False),
    image("cumulative sum", {"cumsum": {"order"}}, lambda x: jnp.cumsum(x, 1) / 8),
    image("padding by hand", {"pad": {"border"}}, lambda x: jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), "valid",
          valid=lambda: conv(4, 4, padding="VALID")),
    image("reflection by hand", {"rev": {"border"}}, lambda x: jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"),
          "valid", valid=lambda: conv(4, 4, padding="VALID")),
    Case("unpadded window", lambda: Chain("stem", jnp.tanh, "valid", jnp.tanh, mean, "head", stem=conv(3, 4),
         valid=conv(4, 4, padding="VALID"), head=linear(4, 2)), IMAGE, SHIFT2, {"reduce_sum": {"border"}}, {}, True),
    image("remat", {"bad.inner": {"border"}}, "bad", bad=lambda: Remat(conv(4, 4, padding="SAME"))),
    image("one module twice", {"bad.inner": {"border"}}, "bad", bad=lambda: Twice(conv(4, 4, padding="SAME")), single=False),
    image("between two calls", {"mul": {"position"}}, "good", good=lambda: Twice(conv(4, 4), masked_border)),
    image("scan with a fault inside", {"bad.layers.inner": {"border"}}, "bad", bad=lambda: Scanned("SAME"), single=False),
    image("scan with a fault behind", {"bad": {"border"}}, "scan", "bad", scan=Scanned, bad=lambda: conv(4, 4, padding="SAME")),
    image("residual", {"bad.inner": {"border"}}, "bad", bad=lambda: Residual(conv(4, 4, padding="SAME"))),
    image("mixer", {"bad.tokens": {"dense"}}, "bad", bad=lambda: Mixer(64)),
    image("attention with a map", {"map": {"position"}}, "map", "attention", map=lambda: Embedding((8, 8, 4)),
          attention=lambda: Attention(4)),
    image("dropout", {"bad": {"randomness"}}, "bad", bad=lambda: nnx.Dropout(0.3, rngs=rngs()), single=False),
    Case("batch statistics", lambda: Chain("stem", "bad", jnp.tanh, mean, stem=nnx.Conv(3, 4, (3, 3), padding="CIRCULAR",
         rngs=rngs()), bad=nnx.BatchNorm(4, rngs=rngs())), IMAGE.astype(jnp.float32), SHIFT2, {"bad": {"batch", "state"}}),
    image("mean of the batch", {"sub": {"batch"}}, lambda x: x - jnp.broadcast_to(x.mean(0, keepdims=True), x.shape),
          single=False),
    image("counting", {"bad": {"state"}}, "bad", bad=Counting, single=False),
    image("stride, then padding", {"first": {"phase"}, "second": {"border"}}, "first", jnp.tanh, "second",
          first=lambda: conv(4, 4, strides=2), second=lambda: conv(4, 4, padding="SAME", seed=2), single=False,
          options={"elements": jnp.asarray([[1, 0], [0, 1], [2, 0], [0, 2]])}),
    Case("flatten and dense", lambda: Chain("stem", jnp.tanh, lambda x: x.reshape(4, -1), "head", stem=conv(3, 4),
         head=linear(256, 2)), IMAGE, SHIFT2, {"head": {"dense"}}, INVARIANT, True),
    Case("mirrored branch", lambda: Chain("stem", jnp.tanh, lambda x: mean(jnp.tanh(x + 2 * x[:, ::-1]) * x), "head",
         stem=conv(3, 4), head=linear(4, 2)), IMAGE, SHIFT2, {"rev": {"order"}}, INVARIANT, True),
    Case("U-Net", UNet, IMAGE, SHIFT2, {"down": {"phase"}}),
    Case("recurrent along rows", lambda: Chain("stem", jnp.tanh, lambda x: x.max(2), "bad", stem=conv(3, 4),
              bad=Recurrent(4)), IMAGE, SHIFT2, {"slice": {"order"}}, INVARIANT),
]  # fmt: skip


def isotropic(inputs, outputs, seed=0, **more):
    """An exact convolution for p4m."""
    options = {"padding": "CIRCULAR", **more}
    return ej.nn.Conv(inputs, outputs, (3, 3), group=P4M.group, rngs=rngs(seed), **DOUBLE, **options)


def turned(name, expected, *steps, single=True, options=None, **modules):
    """A planted fault between exact convolutions on p4m."""

    def make():
        built = {k: v() for k, v in modules.items()}
        parts = {"stem": isotropic(3, 4), "last": isotropic(4, 4, 9), "head": linear(4, 2), **built}
        return Chain("stem", jnp.tanh, *steps, jnp.tanh, "last", jnp.tanh, mean, "head", **parts)

    return Case(name, make, IMAGE, P4M, expected, options or {}, single)


def group_network():
    """Lifting, a plain convolution planted on the merged fibre and features, a group convolution, pooling."""
    options = {"group": P4M.group, "padding": "CIRCULAR", **DOUBLE}
    return Chain(
        "lift", jnp.tanh, lambda x: x.reshape(*x.shape[:3], -1), "bad", lambda x: jnp.tanh(x).reshape(*x.shape[:3], 8, 2), "group",
        "pool", mean, "head", lift=ej.nn.LiftingConv(3, 2, (3, 3), rngs=rngs(), **options), bad=conv(16, 16),
        group=ej.nn.GroupConv(2, 4, (3, 3), rngs=rngs(1), **options), pool=ej.nn.FibrePool(group=P4M.group), head=linear(4, 2),
    )  # fmt: skip


UNDER_TURNS = [
    turned("kernel", {"bad": {"kernel"}}, "bad", bad=lambda: conv(4, 4)),
    turned("kernel and padding", {"bad": {"kernel", "border"}}, "bad", bad=lambda: conv(4, 4, padding="SAME")),
    turned("kernel, padding and stride", {"bad": {"kernel", "border", "phase"}}, "bad", single=False,
           bad=lambda: conv(4, 4, padding="SAME", strides=2)),
    turned("stride off the centre", {"bad": {"phase"}}, "bad", single=False, options={"elements": TURNS},
           bad=lambda: isotropic(4, 4, strides=2, allow_inexact=True)),
    turned("coordinates under turns", {"concatenate": {"position"}}, coordinates, "mix", mix=lambda: conv(6, 4, k=1)),
    turned("two kernels", {"first": {"kernel"}, "second": {"kernel"}}, "first", jnp.tanh, "second", single=False,
           first=lambda: conv(4, 4), second=lambda: conv(4, 4, seed=4)),
    Case("plain convolution on a fibre", group_network, IMAGE, P4M, {"bad": {"kernel"}}, {"elements": TURNS}, True),
    Case("kernel under a mirror", lambda: Chain("bad", jnp.tanh, mean, bad=conv(3, 4, d=1)), LINE, MIRROR, {"bad": {"kernel"}}),
    Case("kernel under the cube", lambda: Chain("bad", jnp.tanh, mean, bad=conv(3, 4, d=3)), VOLUME, CUBE, {"bad": {"kernel"}}),
]  # fmt: skip


def line(name, expected, *steps, d=1, x=LINE, action=SHIFT1, single=True, **modules):
    """A planted fault on a line or in a volume."""
    return Case(name, lambda: Chain("stem", jnp.tanh, *steps, jnp.tanh, mean, stem=conv(3, 4, d=d),
                **{k: v() for k, v in modules.items()}), x, action, expected, {}, single)  # fmt: skip


OTHER_GRIDS = [
    line("padding on a line", {"bad": {"border"}}, "bad", bad=lambda: conv(4, 4, d=1, padding="SAME")),
    line("causal padding", {"bad": {"order"}}, "bad", bad=lambda: conv(4, 4, d=1, padding="CAUSAL")),  # no circular one is
    line("causal and dilated", {"bad": {"order"}}, "bad", bad=lambda: conv(4, 4, d=1, padding=[(4, 0)], kernel_dilation=2)),
    line("stride on a line", {"bad": {"phase"}}, "bad", bad=lambda: conv(4, 4, d=1, strides=2), single=False),
    line("cumulative maximum", {"cummax": {"order"}}, lambda x: x + jax.lax.cummax(x, 1)),
    line("map on a line", {"map": {"position"}}, "map", map=lambda: Embedding((12, 4))),
    line("padding in a volume", {"bad": {"border"}}, "bad", d=3, x=VOLUME, action=SHIFT3,
         bad=lambda: conv(4, 4, d=3, padding="SAME")),
    line("stride in a volume", {"bad": {"phase"}}, "bad", d=3, x=VOLUME, action=SHIFT3, single=False,
         bad=lambda: conv(4, 4, d=3, strides=2)),
]  # fmt: skip


def of_set(name, expected, *steps, out=None, single=True, **modules):
    """A planted fault in a network on sets."""
    parts = {"stem": linear(3, 4), **modules}
    return Case(name, lambda: Chain("stem", jnp.tanh, *steps, **{k: v() if callable(v) and not isinstance(v, nnx.Module) else v
                for k, v in parts.items()}), POINTS, SET, expected, out or {}, single)  # fmt: skip


ON_SETS = [
    of_set("map on points", {"map": {"position"}}, "map", jnp.tanh, mean, map=lambda: Embedding((6, 4))),
    of_set("flattened points", {"head": {"dense"}}, lambda x: x.reshape(4, -1), "head", out=INVARIANT_SET,
           head=lambda: linear(24, 2)),
    of_set("cumulative sum of points", {"cumsum": {"order"}}, lambda x: jnp.cumsum(x, 1), jnp.tanh, mean),
    of_set("first point", {"slice": {"position"}}, lambda x: x[:, 0]),
    of_set("dense over points", {"bad.tokens": {"dense"}}, "bad", jnp.tanh, mean, bad=lambda: Mixer(6)),
    of_set("recurrent over points", {"slice": {"order"}}, "bad", out=INVARIANT_SET, single=False, bad=lambda: Recurrent(4)),
    Case("leaking mask", lambda: MaskedMean(True), MASKED, MaskedSet(), {"reduce_sum": {"mask"}}),
    Case("map and dense", lambda: Chain("stem", "map", jnp.tanh, lambda x: x.reshape(4, -1), "head", stem=linear(3, 4),
         map=Embedding((6, 4)), head=linear(24, 2)), POINTS, SET, {"map": {"position"}, "head": {"dense"}}, INVARIANT_SET),
]  # fmt: skip


def random_pair(seed):
    """A deep circular network with two faults in random layers."""
    random = np.random.default_rng(seed)
    places = sorted(random.choice(6, 2, replace=False).tolist())
    kinds = random.choice(["border", "position", "kernel"], 2, replace=False).tolist()
    faults = dict(zip(places, kinds, strict=True))

    def layer(i):
        kind = faults.get(i)
        if kind == "position":
            return Embedding((8, 8, 4))
        if kind == "kernel":
            return conv(4, 4, seed=i)
        return isotropic(4, 4, i, **({"padding": "SAME"} if kind == "border" else {}))

    def make():
        layers = {f"layer{i}": layer(i) for i in range(6)}
        steps = [part for name in layers for part in (name, jnp.tanh)]
        return Chain("stem", jnp.tanh, *steps, mean, "head", stem=isotropic(3, 4), head=linear(4, 2), **layers)

    return Case(f"two random faults {seed}", make, IMAGE, P4M, {f"layer{i}": {kind} for i, kind in faults.items()})


PLANTED = [*ON_IMAGES, *UNDER_TURNS, *OTHER_GRIDS, *ON_SETS, *(random_pair(seed) for seed in range(6))]
