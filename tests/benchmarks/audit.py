"""Times an audit: 20 layers of 32 channels at 64 × 64, 4 samples, generators of p4m and unit shifts, compilation included.

    python tests/benchmarks/audit.py            # prints, and writes docs/figures/audit.json

The bar is 30 s on two cores. Every layer of both networks is at fault, which is the slowest case.
"""

import json
import os
import platform
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


def main() -> None:
    """Audits both networks and writes the figures."""
    x = jax.random.normal(jax.random.key(0), (4, 64, 64, 3))
    rows = {}
    for padding in ("CIRCULAR", "SAME"):
        start = time.perf_counter()
        report = ej.audit.explain(Deep(padding), x, in_action=ej.GridAction(ej.wallpaper("p4m")))
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        ej.audit.static(Deep(padding), x.shape, in_action=ej.GridAction(ej.wallpaper("p4m")))
        rows[padding] = {
            "seconds": round(seconds, 1),
            "static_seconds": round(time.perf_counter() - start, 1),
            "accused": len(report.accused),
            "causes": sorted({cause.kind for row in report.accused for cause in row.causes}),
            "sum_of_shares": sum(row.share or 0.0 for row in report.rows),
            "elements": list(report.elements),
        }
        print(padding, rows[padding])
    versions = {"python": platform.python_version(), "jax": jax.__version__, "flax": flax.__version__}
    figures = {"networks": rows, "versions": versions, "cores": os.cpu_count(), "device": jax.devices()[0].platform}
    path = Path(__file__).parents[2] / "docs" / "figures" / "audit.json"
    path.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
