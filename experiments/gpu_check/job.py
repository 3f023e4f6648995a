"""One job of the benchmark, in a process of its own: ``python -m experiments.gpu_check.job NAME JSON``. It emits rows."""

import functools
import json
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.gpu_check import works
from experiments.gpu_check.child import emit
from experiments.gpu_check.results import Results, Row, named

NO_MEMORY = 75
"""The exit status of a job that the GPU's memory does not suffice for."""


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
    part: str,
    known_in: dict[str, str] | None = None,
    until: float = math.inf,
    recorded: bool = False,
) -> Iterator[Row]:
    """A part of the cases, see works.py.

    Args:
      part: its name.
      known_in: ``path`` of a result file, and what rows in it must be of to be left out here (`Results.known`).
      until: seconds since the epoch; no group of cases is begun that would not be through by then, as the ones before tell.
      recorded: XLA_FLAGS say that loops are command buffers; these rows are a section of their own.
    """
    import dataclasses

    from experiments.gpu_check import clock, convolution

    known: set[str] = set()
    if known_in:
        how_known = {key: value for key, value in known_in.items() if key != "path"}
        known = Results(Path(known_in["path"])).known(**how_known)
    how = "recorded " if recorded else ""
    failures: list[str] = []
    longest = 0.0
    for work in works.PARTS[part]():
        wanted = tuple(case for case in work.cases if how + work.row(case) not in known)
        if not wanted:
            continue
        begin = time.time()
        if begin + longest > until:
            print(f"no time is left for {work.group} batch {work.batch}")
            continue
        try:
            rows = convolution.measure(dataclasses.replace(work, cases=wanted))
        except Exception as error:  # the others still have their turn
            failures.append(f"{work.group} batch {work.batch}: {type(error).__name__}: {error}")
            rows = []
        for row in rows:
            yield row | {"row": how + row["row"], "section": how + row["section"]}
        clock.forget()
        # Small groups follow large ones: what one took long ago says little.
        longest = max(0.6 * longest, time.time() - begin)
    if failures:
        raise RuntimeError("\n".join(failures))


def kernels(
    resolution: int, batch: int, channels: int, points: str, bandwidth: float, dense_batch: int
) -> Iterator[Row]:
    """Every kernel alone."""
    from experiments.gpu_check import kernels

    yield from kernels.measure(resolution, batch, channels, points, bandwidth, dense_batch)


def launches(resolution: int, batch: int, channels: int) -> Iterator[Row]:
    """How many kernels each FFI call starts, and their times."""
    from experiments.gpu_check import kernels
    from experiments.gpu_check.kernel_calls import every_kernel

    for call in every_kernel(resolution, batch, channels):
        for size in (batch, 1) if call.name.startswith("conv") and batch > 1 else (batch,):
            label = f"r={resolution} batch {size} {channels} channels"
            circumstances = {"resolution": resolution, "batch": size}
            yield kernels.launches(kernels.at_batch(call, size), label) | circumstances


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


def block(
    part: str, known_in: dict[str, str] | None = None, until: float = math.inf
) -> Iterator[Row]:
    """Layers of block-sparse convolution, see block_works.py.

    Args:
      part: its name.
      known_in: as in `conv`; the tiles that were chosen before are taken from there, too.
      until: seconds since the epoch; no layer is begun that would not be through by then, as the ones before tell.
    """
    import dataclasses
    import itertools

    from experiments.gpu_check import block_layers, block_works, clock

    known: list[Row] = []
    if known_in:
        results = Results(Path(known_in["path"]))
        names = results.known(**{key: x for key, x in known_in.items() if key != "path"})
        found = named(results.of("block"), platform=known_in["platform"])
        known = [row for row in found if row["row"] in names]
    failures: list[str] = []
    longest = 0.0
    for layer, precision in itertools.product(block_works.PARTS[part](), block_works.PRECISIONS):
        rows = {row["row"] for row in known}
        missing = tuple(s for s in layer.sparsities if layer.row(s, precision) not in rows)
        if not missing:
            continue
        begin = time.time()
        if begin + longest > until:
            print(f"no time is left for {layer} {precision}")
            continue
        same = named(
            known,
            kind=layer.kind,
            shape=list(layer.shape),
            channels=layer.channels,
            precision=precision,
        )
        tile = same[0]["tile"] if same else None
        wanted = dataclasses.replace(layer, sparsities=missing)
        try:
            for row in block_layers.measure(wanted, precision, tile):
                known.append(row)
                yield row
        except Exception as error:  # the others still have their turn
            failures.append(f"{layer} {precision}: {type(error).__name__}: {error}")
        clock.forget()
        longest = max(0.6 * longest, time.time() - begin)
    if failures:
        raise RuntimeError("\n".join(failures))


def block_kernels(size: Sequence[int], bandwidth: float) -> Iterator[Row]:
    """Every kernel of jaxsparse.block alone."""
    from experiments.gpu_check import block_kernels

    yield from block_kernels.measure(tuple(size), bandwidth)


def block_launches(size: Sequence[int]) -> Iterator[Row]:
    """What each of them starts."""
    from experiments.gpu_check import block_kernels

    yield from block_kernels.launches(tuple(size))


def voxel_encoder(number: int, quick: bool = False) -> Iterator[Row]:
    """A sparse ResNet encoder, by its number in voxel_works.py."""
    from experiments.gpu_check import voxel_encoders, voxel_works

    all_of_them = voxel_works.REHEARSAL if quick else voxel_works.ENCODERS
    yield voxel_encoders.measure(all_of_them[number], quick=quick)


def voxel_kernels(size: Sequence[int], bandwidth: float) -> Iterator[Row]:
    """Every kernel of jaxsparse.voxel alone."""
    from experiments.gpu_check import voxel_kernels

    yield from voxel_kernels.measure(tuple(size), bandwidth)


def voxel_peers() -> Iterator[Row]:
    """Which peers are installed."""
    from experiments.gpu_check import voxel_encoders

    yield voxel_encoders.peers()


JOBS: dict[str, Callable[..., Iterator[Row]]] = {
    function.__name__: function
    for function in (
        machine, conv, kernels, launches, memory, step, block, block_kernels, block_launches,
        voxel_encoder, voxel_kernels, voxel_peers,
    )
}  # fmt: skip


def rows(name: str, **arguments: Any) -> Iterator[Row]:
    """The rows of a job, in this process."""
    return JOBS[name](**arguments)


def main(arguments: Sequence[str]) -> None:
    """Emits them."""
    name, values = arguments
    try:
        for row in functools.partial(rows, name)(**json.loads(values)):
            emit(row)
    except Exception as error:
        if not out_of_memory(error):
            raise
        traceback.print_exc()
        sys.exit(NO_MEMORY)


def out_of_memory(error: Exception) -> bool:
    """Whether it is XLA's for the device's memory."""
    return "RESOURCE_EXHAUSTED" in str(error)


if __name__ == "__main__":
    main(sys.argv[1:])
