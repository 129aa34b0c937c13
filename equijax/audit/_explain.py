"""The audit: which layer breaks the symmetry, by how much, why, and what to use instead."""

import dataclasses
import functools
import platform
import time
from collections.abc import Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from equijax._arguments import boolean, shown
from equijax._numbers import positive_int
from equijax.actions import Action
from equijax.actions._acting import require_elements, require_moved
from equijax.audit._actions import actions_in, is_action, layout_of, moves_graph, require_action_tree
from equijax.audit._as_run import errors_as_run, note_of
from equijax.audit._consistency import consistency_of
from equijax.audit._elements import audited_elements, how_drawn
from equijax.audit._error import moved
from equijax.audit._frame import Frame
from equijax.audit._graph_places import GraphPlaces
from equijax.audit._infinitesimal import lie_derivatives
from equijax.audit._layout import Layout
from equijax.audit._network import Network, require_actions
from equijax.audit._plan import plan_of
from equijax.audit._probe import probed_layouts
from equijax.audit._reaching import reaching
from equijax.audit._report import Report
from equijax.audit._rows import rows_of
from equijax.audit._trace import Trace, trace
from equijax.audit._walk import walk
from equijax.graphs import Graph
from equijax.groups import Group, agree
from equijax.groups._elements import as_arrays
from equijax.groups._group import Element, require_is_group


@dataclasses.dataclass(frozen=True)
class Subject:
    """What an audit looks at: a traced model, the elements, and the moved input.

    Attributes:
      network: the network with its layouts.
      x: leaves of the input.
      moved: for each element the leaves of the moved input.
      model: the model.
    """

    network: Network
    x: tuple[Any, ...]
    moved: tuple[tuple[Any, ...], ...]
    model: nnx.Module


class UnknownOutput(ValueError):
    """No action is known for the output; the second argument says it on the command line."""

    def __str__(self) -> str:
        return str(self.args[0])


def explain(
    model: nnx.Module,
    x: Any,
    *,
    in_action: Action,
    group: Group | None = None,
    out_action: Any = None,
    actions: Mapping[str, Action] | None = None,
    elements: Element | None = None,
    depth: int | None = None,
    perturb: bool = True,
    every_cut: bool = False,
    infinitesimal: bool = False,
    shifts: int = 0,
) -> Report:
    r"""Finds the layers that break a symmetry: how much, why, and what to use instead.

    .. math:: f(g·x) - g·f(x) = \sum_i T_{i-1} - T_i, \qquad T_i = f_{N…i+1}(g·a_i)

    The sum telescopes: term i is what is lost between activation i − 1 and activation i, seen at the output. A row's share
    is its projection on the whole, pooled over samples and elements; shares add up to 1.

    The model is not touched: a copy is traced, the calls of its submodules and the operations between them become rows.

    Args:
      model: any ``nnx.Module`` that can be called on ``x`` alone and traced by ``jax.make_jaxpr``. Layers with other
        behaviour in training are audited as they stand (call ``model.eval()`` first, or use ``nnx.view``).
      x: array or pytree with a few samples (4 … 64) of real data; the first axis is the batch. Or a Graph, best one that
        holds several; it is looked at without neighbour tables.
      in_action: how the group moves ``x``; an action, or a pytree of actions like ``x``.
      group: the group, as a check; None is that of ``in_action``.
      out_action: how it moves the output, where that can't be found by following the operations (behind flatten + dense).
      actions: path of a submodule → action on its output, where a layer has an action of its own.
      elements: elements stacked along a leading axis; None takes generators and unit shifts, and of a Lie group a few of
        every connected part: from the Haar measure, or, as a note says, where there is none, near those parts.
      depth: how many names deep modules are opened; None opens all.
      perturb: repeat the verdict with jittered parameters (a positional embedding that is initialised with zeros is exact
        until it is trained).
      every_cut: measure a term at every row, also where nothing is broken; slower.
      shifts: number of random shifts, and pairs of crops, under which predictions of a classifier are compared; 0 for none.
      infinitesimal: add the Lie derivatives along shifts of a torus, which see aliasing (whole shifts don't), and along
        every direction of the Lie algebra of a continuous group.

    Returns:
      A :class:`Report`.

    Raises:
      TypeError: ``model`` is no module, ``in_action`` no action.
      ValueError: the model can't be traced, no action is known for the output, or an action does not fit an array.
    """
    begin = time.perf_counter()
    flags = {"perturb": perturb, "every_cut": every_cut, "infinitesimal": infinitesimal}
    perturb, every_cut, infinitesimal = (boolean(value, name) for name, value in flags.items())
    shifts = positive_int(shifts, "shifts", 0)
    subject = prepare(model, x, in_action, group, out_action, actions, elements, depth)
    network = subject.network
    state = network.trace.state
    other = jittered_state(network, state) if perturb else None
    with np.errstate(over="ignore", invalid="ignore"):  # masks hold infinities, and numbers that rounding makes infinite
        found = walk(network, state, subject.x, subject.moved, network.steps, jittered=other, every_cut=every_cut)
        steps = [finding.step for finding in found.findings]
        spared = [finding.broken if found.is_visible(finding) else set() for finding in found.findings]
        second = None if other is None else walk(network, other, subject.x, subject.moved, steps, spared=spared)
    lie = lie_derivatives(network, found) if infinitesimal else ()
    rows, beside, cancellation = rows_of(subject, found, second, lie)
    notes = beside.notes if elements is not None else (*how_drawn(network.frame.group), *beside.notes)
    frame = network.frame
    as_run = errors_as_run(subject, found)
    return Report(
        model=type(model).__name__,
        group=repr(frame.group),
        input_shape=repr(x) if isinstance(x, Graph) else ", ".join(str(tuple(leaf.shape)) for leaf in subject.x),
        elements=tuple(frame.label(e) for e in range(frame.count)),
        error=np.array([found.errors.get(e, np.nan) for e in range(frame.count)]),
        floor=found.floor,
        rows=rows,
        lost=tuple(next((row.name for row in rows if frame.label(e) in row.lost), "") for e in range(frame.count)),
        cancellation=cancellation,
        infinitesimal=lie,
        consistency=consistency_of(model, x, in_action, shifts=shifts) if shifts else None,
        notes=(*notes, *note_of(as_run)),
        leaks=beside.totals,
        versions=_versions(),
        seconds=time.perf_counter() - begin,
        _as_run=as_run,
        _planned=functools.partial(plan_of, subject, found, rows),
    )


def prepare(
    model: nnx.Module,
    x: Any,
    in_action: Any,
    group: Group | None = None,
    out_action: Any = None,
    actions: Mapping[str, Action] | None = None,
    elements: Element | None = None,
    depth: int | None = None,
) -> Subject:
    """Traces a model, finds the action on every activation, and moves the input."""
    if group is not None:
        require_is_group(group, "group")
    require_moved(x)
    require_action_tree(out_action, "out_action")
    require_actions(actions)
    depth = None if depth is None else positive_int(depth, "depth")
    leader = _leader(in_action)
    if elements is not None and group is None:
        require_elements(leader.group, elements)
    elements = None if elements is None else as_arrays(elements)
    x = jax.tree.map(jnp.asarray, x)
    x = x.replace(table=None) if isinstance(x, Graph) else x
    try:
        jax.tree.map(lambda action, part: None, in_action, x, is_leaf=is_action)
    except ValueError:
        raise ValueError(
            f"`in_action` is {shown(in_action)}, a pytree that does not fit `x`; give one action, or one for each array."
        ) from None
    in_action = jax.tree.map(lambda a, part: a.for_input(part), in_action, x, is_leaf=is_action)
    leader = _leader(in_action)
    if group is not None and not agree(group, leader.group):
        raise ValueError(f"`group` is {group!r}, but `in_action` belongs to {leader.group!r}. Give one of the two only.")
    named = elements is not None
    elements = jax.tree.map(jnp.asarray, elements) if named else audited_elements(leader, x)
    network = network_of(model, x, in_action, out_action, actions, elements, depth)
    if not named and network.frame.is_grid:
        further = reaching(network)
        network = network if further is None else network.under(further)
    frame = network.frame
    images = tuple(_moved(in_action, frame.element(e), x, network.trace) for e in range(frame.count))
    return Subject(network, network.trace.x, images, model)


def network_of(
    model: nnx.Module,
    x: Any,
    in_action: Any,
    out_action: Any,
    actions: Mapping[str, Action] | None,
    elements: Element,
    depth: int | None,
) -> Network:
    """Traces a model and finds the action on every activation; ``x`` may be abstract."""
    leader, leaves = _leader(in_action), jax.tree.leaves(x)
    grid = leader.grid(np.shape(leaves[0])) if leader.moves is None else None
    places = GraphPlaces.of(leader, x) if moves_graph(leader) else None  # pyright: ignore[reportArgumentType]
    if is_action(in_action) and len(leaves) == 1:
        layout_of(leader, np.shape(leaves[0]))
    traced = trace(model, x)
    frame = Frame(leader, elements, grid, places)
    unknown = set(actions or {}) - set(traced.modules) - {str(m.call) for m in traced.program.marks}
    if unknown:
        paths = sorted(path for path in traced.modules if path)
        raise ValueError(f"`actions` names {sorted(unknown)}, but the submodules are {paths}. Use one of these paths.")
    network = Network(
        traced,
        frame,
        _input_layouts(in_action, traced, frame),
        _output_layouts(out_action, traced, frame),
        actions or {},
        depth,
    )
    _require_output(network)
    return network


def _leader(in_action: Any) -> Action:
    """Returns the action of the first leaf of the input, after checking that there is one."""
    leaders = actions_in(in_action)
    if not leaders or not all(map(is_action, leaders)):
        raise TypeError(
            f"`in_action` is {shown(in_action)}; it must be an Action such as GridAction(wallpaper('p4')) or "
            "SetAction(n), or a pytree of actions like `x`."
        )
    return leaders[0].plain


def _per_leaf(action: Any, structure: Any) -> list[Any]:
    """Returns one action for each leaf of a tree: a pytree of actions is spread over it, a single action stands for all."""
    if is_action(action):
        return [action] * structure.num_leaves
    spread = jax.tree.map(
        lambda a, part: [a] * part.num_leaves,
        action,
        jax.tree.unflatten(structure, [jax.tree.structure(0)] * structure.num_leaves),
        is_leaf=is_action,
    )
    return actions_in(spread)


def _input_layouts(in_action: Any, traced: Trace, frame: Frame) -> list[Layout]:
    if frame.places is not None:
        return frame.places.layouts(jax.tree.unflatten(traced.x_tree, traced.x))  # pyright: ignore[reportReturnType]
    if is_action(in_action) and len(traced.x) > 1:
        return probed_layouts(in_action, traced, frame)
    actions = _per_leaf(in_action, traced.x_tree)
    return [layout_of(a, leaf.shape) for a, leaf in zip(actions, traced.x, strict=True)]


def _moved(in_action: Any, g: Element, x: Any, traced: Trace) -> tuple[Any, ...]:
    if is_action(in_action):
        shape = np.shape(traced.x[0]) if len(traced.x) == 1 else ()
        in_action.require_acts(g, shape)
        return tuple(jax.tree.leaves(moved(in_action, g, x)))
    actions = _per_leaf(in_action, traced.x_tree)
    return tuple(moved(action, g, leaf) for action, leaf in zip(actions, traced.x, strict=True))


def _output_layouts(out_action: Any, traced: Trace, frame: Frame) -> list[Layout | None]:
    avals = [traced.program.avals[v] for v in traced.result_variables]
    if frame.places is not None and (out_action is None or all(map(moves_graph, actions_in(out_action)))):
        return frame.places.layouts(jax.tree.unflatten(traced.out_tree, avals))
    if out_action is None:
        return [None] * len(avals)
    actions = _per_leaf(out_action, traced.out_tree)
    layouts: list[Layout | None] = []
    for action, aval in zip(actions, avals, strict=True):
        try:
            layouts.append(layout_of(action, aval.shape))
        except ValueError as error:
            raise ValueError(f"`out_action` does not fit the output of shape {aval.shape}: {error}") from error
        action.axes(len(aval.shape))
    return layouts


def _require_output(network: Network) -> None:
    for v in network.trace.result_variables:
        if v in network.depends and network.layouts.get(v) is None:
            shape = network.trace.program.avals[v].shape
            last = next((step.name for step in reversed(network.steps)), "the model")
            raise UnknownOutput(
                f"`out_action` is needed: no action is known for the output of shape {shape} (the trail is lost at {last}). "
                "Pass out_action=TrivialAction(group) for class scores, a GridAction for images, or actions={path: action} "
                "for the layer where it is lost.",
                f"no action is known for the output of shape {shape} (the trail is lost at {last}). Give --invariant-output "
                "where the output does not move, such as class scores; for images call equijax.audit.explain in Python.",
            )


def jittered_state(network: Network, state: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Returns the state with every trainable float moved by a tenth of its scale; None where there is nothing to move."""
    random = np.random.default_rng(1)
    names = network.trace.state_names
    result, changed = [], False
    for name, leaf in zip(names, state, strict=True):
        moves = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating) and np.size(leaf)
        if not moves or name in network.trace.frozen:
            result.append(leaf)
            continue
        value = np.asarray(leaf)
        positive = bool((value > 0).all()) and ("var" in name or "scale" in name)
        size = float(np.std(value.astype(np.float64))) or 0.3
        noise = 0.3 * size * random.standard_normal(value.shape)
        other = value * np.exp(0.1 * random.standard_normal(value.shape)) if positive else value + noise
        result.append(jnp.asarray(other.astype(value.dtype), value.dtype))
        changed = True
    return tuple(result) if changed else None


def _versions() -> dict[str, str]:
    import equijax

    return {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "flax": flax.__version__,
        "equijax": equijax.__version__,
    }
