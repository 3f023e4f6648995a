"""Table 1 with measured memory: a convolution, forward and backward, in a process of its own."""

import functools
import math
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp

from experiments.benchmark.table1 import BATCH, DEPTH, paper_bytes
from experiments.gpu_check.results import Row
from jaxsparse import direct


def measure(resolution: int, batch: int = BATCH, channels: int = DEPTH) -> Row:
    """Peak memory of a layer of ``channels`` channels, in and out, at density 1/resolution, against what was promised.

    Promised: the arrays that go in and come out, and the largest of ``direct.conv_workspace``.
    """
    arguments = _inputs(resolution, batch, channels)
    x, kernel, _ = arguments
    compiled = jax.jit(_layer, static_argnums=3).lower(*arguments, resolution**2).compile()
    shapes = jax.eval_shape(functools.partial(_layer, capacity=resolution**2), *arguments)
    arrays = sum(map(_bytes, jax.tree.leaves((arguments, shapes))))
    workspace = direct.conv_workspace(x, kernel, capacity=resolution**2)
    promised = arrays + max(workspace)
    y, _ = jax.block_until_ready(compiled(*arguments))
    held, overflow = y.nbytes, float((y.nnz > y.capacity).mean())
    del y, _  # two results at once are not what was promised
    samples = [_seconds(compiled, arguments) for _ in range(3)]
    peak = peak_bytes()
    analysis = compiled.memory_analysis()
    return {
        "row": f"memory of a layer {resolution}^3 batch {batch} {channels} channels",
        "section": "table 1",
        "resolution": resolution,
        "batch": batch,
        "channels": channels,
        "arrays": arrays,
        "workspace": workspace._asdict(),
        "promised": promised,
        "peak": peak,
        "of_promised": peak / promised if peak else None,
        "compiled_temporaries": analysis.temp_size_in_bytes if analysis else None,
        "seconds": statistics.median(samples),
        "samples": samples,
        "held": held,
        "paper": paper_bytes(resolution),
        "overflow": overflow,
    }


def _seconds(call: Any, arguments: tuple[Any, ...]) -> float:
    begin = time.perf_counter()
    jax.block_until_ready(call(*arguments))
    return time.perf_counter() - begin


def peak_bytes() -> int | None:
    """The most that this process ever had allocated on the device; None: the platform does not say."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def _layer(x: direct.SparseTensor, kernel: Any, cotangent: Any, capacity: int) -> Any:
    def values(v: Any, w: Any) -> Any:
        y = direct.conv(x.replace(values=v), w, capacity=capacity)
        return y.values, y

    _, pullback, y = jax.vjp(values, x.values, kernel, has_aux=True)
    return y, pullback(cotangent)


def _inputs(resolution: int, batch: int, channels: int) -> tuple[Any, Any, Any]:
    """Made on the device, for they are gigabytes, by the generator that compiles in no time: one voxel drawn from each row of x, which is density 1/resolution."""
    size = (batch, channels, resolution**2)

    @jax.jit
    def keys() -> jax.Array:
        rows = jnp.arange(resolution**2, dtype=jnp.int32) * resolution
        drawn = jax.random.bits(jax.random.key(1, impl="rbg"), size, jnp.uint16) % jnp.uint16(
            resolution
        )
        return rows[None, None] + drawn.astype(jnp.int32)

    values = jax.random.normal(jax.random.key(2, impl="rbg"), size)
    nnz = jnp.full(size[:2], resolution**2, jnp.int32)
    x = direct.SparseTensor(keys(), values, nnz, (resolution,) * 3)
    kernel = jax.random.normal(jax.random.key(3, impl="rbg"), (3, 3, 3, channels, channels))
    return x, kernel, jax.random.normal(jax.random.key(4, impl="rbg"), size)


def _bytes(x: Any) -> int:
    return math.prod(x.shape) * x.dtype.itemsize
