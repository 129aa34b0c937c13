"""The only reader of what ``jax.make_jaxpr`` returns: a flat program that can be replayed equation by equation.

Calls (jit, remat, custom derivatives) are written out; loops that are left (``while``, ``cond``) stay one equation.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from equijax.nn._host import on_host
from equijax.nn._prepared import prepared_p
from equijax.nn._trilinear import trilinear_p

Values = dict[int, Any]

CALLS = frozenset(
    ("jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call")
    + ("custom_vjp_call_jaxpr", "custom_lin")
)
MARK = "equijax|"

#: Primitives that treat every entry alike.
POINTWISE = frozenset(
    """abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e bitcast_convert_type cbrt ceil
    clamp complex conj convert_element_type copy copy_p cos cosh device_put digamma div eq eq_to erf erf_inv erfc exp exp2
    expm1 floor ge gt igamma igammac imag integer_pow is_finite le le_to lgamma log log1p log2 logistic lt lt_to max min mul
    ne neg nextafter not one_minus_square optimization_barrier or polygamma population_count pow real reduce_precision
    regularized_incomplete_beta rem round rsqrt select_n shift_left shift_right_arithmetic shift_right_logical sign sin sinh
    sqrt square stop_gradient sub tan tanh xor""".split()
)


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a submodule: its path and the number of the call, from 1."""

    path: str
    number: int

    def __str__(self) -> str:
        return self.path if self.number == 1 else f"{self.path}#{self.number}"


@dataclasses.dataclass(frozen=True, eq=False)
class Equation:
    """One primitive operation.

    Attributes:
      name: name of the primitive.
      params: its parameters.
      inputs: numbers of the variables that it reads.
      outputs: numbers of the variables that it writes.
      scope: the calls of submodules around it, outermost first.
      line: file and line of the user's code, or ``""``.
      caller: name of the function that it was written out of, such as ``"relu"``, or ``""``.
      bind: evaluates the primitive on arrays, with other parameters where they are given; by numpy where that is as good.
    """

    name: str
    params: Mapping[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    scope: tuple[Call, ...]
    line: str
    caller: str
    bind: Callable[..., list[Any]]


@dataclasses.dataclass(frozen=True)
class Mark:
    """The place where a submodule is entered or left.

    Attributes:
      position: number of the equation before which it stands.
      call: the call.
      side: ``"in"`` or ``"out"``.
      leaf: number of the array among the arguments or results.
      variable: number of the variable that passes.
    """

    position: int
    call: Call
    side: str
    leaf: int
    variable: int


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A flat list of equations.

    Attributes:
      equations: in order of evaluation.
      inputs: numbers of the input variables.
      outputs: numbers of the output variables.
      constants: values of the variables that are known.
      avals: shape and dtype of every variable.
      marks: where submodules are entered and left.
    """

    equations: tuple[Equation, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: Mapping[int, Any]
    avals: Mapping[int, jax.ShapeDtypeStruct]
    marks: tuple[Mark, ...]

    def depends_on(self, variables: Iterable[int]) -> frozenset[int]:
        """Returns the variables whose value depends on any of the given ones; they themselves too."""
        found = set(variables)
        for equation in self.equations:
            if not found.isdisjoint(equation.inputs):
                found.update(equation.outputs)
        return frozenset(found)

    def needed_for(self, variables: Iterable[int]) -> frozenset[int]:
        """Returns the variables that are read, directly or not, to compute the given ones; they themselves too."""
        found = set(variables)
        for equation in reversed(self.equations):
            if not found.isdisjoint(equation.outputs):
                found.update(equation.inputs)
        return frozenset(found)

    def needed(self) -> "Program":
        """Returns the program without the equations whose results nobody reads."""
        wanted = self.needed_for(self.outputs)
        return dataclasses.replace(
            self, equations=tuple(eq for eq in self.equations if not wanted.isdisjoint(eq.outputs)), marks=()
        )

    def __call__(self, *arguments: Any) -> list[Any]:
        """Evaluates the program; it may be traced, so ``jax.jit(program)`` works."""
        values: Values = {**self.constants, **dict(zip(self.inputs, arguments, strict=True))}
        evaluate(self.equations, values)
        return [values[v] for v in self.outputs]


def evaluate(equations: Iterable[Equation], values: Values) -> Values:
    """Evaluates equations one by one and adds their results to ``values``."""
    for equation in equations:
        results = equation.bind([values[v] for v in equation.inputs])
        values.update(zip(equation.outputs, results, strict=True))
    return values


def read(closed: Any) -> Program:
    """Reads what ``jax.make_jaxpr`` returned."""
    return _Reader().read(closed)


class _Reader:
    """Writes out calls and numbers the variables."""

    def __init__(self) -> None:
        self.equations: list[Equation] = []
        self.constants: Values = {}
        self.avals: dict[int, jax.ShapeDtypeStruct] = {}
        self.marks: list[Mark] = []
        self.scope: list[Call] = []

    def read(self, closed: Any) -> Program:
        jaxpr, consts = _opened(closed)
        names: dict[Any, int] = {}
        inputs = tuple(self.new(names, v) for v in jaxpr.invars)
        for v, value in zip(jaxpr.constvars, consts, strict=True):
            self.constants[self.new(names, v)] = value
        self.body(jaxpr, names, "", "")
        outputs = tuple(self.number(names, v) for v in jaxpr.outvars)
        return Program(tuple(self.equations), inputs, outputs, self.constants, self.avals, tuple(self.marks))

    def new(self, names: dict[Any, int], v: Any) -> int:
        names[v] = len(self.avals)
        self.avals[names[v]] = jax.ShapeDtypeStruct(getattr(v.aval, "shape", ()), getattr(v.aval, "dtype", np.float32))
        return names[v]

    def number(self, names: dict[Any, int], v: Any) -> int:
        if hasattr(v, "val"):  # a literal
            number = len(self.avals)
            value = np.asarray(v.val, v.aval.dtype)
            self.avals[number] = jax.ShapeDtypeStruct(value.shape, value.dtype)
            self.constants[number] = jnp.asarray(value)
            return number
        return names[v]

    def body(self, jaxpr: Any, names: dict[Any, int], caller: str, line: str) -> None:
        for eqn in jaxpr.eqns:
            inputs = [self.number(names, v) for v in eqn.invars]
            name, here = eqn.primitive.name, _line(eqn) or line
            if name == "name":
                self.mark(eqn.params.get("name", ""), inputs[0])
                names[eqn.outvars[0]] = inputs[0]
            elif (inner := _inner(eqn, len(inputs))) is not None:
                self.write_out(inner, eqn, inputs, names, caller, here)
            else:
                outputs = tuple(self.new(names, v) for v in eqn.outvars)
                bind = _binder(eqn.primitive, eqn.params)
                scope = tuple(self.scope)
                self.equations.append(Equation(name, eqn.params, tuple(inputs), outputs, scope, here, caller, bind))

    def write_out(self, inner: Any, eqn: Any, inputs: Sequence[int], names: dict[Any, int], caller: str, line: str) -> None:
        jaxpr, consts = _opened(inner)
        local: dict[Any, int] = dict(zip(jaxpr.invars, inputs, strict=True))
        for v, value in zip(jaxpr.constvars, consts, strict=True):
            self.constants[self.new(local, v)] = value
        self.body(jaxpr, local, caller or str(eqn.params.get("name", "")), line)
        for outer, v in zip(eqn.outvars, jaxpr.outvars, strict=True):
            names[outer] = self.number(local, v)

    def mark(self, text: Any, variable: int) -> None:
        if not (isinstance(text, str) and text.startswith(MARK)):
            return
        _, path, number, side, leaf, count = text.split("|")
        call = Call(path, int(number))
        if side == "in" and int(leaf) == 0:
            self.scope.append(call)
        self.marks.append(Mark(len(self.equations), call, side, int(leaf), variable))
        if side == "out" and int(leaf) == int(count) - 1 and call in self.scope:
            del self.scope[self.scope.index(call) :]


def mark_name(call: Call, side: str, leaf: int, count: int) -> str:
    """Returns the text that marks one array at the edge of a submodule."""
    return f"{MARK}{call.path}|{call.number}|{side}|{leaf}|{count}"


def _opened(closed: Any) -> tuple[Any, Sequence[Any]]:
    jaxpr = getattr(closed, "jaxpr", closed)
    consts = tuple(getattr(closed, "consts", ()))
    return jaxpr, consts if len(consts) == len(jaxpr.constvars) else ()


def _inner(eqn: Any, arguments: int) -> Any:
    """Returns the body of a call that can be written out, or None; of a convolution the dense program."""
    if eqn.primitive is trilinear_p:
        return jax.make_jaxpr(eqn.params["of"].dense)(*map(_struct, eqn.invars))
    if eqn.primitive is prepared_p:
        dense = lambda x, kernel, *kept: eqn.params["how"].of.dense(x, kernel)  # noqa: E731
        return jax.make_jaxpr(dense)(*map(_struct, eqn.invars))
    if eqn.primitive.name not in CALLS:
        return None
    body = next((eqn.params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in eqn.params), None)
    return body if body is not None and len(_opened(body)[0].invars) == arguments else None


def _struct(v: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype)


def _binder(primitive: Any, params: Mapping[str, Any]) -> Callable[..., list[Any]]:
    def bind(arguments: Sequence[Any], **changes: Any) -> list[Any]:
        params_now = {**params, **changes}
        near = on_host(primitive.name, params_now, arguments)
        if near is not None:
            return near
        result = primitive.bind(*arguments, **primitive.get_bind_params(params_now))
        return list(result) if primitive.multiple_results else [result]

    return bind


_LIBRARIES = tuple(os.path.dirname(module.__file__ or "") for module in (jax, flax, np)) + (
    os.path.dirname(os.path.dirname(__file__)),
    os.path.dirname(os.__file__),
)


def _line(eqn: Any) -> str:
    """Returns ``"file.py:12"``: the innermost frame that belongs neither to jax or flax nor to this package."""
    traceback = getattr(getattr(eqn, "source_info", None), "traceback", None)
    for frame in getattr(traceback, "frames", ()):
        if not frame.file_name.startswith(_LIBRARIES) and os.path.isabs(frame.file_name):
            return f"{os.path.basename(frame.file_name)}:{frame.line_num}"
        if not os.path.isabs(frame.file_name) and frame.file_name.startswith("<"):
            return f"{frame.file_name}:{frame.line_num}"
    return ""
