"""One call of every kernel: operands of a given size, as a layer would call it."""

import dataclasses
import math
from typing import Any

import numpy as np

from experiments.gpu_check.inputs import batch_keys, kernel_values
from jaxsparse._core.kernel import Kernel
from jaxsparse._core.windows import convolution, pooling
from jaxsparse.direct import _kernels


@dataclasses.dataclass(frozen=True)
class KernelCall:
    """A kernel with its operands, NumPy arrays or None."""

    kernel: Kernel
    static: Any
    operands: tuple[np.ndarray | None, ...]

    @property
    def name(self) -> str:
        """The FFI target's name without its prefix."""
        return self.kernel.name

    @property
    def batch(self) -> int:
        """Elements of the batch."""
        first = self.operands[0]
        assert first is not None
        return first.shape[0]

    def run(self, *operands: Any) -> tuple[Any, ...]:
        """Calls it, to be traced."""
        return self.kernel.native(self.static, *operands)

    def bytes_moved(self) -> int:
        """What must move at least: every operand read once, every result written once.

        Of a dense operand that is read at the entries only, those entries count.
        """
        results = self.kernel.results(self.static, *self.operands)
        read = [x for x in self.operands if x is not None]
        if self.name == "gather_dense":
            read[1] = read[0]
        written = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in results)
        return written + sum(x.nbytes for x in read)


def every_kernel(
    resolution: int,
    batch: int,
    channels: int,
    points: str = "uniform",
    *,
    dense_batch: int | None = None,
) -> list[KernelCall]:
    """All kernels at ``resolution^3`` voxels, ``channels`` channels in and out, density 1/resolution, float32.

    ``dense_batch``: the batch of those that read or write a dense array, gigabytes of it; as ``batch`` where left out.
    """
    rng = np.random.default_rng(5)
    shape, capacity = (resolution,) * 3, resolution**2
    volume = resolution**3
    keys = batch_keys(points, resolution, channels, batch)
    # Of another pattern, as a layer's output would be.
    others = batch_keys(points, resolution, channels, batch, seed=1)

    def values(*size: int) -> np.ndarray:
        return rng.normal(size=size).astype(np.float32)

    x, g = values(*keys.shape), values(*keys.shape)
    kernel = kernel_values((channels, channels))
    by_channel = values(3, channels)
    geometry = convolution("conv", shape, (3, 3, 3), 1, "SAME", 1)
    pool = pooling("max_pool", shape, 2, 2)
    windows = _windows(keys, resolution, capacity)
    counts = rng.integers(1, 5, size=windows.shape, dtype=np.int32)
    source = rng.permuted(np.broadcast_to(np.arange(capacity, dtype=np.int32), keys.shape), axis=-1)
    few = dense_batch or batch
    dense = np.zeros((few, volume, channels), np.float32)
    for b, c in np.ndindex(few, channels):
        dense[b, keys[b, c], c] = x[b, c]
    dense = dense.reshape(few, *shape, channels)
    k = _kernels
    return [
        KernelCall(k.conv, k.Convolve(geometry, capacity, 0), (keys, x, kernel, None, None)),
        KernelCall(k.conv_at, geometry, (keys, x, kernel, None, others)),
        KernelCall(k.conv_input_grad, geometry, (keys, kernel, None, others, g)),
        KernelCall(k.conv_kernel_grad, geometry, (keys, x, None, others, g)),
        KernelCall(k.relu, volume, (keys, x)),
        KernelCall(k.max_pool, k.Pool(pool, capacity), (keys, x)),
        KernelCall(k.avg_pool, k.Pool(pool, capacity), (keys, x)),
        KernelCall(k.window_sum, pool, (keys, x, windows, counts)),
        KernelCall(k.window_spread, pool, (keys, windows, g, counts)),
        KernelCall(k.take, None, (x, source)),
        KernelCall(k.put_add, capacity, (g, source)),
        KernelCall(k.add, k.Add(volume, 2 * capacity), (keys, x, others, g)),
        KernelCall(k.channel_sum, volume, (keys, x)),
        KernelCall(
            k.channel_dot, k.ChannelDot(volume, "float32"),
            (keys, x, by_channel[0], g, by_channel[1]),
        ),
        KernelCall(k.channel_affine, volume, (keys, x, *by_channel)),
        KernelCall(
            k.masked_scale, volume, (keys, x, rng.random(keys.shape) < 0.5, values(2)),
        ),
        KernelCall(k.global_max_pool, volume, (keys, x)),
        KernelCall(k.global_avg_pool, volume, (keys, x)),
        KernelCall(k.global_avg_pool_grad, volume, (keys, values(batch, channels))),
        KernelCall(k.to_dense, shape, (keys[:few], x[:few])),
        KernelCall(k.gather_dense, None, (keys[:few], dense)),
        KernelCall(k.from_dense, k.Sparsify(capacity, 1), (dense,)),
    ]  # fmt: skip


def _windows(keys: np.ndarray, resolution: int, capacity: int) -> np.ndarray:
    """The windows of 2^3 voxels that hold entries, lists of the same length."""
    half = -(-resolution // 2)
    z, y, x = np.unravel_index(keys, (resolution,) * 3)
    flat = (z // 2 * half + y // 2) * half + x // 2
    result = np.full((*keys.shape[:2], capacity), half**3, np.int32)
    for row, into in zip(
        flat.reshape(-1, keys.shape[-1]), result.reshape(-1, capacity), strict=True
    ):
        found = np.unique(row)
        into[: len(found)] = found
    return result
