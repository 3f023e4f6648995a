"""The contestants of ``benchmark block``: layers on tiles, their dense twins in XLA and in torch."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.benchmark.block_cases import UNITS, Group
from experiments.benchmark.timing import Call
from jaxsparse import block, nn

Layer = nn.BlockConv | nn.BlockResidualUnit
TILES = (4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 22, 25, 29, 31)
"""Edges of tiles, from which block sizes are chosen."""


def layers_of(group: Group, seed: int = 0) -> list[Layer]:
    """The layers of a chain in inference, with statistics that are not those of initialisation."""
    rng = np.random.default_rng(seed)
    if group.layer == "conv":
        return [
            nn.BlockConv(
                group.channels, group.channels, (3, 3), use_bias=False, rngs=nnx.Rngs(seed)
            )
        ]
    units = [nn.BlockResidualUnit(group.channels, rngs=nnx.Rngs(seed + i)) for i in range(UNITS)]
    for unit in units:
        unit.eval()
        # The result of a call is the input of the next: it must not grow.
        unit.conv3.kernel[...] = unit.conv3.kernel[...] * 0.01
        for norm in (unit.norm1, unit.norm2, unit.norm3):
            norm.mean[...] = jnp.asarray(0.1 * rng.normal(size=norm.mean.shape), jnp.float32)
            norm.var[...] = jnp.asarray(rng.uniform(0.5, 1.5, norm.var.shape), jnp.float32)
    return list(units)


def image(group: Group) -> np.ndarray:
    """Normally distributed, float32 ``[1, height, width, channels]``."""
    shape = (1, group.height, group.width, group.channels)
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def run_sparse(layers: Sequence[Layer], blocks: block.BlockIndices, x: jax.Array, base: jax.Array):
    """Units add onto ``base``, one after the other; a convolution of ``x`` is written into it."""
    if isinstance(layers[0], nn.BlockConv):
        return layers[0](x, blocks, base)
    for layer in layers:
        base = layer(base, blocks)
    return base


class Sparse:
    """Reduces the mask and runs the layers, in place on a donated buffer that goes from call to call."""

    def __init__(
        self, layers: Sequence[Layer], geometry: block.Geometry, capacity: int, mask: np.ndarray, x: jax.Array
    ):  # fmt: skip
        graph, self._state = nnx.split(nnx.List(list(layers)))

        def program(state, mask, x, base):
            blocks = block.reduce_mask(mask, geometry, capacity=capacity)
            return run_sparse(list(nnx.merge(graph, state)), blocks, x, base), blocks.overflow

        self._program = jax.jit(program, donate_argnums=3)
        self._mask = jnp.asarray(mask)[None]
        self._x = x
        self._buffer = None

    def __call__(self) -> None:
        """One call, to its end."""
        if self._buffer is None:
            self._buffer = jnp.array(self._x)
        self._buffer, overflow = self._program(self._state, self._mask, self._x, self._buffer)
        jax.block_until_ready(self._buffer)
        self._overflow = overflow

    def result(self) -> tuple[np.ndarray, int]:
        """Of a call on the image itself, and how many blocks were cut."""
        self._buffer = None
        self()
        found = np.asarray(self._buffer), int(self._overflow)
        self._buffer = None
        return found

    def release(self) -> None:
        """The buffer is made anew by the next call."""
        self._buffer = None


def candidates(layer: Layer, mask: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Block sizes worth timing: those whose active blocks hold the fewest pixels, tiles and windows alike.

    Tiles are rectangles: on a small map squares cover twice the mask.
    """
    height, width = mask.shape
    costs = {}
    for rows, columns in itertools.product(TILES, TILES):
        if rows > height or columns > width or not 1 / 3 <= rows / columns <= 3:
            continue
        size = (rows + 2, columns + 2)
        active = active_blocks(mask, layer.geometry(mask.shape, size))
        # The halo is gathered and goes through the first convolution only.
        costs[size] = active * (rows * columns + size[0] * size[1])
    return sorted(costs, key=lambda size: (costs[size], size))[:most]


def active_blocks(mask: np.ndarray, geometry: block.Geometry) -> int:
    """What ``block.reduce_mask`` counts, of one image and without a compiler."""
    sums = np.pad(mask.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    window, ends = geometry.window, []
    for n, extent, stride, offset, count in zip(
        mask.shape, window.size, window.stride, window.offset, geometry.grid, strict=True
    ):
        start = offset + stride * np.arange(count)
        ends.append((np.clip(start, 0, n), np.clip(start + extent, 0, n)))
    (a, b), (c, d) = ends
    inside = sums[b][:, d] - sums[a][:, d] - sums[b][:, c] + sums[a][:, c]
    return int((inside > 0).sum())


def tuned(layer: Layer, mask: np.ndarray, x: jax.Array, most: int, repeats: int) -> block.Tuned:
    """The block size for one layer of the chain, by ``block.tune``."""
    graph, state = nnx.split(layer)
    kernels = (1, 3, 1) if isinstance(layer, nn.BlockResidualUnit) else 3

    def run(blocks, state, x, base):
        return run_sparse([nnx.merge(graph, state)], blocks, x, base)

    return block.tune(
        run, mask[None], state, x, jnp.zeros_like(x), kernel_sizes=kernels, repeats=repeats,
        block_sizes=candidates(layer, mask, most), donate_argnums=(2,),
    )  # fmt: skip


def xla_dense(layers: Sequence[Layer]) -> Callable[[jax.Array], jax.Array]:
    """The dense twin: the same layers without blocks."""
    graph, state = nnx.split(nnx.List(list(layers)))

    @jax.jit
    def program(state, x):
        for layer in nnx.merge(graph, state):
            x = layer(x)
        return x

    return lambda x: program(state, x)


def xla_products(units: Sequence[nn.BlockResidualUnit]) -> Callable[[jax.Array], jax.Array]:
    """The dense twin, its 1 x 1 convolutions written as matrix products: what XLA does best on a CPU."""
    graph, state = nnx.split(nnx.List(list(units)))

    def one_tap(conv, x):
        return jnp.dot(x, conv.kernel[...][0, 0], precision="highest")

    @jax.jit
    def program(state, x):
        for unit in nnx.merge(graph, state):
            y = one_tap(unit.conv1, jax.nn.relu(unit.norm1(x)))
            y = unit.conv2(jax.nn.relu(unit.norm2(y)))
            x = x + one_tap(unit.conv3, jax.nn.relu(unit.norm3(y)))
        return x

    return lambda x: program(state, x)


def xla_calls(layers: Sequence[Layer], x: jax.Array) -> dict[str, Call]:
    """Dense contestants in XLA, by name."""
    runs = {"xla": xla_dense(layers)}
    if isinstance(layers[0], nn.BlockResidualUnit):
        runs["xla products"] = xla_products(layers)  # pyright: ignore[reportArgumentType]
    return {name: lambda run=run: jax.block_until_ready(run(x)) for name, run in runs.items()}


def torch_calls(layers: Sequence[Layer], x: np.ndarray) -> dict[str, Call]:
    """Dense contestants in torch, by name; the same weights."""
    import torch  # pyright: ignore[reportMissingImports]

    formats = {
        "torch contiguous": torch.contiguous_format,
        "torch channels_last": torch.channels_last,
    }
    calls: dict[str, Call] = {}
    for name, memory_format in formats.items():
        given = torch.from_numpy(np.moveaxis(x, -1, 1)).contiguous(memory_format=memory_format)
        run = torch_dense(layers, memory_format)
        calls[name] = lambda run=run, given=given: run(given)
    return calls


def torch_dense(layers: Sequence[Layer], memory_format: Any) -> Callable[[Any], Any]:
    """The chain in torch: ``[1, channels, height, width]`` to the same."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch.nn import functional  # pyright: ignore[reportMissingImports]

    def weight(conv):
        array = np.moveaxis(np.asarray(conv.kernel[...]), (-1, -2), (0, 1))
        return torch.from_numpy(np.ascontiguousarray(array)).contiguous(memory_format=memory_format)

    def norm_of(norm):
        vectors = (norm.mean, norm.var, norm.scale, norm.bias)
        return [torch.from_numpy(np.array(v[...])) for v in vectors], norm.epsilon

    if isinstance(layers[0], nn.BlockConv):
        kernel = weight(layers[0])
        steps: Any = None
    else:
        kernel = None
        steps = [
            [(norm_of(n), weight(c)) for n, c in ((u.norm1, u.conv1), (u.norm2, u.conv2), (u.norm3, u.conv3))]
            for u in layers
            if isinstance(u, nn.BlockResidualUnit)
        ]  # fmt: skip

    def run(x):
        with torch.inference_mode():
            if steps is None:
                return functional.conv2d(x, kernel, padding=1)
            for unit in steps:
                y = x
                for (vectors, epsilon), w in unit:
                    y = functional.batch_norm(y, *vectors, False, 0.1, epsilon).relu_()
                    y = functional.conv2d(y, w, padding=w.shape[-1] // 2)
                x = y.add_(x)
            return x

    return run
