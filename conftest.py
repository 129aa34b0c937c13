"""Settings of every test and doctest: strict arithmetic, float64, four CPU devices, repeatable examples."""

import gc
import os

import hypothesis
import jax
import pytest

gc.set_threshold(20_000, 20, 10)  # tracing makes many short-lived objects; looking for cycles less often saves four percent
jax.config.update("jax_num_cpu_devices", 4)
if "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ:
    # The suite compiles thousands of small programs and runs each once: compiling without LLVM's optimisations takes a
    # third of the time and computes the same. Set the variable to 0 to test with them.
    jax.config.update("jax_disable_most_optimizations", True)
    # XLA's older emitter of fused loops is compiled in half the time of the one that goes through MLIR; jax has it up to
    # 0.10. XLA reads its flags once, here; programs that tests start do not inherit them.
    if jax.__version_info__ < (0, 11):
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("XLA_FLAGS", f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false")
            jax.devices()
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile(
    "equijax", deadline=None, derandomize=True, max_examples=20, database=None, print_blob=False
)
hypothesis.settings.load_profile("equijax")


@pytest.fixture(autouse=True)
def _single_precision_in_doctests(request):
    """Doctests run as readers type them: ``jnp.ones`` is float32, like the parameters of a layer."""
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    with jax.enable_x64(False):
        yield
