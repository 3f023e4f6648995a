"""One JSON file a finished run: what the page is made from."""

import json
from pathlib import Path
from typing import Any

from experiments.config import PLACES, completed
from experiments.table.spec import Run
from experiments.train.run_folder import write_whole


class TableResults:
    """The result files of a table.

    Args:
      folder: where they are.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def find(self, run: Run) -> dict[str, Any] | None:
        """The result of a run; ``None`` if there is none, or only one of another configuration."""
        return _read(self.folder / f"{run.name}.json", run)

    def put(self, run: Run, result: dict[str, Any]) -> None:
        """Keeps what the page needs of a run's ``result.json``."""
        history = [
            {key: line[key] for key in ("epoch", "step", "loss", "accuracy")}
            for line in result["history"]
        ]
        kept = {**result, "config": _portable(result["config"]), "history": history}
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / f"{run.name}.json", json.dumps(kept, indent=1) + "\n")


def finished(run: Run, run_dir: Path) -> dict[str, Any] | None:
    """The result in a run's own folder: what is left to keep if the table was killed right behind it."""
    return _read(run_dir / "result.json", run)


def _read(path: Path, run: Run) -> dict[str, Any] | None:
    if not path.exists():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    same = _portable(completed(result["config"])) == _portable(run.config.model_dump(mode="json"))
    return result if same else None


def _portable(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without where the data lie and what does not change the result."""
    data = {key: value for key, value in config["data"].items() if key not in PLACES}
    train = {
        key: value
        for key, value in config["train"].items()
        if key in ("epochs", "batch_size", "test_batch_size")
    }
    # Devices and processes change rounding, as another machine would.
    kept = {key: value for key, value in config.items() if key != "distributed"}
    return {**kept, "data": data, "train": train}
