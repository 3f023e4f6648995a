"""From an optimiser's pruning mask to the layers that obey it."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsparse._core.checks import expected, shape
from jaxsparse.nn.direct_conv import DirectConv
from jaxsparse.nn.measure import check_module
from jaxsparse.nn.variables import assign


def set_masks(model: nnx.Module, masks: Any) -> None:
    """Copies pruning masks into the layers of a model.

    To be called inside the jitted step, behind the optimiser's update. Every mask is copied, so that the model and the
    optimiser's state share no buffer and both can be donated.

    Args:
      model: an ``nnx.Module`` with :class:`jaxsparse.nn.DirectConv` layers; their ``mask`` is overwritten.
      masks: a tree like ``nnx.state(model, nnx.Param)``: bool arrays of the kernels' shapes, True = alive. A layer whose
        kernel has ``None``, or is not in the tree, keeps its mask. Masks of other parameters are passed over.

    Raises:
      ValueError: no kernel of a ``DirectConv`` has a mask, a mask has not the kernel's shape or stands at a path that the
        model has not.
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
    nodes = list(nnx.iter_graph(model))
    layers = [(path, node) for path, node in nodes if isinstance(node, DirectConv)]
    # A kernel that layers share stands in the model's state once, with the first of them.
    paths = {id(node): path for path, node in nodes if isinstance(node, nnx.Variable)}
    known = {*paths.values(), *((*path, "kernel") for path, _ in layers)}
    for path in _mask_paths(masks):
        if path and path not in known:
            what = f"one with {'.'.join(map(str, path))}, which the model has not"
            raise ValueError(expected("set_masks", "masks", "a tree like the model's state", what))
    new: list[tuple[DirectConv, jax.Array]] = []
    for path, layer in layers:
        path = (*path, "kernel")
        mask = _leaf(masks, path)
        if mask is None:
            path = paths[id(layer.kernel)]
            mask = _leaf(masks, path)
        if mask is None:
            continue
        name = ".".join(map(str, ("masks", *path)))
        if mask.dtype != jnp.bool_:
            raise TypeError(expected("set_masks", name, "of dtype bool", mask.dtype))
        shape("set_masks", name, mask, layer.kernel.shape, "the kernel's")
        new.append((layer, mask))
    if not new:
        wording = "a tree with a mask for the kernel of at least one DirectConv of the model"
        names = [".".join(map(str, (*path, "kernel"))) for path, _ in layers]
        wording += f" (there: {', '.join(names)})" if names else ", which has none"
        raise ValueError(expected("set_masks", "masks", wording, type(masks).__name__))
    for layer, mask in new:
        assign(layer.mask, jnp.copy(mask))


def _mask_paths(tree: Any) -> Iterator[tuple[Any, ...]]:
    """The paths of a tree's bool leaves."""
    flat, _ = jax.tree_util.tree_flatten_with_path(
        tree, is_leaf=lambda node: isinstance(node, nnx.Variable)
    )
    for path, leaf in flat:
        value = leaf[...] if isinstance(leaf, nnx.Variable) else leaf
        if getattr(value, "dtype", None) == jnp.bool_:
            yield tuple(map(_key, path))


def _key(entry: Any) -> Any:
    """What an entry of a JAX path indexes with."""
    for name in ("key", "idx", "name"):
        if hasattr(entry, name):
            return getattr(entry, name)
    return entry


def _leaf(tree: Any, path: tuple[Any, ...]) -> Any:
    """What stands at a path of nested mappings; ``None`` where the path ends early."""
    for key in path:
        try:
            tree = tree[key]
        except (KeyError, TypeError, IndexError):
            return None
    value = tree[...] if isinstance(tree, nnx.Variable) else tree
    return value if hasattr(value, "dtype") else None
