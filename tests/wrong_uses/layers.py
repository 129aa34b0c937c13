"""Valid calls of equijax.nn, on arrays: constructors, and calls of one layer of each class."""

import inspect
from typing import Any

import jax
import numpy as np
from flax import nnx

import equijax as ej
from equijax import nn
from equijax.reps import Regular, Scalar, Vector
from tests.wrong_uses.trying import Use

P4, C4, SO3 = ej.wallpaper("p4"), ej.Cyclic(4), ej.SO(3)
HALF = C4.subgroup([2])
PLANE = Scalar(C4) + Vector(C4)
ZEROS = nnx.initializers.zeros
POINTS = ej.SetAction(3)


def _zeros(key: Any, shape: tuple[int, ...], dtype: Any = None, out_sharding: Any = None) -> np.ndarray:
    return np.zeros(shape, dtype)


def same(x: Any) -> Any:
    """The identity."""
    return x


def mean(x: Any) -> Any:
    """The mean of the elements, which keeps their axis."""
    return x.mean(-2)


def _rngs() -> nnx.Rngs:
    return nnx.Rngs(0)


#: For each class what it needs, and the shape of an input (None where a call is tried elsewhere).
LAYERS: dict[str, tuple[dict[str, Any], tuple[int, ...] | None]] = {
    "Conv": ({"in_features": 2, "out_features": 4, "kernel_size": (3, 3), "group": P4}, (4, 4, 2)),
    "LiftingConv": ({"in_features": 2, "out_features": 2, "kernel_size": (3, 3), "group": P4}, (4, 4, 2)),
    "GroupConv": ({"in_features": 2, "out_features": 2, "kernel_size": (3, 3), "group": P4}, (4, 4, 4, 2)),
    "ProjectionConv": ({"in_features": 2, "out_features": 2, "kernel_size": (3, 3), "group": P4}, (4, 4, 4, 2)),
    "ConvTranspose": ({"in_features": 2, "out_features": 2, "kernel_size": (3, 3), "group": P4}, (4, 4, 2)),
    "DepthwiseConv": ({"features": 2, "kernel_size": (3, 3), "group": P4}, (4, 4, 4, 2)),
    "SeparableConv": ({"in_features": 2, "out_features": 2, "kernel_size": (3, 3), "group": P4}, (4, 4, 4, 2)),
    "EquivariantLinear": ({"in_action": POINTS, "out_action": POINTS, "in_features": 2, "out_features": 2}, (3, 2)),
    "GroupNorm": ({"num_features": 2, "num_groups": 1, "group": P4}, (3, 3, 4, 2)),
    "BatchNorm": ({"num_features": 2, "group": P4, "use_running_average": True}, (3, 3, 4, 2)),
    "FibrePool": ({"group": P4}, (3, 3, 4, 2)),
    "CosetPool": ({"subgroup": HALF, "group": P4}, (3, 3, 4, 2)),
    "GlobalPool": ({"group": P4}, (3, 3, 4, 2)),
    "Restrict": ({"subgroup": HALF, "group": P4, "in_fibre": Regular(C4)}, (3, 3, 4, 2)),
    "Upsample": ({"strides": (2, 2), "group": P4}, (3, 3, 4, 2)),
    "Declared": ({"fn": same, "in_action": POINTS}, (3, 2)),
    "Symmetrize": ({"fn": same, "group": C4, "in_action": ej.FibreAction(Regular(C4)), "out_action": ej.FibreAction(Regular(C4)),
                    "elements": np.arange(4, dtype=np.int32)}, (4, 2)),
    "NormNonlinearity": ({"num_features": 2, "fibre": PLANE, "group": P4}, (3, 3, 3, 2)),
    "Gate": ({"fibre": PLANE, "group": P4}, None),
    "InvariantPool": ({"fibre": PLANE, "group": P4}, (3, 3, 3, 2)),
    "FourierNonlinearity": ({"fibre": PLANE, "group": P4}, (3, 3, 3, 2)),
    "FieldLayerNorm": ({"num_features": 2, "fibre": PLANE, "group": P4}, (3, 3, 3, 2)),
    "FieldRMSNorm": ({"num_features": 2, "fibre": PLANE, "group": P4}, (3, 3, 3, 2)),
    "FieldGroupNorm": ({"num_features": 2, "num_groups": 1, "fibre": PLANE, "group": P4}, (3, 3, 3, 2)),
    "FieldBatchNorm": ({"num_features": 2, "fibre": PLANE, "group": P4, "use_running_average": True}, (3, 3, 3, 2)),
    "FieldDropout": ({"rate": 0.5, "fibre": PLANE, "group": P4, "deterministic": True}, (3, 3, 3, 2)),
    "Bilinear": ({"in_features": 2, "out_features": 2, "in_fibre": PLANE, "group": P4}, (3, 3, 3, 2)),
    "EMLPBlock": ({"in_features": 1, "out_features": 1, "in_fibre": PLANE, "out_fibre": PLANE}, (3, 1)),
    "EMLP": ({"in_rep": PLANE, "out_rep": PLANE, "hidden": 8, "layers": 1}, (3, 1)),
    "SetLinear": ({"in_features": 2, "out_features": 2}, (3, 2)),
    "SetPool": ({}, (3, 2)),
    "DeepSet": ({"phi": same, "rho": same}, (3, 2)),
    "JanossyPool": ({"fn": mean, "arity": 2}, (3, 2)),
    "SetAttentionBlock": ({"features": 2, "num_heads": 1}, (3, 2)),
    "InducedSetAttentionBlock": ({"features": 2, "num_points": 2, "num_heads": 1}, (3, 2)),
    "AttentionPool": ({"features": 2, "num_seeds": 1, "num_heads": 1}, (3, 2)),
    "ExchangeableLinear": ({"in_features": 2, "out_features": 2}, (3, 4, 2)),
    "HierarchicalSetLinear": ({"in_features": 2, "out_features": 2}, (3, 4, 2)),
    "SetConv": ({"in_features": 2, "out_features": 2, "kernel_size": (3, 3), "group": P4}, (3, 4, 4, 2)),
    "PermutationEquivariantLinear": ({"in_order": 1, "out_order": 1, "in_features": 2, "out_features": 2}, (3, 2)),
    "MatrixProductBlock": ({"in_features": 2, "out_features": 2}, (3, 3, 2)),
    "RecurrentAggregation": ({"in_features": 2, "out_features": 2}, (3, 2)),
    "MultiheadAttentionBlock": ({"features": 2, "num_heads": 1}, None),
}  # fmt: skip
INTS = ("in_features", "out_features", "num_features", "num_groups", "features", "num_heads", "num_points", "num_seeds", "in_order",
        "out_order", "layers", "hidden", "largest", "feature_group_count", "num_samples")  # fmt: skip
KINDS_OF_NAMES = {
    **dict.fromkeys(INTS, "int"),
    **dict.fromkeys(("hidden_features", "product_features", "samples", "arity"), "optional int"),
    **dict.fromkeys(("dtype", "preferred_element_type"), "optional dtype"),
    **dict.fromkeys(("in_fibre", "out_fibre", "hidden_rep"), "optional fibre"),
    **dict.fromkeys(("kernel_metadata", "bias_metadata", "scale_metadata"), "metadata"),
    "param_dtype": "dtype",
    "rngs": "rngs",
    "precision": "precision",
    "kernel_size": "kernel",
    "score": "optional function",
    "order": "positive number",
    "element": "thing",
    "fns": "thing",
    "window_shape": "window",
    "strides": "optional window",
    "padding": "padding",
    "kernel_dilation": "optional window",
    "group": "optional group",
    "out_action": "optional action",
    "axis_name": "axis name",
    "axis_index_groups": "groups of indices",
    "momentum": "share",
    "rate": "share",
    "dropout_rate": "share",
    "symmetry": "optional group",
    "epsilon": "positive number",
    "activation": "skip or function",
    "aggregation": "aggregation",
    "elements": "optional elements",
    "rng_collection": "word",
    "algorithm": "optional choice",
}


def described(fn: Any) -> Any:
    """Returns the function, of whose result the shape alone is found: nothing is compiled."""

    def call(**given: Any) -> Any:
        return jax.eval_shape(lambda: fn(**given))

    call.__signature__ = inspect.signature(fn)  # type: ignore[attr-defined]
    return call


def uses_of(name: str, given: dict[str, Any], inputs: Any, more: Any = None, right: Any = None) -> list[Use]:
    """The constructor of a class of layers, and one layer's call and exactness."""
    cls = getattr(nn, name)
    own = inspect.signature(cls.__init__).parameters
    given = {**given, **({"rngs": _rngs()} if "rngs" in own or "options" in own else {})}
    given |= {option: _zeros for option in own if option.endswith("_init")}
    given = {option: (1, 1) for option in ("strides", "kernel_dilation") if option in own} | given
    build = inspect.signature(cls.__init__)

    def made(**options: Any) -> Any:
        return cls(**options)

    made.__signature__ = build.replace(parameters=[p for p in own.values() if p.name != "self"])  # type: ignore[attr-defined]
    kinds = {option: KINDS_OF_NAMES[option] for option in own if option in KINDS_OF_NAMES}
    kinds |= {option: kind for option, kind in (more or {}).items() if option in own}
    required = {k for k, p in own.items() if p.default is inspect.Parameter.empty}
    kinds = {k: v.removeprefix("optional ") if k in required else v for k, v in kinds.items()}
    kinds = {
        k: ("function" if v == "skip or function" and given.get(k, own[k].default) is not None else v)
        for k, v in kinds.items()
    }
    uses = [Use(name, made, given, {k: v for k, v in kinds.items() if v != "skip or function"}, right or {})]
    if inputs is not None:
        graph = not isinstance(inputs, tuple)
        layer = cls(**given)

        first, call = next(iter(inspect.signature(layer.__call__).parameters)), described(layer.__call__)
        call.__signature__ = inspect.Signature([inspect.Parameter(first, inspect.Parameter.KEYWORD_ONLY)])  # type: ignore[attr-defined]
        uses.append(
            Use(
                f"{name}.__call__",
                call,
                {first: inputs if graph else np.ones(inputs, np.float32)},
                {first: "graph" if graph else "inputs"},
            )
        )
        if hasattr(layer, "exactness") and not graph:
            uses.append(Use(f"{name}.exactness", layer.exactness, {"input_shape": inputs}, {"input_shape": "sizes"}))
    return uses


OWN = {"Upsample": {"padding": "choice"}, "DepthwiseConv": {"fibre": "optional fibre"}}
USES = [use for name, (given, shape) in LAYERS.items() for use in uses_of(name, given, shape, OWN.get(name))]
