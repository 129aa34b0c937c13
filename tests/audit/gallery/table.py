"""All networks of the gallery."""

import pytest

from tests.audit.gallery import convnext, densenet, mobile, resnet, unet, vgg

FAMILIES = (resnet, vgg, densenet, unet, convnext, mobile)
TABLE = [entry for family in FAMILIES for entry in family.ENTRIES]
PARAMS = [pytest.param(entry, id=entry.name, marks=[pytest.mark.slow] * entry.slow) for entry in TABLE]
