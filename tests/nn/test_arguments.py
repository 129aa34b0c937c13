"""Arguments that are True or False, and functions of the user: every layer checks them."""

import inspect

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.reps import Regular, Scalar, Vector
from tests.helpers import check_message

nn, P4, C4, R = ej.nn, ej.wallpaper("p4"), ej.Cyclic(4), {"rngs": nnx.Rngs(0)}
PLANE = Scalar(C4) + Vector(C4)
FIBRE = ej.FibreAction(Regular(C4))
BUILD = {
    **{name: lambda name=name, **k: getattr(nn, name)(2, 3, 3, group=P4, **R, **k)
       for name in ("Conv", "LiftingConv", "GroupConv", "ProjectionConv", "ConvTranspose", "CentredConv", "PolyphaseConv", "SetConv",
                    "SeparableConv")},
    "DepthwiseConv": lambda **k: nn.DepthwiseConv(2, 3, group=P4, **R, **k),
    **{name: lambda name=name, **k: getattr(nn, name)(2, 2, group=P4, **k)
       for name in ("MaxPool", "AvgPool", "CentredPool", "BlurPool", "PolyphaseMaxPool")},
    **{name: lambda name=name, **k: getattr(nn, name)(2, group=P4, **k)
       for name in ("Upsample", "FourierDownsample", "PolyphaseDownsample")},
    **{name: lambda name=name, **k: getattr(nn, name)(2, 3, **R, **k)
       for name in ("SetLinear", "ExchangeableLinear", "HierarchicalSetLinear", "EGNN", "GCNConv", "SAGEConv", "GATConv", "GATv2Conv",
                    "TransformerConv", "ResGatedGraphConv", "GraphAttentionPool")},
    **{name: lambda name=name, **k: getattr(nn, name)(2, PLANE, **R, **k)
       for name in ("FieldBatchNorm", "FieldLayerNorm", "FieldRMSNorm", "NormNonlinearity")},
    **{name: lambda name=name, **k: getattr(nn, name)(2, **R, **k) for name in ("GraphNorm", "GraphLayerNorm")},
    **{name: lambda name=name, **k: getattr(nn, name)(4, 2, **R, **k)
       for name in ("MultiheadAttentionBlock", "SetAttentionBlock", "GraphTransformerBlock")},
    "InducedSetAttentionBlock": lambda **k: nn.InducedSetAttentionBlock(4, 2, 3, **R, **k),
    "AttentionPool": lambda **k: nn.AttentionPool(4, 1, 2, **R, **k),
    "GatedGCN": lambda **k: nn.GatedGCN(2, **R, **k),
    "PNAConv": lambda **k: nn.PNAConv(2, 3, (1.0, 1.0), **R, **k),
    "GINConv": lambda **k: nn.GINConv(abs, **k),
    "GINEConv": lambda **k: nn.GINEConv(2, abs, **k),
    "PairNorm": lambda **k: nn.PairNorm(**k),
    "EquivariantLinear": lambda **k: nn.EquivariantLinear(FIBRE, FIBRE, 2, 3, **R, **k),
    "PermutationEquivariantLinear": lambda **k: nn.PermutationEquivariantLinear(1, 1, 2, 3, **R, **k),
    "MatrixProductBlock": lambda **k: nn.MatrixProductBlock(2, 4, **R, **k),
    "BatchNorm": lambda **k: nn.BatchNorm(2, group=P4, **R, **k),
    "GroupNorm": lambda **k: nn.GroupNorm(2, 1, group=P4, **R, **k),
    "FieldGroupNorm": lambda **k: nn.FieldGroupNorm(2, 1, PLANE, **R, **k),
    "FieldDropout": lambda **k: nn.FieldDropout(0.5, PLANE, **k),
    "InvariantPool": lambda **k: nn.InvariantPool(PLANE, **k),
    "FilteredActivation": lambda **k: nn.FilteredActivation(2, 1, **k),
}  # fmt: skip
BOOLS = [
    (name, argument)
    for name, value in vars(nn).items()
    if inspect.isclass(value) and issubclass(value, nnx.Module)
    for argument, parameter in inspect.signature(value.__init__).parameters.items()
    if parameter.annotation is bool
]


@pytest.mark.parametrize(("name", "argument"), BOOLS)
def test_words_are_no_truth_values(name, argument):
    """Every argument of every public layer that is annotated as a bool."""
    for wrong in ("False", 0, None):
        check_message(
            lambda wrong=wrong: BUILD[name](**{argument: wrong}), TypeError, [f"`{argument}`", repr(wrong), "True or False"]
        )


def test_bools_of_numpy_are_bools():
    assert ej.nn.MaxPool(2, allow_inexact=np.bool_(True)).allow_inexact is True
    check_message(lambda: ej.nn.pca_frames(jnp.eye(3), special="no"), TypeError, ["`special`"])
    check_message(lambda: ej.nn.frame_average(jnp.sum, jnp.eye(3), special=1), TypeError, ["`special`"])


GRAPH = ej.Graph(jnp.ones((3, 4)), senders=[0, 1], receivers=[1, 2])
CLOUD, IMAGE = jnp.eye(3), jnp.ones((4, 4, 1))
MEAN = lambda x: x.mean(0)  # noqa: E731
WRONG = {
    "score of a phase": (lambda: nn.PolyphaseDownsample((2,), score=jnp.sum)(IMAGE), ValueError, ["`score`", "()", "(4, 2)"]),
    "score that is no number": (
        lambda: nn.PolyphaseDownsample((2,), score=lambda p: p.sum((-1, -2)) > 0)(IMAGE), TypeError, ["`score`", "bool"]),
    "score of a canonical form": (
        lambda: nn.canonicalize(IMAGE, ej.GridAction(P4), lambda x: x[0]), ValueError, ["`score`", "(4, 1)", "()"]),
    "gate": (lambda: nn.Gate(PLANE, gate=MEAN)(jnp.ones((5, 4, 2))), ValueError, ["`gate`", "(1, 2)", "(5, 1, 2)"]),
    "activation of a gate": (lambda: nn.Gate(PLANE, activation=MEAN)(jnp.ones((5, 4, 2))), ValueError, ["`activation`", "(3, 2)"]),
    "activation that counts": (
        lambda: nn.Gate(Regular(C4), activation=lambda x: x > 0)(jnp.ones((5, 4, 2))), TypeError, ["`activation`", "bool"]),
    "activation of lengths": (
        lambda: nn.NormNonlinearity(2, PLANE, MEAN, **R)(jnp.ones((5, 3, 2), jnp.float32)), ValueError, ["`activation`", "(2, 2)", "(5, 2, 2)"]),
    "activation of samples": (
        lambda: nn.FourierNonlinearity(PLANE, MEAN)(jnp.ones((5, 3, 2))), ValueError, ["`activation`", "(5, 4, 2)"]),
    "activation on a finer grid": (
        lambda: nn.FilteredActivation(1, 1, activation=MEAN)(jnp.ones((4, 1))), ValueError, ["`activation`", "(8, 1)"]),
    "activation of products": (
        lambda: nn.MatrixProductBlock(2, 4, activation=MEAN, **R)(jnp.ones((5, 3, 3, 2), jnp.float32)), ValueError, ["`activation`", "(5, 3, 3, "]),
    "message": (lambda: nn.MessagePassing(message=lambda x: x.sum())(GRAPH), ValueError, ["`message`", "()", "(2, …, features)"]),
    "message without features": (
        lambda: nn.MessagePassing(message=lambda x: x[:, 0], aggregation="std")(GRAPH), ValueError, ["`message`", "(2,)"]),
    "message of integers": (
        lambda: nn.MessagePassing(message=lambda x: x > 0, aggregation="mean")(GRAPH), TypeError, ["`message`", "bool", "astype"]),
    "messages in a tuple": (lambda: nn.MessagePassing(message=lambda x: (x, x))(GRAPH), TypeError, ["`message`", "tuple"]),
    "average over frames": (
        lambda: nn.frame_average(lambda x: x[:, 0], CLOUD, output="vectors"), ValueError, ["`fn`", "(3,)", "(n, 3)"]),
    "average that is no array": (lambda: nn.frame_average(lambda x: None, CLOUD), TypeError, ["`fn`", "NoneType"]),
    "average over a group": (
        lambda: nn.Symmetrize(lambda x: x[0], P4, ej.GridAction(P4), ej.GridAction(P4))(IMAGE), ValueError, ["`fn`", "(4, 1)"]),
    "average of no array": (
        lambda: nn.Symmetrize(lambda x: 3, P4, ej.GridAction(P4), ej.TrivialAction(P4))(IMAGE), TypeError, ["fn(…)", "int"]),
    "initialiser of another dtype": (
        lambda: nn.SetLinear(2, 3, kernel_init=lambda key, shape, dtype: jnp.zeros(shape, jnp.float16), **R),
        TypeError, ["`kernel_init`", "float16", "float32"]),
    "initialiser of another shape": (
        lambda: nn.SetLinear(2, 3, bias_init=lambda key, shape, dtype: jnp.zeros((), dtype), **R),
        ValueError, ["`bias_init`", "()", "(3,)"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_a_users_function_returns_is_checked(name):
    check_message(*WRONG[name])
