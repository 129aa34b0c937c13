"""A grid in parts on four devices, and a batch in two processes, give what one device gives."""

import os
import pathlib
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import equijax as ej
from equijax.reps import Scalar
from tests.contract import one_of_two
from tests.helpers import options, randn

P4 = ej.wallpaper("p4")
SCALAR = {"group": P4, "in_fibre": Scalar(P4.point_group)}


def layers():
    """Layers on a grid, those with a window and those without; the second half wraps around."""
    o = lambda padding, seed=0: options(P4, seed, padding=padding)  # noqa: E731
    plain = lambda padding: options(ej.Translation(2), padding=padding)  # noqa: E731
    return {
        **{f"Conv {padding}": ej.nn.Conv(2, 3, (3, 3), **plain(padding)) for padding in ("SAME", "CIRCULAR")},
        **{f"LiftingConv {padding}": ej.nn.LiftingConv(2, 3, 3, **o(padding)) for padding in ("SAME", "CIRCULAR")},
        "chain": ej.nn.Sequential(ej.nn.LiftingConv(2, 3, 3, **o("SAME")), jax.nn.relu, ej.nn.GroupConv(3, 2, 3, **o("SAME", 1)),
                                  ej.nn.GroupNorm(2, 1, group=P4, param_dtype=jnp.float64, rngs=nnx.Rngs(0))),
        "torus": ej.nn.Sequential(ej.nn.LiftingConv(2, 3, 3, **o("CIRCULAR")), jnp.tanh, ej.nn.GroupConv(3, 2, 3, **o("CIRCULAR", 1))),
        "MaxPool": ej.nn.MaxPool(2, 2, **SCALAR),
        "AvgPool": ej.nn.AvgPool(3, 1, "CIRCULAR", **SCALAR),
        "BlurPool": ej.nn.BlurPool(4, 2, **SCALAR),
        "GlobalPool": ej.nn.GlobalPool("mean", **SCALAR),
    }  # fmt: skip


@pytest.mark.parametrize("some", ["Conv CIRCULAR", pytest.param("others", marks=pytest.mark.slow)])
def test_a_grid_in_parts_gives_the_same(some):
    """Forward, and gradients of inputs and parameters; nobody asks for the rows of the neighbours: the compiler sends them."""
    split = {name: nnx.split(layer) for name, layer in layers().items() if (name == "Conv CIRCULAR") != (some == "others")}

    @jax.jit
    def run(states, x):
        def total(states, x):
            outputs = {name: nnx.merge(split[name][0], states[name])(x) for name in split}
            return sum((y**2).mean() for y in outputs.values()), outputs

        return jax.grad(total, argnums=(0, 1), has_aux=True)(states, x)

    states, x = {name: state for name, (_, state) in split.items()}, randn((2, 16, 16, 2))
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(AxisType.Auto,))
    put = lambda tree, *spec: jax.device_put(tree, NamedSharding(mesh, P(*spec)))  # noqa: E731
    one, parts = run(states, x), run(put(states), put(x, None, "rows"))
    for expected, got in zip(jax.tree.leaves(one), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)
    for name, y in parts[1].items():
        rows = y.sharding.shard_shape(y.shape)[1] if name != "GlobalPool" else 0
        assert rows * 4 == y.shape[1] or name == "GlobalPool", f"{name} is not in parts: {y.sharding}"
    gradient = parts[0][1]
    assert gradient.sharding.shard_shape(gradient.shape)[1] * 4 == 16


def start(rank, address, out):
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS")}
    root = pathlib.Path(__file__).parents[2]
    environment["PYTHONPATH"] = str(root)
    command = [sys.executable, "-m", "tests.contract.one_of_two", address, str(rank), str(out)]
    return subprocess.Popen(command, env=environment, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """Each holds half of the batch and two devices. Another program may take the port first: then another port is tried."""
    out, said = tmp_path / "out.npz", ""
    for _ in range(3):
        address = f"127.0.0.1:{free_port()}"
        workers = [start(rank, address, out) for rank in (0, 1)]
        try:
            said = "\n".join(worker.communicate(timeout=180)[0] for worker in workers)
        finally:
            for worker in workers:
                worker.kill()
        if out.exists():
            break
    assert out.exists(), said[-3000:]
    found = np.load(out)
    assert found["devices"] == 4
    with jax.enable_x64(False), jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        model = one_of_two.build()
        losses = one_of_two.train(model, jnp.asarray(one_of_two.data()))
    np.testing.assert_allclose(found["losses"], losses, rtol=1e-5)
    np.testing.assert_allclose(found["kernel"], model.layers[4].kernel[...], rtol=1e-4, atol=1e-6)
    assert losses[-1] < losses[0]
