"""Calls every kernel, small; to be run under compute-sanitizer. ``python -m experiments.gpu_check.every_kernel``."""

import jax
import numpy as np

from experiments.gpu_check.block_kernels import every_block_kernel
from experiments.gpu_check.kernel_calls import KernelCall, every_kernel
from experiments.gpu_check.voxel_kernels import every_voxel_kernel

SIZES = ((8, 2, 3), (19, 1, 2))
"""Resolution, batch, channels: lists within one block, and lists over several tiles."""
BLOCK_SIZES = ((24, 20, 8, 2, 8), (24, 21, 3, 1, 7), (110, 120, 1, 1, 3))
"""Height, width, channels, batch, windows: moved by 16 bytes; one by one; lists, and masks, of several thousand blocks."""
VOXEL_SIZES = ((8, 2, 3), (20, 1, 40))
"""Resolution, batch, channels: lists within one tile, and over several."""


def main() -> None:
    """Runs them all, one after the other."""
    for resolution, batch, channels in SIZES:
        for points in ("uniform", "surface"):
            for call in every_kernel(resolution, batch, channels, points):
                _run(call, f"{call.name} {points} {resolution}^3")
    for size in BLOCK_SIZES:
        for call in every_block_kernel(*size):
            _run(call, f"{call.label} {size}")
    for size in VOXEL_SIZES:
        for call in every_voxel_kernel(*size):
            _run(call, f"{call.name} {size}")


def _run(call: KernelCall, what: str) -> None:
    operands = [None if x is None else jax.device_put(x) for x in call.operands]
    results = jax.block_until_ready(jax.jit(call.run)(*operands))
    print(f"{what}: {sum(np.asarray(x).nbytes for x in results)} bytes", flush=True)


if __name__ == "__main__":
    main()
