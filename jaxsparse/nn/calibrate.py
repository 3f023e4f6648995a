"""Choosing density bounds by measuring, not by guessing."""

from collections.abc import Iterable
from typing import Any

from flax import nnx

from jaxsparse._core.capacity import share_of
from jaxsparse._core.checks import expected
from jaxsparse.nn.measure import check_module, measured_layers, measurer


def calibrate(
    model: nnx.Module, batches: Iterable[Any], headroom: float = 1.25
) -> dict[str, float]:
    """The density bounds with which a model would cut nothing on some batches, with room to spare.

    For :class:`jaxsparse.nn.DirectConv` a bound is a share of a channel's voxels; for the layers of voxels that choose their
    sites (:class:`jaxsparse.nn.VoxelConv`, :class:`jaxsparse.nn.VoxelConvTranspose`, :class:`jaxsparse.nn.VoxelMaxPool`) it is
    a share of the voxels of the whole batch, so calibrate them with batches of the size to come.

    Runs the model in evaluation mode and reads how many entries every sparse layer found before its capacity cut them
    (``nnz``). What a layer finds depends on what the layers before it kept: for what a network needs uncut, calibrate it
    without bounds; to check given bounds, with them. The model is left as it is.

    Args:
      model: an ``nnx.Module`` with such layers.
      batches: inputs of the model, one at a time; a tuple holds several arguments. Equal shapes share a compilation.
      headroom: factor on the largest count of any (sample, channel).

    Returns:
      For every sparse layer by its path (``"convs.0"``) a density in (0, 1], in the order of the calls, to be pasted
      into a configuration as ``density=``.

    Raises:
      ValueError: ``headroom`` is not positive, there is no batch, or the model ran no sparse layer.
      TypeError: ``model`` is no module, ``batches`` cannot be iterated, ``headroom`` is not a number.

    Example::

      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxsparse import direct, nn

      >>> image = jnp.zeros((1, 16, 16, 1)).at[0, 8, 2:14, 0].set(1.0)
      >>> x = direct.SparseTensor.from_dense(image, density=0.1)
      >>> nn.calibrate(nn.DirectConv(1, 8, (3, 3), rngs=nnx.Rngs(0)), [x])  # 42 responses, 25 % more
      {'DirectConv': 0.205078125}
    """
    headroom = share_of("calibrate", "headroom", headroom)
    check_module("calibrate", model)
    if not isinstance(batches, Iterable):
        what = type(batches).__name__
        raise TypeError(expected("calibrate", "batches", "an iterable of inputs", what))
    measure = measurer(model)
    # Layers whose sites are those of another one have no bound.
    layers = measured_layers(model).items()
    given = {name for name, layer in layers if not hasattr(layer, "density_bound")}
    needed: dict[str, float] = {}
    for batch in batches:
        arguments = batch if type(batch) is tuple else (batch,)
        for name, layer in measure(*arguments).items():
            if name.partition(" ")[0] in given:
                continue
            most = max(1, int(layer.found.max(initial=0)))  # a bound of 0 is none
            share = min(1.0, headroom * most / layer.volume)
            needed[name] = max(needed.get(name, 0.0), share)
    if not needed:
        wording = "at least one that runs a DirectConv of the model"
        raise ValueError(expected("calibrate", "batches", wording, "none"))
    return needed
