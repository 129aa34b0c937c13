"""ResNet (He et al., 2016): basic blocks and bottlenecks."""

from flax import nnx

from tests.audit.gallery.parts import PLANE, Entry, conv, each, linear, mean, norm
from tests.helpers import randn


class Shortcut(nnx.Module):
    """Option B: a 1×1 convolution with the stride of the block, and batch norm."""

    def __init__(self, inputs, outputs, strides, *, rngs):
        self.conv = conv(inputs, outputs, 1, strides, padding=0, use_bias=False, rngs=rngs)
        self.norm = norm(outputs, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.conv(x))


class Basic(nnx.Module):
    """Two 3×3 convolutions."""

    expansion = 1

    def __init__(self, inputs, width, strides, *, rngs):
        self.conv1 = conv(inputs, width, 3, strides, padding=1, use_bias=False, rngs=rngs)
        self.conv2 = conv(width, width, 3, padding=1, use_bias=False, rngs=rngs)
        self.norm1, self.norm2 = norm(width, rngs=rngs), norm(width, rngs=rngs)
        self.short = Shortcut(inputs, width, strides, rngs=rngs) if (inputs, 1) != (width, strides) else None

    def __call__(self, x):
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return nnx.relu(y + (x if self.short is None else self.short(x)))


class Bottleneck(nnx.Module):
    """1×1, 3×3 with the stride, 1×1 to four times the width."""

    expansion = 4

    def __init__(self, inputs, width, strides, *, rngs):
        self.conv1 = conv(inputs, width, 1, padding=0, use_bias=False, rngs=rngs)
        self.conv2 = conv(width, width, 3, strides, padding=1, use_bias=False, rngs=rngs)
        self.conv3 = conv(width, 4 * width, 1, padding=0, use_bias=False, rngs=rngs)
        self.norm1, self.norm2, self.norm3 = (norm(n, rngs=rngs) for n in (width, width, 4 * width))
        self.short = Shortcut(inputs, 4 * width, strides, rngs=rngs) if (inputs, 1) != (4 * width, strides) else None

    def __call__(self, x):
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = nnx.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return nnx.relu(y + (x if self.short is None else self.short(x)))


class ResNet(nnx.Module):
    """A 7×7 stem, 3×3 max pooling, four stages, the mean, a dense layer."""

    def __init__(self, block, depths, width=4, classes=3):
        rngs = nnx.Rngs(0)
        self.stem, self.norm = conv(3, width, 7, 2, padding=3, use_bias=False, rngs=rngs), norm(width, rngs=rngs)
        inputs, stages = width, []
        for stage, depth in enumerate(depths):
            blocks = []
            for number in range(depth):
                strides = 2 if stage > 0 and number == 0 else 1
                blocks.append(block(inputs, width * 2**stage, strides, rngs=rngs))
                inputs = width * 2**stage * block.expansion
            stages.append(nnx.List(blocks))
        self.stages = nnx.List(stages)
        self.head = linear(inputs, classes, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.stem(x)))
        x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for stage in self.stages:
            for block in stage:
                x = block(x)
        return self.head(mean(x))


def pooling(model, x):
    """The pooling behind the stem."""
    return nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))


def resnet18():
    return ResNet(Basic, (2, 2, 2, 2))


def resnet50():
    return ResNet(Bottleneck, (3, 4, 6, 3), width=2)


#: 64×64 → stem 32×32 → pool 16×16 → stages 16, 8, 4, 2. Every 3×3 window is padded.
RESNET18 = {
    **each("stem reduce_window_max stages.1.0.conv1 stages.2.0.conv1 stages.3.0.conv1", "phase", "border"),
    **each("stages.1.0.short.conv stages.2.0.short.conv stages.3.0.short.conv", "phase"),
    **each("stages.0.0.conv1 stages.0.0.conv2 stages.0.1.conv1 stages.0.1.conv2", "border"),
    **each("stages.1.0.conv2 stages.1.1.conv1 stages.1.1.conv2", "border"),
    **each("stages.2.0.conv2 stages.2.1.conv1 stages.2.1.conv2", "border"),
    **each("stages.3.0.conv2 stages.3.1.conv1 stages.3.1.conv2", "border"),
}
#: 32×32: a single place is left in the last stage, of which nothing but its stride can go wrong, with one exception: where the
#: stride is mended, its first convolution still pads 2×2 places.
SMALL = {name: kinds for name, kinds in RESNET18.items() if "stages.3" not in name or name.startswith("stages.3.0.conv1")}
SMALL |= each("stages.3.0.short.conv", "phase")
#: 64×64 → 32 → 16 → 16, 8, 4, 2. The 1×1 convolutions of a bottleneck are innocent where they have no stride.
RESNET50 = {
    **each("stem reduce_window_max stages.1.0.conv2 stages.2.0.conv2 stages.3.0.conv2", "phase", "border"),
    **each("stages.1.0.short.conv stages.2.0.short.conv stages.3.0.short.conv", "phase"),
    **each("stages.0.0.conv2 stages.0.1.conv2 stages.0.2.conv2", "border"),
    **each("stages.1.1.conv2 stages.1.2.conv2 stages.1.3.conv2", "border"),
    **each("stages.2.1.conv2 stages.2.2.conv2 stages.2.3.conv2 stages.2.4.conv2 stages.2.5.conv2", "border"),
    **each("stages.3.1.conv2 stages.3.2.conv2", "border"),
}

ENTRIES = [
    Entry("ResNet-18", resnet18, randn((4, 64, 64, 3)), PLANE, RESNET18, slow=True,
          also={"reduce_window_max": (pooling, (4, 32, 32, 4), "border")}),
    Entry("ResNet-18, 32×32", resnet18, randn((4, 32, 32, 3)), PLANE, SMALL,
          also={"reduce_window_max": (pooling, (4, 16, 16, 4), "border")}),
    Entry("ResNet-50", resnet50, randn((4, 64, 64, 3)), PLANE, RESNET50, slow=True,
          also={"reduce_window_max": (pooling, (4, 32, 32, 2), "border")}),
]  # fmt: skip
