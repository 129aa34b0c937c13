"""Settings of every test and doctest: strict arithmetic, float64, four CPU devices, repeatable examples."""

import gc
import os

import hypothesis
import jax
import pytest

from tests.compiling import QUICKLY

gc.set_threshold(100_000, 20, 10)  # tracing makes many short-lived objects: looking for cycles is a tenth of the time else
jax.config.update("jax_num_cpu_devices", 4)
if "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ:
    # Set the variable to 0 to test with LLVM's optimisations, as users compile. XLA reads its flags once, here; programs
    # that tests start do not inherit them.
    jax.config.update("jax_disable_most_optimizations", True)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XLA_FLAGS", QUICKLY["XLA_FLAGS"])
        jax.devices()
jax.config.update("jax_enable_compilation_cache", False)  # without a folder for it, jax would still hash every program
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile(
    "equijax", deadline=None, derandomize=True, max_examples=20, database=None, print_blob=False
)
hypothesis.settings.load_profile("equijax")


def pytest_collection_finish():
    """What was imported stays: the collector of cycles need not look at it again."""
    gc.collect()
    gc.freeze()


class _Programs:
    """Lets go of compiled programs between files or cases: the more are kept, the longer each new one takes to lower.

    MLIR looks through all contexts that are alive whenever one meets a new type; after a thousand programs that costs as
    much as compiling.
    """

    def __init__(self):
        self.made = 0
        jax.monitoring.register_event_duration_secs_listener(self.count)

    def count(self, event, duration, **_):
        self.made += event == "/jax/core/compile/backend_compile_duration"

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item, nextitem):
        if self.made > (1200 if nextitem is not None and _subject(nextitem) == _subject(item) else 600):
            jax.clear_caches()
            self.made = 0


def _subject(item):
    """What the tests behind each other have in common: their file and, where they are parametrised by one, their case."""
    callspec = getattr(item, "callspec", None)
    return item.path, id(callspec and callspec.params.get("case"))


def pytest_configure(config):
    config.pluginmanager.register(_Programs())


@pytest.fixture(autouse=True)
def _single_precision_in_doctests(request):
    """Doctests run as readers type them: ``jnp.ones`` is float32, like the parameters of a layer."""
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    with jax.enable_x64(False):
        yield
