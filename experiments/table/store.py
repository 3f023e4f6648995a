"""One JSON file a finished run: what the page is made from."""

import json
from pathlib import Path
from typing import Any

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
        path = self.folder / f"{run.name}.json"
        if not path.exists():
            return None
        result = json.loads(path.read_text(encoding="utf-8"))
        return result if result["config"] == _portable(run.config.model_dump(mode="json")) else None

    def put(self, run: Run, result: dict[str, Any]) -> None:
        """Keeps what the page needs of a run's ``result.json``."""
        history = [
            {key: line[key] for key in ("epoch", "step", "loss", "accuracy")}
            for line in result["history"]
        ]
        kept = {**result, "config": _portable(result["config"]), "history": history}
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / f"{run.name}.json", json.dumps(kept, indent=1) + "\n")


def _portable(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without where the data lie and what does not change the result."""
    data = {key: value for key, value in config["data"].items() if key != "root"}
    train = {
        key: value
        for key, value in config["train"].items()
        if key in ("epochs", "batch_size", "test_batch_size")
    }
    return {**config, "data": data, "train": train}
