"""The training loop."""

import dataclasses
import json
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.config import ExperimentConfig
from experiments.data import Dataset, check_batch_size, eval_batches, load_dataset, train_batches
from experiments.errors import UserError
from experiments.models import build_model, build_optimizer
from experiments.provenance import provenance
from experiments.train.aggregate import Aggregate, merge
from experiments.train.checkpoint import Checkpoints
from experiments.train.clock import StepClock
from experiments.train.interrupt import stop_on_signals
from experiments.train.layers import describe_layers
from experiments.train.metrics import MetricsLog, to_json
from experiments.train.progress import Display
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
    """Trains a network and tests it after every epoch.

    Writes ``metrics.jsonl``, ``checkpoints/`` and, at the end, ``result.json`` to the run's folder.

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
    console = console or Console()
    if (run_dir / "checkpoints").exists() != resume:
        raise UserError(
            f"there is no run in {run_dir} to continue"
            if resume
            else f"{run_dir} holds a run already: choose another folder, or continue it (--resume)"
        )
    dataset = load_dataset(config.data)
    check_batch_size(dataset.train, config.train.batch_size)
    run_dir.mkdir(parents=True, exist_ok=True)
    with (
        stop_on_signals() as stop,
        closing(Checkpoints(run_dir / "checkpoints", config.train.keep_checkpoints)) as checkpoints,
    ):
        run = _Run(config, dataset, run_dir, checkpoints, console)
        with closing(run):
            if resume:
                run.resume()
            with run.display.running():
                while run.step < run.total_steps:
                    run.advance()
                    if stop:
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
    ):
        self.config = config
        self.dataset = dataset
        self.run_dir = run_dir
        self.checkpoints = checkpoints
        self.step = 0
        self.steps_per_epoch = len(dataset.train) // config.train.batch_size
        self.total_steps = config.train.epochs * self.steps_per_epoch

        image_shape = dataset.train.images.shape[1:]
        model = build_model(
            config.model, image_size=image_shape[0], classes=dataset.classes, seed=config.seed
        )
        self.steps = make_steps(model, build_optimizer(config.optimizer), config.seed)
        self.state = self.steps.state
        self.layers = describe_layers(self.steps.model, (1, *image_shape))
        self.batches = train_batches(dataset.train, config.train.batch_size, config.seed)

        self.log = MetricsLog(run_dir / "metrics.jsonl")
        self.display = Display(console, self.layers, total=self.total_steps)
        self.clock = StepClock()
        self.recent = Aggregate()
        self.this_epoch: list[dict[str, Any]] = []
        self.tested: dict[str, Any] | None = None

    @property
    def plain_config(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json")

    def resume(self) -> None:
        """Goes back to the newest checkpoint."""
        found = self.checkpoints.restore(self.state, self.plain_config)
        if found is None:
            raise UserError(f"there is no checkpoint in {self.run_dir} to continue from")
        self.step, self.state, position = found
        self.batches.set_state(position)
        self.log.truncate(self.step)

    def advance(self) -> None:
        """One step, and what is due after it."""
        with self.clock.waiting():
            batch = next(self.batches)
        self.state, metrics = self.steps.train(self.state, batch)
        self.recent.add(metrics)
        self.step += 1
        epoch_ends = self.step % self.steps_per_epoch == 0
        first = self.clock.first_step_s is None
        if first or epoch_ends or self.step % self.config.train.log_every == 0:
            self._report()
        if epoch_ends:
            self._end_epoch()
        every = self.config.train.checkpoint_every
        if epoch_ends if every is None else self.step % every == 0:
            self.save()

    def save(self) -> None:
        """Writes a checkpoint of this very step."""
        self.checkpoints.save(self.step, self.state, self.batches.get_state(), self.plain_config)
        self.clock.restart()

    def finish(self) -> dict[str, Any]:
        """Writes and returns the result."""
        self.save()
        test = self.tested or self._test()
        result = {
            "kind": "train",
            "name": self.config.name,
            "dataset": self.dataset.name,
            "smoke_test": self.dataset.smoke_test,
            "provenance": provenance(),
            "config": self.plain_config,
            "epochs": self.config.train.epochs,
            "steps": self.step,
            "test": {"loss": test["loss"], "accuracy": test["accuracy"]},
            "layers": layer_rows(self.layers, test["layers"], self._rho()),
            "step_ms": self.clock.step_ms,
            "first_step_s": self.clock.first_step_s,
            "input_wait": self.clock.input_wait,
            "history": [line for line in self.log.lines() if line["kind"] == "test"],
        }
        result = to_json(result)
        (self.run_dir / "result.json").write_text(json.dumps(result, indent=2) + "\n")
        return result

    def close(self) -> None:
        self.log.close()

    @property
    def _epoch(self) -> int:
        return (self.step - 1) // self.steps_per_epoch + 1

    def _report(self) -> None:
        count = len(self.recent)
        metrics = self.recent.take()  # waits for the device
        seconds = self.clock.synchronised(count)
        self.this_epoch.append(metrics)
        self._write("train", metrics, step_ms=1e3 * seconds)
        self.display.update(self.step, self._epoch, metrics)

    def _end_epoch(self) -> None:
        self.tested = self._test()
        self._write("test", self.tested)
        train = {**merge(self.this_epoch), "step_ms": self.clock.step_ms}
        self.display.epoch(self._epoch, train, self.tested)
        self.this_epoch = []
        self.clock.restart()

    def _test(self) -> dict[str, Any]:
        total = Aggregate()
        for batch in eval_batches(self.dataset.test, self.config.train.test_batch_size):
            total.add(self.steps.test(self.state, batch))
        return total.take()

    def _write(self, kind: str, metrics: dict[str, Any], **extra: Any) -> None:
        self.log.write(
            {
                "kind": kind,
                "step": self.step,
                "epoch": self._epoch,
                "loss": metrics["loss"],
                "accuracy": metrics["accuracy"],
                "density": dict(zip(self._names(), metrics["layers"]["stored"], strict=True)),
                "found": dict(zip(self._names(), metrics["layers"]["found"], strict=True)),
                "dropped": dict(zip(self._names(), metrics["layers"]["dropped"], strict=True)),
                **extra,
            }
        )

    def _names(self) -> list[str]:
        return [layer.name for layer in self.layers]

    def _rho(self) -> list[float | None]:
        model = self.steps.model
        if not model.sparse:
            return [None] * len(self.layers)
        bounds: dict[str, float | None] = {"input": model.input_density}
        for number, conv in enumerate(model.convs, start=1):
            bounds[f"conv{number}"] = conv.density_bound
        return [bounds.get(layer.name) for layer in self.layers]
