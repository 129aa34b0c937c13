"""Draws chains of layers and compares what they claim with what they keep, element by element, in float64.

``python -m tests.nn.claims_fuzzer 0 500`` measures 500 chains and prints the figures.
"""

import dataclasses
import itertools
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import equijax as ej
from equijax.nn._layer import traced_shape
from equijax.reps import Quotient, Regular, Scalar

TOLERANCE, BATCH = 1e-9, 64
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
GROUPS = {
    "T1": ej.Translation(1),
    "T2": ej.Translation(2),
    "line": ej.SpaceGroup(ej.Reflection(1)),
    "p2": ej.wallpaper("p2"),
    "p4": ej.wallpaper("p4"),
    "p4m": ej.wallpaper("p4m"),
    "pm": ej.wallpaper("pm"),
    "cm": ej.wallpaper("cm"),
    "p3": ej.wallpaper("p3"),
    "p6": ej.wallpaper("p6"),
}
HEXAGONAL = ("p3", "p6")
STYLES = ("torus", "torus", "borders", "mixed")


@dataclasses.dataclass
class Draw:
    """A chain in the making: what the next layer has to take."""

    rng: np.random.Generator
    name: str
    group: Any
    style: str
    shape: tuple[int, ...]
    fibre: Any
    on_grid: bool = True
    tight: bool = True
    layers: list = dataclasses.field(default_factory=list)

    def pick(self, *options):
        return options[int(self.rng.integers(len(options)))]

    @property
    def ndim(self):
        return self.group.ndim

    def numbers(self, key, shape, dtype):
        """An initialiser that compiles nothing."""
        del key
        return jnp.asarray(self.rng.normal(size=shape) / np.sqrt(max(1, np.prod(shape[:-1]))), dtype)

    @property
    def given(self):
        return {
            "group": self.group,
            "param_dtype": jnp.float64,
            "kernel_init": self.numbers,
            "bias_init": self.numbers,
            "rngs": nnx.Rngs(0),
        }

    @property
    def sizes(self):
        return self.shape[: self.ndim] if self.on_grid else ()

    def padding(self):
        if self.style == "torus":
            return "CIRCULAR"
        every = ("SAME", "VALID", "REFLECT", 1) if self.style == "borders" else ("CIRCULAR", "CIRCULAR", "SAME", "VALID")
        return self.pick(*every)

    def window(self, most=4):
        return self.pick(1, 3) if self.name in HEXAGONAL else int(self.rng.integers(1, most + 1))


@dataclasses.dataclass
class Drawn:
    """A chain, and whether its claim has to be all that it keeps."""

    model: Any
    shape: tuple[int, ...]
    tight: bool
    text: str


def _fibres(group):
    point_group = group.point_group
    subgroup = point_group.subgroup([point_group.order - 1])
    return [
        Scalar(point_group),
        Regular(point_group),
        *([Quotient(subgroup)] if 1 < subgroup.index < point_group.order else []),
    ]


def _conv(d):
    out = d.pick(*_fibres(d.group))
    strides = d.pick(1, 1, 2, 3) if d.ndim > 1 and d.rng.random() < 0.9 else tuple(int(d.pick(1, 2)) for _ in range(d.ndim))
    layer = ej.nn.Conv(
        1,
        1,
        (d.window(),) * d.ndim,
        strides,
        padding=d.padding(),
        in_fibre=d.fibre,
        out_fibre=out,
        allow_inexact=True,
        **d.given,
    )
    return layer, out


def _transposed(d):
    padding = d.pick("CIRCULAR") if d.style == "torus" else d.pick("SAME", "VALID")
    window, stride = (d.pick(3) if d.name in HEXAGONAL else d.pick(2, 3, 4)), d.pick(1, 2, 2)
    out = d.pick(*_fibres(d.group))
    return (
        ej.nn.ConvTranspose(
            1, 1, (window,) * d.ndim, stride, padding=padding, in_fibre=d.fibre, out_fibre=out, allow_inexact=True, **d.given
        ),
        out,
    )


def _pool(d):
    kind = d.pick(ej.nn.MaxPool, ej.nn.AvgPool)
    window, stride, padding = d.window(3), d.pick(1, 2), d.padding()
    padding = "SAME" if padding == window else padding  # windows of padding alone are refused
    return kind((window,) * d.ndim, stride, padding, group=d.group, in_fibre=d.fibre, allow_inexact=True), d.fibre


def _blur(d):
    mode = "CIRCULAR" if d.style == "torus" else d.pick("CIRCULAR", "REFLECT", "SAME", "VALID")
    options = {"group": d.group, "in_fibre": d.fibre, "allow_inexact": True}
    return ej.nn.BlurPool(d.pick(2, 3, 4), d.pick(1, 2), mode, **options), d.fibre


def _upsample(d):
    method = d.pick("linear", "linear", "nearest")
    d.tight = d.tight and method == "linear"
    padding = "CIRCULAR" if d.style == "torus" else d.pick("EDGE", "CIRCULAR")
    strides = (d.pick(2, 2, 3),) * d.ndim if d.rng.random() < 0.8 else tuple(int(d.pick(1, 2)) for _ in range(d.ndim))
    return ej.nn.Upsample(strides, method, padding, group=d.group, in_fibre=d.fibre, allow_inexact=True), d.fibre


def _centred(d):
    d.tight = False
    if d.rng.random() < 0.5:
        options = {"in_fibre": d.fibre, "out_fibre": d.fibre, "allow_inexact": True}
        return ej.nn.CentredConv(1, 1, (d.window(),) * d.ndim, d.pick(1, 2, 2), **options, **d.given), d.fibre
    options = {"group": d.group, "in_fibre": d.fibre, "allow_inexact": True, "mode": d.pick("max", "mean")}
    return ej.nn.CentredPool((d.window(),) * d.ndim, d.pick(1, 2, 2), **options), d.fibre


def _polyphase(d):
    d.tight = False
    kind, strides = d.pick("Downsample", "MaxPool", "Conv"), tuple(int(d.pick(1, 2)) for _ in range(d.ndim))
    options = {"group": d.group, "in_fibre": d.fibre, "allow_inexact": True}
    if kind == "Downsample":
        return ej.nn.PolyphaseDownsample(strides, **options), d.fibre
    if kind == "MaxPool":
        return ej.nn.PolyphaseMaxPool((d.window(3),) * d.ndim, strides, **options), d.fibre
    return ej.nn.PolyphaseConv(1, 1, (d.window(3),) * d.ndim, strides, out_fibre=d.fibre, **(d.given | options)), d.fibre


def _fourier(d):
    d.tight = False
    if d.rng.random() < 0.3:
        return ej.nn.FilteredActivation(1, d.ndim, fibre=bool(d.fibre.shape), param_dtype=jnp.float64), d.fibre
    strides = tuple(int(d.pick(1, 2)) for _ in range(d.ndim))
    return ej.nn.FourierDownsample(strides, group=d.group, in_fibre=d.fibre, allow_inexact=True), d.fibre


def _norm(d):
    return ej.nn.GroupNorm(
        d.shape[-1], 1, in_fibre=d.fibre, **{k: v for k, v in d.given.items() if "init" not in k}
    ), d.fibre


def _fibre_pool(d):
    if isinstance(d.fibre, Regular) and d.group.point_group.order > 1 and d.rng.random() < 0.5:
        subgroup = d.group.point_group.subgroup([1])
        return ej.nn.CosetPool(subgroup, d.pick("max", "mean"), group=d.group), Quotient(subgroup)
    return ej.nn.FibrePool(d.pick("max", "mean"), group=d.group, in_fibre=d.fibre), Scalar(d.group.point_group)


def _global_pool(d):
    d.tight, d.on_grid = False, False
    return ej.nn.GlobalPool(d.pick("max", "mean"), group=d.group, in_fibre=d.fibre), d.fibre


def _restrict(d):
    order = d.group.point_group.order
    layer = ej.nn.Restrict(d.group.point_group.subgroup([int(d.rng.integers(order))]), group=d.group, in_fibre=d.fibre)
    d.group = layer.small_group
    return layer, layer.out_fibre


def _linear(d):
    width = d.shape[-1]
    given = {key: value for key, value in d.given.items() if key != "group"}
    return nnx.Linear(width, 1, **given), d.fibre


def _pointwise(d):
    return d.pick(
        jnp.tanh, jax.nn.gelu, lambda x: x * jax.nn.sigmoid(x), lambda x: x + jnp.sin(x).mean(-1, keepdims=True)
    ), d.fibre


def _nested(d):
    count = len(d.layers)
    inner = d.layers[count // 2 :]
    if inner and any(isinstance(layer, ej.nn.Layer) for layer in inner):
        d.layers = [*d.layers[: count // 2], ej.nn.Sequential(*inner)]
    return None, d.fibre


def _mean_over_grid(d):
    d.tight, d.on_grid, axes = False, False, tuple(range(-1 - len(d.fibre.shape) - d.ndim, -1 - len(d.fibre.shape)))
    return (lambda x: jnp.tanh(x).mean(axes)), d.fibre


def _wild(d):
    """Functions that must not be taken to respect everything."""
    d.tight = False
    axis = -1 - len(d.fibre.shape) - d.ndim
    table = jax.random.normal(jax.random.key(int(d.rng.integers(99))), d.shape)
    sizes = d.sizes
    return d.pick(
        lambda x: jnp.roll(x, 1, axis),
        lambda x: x + jnp.broadcast_to(table, x.shape),
        lambda x: jnp.cumsum(x, axis),
        lambda x: x - jnp.flip(x, axis),
        lambda x: jax.image.resize(x, (*x.shape[:axis], 2 * sizes[0], *x.shape[x.ndim + axis + 1 :]), "linear"),
        lambda x: x - x.mean(axis, keepdims=True),
        lambda x: jnp.sort(x, axis),
        lambda x: jax.lax.slice_in_dim(x, 0, max(1, sizes[0] - 1), axis=axis % x.ndim),
        lambda x: (
            x * jnp.broadcast_to(jnp.take(x, 0, axis).reshape(*x.shape[:axis], 1, *x.shape[axis % x.ndim + 1 :]), x.shape)
        ),
    ), d.fibre


def _declared(d):
    """A resize by Flax-free code with its actions said."""
    d.tight = False
    boundary = "wrap" if d.style == "torus" else "zero"
    act = ej.GridAction(d.group, d.fibre, boundary)
    if d.style == "torus":
        axis = -1 - len(d.fibre.shape) - d.ndim
        return ej.nn.Declared(
            lambda x: x + jnp.tanh(jnp.roll(x, 1, axis)), act
        ), d.fibre if d.group.point_group.order == 1 else None
    return ej.nn.Declared(lambda x: jnp.sinh(x), act), d.fibre


KINDS = {
    _conv: 8, _transposed: 2, _pool: 3, _blur: 1, _upsample: 2, _centred: 1, _polyphase: 1, _fourier: 1, _norm: 1, _fibre_pool: 2,
    _global_pool: 0.4, _restrict: 0.7, _linear: 1, _pointwise: 3, _nested: 0.7, _mean_over_grid: 0.3, _wild: 0.5, _declared: 0.5,
}  # fmt: skip


def draw(seed):
    """Returns chain number ``seed``."""
    rng = np.random.default_rng(seed)
    name = list(GROUPS)[int(rng.integers(len(GROUPS)))]
    group = GROUPS[name]
    style = "torus" if name in HEXAGONAL and rng.random() < 0.8 else STYLES[int(rng.integers(len(STYLES)))]
    n = int(rng.choice([4, 4, 5, 6, 6, 7, 8]))
    sizes = [n] * group.ndim
    if rng.random() < 0.15 and name not in HEXAGONAL:
        sizes[0] = n + int(rng.integers(1, 3))
    fibre = _fibres(group)[int(rng.integers(2))]
    shape = (*sizes, *fibre.shape, 1)
    d = Draw(rng, name, group, style, shape, fibre, tight=style == "torus")
    weights = np.array(list(KINDS.values()))
    target, start = int(rng.integers(1, 5)), shape
    for _ in range(30):
        if len(d.layers) >= target:
            break
        kind = list(KINDS)[int(rng.choice(len(weights), p=weights / weights.sum()))]
        if not d.on_grid and kind not in (_linear, _pointwise, _restrict, _fibre_pool):
            continue
        before = dataclasses.replace(d, layers=list(d.layers))
        try:
            layer, fibre = kind(d)
            if layer is not None:
                out = traced_shape(layer, d.shape) if not hasattr(layer, "out_shape") else layer.out_shape(d.shape)
                if fibre is None or min(out) < 1 or np.prod(out) > 4000:
                    raise ValueError
                if any(isinstance(known, ej.nn.Layer) for known in [*d.layers, layer]):
                    ej.nn.Sequential(*d.layers, layer)
                d.tight = d.tight and not _is_partly_uneven(layer, d.sizes) and not _reads_all(layer, d.sizes)
                d.layers.append(layer)
                d.shape = tuple(out)
        except (ValueError, TypeError):
            d.tight, d.on_grid, d.group, d.layers = before.tight, before.on_grid, before.group, before.layers
            continue
        d.fibre = fibre
    if not any(isinstance(layer, ej.nn.Layer) for layer in d.layers):
        d.shape, d.fibre, d.on_grid = start, _fibre_of(group, start), True
        d.group = group
        d.layers = [_conv(d)[0]]
    text = f"{seed}: {name} {start} {style} " + " → ".join(_named(layer) for layer in d.layers)
    return Drawn(ej.nn.Sequential(*d.layers), start, d.tight, text)


def _reads_all(layer, sizes):
    """Whether a window without weights goes round the whole torus: such a pool keeps more than its geometry says."""
    fixed = isinstance(layer, (ej.nn.MaxPool, ej.nn.AvgPool, ej.nn.BlurPool))
    return fixed and any(k >= n for k, n in zip(layer.sampling.window, sizes, strict=True))


def _is_partly_uneven(layer, sizes):
    """Whether a stride divides the size along some axes but not along all: shifts along the others are not followed."""
    strides = getattr(layer, "strides", (1,)) if not isinstance(layer, (ej.nn.ConvTranspose, ej.nn.Upsample)) else (1,)
    return len({n % s == 0 for n, s in zip(sizes, strides, strict=False)}) == 2


def _fibre_of(group, shape):
    return Regular(group.point_group) if len(shape) == group.ndim + 2 else Scalar(group.point_group)


def _named(layer):
    sampling = getattr(layer, "sampling", None)
    if isinstance(layer, ej.nn.Sequential):
        return "[" + " → ".join(map(_named, layer.layers)) + "]"
    fields = f"{sampling.window} / {sampling.strides} {sampling.padding}" if sampling else getattr(layer, "strides", "")
    sides = [getattr(layer, side, None) for side in ("in_fibre", "out_fibre")]
    fibres = "".join(f" {fibre.dim if fibre.shape else '()'}" for fibre in sides if fibre is not None)
    return f"{getattr(layer, '__name__', type(layer).__name__)}({fields}{fibres})"


def measure(drawn):
    """Compares the claim with the measurement; returns a line for every fault, and a word for the kind of claim."""
    exactness = drawn.model.exactness(drawn.shape)
    if not exactness.kept.is_known:
        return [], "nothing"
    into, out = exactness.in_action, exactness.out_action
    rng = np.random.default_rng(1)
    x = rng.normal(size=drawn.shape)
    tight = drawn.tight and into.boundary == "wrap"
    claimed = _claimed(exactness, rng)
    others = _unclaimed(exactness, x.shape, rng)[: BATCH - 1 - len(claimed)] if tight else []
    ys = _applied(drawn.model, [x, *(_moved(into, g, x) for g in claimed), *(_moved(into, g, x) for g in others)])
    y = ys[0]
    scale = max(1e-3, np.abs(y[np.isfinite(y)]).max(initial=0))
    faults = []
    for g, image in zip(claimed, ys[1:], strict=False):
        error = _gap(_moved(out, g, y), image) / scale
        if not error <= TOLERANCE:
            faults.append(f"too large by {g}, error {error:.1e}: {drawn.text} says {exactness}")
    images = {}
    for g, image in zip(others, ys[1 + len(claimed) :], strict=False):
        h = int(into.group.split(g)[1])
        if h not in images:
            images[h] = _motions(out, h, y)
        gaps = np.abs(images[h] - image[None]).max(tuple(range(1, images[h].ndim)))
        if len(gaps) and gaps.min() <= TOLERANCE * scale:
            faults.append(f"too small by {g}: {drawn.text} says {exactness}")
            break
    return faults, "tight" if tight else "checked"


def _gap(a, b):
    """The largest difference; what is infinite or undefined has to be so on both sides."""
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    gap = np.abs(np.where(same, 0.0, a) - np.where(same, 0.0, b)).max()
    return np.inf if np.isnan(gap) else gap


def _moved(action, g, x):
    """The moved array, in numpy."""
    if isinstance(action, ej.TrivialAction):
        return x
    if isinstance(action, ej.FibreAction):
        back = action.fibre.sources(int(action.group.split(g)[1]))
        return x[..., back, :] if action.fibre.shape else x
    if not action.acts(g, x.shape):
        return np.full(x.shape, np.nan)
    source = action.sources(g, x.shape)
    return x.reshape(len(source), -1)[source].reshape(x.shape)


def _join(action, t, h):
    return action.group.join(np.array(t, np.int32), np.int32(h))


def _claimed(exactness, rng):
    """Shifts by one step, every point element with its translation, and a few of these with shifts."""
    into, kept = exactness.in_action, exactness.kept
    steps = np.array([step or 0 for step in kept.shift_step])
    found = [(step, 0) for step in np.diag(steps) if step.any()]
    found += list(zip(map(np.array, kept.translations), kept.point_elements, strict=True))
    for _ in range(3):
        t, h = found[int(rng.integers(len(found)))]
        found.append((t + rng.integers(-5, 6, len(steps)) * steps, h))
    return [_join(into, t, h) for t, h in found]


def _unclaimed(exactness, shape, rng):
    """Elements of the finite group of the torus that move the input, but are not claimed, in random order."""
    into = exactness.in_action
    period = into.period(into.sizes(shape))
    steps = [step or length for step, length in zip(exactness.shift_step, period, strict=True)]
    named = dict(zip(exactness.point_elements, exactness.translations, strict=True))
    found = []
    for h in range(into.point_group.order):
        for first in itertools.product(*map(range, into.spacing)):
            if not into.acts(_join(into, first, h), shape):
                continue
            for more in itertools.product(*(range(0, n, s) for n, s in zip(period, into.spacing, strict=True))):
                t = np.add(first, more)
                if h not in named or any((a - b) % s for a, b, s in zip(t, named[h], steps, strict=True)):
                    found.append(_join(into, t, h))
    return [found[i] for i in rng.permutation(len(found))]


def _applied(model, inputs):
    """Applies the model to all inputs in one batch of a fixed size, compiled without much effort."""
    stacked = np.stack([*inputs, *[inputs[0]] * (BATCH - len(inputs))])
    graph, state = nnx.split(model)
    run = jax.jit(lambda state, x: nnx.merge(graph, state)(x), compiler_options=QUICK)
    with jax.numpy_dtype_promotion("standard"):
        return np.asarray(run(state, stacked))[: len(inputs)]


def _motions(action, h, y):
    """The output moved by h and any shift of its own torus, shifts along a leading axis."""
    sizes = action.sizes(y.shape)
    matrix = action.point_group.integer_matrices[h]
    if any(sizes[i] != sizes[j] for i, j in np.argwhere(matrix)):
        return np.zeros((0, *y.shape))
    if action.fibre.shape:
        y = y[..., action.fibre.sources(h), :]
    places = np.indices(sizes).reshape(len(sizes), -1)
    inverse = action.point_group.integer_matrices[action.point_group.inverses[h]]
    moved = (inverse @ places) % np.array(sizes)[:, None]
    turned = y[tuple(moved)].reshape(y.shape)
    axes = tuple(range(len(sizes)))
    return np.stack([np.roll(turned, shift, axes) for shift in itertools.product(*map(range, sizes))])


def run(first, last, verbose=False):
    """Measures chains ``first`` … ``last − 1``; returns the faults and how many claims there were of each kind."""
    faults, counts = [], {"nothing": 0, "checked": 0, "tight": 0}
    for seed in range(first, last):
        start = time.time()
        drawn = draw(seed)
        try:
            found, kind = measure(drawn)
        except Exception as error:  # noqa: BLE001  # a chain that was drawn has to run
            found, kind = [f"fails with {type(error).__name__}: {str(error)[:300]}: {drawn.text}"], "checked"
        counts[kind] += 1
        faults += found
        if verbose:
            print(f"{kind:8}{time.time() - start:6.2f} s  {drawn.text}", *found[:2], sep="\n    ", flush=True)
    return faults, counts


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    began = time.time()
    all_faults, all_counts = run(int(sys.argv[1]), int(sys.argv[2]), verbose=True)
    print(f"{sum(all_counts.values())} chains, {all_counts}, {len(all_faults)} faults, {time.time() - began:.0f} s")
