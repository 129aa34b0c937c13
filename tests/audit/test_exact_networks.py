"""Exactly equivariant networks: nobody is accused, and every error is rounding."""

import numpy as np
import pytest

from tests.audit.exact_networks import EXACT

NAMES = [case.name for case in EXACT]


@pytest.mark.parametrize("case", EXACT, ids=NAMES)
def test_nobody_is_accused(case):
    found = case.audit()
    assert [(row.name, row.verdict, row.causes) for row in found.accused] == []
    assert found.exact and max(row.ratio for row in found.rows) <= 10
    assert not np.isnan(found.error).any() and (found.error <= 10 * found.floor).all()
    assert found.floor < 1e-12 and all(row.share is None for row in found.rows)


def test_there_are_enough():
    assert len(EXACT) >= 20 and len(set(NAMES)) == len(NAMES)
