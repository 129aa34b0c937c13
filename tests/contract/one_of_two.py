"""One of two processes that train one model: started by ``test_sharding.py`` with an address, a rank and a file."""

import sys

import jax
import numpy as np
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import equijax as ej


def build():
    group = ej.wallpaper("p4")
    rngs = nnx.Rngs(0)
    lift = ej.nn.LiftingConv(1, 2, 3, group=group, padding="CIRCULAR", rngs=rngs)
    pools = ej.nn.FibrePool(group=group), ej.nn.GlobalPool(group=group, in_fibre=ej.reps.Scalar(group.point_group))
    return ej.nn.Sequential(lift, jax.nn.relu, *pools, nnx.Linear(2, 1, rngs=rngs))


def train(model, x, steps=3):
    @nnx.jit
    def step(model, x):
        loss, gradient = nnx.value_and_grad(lambda model: ((model(x) - 1.0) ** 2).mean())(model)
        nnx.update(model, jax.tree.map(lambda p, g: p - 0.1 * g, nnx.state(model, nnx.Param), gradient))
        return loss

    return [float(step(model, x)) for _ in range(steps)]


def data():
    return np.random.default_rng(0).normal(size=(8, 6, 6, 1)).astype(np.float32)


def main(address, rank, out):
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 2)
    jax.distributed.initialize(coordinator_address=address, num_processes=2, process_id=rank, initialization_timeout=60)
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    put = jax.make_array_from_process_local_data
    model, own = build(), data()[4 * rank : 4 * rank + 4]
    nnx.update(model, jax.tree.map(lambda leaf: put(NamedSharding(mesh, P()), np.asarray(leaf)), nnx.state(model)))
    losses = train(model, put(NamedSharding(mesh, P("data")), own))
    if rank == 0:
        np.savez(out, losses=losses, devices=jax.device_count(), kernel=model.layers[4].kernel[...])
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
