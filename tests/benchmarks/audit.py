"""Times audits: networks at 64 × 64, 4 samples, compilation included; the plan, `static`, and the memory of the process.

    python tests/benchmarks/audit.py            # prints, and writes docs/figures/audit.json

Twenty convolutions of 32 channels under p4m (every layer is at fault, the slowest case; the bar is 30 s on two cores), and ResNet-50
with its own widths under shifts (30 s with all culprits, 60 s more for the plan, `static` in 3 s, 2 GB).
"""

import json
import os
import platform
import resource
import time
from pathlib import Path

import flax
import jax
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


def main() -> None:
    """Audits the networks and writes the figures."""
    x = jax.random.normal(jax.random.key(0), (4, 64, 64, 3))
    rows = {}
    networks = {"20 convolutions, CIRCULAR": (Deep("CIRCULAR"), ej.wallpaper("p4m")),
                "20 convolutions, SAME": (Deep("SAME"), ej.wallpaper("p4m")),
                "ResNet-50": (ResNet50(), ej.Translation(2))}  # fmt: skip
    for name, (model, group) in networks.items():
        action, start = ej.GridAction(group), time.perf_counter()
        report = ej.audit.explain(model, x, in_action=action)
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        plan = report.plan
        plan_seconds = time.perf_counter() - start
        start = time.perf_counter()
        ej.audit.static(model, x.shape, in_action=action)
        rows[name] = {
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
        print(name, rows[name], flush=True)
    versions = {"python": platform.python_version(), "jax": jax.__version__, "flax": flax.__version__}
    figures = {"networks": rows, "versions": versions, "cores": os.cpu_count(), "device": jax.devices()[0].platform}
    path = Path(__file__).parents[2] / "docs" / "figures" / "audit.json"
    path.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
