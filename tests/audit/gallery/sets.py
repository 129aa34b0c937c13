"""Networks on sets: DeepSets (Zaheer et al., 2017), PointNet (Qi et al., 2017), Set Transformer (Lee et al., 2019)."""

import jax
import jax.numpy as jnp
from flax import nnx

import equijax as ej
from tests.audit.gallery.parts import MLP, Encoder, Entry, Positions, each, flat, layer_norm, linear, norm
from tests.helpers import randn


class DeepSets(nnx.Module):
    """ρ(Σ φ(x)), behind a layer x Λ + max(x) Γ."""

    def __init__(self, width=6, classes=2):
        rngs = nnx.Rngs(0)
        self.own, self.all = linear(3, width, rngs=rngs), linear(3, width, rngs=rngs)
        self.phi, self.rho = MLP(width, width, width, rngs=rngs), MLP(width, width, classes, rngs=rngs)

    def __call__(self, x):
        x = jnp.tanh(self.own(x) - self.all(x.max(1, keepdims=True)))
        return self.rho(self.phi(x).sum(1))


class PointNet(nnx.Module):
    """A transformation found from all points, a shared MLP with batch norm, the maximum."""

    def __init__(self, width=6, classes=2):
        rngs = nnx.Rngs(0)
        self.find1, self.find2 = linear(3, width, rngs=rngs), linear(width, 9, rngs=rngs)
        self.layer1, self.layer2 = linear(3, width, rngs=rngs), linear(width, 2 * width, rngs=rngs)
        self.norm1, self.norm2 = norm(width, rngs=rngs), norm(2 * width, rngs=rngs)
        self.head = MLP(2 * width, width, classes, rngs=rngs)

    def __call__(self, x):
        turn = self.find2(nnx.relu(self.find1(x)).max(1)).reshape(-1, 3, 3)
        x = jnp.einsum("bnc,bcd->bnd", x, turn)
        x = nnx.relu(self.norm2(self.layer2(nnx.relu(self.norm1(self.layer1(x))))))
        return self.head(x.max(1))


class SetTransformer(nnx.Module):
    """Self-attention blocks, pooling by attention with one seed; with positions it is no network on sets."""

    def __init__(self, positions, width=8, classes=2):
        rngs = nnx.Rngs(0)
        self.lift, self.positions = linear(3, width, rngs=rngs), Positions(6, width) if positions else None
        self.blocks = nnx.List([Encoder(width, 2, rngs=rngs) for _ in range(2)])
        self.seed, self.norm = nnx.Param(randn((width,), 3)), layer_norm(width, rngs=rngs)
        self.head = linear(width, classes, rngs=rngs)

    def __call__(self, x):
        x = self.lift(x)
        x = x if self.positions is None else self.positions(x)
        for block in self.blocks:
            x = block(x)
        weights = nnx.softmax(x @ self.seed[...], axis=-1)
        return self.head(self.norm(jnp.einsum("bn,bnc->bc", weights, x)))


class DGCNN(nnx.Module):
    """EdgeConv: the maximum over the nearest neighbours of a function of both points (Wang et al., 2019)."""

    def __init__(self, width=4, k=3, classes=2):
        rngs = nnx.Rngs(0)
        self.edge, self.head, self.k = MLP(6, width, width, rngs=rngs), linear(width, classes, rngs=rngs), k

    def __call__(self, x):
        far = ((x[:, :, None] - x[:, None]) ** 2).sum(-1)
        _, near = jax.lax.top_k(-far, self.k)
        others = jnp.take_along_axis(x[:, None], near[..., None], 2)
        own = jnp.broadcast_to(x[:, :, None], others.shape)
        return self.head(self.edge(jnp.concatenate([own, others - own], -1)).max((1, 2)))


class Flattened(nnx.Module):
    """An MLP on all points, one behind the other."""

    def __init__(self, width=6, classes=2):
        rngs = nnx.Rngs(0)
        self.each, self.dense = linear(3, width, rngs=rngs), linear(6 * width, width, rngs=rngs)
        self.head = linear(width, classes, rngs=rngs)

    def __call__(self, x):
        return self.head(nnx.relu(self.dense(flat(nnx.relu(self.each(x))))))


def dense(model, x):
    """The dense layer on all points."""
    return model.dense(flat(x))


POINTS = randn((4, 6, 3))
ACTION = ej.SetAction(6)
#: Maxima, sums and attention don't see an order.
EXACT: dict[str, set[str]] = {}
INVARIANT = {"out_action": ej.TrivialAction(ACTION.group)}

ENTRIES = [
    Entry("DeepSets", DeepSets, POINTS, ACTION, EXACT),
    Entry("PointNet", PointNet, POINTS, ACTION, EXACT),
    Entry("Set Transformer", lambda: SetTransformer(False), POINTS, ACTION, EXACT),
    Entry("Set Transformer with positions", lambda: SetTransformer(True), POINTS, ACTION, each("positions", "position")),
    Entry("DGCNN", DGCNN, POINTS, ACTION, EXACT),
    Entry("DGCNN, told that classes stay", DGCNN, POINTS, ACTION, EXACT, INVARIANT),
    Entry("MLP on points", Flattened, POINTS, ACTION, each("dense", "dense"), INVARIANT,
          also={"dense": (dense, (4, 6, 6), "dense")}),
]  # fmt: skip
