"""The JAX side: compiled programs of a network or a layer, and their times."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from layers import Layer
from messages import MessageLayer
from networks import CLASSES, Network, network
from sets import SetLayer

import equijax as ej

SingleLayer = Layer | SetLayer | MessageLayer


@dataclasses.dataclass(frozen=True)
class Program:
    """``fn(kept, *inputs)`` returns what it keeps, in the same memory, and a value; ``fresh`` makes its arguments."""

    fn: Callable
    fresh: Callable[[], tuple]


class Contender:
    """Compiles the programs of one case for one library; runs them on arrays that ``build`` makes."""

    def __init__(self, case: Network | SingleLayer, kind: str, algorithm: str | None):
        self.case, self.kind = case, kind
        self.module = module_of(case, kind, algorithm)
        if isinstance(case, Network):
            self.programs = network_programs(case, kind, self.module)
        else:
            self.programs = layer_programs(case, kind, self.module)
        self.compiled, self.compile_s, self.memory_MiB = {}, {}, {}
        for mode, program in self.programs.items():
            start = time.perf_counter()
            self.compiled[mode] = jax.jit(program.fn, donate_argnums=0).lower(*program.fresh()).compile()
            self.compile_s[mode] = time.perf_counter() - start
            self.memory_MiB[mode] = memory_mib(self.compiled[mode])
        self.arguments: dict[str, tuple] = {}

    @property
    def parameters(self) -> int:
        """Number of trainable numbers."""
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(self.module, nnx.Param)))

    def results(self) -> dict[str, Any]:
        """Output and gradients of a layer that has the weights of the other sides, by name."""
        (_, output), (_, (_, gradients)) = (self.compiled[mode](*self.programs[mode].fresh()) for mode in self.case.modes)
        of_state = nnx.to_pure_dict(gradients[0])
        parts = self.case.parts(self.kind) if not isinstance(self.case, Network) else {}
        return {"output": output, "x": gradients[1]} | {name: at(of_state, path) for name, path in parts.items()}

    def build(self) -> None:
        """Makes new arrays while the old ones are still there, so that they lie elsewhere."""
        self.arguments = jax.block_until_ready({mode: program.fresh() for mode, program in self.programs.items()})

    def run(self, mode: str, count: int) -> tuple[list[float], float | None]:
        """Runs once untimed and ``count`` times; returns milliseconds, and the last value where it is one number."""
        (kept, *inputs), times, value = self.arguments[mode], [], jnp.zeros(1)
        for _ in range(count + 1):
            start = time.perf_counter()
            kept, value = jax.block_until_ready(self.compiled[mode](kept, *inputs))
            times.append(1e3 * (time.perf_counter() - start))
        self.arguments[mode] = (kept, *inputs)
        return times[1:], float(value) if isinstance(value, jax.Array) and not value.ndim else None


def module_of(case: Network | SingleLayer, kind: str, algorithm: str | None) -> nnx.Module:
    """The network, or the layer with its weights; ``algorithm`` is set on layers that have a choice which the case leaves."""
    rngs = nnx.Rngs(0)
    module = network(case.name, kind, rngs) if isinstance(case, Network) else case.module(kind, rngs)
    if algorithm is not None and kind == "equijax" and getattr(case, "algorithm", None) is None:
        module.set_attributes(algorithm=algorithm, raise_if_not_found=False)
    if not isinstance(case, Network):
        data = case.data()
        for name, path in case.parts(kind).items():
            at(module, path)[...] = jnp.array(data[name])
    return module


def at(tree: Any, path: str) -> Any:
    """What lies at a path of names and numbers, in a module or in nested dictionaries."""
    for name in path.split("."):
        key: Any = int(name) if name.isdigit() else name
        tree = tree[key] if isinstance(tree, dict) or name.isdigit() else getattr(tree, name)
    return tree


def memory_mib(compiled: Any) -> float:
    """What a compiled program needs: temporary arrays, arguments and outputs; what is kept in place counts once."""
    sizes = compiled.memory_analysis()
    total = sizes.temp_size_in_bytes + sizes.argument_size_in_bytes + sizes.output_size_in_bytes
    return (total - sizes.alias_size_in_bytes) / 2**20


def network_programs(case: Network, kind: str, module: nnx.Module) -> dict[str, Program]:
    """A training step, and the forward pass as it is used afterwards; frozen, where a library can."""
    module.train()
    definition, parameters, rest = nnx.split(module, nnx.Param, ...)
    adam = optax.adam(1e-3)

    def step(kept: tuple, x: jax.Array, labels: jax.Array) -> tuple:
        parameters, rest, moments = kept

        def loss(parameters: Any) -> tuple:
            model: Any = nnx.merge(definition, parameters, rest, copy=True)
            losses = optax.softmax_cross_entropy_with_integer_labels(model(x), labels)
            return losses.mean(), nnx.split(model, nnx.Param, ...)[2]

        (value, rest), gradient = jax.value_and_grad(loss, has_aux=True)(parameters)
        updates, moments = adam.update(gradient, moments, parameters)
        return (optax.apply_updates(parameters, updates), rest, moments), value

    def evaluate(kept: tuple, parameters: Any, rest: Any, x: jax.Array) -> tuple:
        model: Any = nnx.merge(definition, parameters, rest, copy=True)
        model.eval()
        return kept, model(x)

    def copies() -> tuple:
        return jax.tree.map(jnp.array, (parameters, rest))

    def batch() -> tuple[jax.Array, jax.Array]:
        random = np.random.default_rng(0)
        x = random.normal(size=(case.batch, case.size, case.size, 1)).astype(np.float32)
        return jnp.array(x), jnp.array(random.integers(0, CLASSES, case.batch))

    def train_arguments() -> tuple:
        own = copies()
        return (*own, adam.init(own[0])), *batch()

    programs = {"train": Program(step, train_arguments), "eval": Program(evaluate, lambda: ((), *copies(), batch()[0]))}
    return programs | {"frozen": frozen_program(module, lambda: batch()[0]) if kind == "equijax" else programs["eval"]}


def frozen_program(module: nnx.Module, x: Callable[[], jax.Array]) -> Program:
    """The forward pass with kernels that are written out and transformed once for this input."""
    definition, state = nnx.split(ej.nn.freeze(module, x().shape))

    def evaluate(kept: tuple, state: Any, x: jax.Array) -> tuple:
        model: Any = nnx.merge(definition, state, copy=True)
        return kept, model(x)

    return Program(evaluate, lambda: ((), jax.tree.map(jnp.array, state), x()))


def layer_programs(case: SingleLayer, kind: str, module: nnx.Module) -> dict[str, Program]:
    """The forward pass; a sum of squares with its gradients in the first input and the parameters."""
    definition, state = nnx.split(module)
    inputs = case.inputs(kind)

    def forward(kept: tuple, state: Any, *inputs: Any) -> tuple:
        return kept, case.apply(kind, nnx.merge(definition, state, copy=True), *inputs)

    def gradient(kept: tuple, state: Any, *inputs: Any) -> tuple:
        return kept, jax.value_and_grad(lambda *given: jnp.square(forward(kept, *given)[1]).sum(), (0, 1))(state, *inputs)

    def fresh() -> tuple:
        return (), *jax.tree.map(jnp.array, (state, *inputs))

    return {"forward": Program(forward, fresh), "gradient": Program(gradient, fresh)}
