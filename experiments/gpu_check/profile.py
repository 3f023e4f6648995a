"""Reads JAX's profiles: which kernels ran on the device, and how long."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax


def device_events(folder: Path) -> dict[str, Any] | None:
    """Of the newest profile in ``folder``: name -> (calls, seconds) of what ran on GPUs; None: no GPU is in it."""
    from jax.profiler import ProfileData

    files = sorted(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    if not files:
        return None
    planes = list(ProfileData.from_file(str(files[-1])).planes)
    if not any(_is_gpu(plane.name) for plane in planes):
        return None
    calls: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for plane in planes:
        for line in plane.lines if _is_gpu(plane.name) else ():
            # Other lines show the same time once more, by HLO operation.
            if not line.name.startswith("Stream"):
                continue
            for event in line.events:
                calls[event.name] += 1
                seconds[event.name] += event.duration_ns / 1e9
    return {name: (number, seconds[name]) for name, number in calls.items()}


def host_events(folder: Path, pattern: str) -> int:
    """How many events of the host (calls of the driver among them) have ``pattern`` in their name."""
    from jax.profiler import ProfileData

    files = sorted(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    if not files:
        return 0
    return sum(
        pattern in event.name
        for plane in ProfileData.from_file(str(files[-1])).planes
        if not _is_gpu(plane.name)
        for line in plane.lines
        for event in line.events
    )


def profiled(call: Callable[[], object], folder: Path, repeats: int) -> dict[str, Any] | None:
    """What ``repeats`` calls ran on the GPU, see `device_events`."""
    call()
    with jax.profiler.trace(str(folder)):
        for _ in range(repeats):
            call()
    return device_events(folder)


def _is_gpu(plane: str) -> bool:
    return plane.startswith("/device:GPU")
