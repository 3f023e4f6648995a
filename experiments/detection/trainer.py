"""Training a detector: dense until the masks have settled, then on the blocks that they choose."""

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.detection.config import DetectorConfig
from experiments.detection.frames import Frames
from experiments.detection.network import build_detector, output_shape
from experiments.detection.step import Steps, make_steps
from experiments.errors import UserError
from experiments.optimizers import transformation
from experiments.provenance import PACKAGES, provenance
from experiments.train.checkpoint import Checkpoints
from experiments.train.clock import StepClock
from experiments.train.interrupt import StopRequest, stop_on_signals
from experiments.train.metrics import MetricsLog, to_json
from experiments.train.run_folder import (
    checkpoint_folder,
    has_begun,
    sole_writer,
    write_config,
    write_whole,
)
from experiments.train.trainer import Interrupted

QUIET_SECONDS = 20.0
"""Without a terminal: how long nothing is printed at most."""


def train(
    config: DetectorConfig, run_dir: Path, *, resume: bool = False, console: Console | None = None
) -> dict[str, Any]:
    """Trains a detector and its mask network.

    Writes ``metrics.jsonl``, ``checkpoints/`` and, at the end, ``result.json`` to the run's folder.

    Args:
      config: the experiment.
      run_dir: the run's folder.
      resume: go on from the newest checkpoint in it.
      console: where to show progress.

    Returns:
      The result, JSON-like.

    Raises:
      Interrupted: the run was asked to stop, and did.
      UserError: the folder holds another run, the data cannot be read.
    """
    console = console or Console()
    if resume and not has_begun(run_dir):
        raise UserError(f"{run_dir} holds no run that could be continued")
    if not resume and has_begun(run_dir):
        raise UserError(
            f"{run_dir} holds a run already: choose another folder, or continue it (--resume)"
        )
    with sole_writer(run_dir), stop_on_signals() as stop:
        folder = checkpoint_folder(run_dir)
        with (
            closing(Checkpoints(folder, config.train.keep_checkpoints)) as checkpoints,
            closing(_Run(config, run_dir, checkpoints, console, stop)) as run,
        ):
            run.begin()
            with run.progress:
                while run.step < config.train.steps and not stop:
                    run.advance()
            run.save()
            if stop:
                raise Interrupted(run.step, run_dir)
            return run.finish()


def load_steps(config: DetectorConfig) -> tuple[Steps, Frames]:
    """The compiled steps of a configuration with an initial state, and its frames."""
    model = build_detector(config)
    frames = Frames(config, output_shape(config, model))
    transform = transformation(config.optimizer, config.train.steps, len(config.data.train))
    return make_steps(model, transform, config), frames


class _Run:
    """A run between two steps."""

    def __init__(
        self,
        config: DetectorConfig,
        run_dir: Path,
        checkpoints: Checkpoints,
        console: Console,
        stop: StopRequest,
    ):
        self.config, self.run_dir, self.checkpoints = config, run_dir, checkpoints
        self.console, self.stop = console, stop
        self.step = 0
        self.steps, self.frames = load_steps(config)
        self.state = self.steps.state
        self.batches = self.frames.batches()
        self.log = MetricsLog(run_dir / "metrics.jsonl")
        self.clock = StepClock()
        self.pending: list[dict[str, Any]] = []
        self.progress = Progress(
            TextColumn("{task.fields[phase]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}  mask {task.fields[mask]:.3f}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        nan = float("nan")
        self.task = self.progress.add_task(
            "", total=config.train.steps, phase="dense", loss=nan, mask=nan
        )
        self.last_line = time.monotonic()

    @property
    def plain_config(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json")

    def begin(self) -> None:
        """Goes back to the newest checkpoint, or to the beginning where there is none yet."""
        found = self.checkpoints.restore(self.state, self.plain_config)
        write_config(self.run_dir, self.plain_config)
        if found is not None:
            self.step, self.state, position = found
            self.batches.set_state(position)
        self.log.truncate(self.step)
        self.progress.update(self.task, completed=self.step)
        tested = {line["step"] for line in self.log.lines() if line["kind"] == "test"}
        if self.step and self._test_is_due() and self.step not in tested:
            self._test()  # stopped between the checkpoint and the test

    def advance(self) -> None:
        """One step, and what is due after it."""
        how = self.config.train
        sparse = self.step >= how.dense_steps
        with self.clock.waiting():
            batch = next(self.batches)
        self.state, metrics = self.steps.train[sparse](self.state, batch)
        self.pending.append(metrics)
        self.step += 1
        last = self.step == how.steps
        first = len(self.pending) == 1 and self.step in (1, how.dense_steps + 1)  # compiles
        if first or last or self.step % how.log_every == 0 or self.step == how.dense_steps:
            self._report(sparse)
        if self.step % how.checkpoint_every == 0:
            self.save()
        if self._test_is_due():
            self._test()

    def save(self) -> None:
        """Writes a checkpoint of this very step."""
        self.checkpoints.save(self.step, self.state, self.batches.get_state(), self.plain_config)
        self.clock.restart()

    def finish(self) -> dict[str, Any]:
        """Writes and returns the result."""
        lines = self.log.lines()
        result = to_json(
            {
                "kind": "detector",
                "name": self.config.name,
                "provenance": provenance((*PACKAGES, "shapely")),
                "config": without_root(self.plain_config),
                "steps": self.step,
                "history": [line for line in lines if line["kind"] == "test"],
                "step_ms": {
                    phase: _median(lines, sparse) for phase, sparse in (("dense", 0), ("sparse", 1))
                },
            }
        )
        write_whole(self.run_dir / "result.json", json.dumps(result, indent=2) + "\n")
        return result

    def close(self) -> None:
        self.log.close()

    def _report(self, sparse: bool) -> None:
        count = len(self.pending)
        values = jax.device_get(self.pending)  # waits for the device
        self.pending = []
        seconds, waited = self.clock.synchronised(count)
        mean = {key: float(np.mean([value[key] for value in values])) for key in values[0]}
        extra = {"step_ms": 1e3 * seconds, "input_wait": waited, "sparse": int(sparse)}
        self.log.write({"kind": "train", "step": self.step, **mean, **extra})
        phase = "sparse" if sparse else "dense"
        shown: dict[str, Any] = {"loss": mean["loss"], "mask": mean["mask_share"]}
        self.progress.update(self.task, completed=self.step, phase=phase, **shown)
        if not self.console.is_terminal and time.monotonic() - self.last_line >= QUIET_SECONDS:
            self.last_line = time.monotonic()
            self._line(f"step {self.step}/{self.config.train.steps}", sparse, mean)

    def _test_is_due(self) -> bool:
        how = self.config.train
        return self.step == how.steps or self.step % how.test_every == 0

    def _test(self) -> None:
        """Loss and masks over the frames that are tested on, as the steps behind this one would see them."""
        sparse = self.step >= self.config.train.dense_steps
        values = []
        for _, batch in self.frames.each(self.frames.test):
            if self.stop:
                return
            values.append(jax.device_get(self.steps.test[sparse](self.state, batch)))
        mean = {key: float(np.mean([value[key] for value in values])) for key in values[0]}
        self.log.write({"kind": "test", "step": self.step, "sparse": int(sparse), **mean})
        self._line(f"step {self.step}, test", sparse, mean)
        self.clock.restart()

    def _line(self, what: str, sparse: bool, mean: dict[str, float]) -> None:
        self.console.print(
            f"{what}, {'sparse' if sparse else 'dense'}  loss {mean['loss']:.4f}  mask: share "
            f"{mean['mask_share']:.3f}, recall {mean['recall']:.3f}, blocks left out {mean['overflow']:.1f}",
            highlight=False,
        )


def without_root(config: dict[str, Any]) -> dict[str, Any]:
    """Where the data lay is nobody's business."""
    return {**config, "data": {**config["data"], "root": None}}


def _median(lines: list[dict[str, Any]], sparse: int) -> float | None:
    times = [
        line["step_ms"] for line in lines if line["kind"] == "train" and line["sparse"] == sparse
    ]
    return float(np.median(times[1:])) if len(times) > 1 else None
