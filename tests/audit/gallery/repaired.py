"""Networks of the gallery rebuilt from their plans: the code that a plan prints is run, with the weights of the network."""

import ast
import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import equijax as ej
from tests.audit.gallery.blame import culprit
from tests.audit.gallery.classic import YOLO, AntiAliased, BlurPool
from tests.audit.gallery.parts import mean
from tests.audit.gallery.resnet import Basic, Bottleneck, ResNet
from tests.audit.gallery.superres import DDPM
from tests.audit.gallery.table import TABLE
from tests.audit.gallery.vgg import VGG

RNGS = nnx.Rngs(9)


class Choices:
    """The choices of one call, under the names of the layers that made them."""

    def __init__(self):
        self.made = {}


class Chosen(nnx.Module):
    """A layer that chooses its samples and notes the choice under its name."""

    def __init__(self, layer, name, choices):
        self.layer, self.name, self.choices = layer, name, choices

    def __call__(self, x):
        y, self.choices.made[self.name] = self.layer.with_choice(x)
        return y


class Told(nnx.Module):
    """A layer that takes the choice of another, which came before it."""

    def __init__(self, layer, source, choices):
        self.layer, self.source, self.choices = layer, source, choices

    def __call__(self, x):
        return self.layer(x, self.choices.made[self.source])


class Before(nnx.Module):
    """``layer(before(x))``, as a plan prints it."""

    def __init__(self, layer, before):
        self.layer, self.before = layer, before

    def __call__(self, x, choice=None):
        return self.with_choice(x, choice)[0]

    def with_choice(self, x, choice=None):
        """Returns the choice too."""
        return self.layer.with_choice(self.before(x), choice)


class Left(nnx.Module):
    """What is left of a layer that was left out."""

    def __call__(self, x):
        return x


def written(code):
    """Builds what a plan prints, which is called with x, or with x and a choice."""
    call = ast.parse(code, mode="eval").body
    if not isinstance(call.func, ast.Call):
        return eval(code, {"ej": ej, "nnx": nnx, "rngs": RNGS})
    layer, argument = written(ast.unparse(call.func)), call.args[0]
    return layer if isinstance(argument, ast.Name) else Before(layer, written(ast.unparse(argument)))


def rebuilt(mend, old, choices):
    """Builds the layer that a plan prints, with the weights of the old one."""
    if mend.kinds == ("position",):
        return Left()
    code, *_ = re.split("; as|, with the choice", mend.code)
    layer = written(code)
    for target in (layer, getattr(layer, "conv", None), getattr(layer, "layer", None)):
        if hasattr(target, "kernel"):
            target.kernel, target.bias = old.kernel, old.bias
    source = re.search("with the choice of `(.*?)`", mend.code)
    if source:
        return Told(layer, source[1], choices)
    return Chosen(layer, mend.name, choices) if "phase" in mend.kinds else layer


def child(module, name):
    """Returns a part of a module, an attribute or an element of a list."""
    return module[int(name)] if name.isdigit() else getattr(module, name)


@dataclasses.dataclass(frozen=True)
class Repair:
    """How a network of the gallery is rebuilt.

    Attributes:
      name: name of the entry.
      make: builds the network that takes the mends; None is that of the entry.
      told: names of the rows that have no fault of their own, and are told a choice.
      places: name of an operation → attribute at which the network takes what the plan prints for it.
      by_hand: name of a row → what ``make`` does with it, where the plan says so in words.
      options: arguments of the audit of the rebuilt network, where they differ.
      slow: whether it takes more than a few seconds.
    """

    name: str
    make: Callable[[], nnx.Module] | None = None
    told: tuple[str, ...] = ()
    places: Mapping[str, str] = dataclasses.field(default_factory=dict)
    by_hand: Mapping[str, str] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    slow: bool = False

    @property
    def entry(self) -> Any:
        """The entry of the table."""
        return next(entry for entry in TABLE if entry.name == self.name)

    @property
    def expected(self):
        """Name of a row → what has to be mended in it, by theory."""
        own = self.entry.expected
        return {**own, **{name: own.get(name, set()) | {"choice"} for name in self.told}}

    def key(self, report, mend):
        """Returns the expected name that a mend of the plan of a report stands for; its own name where none does."""
        row = next(row for row in report.rows if row.name == mend.name)
        return culprit(row, self.expected) or mend.name

    def model(self, report):
        """Returns the network with all mends of the plan of a report made."""
        model, choices = (self.make or self.entry.make)(), Choices()
        for mend in report.plan.mends:
            key = self.key(report, mend)
            if key in self.by_hand:
                assert self.by_hand[key] in mend.code
                continue
            *path, last = self.places.get(key, key).split(".")
            parent = model
            for name in path:
                parent = child(parent, name)
            new = rebuilt(mend, None if key in self.places else child(parent, last), choices)
            if isinstance(parent, nnx.List):
                parent[int(last)] = new
            else:
                setattr(parent, last, new)
        return model


class PooledResNet(ResNet):
    """Takes a layer for the pooling behind the stem."""

    pool: Any = None

    def __call__(self, x):
        x = self.pool(nnx.relu(self.norm(self.stem(x))))
        for stage in self.stages:
            for block in stage:
                x = block(x)
        return self.head(mean(x))


class PooledVGG(VGG):
    """A global mean before the dense layers; the first adds the weights of all places."""

    def __call__(self, x):
        for layer in self.features:
            x = nnx.relu(layer(x))
        kernel = self.dense1.kernel[...].reshape(-1, x.shape[-1], self.dense1.out_features).sum(0)
        x = nnx.relu(mean(x) @ kernel + self.dense1.bias[...][None])
        return self.dense3(nnx.relu(self.dense2(x)))


class ToldDDPM(DDPM):
    """Repeats each place where the choice on the way down took it from."""

    def __init__(self):
        super().__init__()
        self.back = ej.nn.PolyphaseUpsample((2, 2))

    def __call__(self, x):
        x = self.block1(self.first(x))
        y = self.block2(self.down(x))
        batch, height, width, features = y.shape
        y = y + self.attention(y.reshape(batch, height * width, features)).reshape(y.shape)
        y = self.back(y, self.down.choices.made["down"])
        for axis in (1, 2):
            y = y + jnp.roll(y, 1, axis)
        return self.last(nnx.swish(self.block3(jnp.concatenate([x, self.up(y)], -1))))


class ChosenFocus(YOLO):
    """The four neighbours of every place as features, then those of the phase that the image chooses."""

    def __init__(self):
        super().__init__()
        self.choose = ej.nn.PolyphaseDownsample((2, 2))

    def __call__(self, x):
        neighbours = jnp.concatenate([jnp.roll(x, (-i, -j), (1, 2)) for j in (0, 1) for i in (0, 1)], -1)
        x = nnx.silu(self.focus.conv(self.choose(neighbours, self.choose.choose(x))))
        return self.head(mean(nnx.silu(self.down(x))))


class ChosenBlur(BlurPool):
    """Wraps around, blurs, and chooses the samples."""

    def __init__(self, features):
        super().__init__(features)
        self.choose = ej.nn.PolyphaseDownsample((2, 2))

    def __call__(self, x):
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap")
        numbers = ("NHWC", "HWIO", "NHWC")
        return self.choose(
            jax.lax.conv_general_dilated(
                x, self.kernel[...], (1, 1), "VALID", dimension_numbers=numbers, feature_group_count=x.shape[-1]
            )
        )


def blurred():
    """The network with two such layers."""
    model = AntiAliased()
    model.blurs = nnx.List([ChosenBlur(4) for _ in model.blurs])
    return model


POOLING = {"reduce_window_max": "pool"}
DOWN = "stride 1, then ej.nn.PolyphaseDownsample(strides)"
CHOSEN_BEFORE = "stride 1, then down(y, choice), with choice = down.choose(x)"
#: The latent of a generator that makes each place 8 × 8 pixels, and shifts of the image by whole places.
LATENT = {"in_action": ej.GridAction(ej.Translation(2), spacing=(8, 8)), "elements": jnp.asarray([[8, 0], [0, 8], [16, 24]])}
REPAIRS = [
    Repair("ResNet-18", slow=True, make=lambda: PooledResNet(Basic, (2, 2, 2, 2)), places=POOLING),
    Repair("ResNet-50", slow=True, make=lambda: PooledResNet(Bottleneck, (3, 4, 6, 3), width=2), places=POOLING),
    Repair("VGG-11, 32×32", slow=True),
    Repair("VGG-11, 64×64", lambda: PooledVGG(64), slow=True, by_hand={"dense1": "ej.nn.GlobalPool before the dense layer"}),
    Repair("DenseNet", slow=True),
    Repair("U-Net", told=("up.0", "up.1"), slow=True),
    Repair("3-D U-Net", told=("up.0",), slow=True),
    Repair("ConvNeXt", slow=True),
    Repair("MobileNetV3", slow=True),
    Repair("EfficientNet", slow=True),
    Repair("ShuffleNet", slow=True),
    Repair("GoogLeNet", slow=True),
    Repair("ViT without class token"),
    Repair("Whisper"),
    Repair("AST"),
    Repair("DCGAN", options=LATENT),
    Repair("VAE, mean", told=("up1", "up2")),
    Repair("EDSR without last convolution"),
    Repair(
        "DDPM", ToldDDPM, slow=True, told=("gather",), by_hand={"gather": "with the choice of `down`, then a convolution"}
    ),
    Repair("Blur pooling", blurred, by_hand={f"blurs.{i}": f"pad circularly; {DOWN}" for i in range(2)}),
    Repair("Focus", ChosenFocus, by_hand={"slice": CHOSEN_BEFORE}),
]
