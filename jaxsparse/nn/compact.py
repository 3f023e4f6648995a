"""A pruned model in smaller storage."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxsparse._core.checks import concrete, expected
from jaxsparse.nn.direct_conv import DirectConv
from jaxsparse.nn.measure import check_module, sparse_layers
from jaxsparse.nn.reach import reach

M = TypeVar("M", bound=nnx.Module)


def compact(model: M, *inputs: Any) -> M:
    """A copy of a pruned model whose convolutions store only the channels that still take part.

    Of every :class:`jaxsparse.nn.DirectConv` the kernel, the mask, the bias and the density keep

    - the input channels from which a live weight leads to an output channel that is kept, and
    - the output channels to which a live weight leads: without one there is no response, and so no bias either.

    With ``inputs`` the layers are seen as a network: an input channel that never holds an entry, because all that it is
    made of is dead, goes, and an output channel goes that nothing depends on, layer after layer. What lies between the
    layers is found out by running the model with channels that are empty, full or NaN (twice a channel, in evaluation
    mode), so that pooling, normalisation, dropout, concatenation and skip connections need nothing special. Your
    own operations in between have to hand NaN on, as arithmetic does: one that hides it (``nan_to_num``) hides the
    channel.

    The compact model is called like the model and returns the same entries to the bit (a layer gives what it no longer
    makes as empty channels, so that widths stay as they are). A layer without ``capacity`` and ``density`` may get a
    smaller capacity, since fewer channels cannot overflow it. Pruning may go on: make a new optimiser, whose masks have
    the new shapes, and compact again. ``nn.densities`` is then a mean over the channels that are left. Dense layers keep
    their sizes; kernels that several layers share, and layers with nothing to remove, stay as they are.

    Args:
      model: an ``nnx.Module``, outside ``jit``. It is left as it is; the copy shares no memory with it.
      *inputs: arguments of the model, of which floating point values do not count. Without them, every layer is judged
        by its own mask alone.

    Returns:
      The compact model, with the same structure.

    Raises:
      TypeError: ``model`` is not an ``nnx.Module``.
      ValueError: ``model`` is traced, or a layer is stacked (``nnx.vmap``, ``nnx.scan``).

    Example::

      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxsparse import nn

      >>> layer = nn.DirectConv(4, 8, (3, 3), rngs=nnx.Rngs(0))
      >>> layer.mask[...] = layer.mask[...].at[..., 5:].set(False).at[:, :, 0].set(False)
      >>> nn.compact(layer).kernel.shape
      (3, 3, 3, 5)
    """
    check_module("compact", model)
    graph, state = nnx.split(model)
    small = nnx.merge(graph, jax.tree.map(jnp.copy, state))
    layers = sparse_layers(small)
    alive = {name: _alive(name, layer) for name, layer in layers.items()}
    if inputs:
        found = reach(small, inputs, alive)
        alive = {
            name: weights & found.read[name][:, None] & found.made[name][None]
            for name, weights in alive.items()
        }
    holders: dict[int, int] = {}
    for _, node in nnx.iter_graph(small):
        if isinstance(node, DirectConv):
            holders[id(node.kernel)] = holders.get(id(node.kernel), 0) + 1
    for name, layer in layers.items():
        if holders[id(layer.kernel)] == 1:
            _shrink(layer, alive[name])
    return small


def _alive(name: str, layer: DirectConv) -> np.ndarray:
    """bool ``[in_features, out_features]``: whether a live weight leads from one channel to the other."""
    mask = concrete(layer.mask[...])
    if mask is None:
        raise ValueError(expected("compact", "model", "outside jit", f"a traced mask in {name}"))
    if mask.ndim != len(layer.kernel_size) + 2:
        wording = f"with single layers, {name} of a kernel of rank {len(layer.kernel_size) + 2}"
        raise ValueError(expected("compact", "model", wording, f"shape {mask.shape}"))
    stored = np.logical_or.reduce(mask, axis=tuple(range(len(layer.kernel_size))))
    alive = np.zeros((layer.in_features, layer.out_features), bool)
    alive[np.ix_(*_channels(layer))] = stored
    return alive


def _channels(layer: DirectConv) -> tuple[np.ndarray, np.ndarray]:
    """The channels that a layer's kernel stands for."""
    read, made = layer.channels_read, layer.channels_made
    return (
        np.arange(layer.in_features) if read is None else np.array(read),
        np.arange(layer.out_features) if made is None else np.array(made),
    )


def _shrink(layer: DirectConv, alive: np.ndarray) -> None:
    """Keeps of a layer's arrays what is alive, and of a layer with nothing alive one channel."""
    stored = _channels(layer)
    kept = []
    for channels, axis in zip(stored, (1, 0), strict=True):
        keep = np.asarray(alive.any(axis=axis))[channels]
        keep[0] |= not keep.any()
        kept.append(np.flatnonzero(keep))
    inputs, outputs = kept
    if [len(inputs), len(outputs)] == [len(channels) for channels in stored]:
        return
    for axis, name, width in (
        (0, "channels_read", layer.in_features),
        (1, "channels_made", layer.out_features),
    ):
        left = tuple(stored[axis][kept[axis]].tolist())
        setattr(layer, name, None if len(left) == width else left)
    where = (..., *np.ix_(inputs, outputs))
    layer.kernel = _sliced(layer.kernel, where)
    layer.mask = _sliced(layer.mask, where)
    layer.density = _sliced(layer.density, outputs)
    if layer.bias is not None:
        layer.bias = _sliced(layer.bias, outputs)


def _sliced(variable: Any, where: Any) -> Any:
    """A variable of the same kind and metadata with a part of the array."""
    return variable.replace(variable[...][where])
