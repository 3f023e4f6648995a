"""What is measured of every layer: how full it is, how full it may be, what did not fit."""

import dataclasses
import math
from typing import Any, TypedDict

import jax
import jax.numpy as jnp

from experiments.data import Dataset
from experiments.models import Network
from experiments.multiply_adds import meetings
from jaxsparse import direct, nn, voxel
from jaxsparse.models import S3DCNN, OctNet3


@dataclasses.dataclass(frozen=True)
class LayerInfo:
    """What is known of a layer before it runs.

    Attributes:
      name: as in ``OctNet3.activations``.
      spatial_shape: voxels a dimension.
      channels: number of channels.
      capacity: entries a channel may store; the whole volume in a dense network. Of a list over a whole batch its rows
        divided by the samples.
      weights: of a sparse convolution's kernel; 0 for other layers.
      shared: whether the samples of a batch share a list: one may take more where others need less.
    """

    name: str
    spatial_shape: tuple[int, ...]
    channels: int
    capacity: int
    weights: int = 0
    shared: bool = False

    @property
    def volume(self) -> int:
        """Number of voxels."""
        return math.prod(self.spatial_shape)

    @property
    def bound(self) -> float:
        """The largest density that the layer can store."""
        return min(1.0, self.capacity / self.volume)


class LayerStats(TypedDict):
    """Measurements of one batch or of many, one number a layer, in the order of the network.

    stored: mean density of what is stored. found: mean density before the capacity cut it. peak: entries of the
    fullest (sample, channel), or of a list over a whole batch the mean of its samples. dropped: entries cut away, a sample.
    """

    stored: jax.Array
    found: jax.Array
    peak: jax.Array
    dropped: jax.Array


def describe_layers(model: Network, dataset: Dataset, sites: int = 1) -> list[LayerInfo]:
    """The layers of a model, from shapes alone.

    Args:
      model: in evaluation mode.
      dataset: the images' shape.
      sites: rows an object of the input of a network that reads lists.
    """
    layers: list[LayerInfo] = []
    shape = dataset.image_shape

    def trace(image: jax.Array) -> None:
        x: Any = image
        if isinstance(model, S3DCNN):
            coords = jnp.zeros((sites, len(shape)), jnp.int32)
            x = voxel.VoxelTensor.from_coords(
                coords,
                image,
                batch_size=1,
                spatial_shape=shape[:-1],
                background=jnp.zeros(shape[-1]),
            )
        # Collected inside: a dictionary that leaves a traced function comes back sorted by name.
        layers.extend(_describe(name, x) for name, x in model.activations(x).items())

    batch = (sites, shape[-1]) if isinstance(model, S3DCNN) else (1, *shape)
    jax.eval_shape(trace, jax.ShapeDtypeStruct(batch, jnp.float32))
    kernels = {name: conv.kernel.size for name, conv in sparse_convs(model).items()}
    return [dataclasses.replace(info, weights=kernels.get(info.name, 0)) for info in layers]


def sparse_convs(model: Network) -> dict[str, nn.DirectConv]:
    """The direct sparse convolutions by the names that their activations have."""
    if not isinstance(model, OctNet3):
        return {}
    return {
        f"conv{number}": conv
        for number, conv in enumerate(model.convs, start=1)
        if isinstance(conv, nn.DirectConv)
    }


def live_weights(model: Network) -> dict[str, jax.Array]:
    """How many weights of each sparse convolution the pruning mask leaves."""
    return {
        name: jnp.sum(conv.mask[...], dtype=jnp.int32) for name, conv in sparse_convs(model).items()
    }


def inputs_of_convs(model: Network, activations: dict[str, Any]) -> dict[str, Any]:
    """What each sparse convolution reads: the activation in front of its own, by the convolution's name."""
    order = list(activations)
    return {name: activations[order[order.index(name) - 1]] for name in sparse_convs(model)}


def count_work(
    model: Network, activations: dict[str, Any], weight: jax.Array
) -> dict[str, dict[str, jax.Array]]:
    """What the live multiply-adds of each sparse convolution are made of, for one batch.

    Args:
      model: whose masks count.
      activations: of ``Network.activations``.
      weight: float32 ``[batch]``, 0 for samples that do not count.

    Returns:
      By layer: ``met``, how many stored entries of each input channel each tap takes to an output voxel, and ``live``,
      how many output channels have a live weight there: int32 ``[*kernel, in]`` both. Their products add up to the
      multiply-adds, which 32 bits do not hold.
    """
    convs = sparse_convs(model)
    return {
        name: {
            "met": meetings(
                x,
                convs[name].kernel_size,
                strides=convs[name].strides,
                padding=convs[name].padding,
                kernel_dilation=convs[name].kernel_dilation,
                counts=weight > 0,
            ),
            "live": jnp.sum(convs[name].mask[...], axis=-1, dtype=jnp.int32),
        }
        for name, x in inputs_of_convs(model, activations).items()
    }


def density_bounds(model: Network, layers: list[LayerInfo]) -> list[float | None]:
    """The configured density of each layer, ``None`` where there is none."""
    bounds: dict[str, float | None] = {}
    if isinstance(model, OctNet3) and model.sparse:
        bounds["input"] = model.input_density
        for number, conv in enumerate(model.convs, start=1):
            bounds[f"conv{number}"] = getattr(conv, "density_bound", None)
    return [bounds.get(layer.name) for layer in layers]


def _describe(name: str, x: Any) -> LayerInfo:
    if isinstance(x, voxel.VoxelTensor):
        return LayerInfo(name, tuple(x.spatial_shape), x.channels, x.capacity, shared=True)
    if isinstance(x, direct.SparseTensor):
        _, channels, capacity = x.keys.shape
        return LayerInfo(name, tuple(x.spatial_shape), channels, capacity)
    shape = x.shape[1:-1]
    return LayerInfo(name, shape, x.shape[-1], math.prod(shape))


def measure(activations: dict[str, Any], weight: jax.Array) -> LayerStats:
    """Statistics of one batch, inside the jitted step.

    Args:
      activations: of ``Network.activations``.
      weight: float32 ``[batch]``, 0 for samples that do not count.
    """
    found, stored, peak, dropped = [], [], [], []
    for x in activations.values():
        if isinstance(x, voxel.VoxelTensor):
            # A list knows how many rows it has, not whose; samples of weight 0 are empty.
            samples = jnp.maximum(weight.sum(), 1.0)
            rows, volume = x.stored, x.volume
            found.append(x.count.astype(jnp.float32) / samples / volume)
            stored.append(rows.astype(jnp.float32) / samples / volume)
            peak.append(-(-rows // x.batch_size))
            dropped.append((x.count - rows).astype(jnp.float32) / samples)
            continue
        if isinstance(x, direct.SparseTensor):
            candidates, kept, volume = x.nnz, x.stored, math.prod(x.spatial_shape)
        else:
            candidates = jnp.sum(x != 0, axis=tuple(range(1, x.ndim - 1)), dtype=jnp.int32)
            kept, volume = candidates, math.prod(x.shape[1:-1])
        total = jnp.maximum(weight.sum(), 1.0)
        entries_found = weight @ candidates.astype(weight.dtype) / total  # a sample, by channel
        entries_kept = weight @ kept.astype(weight.dtype) / total
        found.append(entries_found.mean() / volume)
        stored.append(entries_kept.mean() / volume)
        peak.append(jnp.max(jnp.where(weight[:, None] > 0, kept, 0)))
        dropped.append(jnp.sum(entries_found - entries_kept))
    return {
        "stored": jnp.stack(stored),
        "found": jnp.stack(found),
        "peak": jnp.stack(peak),
        "dropped": jnp.stack(dropped),
    }
