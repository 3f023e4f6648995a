"""What the density regulariser watches."""

from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx

from jaxsparse._core.checks import expected
from jaxsparse.nn.direct_conv import DirectConv
from jaxsparse.nn.measure import check_module


def densities(model: nnx.Module, *, per: Literal["layer", "channel"] = "layer") -> dict[Any, Any]:
    """The densities that the layers found in their last call, where an optimiser looks for them.

    Args:
      model: an ``nnx.Module`` with :class:`jaxsparse.nn.DirectConv` layers.
      per: ``"layer"``: the mean over a layer's output channels, a scalar; ``"channel"``: float32 ``[out_features]``.

    Returns:
      Nested dicts like ``nnx.state(model, nnx.Param)``, with an entry for the kernel of each layer and no other: the
      ``density=`` of :func:`jaxsparse.optim.adaptive_density_decay`.

    Raises:
      TypeError: ``model`` is not an ``nnx.Module``.
      ValueError: ``per`` is neither word.

    Example::

      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxsparse import direct, nn

      >>> layer = nn.DirectConv(1, 8, (3, 3), capacity=50, rngs=nnx.Rngs(0))
      >>> _ = layer(direct.SparseTensor.from_dense(jnp.eye(8)[None, :, :, None], capacity=8))
      >>> nn.densities(layer)
      {'kernel': Array(0.53125, dtype=float32)}
    """
    check_module("densities", model)
    if per not in ("layer", "channel"):
        raise ValueError(expected("densities", "per", "'layer' or 'channel'", repr(per)))
    found = {}
    for path, layer in nnx.iter_graph(model):
        if isinstance(layer, DirectConv):
            density = layer.density[...]
            found[*path, "kernel"] = jnp.mean(density) if per == "layer" else density
    return nnx.traversals.unflatten_mapping(found)
