"""What a path is: a run, a result, a sweep, a table's results; and the runs in it."""

import dataclasses
from pathlib import Path

from experiments.errors import ConfigError, UserError
from experiments.report.files import at
from experiments.report.many import Setting, settings_of_runs
from experiments.report.record import RunRecord, run_of_folder, run_of_result
from experiments.table.spec import TableConfig, load_table, runs_of
from experiments.table.store import TableResults

MARKS = ("config.json", "metrics.jsonl", "result.json", "checkpoints")
"""What makes a folder a run's."""


@dataclasses.dataclass(frozen=True)
class Many:
    """Several runs that belong together.

    Attributes:
      title: of the page.
      kind: ``sweep`` or ``table``.
      settings: their runs.
      notes: what is missing or damaged.
    """

    title: str
    kind: str
    settings: list[Setting]
    notes: list[str]


def read_source(path: Path, root: Path) -> RunRecord | Many:
    """Reads what a path holds.

    Args:
      path: a run's folder, its result file, a sweep's folder, or the folder of a table's results.
      root: of the checkout, where ``configs/tables`` is.

    Raises:
      UserError: it is none of these.
    """
    try:
        if path.is_file():
            return _result(path)
        if not path.is_dir():
            raise UserError(f"there is no {path}")
        if is_run(path):
            return run_of_folder(path)
        folders = sorted(p for p in path.iterdir() if p.is_dir() and is_run(p))
        results = path / "results"
        if folders or (path / "sweep.json").exists():
            return _sweep(path, folders, _results(results) if results.is_dir() else [])
        if found := _results(path):
            return _table(path, found, root)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    raise UserError(
        f"{path} is neither a run's folder (config.json, metrics.jsonl, checkpoints), nor that of a sweep or of a table's "
        "results"
    )


def is_run(path: Path) -> bool:
    """Whether a folder is one of a run, however early it ended."""
    return any((path / mark).exists() for mark in MARKS)


def _result(path: Path) -> RunRecord:
    record = run_of_result(path)
    if record.result is None:
        raise UserError(f"{path} is no result of a run: {' '.join(record.notes)}")
    if at(record.result, "kind") not in ("train", "evaluate"):
        raise UserError(f"{path} is no result of a run or an evaluation")
    return record


def _results(folder: Path) -> list[RunRecord]:
    """The result files of runs in a folder."""
    records = []
    for path in sorted(folder.glob("*.json")):
        record = run_of_result(path, path.stem)
        if record.result is None or at(record.result, "kind") == "train":
            records.append(record)
    return records


def _sweep(path: Path, folders: list[Path], results: list[RunRecord]) -> Many:
    notes: list[str] = []
    runs = {folder.name: run_of_folder(folder, folder.name) for folder in folders}
    for kept in results:
        run = runs.get(kept.name)
        if run is None:
            runs[kept.name] = kept
        elif run.result is None and kept.result is not None:
            runs[kept.name] = dataclasses.replace(run, result=kept.result)
    notes += [f"{run.name}: {note}" for run in runs.values() for note in run.notes]
    if not runs:
        notes.append("There is no run in this folder yet.")
    waiting = [run.name for run in runs.values() if not run.finished]
    if waiting:
        notes.append(f"Not finished: {', '.join(waiting)}.")
    return Many(path.resolve().name, "sweep", settings_of_runs(list(runs.values())), notes)


def _table(path: Path, records: list[RunRecord], root: Path) -> Many:
    name = path.resolve().name
    notes = [f"{record.path.name}: {note}" for record in records for note in record.notes]
    config = root / "configs" / "tables" / f"{name}.yaml"
    if not config.exists():
        notes.append(
            f"There is no configs/tables/{name}.yaml: rows have no titles, and nothing stands beside the paper."
        )
        return Many(name, "table", settings_of_runs(records), notes)
    try:
        table = load_table(config)
    except ConfigError as error:
        notes.append(f"The table's configuration cannot be read: {error}")
        return Many(name, "table", settings_of_runs(records), notes)
    current, outdated = _current(table, config, path, notes)
    by_name = {record.path.stem: record for record in records}
    settings = []
    used: set[str] = set()
    for row in table.rows:
        names = [f"{row.name}-seed{seed}" for seed in row.seeds or table.seeds]
        found = [n for n in names if n in by_name and (current is None or n in current)]
        used |= set(names)
        runs = [by_name[n] for n in found]
        missing = [n for n in names if n not in found]
        title = row.title or row.name
        settings.append(Setting(title, row.set, runs, missing, row.paper, row.asked))
    if outdated:
        notes.append(f"Results of another configuration are left out: {', '.join(outdated)}.")
    others = sorted(set(by_name) - used)
    if others:
        notes.append(f"Results that the table does not name are left out: {', '.join(others)}.")
    missing = [name for setting in settings for name in setting.missing if name not in outdated]
    if missing:
        notes.append(f"Not run yet: {', '.join(missing)}.")
    _tell_apart(settings)
    return Many(table.title, "table", settings, notes)


def _current(
    table: TableConfig, config: Path, folder: Path, notes: list[str]
) -> tuple[set[str] | None, list[str]]:
    """The names of results that are of today's configuration, and of those that are not."""
    try:
        runs = runs_of(table, config)
        store = TableResults(folder)
        found = {run.name for run in runs if store.find(run) is not None}
    except ConfigError as error:
        notes.append(f"Whether results are of today's configuration is not known: {error}")
        return None, []
    except (ValueError, KeyError, TypeError) as error:
        notes.append(f"Whether results are of today's configuration is not known: {error!r}")
        return None, []
    outdated = [
        r.name for r in runs if r.name not in found and (folder / f"{r.name}.json").exists()
    ]
    return found, outdated


def _tell_apart(settings: list[Setting]) -> None:
    """Rows of one title get what the file sets for them, too."""
    titles = [setting.title for setting in settings]
    for setting, title in zip(settings, titles, strict=True):
        if titles.count(title) > 1:
            epochs = next((run.epochs for run in setting.runs), None)
            setting.title = f"{title}, {epochs} epochs" if epochs else title


def page_path(path: Path) -> Path:
    """Where a page goes that was given no place."""
    return path / "report.html" if path.is_dir() else path.with_suffix(".html")
