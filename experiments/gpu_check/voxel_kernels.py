"""The kernels of jaxsparse.voxel alone: operands as the layers of a network on a shell of voxels would give them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from experiments.benchmark.timing import alternate
from experiments.gpu_check import clock, kernels
from experiments.gpu_check.kernel_calls import KernelCall
from experiments.gpu_check.results import Row
from experiments.gpu_check.voxel_works import kernel_row
from jaxsparse.voxel import _conv_kernels, _kernels, _pool_kernels, _relation
from jaxsparse.voxel._conv_kernels import Conv
from jaxsparse.voxel._kernels import Map, Sites, SortRows


def shell(resolution: int, batch: int = 1) -> np.ndarray:
    """Sites int32 ``[n, 4]`` of a sphere's surface in ``resolution^3`` voxels, the same for all batch elements."""
    middle = (resolution - 1) / 2
    at = np.indices((resolution,) * 3).reshape(3, -1).T
    distance = np.sqrt(((at - middle) ** 2).sum(axis=1))
    sites = at[(distance <= middle) & (distance >= middle - 1.25)]
    numbers = np.repeat(np.arange(batch), len(sites))[:, None]
    return np.concatenate([numbers, np.tile(sites, (batch, 1))], axis=1).astype(np.int32)


def every_voxel_kernel(resolution: int, batch: int, channels: int) -> list[KernelCall]:
    """All kernels on float32 features: a 3^3 submanifold convolution, windows of 3^3 at stride 2, points in any order."""
    rng = np.random.default_rng(7)
    shape = (resolution,) * 3
    sites = shell(resolution, batch)
    n = len(sites)
    same = _relation.convolution("conv", shape, 3, 1, "SAME", 1)
    half = _relation.convolution("conv", shape, 3, 2, "SAME", 1)
    there = kernel_map(sites, sites, shape, batch)
    points = rng.integers(0, n, 2 * n)
    order = np.argsort(points, kind="stable").astype(np.int32)
    starts = np.searchsorted(points[order], np.arange(n + 1)).astype(np.int32)
    row_of = points.astype(np.int32)

    def values(*size: int) -> np.ndarray:
        return rng.normal(size=size).astype(np.float32)

    x, many = values(n, channels), values(2 * n, channels)
    winner = order[np.minimum(starts[:-1], 2 * n - 1)][:, None].repeat(channels, axis=1)
    source = np.arange(n, dtype=np.int32)[:, None].repeat(channels, axis=1)
    segment = np.ascontiguousarray(sites[:, 0])
    weights = values(27, channels, channels)
    k, p, c = _kernels, _pool_kernels, _conv_kernels
    return [
        KernelCall(k.sort_rows, SortRows(batch, shape, n), (sites[points], np.asarray(2 * n, np.int32))),
        KernelCall(k.sites, Sites(half, batch, n), (sites,)),
        KernelCall(k.kernel_map, Map(same, batch), (sites, sites)),
        KernelCall(k.merge_rows, True, (many, order, starts)),
        KernelCall(k.spread_rows, True, (x, order, starts, row_of)),
        KernelCall(k.max_rows, None, (many, order, starts)),
        KernelCall(k.pick_rows, None, (many, winner)),
        KernelCall(k.place_rows, None, (x, row_of, winner)),
        KernelCall(c.map_conv, Conv(1), (x, weights, there)),
        KernelCall(c.map_conv, Conv(1, True), (x, weights, there)),
        KernelCall(c.map_conv_kernel_grad, 1, (x, x, there)),
        KernelCall(p.pool_max, None, (x, there, None)),
        KernelCall(p.pool_put, None, (x, source, there[::-1].copy())),
        KernelCall(p.pool_sum, None, (x, there)),
        KernelCall(p.segment_sum, batch, (x, segment)),
        KernelCall(p.segment_max, batch, (x, segment)),
    ]  # fmt: skip


def kernel_map(
    inputs: np.ndarray, outputs: np.ndarray, shape: tuple[int, ...], batch: int
) -> np.ndarray:
    """The map of a 3^3 submanifold convolution, int32 ``[27, n]``, by NumPy."""
    taps = np.asarray(list(np.ndindex(3, 3, 3))) - 1
    keys = np.asarray(np.ravel_multi_index(tuple(inputs.T), (batch, *shape)))
    rows = []
    for tap in taps:
        at = outputs[:, 1:] + tap
        inside = np.all((at >= 0) & (at < shape), axis=1)
        key = np.ravel_multi_index(
            (outputs[:, 0], *np.clip(at, 0, np.subtract(shape, 1)).T), (batch, *shape)
        )
        row = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        rows.append(np.where(inside & (keys[row] == key), row, len(keys)))
    return np.stack(rows).astype(np.int32)


def measure(size: tuple[int, ...], bandwidth: float) -> Iterator[Row]:
    """One row a kernel: its time, and that of the bytes that must move."""
    for call in every_voxel_kernel(*size):
        arguments = clock.Arguments(*(clock.own_array(x) for x in call.operands if x is not None))
        loop = clock.Loop(_of_present(call), arguments, clock.rounds(call.bytes_moved()))
        timing = loop.per_call(alternate({"kernel": loop}, kernels.EFFORT)["kernel"])
        floor = call.bytes_moved() / bandwidth
        label = (
            f"{call.name} transposed" if getattr(call.static, "transposed", False) else call.name
        )
        yield {
            "row": kernel_row(label, size),
            "section": "voxel kernels",
            "kernel": label,
            "size": list(size),
            "timing": timing,
            "bytes_moved": call.bytes_moved(),
            "floor_s": floor,
            "times_the_floor": timing["median"] / floor,
        }
        clock.forget()


def _of_present(call: KernelCall) -> Callable[..., tuple[Any, ...]]:
    present = [x is not None for x in call.operands]

    def run(*operands: Any) -> tuple[Any, ...]:
        rest = iter(operands)
        return call.run(*(next(rest) if here else None for here in present))

    return run
