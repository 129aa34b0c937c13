"""Statistics of a batch inside a module of the user: padding stays out of them, or the call is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.helpers import check_message, randn

MASK = jnp.asarray([True, True, True, False, False])
P4 = ej.wallpaper("p4")


class Block(nnx.Module):
    """A user's module with a norm, two levels deep; its call takes no mask."""

    def __init__(self, features=2):
        self.inner = nnx.List([nnx.Linear(features, features, rngs=nnx.Rngs(0))])
        self.norm = nnx.BatchNorm(features, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.norm(self.inner[0](x))


class Masked(Block):
    """The same, which hands the mask on."""

    def __call__(self, x, mask=None):
        return self.norm(self.inner[0](x), mask=None if mask is None else mask[..., None])


class Holder(nnx.Module):
    """A module around a module."""

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, x):
        return self.inner(x)


def graph(x, mask):
    return ej.Graph(x, senders=[0, 1], receivers=[1, 2], node_mask=mask, edge_mask=jnp.asarray([True, True]))


LAYERS = {
    "DeepSet": lambda fn: (lambda layer: lambda x, mask: layer(x, mask))(ej.nn.DeepSet(fn, lambda y: y)),
    "Sequential": lambda fn: (lambda layer: lambda x, mask: layer(x, mask=mask))(ej.nn.Sequential(fn, ej.nn.SetPool("sum"))),
    "MapNodes": lambda fn: (lambda layer: lambda x, mask: layer(graph(x, mask)).nodes)(ej.nn.MapNodes(fn)),
    "GINConv": lambda fn: (lambda layer: lambda x, mask: layer(graph(x, mask)).nodes)(ej.nn.GINConv(fn)),
    "update": lambda fn: (lambda layer: lambda x, mask: layer(graph(x, mask)).nodes)(
        ej.nn.MessagePassing(update=nnx.Sequential(lambda x: x[:, :2], fn))),
    "MapNodes of a chain": lambda fn: (lambda layer: lambda x, mask: layer(graph(x, mask)).nodes)(
        ej.nn.MapNodes(nnx.Sequential(jnp.tanh, fn))),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_padding_stays_out_of_statistics(name):
    x = randn((5, 2), dtype=jnp.float32)
    for make in (Block, lambda: Holder(Block())):
        for call in (lambda f: f, jax.jit):
            layer = LAYERS[name](make())
            check_message(
                lambda layer=layer, call=call: call(layer)(x, MASK),
                ValueError,
                ["`mask`", "BatchNorm", "hand it on", "running"],
            )
        layer(x, jnp.ones(5, bool))
        LAYERS[name](nnx.view(make(), use_running_average=True))(x, MASK)
    own = Masked()
    LAYERS[name](own)(x, MASK)
    again = Masked()
    LAYERS[name](again)(jnp.where(MASK[:, None], x, 100.0), MASK)
    np.testing.assert_allclose(own.norm.mean[...], again.norm.mean[...], atol=1e-6)
    assert np.abs(own.norm.mean[...]).max() > 0


def test_one_norm_in_a_set_of_fields():
    fields, mask = randn((5, 3, 3, 4, 2)), MASK
    regular = ej.reps.Regular(P4.point_group)
    make = lambda: ej.nn.FieldBatchNorm(2, regular, group=P4, param_dtype=jnp.float64, rngs=nnx.Rngs(0))  # noqa: E731
    whole, alone = make(), make()
    y = ej.nn.MapElements(whole)(fields, mask)
    np.testing.assert_allclose(y[:3], alone(fields[:3]), atol=1e-12)
    np.testing.assert_allclose(whole.var[...], alone.var[...], atol=1e-12)
    chain = ej.nn.MapElements(ej.nn.Sequential(make(), ej.nn.FibrePool(group=P4)))
    check_message(lambda: chain(fields, mask), ValueError, ["`mask`", "FieldBatchNorm"])


def test_tuples_that_are_not_there():
    layer = ej.nn.JanossyPool(nnx.Sequential(lambda pair: pair[..., 0, :], nnx.BatchNorm(2, rngs=nnx.Rngs(0))), arity=2)
    check_message(lambda: layer(randn((5, 2), dtype=jnp.float32), MASK), ValueError, ["`mask`", "BatchNorm"])
