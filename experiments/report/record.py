"""One run as its files show it: finished, going on, stopped, or only its result."""

import dataclasses
import datetime
import functools
import math
import statistics
from pathlib import Path
from typing import Any

from experiments.config import completed
from experiments.report.files import at, flatten, number, read_lines, read_object

Point = tuple[float, float]
PLACE = ("name", "seed", "data.root", "distributed", "train.log_every", "train.checkpoint_every",
    "train.keep_checkpoints", "train.devices", "train.tensorboard")  # fmt: skip
"""Keys of a configuration that say where a run was made, or from which seed, and not what was trained."""


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """What is known of one run; anything may be missing.

    Attributes:
      name: for headings.
      path: its folder, or its result file.
      config: nested, as it was written.
      result: ``result.json``, of a run or of an evaluation.
      lines: of ``metrics.jsonl``; the tests out of the result where there is no such file.
      notes: what was damaged.
    """

    name: str
    path: Path
    config: dict[str, Any]
    result: dict[str, Any] | None
    lines: list[dict[str, Any]]
    notes: list[str]

    @property
    def finished(self) -> bool:
        return self.result is not None

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """The configuration with dotted keys and the defaults of today, without what does not change the result."""
        flat = flatten(completed(self.config))
        return {
            key: value
            for key, value in flat.items()
            if key not in PLACE and not key.startswith("distributed.")
        }

    @property
    def seed(self) -> Any:
        return at(self.config, "seed")

    @functools.cached_property
    def tests(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("kind", "test") == "test"]

    @functools.cached_property
    def training(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("kind") == "train"]

    @property
    def last_step(self) -> int | None:
        steps = [number(line.get("step")) for line in self.lines]
        return int(max((step for step in steps if step is not None), default=-1)) if steps else None

    @property
    def epochs(self) -> int | None:
        """How many epochs were asked for."""
        value = number(at(self.config, "train", "epochs"))
        return None if value is None else int(value)

    @functools.cached_property
    def steps_per_epoch(self) -> float | None:
        """From a test, which ends an epoch; ``None`` before the first one."""
        for line in self.tests:
            step, epoch = number(line.get("step")), number(line.get("epoch"))
            if step and epoch:
                return step / epoch
        steps, epochs = number(at(self.result, "steps")), number(at(self.result, "epochs"))
        return steps / epochs if steps and epochs else None

    @property
    def x_title(self) -> str:
        return "epoch" if self.steps_per_epoch else "step"

    def x(self, line: dict[str, Any]) -> float | None:
        """Where a line stands: epochs, whole and broken ones; steps as long as an epoch's length is not known."""
        step = number(line.get("step"))
        if self.steps_per_epoch is None:
            return step
        return number(line.get("epoch")) if step is None else step / self.steps_per_epoch

    def curve(self, lines: list[dict[str, Any]], *keys: str) -> list[Point]:
        """A number of the lines, over epochs."""
        pairs = ((self.x(line), number(at(line, *keys))) for line in lines)
        return [(x, y) for x, y in pairs if x is not None and y is not None]

    def layer_names(self, key: str) -> list[str]:
        """The layers of which the tests report ``key``, in the order of the network."""
        names: dict[str, None] = {}
        for line in self.tests:
            held = line.get(key)
            names |= dict.fromkeys(held if isinstance(held, dict) else ())
        return list(names)

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The rows of the final table."""
        rows = at(self.result, "layers")
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    @property
    def test(self) -> dict[str, Any]:
        """Loss and accuracy at the end, or of the last test so far."""
        for source in (at(self.result, "test"), self.result, *reversed(self.tests)):
            if isinstance(source, dict) and number(source.get("accuracy")) is not None:
                return source
        return {}

    @property
    def accuracy(self) -> float | None:
        return number(self.test.get("accuracy"))

    @property
    def step_ms(self) -> float | None:
        known = number(at(self.result, "step_ms"))
        values = [y for _, y in self.step_times]
        return known if known is not None or not values else statistics.median(values)

    @functools.cached_property
    def step_times(self) -> list[Point]:
        """Milliseconds a step: the median of every epoch so far, without the first step, which compiles."""
        return self._by_epoch("step_ms")

    @functools.cached_property
    def waiting(self) -> list[Point]:
        """Per cent of the time that went into waiting for data, by epoch."""
        return [(x, 100 * y) for x, y in self._by_epoch("input_wait")]

    def _by_epoch(self, key: str) -> list[Point]:
        epochs: dict[float, list[float]] = {}
        for line in self.training:
            epoch, value = number(line.get("epoch")), number(line.get(key))
            if epoch is not None and value is not None and line.get("step") != 1:
                epochs.setdefault(epoch, []).append(value)
        return [(epoch, statistics.median(values)) for epoch, values in sorted(epochs.items())]

    @property
    def epoch_s(self) -> float | None:
        """Seconds an epoch of training takes, tests and checkpoints left out."""
        if self.step_ms is None or not self.steps_per_epoch:
            return None
        return self.step_ms * self.steps_per_epoch / 1e3

    @functools.cached_property
    def weights(self) -> dict[str, float]:
        """How many weights each sparse convolution has, where the run prunes."""
        known = {str(row.get("layer")): number(row.get("weights")) for row in self.layers}
        found = {name: count for name, count in known.items() if count}
        if not found and self.training:
            # The first lines stand before the first screening: nothing is removed yet.
            first = at(self.training[0], "live")
            pairs = ((k, number(v)) for k, v in first.items()) if isinstance(first, dict) else ()
            found = {name: count for name, count in pairs if count}
        return found

    @functools.cached_property
    def live(self) -> list[Point]:
        """Per cent of the weights of all sparse convolutions that are left, over epochs."""
        total = sum(self.weights.values())
        curve = []
        for line in self.tests:
            held, x = line.get("live"), self.x(line)
            if isinstance(held, dict) and total and x is not None:
                counts = [number(held.get(name)) for name in self.weights]
                if None not in counts:
                    curve.append((x, 100 * math.fsum(c for c in counts if c) / total))
        return curve

    @property
    def live_share(self) -> float | None:
        """Per cent of the weights left at the end."""
        pairs = [
            (number(row.get("live_weights")), number(row.get("weights"))) for row in self.layers
        ]
        known = [(left, whole) for left, whole in pairs if left is not None and whole]
        if known:
            return 100 * sum(left for left, _ in known) / sum(whole for _, whole in known)
        return self.live[-1][1] if self.live else None

    @property
    def sparse(self) -> bool:
        return at(self.config, "model", "sparse") is not False

    @property
    def bound(self) -> float | None:
        """The density bound of the first sparse convolution; ``None`` for a dense network."""
        if not self.sparse:
            return None
        for row in self.layers:
            if str(row.get("layer")) != "input" and number(row.get("rho")) is not None:
                return number(row.get("rho"))
        densities = at(self.config, "model", "densities")
        first = densities[0] if isinstance(densities, list) and densities else None
        return number(at(self.config, "model", "rho1")) or number(first)

    @property
    def progress(self) -> str:
        """How far the run is."""
        steps = number(at(self.result, "steps"))
        if self.finished and steps is not None:
            return f"{steps:,.0f} steps" + (
                "" if self.epochs is None else f", {self.epochs} epochs"
            )
        if not self.lines:
            return "nothing is written yet"
        of = "" if self.epochs is None else f" of {self.epochs}"
        return f"{len(self.tests)}{of} epochs, step {self.last_step}"


def run_of_folder(path: Path, name: str | None = None) -> RunRecord:
    """A run from its folder, however little is in it."""
    notes: list[str] = []
    result = read_object(path / "result.json", notes)
    config = read_object(path / "config.json", notes) or at(result, "config")
    lines = read_lines(path / "metrics.jsonl", notes)
    log = path / "metrics.jsonl"
    if not log.exists():
        notes.append("There is no metrics.jsonl: nothing is known of the training's course.")
        lines = _history(result)
    if config is None:
        notes.append("There is no readable config.json.")
    record = RunRecord(
        name or _text(at(config, "name")) or path.resolve().name,
        path,
        config if isinstance(config, dict) else {},
        result,
        lines,
        notes,
    )
    if result is None and lines:
        written = datetime.datetime.fromtimestamp(log.stat().st_mtime, datetime.UTC)
        notes.append(
            f"The run is not finished ({record.progress}); the last line was written {written:%Y-%m-%d %H:%M:%S} UTC. "
            "It is still going or was stopped."
        )
    steps = number(at(result, "steps"))
    if steps is not None and (record.last_step or 0) > steps:
        notes.append(
            f"The result is of step {steps:.0f}; the run has gone on to step {record.last_step} since. Curves show "
            "all of it, numbers and tables the result."
        )
    return record


def run_of_result(path: Path, name: str | None = None) -> RunRecord:
    """A run of which only the result file is there."""
    notes: list[str] = []
    result = read_object(path, notes)
    config = at(result, "config")
    return RunRecord(
        name or _text(at(result, "name")) or path.stem,
        path,
        config if isinstance(config, dict) else {},
        result,
        _history(result),
        notes,
    )


def _history(result: dict[str, Any] | None) -> list[dict[str, Any]]:
    lines = at(result, "history")
    return [line for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
