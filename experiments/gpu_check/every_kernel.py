"""Calls every kernel, small; to be run under compute-sanitizer. ``python -m experiments.gpu_check.every_kernel``."""

import jax
import numpy as np

from experiments.gpu_check.kernel_calls import every_kernel

SIZES = ((8, 2, 3), (19, 1, 2))
"""Resolution, batch, channels: lists within one block, and lists over several tiles."""


def main() -> None:
    """Runs them all, one after the other."""
    for resolution, batch, channels in SIZES:
        for points in ("uniform", "surface"):
            for call in every_kernel(resolution, batch, channels, points):
                operands = [None if x is None else jax.device_put(x) for x in call.operands]
                results = jax.block_until_ready(jax.jit(call.run)(*operands))
                size = sum(np.asarray(x).nbytes for x in results)
                print(f"{call.name} {points} {resolution}^3: {size} bytes", flush=True)


if __name__ == "__main__":
    main()
