"""The error of a layer that loses elements of the point group at the shape of its input."""

from typing import Any

from equijax.actions import kept_by
from equijax.nn._exactness import Exactness


def require_kept(
    layer: Any, exactness: Exactness, input_shape: tuple[int, ...], what: str, remedy: str, action: Any = None
) -> None:
    """Raises ``ValueError`` where a layer loses point elements that map its input to itself.

    Args:
      layer: the layer; with ``allow_inexact`` nothing is raised.
      exactness: what it keeps at this shape.
      input_shape: shape of the input.
      what: what the layer is, for the message.
      remedy: what else could be done, one clause.
      action: how the input is moved where its samples lie one pixel apart; None is the action of ``exactness``.
    """
    if layer.allow_inexact or exactness.keeps_point_group or not exactness.kept.is_known:
        return
    acting = kept_by(exactness.in_action if action is None else action, input_shape).point_elements
    lost = [h for h in acting if h not in exactness.point_elements]
    if lost:
        point_group = exactness.in_action.group.point_group
        raise ValueError(
            f"`inputs` has shape {tuple(input_shape)}, at which this {what} keeps only {len(exactness.point_elements)} of "
            f"the {len(acting)} elements of {point_group!r} that map it to itself. {exactness.reason} Remedies: {remedy}; "
            "or build the layer with allow_inexact=True and accept the loss."
        )
