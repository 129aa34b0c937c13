"""Times audits: networks at 64 × 64, 4 samples, compilation included; the plan, `static`, and the memory of the process.

    python tests/benchmarks/audit.py            # prints, and writes docs/figures/audit.json
    python tests/benchmarks/audit.py NAME       # one network, in this process; prints

Every network has a process of its own. Bars on two cores: twenty convolutions of 32 channels under p4m (every layer is at fault)
30 s; ResNet-50 with its own widths under shifts 30 s with all culprits, 60 s more for the plan, `static` in 3 s, 2 GB;
DenseNet-121 under shifts and VGG-19 under p4m, with their own widths, 45 s; a GRU over 200 steps 15 s.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import flax
import jax
import jax.numpy as jnp
from flax import nnx

import equijax as ej


class Deep(nnx.Module):
    """Twenty convolutions, a global mean, a dense layer."""

    def __init__(self, padding: str):
        rngs = nnx.Rngs(0)
        features = [3] + [32] * 20
        self.layers = nnx.List(
            [nnx.Conv(a, b, (3, 3), padding=padding, rngs=rngs) for a, b in zip(features[:-1], features[1:], strict=True)]
        )
        self.head = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = nnx.relu(layer(x))
        return self.head(x.mean((1, 2)))


class Bottleneck(nnx.Module):
    """1×1, 3×3 with the stride, 1×1, beside a short cut."""

    def __init__(self, inputs: int, width: int, strides: int, rngs: nnx.Rngs):
        conv = lambda a, b, k, s: nnx.Conv(a, b, (k, k), strides=s, padding=k // 2, use_bias=False, rngs=rngs)  # noqa: E731
        outputs = 4 * width
        self.convs = nnx.List([conv(inputs, width, 1, 1), conv(width, width, 3, strides), conv(width, outputs, 1, 1)])
        self.norms = nnx.List([nnx.BatchNorm(n, use_running_average=True, rngs=rngs) for n in (width, width, outputs)])
        self.short = nnx.data(conv(inputs, outputs, 1, strides) if inputs != outputs else None)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = x
        for k, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = norm(conv(y))
            y = nnx.relu(y) if k < 2 else y
        return nnx.relu(y + (x if self.short is None else self.short(x)))


class ResNet50(nnx.Module):
    """He et al., 2016, with its own widths."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.stem = nnx.Conv(3, 64, (7, 7), strides=2, padding=3, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(64, use_running_average=True, rngs=rngs)
        blocks, inputs = [], 64
        for stage, depth in enumerate((3, 4, 6, 3)):
            for number in range(depth):
                blocks.append(Bottleneck(inputs, 64 * 2**stage, 2 if stage and not number else 1, rngs))
                inputs = 256 * 2**stage
        self.blocks, self.head = nnx.List(blocks), nnx.Linear(inputs, 1000, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.max_pool(nnx.relu(self.norm(self.stem(x))), (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


class Dense(nnx.Module):
    """Norm, 1×1, norm, 3×3; the result is appended to the input."""

    def __init__(self, inputs: int, growth: int, rngs: nnx.Rngs):
        self.norms = nnx.List([nnx.BatchNorm(n, use_running_average=True, rngs=rngs) for n in (inputs, 4 * growth)])
        self.narrow = nnx.Conv(inputs, 4 * growth, (1, 1), use_bias=False, rngs=rngs)
        self.conv = nnx.Conv(4 * growth, growth, (3, 3), padding=1, use_bias=False, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.narrow(nnx.relu(self.norms[0](x)))
        return jnp.concatenate([x, self.conv(nnx.relu(self.norms[1](y)))], -1)


class Transition(nnx.Module):
    """Norm, 1×1 to half the features, 2×2 mean pooling."""

    def __init__(self, inputs: int, rngs: nnx.Rngs):
        self.norm = nnx.BatchNorm(inputs, use_running_average=True, rngs=rngs)
        self.conv = nnx.Conv(inputs, inputs // 2, (1, 1), use_bias=False, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return nnx.avg_pool(self.conv(nnx.relu(self.norm(x))), (2, 2), strides=(2, 2))


class DenseNet121(nnx.Module):
    """Huang et al., 2017, with its own growth."""

    def __init__(self):
        rngs, growth = nnx.Rngs(0), 32
        self.stem = nnx.Conv(3, 64, (7, 7), strides=2, padding=3, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(64, use_running_average=True, rngs=rngs)
        layers, features = [], 64
        for block, depth in enumerate((6, 12, 24, 16)):
            if block:
                layers.append(Transition(features, rngs))
                features //= 2
            layers += [Dense(features + i * growth, growth, rngs) for i in range(depth)]
            features += depth * growth
        self.layers, self.last = nnx.List(layers), nnx.BatchNorm(features, use_running_average=True, rngs=rngs)
        self.head = nnx.Linear(features, 1000, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.max_pool(nnx.relu(self.norm(self.stem(x))), (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for layer in self.layers:
            x = layer(x)
        return self.head(nnx.relu(self.last(x)).mean((1, 2)))


class VGG19(nnx.Module):
    """Simonyan and Zisserman, 2015, configuration E, with its own widths."""

    def __init__(self):
        rngs, inputs, stages = nnx.Rngs(0), 3, []
        for width, depth in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
            sizes = [inputs] + [width] * depth
            convs = [nnx.Conv(i, o, (3, 3), padding=1, rngs=rngs) for i, o in zip(sizes, sizes[1:], strict=False)]
            stages.append(nnx.List(convs))
            inputs = width
        self.stages = nnx.List(stages)
        sizes = (4 * inputs, 4096, 4096, 1000)
        self.dense = nnx.List([nnx.Linear(i, o, rngs=rngs) for i, o in zip(sizes, sizes[1:], strict=False)])

    def __call__(self, x: jax.Array) -> jax.Array:
        for stage in self.stages:
            for conv in stage:
                x = nnx.relu(conv(x))
            x = nnx.max_pool(x, (2, 2), strides=(2, 2))
        x = x.reshape(len(x), -1)
        for layer in self.dense[:-1]:
            x = nnx.relu(layer(x))
        return self.dense[-1](x)


class Recurrent(nnx.Module):
    """A recurrent layer; its last state is read."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.rnn, self.head = nnx.RNN(nnx.GRUCell(16, 32, rngs=rngs)), nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(self.rnn(x)[:, -1])


IMAGES = (4, 64, 64, 3)
#: Name → model, shape of the input, group.
NETWORKS = {
    "20 convolutions, CIRCULAR": (lambda: Deep("CIRCULAR"), IMAGES, ej.wallpaper("p4m")),
    "20 convolutions, SAME": (lambda: Deep("SAME"), IMAGES, ej.wallpaper("p4m")),
    "ResNet-50": (ResNet50, IMAGES, ej.Translation(2)),
    "DenseNet-121": (DenseNet121, IMAGES, ej.Translation(2)),
    "VGG-19": (VGG19, IMAGES, ej.wallpaper("p4m")),
    "GRU, 200 steps": (Recurrent, (4, 200, 16), ej.Translation(1)),
}


def figures(name: str) -> dict:
    """Audits a network, and returns its figures."""
    make, shape, group = NETWORKS[name]
    model, x = make(), jax.random.normal(jax.random.key(0), shape)
    action, start = ej.GridAction(group), time.perf_counter()
    invariant = ej.TrivialAction(group)
    report = ej.audit.explain(model, x, in_action=action, out_action=invariant)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    plan = report.plan
    plan_seconds = time.perf_counter() - start
    start = time.perf_counter()
    ej.audit.static(model, x.shape, in_action=action, out_action=invariant)
    return {
        "seconds": round(seconds, 1),
        "plan_seconds": round(plan_seconds, 1),
        "static_seconds": round(time.perf_counter() - start, 1),
        "gigabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "accused": len(report.accused),
        "mends": len(plan.mends),
        "error": plan.errors[0],
        "error_after_plan": plan.error,
        "causes": sorted({cause.kind for row in report.accused for cause in row.causes}),
        "sum_of_shares": sum(row.share or 0.0 for row in report.rows),
        "elements": list(report.elements),
    }


def main() -> None:
    """Audits all networks, each in a process of its own, and writes the figures."""
    rows = {}
    for name in NETWORKS:
        done = subprocess.run([sys.executable, __file__, name], check=True, stdout=subprocess.PIPE, text=True)
        rows[name] = json.loads(done.stdout.splitlines()[-1])
        print(name, rows[name], flush=True)
    versions = {"python": platform.python_version(), "jax": jax.__version__, "flax": flax.__version__}
    result = {"networks": rows, "versions": versions, "cores": os.cpu_count(), "device": jax.devices()[0].platform}
    path = Path(__file__).parents[2] / "docs" / "figures" / "audit.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(figures(sys.argv[1])))
    else:
        main()
