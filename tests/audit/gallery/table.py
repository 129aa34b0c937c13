"""All networks of the gallery."""

from tests.audit.gallery import (
    audio,
    bridged,
    classic,
    convnext,
    densenet,
    generators,
    graphs,
    mamba,
    mobile,
    resnet,
    sequences,
    sets,
    superres,
    swin,
    turns,
    unet,
    vgg,
    vit,
)

FAMILIES = (
    resnet,
    vgg,
    densenet,
    unet,
    convnext,
    mobile,
    vit,
    swin,
    audio,
    sequences,
    mamba,
    bridged,
    generators,
    graphs,
    sets,
    superres,
    classic,
    turns,
)
TABLE = [entry for family in FAMILIES for entry in family.ENTRIES]
