"""What every sparse layer of a model finds and stores for given inputs."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxsparse import voxel
from jaxsparse._core.checks import expected
from jaxsparse.nn.direct_conv import DirectConv
from jaxsparse.nn.observe import observing
from jaxsparse.nn.voxel_plan import is_voxel_layer


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One layer and one batch.

    Attributes:
      found: int32 ``[batch, channels]``: ``nnz``, the entries before the capacity cut them. Of a ``VoxelTensor`` ``[1, 1]``:
        ``count``, the sites.
      capacity: entries that a channel may store; rows.
      volume: voxels of a channel; of the batch.
      nbytes: bytes of the output.
    """

    found: np.ndarray
    capacity: int
    volume: int
    nbytes: int


def sparse_layers(model: nnx.Module) -> dict[str, DirectConv]:
    """The direct convolutions of a model by their path, as ``convs.0``, in the order of ``nnx.iter_graph``."""
    return {
        ".".join(map(str, path)) or type(node).__name__: node
        for path, node in nnx.iter_graph(model)
        if isinstance(node, DirectConv)
    }


def measured_layers(model: nnx.Module) -> dict[str, Any]:
    """The layers of a model that are measured, those of voxels, too, by their path, in the order of ``nnx.iter_graph``."""
    return {
        ".".join(map(str, path)) or type(node).__name__: node
        for path, node in nnx.iter_graph(model)
        if isinstance(node, DirectConv) or is_voxel_layer(node)
    }


def measurer(model: nnx.Module) -> Callable[..., dict[str, Measurement]]:
    """A function that runs a model, in evaluation mode, and returns a ``Measurement`` for each sparse layer.

    The model itself is left as it is. One XLA executable for each shape of the inputs; a model that jits parts of itself
    cannot be looked into this way. A layer that is called again is listed again, as ``name (call 2)``.

    Args:
      model: any ``nnx.Module`` with :class:`jaxsparse.nn.DirectConv` or voxel layers.

    Returns:
      A function of the model's own arguments.
    """
    graph, state = nnx.split(model)

    @jax.jit
    def run(state: Any, arguments: tuple[Any, ...]) -> list[Any]:
        copy = nnx.merge(graph, state)
        copy.eval()
        names = {id(layer): name for name, layer in measured_layers(copy).items()}
        found: dict[str, Any] = {}

        def see(layer: Any, y: Any) -> None:
            base = names.get(id(layer), type(layer).__name__)
            name, call = base, 1
            while name in found:
                call += 1
                name = f"{base} (call {call})"
            volume = math.prod(y.spatial_shape)
            if isinstance(y, voxel.VoxelTensor):
                count = y.count.reshape(1, 1)
                found[name] = (count, y.capacity, y.batch_size * volume, y.nbytes)
            else:
                found[name] = (y.nnz, y.capacity, volume, y.nbytes)

        with observing(see):
            copy(*arguments)
        # A list keeps the order of the calls, a dictionary that leaves a jitted function does not.
        return [_Named(name, values) for name, values in found.items()]

    def measure(*arguments: Any) -> dict[str, Measurement]:
        return {
            layer.name: Measurement(np.asarray(layer.values[0]), *map(int, layer.values[1:]))
            for layer in jax.device_get(run(state, arguments))
        }

    return measure


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Named:
    """Values and the name that travels with them through jit."""

    name: str = dataclasses.field(metadata={"static": True})
    values: tuple[Any, ...]


def check_module(function: str, model: Any) -> None:
    """Raises a ``TypeError`` unless ``model`` is an ``nnx.Module``."""
    if not isinstance(model, nnx.Module):
        what = type(model).__name__
        raise TypeError(expected(function, "model", "an nnx.Module", what))
