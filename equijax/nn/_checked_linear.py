"""The linear layer of Flax, with the rules of this library for parameters."""

from typing import Any

import jax
from flax import nnx

from equijax._arguments import boolean
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._given import checked
from equijax.nn._parameters import drawn, read, read_offset


@checked
class Linear(nnx.Linear):
    r"""``nnx.Linear``, :math:`y = x W + β`, which refuses parameters of another shape than it asked for.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      kernel_init: initialiser of W.
      bias_init: initialiser of β.
      **options: those of ``nnx.Linear``; ``rngs`` is required.

    Raises:
      ValueError: an initialiser returns another shape than it is asked for.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> Linear(3, 8, rngs=nnx.Rngs(0))(jnp.ones((2, 3))).shape
      (2, 8)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        **options: Any,
    ):
        inits: dict[str, Any] = {
            "kernel_init": lambda key, shape, dtype: drawn(kernel_init, key, shape, dtype, "kernel_init"),
            "bias_init": lambda key, shape, dtype: drawn(bias_init, key, shape, dtype, "bias_init"),
        }
        boolean(options.get("use_bias", True), "use_bias")
        super().__init__(in_features, out_features, **inits, **options)

    def read(self) -> tuple[jax.Array, jax.Array | None]:
        """Returns W, ``(in_features, out_features)``, and β, ``(out_features,)``, or None where there is none.

        Raises:
          ValueError: one of them has another shape.
        """
        kernel = read(self.kernel, "kernel", (self.in_features, self.out_features))
        return kernel, read_offset(self.bias, (self.out_features,))

    def __call__(self, inputs: jax.Array, out_sharding: Any = None) -> jax.Array:
        """Maps ``(*batch, in_features)`` to ``(*batch, out_features)``.

        Raises:
          ValueError: a parameter has another shape.
        """
        self.read()
        return super().__call__(inputs, out_sharding)
