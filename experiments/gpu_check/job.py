"""One job of the benchmark, in a process of its own: ``python -m experiments.gpu_check.job NAME JSON``. It emits rows."""

import functools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.gpu_check.child import emit
from experiments.gpu_check.results import Results, Row


def machine(copied: int) -> Iterator[Row]:
    """The machine, and how fast it copies."""
    from experiments.gpu_check import environment, kernels
    from experiments.provenance import provenance

    yield {
        "row": "machine",
        "section": "machine",
        **provenance(),
        "driver": environment.driver(),
    }
    yield kernels.copy_bandwidth(copied)


def conv(
    part: str, known_in: str = "", quick: bool = False, recorded: bool = False
) -> Iterator[Row]:
    """A part of the grid: ``"headline"`` or ``"grid"``; rows in the result file ``known_in`` are not measured again.

    ``recorded``: XLA_FLAGS say that loops are command buffers; these rows are a section of their own.
    """
    import dataclasses

    from experiments.gpu_check import clock, convolution

    known = {row["row"] for row in Results(Path(known_in)).rows} if known_in else set()
    failures: list[str] = []
    works = convolution.rehearsal() if quick else getattr(convolution, part)()
    for work in works:
        how = "recorded " if recorded else ""
        wanted = tuple(c for c in work.cases if how + convolution.name(work, c) not in known)
        if not wanted:
            continue
        try:
            rows = convolution.measure(dataclasses.replace(work, cases=wanted))
        except Exception as error:  # the others still have their turn
            failures.append(f"{work.group} batch {work.batch}: {type(error).__name__}: {error}")
            rows = []
        for row in rows:
            yield row | {"row": how + row["row"], "section": how + row["section"]}
        clock.forget()
    if failures:
        raise RuntimeError("\n".join(failures))


def kernels(
    resolution: int, batch: int, channels: int, points: str, bandwidth: float
) -> Iterator[Row]:
    """Every kernel alone."""
    from experiments.gpu_check import kernels

    yield from kernels.measure(resolution, batch, channels, points, bandwidth)


def launches(resolution: int, batch: int, channels: int) -> Iterator[Row]:
    """How many kernels each FFI call starts, and their times."""
    from experiments.gpu_check import kernels
    from experiments.gpu_check.kernel_calls import every_kernel

    for call in every_kernel(resolution, batch, channels):
        for size in (batch, 1) if call.name.startswith("conv") and batch > 1 else (batch,):
            with tempfile.TemporaryDirectory() as folder:
                label = f"r={resolution} batch {size} {channels} channels"
                yield kernels.launches(kernels.at_batch(call, size), Path(folder), label) | {
                    "resolution": resolution,
                    "batch": size,
                }


def memory(resolution: int, batch: int, channels: int) -> Iterator[Row]:
    """Table 1."""
    from experiments.gpu_check import layer_memory

    yield layer_memory.measure(resolution, batch, channels)


def step(
    resolution: int, batch: int, sparse: bool, quick: bool = False, compile_only: bool = False
) -> Iterator[Row]:
    """A training step; ``compile_only`` fills the compilation cache, where its limits are not the row's."""
    from experiments.gpu_check import training_step

    if compile_only:
        training_step.compile_only(resolution, batch, sparse=sparse, quick=quick)
    else:
        yield training_step.measure(resolution, batch, sparse=sparse, quick=quick)


JOBS: dict[str, Callable[..., Iterator[Row]]] = {
    function.__name__: function for function in (machine, conv, kernels, launches, memory, step)
}


def rows(name: str, **arguments: Any) -> Iterator[Row]:
    """The rows of a job, in this process."""
    return JOBS[name](**arguments)


def main(arguments: Sequence[str]) -> None:
    """Emits them."""
    name, values = arguments
    for row in functools.partial(rows, name)(**json.loads(values)):
        emit(row)


if __name__ == "__main__":
    main(sys.argv[1:])
