"""A network for inference alone: what its layers make of their parameters is made once."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from equijax._arguments import shape_or_value, shown
from equijax.nn._conv import Conv
from equijax.nn._depthwise_conv import DepthwiseConv
from equijax.nn._frozen import FrozenKernel, Notes
from equijax.nn._linear import EquivariantLinear


def freeze(model: nnx.Module, input_shape: Any = None) -> Any:
    r"""Returns a copy of a network for inference, in which every shared kernel is written out once and for all.

    A layer keeps one weight for each orbit and writes its kernel out at every call. In the copy the kernel is an array: it
    is faster to call and larger to store, by up to the order of the point group. With the shape of an input it is also
    transformed for grids of that size, where the layer would do so at every call; other sizes are convolved as without.

    The copy gives the numbers of ``model`` in evaluation mode, up to rounding, can be exported and moved by the group as
    ``model`` is. It has no kernels among its parameters, so it is not to be trained or restored: save the state of
    ``model``, and freeze it again. ``model`` does not change.

    Args:
      model: any Flax module; convolutions and equivariant linear layers in it are frozen, everything else stays.
      input_shape: shape of an input, batch included, ints ``(*batch, *sizes, fibre, features)`` with whatever axes the
        model has; or an example of the input where that is no single float array. None freezes for all sizes alike.

    Returns:
      A module of the class of ``model``, in evaluation mode.

    Raises:
      TypeError: ``model`` is no Flax module.
      ValueError: ``model`` does not take an input of this shape.

    Example:
      >>> import equijax as ej, jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.GroupConv(4, 8, 3, group=ej.wallpaper("p4m"), rngs=nnx.Rngs(0))
      >>> x = jax.random.normal(jax.random.key(0), (2, 9, 9, 8, 4))
      >>> frozen = ej.nn.freeze(layer, x.shape)
      >>> layer.kernel.shape, frozen.kernel.dense.shape
      ((72, 4, 8), (3, 3, 32, 64))
      >>> bool(jnp.allclose(frozen(x), layer(x), atol=1e-5))
      True
    """
    if not isinstance(model, nnx.Module):
        raise TypeError(f"`model` is {shown(model)}; it must be a Flax module (nnx.Module). Freeze the module, then jit it.")
    copy = nnx.clone(model)
    copy.eval()
    layers: list[Any] = [
        layer for _, layer in nnx.iter_graph(copy) if isinstance(layer, Conv | DepthwiseConv | EquivariantLinear)
    ]
    for layer in layers:
        if isinstance(layer.kernel, nnx.Param):
            layer.kernel = layer.frozen()
    if input_shape is not None:
        _transform([layer for layer in layers if isinstance(layer.kernel, FrozenKernel)], copy, input_shape)
    return copy


def _transform(layers: list[Any], model: nnx.Module, input_shape: Any) -> None:
    """Keeps the transforms of kernels for the shapes with which the layers are first called."""
    x = _example(input_shape)
    for layer in layers:
        layer.kernel.notes = Notes()
    try:
        with jax.numpy_dtype_promotion("standard"):
            nnx.eval_shape(lambda model, x: model(x), model, x)
    finally:
        seen = {id(layer): layer.kernel.notes.shapes for layer in layers}
        for layer in layers:
            layer.kernel.notes = None
    for layer in layers:
        for shape in seen[id(layer)][:1]:
            layer.kernel.transform(layer, shape)


def _example(input_shape: Any) -> Any:
    """An input as far as its shape and dtype go: float32 where nothing but a shape is given."""
    if isinstance(input_shape, jax.Array | np.ndarray):
        return input_shape
    given = shape_or_value(input_shape, "input_shape")
    is_shape = isinstance(given, tuple) and all(isinstance(n, int) for n in given)
    return jax.ShapeDtypeStruct(given, jnp.float32) if is_shape else given
