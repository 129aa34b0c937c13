"""All networks of the gallery."""

from tests.audit.gallery import (
    audio,
    convnext,
    densenet,
    generators,
    graphs,
    mobile,
    resnet,
    sequences,
    sets,
    swin,
    unet,
    vgg,
    vit,
)

FAMILIES = (resnet, vgg, densenet, unet, convnext, mobile, vit, swin, audio, sequences, generators, graphs, sets)
TABLE = [entry for family in FAMILIES for entry in family.ENTRIES]
