"""Result files: rows that later runs replace one by one, each with the circumstances of its own run."""

import json
from pathlib import Path
from typing import Any

KEY = (
    "passes",
    "in_channels",
    "out_channels",
    "resolution",
    "points",
    "filter_density",
    "selection",
)
"""What a row measures; everything else in it is measured."""


class Results:
    """The rows of one benchmark in one JSON file.

    The file holds ``runs`` (id -> machine, versions, commit, date), ``rows`` (each with the id of its run) and
    ``table1`` where there is one.

    Args:
      path: the file; made when the rows are saved.
      key: the names of a row's values that say what it measures.
    """

    def __init__(self, path: Path, key: tuple[str, ...] = KEY):
        self.path = path
        self.key = key
        data = json.loads(path.read_text()) if path.exists() else {}
        self.runs: dict[str, Any] = data.get("runs", {})
        self.rows: list[dict[str, Any]] = data.get("rows", [])
        if key == KEY:
            for row in self.rows:
                row.setdefault("failed", {})  # rows from before failures were recorded had none
        self.table1: dict[str, Any] | None = data.get("table1")

    def begin_run(self, circumstances: dict[str, Any]) -> str:
        """Registers the circumstances of the rows to come; returns their id."""
        number = max((int(name) for name in self.runs), default=0) + 1
        self.runs[str(number)] = circumstances
        return str(number)

    def put(self, row: dict[str, Any]) -> None:
        """Adds a row, replacing the one that measured the same."""
        self.rows = [old for old in self.rows if self._key(old) != self._key(row)]
        self.rows.append(row)

    def save(self) -> None:
        """Writes the file: rows in a fixed order, one a line, runs without rows left out."""
        used = {row["run"] for row in self.rows} | ({self.table1["run"]} if self.table1 else set())
        runs = {name: run for name, run in self.runs.items() if name in used}
        rows = sorted(self.rows, key=self._key)
        table1 = (
            f'  "table1": {json.dumps(rounded(self.table1), indent=2)},\n' if self.table1 else ""
        )
        lines = ",\n".join(f"    {json.dumps(rounded(row))}" for row in rows)
        text = (
            "{\n"
            f'  "runs": {json.dumps(rounded(runs), indent=2)},\n'
            f"{table1}"
            f'  "rows": [\n{lines}\n  ]\n'
            "}\n"
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self.path, text)

    def _key(self, row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in self.key)


def replace_file(path: Path, text: str) -> None:
    """Writes a file so that there is always a whole one."""
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


def rounded(value: Any) -> Any:
    """Floats with five significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
