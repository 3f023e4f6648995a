"""What the stages that measure have in common: jobs, one after the other, until the time is up.

Every job is a process, so that each has the GPU's memory to itself, and one that fails or takes too long takes nothing with it.
Rows are saved as they come. What the result file has of this code on this platform is not measured again, so that the same
command, called again, goes on where the time ended.
"""

import dataclasses
import json
from typing import Any

from experiments.gpu_check import environment
from experiments.gpu_check.child import Command
from experiments.gpu_check.job import NO_MEMORY
from experiments.gpu_check.results import ROOT, named
from experiments.gpu_check.running import Stage, Verdict

CACHE = ROOT / "build/gpu-check-cache"
LEAST = 10.0
"""Seconds without which no job is begun."""
MARGIN = 5.0
"""Seconds before the end of its time at which a job that can stop by itself is to be through."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What a process measures.

    Attributes:
      name: of the function in job.py.
      arguments: its arguments, JSON-like. A ``bandwidth`` of None becomes the copy bandwidth that was measured.
      seconds: bound on its time.
      label: its name on the command line: what to give to ``--only``.
      rows: the names of its rows; a job whose rows are known is not begun. Of many, the last may stand for all.
      flags: XLA_FLAGS.
      prepares: whether it leaves the rows to the job that follows.
      cached: whether what it compiles goes to the compilation cache.
      stops: whether it takes ``until``, the time at which it has to end, and measures what it can until then.
    """

    name: str
    arguments: dict[str, Any]
    seconds: float
    label: str
    rows: tuple[str, ...] = ()
    flags: str = ""
    prepares: bool = False
    cached: bool = True
    stops: bool = False


class Bench:
    """Runs jobs, and notes what came of them."""

    def __init__(self, stage: Stage):
        self.stage = stage
        self.failed: dict[str, str] = {}
        self.left: dict[str, str] = {}
        # Jobs read it.
        stage.results.save()

    def do(self, job: Job) -> str:
        """Runs a job, if something of it is missing.

        ``"done"``; or ``"left"``, ``"failed"``, ``"no memory"``; ``"not asked"``: it is not among those to run.
        """
        stage = self.stage
        if not self.asked(job):
            return "not asked"
        if not self._missing(job):
            return "done"
        if stage.deadline.left() < LEAST:
            self._leave(job)
            return "left"
        if "bandwidth" in job.arguments:
            machine = named(
                stage.results.rows, row="copy bandwidth", platform=stage.options.platform
            )
            if not machine:
                self.left[job.label] = "no copy bandwidth is known, so no floor"
                return "left"
            arguments = job.arguments | {"bandwidth": machine[0]["bytes_per_s"]}
            job = dataclasses.replace(job, arguments=arguments)
        outcome = stage.run(command(job, stage), job.seconds)
        if outcome.status == NO_MEMORY:
            stage.say(f"{job.label}: the GPU's memory does not suffice")
            return "no memory"
        if outcome.timed_out:
            self._leave(job, f", cut after {outcome.seconds:.0f} s")
            return "left"
        if not outcome.ok:
            self.failed[job.label] = f"{outcome.describe()}: {outcome.output[-1500:]}"
            stage.say(f"FAILED {job.label}: {self.failed[job.label][-600:]}")
            return "failed"
        if self._missing(job) and not job.prepares:
            self._leave(job)
            return "left"
        return "done"

    def asked(self, job: Job) -> bool:
        """Whether it is among the jobs to run."""
        only = self.stage.options.only
        return not only or any(job.label.startswith(start) for start in only)

    def verdict(self) -> Verdict:
        """Failed, incomplete or passed; says what is missing."""
        stage = self.stage
        left = ", ".join(f"{label} ({what})" for label, what in self.left.items())
        here = len(stage.known())
        why = f"{here} rows; not measured for lack of time: {left or 'nothing'}"
        if left:
            why += "; the same command goes on"
        details: dict[str, Any] = {"failed": self.failed, "not_measured": self.left}
        if self.failed:
            return stage.failed(f"{', '.join(self.failed)} failed; {why}", **details)
        return (stage.incomplete if left else stage.passed)(why, **details)

    def _missing(self, job: Job) -> list[str]:
        known = self.stage.known()
        return [row for row in job.rows if row not in known]

    def _leave(self, job: Job, how: str = "") -> None:
        self.left[job.label] = f"{len(self._missing(job))} of {len(job.rows)} rows{how}"


def command(job: Job, stage: Stage) -> Command:
    """The process of a job."""
    arguments = dict(job.arguments)
    if job.stops:
        arguments["known_in"] = {
            "path": str(stage.results.path),
            "platform": stage.options.platform,
            "source": stage.source,
            "since": stage.since,
        }
        arguments["until"] = stage.deadline.at - MARGIN
    variables = {
        "JAX_PLATFORMS": stage.options.platforms,
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.95",
    }
    if job.cached:
        # A run that goes on compiles nothing twice; and what a compilation tries out must not count as the memory of a
        # training step: a process before fills the cache.
        variables |= {
            "JAX_COMPILATION_CACHE_DIR": str(CACHE),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
    if job.flags:
        variables["XLA_FLAGS"] = job.flags
    python = [environment.interpreter(), "-m", "experiments.gpu_check.job"]
    return Command([*python, job.name, json.dumps(arguments)], variables)
