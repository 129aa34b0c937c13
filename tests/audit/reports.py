"""Made-up reports, so that the faces can be tested without an audit."""

import dataclasses

import numpy as np

from equijax.audit import Cause, Consistency, Infinitesimal, Report, Row

KERNEL = Cause("kernel", "the kernel differs at places that turns move onto each other", "GroupConv on wallpaper('p4m')")
BORDER = Cause("border", "the image is padded with zeros", "padding='CIRCULAR'")


def made_row(name, verdict="broken", error=0.3, share=0.5, **changes):
    """Returns a row."""
    row = Row(name=name, path=name, operation="Conv", action_in="64×64", action_out="64×64 (assumed)", verdict=verdict,
              local_error=error, floor=1e-7, share=share, share_error=None if share is None else 0.1)  # fmt: skip
    return dataclasses.replace(row, **changes)


def made_report(*rows, **changes):
    """Returns a report of four elements, the third lost."""
    report = Report(
        model="Net",
        group="p4m",
        input_shape="(4, 64, 64, 3)",
        elements=("quarter turn", "mirror", "shift (1, 0)", "shift (0, 1)"),
        error=np.array([0.5, 0.4, np.nan, 0.1]),
        floor=1e-7,
        rows=rows,
        lost=("", "", "pool", ""),
        cancellation=1.7,
        infinitesimal=(Infinitesimal("shift along axis 0", 0.02, (), ()),),
        consistency=Consistency(0.97, 0.91, 16),
        notes=("the state changes: bn.mean",),
        versions={"jax": "0.10.2"},
    )
    return dataclasses.replace(report, **changes)


AWKWARD = {
    "no rows": made_report(),
    "no elements": made_report(made_row("a"), elements=(), error=np.zeros(0), lost=()),
    "no shares": made_report(*(made_row(name, share=None) for name in "abc")),
    "no floor": made_report(made_row("a", floor=0.0), made_row("b", error=0.0, floor=0.0), made_row("c"), floor=0.0),
    "not a number": made_report(made_row("a", error=np.nan, share=None), error=np.full(4, np.nan)),
    "infinite": made_report(made_row("a", error=np.inf, error_map=np.full((8, 8), np.inf)), error=np.full(4, np.inf)),
    "markup": made_report(*(made_row(name) for name in ("layers[conv]", "a[/b]", ":bug:", "$x_{", "<b>&", "a$b$c^"))),
    "many": made_report(*(made_row(f"layer.{i}", share=0.001 if i < 60 else 0.1) for i in range(80)),
                        elements=tuple(f"element {i}" for i in range(70)), error=np.linspace(0, 1, 70), lost=("",) * 70),
    "a point": made_report(made_row("a", error_map=np.ones(()))),
    "a line": made_report(made_row("a", error_map=np.arange(9.0))),
    "a volume": made_report(made_row("a", error_map=np.ones((4, 5, 6)))),
    "one pixel": made_report(made_row("a", error_map=np.ones((1, 1)))),
}  # fmt: skip
