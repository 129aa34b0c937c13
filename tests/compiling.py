"""How tests compile. They compile thousands of small programs and run each once or twice."""

import os

import jax

#: A small program is not worth splitting among threads.
_FLAGS = ["--xla_cpu_parallel_codegen_split_count=1"]
if jax.__version_info__ < (0, 11):
    # XLA's older emitter of fused loops is compiled in half the time of the one that goes through MLIR; jax has it up to 0.10.
    _FLAGS.append("--xla_cpu_use_fusion_emitters=false")

#: Without LLVM's optimisations compiling takes a third of the time, and the programs compute the same.
QUICKLY = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "XLA_FLAGS": " ".join([os.environ.get("XLA_FLAGS", ""), *_FLAGS])}
