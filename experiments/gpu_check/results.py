"""The result file: for each stage its verdict, circumstances and rows; later runs replace stages and rows."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments.benchmark.store import replace_file, rounded

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "experiments/results/gpu"
NAME = "check.json"
CODE = {".py", ".cu", ".cuh", ".h", ".cc", ".cmake"}

Row = dict[str, Any]
"""What was measured, JSON-like. ``row`` names it: a later measurement of the same name on the same platform replaces it."""


def folder() -> Path:
    """Where results go: the folder that the environment variable OUT names, or the checkout's."""
    return Path(os.environ["OUT"]) if os.environ.get("OUT") else FOLDER


def source(*folders: str) -> str:
    """A digest of the code that rows are about, kernels and library, and of further folders of the checkout."""
    digest = hashlib.sha256()
    for folder in ("xla_kernels", "jaxsparse", *folders):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in CODE or path.name == "CMakeLists.txt":
                digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def stage_key(name: str, platform: str, only: Sequence[str] = ()) -> str:
    """A stage's place in the file: a rehearsal takes no GPU's, a part not that of the whole."""
    part = f", only {' '.join(only)}" if only else ""
    return name + part + (f" on {platform}" if platform != "cuda" else "")


class Results:
    """The stages of one check in one JSON file.

    ``stages``: name -> verdict, seconds, machine, and what the stage has to say; ``rows``: what was measured.
    """

    def __init__(self, path: Path | None = None):
        """Reads ``path``; where there is none yet, goes on from the checkout's file."""
        self.path = path or folder() / NAME
        known = next((p for p in (self.path, FOLDER / NAME) if p.exists()), None)
        data = json.loads(known.read_text()) if known and (path is None or known == path) else {}
        self.stages: dict[str, Any] = data.get("stages", {})
        self.rows: list[Row] = data.get("rows", [])

    def put(self, row: Row) -> None:
        """Adds a row, replacing the one of the same name and platform."""
        self.rows = [old for old in self.rows if _key(old) != _key(row)] + [row]

    def known(self, platform: str, source: str, since: str = "") -> set[str]:
        """The names of what was measured there, of this code (see `source`), at this date or later."""
        return {
            row["row"]
            for row in self.rows
            if row.get("platform") == platform
            and row.get("source") == source
            and row["date"] >= since
        }

    def merge(self, other: "Results") -> None:
        """Takes over the stages and rows that another file has newer."""
        for name, stage in other.stages.items():
            if name not in self.stages or stage["date"] >= self.stages[name]["date"]:
                self.stages[name] = stage
        dates = {_key(row): row["date"] for row in self.rows}
        for row in other.rows:
            if row["date"] >= dates.get(_key(row), ""):
                self.put(row)

    def of(self, section: str) -> list[Row]:
        """The rows of a section."""
        return [row for row in self.rows if row["section"] == section]

    def save(self) -> None:
        """Writes the file: rows by name, one a line."""
        rows = sorted(self.rows, key=lambda row: (row["section"], row["row"]))
        lines = ",\n".join(f"    {json.dumps(rounded(row))}" for row in rows)
        stages = json.dumps(rounded(self.stages), indent=2)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self.path, f'{{\n  "stages": {stages},\n  "rows": [\n{lines}\n  ]\n}}\n')


def _key(row: Row) -> tuple[str, str]:
    return row["row"], row.get("platform", "")


def named(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """The rows with these values."""
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
