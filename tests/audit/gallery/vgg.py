"""VGG (Simonyan and Zisserman, 2015), configuration A: 11 layers."""

from flax import nnx

from tests.audit.gallery.parts import INVARIANT, PLANE, Entry, Pool, conv, each, flat, linear
from tests.helpers import randn

PLAN = (4, "pool", 8, "pool", 16, 16, "pool", 32, 32, "pool", 32, 32, "pool")


class VGG(nnx.Module):
    """Zero-padded 3×3 convolutions and 2×2 max pooling, flatten, three dense layers."""

    def __init__(self, side, classes=3):
        rngs, inputs, features = nnx.Rngs(0), 3, []
        for step in PLAN:
            features.append(Pool("max", 2, 2) if step == "pool" else conv(inputs, step, 3, padding=1, rngs=rngs))
            inputs = inputs if step == "pool" else step
        self.features = nnx.List(features)
        self.dense1 = linear(inputs * (side // 32) ** 2, 16, rngs=rngs)
        self.dense2, self.dense3 = linear(16, 16, rngs=rngs), linear(16, classes, rngs=rngs)

    def __call__(self, x):
        for layer in self.features:
            x = layer(x) if isinstance(layer, Pool) else nnx.relu(layer(x))
        x = nnx.relu(self.dense1(flat(x)))
        return self.dense3(nnx.relu(self.dense2(x)))


def dense(model, x):
    """The first dense layer, on what is flattened for it."""
    return model.dense1(flat(x))


CONVS = "features.0 features.2 features.4 features.5 features.7 features.8 features.10 features.11"
POOLS = "features.1 features.3 features.6 features.9"
#: 32×32: the last pooling takes the maximum over all 2×2 places that are left, so it is innocent, and the dense layer behind
#: it too: it is flattened from one place.
SMALL = {**each(CONVS, "border"), **each(POOLS, "phase")}
#: 64×64: the last pooling leaves 2×2 places, as it leaves 7×7 of 224×224.
LARGE = {**SMALL, **each("features.12", "phase"), **each("dense1", "dense")}

ENTRIES = [
    Entry("VGG-11, 32×32", lambda: VGG(32), randn((4, 32, 32, 3)), PLANE, SMALL, INVARIANT,
          also={"dense1": (dense, (4, 1, 1, 32), "dense")}),
    Entry("VGG-11, 64×64", lambda: VGG(64), randn((4, 64, 64, 3)), PLANE, LARGE, INVARIANT, slow=True,
          also={"dense1": (dense, (4, 2, 2, 32), "dense")}),
]  # fmt: skip
