"""Stage `bench-direct`: the jobs of the benchmark in order of importance, until the time is up.

Every job is a process, so that each has the GPU's memory to itself, and one that fails or takes too long takes nothing with it.
Rows are saved as they come. Where the time does not suffice, another run with ``--missing`` goes on.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

from experiments.gpu_check import environment
from experiments.gpu_check.child import Command
from experiments.gpu_check.options import Options
from experiments.gpu_check.results import ROOT, Results, Row, named
from experiments.gpu_check.running import Stage, Verdict

CACHE = ROOT / "build/gpu-check-cache"
STEPS = (256, 16, 32, 64, 128)
SPARSE_BATCH = 32
FIRST_DENSE_BATCH = 4
RECORDED = (
    "--xla_gpu_enable_command_buffer=+CUSTOM_CALL,+CONVOLUTION,+WHILE "
    "--xla_gpu_graph_min_graph_size=1 --xla_gpu_command_buffer_unroll_loops=true"
)
"""XLA_FLAGS for the loops of the headline as command buffers: XLA leaves loops out of them by default, and so they start every
kernel by itself. Not what is quoted, for no user sets it."""
LEAST = 10.0
"""Seconds without which no job is begun."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What a process measures.

    Attributes:
      name: of the function in job.py.
      arguments: its arguments, JSON-like.
      seconds: bound on its time.
      row: the row by whose presence the job is known to be done; None: it decides itself.
      flags: XLA_FLAGS.
      label: its name on the command line: what to give to ``--only``.
    """

    name: str
    arguments: dict[str, Any]
    seconds: float
    label: str
    row: str | None = None
    flags: str = ""


def run(stage: Stage) -> Verdict:
    """Runs the jobs."""
    failed: dict[str, str] = {}
    left: list[str] = []
    options = stage.options

    def do(job: Job, may_fail: bool = False) -> bool:
        if options.only and not any(job.label.startswith(only) for only in options.only):
            return False
        if options.missing and job.row and named(stage.results.rows, row=job.row):
            return True
        if stage.deadline.left() < LEAST:
            left.append(job.label)
            return False
        outcome = stage.run(command(job, options, stage.results), job.seconds)
        if outcome.timed_out:
            left.append(f"{job.label} (cut after {outcome.seconds:.0f} s)")
        elif not outcome.ok and may_fail:
            stage.say(f"{job.label} does not fit: {outcome.describe()}")
        elif not outcome.ok:
            failed[job.label] = f"{outcome.describe()}: {outcome.output[-1500:]}"
            stage.say(f"FAILED {job.label}: {failed[job.label][-600:]}")
        return outcome.ok

    def do_steps(jobs: Iterable[Job]) -> None:
        compiled = True
        for job in jobs:
            if job.arguments.get("compile_only"):
                compiled = do(job)
            elif compiled:  # the measuring alone has no time to compile
                do(job)

    for job in first_jobs(options):
        do(job)
    sizes = (16,) if options.quick else STEPS
    do_steps(_steps(sizes[:1], options))
    _largest_dense(stage, do, sizes[0])
    for job in middle_jobs(options, _bandwidth(stage.results)):
        do(job)
    do_steps(_steps(sizes[1:], options))
    for job in last_jobs(options):
        do(job)
    details = {"failed": failed, "not_measured": left}
    why = f"{len(stage.results.rows)} rows; not measured for lack of time: {', '.join(left) or 'nothing'}"
    if failed:
        return stage.failed(f"{', '.join(failed)} failed; {why}", **details)
    return (stage.incomplete if left else stage.passed)(why, **details)


def command(job: Job, options: Options, results: Results) -> Command:
    """The process of a job."""
    arguments = dict(job.arguments)
    if job.name == "conv":
        known = {"known_in": str(results.path)} if options.missing else {}
        arguments |= {"quick": options.quick, **known}
    if job.name == "kernels" and arguments["bandwidth"] is None:
        arguments["bandwidth"] = _bandwidth(results)
    python = [environment.interpreter(), "-m", "experiments.gpu_check.job"]
    variables = {
        "JAX_PLATFORMS": options.platforms,
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.95",
    }
    if job.name in ("step", "memory", "conv", "kernels"):
        # A run that goes on compiles nothing twice; and what a compilation tries out must not count as the memory of a
        # training step: a process before fills the cache.
        variables |= {
            "JAX_COMPILATION_CACHE_DIR": str(CACHE),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
    if job.flags:
        variables["XLA_FLAGS"] = job.flags
    return Command([*python, job.name, json.dumps(arguments)], variables)


def plan(options: Options) -> list[Job]:
    """All jobs that are known beforehand; the largest batch of a dense step shows only then."""
    sizes = (16,) if options.quick else STEPS
    return [
        *first_jobs(options),
        *_steps(sizes[:1], options),
        *middle_jobs(options, None),
        *_steps(sizes[1:], options),
        *last_jobs(options),
    ]


def first_jobs(options: Options) -> list[Job]:
    """What the issue asks for by number."""
    if options.quick:
        return [
            Job("machine", {"copied": 2**18}, 60, "machine", "copy bandwidth"),
            Job("conv", {"part": "headline"}, 120, "headline"),
            _memory(8, 2, 2),
        ]
    return [
        Job("machine", {"copied": 2**31}, 60, "machine", "copy bandwidth"),
        Job("conv", {"part": "headline"}, 200, "headline"),
        _memory(512),
    ]


def middle_jobs(options: Options, bandwidth: float | None) -> list[Job]:
    """Each kernel alone."""
    if options.quick:
        return [_kernels(8, 1, 2, "uniform", bandwidth), _launches(8, 2, 2)]
    return [
        _kernels(256, 8, 8, "uniform", bandwidth),
        _launches(256, 8, 8),
        _kernels(256, 8, 8, "surface", bandwidth),
    ]


def last_jobs(options: Options) -> list[Job]:
    """The rest."""
    if options.quick:
        return []
    return [
        *(_memory(resolution) for resolution in (256, 128, 64, 32)),
        Job("conv", {"part": "headline", "recorded": True}, 120, "recorded", None, RECORDED),
        Job("conv", {"part": "grid"}, 1e9, "grid"),
    ]


def _memory(resolution: int, batch: int = 32, channels: int = 8) -> Job:
    row = f"memory of a layer {resolution}^3 batch {batch} {channels} channels"
    arguments = {"resolution": resolution, "batch": batch, "channels": channels}
    return Job("memory", arguments, 60, f"memory-{resolution}", row)


def _kernels(r: int, batch: int, channels: int, points: str, bandwidth: float | None) -> Job:
    arguments = {
        "resolution": r, "batch": batch, "channels": channels, "points": points,
        "bandwidth": bandwidth,
    }  # fmt: skip
    # The last of them.
    row = f"kernel from_dense r={r} batch {batch} {channels} channels {points}"
    return Job("kernels", arguments, 100, f"kernels-{points}-{r}", row)


def _launches(r: int, batch: int, channels: int) -> Job:
    arguments = {"resolution": r, "batch": batch, "channels": channels}
    row = f"launches from_dense r={r} batch {batch} {channels} channels"
    # A profile shows the kernels of a command buffer as one.
    flags = "--xla_gpu_enable_command_buffer="
    return Job("launches", arguments, 90, f"launches-{r}", row, flags)


def _steps(sizes: tuple[int, ...], options: Options) -> Iterator[Job]:
    for resolution in sizes:
        for sparse in (True, False):
            batch = SPARSE_BATCH if sparse or resolution < 128 else FIRST_DENSE_BATCH
            yield from step_jobs(resolution, 2 if options.quick else batch, sparse, options)


def step_jobs(resolution: int, batch: int, sparse: bool, options: Options) -> list[Job]:
    """First fills the compilation cache, then measures."""
    kind = "sparse" if sparse else "dense"
    arguments: dict[str, Any] = {"resolution": resolution, "batch": batch, "sparse": sparse}
    if options.quick:
        arguments["quick"] = True
    label = f"step-{resolution}-{kind}-{batch}"
    row = f"step {resolution}^3 {kind} batch {batch}"
    return [
        Job("step", {**arguments, "compile_only": True}, 180, label, row),
        Job("step", arguments, 60, label, row),
    ]


def _largest_dense(stage: Stage, do: Any, resolution: int) -> None:
    """The dense step at the largest batch that the memory holds, as far as the first batch tells."""
    rows = named(stage.results.of("training step"), resolution=resolution, sparse=False)
    batch = largest_batch(rows)
    for attempt in (batch, int(0.8 * batch)):
        if attempt > max((row["batch"] for row in rows), default=attempt):
            jobs = step_jobs(resolution, attempt, False, stage.options)
            if all(do(job, may_fail=True) for job in jobs):
                return


def largest_batch(rows: list[Row], most: int = SPARSE_BATCH) -> int:
    """How many samples fit, by the bytes a sample of the compiled program of the largest batch known; 0: unknown."""
    known = [row for row in rows if row["limit"] and row["compiled_bytes"]]
    if not known:
        return 0
    row = max(known, key=lambda row: row["batch"])
    return min(most, int(0.95 * row["limit"] / (row["compiled_bytes"] / row["batch"])))


def _bandwidth(results: Results) -> float | None:
    rows = named(results.rows, row="copy bandwidth")
    return rows[0]["bytes_per_s"] if rows else None
