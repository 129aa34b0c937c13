"""DCGAN (Radford et al., 2016) and a VAE (Kingma and Welling, 2014), both with a spatial latent."""

import jax
import jax.numpy as jnp
from flax import nnx

from tests.audit.gallery.parts import PLANE, Entry, conv, each, norm, transposed
from tests.helpers import randn


class DCGAN(nnx.Module):
    """Transposed 4×4 convolutions with stride 2, norm and ReLU; tanh at the end."""

    def __init__(self, widths=(8, 8, 4, 3)):
        rngs = nnx.Rngs(0)
        pairs = list(zip(widths, widths[1:], strict=False))
        self.ups = nnx.List([transposed(i, o, 4, 2, rngs=rngs) for i, o in pairs])
        self.norms = nnx.List([norm(o, rngs=rngs) for _, o in pairs[:-1]])

    def __call__(self, x):
        for up, normalise in zip(self.ups[:-1], self.norms, strict=True):
            x = nnx.relu(normalise(up(x)))
        return jnp.tanh(self.ups[-1](x))


class Sample(nnx.Module):
    """A normal number for each entry of the latent: the trick of reparametrisation."""

    def __init__(self, *, rngs):
        self.rngs = rngs

    def __call__(self, mean, variance):
        return mean + jnp.exp(0.5 * variance) * jax.random.normal(self.rngs.noise(), mean.shape, mean.dtype)


class VAE(nnx.Module):
    """Convolutions with stride 2, mean and variance, transposed convolutions; samples, or takes the mean."""

    def __init__(self, samples, width=4, latent=2):
        rngs = nnx.Rngs(0)
        self.down1 = conv(3, width, 4, 2, padding=1, rngs=rngs)
        self.down2 = conv(width, width, 4, 2, padding=1, rngs=rngs)
        self.mean, self.variance = conv(width, latent, 1, rngs=rngs), conv(width, latent, 1, rngs=rngs)
        self.sample = Sample(rngs=nnx.Rngs(noise=3)) if samples else None
        self.up1, self.up2 = transposed(latent, width, 4, 2, rngs=rngs), transposed(width, 3, 4, 2, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.down2(nnx.relu(self.down1(x))))
        mean, variance = self.mean(x), self.variance(x)
        z = mean if self.sample is None else self.sample(mean, variance)
        return nnx.sigmoid(self.up2(nnx.relu(self.up1(z))))


def sample(model, x):
    """The same noise for every input."""
    return Sample(rngs=nnx.Rngs(noise=3))(x, x)


#: 4×4 → 8 → 16 → 32. A transposed 4×4 convolution reads two neighbours for each output: at the border one of them is missing.
DECODER = each("ups.0 ups.1 ups.2", "border")
#: 16×16 → 8 → 4 → 8 → 16.
MEAN = {**each("down1 down2", "phase", "border"), **each("up1 up2", "border")}
#: Noise does not move with the image; drawing it moves the state of the generator on.
SAMPLED = {**MEAN, **each("sample", "randomness")}

ENTRIES = [
    Entry("DCGAN", DCGAN, randn((4, 4, 4, 8)), PLANE, DECODER),
    Entry("VAE, mean", lambda: VAE(False), randn((4, 16, 16, 3)), PLANE, MEAN),
    Entry("VAE, sampled", lambda: VAE(True), randn((4, 16, 16, 3)), PLANE, SAMPLED,
          also={"sample": (sample, (4, 4, 4, 2), "randomness")}),
]  # fmt: skip
