"""Equivariant multilayer perceptrons between two representations of any group."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._numbers import positive_int
from equijax.actions import Action, FibreAction
from equijax.groups import Group
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._layer import Layer
from equijax.nn._linear import EquivariantLinear
from equijax.nn.fields._bilinear import Bilinear
from equijax.nn.fields._gate import Gate
from equijax.nn.fields._hidden import hidden_fibre
from equijax.nn.fields._layer import FieldLayer, require_field
from equijax.reps import Representation

_PRODUCTS = 0.1
"""Size of the products beside the gated values: polynomials of a higher degree enter gently."""


class EMLPBlock(FieldLayer):
    r"""A linear layer, gates, and products beside them: one step of :class:`EMLP`.

    .. math:: y = \mathrm{gate}(h) + B(h, h) / 10, \qquad h = W x + b

    The products stand beside the gates, not before them, so that polynomials pass unbent, and start small.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g, for every group.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      in_fibre: representation of the input.
      out_fibre: representation of the output.
      dtype: dtype of the computation; None promotes inputs and parameters.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: initialiser of all kernels.
      bias_init: initialiser of the bias.
      rngs: key source, used at construction only.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> fibre = ej.reps.Regular(ej.Cyclic(3))
      >>> ej.nn.EMLPBlock(2, 4, fibre, fibre, rngs=nnx.Rngs(0))(jnp.ones((5, 3, 2))).shape
      (5, 3, 4)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        in_fibre: Representation,
        out_fibre: Representation,
        *,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        rngs: nnx.Rngs,
    ):
        self.in_fibre, self.group = require_field(in_fibre, None, "in_fibre")
        self.out_fibre, _ = require_field(out_fibre, self.group, "out_fibre", in_fibre)
        options: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "precision": precision, "rngs": rngs}
        options["kernel_init"] = kernel_init
        self.gate = Gate(out_fibre)
        wide = self.gate.in_fibre
        with warnings.catch_warnings():  # what the linear map does not reach, the products do
            warnings.filterwarnings("ignore", "no equivariant map reaches")
            self.linear = EquivariantLinear(
                FibreAction(in_fibre), FibreAction(wide), in_features, out_features, bias_init=bias_init, **options
            )
        self.bilinear = Bilinear(out_features, out_features, wide, out_fibre, **options)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps ``(*batch, in fibre, in_features)`` to ``(*batch, out fibre, out_features)``."""
        h = self.linear(inputs)
        return self.gate(h) + _PRODUCTS * self.bilinear(h)


class EMLP(Layer):
    r"""A multilayer perceptron that commutes with a group, between any two of its representations.

    Each layer is :class:`EMLPBlock`: the most general linear map, gates, and products of its result with itself. A linear
    map ends the network. It works for finite groups and Lie groups, for matrices that are orthogonal and for others.

    Arrays are ``(*batch, fibre, features)`` as everywhere: the group mixes the fibre, features are copies beside it. Ten
    vectors are one fibre ``10 * v`` with one feature, or the fibre ``v`` with ``in_features=10``; the second way costs less,
    since copies are then not told apart when the linear maps are solved. A ``Scalar`` has no fibre axis:
    ``(*batch, features)``.

    Law: ``model(in_action(g, x)) == out_action(g, model(x))`` for every g.

    Args:
      in_rep: representation of the input.
      out_rep: representation of the output.
      group: the group, to be checked; None is that of ``in_rep``.
      in_features: number of vectors of ``in_rep``.
      out_features: number of vectors of ``out_rep``.
      hidden: numbers in each hidden layer, spread evenly over the summands of ``in_rep`` and ``out_rep``, what two summands
        of ``in_rep`` make (tensor products), and scalars; over their irreps where the group knows them. The true number
        differs a little, since copies are whole.
      hidden_rep: the fibre of the hidden layers instead of that choice; ``hidden / hidden_rep.dim`` is then the number of
        features.
      layers: number of hidden layers.
      dtype: dtype of the computation; None promotes inputs and parameters.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: initialiser of all kernels.
      bias_init: initialiser of the biases.
      rngs: key source, used at construction only.

    Raises:
      ValueError: the representations belong to different groups, or nothing of the input reaches the output.

    Example: functions on a group of three elements.
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> fibre, scalar = ej.reps.Regular(ej.Cyclic(3)), ej.reps.Scalar(ej.Cyclic(3))
      >>> model = ej.nn.EMLP(fibre, scalar, in_features=2, hidden=24, hidden_rep=fibre, rngs=nnx.Rngs(0))
      >>> model(jnp.ones((5, 3, 2))).shape
      (5, 1)

    References:
      Finzi, Welling and Wilson, "A Practical Method for Constructing Equivariant Multilayer Perceptrons for Arbitrary
      Matrix Groups", ICML 2021, arXiv:2104.09459.
    """

    def __init__(
        self,
        in_rep: Representation,
        out_rep: Representation,
        *,
        group: Group | None = None,
        in_features: int = 1,
        out_features: int = 1,
        hidden: int = 128,
        hidden_rep: Representation | None = None,
        layers: int = 3,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        rngs: nnx.Rngs,
    ):
        self.in_rep, self.group = require_field(in_rep, group, "in_rep")
        self.out_rep, _ = require_field(out_rep, self.group, "out_rep", in_rep)
        hidden, layers = positive_int(hidden, "hidden"), positive_int(layers, "layers")
        if hidden_rep is None:
            self.hidden_rep, features = hidden_fibre(in_rep, out_rep, hidden)
        else:
            self.hidden_rep, _ = require_field(hidden_rep, self.group, "hidden_rep", in_rep)
            features = max(1, round(hidden / hidden_rep.dim))
        options: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "precision": precision, "rngs": rngs}
        options["kernel_init"] = kernel_init
        options["bias_init"] = bias_init
        first = EMLPBlock(in_features, features, in_rep, self.hidden_rep, **options)
        more = [EMLPBlock(features, features, self.hidden_rep, self.hidden_rep, **options) for _ in range(layers - 1)]
        self.blocks = nnx.List([first, *more])
        self.linear = EquivariantLinear(
            FibreAction(self.hidden_rep), FibreAction(out_rep), features, out_features, **options
        )

    @property
    def in_action(self) -> Action:
        """The action on vectors of ``in_rep``."""
        return FibreAction(self.in_rep)

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on vectors of ``out_rep``."""
        for block in self.blocks:
            in_action = block.out_action_for(in_action)
        return self.linear.out_action_for(in_action)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps ``(*batch, in_rep.dim, in_features)`` to ``(*batch, out_rep.dim, out_features)``."""
        x = inputs
        for block in self.blocks:
            x = block(x)
        return self.linear(x)
