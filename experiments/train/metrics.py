"""metrics.jsonl: one line every few steps, to be read while training runs and after it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.train.run_folder import write_whole


class MetricsLog:
    """Appends JSON lines to a file."""

    def __init__(self, path: Path):
        self._path = path
        self._file = path.open("a", encoding="utf-8")

    def write(self, line: dict[str, Any]) -> None:
        """Writes one line at once."""
        self._file.write(_encode(line))
        self._file.flush()

    def lines(self) -> list[dict[str, Any]]:
        """What stands in the file."""
        return read_metrics(self._path)

    def truncate(self, last_step: int) -> None:
        """Drops the lines behind a step, and a line that a crash cut short."""
        kept = [line for line in self.lines() if line["step"] <= last_step]
        self._file.close()
        write_whole(self._path, "".join(_encode(line) for line in kept))
        self._file = self._path.open("a", encoding="utf-8")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _encode(line: dict[str, Any]) -> str:
    return json.dumps(to_json(line)) + "\n"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; a last line cut short by a crash is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def to_json(value: Any) -> Any:
    """Plain Python values, floats short: six significant digits."""
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return to_json(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return value
