"""``python -m experiments sweep``: runs what a sweep lacks side by side, and ranks its settings."""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from experiments.errors import INTERRUPTED
from experiments.sweep.spec import SweepConfig, load_sweep, table_of
from experiments.sweep.trial import parameters
from experiments.sweep.tuner import run_trials
from experiments.table.spec import Run, runs_of
from experiments.table.store import TableResults, finished
from experiments.train.run_folder import write_whole

EXAMPLE = "python -m experiments sweep configs/sweeps/mnist_density.yaml data.root=/data/mnist"


def add_parser(commands) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "sweep",
        help="run a grid of settings side by side and rank them",
        description="Train a network under every setting of a sweep, as many side by side as there is room for (Ray "
        "Tune), and rank the settings. It can be stopped, or killed, and started again at any moment: what is finished "
        "is kept, and what had begun goes on from its newest checkpoint.",
        epilog=f"example: {EXAMPLE}",
    )
    parser.add_argument(
        "sweep", metavar="SWEEP", type=Path, help="a YAML file, as in configs/sweeps/"
    )
    parser.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        help="override a key of all trials: data.root=DIR",
    )
    parser.add_argument("--list", action="store_true", help="say what is there and what is missing")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go")
    parser.add_argument(
        "--address",
        help="of a Ray cluster (auto, or HOST:PORT), whose machines share --runs and this checkout; "
        "without it the sweep runs on this machine",
    )
    parser.set_defaults(run=_sweep)


def _sweep(options: argparse.Namespace) -> int:
    sweep = load_sweep(options.sweep)
    runs = runs_of(table_of(sweep), options.sweep, tuple(options.overrides))
    folder = options.runs / sweep.name
    results = TableResults(folder / "results")
    for run in runs:
        result = results.find(run) or finished(run, folder / run.name)
        if result is not None:
            results.put(run, result)
    missing = [run for run in runs if results.find(run) is None]
    if options.list:
        for run in runs:
            result = results.find(run)
            print(f"{run.name}  {'missing' if result is None else result['test']['accuracy']}")
        return 0
    console = Console()
    errors: dict[str, str] = {}
    try:
        if missing:
            errors = _run(sweep, missing, folder, results, options.address, console)
    except KeyboardInterrupt:
        console.print("Stopped; the same command goes on.")
        return INTERRUPTED
    rows = rank(sweep, runs, results)
    write_whole(folder / "sweep.json", json.dumps(rows, indent=1) + "\n")
    console.print(_table(sweep, rows))
    for name, error in errors.items():
        console.print(f"[bold]{name} failed:[/] {error}", markup=True, highlight=False)
    console.print(f"results  {folder / 'sweep.json'}")
    return 1 if any(results.find(run) is None for run in runs) else 0


def _run(
    sweep: SweepConfig,
    missing: list[Run],
    folder: Path,
    results: TableResults,
    address: str | None,
    console: Console,
) -> dict[str, str]:
    """Runs what is missing; returns the errors of trials that failed for good."""
    by_name = {run.name: run for run in missing}
    errors: dict[str, str] = {}
    progress = Progress(
        TextColumn("trials"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console,
    )
    with progress:
        task = progress.add_task("", total=len(missing))

        def on_end(name: str, error: str | None) -> None:
            run = by_name[name]
            result = None if error else finished(run, folder / name)
            if result is None:
                errors[name] = error or "it left no result"
                last = f"{name} failed"
            else:
                results.put(run, result)
                last = f"{name}: accuracy {result['test']['accuracy']:.4f}"
            progress.update(task, advance=1, description=last)

        run_trials(
            {
                run.name: parameters(
                    run.config.model_dump(mode="json"), folder / run.name, sweep.resources.cpus
                )
                for run in missing
            },
            name=sweep.name,
            storage=folder / "ray",
            resources=sweep.resources,
            retries=sweep.retries,
            address=address,
            on_end=on_end,
        )
    return errors


def rank(sweep: SweepConfig, runs: list[Run], results: TableResults) -> list[dict[str, Any]]:
    """A row a setting, the best first; settings without a finished run last."""
    rows = []
    for row in {run.row.name: run.row for run in runs}.values():
        own = [(run, results.find(run)) for run in runs if run.row.name == row.name]
        done = {run.seed: result["test"] for run, result in own if result is not None}
        values = [test[sweep.rank_by] for test in done.values()]
        rows.append(
            {
                "settings": row.set,
                "seeds": {str(seed): test for seed, test in done.items()},
                "missing_seeds": [run.seed for run, result in own if result is None],
                "mean": sum(values) / len(values) if values else None,
                "lowest": min(values, default=None),
                "highest": max(values, default=None),
                "runs": [run.name for run, _ in own],
            }
        )
    sign = -1 if sweep.rank_by == "accuracy" else 1
    return sorted(
        rows, key=lambda row: (row["mean"] is None, sign * (row["mean"] or 0), row["runs"])
    )


def _table(sweep: SweepConfig, rows: list[dict[str, Any]]) -> Table:
    keys = [*sweep.grid, *sweep.random]
    table = Table(title=sweep.title or sweep.name)
    for key in keys:
        table.add_column(key)
    for heading in ("seeds", f"mean {sweep.rank_by}", "lowest to highest"):
        table.add_column(heading, justify="right")
    for row in rows:
        found = row["mean"] is not None
        count = f"{len(row['seeds'])} of {len(row['seeds']) + len(row['missing_seeds'])}"
        table.add_row(
            *(json.dumps(row["settings"][key]) for key in keys),
            count,
            f"{row['mean']:.4f}" if found else "",
            f"{row['lowest']:.4f} to {row['highest']:.4f}" if found else "",
        )
    return table
