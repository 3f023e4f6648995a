"""The kernels of jaxsparse.block alone: operands, times, and what share of it moving the bytes that must move would take."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from experiments.benchmark.timing import alternate
from experiments.gpu_check import clock, kernels
from experiments.gpu_check.block_works import kernel_row, launches_row, top_left
from experiments.gpu_check.kernel_calls import KernelCall
from experiments.gpu_check.results import Row
from jaxsparse import block
from jaxsparse.block import _kernels
from jaxsparse.block._kernels import Boxes, Move, Reduce


@dataclasses.dataclass(frozen=True)
class BlockCall(KernelCall):
    """A kernel of this room with its operands.

    Attributes:
      moved: bytes that must move: blocks and the pixels under them, not the whole map.
      label: the kernel's name, and the layout of its blocks.
    """

    moved: int = 0
    label: str = ""

    def bytes_moved(self) -> int:
        """The attribute."""
        return self.moved


def every_block_kernel(
    height: int, width: int, channels: int, batch: int, window: int, sparsity: float = 0.5
) -> list[BlockCall]:
    """All kernels on float32 maps, for a 3 x 3 convolution: windows are gathered, tiles scattered."""
    rng = np.random.default_rng(6)
    geometry = block.geometry((height, width), window, kernel_sizes=3)
    mask = np.zeros((batch, height, width), np.float32)
    active = top_left((height, width), sparsity)
    mask[:, : active[0], : active[1]] = 1
    blocks = block.reduce_mask(mask, geometry)
    rows = max(1, int(blocks.count))
    indices = np.asarray(blocks.indices)[:rows]
    windows, tiles = (Boxes(t, geometry.grid) for t in (geometry.window, geometry.tile))
    x = rng.standard_normal((batch, height, width, channels), np.float32)
    y = rng.standard_normal((rows, *geometry.tile_size, channels), np.float32)
    turned = np.ascontiguousarray(np.moveaxis(y, -1, 1))
    gathered = 2 * 4 * rows * channels * window**2
    k = _kernels
    reduce = Reduce(windows, geometry.blocks, rows, 0)
    threshold = np.zeros((), np.float32)
    return [
        BlockCall(k.reduce_mask, reduce, (mask, threshold), mask.nbytes + indices.nbytes, "reduce_mask"),
        BlockCall(k.reduce_mask, reduce._replace(mode=1), (mask, threshold),
                  mask.nbytes + indices.nbytes, "reduce_mask mean"),
        BlockCall(k.gather, Move(windows, False), (x, indices), gathered, "gather"),
        BlockCall(k.gather, Move(windows, True), (x, indices), gathered, "gather channels first"),
        BlockCall(k.gather, Move(windows, False, True), (x, indices), gathered, "gather shown"),
        BlockCall(k.scatter, Move(tiles, False), (y, indices, x), 2 * y.nbytes, "scatter"),
        BlockCall(k.scatter, Move(tiles, True), (turned, indices, x), 2 * y.nbytes, "scatter channels first"),
        BlockCall(k.scatter_add, Move(tiles, False), (y, indices, x), 3 * y.nbytes, "scatter_add"),
        BlockCall(k.scatter_add, Move(tiles, True), (turned, indices, x), 3 * y.nbytes, "scatter_add channels first"),
        BlockCall(k.erase, Move(tiles, False), (indices, x), y.nbytes, "erase"),
    ]  # fmt: skip


def measure(size: tuple[int, ...], bandwidth: float) -> Iterator[Row]:
    """One row a kernel."""
    for call in every_block_kernel(*size):
        loop = _loop(call, clock.rounds(call.moved))
        timing = loop.per_call(alternate({"kernel": loop}, kernels.EFFORT)["kernel"])
        floor = call.moved / bandwidth
        yield {
            "row": kernel_row(call.label, size),
            "section": "block kernels",
            "kernel": call.label,
            "size": list(size),
            "timing": timing,
            "bytes_moved": call.moved,
            "cached": kernels.in_cache(call.moved),
            "floor_s": floor,
            "times_the_floor": timing["median"] / floor,
        }
        clock.forget()


def launches(size: tuple[int, ...]) -> Iterator[Row]:
    """What each call starts; maps that a call takes over are copied before, for they are not given away here."""
    for call in every_block_kernel(*size):
        yield kernels.launches(call, "") | {
            "row": launches_row(call.label, size),
            "section": "block launches",
            "kernel": call.label,
            "size": list(size),
        }


def _loop(call: BlockCall, count: int) -> clock.Loop:
    """The map that a kernel writes to goes from call to call."""
    arrays = [clock.own_array(x) for x in call.operands if x is not None]
    if not call.kernel.in_place:
        return clock.Loop(call.run, clock.Arguments(*arrays), count)
    *others, former = arrays

    def run(*operands: Any) -> jax.Array:
        (out,) = call.run(*operands)
        return out

    chained: Callable[..., Any] = clock.Chained(run)
    return clock.Loop(chained, clock.Arguments(*others, former=former), count)
