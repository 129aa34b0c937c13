"""Where bits are comparable: the versions, the processor and the compiler settings that decide the last bit."""

import hashlib
import os
import pathlib
import platform

import jax
import jaxlib
import numpy as np


def environment() -> str:
    """A line that is equal where the same program gives the same bits."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        kept = ("cpu family", "model", "stepping", "microcode", "cache size", "flags")
        model = sorted({line for line in lines if line.startswith(kept)})
    except OSError:
        model = [platform.processor()]
    return " ".join(
        [
            f"jax {jax.__version__} jaxlib {jaxlib.__version__} numpy {np.__version__} {platform.machine()}",
            hashlib.sha256("".join(model).encode()).hexdigest()[:16],
            f"{os.cpu_count()} cores, {jax.default_backend()}, optimisations off: {jax.config.read('jax_disable_most_optimizations')}",
        ]
    )
