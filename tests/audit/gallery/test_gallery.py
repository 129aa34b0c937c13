"""The audit of real architectures accuses what theory says, and nothing else; what it gets wrong is marked in the table."""

import pytest

from tests.audit.gallery.blame import blamed
from tests.audit.gallery.table import TABLE


def param(entry):
    """Returns an entry with its marks: one that is judged right although it is marked as wrong fails."""
    wrong = [pytest.mark.xfail(reason=entry.wrong, strict=True)] if entry.wrong else []
    return pytest.param(entry, id=entry.name, marks=[*wrong, *[pytest.mark.slow] * entry.slow])


@pytest.mark.parametrize("entry", [param(entry) for entry in TABLE])
def test_the_audit_accuses_what_theory_says(entry):
    report = entry.audit()
    assert blamed(report, entry.expected) == (dict(entry.expected), [])
    assert report.judgement == ("broken" if entry.expected else "kept")


def test_names_are_different():
    assert len({entry.name for entry in TABLE}) == len(TABLE)
