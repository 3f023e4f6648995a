"""Reads JAX's profiles: which kernels ran on the device, and how long."""

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class DeviceTime:
    """Seconds that a GPU worked.

    Attributes:
      busy: in which at least one kernel, copy or clearing ran.
      span: from the begin of the first to the end of the last.
      events: how many there were.
    """

    busy: float
    span: float
    events: int


def device_events(data: Any) -> dict[str, tuple[int, float]] | None:
    """Of a profile (``jax.profiler.ProfileData``): name -> (calls, seconds) of what ran on GPUs; None: it does not tell."""
    calls: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for event in _device(data):
        calls[event.name] += 1
        seconds[event.name] += event.duration_ns / 1e9
    return {name: (number, seconds[name]) for name, number in calls.items()} or None


def device_time(data: Any) -> DeviceTime | None:
    """Of a profile: how long GPUs worked, streams beside each other counted once; None: it does not tell."""
    events = sorted((event.start_ns, event.end_ns) for event in _device(data))
    if not events:
        return None
    busy, until = 0.0, events[0][0]
    for start, end in events:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return DeviceTime(busy / 1e9, (until - events[0][0]) / 1e9, len(events))


def host_events(data: Any, pattern: str) -> int:
    """How many events of the host (calls of the driver among them) have ``pattern`` in their name."""
    return sum(
        pattern in event.name
        for plane in data.planes
        if not _is_gpu(plane.name)
        for line in plane.lines
        for event in line.events
    )


def read(folder: Path) -> Any | None:
    """The newest profile in a folder; None: there is none."""
    from jax.profiler import ProfileData

    files = sorted(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    return ProfileData.from_file(str(files[-1])) if files else None


def profiled(call: Callable[[], object], repeats: int = 1) -> Any | None:
    """The profile of ``repeats`` calls, each of which waits for its end; one before does not count."""
    call()
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # it slows the host down, and nothing of it is asked
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            for _ in range(repeats):
                call()
        return read(Path(folder))


def _device(data: Any) -> Iterator[Any]:
    """What ran on GPUs."""
    for plane in data.planes if data is not None else ():
        for line in plane.lines if _is_gpu(plane.name) else ():
            # Other lines show the same time once more, by HLO operation.
            if line.name.startswith("Stream"):
                yield from line.events


def _is_gpu(plane: str) -> bool:
    return plane.startswith("/device:GPU")
