"""One layer on each element of a set."""

import jax
import jax.numpy as jnp

from equijax._arguments import shown
from equijax.actions import Action, ProductAction, SetAction
from equijax.nn._layer import Layer
from equijax.nn._mask import keep, require_mask
from equijax.nn._options import require_no_statistics
from equijax.nn.fields._batch_norm import FieldBatchNorm
from equijax.nn.products._element import ElementLayer


class MapElements(ElementLayer):
    r"""Applies a layer to each field of a set by itself.

    .. math:: y_i = L(x_i)

    Layers take any number of batch axes, so the array is handed on as it is. What this adds is the action of a set of
    fields, so that pools and norms find their place in a ``Sequential`` of :class:`SetConv`, and the mask, which keeps
    padding out of the statistics of a :class:`FieldBatchNorm`.

    Law: ``layer(act((p, g), x)) == act((p, g), layer(x))`` for every permutation p of the set and every g that ``element``
    keeps; ``mask`` moves with p.

    Args:
      element: the layer, for example ``GroupNorm`` or ``GlobalPool``.

    Raises:
      TypeError: ``element`` is not a layer of equijax. Functions need no wrapper.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> pool = ej.nn.MapElements(ej.nn.GlobalPool(group=ej.wallpaper("p4")))
      >>> pool(jnp.ones((2, 3, 9, 9, 4, 8))).shape
      (2, 3, 4, 8)
    """

    def __init__(self, element: Layer):
        if not isinstance(element, Layer):
            raise TypeError(
                f"`element` is {shown(element)}; it must be a layer of equijax. Functions and Flax modules that treat every "
                "element alike need no wrapper."
            )
        self.element = element

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """Applies the layer.

        Args:
          inputs: ``(*batch, n, *sizes, fibre, in_features)``.
          mask: bool ``(*batch, n)``, True where an element is there; None for all.

        Returns:
          ``(*batch, n, *out_sizes, out_fibre, out_features)``; zeros where the mask is False.

        Raises:
          TypeError: the mask is not boolean.
          ValueError: a shape does not fit, or padding would enter the statistics of a norm inside ``element``.
        """
        if mask is not None:
            mask = require_mask(mask, inputs.shape[: self._mask_ndim(inputs.shape, jnp.ndim(mask))])
        if isinstance(self.element, FieldBatchNorm) and mask is not None:
            positions = inputs.shape[: inputs.ndim - 1 - len(self.element.in_fibre.shape)]
            each = jnp.broadcast_to(mask.reshape(*mask.shape, *(1,) * (len(positions) - mask.ndim)), positions)
            return keep(self.element(keep(inputs, mask), mask=each), mask)
        require_no_statistics(self.element, mask)
        return keep(self.element(keep(inputs, mask)), mask)

    def _mask_ndim(self, shape: tuple[int, ...], given: int) -> int:
        """The number of axes up to that of the set.

        Pools over the fibre take fields on a grid, and single vectors too: there the mask says which of them came.
        """
        field = self.element.in_action
        vector = field.vector
        if vector is not None:
            if given == _up_to_set(vector, shape) and _takes(self.element, vector):
                return given
        return _up_to_set(field, shape)


def _up_to_set(element: Action, shape: tuple[int, ...]) -> int:
    return len(ProductAction(SetAction(), element).views(shape)[0]) - 1


def _takes(layer: Layer, action: Action) -> bool:
    try:
        layer.out_action_for(action)
    except ValueError:
        return False
    return True
