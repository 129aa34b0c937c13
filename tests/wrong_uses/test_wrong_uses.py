"""Every wrong use is refused with a message that names the argument, and every right one is accepted."""

import pytest

from tests.wrong_uses.replacements import KINDS
from tests.wrong_uses.run import FAMILIES, WITHOUT, names_tried, public_names, run

FAST = ("sharing", "actions")


@pytest.mark.parametrize("family", [f if f in FAST else pytest.param(f, marks=pytest.mark.slow) for f in FAMILIES])
def test_no_wrong_use_crashes_inside_or_passes_in_silence(family):
    found = list(run(family))
    faults = [f"{o.kind}: {o.use}({o.argument}={o.replacement}): {o.what}" for o in found if o.is_fault]
    assert len(found) >= 250 and not faults, "\n".join(faults[:20])


def test_every_public_name_is_tried_or_has_a_reason_why_not():
    without = {name for names in WITHOUT.values() for name in names.split()}
    assert sorted(public_names() - names_tried() - without) == []
    assert sorted(without - public_names()) == []


def test_every_exception_has_a_reason():
    assert all(reason for right in KINDS.values() for reason in right.values())
