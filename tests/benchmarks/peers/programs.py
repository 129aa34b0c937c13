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
from layers import Layer, input_shape, layer
from networks import CLASSES, Network, network

Case = Network | Layer


@dataclasses.dataclass(frozen=True)
class Program:
    """``fn(kept, *inputs)`` returns what it keeps, in the same memory, and a value; ``fresh`` makes its arguments."""

    fn: Callable
    fresh: Callable[[], tuple]


class Contender:
    """Compiles the programs of one case for one library; runs them on arrays that ``build`` makes."""

    def __init__(self, case: Case, kind: str, algorithm: str | None):
        self.module = module_of(case, kind, algorithm)
        if isinstance(case, Network):
            self.programs = network_programs(case, self.module)
        else:
            self.programs = layer_programs(case, kind, self.module)
        self.compiled, self.compile_s = {}, {}
        for mode, program in self.programs.items():
            start = time.perf_counter()
            self.compiled[mode] = jax.jit(program.fn, donate_argnums=0).lower(*program.fresh()).compile()
            self.compile_s[mode] = time.perf_counter() - start
        self.arguments: dict[str, tuple] = {}

    @property
    def parameters(self) -> int:
        """Number of trainable numbers."""
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(self.module, nnx.Param)))

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


def module_of(case: Case, kind: str, algorithm: str | None) -> nnx.Module:
    """The network or the layer; ``algorithm`` is set on the layers that have a choice."""
    rngs = nnx.Rngs(0)
    module = network(case.name, kind, rngs) if isinstance(case, Network) else layer(case, kind, rngs)
    if algorithm is not None and kind == "equijax":
        module.set_attributes(algorithm=algorithm, raise_if_not_found=False)
    return module


def network_programs(case: Network, module: nnx.Module) -> dict[str, Program]:
    """A training step, and the forward pass as it is used afterwards."""
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

    return {"train": Program(step, train_arguments), "eval": Program(evaluate, lambda: ((), *copies(), batch()[0]))}


def layer_programs(case: Layer, kind: str, module: nnx.Module) -> dict[str, Program]:
    """The forward pass; a sum of squares with its gradients in the input and the parameters."""
    definition, state = nnx.split(module)

    def forward(kept: tuple, state: Any, x: jax.Array) -> tuple:
        return kept, nnx.merge(definition, state, copy=True)(x)

    def gradient(kept: tuple, state: Any, x: jax.Array) -> tuple:
        return kept, jax.value_and_grad(lambda *given: jnp.square(forward(kept, *given)[1]).sum(), (0, 1))(state, x)

    def fresh() -> tuple:
        x = np.random.default_rng(0).normal(size=input_shape(case, kind)).astype(np.float32)
        return (), jax.tree.map(jnp.array, state), jnp.array(x)

    return {"forward": Program(forward, fresh), "gradient": Program(gradient, fresh)}
