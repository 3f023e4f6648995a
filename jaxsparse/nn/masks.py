"""From an optimiser's pruning mask to the layers that obey it."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsparse._core.checks import expected, shape
from jaxsparse.nn.direct_conv import DirectConv
from jaxsparse.nn.measure import check_module


def set_masks(model: nnx.Module, masks: Any) -> None:
    """Copies pruning masks into the layers of a model.

    To be called inside the jitted step, behind the optimiser's update. Every mask is copied, so that the model and the
    optimiser's state share no buffer and both can be donated.

    Args:
      model: an ``nnx.Module`` with :class:`jaxsparse.nn.DirectConv` layers; their ``mask`` is overwritten.
      masks: a tree like ``nnx.state(model, nnx.Param)``: bool arrays of the kernels' shapes, True = alive. A layer whose
        kernel has ``None``, or is not in the tree, keeps its mask.

    Raises:
      ValueError: no kernel of a ``DirectConv`` has a mask, or a mask has not the kernel's shape.
      TypeError: a mask is not bool, ``model`` is not an ``nnx.Module``.

    Example::

      >>> import jax
      >>> from flax import nnx
      >>> from jaxsparse import nn

      >>> layer = nn.DirectConv(1, 8, (3, 3), rngs=nnx.Rngs(0))
      >>> masks = jax.tree.map(lambda w: abs(w) > 0.3, nnx.state(layer, nnx.Param))
      >>> nn.set_masks(layer, masks)
      >>> bool((layer.mask[...] == (abs(layer.kernel[...]) > 0.3)).all())
      True
    """
    check_module("set_masks", model)
    new: list[tuple[DirectConv, jax.Array]] = []
    for path, layer in nnx.iter_graph(model):
        if not isinstance(layer, DirectConv):
            continue
        mask = _leaf(masks, (*path, "kernel"))
        if mask is None:
            continue
        name = ".".join(map(str, ("masks", *path, "kernel")))
        if mask.dtype != jnp.bool_:
            raise TypeError(expected("set_masks", name, "of dtype bool", mask.dtype))
        shape("set_masks", name, mask, layer.kernel.shape, "the kernel's")
        new.append((layer, mask))
    if not new:
        wording = "a tree with a mask for the kernel of at least one DirectConv of the model"
        raise ValueError(expected("set_masks", "masks", wording, type(masks).__name__))
    for layer, mask in new:
        layer.mask[...] = jnp.copy(mask)


def _leaf(tree: Any, path: tuple[Any, ...]) -> Any:
    """What stands at a path of nested mappings; ``None`` where the path ends early."""
    for key in path:
        try:
            tree = tree[key]
        except (KeyError, TypeError, IndexError):
            return None
    value = tree[...] if isinstance(tree, nnx.Variable) else tree
    return value if hasattr(value, "dtype") else None
