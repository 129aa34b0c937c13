"""How often a compiled gradient of a maximum is lost: JAX's own rule, and equijax's, on the same cases.

    python tests/benchmarks/maxima_lost.py [--json FILE]

The cases are those of ``tests/test_extrema.py``: a norm, a maximum over a fibre, a grid, windows, a set, segments or neighbours, a
ReLU and an inner product, in float32 and float64, eight to a program, compiled as users do. The gradient is compared with numpy's.
"""

import argparse
import json
import pathlib
import sys

import jax

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
jax.config.update("jax_enable_x64", True)

from equijax import _extrema  # noqa: E402
from tests.test_extrema import wrong_gradients  # noqa: E402

CASES = 216


def count() -> int:
    """Number of cases in which a compiled gradient differs from numpy's by more than rounding."""
    return sum(len(wrong_gradients(range(first, first + 8))) for first in range(0, CASES, 8))


def main() -> None:
    """Counts and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="write the counts to this file")
    given = parser.parse_args()
    ours = count()
    _extrema._largest = lambda x, over: over.max(x)  # the rules of jnp.max and jax.ops.segment_max
    _extrema._largest_weighed = _extrema._with_rows
    counts = {"cases": CASES, "equijax": ours, "jax.numpy": count(), "jax": jax.__version__}
    print(counts)
    if given.json:
        pathlib.Path(given.json).write_text(json.dumps(counts, indent=1) + "\n")


if __name__ == "__main__":
    main()
