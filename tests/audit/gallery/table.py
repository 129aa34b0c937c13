"""All networks of the gallery."""

import pytest

from tests.audit.gallery import audio, convnext, densenet, generators, mobile, resnet, sequences, swin, unet, vgg, vit

FAMILIES = (resnet, vgg, densenet, unet, convnext, mobile, vit, swin, audio, sequences, generators)
TABLE = [entry for family in FAMILIES for entry in family.ENTRIES]
PARAMS = [pytest.param(entry, id=entry.name, marks=[pytest.mark.slow] * entry.slow) for entry in TABLE]
