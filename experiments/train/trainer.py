"""The training loop."""

import dataclasses
import json
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.config import ExperimentConfig
from experiments.data import Dataset, check_batch_size, load_dataset
from experiments.errors import UserError
from experiments.models import build_model
from experiments.optimizers import build_optimizer
from experiments.provenance import provenance
from experiments.train.aggregate import Aggregate, merge
from experiments.train.checkpoint import Checkpoints
from experiments.train.clock import StepClock
from experiments.train.devices import Devices, find_devices
from experiments.train.evaluate import confusion_of, describe, run_test
from experiments.train.feed import build_feed
from experiments.train.interrupt import StopRequest, stop_on_signals
from experiments.train.layers import density_bounds
from experiments.train.metrics import to_json
from experiments.train.objectives import build_objective
from experiments.train.record import Record
from experiments.train.run_folder import (
    checkpoint_folder,
    has_begun,
    sole_writer,
    write_config,
    write_whole,
)
from experiments.train.start import begin_with
from experiments.train.step import make_steps
from experiments.train.summary import layer_rows, print_summary


@dataclasses.dataclass
class Interrupted(Exception):
    """The run was asked to stop, and did: its checkpoint is whole.

    Attributes:
      step: updates done.
      run_dir: where it can be continued.
    """

    step: int
    run_dir: Path


def train(
    config: ExperimentConfig,
    run_dir: Path,
    *,
    resume: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Trains a network and tests it after every epoch, or as often as ``train.test_every`` says.

    Writes ``metrics.jsonl``, ``checkpoints/`` and, at the end, ``result.json`` to the run's folder. Of several processes
    (``distributed``) each calls it with the same folder; the first one writes and shows all.

    Args:
      config: the experiment.
      run_dir: the run's folder; made if it does not exist.
      resume: go on from the newest checkpoint in it.
      console: where to show progress.

    Returns:
      The result, as it stands in ``result.json``.

    Raises:
      Interrupted: SIGINT or SIGTERM came; the checkpoint of the last finished step is on disk.
      UserError: the data cannot be read, the run cannot be continued, or ``run_dir`` holds another run.
    """
    devices = find_devices(config)
    console = console or Console()
    if not devices.is_primary:
        console = Console(quiet=True)
    if resume and not has_begun(run_dir):
        raise UserError(f"there is no run in {run_dir} to continue")
    dataset = load_dataset(config.data)
    check_batch_size(dataset.train, config.train.batch_size)
    with (
        stop_on_signals() as stop,
        sole_writer(run_dir) if devices.is_primary else nullcontext(),
        closing(Checkpoints(checkpoint_folder(run_dir), config.train.keep_checkpoints)) as saved,
    ):
        if saved.steps() and not resume:
            raise UserError(
                f"{run_dir} holds a run already: choose another folder, or continue it (--resume)"
            )
        with closing(_Run(config, dataset, run_dir, saved, console, stop, devices)) as run:
            run.begin()
            with run.record.display.running():
                while run.step < run.total_steps and not run.stopped():
                    run.advance()
            if run.stopped():
                run.save()
                raise Interrupted(run.step, run_dir)
            result = run.finish()
    print_summary(console, result)
    return result


class _Run:
    """A run between two steps: where it stands, and how it goes on."""

    def __init__(
        self,
        config: ExperimentConfig,
        dataset: Dataset,
        run_dir: Path,
        checkpoints: Checkpoints,
        console: Console,
        stop: StopRequest,
        devices: Devices,
    ):
        self.stop = stop
        self.devices = devices
        self.part = (devices.process, devices.processes)
        self.config = config
        self.dataset = dataset
        self.run_dir = run_dir
        self.checkpoints = checkpoints
        self.step = 0
        self.steps_per_epoch = len(dataset.train) // config.train.batch_size
        self.total_steps = config.train.epochs * self.steps_per_epoch

        model = build_model(config.model, dataset, seed=config.seed, objective=config.objective)
        if config.train.start is not None and not checkpoints.steps():
            begin_with(model, config.train.start)
        optimizer = build_optimizer(
            config, model, total_steps=self.total_steps, steps_per_epoch=self.steps_per_epoch
        )
        objective = build_objective(config.objective)
        self.steps = make_steps(model, optimizer, config.seed, devices, objective)
        self.state = self.steps.state
        self.layers = describe(config, self.steps.model, dataset)
        self.feed = build_feed(config, dataset)
        self.batches = self.feed.train(
            dataset.train, config.train.batch_size, config.seed, self.part
        )
        self.record = Record(
            run_dir if devices.is_primary else None,
            self.layers,
            console,
            total=self.total_steps,
            tensorboard=config.train.tensorboard,
        )
        self.clock = StepClock()
        self.recent = Aggregate()
        self.this_epoch: list[dict[str, Any]] = []
        self.tested: dict[str, Any] | None = None

    @property
    def plain_config(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json")

    def begin(self) -> None:
        """Goes back to the newest checkpoint, or to the beginning where there is none yet."""
        found = self.checkpoints.restore(self.state, self.plain_config)
        if self.devices.is_primary:
            write_config(self.run_dir, self.plain_config)
        if found is not None:
            self.step, self.state, position = found
            self.batches.set_state(position)
        self.record.begin(self.step)
        tested = self.step in [line["step"] for line in self.record.tests()]
        if self.step and self._test_is_due() and not self.devices.agreed(tested):
            self._end_epoch()  # stopped between the checkpoint and the test

    def advance(self) -> None:
        """One step, and what is due after it."""
        with self.clock.waiting():
            batch = self.devices.put_batch(next(self.batches))
        self.state, metrics = self.steps.train(self.state, batch)
        self.recent.add(metrics)
        self.step += 1
        epoch_ends = self.step % self.steps_per_epoch == 0
        first = self.clock.first_step_s is None
        if first or epoch_ends or self.step % self.config.train.log_every == 0:
            self._report()
        every = self.config.train.checkpoint_every
        if epoch_ends if every is None else self.step % every == 0:
            self.save()
        if self._test_is_due():
            self._end_epoch()

    def stopped(self) -> bool:
        """Whether the run was asked to stop: of several processes all stop behind the same step."""
        if self.devices.processes == 1:
            return bool(self.stop)
        due = self.step % self.config.train.log_every == 0 or self.step == self.total_steps
        return due and self.devices.anywhere(bool(self.stop))

    def save(self) -> None:
        """Writes a checkpoint of this very step."""
        self.checkpoints.save(self.step, self.state, self.batches.get_state(), self.plain_config)
        self.clock.restart()

    def finish(self) -> dict[str, Any]:
        """Writes and returns the result."""
        self.save()
        # A finished run that is continued has nothing left to do but this.
        test = self.tested or self._test()
        assert test is not None
        result = {
            "kind": "train",
            "name": self.config.name,
            "dataset": self.dataset.name,
            "smoke_test": self.dataset.smoke_test,
            "notes": self.dataset.notes,
            "provenance": provenance(),
            "config": self.plain_config,
            "epochs": self.config.train.epochs,
            "steps": self.step,
            "test": {"loss": test["loss"], "accuracy": test["accuracy"]},
            **confusion_of(self.dataset, test),
            "layers": layer_rows(self.layers, test, density_bounds(self.steps.model, self.layers)),
            **(self.clock.timing() or self.record.timing()),
            "history": self.record.tests(),
        }
        result = to_json(result)
        if self.devices.is_primary:
            write_whole(self.run_dir / "result.json", json.dumps(result, indent=2) + "\n")
        return result

    def close(self) -> None:
        self.record.close()

    @property
    def _epoch(self) -> int:
        return (self.step - 1) // self.steps_per_epoch + 1

    def _test_is_due(self) -> bool:
        between = self.config.train.test_every * self.steps_per_epoch
        return self.step % between == 0 or self.step == self.total_steps

    def _report(self) -> None:
        count = len(self.recent)
        metrics = self.recent.take()  # waits for the device
        seconds, waited = self.clock.synchronised(count)
        self.this_epoch.append(metrics)
        extra = {"step_ms": 1e3 * seconds, "input_wait": waited}
        self.record.write("train", self.step, self._epoch, metrics, **extra)
        self.record.display.update(self.step, self._epoch, metrics)

    def _end_epoch(self) -> None:
        tested = self._test()
        if tested is None:
            return
        self.tested = tested
        self.record.write("test", self.step, self._epoch, tested)
        train = {**merge(self.this_epoch), "step_ms": self.clock.step_ms}
        self.record.display.epoch(self._epoch, train, tested)
        self.this_epoch = []
        self.clock.restart()

    def _test(self) -> dict[str, Any] | None:
        """The metrics over the test set; ``None`` if the run was asked to stop meanwhile."""
        size = self.config.train.test_batch_size
        batches = self.feed.test(self.dataset.test, size, self.part)
        # Several processes have to test alike: none stops by itself.
        stop = self.stop if self.devices.processes == 1 else False
        return run_test(self.steps, self.state, map(self.devices.put_batch, batches), stop)
