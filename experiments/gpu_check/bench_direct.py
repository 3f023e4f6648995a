"""Stage `bench-direct`: the jobs of the benchmark of jaxsparse.direct, in order of importance."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from experiments.gpu_check import works
from experiments.gpu_check.bench import Bench, Job
from experiments.gpu_check.options import Options
from experiments.gpu_check.results import Row, named
from experiments.gpu_check.running import Stage, Verdict

STEPS = (256, 16, 32, 64, 128)
SPARSE_BATCH = 32
DENSE_BATCHES = (4, 2, 1)
"""Of a dense step, until one fits."""
RECORDED = (
    "--xla_gpu_enable_command_buffer=+CUSTOM_CALL,+CONVOLUTION,+WHILE "
    "--xla_gpu_graph_min_graph_size=1 --xla_gpu_command_buffer_unroll_loops=true"
)
"""XLA_FLAGS for the loops of the headline as command buffers: XLA leaves loops out of them by default, and so they start every
kernel by itself. Not what is quoted, for no user sets it."""


def run(stage: Stage) -> Verdict:
    """Runs the jobs."""
    bench, options = Bench(stage), stage.options
    sizes = (16,) if options.quick else STEPS
    _do(bench, first_jobs(options))
    _do_steps(bench, sizes[:1])
    _largest_dense(bench, sizes[0])
    _do(bench, middle_jobs(options))
    _do_steps(bench, sizes[1:])
    _do(bench, last_jobs(options))
    return bench.verdict()


def _do(bench: Bench, jobs: Iterable[Job]) -> None:
    for job in jobs:
        bench.do(job)


def plan(options: Options) -> list[Job]:
    """All jobs that are known beforehand; the largest batch of a dense step shows only then."""
    sizes = (16,) if options.quick else STEPS
    steps = {size: list(_steps(size, options)) for size in sizes}
    return [
        *first_jobs(options),
        *steps[sizes[0]],
        *middle_jobs(options),
        *(job for size in sizes[1:] for job in steps[size]),
        *last_jobs(options),
    ]


def first_jobs(options: Options) -> list[Job]:
    """What the issue asks for by number, but for the training step, which takes minutes to compile."""
    if options.quick:
        return [
            Job("machine", {"copied": 2**18}, 60, "machine", ("copy bandwidth",)),
            _conv("rehearsal", 240),
            _memory(8, 2, 2),
            _kernels(8, 2, 1, 2, "uniform"),
            _launches(8, 2, 2),
        ]
    return [
        Job("machine", {"copied": 2**31}, 60, "machine", ("copy bandwidth",)),
        _conv("headline", 240),
        _memory(512),
        _kernels(256, 32, 4, 8, "uniform"),
        _launches(256, 8, 8),
    ]


def middle_jobs(options: Options) -> list[Job]:
    """The same kernels on other voxels."""
    return [] if options.quick else [_kernels(256, 32, 4, 8, "surface")]


def last_jobs(options: Options) -> list[Job]:
    """The rest."""
    recorded = _conv("rehearsal" if options.quick else "headline", 120)
    recorded = dataclasses.replace(
        recorded,
        arguments=recorded.arguments | {"recorded": True},
        label="recorded",
        rows=tuple(f"recorded {row}" for row in recorded.rows),
        flags="" if options.platform == "cpu" else RECORDED,
    )
    if options.quick:
        return [recorded]
    return [
        *(_memory(resolution) for resolution in (256, 128, 64, 32)),
        _kernels(512, 8, 1, 8, "uniform"),
        _conv("grid", 1e9),
        recorded,
    ]


def _conv(part: str, seconds: float) -> Job:
    return Job("conv", {"part": part}, seconds, part, works.rows(part), stops=True)


def _memory(resolution: int, batch: int = 32, channels: int = 8) -> Job:
    row = f"memory of a layer {resolution}^3 batch {batch} {channels} channels"
    arguments = {"resolution": resolution, "batch": batch, "channels": channels}
    return Job("memory", arguments, 60, f"memory-{resolution}", (row,))


def _kernels(r: int, batch: int, dense_batch: int, channels: int, points: str) -> Job:
    """Batches whose lists, and whose dense arrays, exceed the cache."""
    arguments = {
        "resolution": r, "batch": batch, "dense_batch": dense_batch, "channels": channels,
        "points": points, "bandwidth": None,
    }  # fmt: skip
    # The last of them.
    row = f"kernel from_dense r={r} batch {dense_batch} {channels} channels {points}"
    return Job("kernels", arguments, 100, f"kernels-{points}-{r}", (row,))


def _launches(r: int, batch: int, channels: int) -> Job:
    arguments = {"resolution": r, "batch": batch, "channels": channels}
    row = f"launches from_dense r={r} batch {batch} {channels} channels"
    # A profile shows the kernels of a command buffer as one.
    flags = "--xla_gpu_enable_command_buffer="
    return Job("launches", arguments, 90, f"launches-{r}", (row,), flags, cached=False)


def _steps(resolution: int, options: Options) -> Iterator[Job]:
    for sparse in (True, False):
        yield from step_jobs(resolution, _batches(resolution, sparse, options)[0], sparse, options)


def _batches(resolution: int, sparse: bool, options: Options) -> tuple[int, ...]:
    if options.quick:
        return (2,)
    return (SPARSE_BATCH,) if sparse or resolution < 128 else DENSE_BATCHES


def _do_steps(bench: Bench, sizes: Iterable[int]) -> None:
    for resolution in sizes:
        for sparse in (True, False):
            said = ""
            for batch in _batches(resolution, sparse, bench.stage.options):
                said = _do_step(bench, resolution, batch, sparse)
                if said not in ("no memory", "not asked"):
                    break
            if said == "no memory":
                label = f"step-{resolution}-{'sparse' if sparse else 'dense'}"
                bench.failed[label] = "no batch fits the GPU's memory"


def _do_step(bench: Bench, resolution: int, batch: int, sparse: bool) -> str:
    """Without its program compiled, the measuring has no time."""
    said = "done"
    for job in step_jobs(resolution, batch, sparse, bench.stage.options):
        said = bench.do(job)
        if said != "done":
            break
    return said


def step_jobs(resolution: int, batch: int, sparse: bool, options: Options) -> list[Job]:
    """First fills the compilation cache, then measures."""
    kind = "sparse" if sparse else "dense"
    arguments: dict[str, Any] = {"resolution": resolution, "batch": batch, "sparse": sparse}
    if options.quick:
        arguments["quick"] = True
    label = f"step-{resolution}-{kind}-{batch}"
    rows = (f"step {resolution}^3 {kind} batch {batch}",)
    return [
        Job("step", {**arguments, "compile_only": True}, 180, label, rows, prepares=True),
        Job("step", arguments, 60, label, rows),
    ]


def _largest_dense(bench: Bench, resolution: int) -> None:
    """The dense step at the largest batch that the memory holds, as far as the first batch tells."""
    rows = named(
        bench.stage.results.of("training step"),
        resolution=resolution,
        sparse=False,
        platform=bench.stage.options.platform,
    )
    batch, most = largest_batch(rows), max((row["batch"] for row in rows), default=0)
    for attempt in (batch, int(0.8 * batch)):
        if 0 < most < attempt and _do_step(bench, resolution, attempt, False) != "no memory":
            return


def largest_batch(rows: list[Row], most: int = SPARSE_BATCH) -> int:
    """How many samples fit, by the bytes a sample of the compiled program of the largest batch known; 0: unknown."""
    known = [row for row in rows if row["limit"] and row["compiled_bytes"]]
    if not known:
        return 0
    row = max(known, key=lambda row: row["batch"])
    return min(most, int(0.95 * row["limit"] / (row["compiled_bytes"] / row["batch"])))
