"""All kernel maps of a network at once."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse.voxel import _maps, _relation, _sites
from jaxsparse.voxel._relation import Relation
from jaxsparse.voxel._sites import Sites
from jaxsparse.voxel.kernel_map import KernelMap
from jaxsparse.voxel.tensor import VoxelTensor, check_tensor

CONVOLUTIONS = ("conv", "submanifold_conv", "conv_transpose", "inverse_conv")
POOLINGS = ("max_pool", "avg_pool", "sum_pool", "unpool")
KINDS = (*CONVOLUTIONS, *POOLINGS)
"""The functions that take a plan."""

BACK = ("inverse_conv", "unpool")
"""Those that lead back onto a level that there was."""


@dataclasses.dataclass(frozen=True)
class Layer:
    """What :func:`plan` has to know of a layer.

    Attributes:
      kind: the function that takes the entry: ``"conv"``, ``"submanifold_conv"``, ``"conv_transpose"``,
        ``"inverse_conv"``, ``"max_pool"``, ``"avg_pool"``, ``"sum_pool"``, ``"unpool"``.
      kernel_size: taps along each axis, or one number for all; of a pooling its window.
      strides: None: 1 for convolutions, the window for poolings.
      padding: None: what the function does by itself, ``"SAME"`` for convolutions and ``"VALID"`` for poolings.
      kernel_dilation: distance of the taps.
      capacity: rows of the output; None: room for every site that could become active.

    Example::

      >>> from jaxsparse import voxel

      >>> voxel.Layer("conv", 3, strides=2, capacity=1000)
      Layer(kind='conv', kernel_size=3, strides=2, padding=None, kernel_dilation=1, capacity=1000)
    """

    kind: str
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] | None = None
    padding: Any = None
    kernel_dilation: int | Sequence[int] = 1
    capacity: int | None = None


class _Level(NamedTuple):
    """Sites, and a number for them: one list of sites has one number."""

    sites: Sites
    number: int


class _Planner:
    """Walks through the layers; remembers levels and the maps between them."""

    def __init__(self, x: VoxelTensor):
        self.levels = [_Level(_sites.of(x), 0)]
        self.here = self.levels[0]
        self.undone: list[tuple[KernelMap, _Level]] = []  # the way down: maps, and where each began
        self.maps: dict[Any, tuple[KernelMap, _Level]] = {}

    def add(self, name: str, layer: Layer) -> KernelMap:
        kind = checks.one_of("plan", f"{name}.kind", layer.kind, KINDS)
        size = layer.kernel_size
        strides = layer.strides
        if strides is None:
            strides = size if kind in POOLINGS else 1
        padding = layer.padding
        if padding is None:
            padding = "VALID" if kind in POOLINGS else "SAME"
        fixed = kind in (*BACK, "submanifold_conv")
        if fixed and layer.capacity is not None:
            wording = f"left out for {kind}, whose output sites are given"
            raise ValueError(expected("plan", f"{name}.capacity", wording, layer.capacity))
        geometry = (size, strides, padding, layer.kernel_dilation)
        if kind in BACK:
            return self._back(name, geometry)
        if kind == "submanifold_conv":
            if any(v is not None for v in (layer.strides, layer.padding)):
                what = f"strides={layer.strides} and padding={layer.padding!r}"
                wording = "without strides and padding for submanifold_conv"
                raise ValueError(expected("plan", name, wording, what))
            relation = self._relation(_relation.convolution, name, geometry)
            return self._to(relation, self.here)
        make = _relation.transposed if kind == "conv_transpose" else _relation.convolution
        relation = self._relation(make, name, geometry)
        start = self.here
        found = self._onwards(name, relation, layer.capacity)
        if kind != "conv_transpose":
            self.undone.append((found, start))
        return found

    def _relation(self, make, name: str, geometry) -> Relation:
        shape = self.here.sites.spatial_shape
        return make("plan", shape, *geometry, argument=f"{name}.kernel_size")

    def _to(self, relation: Relation, level: _Level) -> KernelMap:
        """The map to a level that exists."""
        key = (self.here.number, level.number, relation)
        if key not in self.maps:
            self.maps[key] = (_maps.between(self.here.sites, level.sites, relation), level)
        found, self.here = self.maps[key]
        return found

    def _onwards(self, name: str, relation: Relation, capacity: Any) -> KernelMap:
        """The map to a level of its own."""
        if capacity is not None:
            capacity = checks.integer("plan", f"{name}.capacity", capacity, minimum=1)
        key = ("onwards", self.here.number, capacity, relation)
        if key not in self.maps:
            sites = _sites.reached("plan", self.here.sites, relation, capacity)
            level = _Level(sites, len(self.levels))
            self.levels.append(level)
            self.maps[key] = (_maps.between(self.here.sites, sites, relation), level)
        found, self.here = self.maps[key]
        return found

    def _back(self, name: str, geometry) -> KernelMap:
        if not self.undone:
            wording = "behind a conv or pooling that it can undo"
            raise ValueError(expected("plan", name, wording, "no level to go back to"))
        forward, level = self.undone.pop()
        shape = level.sites.spatial_shape
        relation = _relation.convolution("plan", shape, *geometry, argument=f"{name}.kernel_size")
        if relation.out_shape != self.here.sites.spatial_shape:
            wording = f"such that it leads back from {self.here.sites.spatial_shape} to {shape}"
            what = f"a geometry that leads from there to {relation.out_shape}"
            raise ValueError(expected("plan", name, wording, what))
        key = (self.here.number, level.number, relation.reversed())
        if relation == forward.relation and key not in self.maps:
            self.maps[key] = (forward.transpose(), level)  # nothing to build
        return self._to(relation.reversed(), level)


def plan(x: VoxelTensor, layers: Sequence[Layer]) -> tuple[KernelMap, ...]:
    """The kernel maps of all layers of a network, from the sites of its input.

    Layer i works on the sites that layer i - 1 leaves. ``inverse_conv`` and ``unpool`` lead back onto the input sites of the
    last ``conv`` or pooling that is not undone yet, as in a U-Net; with its geometry they cost nothing. Layers of the same
    geometry on the same sites share one map. Sites depend on coordinates alone, so that all of it may be done before, or
    beside, the arithmetic; inside ``jit`` what nobody uses is not built.

    Args:
      x: :class:`VoxelTensor`, the network's input.
      layers: a :class:`Layer` for each call that takes a plan, in their order.

    Returns:
      A :class:`KernelMap` for each layer: a pytree. Entry i goes to call i as ``plan=``.

    Raises:
      ValueError: a geometry that does not fit; ``inverse_conv`` or ``unpool`` without a level to go back to.
      TypeError: not layers.

    Source: maps of all levels from the sorted coordinates, as in Spira (arXiv 2511.20834).

    Example::

      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_coords(
      ...     [[0, 2], [0, 3]], [[1.0], [2.0]], batch_size=1, spatial_shape=(6,)
      ... )
      >>> layers = [voxel.Layer("conv", 2, strides=2), voxel.Layer("inverse_conv", 2, strides=2)]
      >>> down, up = voxel.plan(x, layers)
      >>> down.coords[: int(down.count)].tolist(), up.coords.tolist()
      ([[0, 1]], [[0, 2], [0, 3]])
    """
    check_tensor("plan", "x", x)
    if not checks.is_sequence(layers) or isinstance(layers, str | bytes):
        wording = "a sequence of voxel.Layer"
        raise TypeError(expected("plan", "layers", wording, checks.described(layers)))
    planner = _Planner(x)
    found = []
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            what = checks.described(layer)
            raise TypeError(expected("plan", f"layers[{i}]", "a voxel.Layer", what))
        found.append(planner.add(f"layers[{i}]", layer))
    return tuple(found)
