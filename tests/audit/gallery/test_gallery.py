"""The audit of real architectures accuses what theory says, and nothing else."""

import pytest

from equijax import Graph
from tests.audit.claims import contradictions
from tests.audit.gallery.blame import blamed
from tests.audit.gallery.table import TABLE

ENTRIES = [pytest.param(entry, id=entry.name, marks=[pytest.mark.slow] * entry.slow) for entry in TABLE]


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_audit_accuses_what_theory_says(entry):
    report = entry.audit()
    assert blamed(report, entry.expected) == (dict(entry.expected), [])
    assert report.judgement == ("broken" if entry.expected else "kept")
    assert isinstance(entry.x, Graph) or contradictions(entry, report) == []


def test_names_are_different():
    assert len({entry.name for entry in TABLE}) == len(TABLE)
