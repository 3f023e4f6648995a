"""Layers of block-sparse convolution against dense ones in XLA; contestants of a layer alternate in one process.

A call is a whole layer: the mask is reduced, blocks are gathered, convolved and scattered in place. Residual units are six in a
chain, with one list; the last convolution of each has very small weights, so that what they add up to stays finite however
often they run. The dense contestant is the same module, or the same convolution, in NHWC.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from experiments.benchmark.timing import Effort, alternate
from experiments.gpu_check import clock
from experiments.gpu_check.block_works import Layer, top_left
from experiments.gpu_check.results import Row
from jaxsparse import block, nn

PRECISIONS = {"TF32": lax.Precision.DEFAULT, "float32": lax.Precision.HIGHEST}
EFFORT = Effort(seconds=0.2, repeats=(3, 9), sample=0.02, slow=0.5)
CHECK_UP_TO = 50 * 88
"""Pixels of a map whose result is compared with the dense one before."""


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """A list for a mask: the grid of a tile size, and how many of its blocks are active."""

    geometry: block.Geometry
    capacity: int


def measure(layer: Layer, precision: str, tile: int | None = None) -> Iterator[Row]:
    """One row a sparsity.

    Args:
      layer: what to measure.
      precision: ``"TF32"`` or ``"float32"``.
      tile: side of the tiles; None: chosen at the first sparsity, by time.

    Raises:
      ValueError: a sparse result differs from the dense one; nothing was timed.
    """
    contest = _Contest(layer, precision)
    contest.check()
    for sparsity in layer.sparsities:
        tried = layer.tiles if tile is None else (tile,)
        row = contest.row(sparsity, tried)
        tile = row["tile"]
        yield row


class _Contest:
    """The contestants of one layer in one precision."""

    def __init__(self, layer: Layer, precision: str):
        self.layer = layer
        self.precision = precision
        exact = PRECISIONS[precision]
        if layer.kind == "unit":
            self.model: _Layer = _Units(layer, exact)
        else:
            self.model = _Convolution(layer, exact)
        self.dense = clock.Loop(
            self.model.dense(), self.model.arguments(), clock.rounds(self.model.bytes_moved)
        )

    def candidate(self, sparsity: float, tile: int) -> _Candidate:
        geometry = self.model.geometry(tile)
        found = block.reduce_mask(self._mask(sparsity), geometry)
        return _Candidate(geometry, max(1, int(found.count)))

    def row(self, sparsity: float, tiles: tuple[int, ...]) -> Row:
        """Times the dense layer and the sparse one with each of these tiles."""
        layer, model = self.layer, self.model
        candidates = {tile: self.candidate(sparsity, tile) for tile in tiles}
        count = clock.rounds(model.bytes_moved * (1 - sparsity))
        loops = {"dense": self.dense}
        for tile, candidate in candidates.items():
            arguments = model.arguments(self._mask(sparsity))
            loops[f"tile {tile}"] = clock.Loop(model.sparse(candidate), arguments, count)
        rivals = dict.fromkeys((name for name in loops if name != "dense"), "sparse")
        timings = alternate(loops, EFFORT, rivals=rivals)
        found = {name: loop.per_call(timings[name]) for name, loop in loops.items()}
        best = min(tiles, key=lambda tile: found[f"tile {tile}"]["median"])
        ours, theirs = loops[f"tile {best}"], found["dense"]
        device = {"jaxsparse": ours.on_device(), "dense": self.dense.on_device()}
        chosen = candidates[best]
        pixels = layer.shape[0] * layer.shape[1]
        return {
            "row": layer.row(sparsity, self.precision),
            "section": "block",
            "kind": layer.kind,
            "shape": list(layer.shape),
            "channels": layer.channels,
            "sparsity": sparsity,
            "precision": self.precision,
            "units": layer.units,
            "tile": best,
            "blocks": chosen.capacity,
            "of_blocks": chosen.geometry.blocks,
            "computed_share": chosen.capacity * np.prod(chosen.geometry.block_size) / pixels,
            "jaxsparse": found[f"tile {best}"],
            "dense": theirs,
            "by_tile": {str(t): found[f"tile {t}"]["median"] for t in tiles},
            "ratio": theirs["median"] / found[f"tile {best}"]["median"],
            "ratio_on_device": _ratio(device),
            "device": device,
            "ideal": 1 / (1 - sparsity),
            "paper": layer.paper if sparsity == 0.9 else None,
            "copies": copies_of_the_map(ours.text(), (1, *layer.shape, layer.channels)),
        }

    def check(self) -> None:
        """Compares with the dense layer, where the map is small."""
        layer = self.layer
        if layer.shape[0] * layer.shape[1] > CHECK_UP_TO:
            return
        mask = self._mask(layer.sparsities[0])
        candidate = self.candidate(layer.sparsities[0], layer.tiles[0])
        error, largest = map(float, self.model.deviation(candidate, mask))
        bound = 1e-4 if self.precision == "float32" else 1e-2
        if not error <= bound * largest:
            what = f"{layer}, {self.precision}"
            raise ValueError(f"{what}: the sparse result is off by {error:.2e}; nothing was timed")

    def _mask(self, sparsity: float) -> jax.Array:
        mask = np.zeros((1, *self.layer.shape), np.float32)
        height, width = top_left(self.layer.shape, sparsity)
        mask[:, :height, :width] = 1
        return clock.own_array(mask)


class _Layer:
    """A layer, dense and sparse, as functions that are timed."""

    def __init__(self, layer: Layer, precision: Any):
        self.layer = layer
        self.precision = precision
        map_bytes = 4 * layer.shape[0] * layer.shape[1] * layer.channels
        # A guess: what a dense layer reads and writes.
        self.bytes_moved = 2 * map_bytes * (4 * layer.units if layer.kind == "unit" else 1)

    def image(self, seed: int) -> jax.Array:
        shape = (1, *self.layer.shape, self.layer.channels)
        return clock.own_array(np.random.default_rng(seed).standard_normal(shape, np.float32))

    def geometry(self, tile: int) -> block.Geometry:
        """Of windows that are a halo larger than the tile."""
        return block.geometry(self.layer.shape, tile + 2, kernel_sizes=3)

    def arguments(self, mask: jax.Array | None = None) -> clock.Arguments:
        """Of the sparse function; without a mask of the dense one."""
        raise NotImplementedError

    def dense(self) -> Callable[..., Any]:
        """``(weights, map) -> map``, the former result the last argument."""
        raise NotImplementedError

    def sparse(self, candidate: _Candidate) -> Callable[..., Any]:
        """``(mask, weights, map) -> map``, in place."""
        raise NotImplementedError

    def deviation(self, candidate: _Candidate, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The largest difference to the dense layer where the mask is 1, and the largest number there."""
        raise NotImplementedError


class _Convolution(_Layer):
    """A 3 x 3 convolution onto a map that is there: the result of the call before."""

    def arguments(self, mask: jax.Array | None = None) -> clock.Arguments:
        first = () if mask is None else (mask,)
        return clock.Arguments(*first, self._kernel(), self.image(1), former=self.image(2))

    def _kernel(self) -> jax.Array:
        shape = (3, 3, self.layer.channels, self.layer.channels)
        return clock.own_array(0.1 * np.random.default_rng(3).standard_normal(shape, np.float32))

    def _dense(self, kernel: Any, x: Any) -> Any:
        return lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=self.precision,
        )  # fmt: skip

    def _sparse(self, candidate: _Candidate, mask: Any, kernel: Any, x: Any, base: Any) -> Any:
        blocks = block.reduce_mask(mask, candidate.geometry, capacity=candidate.capacity)
        return block.conv(x, kernel, blocks=blocks, base=base, precision=self.precision)

    def dense(self) -> Callable[..., Any]:
        return clock.Chained(lambda kernel, x, former: self._dense(kernel, x))

    def sparse(self, candidate: _Candidate) -> Callable[..., Any]:
        return clock.Chained(lambda *operands: self._sparse(candidate, *operands))

    def deviation(self, candidate: _Candidate, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        @jax.jit
        def run(mask: Any, kernel: Any, x: Any) -> Any:
            wanted = self._dense(kernel, x)
            found = self._sparse(candidate, mask, kernel, x, jnp.zeros_like(x))
            return _deviation(mask, found, wanted)

        return run(mask, self._kernel(), self.image(1))


class _Units(_Layer):
    """Residual units, one after the other."""

    def __init__(self, layer: Layer, precision: Any):
        super().__init__(layer, precision)
        stack = [
            nn.BlockResidualUnit(layer.channels, precision=precision, rngs=nnx.Rngs(n))
            for n in range(layer.units)
        ]
        for unit in stack:
            unit.eval()
        self._first = stack[0]
        self._graph, self._state = nnx.split(stack)

    def geometry(self, tile: int) -> block.Geometry:
        return self._first.geometry(self.layer.shape, tile + 2)

    def _weights(self, last: float) -> Any:
        """Of the units; those of their last convolutions times ``last``."""

        def own(path: Any, x: Any) -> jax.Array:
            factor = last if "conv3" in jax.tree_util.keystr(path) else 1.0
            return clock.own_array(np.asarray(x) * np.float32(factor))

        return jax.tree_util.tree_map_with_path(own, self._state)

    def arguments(self, mask: jax.Array | None = None) -> clock.Arguments:
        first = () if mask is None else (mask,)
        return clock.Arguments(*first, self._weights(1e-12), former=self.image(1))

    def _run(self, weights: Any, x: Any, blocks: Any = None) -> Any:
        for unit in nnx.merge(self._graph, weights):
            x = unit(x, blocks)
        return x

    def _sparse(self, candidate: _Candidate, mask: Any, weights: Any, x: Any) -> Any:
        blocks = block.reduce_mask(mask, candidate.geometry, capacity=candidate.capacity)
        return self._run(weights, x, blocks)

    def dense(self) -> Callable[..., Any]:
        return clock.Chained(self._run)

    def sparse(self, candidate: _Candidate) -> Callable[..., Any]:
        return clock.Chained(lambda *operands: self._sparse(candidate, *operands))

    def deviation(self, candidate: _Candidate, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Of one unit: behind it, the next one's windows would have to be active, too."""

        @jax.jit
        def run(mask: Any, weights: Any, x: Any) -> Any:
            unit = nnx.merge(self._graph, weights)[0]
            blocks = block.reduce_mask(mask, candidate.geometry, capacity=candidate.capacity)
            return _deviation(mask, unit(x, blocks), unit(x))

        return run(mask, self._weights(1.0), self.image(1))


def _deviation(mask: Any, found: Any, wanted: Any) -> tuple[jax.Array, jax.Array]:
    active = mask[..., None] > 0
    error = jnp.abs(jnp.where(active, found - wanted, 0)).max()
    return error, jnp.abs(jnp.where(active, wanted, 0)).max()


def _ratio(device: dict[str, dict[str, float] | None]) -> float | None:
    ours, theirs = device["jaxsparse"], device["dense"]
    return theirs["busy"] / ours["busy"] if ours and theirs else None


def copies_of_the_map(text: str, shape: tuple[int, ...]) -> int:
    """How many copies of a whole map are in a compiled program, in front of its loop, too: in place there is none."""
    sizes = ",".join(map(str, shape))
    return len(re.findall(rf"= f32\[{sizes}\]\S* copy(?:-start)?\(", text))
