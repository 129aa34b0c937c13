"""What to write instead of a row: code to paste."""

from typing import Any

from flax import nnx

from equijax.audit._mend import WINDOWS, Mends
from equijax.audit._network import Network
from equijax.audit._steps import Step
from equijax.nn._jaxpr import Equation

#: What is mended in a row that brings samples back to a finer grid: it is told where they come from.
CHOICE = "choice"


def code_for(network: Network, step: Step, kinds: Mends, sharing: str = "") -> str:
    """Returns a line of code for a mend.

    Args:
      network: the network.
      step: the step to mend.
      kinds: what is mended.
      sharing: name of the step whose choice it takes: one that chooses samples of the same lattice before, or that took the
        samples which are brought back; ``""`` where there is none.
    """
    module = network.trace.modules.get(step.calls[0].path) if len(step.calls) == 1 else None
    if CHOICE in kinds:
        return _told(module, kinds, sharing)
    line = _convolution(module, kinds) if isinstance(module, (nnx.Conv, nnx.ConvTranspose)) else _functional(step, kinds)
    if "phase" not in kinds or not sharing:
        return line
    return f"{line}; as `short` of ej.nn.PolyphaseResidual, or called as (x, choice), with the choice of `{sharing}`"


def _told(module: Any, kinds: Mends, sharing: str) -> str:
    """Samples go back to where a choice took them from, and a convolution fills the places between them."""
    choice = f"with the choice of {f'`{sharing}`' if sharing else 'layer.with_choice(x)'}"
    if isinstance(module, nnx.ConvTranspose):
        return f"{_transposed(module, kinds)}(x, choice), {choice}"
    advice = f"ej.nn.PolyphaseUpsample(strides)(x, choice), {choice}, then a convolution"
    return f"{advice} with group=group" if "kernel" in kinds else advice


def _convolution(conv: nnx.Conv | nnx.ConvTranspose, kinds: Mends) -> str:
    """A convolution of Flax, plain or transposed, in other words."""
    strides = _tuple(conv.strides, len(conv.kernel_size))
    more = [] if conv.use_bias else ["use_bias=False"]
    groups = getattr(conv, "feature_group_count", 1)
    more += [f"feature_group_count={groups}"] if groups > 1 else []
    dilation = _tuple(conv.kernel_dilation, len(conv.kernel_size))
    more += [f"kernel_dilation={dilation}"] if max(dilation) > 1 else []
    more += ["group=group"] if "kernel" in kinds else []
    sizes = f"{conv.in_features}, {conv.out_features}, {tuple(conv.kernel_size)}"
    if "phase" in kinds:
        return f"ej.nn.PolyphaseConv({', '.join([sizes, str(strides), *more, 'rngs=rngs'])})"
    if max(strides) > 1:
        more.insert(0, f"strides={strides}")
    transposed = isinstance(conv, nnx.ConvTranspose)
    layer = "ej.nn.ConvTranspose" if transposed else "ej.nn.Conv" if "kernel" in kinds else "nnx.Conv"
    return f"{layer}({', '.join([sizes, 'padding=' + repr('CIRCULAR'), *more, 'rngs=rngs'])})"


def _transposed(conv: nnx.ConvTranspose, kinds: Mends) -> str:
    """A transposed convolution of Flax that is told the choice."""
    d = len(conv.kernel_size)
    more = [] if conv.use_bias else ["use_bias=False"]
    dilation = _tuple(conv.kernel_dilation, d)
    more += [f"kernel_dilation={dilation}"] if max(dilation) > 1 else []
    more += ["group=group"] if "kernel" in kinds else []
    sizes = f"{conv.in_features}, {conv.out_features}, {tuple(conv.kernel_size)}, {_tuple(conv.strides, d)}"
    return f"ej.nn.PolyphaseConvTranspose({', '.join([sizes, *more, 'rngs=rngs'])})"


def _functional(step: Step, kinds: Mends) -> str:
    """A pooling, or a word of advice."""
    pools = [eq for eq in step.equations if eq.name in WINDOWS]
    if pools and kinds <= {"phase", "border"}:
        window, strides = _pooling(pools[0])
        if pools[0].name == "reduce_window_max":
            if "phase" in kinds:
                return f"ej.nn.PolyphaseMaxPool({window}, {strides})(x)"
            return f"ej.nn.MaxPool({window}, {strides}, 'CIRCULAR', group=ej.Translation({len(window)}))(x)"
        pool = f"ej.nn.AvgPool({window}, 1, 'CIRCULAR', group=ej.Translation({len(window)}))(x)"
        return f"ej.nn.PolyphaseDownsample({strides})({pool})" if "phase" in kinds else pool
    words = {**_WORDS, "phase": _CHOSEN_BEFORE} if {eq.name for eq in step.equations} <= _MOVES else _WORDS
    return "; ".join(words[kind] for kind in words if kind in kinds)


#: Operations that put numbers elsewhere and change none.
_MOVES = {"broadcast_in_dim", "concatenate", "copy", "gather", "reshape", "rev", "slice", "split", "squeeze", "transpose"}
#: Where the features of a place are its neighbours, every phase holds the whole image, and their norms are equal.
_CHOSEN_BEFORE = "down = ej.nn.PolyphaseDownsample(strides); stride 1, then down(y, choice), with choice = down.choose(x)"
_WORDS = {
    "border": "pad circularly",
    "phase": "stride 1, then ej.nn.PolyphaseDownsample(strides)",
    "kernel": "ej.nn.Conv with group=group, which shares the weights",
    "fibre": "ej.nn.EquivariantLinear or ej.nn.Conv between the fibres",
    "position": "leave out what depends on the place, or use relative positions",
    "dense": "ej.nn.GlobalPool before the dense layer, or a convolution",
    "nonlinearity": "ej.nn.NormNonlinearity or a gate",
}


def _tuple(value: Any, d: int) -> tuple[int, ...]:
    return (int(value or 1),) * d if value is None or isinstance(value, int) else tuple(map(int, value))


def _pooling(equation: Equation) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns window and strides along the axes that are pooled."""
    window, strides = equation.params["window_dimensions"], equation.params["window_strides"]
    pooled = [k for k, (n, s) in enumerate(zip(window, strides, strict=True)) if n > 1 or s > 1]
    return tuple(window[k] for k in pooled), tuple(strides[k] for k in pooled)
