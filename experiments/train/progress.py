"""What a person watches: a bar with loss and accuracy, under it the density of every layer and what was dropped."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from experiments.train.layers import LayerInfo

QUIET_SECONDS = 20.0
"""Without a terminal: how long nothing is printed at most."""


class Display:
    """The live display of a run. Without a terminal it prints a line now and then, and one an epoch."""

    def __init__(self, console: Console, layers: list[LayerInfo], *, total: int):
        self._console = console
        self._layers = layers
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}  accuracy {task.fields[accuracy]:.4f}"),
            TimeRemainingColumn(),
            console=console,
        )
        nan = float("nan")
        self._task = self._progress.add_task("", total=total, epoch=1, loss=nan, accuracy=nan)
        self._total = total
        self._last_line = time.monotonic()
        self._live = Live(self._progress, console=console, refresh_per_second=5, transient=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Shows the bar for the length of a ``with`` block."""
        if not self._console.is_terminal:
            yield
            return
        with self._live:
            yield

    def update(self, step: int, epoch: int, metrics: dict[str, Any]) -> None:
        """Shows the metrics after a step."""
        self._progress.update(
            self._task,
            completed=step,
            epoch=epoch,
            loss=metrics["loss"],
            accuracy=metrics["accuracy"],
        )
        if not self._console.is_terminal:
            if time.monotonic() - self._last_line >= QUIET_SECONDS:
                self._last_line = time.monotonic()
                self._console.print(
                    f"step {step}/{self._total}  loss {metrics['loss']:.4f}  "
                    f"accuracy {metrics['accuracy']:.4f}",
                    highlight=False,
                )
            return
        texts = [Text(self._densities(metrics["layers"]))]
        if "live" in metrics:
            texts.append(Text(f"live weights {self._share(metrics['live'])}"))
        self._live.update(Group(self._progress, *texts))

    def epoch(self, epoch: int, train: dict[str, Any], test: dict[str, Any]) -> None:
        """Leaves an epoch's line on the screen."""
        self._console.print(
            f"epoch {epoch:3d}  loss {train['loss']:.4f}  accuracy {train['accuracy']:.4f}  "
            f"test accuracy {test['accuracy']:.4f}  {train['step_ms']:.1f} ms/step"
            + (f"  live weights {self._share(test['live'])}" if "live" in test else ""),
            highlight=False,
        )

    def _share(self, live: dict[str, int]) -> str:
        weights = sum(info.weights for info in self._layers)
        return f"{100 * sum(live.values()) / weights:.1f} %"

    def _densities(self, layers: dict[str, Any]) -> str:
        parts = zip(self._layers, layers["stored"], strict=True)
        densities = "  ".join(f"{info.name} {value:.3f}" for info, value in parts)
        return f"density {densities}  dropped {sum(layers['dropped']):.0f} a sample"
