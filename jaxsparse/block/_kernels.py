"""The kernels of this room. Lists run over the whole batch, so no operand is shared out along it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxsparse._core.entries import wide_dtype
from jaxsparse._core.kernel import Attributes, Kernel
from jaxsparse.block.geometry import Tiling


class Boxes(NamedTuple):
    """Where the blocks lie: static parameters of every kernel here."""

    tiling: Tiling
    grid: tuple[int, ...]

    def attributes(self, **more: int) -> Attributes:
        tiling = self.tiling
        fields = {"size": tiling.size, "stride": tiling.stride, "offset": tiling.offset}
        return {**fields, "grid": self.grid, **more}


class Reduce(NamedTuple):
    """Static parameters of ``reduce_mask``."""

    boxes: Boxes
    blocks: int  # of one image
    capacity: Any  # may be symbolic
    mode: int


MODES = ("max", "mean")
"""Their position is the kernel's number for them."""


def _same_for_all(static: Any, *operands: Any) -> Attributes:
    """A CUDA workspace of one size, whatever the operands are."""
    return {}


def _reduced(static: Reduce, mask, threshold) -> Sequence:
    everywhere = mask.shape[0] * static.blocks
    return [
        ((static.capacity, 1 + len(static.boxes.grid)), jnp.int32),
        ((1,), jnp.int32),
        # Scratch memory. It grows with the batch, so it is no workspace.
        ((everywhere,), jnp.int32),
        ((everywhere,), wide_dtype(mask.dtype)),
    ]


# mask[B, *S], threshold[] -> indices[M, 1 + d], count[1], and scratch memory
reduce_mask = Kernel(
    "reduce_mask",
    "mask, threshold -> indices, count, number, response",
    results=_reduced,
    attributes=lambda static: static.boxes.attributes(mode=static.mode),
    cuda_workspace=_same_for_all,
    room="block",
)


class Move(NamedTuple):
    """Static parameters of the other kernels.

    ``channels_first``: blocks are [M, C, *size]. ``shown`` (gather only): pixels that a later block covers are 0.
    """

    boxes: Boxes
    channels_first: bool
    shown: bool = False


def _block_shape(static: Move, capacity, channels) -> tuple:
    size = static.boxes.tiling.size
    return (capacity, channels, *size) if static.channels_first else (capacity, *size, channels)


# x[B, *S, C], indices -> blocks[M, *size, C]
gather = Kernel(
    "gather",
    "x, indices -> blocks",
    results=lambda static, x, indices: [
        (_block_shape(static, indices.shape[0], x.shape[-1]), x.dtype)
    ],
    attributes=lambda static: static.boxes.attributes(
        channels_first=int(static.channels_first), shown=int(static.shown)
    ),
    cuda_workspace=_same_for_all,
    room="block",
)


def _onto(name: str) -> Kernel:
    return Kernel(
        name,
        "blocks, indices, base -> out",
        results=lambda static, blocks, indices, base: [(base.shape, base.dtype)],
        attributes=lambda static: static.boxes.attributes(
            channels_first=int(static.channels_first)
        ),
        in_place={"base": 0},
        cuda_workspace=_same_for_all,
        room="block",
    )


# blocks[M, *size, C], indices, base[B, *S, C] -> out[B, *S, C]
scatter = _onto("scatter")
scatter_add = _onto("scatter_add")

# blocks[M, *size, C], indices, value[] -> out[B, *S, C], value where no blocks are
scatter_new = Kernel(
    "scatter_new",
    "blocks, indices, value -> out",
    results=lambda static, blocks, indices, value: [
        (
            (
                static.batch,
                *static.move.boxes.tiling.spatial_shape,
                blocks.shape[1 if static.move.channels_first else -1],
            ),
            blocks.dtype,
        )
    ],
    attributes=lambda static: static.move.boxes.attributes(
        channels_first=int(static.move.channels_first)
    ),
    room="block",
)

# indices, base[B, *S, C] -> base, 0 where blocks are
erase = Kernel(
    "erase",
    "indices, base -> out",
    results=lambda static, indices, base: [(base.shape, base.dtype)],
    attributes=lambda static: static.boxes.attributes(),
    in_place={"base": 0},
    cuda_workspace=_same_for_all,
    room="block",
)
