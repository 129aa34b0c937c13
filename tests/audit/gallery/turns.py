"""Networks for images under p4m: shifts, quarter turns and reflections."""

import equijax as ej
from tests.audit.gallery.classic import AntiAliased, blur
from tests.audit.gallery.parts import Entry, each
from tests.audit.gallery.resnet import RESNET18, pooling, resnet18
from tests.audit.gallery.unet import PLANAR, UNet
from tests.audit.gallery.vgg import CONVS, POOLS, VGG, dense
from tests.helpers import randn

P4M = ej.GridAction(ej.wallpaper("p4m"))
INVARIANT = {"out_action": ej.TrivialAction(P4M.group)}


def kernels(expected, paths):
    """Expects besides that weights differ which a turn or a reflection moves onto each other."""
    return {**expected, **{path: expected.get(path, set()) | {"kernel"} for path in paths.split()}}


#: Every kernel of random numbers that is wider than 1 is another one when it is turned. Windows of a maximum are squares: they
#: turn. The padding is the same on all sides, so that turns don't see it: border and phase are what shifts see.
VGG11 = kernels({**each(CONVS, "border"), **each(POOLS, "phase")}, CONVS)
#: The 1×1 shortcuts have nothing to turn. A turn moves the even rows to the odd ones, as a shift by 1 does.
RESNET = kernels(RESNET18, " ".join(path for path in RESNET18 if "short" not in path and path != "reduce_window_max"))
#: The transposed convolutions put 2×2 pixels for each place, different ones: turned they are others.
PLANE_UNET = kernels(PLANAR, f"up.0 up.1 {' '.join(path for path in PLANAR if 'pool' not in path)}")
#: The binomial kernel is its own image. A window of 2×2 lies between the places, and is padded on one side.
ANTIALIASED = {
    **each("convs.0 convs.1", "border", "kernel"),
    **each("pools.0 pools.1", "border"),
    **each("blurs.0 blurs.1", "phase", "border"),
}

ENTRIES = [
    Entry("VGG-11 under p4m", lambda: VGG(32), randn((4, 32, 32, 3)), P4M, VGG11, INVARIANT, slow=True,
          also={"dense1": (dense, (4, 1, 1, 32), "dense")}),
    Entry("ResNet-18 under p4m", resnet18, randn((4, 64, 64, 3)), P4M, RESNET, slow=True,
          also={"reduce_window_max": (pooling, (4, 32, 32, 4), "border")}),
    Entry("U-Net under p4m", lambda: UNet((4, 8, 16)), randn((4, 16, 16, 3)), P4M, PLANE_UNET, slow=True),
    Entry("Blur pooling under p4m", AntiAliased, randn((4, 16, 16, 3)), P4M, ANTIALIASED,
          also={f"blurs.{i}": (blur(i), (4, 16 // 2**i, 16 // 2**i, 4), "border") for i in range(2)}),
]  # fmt: skip
