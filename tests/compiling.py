"""How tests compile. They compile thousands of small programs and run each once or twice.

`python -m tests.compiling COMMAND …` runs a command whose programs are compiled so, such as the build of the documentation.
"""

import os
import sys

import jax

#: A small program is not worth splitting among threads.
_FLAGS = ["--xla_cpu_parallel_codegen_split_count=1"]
if jax.__version_info__ < (0, 11):
    # XLA's older emitter of fused loops is compiled in half the time of the one that goes through MLIR; jax has it up to 0.10.
    _FLAGS.append("--xla_cpu_use_fusion_emitters=false")

#: Without LLVM's optimisations compiling takes a third of the time, and the programs compute the same.
QUICKLY = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "XLA_FLAGS": " ".join([os.environ.get("XLA_FLAGS", ""), *_FLAGS])}

if __name__ == "__main__":
    os.execvpe(sys.argv[1], sys.argv[1:], os.environ | QUICKLY)
