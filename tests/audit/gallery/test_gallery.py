"""The audit of real architectures accuses what theory says, and nothing else."""

import pytest

from tests.audit.gallery.blame import blamed
from tests.audit.gallery.table import PARAMS


@pytest.mark.parametrize("entry", PARAMS)
def test_the_audit_accuses_what_theory_says(entry):
    if entry.wrong:
        pytest.xfail(entry.wrong)
    causes, others = blamed(entry.audit(), entry.expected)
    assert (causes, others) == (dict(entry.expected), [])
