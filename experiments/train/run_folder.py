"""The folder of a run: what is in it, who may write to it, and files that are whole or not there."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.errors import UserError


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that a process killed meanwhile leaves the old one, or none."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except BaseException:  # Ctrl-C, a full disk
        part.unlink(missing_ok=True)
        raise


def checkpoint_folder(run_dir: Path) -> Path:
    """Where a run's checkpoints are."""
    return run_dir / "checkpoints"


def has_begun(run_dir: Path) -> bool:
    """Whether a run was started in this folder, however early it ended."""
    return (run_dir / "config.json").exists() or checkpoint_folder(run_dir).exists()


def write_config(run_dir: Path, config: dict[str, Any]) -> None:
    """Leaves the configuration for people, and the mark that a run has begun."""
    write_whole(run_dir / "config.json", json.dumps(config, indent=2) + "\n")


@contextmanager
def sole_writer(run_dir: Path) -> Iterator[None]:
    """Holds a run's folder for one process; the system lets go of it when the process ends, killed or not.

    Raises:
      UserError: another process holds it, or the folder cannot be made.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        file = (run_dir / ".lock").open("w")
    except OSError as error:
        raise UserError(f"cannot write to {run_dir}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"another process is training in {run_dir}") from error
        yield
