"""A table of a model's sparse layers: what they may store, what they did, how many weights are alive."""

import dataclasses
from typing import Any

import numpy as np
from flax import nnx

from jaxsparse.nn.direct_conv import DirectConv
from jaxsparse.nn.measure import Measurement, check_module, measured_layers, measurer


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """One sparse layer. What needs an input is ``None`` without one.

    Attributes:
      layer: its path in the model.
      capacity: entries a channel may store; of voxels, rows. Without an input only where the layer was given a capacity.
      density_bound: the same as a share of the volume; of voxels, of the batch's.
      density: mean share of voxels that wanted to respond: for the input, else in the layer's last training call.
      entries: entries stored for the input; of voxels, sites.
      overflow: entries found but cut.
      nbytes: bytes of the output.
      live_weights: weights of the kernel that the pruning mask leaves.
      weights: all weights of the kernel.
    """

    layer: str
    capacity: int | None
    density_bound: float | None
    density: float | None
    entries: int | None
    overflow: int | None
    nbytes: int | None
    live_weights: int
    weights: int


@dataclasses.dataclass(frozen=True)
class Report:
    """The rows of :func:`report`; ``str()`` of it is the table."""

    rows: tuple[LayerReport, ...]

    def __str__(self) -> str:
        titles = (
            "layer",
            "capacity",
            "bound",
            "density",
            "entries",
            "overflow",
            "bytes",
            "live weights",
        )
        cells = [titles, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(titles))]
        return "\n".join(
            "  ".join(
                text.ljust(width) if column == 0 else text.rjust(width)
                for column, (text, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in cells
        )


def report(model: nnx.Module, *inputs: Any) -> Report:
    """What the sparse layers of a model may store, and what they store for an input.

    Args:
      model: an ``nnx.Module`` with :class:`jaxsparse.nn.DirectConv` or voxel layers. It is left as it is.
      *inputs: arguments of the model; with them it is run once, in evaluation mode. Without them the table has what is
        known without running: bounds, live weights, and the densities of each layer's last training call.

    Returns:
      A :class:`Report`: ``print`` it, or read its ``rows``.

    Raises:
      TypeError: ``model`` is not an ``nnx.Module``.

    Example::

      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxsparse import direct, nn

      >>> image = jnp.zeros((1, 16, 16, 1)).at[0, 8, 2:14, 0].set(1.0)
      >>> x = direct.SparseTensor.from_dense(image, density=0.1)
      >>> print(nn.report(nn.DirectConv(1, 8, (3, 3), density=0.125, rngs=nnx.Rngs(0)), x))
      layer       capacity   bound  density  entries  overflow  bytes  live weights
      DirectConv        32  0.1250   0.1641      256        80  2,080         72/72
    """
    check_module("report", model)
    layers = measured_layers(model)
    measured = measurer(model)(*inputs) if inputs else {}
    rows = []
    for name in measured or layers:
        layer = layers[name.partition(" ")[0]]
        found = measured.get(name)
        live, weights = _weights(layer)
        rows.append(
            LayerReport(
                layer=name,
                capacity=found.capacity if found else getattr(layer, "capacity", None),
                density_bound=getattr(layer, "density_bound", None),
                density=float(found.found.mean() / found.volume) if found else _last(layer),
                live_weights=live,
                weights=weights,
                **_usage(found),
            )
        )
    return Report(tuple(rows))


def _weights(layer: Any) -> tuple[int, int]:
    """Live weights of a layer's kernel, and all of them."""
    if isinstance(layer, DirectConv):
        mask = np.asarray(layer.mask[...])
        return int(mask.sum()), mask.size
    weights = layer.kernel[...].size if hasattr(layer, "kernel") else 0
    return weights, weights


def _last(layer: Any) -> float | None:
    """The density of a layer's last training call."""
    if isinstance(layer, DirectConv):
        return float(np.mean(np.asarray(layer.density[...])))
    return None


def _usage(found: Measurement | None) -> dict[str, int | None]:
    if found is None:
        return {"entries": None, "overflow": None, "nbytes": None}
    stored = np.minimum(found.found, found.capacity)
    return {
        "entries": int(stored.sum()),
        "overflow": int((found.found - stored).sum()),
        "nbytes": found.nbytes,
    }


def _cells(row: LayerReport) -> tuple[str, ...]:
    def text(value: float | None) -> str:
        if value is None:
            return "-"
        return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"

    return (
        row.layer,
        *map(text, (row.capacity, row.density_bound, row.density)),
        *map(text, (row.entries, row.overflow, row.nbytes)),
        f"{row.live_weights:,}/{row.weights:,}",
    )
