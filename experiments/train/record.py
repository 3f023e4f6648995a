"""What a run leaves behind and shows while it goes: metrics.jsonl, TensorBoard's files, the display."""

import statistics
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.errors import UserError
from experiments.train.layers import LayerInfo
from experiments.train.metrics import MetricsLog
from experiments.train.progress import Display


class Record:
    """Takes the metrics of a run and hands them on.

    Args:
      run_dir: the run's folder; ``None``: nothing is written.
      layers: of the network.
      console: where to show progress.
      total: steps of the run.
      tensorboard: whether to write TensorBoard's files, too.
    """

    def __init__(
        self,
        run_dir: Path | None,
        layers: list[LayerInfo],
        console: Console,
        *,
        total: int,
        tensorboard: bool = False,
    ):
        self._names = [layer.name for layer in layers]
        self._log = None if run_dir is None else MetricsLog(run_dir / "metrics.jsonl")
        self.display = Display(console, layers, total=total)
        self._folder = run_dir / "tensorboard" if tensorboard and run_dir is not None else None
        self._writer: Any = None

    def begin(self, step: int) -> None:
        """Drops what an earlier part of the run wrote behind a step."""
        if self._log is not None:
            self._log.truncate(step)
        if self._folder is not None:
            self._writer = _writer_class()(str(self._folder), purge_step=step + 1)

    def tests(self) -> list[dict[str, Any]]:
        """The lines of the tests so far."""
        return self._lines("test")

    def timing(self) -> dict[str, float | None]:
        """Time per step and share of waiting as the log has them: of a run whose steps were other processes'."""
        lines = [line for line in self._lines("train") if "step_ms" in line]
        # The first line is the first step, which compiles.
        lines = lines[1:] or lines
        if not lines:
            return {"step_ms": None, "first_step_s": None, "input_wait": None}
        return {
            "step_ms": statistics.median(line["step_ms"] for line in lines),
            "first_step_s": None,
            "input_wait": statistics.fmean(line["input_wait"] for line in lines),
        }

    def _lines(self, kind: str) -> list[dict[str, Any]]:
        lines = [] if self._log is None else self._log.lines()
        return [line for line in lines if line["kind"] == kind]

    def write(
        self, kind: str, step: int, epoch: int, metrics: dict[str, Any], **extra: float
    ) -> None:
        """One line of metrics."""
        if self._log is None:
            return
        line = {
            "kind": kind,
            "step": step,
            "epoch": epoch,
            "loss": metrics["loss"],
            "accuracy": metrics["accuracy"],
            "density": self._by_layer(metrics["layers"]["stored"]),
            "found": self._by_layer(metrics["layers"]["found"]),
            "dropped": self._by_layer(metrics["layers"]["dropped"]),
            **{key: metrics[key] for key in ("live", "live_macs") if key in metrics},
            **extra,
        }
        self._log.write(line)
        if self._writer is not None:
            for name, value in _scalars(line):
                self._writer.add_scalar(f"{kind}/{name}", value, step)
            self._writer.flush()

    def close(self) -> None:
        """Closes the files."""
        if self._log is not None:
            self._log.close()
        if self._writer is not None:
            self._writer.close()

    def _by_layer(self, values: list[float]) -> dict[str, float]:
        return dict(zip(self._names, values, strict=True))


def _scalars(line: dict[str, Any]) -> list[tuple[str, float]]:
    """The numbers of a line by name, those of layers as ``density/conv1``."""
    scalars = []
    for key, value in line.items():
        if isinstance(value, dict):
            scalars += [(f"{key}/{layer}", number) for layer, number in value.items()]
        elif key not in ("kind", "step"):
            scalars.append((key, value))
    return scalars


def _writer_class() -> Any:
    try:
        from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError(
            "train.tensorboard needs tensorboardX: pip install '.[experiments,tensorboard]'"
        ) from None
    return SummaryWriter
