"""How each primitive passes the layouts of its inputs on to its outputs; without a rule the layout is unknown."""

import dataclasses
import math

from equijax.audit._atoms import Still
from equijax.audit._layout import Layout, merged
from equijax.audit._rule import Layouts, Operand, Operands, Params, Rule, Shapes
from equijax.audit._rules_index import numbered_axis, numbers_of, ranked
from equijax.audit._rules_join import JOIN
from equijax.audit._rules_pick import PICK
from equijax.audit._rules_shape import SHAPE
from equijax.audit._rules_sum import SUM
from equijax.nn._jaxpr import POINTWISE, Equation

#: Name of a primitive → its rule.
RULES: dict[str, Rule] = {**SHAPE, **PICK, **JOIN, **SUM}

ELEMENTWISE = POINTWISE | frozenset("cumlogsumexp cummax cummin cumprod cumsum".split())

#: Operations that return the places of entries.
RANKING = frozenset("top_k argmax argmin sort".split())

#: Elementwise operations that are linear in their one input, so that a matrix on the fibre passes through them.
LINEAR = frozenset("add add_any sub neg convert_element_type copy copy_p reduce_precision stop_gradient".split())

ORDERED = frozenset(
    "cumsum cumprod cummax cummin cumlogsumexp sort rev scan while argmax argmin top_k reduce_and dynamic_slice".split()
)


def out_layouts(equation: Equation, operands: list[Operand], shapes: list[tuple[int, ...]]) -> list[Layout | None]:
    """Returns the layout of every output of an equation that depends on the input; None stands for unknown."""
    unknown: list[Layout | None] = [None] * len(shapes)
    if any(o.depends and (o.layout is None or o.layout.chosen) for o in operands):
        return unknown
    if equation.name in ELEMENTWISE:
        layouts = _elementwise(equation.params, operands, shapes)
        layouts = [numbered_axis(operands, a) for a in layouts] if equation.name == "eq" else layouts
    else:
        rule = RULES.get(equation.name)
        if rule is None or any(o.layout is not None and o.layout.custom is not None for o in operands):
            return unknown
        layouts = rule(equation.params, operands, shapes)
    if equation.name in RANKING:
        numbers = ranked(equation.name, equation.params, operands, len(shapes))
    else:
        numbers = [numbers_of(equation.name, equation.params, operands)] * len(shapes)
    fitting = [a if a is not None and a.shape == shape else None for a, shape in zip(layouts, shapes, strict=True)]
    return [None if a is None else dataclasses.replace(a, numbers=n) for a, n in zip(fitting, numbers, strict=True)]


def _elementwise(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    del params
    shape = shapes[0]
    result: Layout | None = None
    for o in operands:
        if not o.depends or o.layout is None:
            continue
        if o.layout.custom is None and len(o.shape) != len(shape):  # a scalar that depends on the input
            continue
        layout = o.layout if o.layout.custom is not None else _widened(o.layout, shape)
        result = layout if result is None else merged(result, layout)
        if result is None:
            return [None] * len(shapes)
    if result is None:
        result = Layout(tuple((Still(n, "any"),) for n in shape))
    return [result] * len(shapes)


def _widened(layout: Layout, shape: tuple[int, ...]) -> Layout:
    """Returns the layout after axes of length 1 are repeated."""
    axes = tuple(
        axis if math.prod(a.size for a in axis) == n else (Still(n, "any"),)
        for axis, n in zip(layout.axes, shape, strict=True)
    )
    return Layout(axes, layout.custom)
