"""Faults that are no equivariance errors: mixing of the batch, changing state, randomness, leaking masks."""

from typing import Any

from equijax.audit._report import Cause
from equijax.audit._walk import Walk


def side_effects(subject: Any, found: Walk) -> tuple[dict[int, tuple[Cause, ...]], tuple[str, ...]]:
    """Returns further causes for each finding, and notes."""
    del subject, found
    return {}, ()
