"""Every kernel alone: its time, and what share of it moving the bytes that must move would take."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from experiments.benchmark.timing import Effort, alternate
from experiments.gpu_check import clock, profile
from experiments.gpu_check.kernel_calls import KernelCall, every_kernel
from experiments.gpu_check.results import Row

EFFORT = Effort(seconds=0.2, repeats=(3, 7), sample=0.02)
L2 = 60e6
"""Bytes of an H200's second-level cache. A kernel that is called again and again finds there what fits."""


def copy_bandwidth(bytes_copied: int = 2**31) -> Row:
    """Bytes read and written a second by a kernel that does nothing else: adding 1 to an array."""
    size = max(1, bytes_copied // 4)
    loop = clock.Loop(_add_one, clock.Arguments(jnp.ones(size, jnp.float32)), 16)
    timing = loop.per_call(alternate({"copy": loop}, EFFORT)["copy"])
    return {
        "row": "copy bandwidth",
        "section": "machine",
        "bytes_per_s": 2 * 4 * size / timing["median"],
        "best_bytes_per_s": 2 * 4 * size / timing["best"],
        "bytes": 4 * size,
        "timing": timing,
    }


def _add_one(x: jax.Array) -> jax.Array:
    return x + 1


def measure(
    resolution: int, batch: int, channels: int, points: str, bandwidth: float, dense_batch: int
) -> Iterator[Row]:
    """One row a kernel."""
    calls = every_kernel(resolution, batch, channels, points, dense_batch=dense_batch)
    for call in calls:
        bytes_moved = call.bytes_moved()
        loop = loop_of(call, clock.rounds(bytes_moved))
        timing = loop.per_call(alternate({"kernel": loop}, EFFORT)["kernel"])
        floor = bytes_moved / bandwidth
        yield {
            "row": row_name(call.name, resolution, call.batch, channels, points),
            "section": "kernels",
            "kernel": call.name,
            "resolution": resolution,
            "batch": call.batch,
            "channels": channels,
            "points": points,
            "timing": timing,
            "bytes_moved": bytes_moved,
            "cached": in_cache(bytes_moved),
            "floor_s": floor,
            "times_the_floor": timing["median"] / floor,
            "best_times_the_floor": timing["best"] / floor,
        }
        clock.forget()


def row_name(kernel: str, resolution: int, batch: int, channels: int, points: str) -> str:
    """The name of a row."""
    return f"kernel {kernel} r={resolution} batch {batch} {channels} channels {points}"


def in_cache(bytes_moved: int) -> bool:
    """Whether a good part of what a call moves may still be in the cache from the call before: then the floor is none."""
    return bytes_moved < 2 * L2


def loop_of(call: KernelCall, count: int) -> clock.Loop:
    """A loop over one kernel; operands that are None are left out."""
    function = _without_none(call)
    present = [clock.own_array(x) for x in call.operands if x is not None]
    return clock.Loop(function, clock.Arguments(*present), count)


def _without_none(call: KernelCall) -> Callable[..., Any]:
    def run(*present: Any) -> Any:
        arrays = iter(present)
        return call.run(*(None if x is None else next(arrays) for x in call.operands))

    return run


def launches(call: KernelCall, label: str) -> Row:
    """How many kernels one call starts, by a profile; without command buffers (the caller's XLA_FLAGS).

    What a call of the driver clears or copies counts, too. Where the profile shows nothing, the number is unknown.
    """
    repeats = 10
    function = jax.jit(_without_none(call))
    present = [jax.device_put(x) for x in call.operands if x is not None]
    data = profile.profiled(lambda: jax.block_until_ready(function(*present)), repeats)
    found = profile.device_events(data)
    row: dict[str, Any] = {"calls": None, "why": "the profile shows nothing on a GPU", "parts": {}}
    if found is not None:
        parts = {
            name: {"calls": number / repeats, "seconds": seconds / repeats}
            for name, (number, seconds) in sorted(found.items())
        }
        calls = sum(number for number, _ in found.values()) / repeats
        row = {"calls": calls, "why": "", "parts": parts}
    return {
        "row": f"launches {call.name} {label}",
        "section": "launches",
        "kernel": call.name,
        **row,
    }


def at_batch(call: KernelCall, batch: int) -> KernelCall:
    """The same call with the first elements of the batch."""
    flags = call.kernel.operands.values()
    operands = tuple(
        x[:batch] if x is not None and batched else x
        for x, batched in zip(call.operands, flags, strict=True)
    )
    return dataclasses.replace(call, operands=operands)
