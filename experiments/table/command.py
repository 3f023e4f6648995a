"""``python -m experiments table``: runs what a table lacks, one run after the other, and writes its page."""

import argparse
from pathlib import Path

from experiments.errors import INTERRUPTED, UserError
from experiments.table.report import page
from experiments.table.spec import load_table, runs_of
from experiments.table.store import TableResults, finished
from experiments.train.run_folder import has_begun, write_whole

ROOT = Path(__file__).parents[2]


def add_parser(commands) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "table",
        help="run what a table of experiments lacks and write its page",
        description="Train every network of a table from every seed, skipping what experiments/results/NAME/ holds "
        "already, and write docs/NAME.md. It can be stopped and started again at any moment: a run goes on from its "
        "newest checkpoint in RUNS/NAME.",
        epilog="example: python -m experiments table configs/tables/mnist.yaml data.root=/data/mnist --rows 0.035",
    )
    parser.add_argument(
        "table", metavar="TABLE", type=Path, help="a YAML file, as in configs/tables/"
    )
    parser.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        help="override a key of all runs: data.root=DIR",
    )
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these rows")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="only these seeds")
    parser.add_argument("--list", action="store_true", help="say what is there and what is missing")
    parser.add_argument("--report", action="store_true", help="write the page, run nothing")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go")
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="where experiments/results/ and docs/ are"
    )
    parser.set_defaults(run=_table)


def _table(options: argparse.Namespace) -> int:
    table = load_table(options.table)
    runs = runs_of(table, options.table, tuple(options.overrides))
    results = TableResults(options.root / "experiments" / "results" / table.name)
    wanted = [
        run
        for run in runs
        if (options.rows is None or run.row.name in options.rows)
        and (options.seeds is None or run.seed in options.seeds)
    ]
    if not wanted:
        rows = ", ".join(row.name for row in table.rows)
        raise UserError(f"no run of {options.table} is that row and seed (rows: {rows})")
    if options.list:
        for run in wanted:
            result = results.find(run)
            print(f"{run.name:24s}", "missing" if result is None else result["test"]["accuracy"])
        return 0
    from experiments.train import Interrupted, train

    for run in [] if options.report else wanted:
        if results.find(run) is None:
            folder = options.runs / table.name / run.name
            print(f"== {run.name} ({folder})", flush=True)
            try:
                result = finished(run, folder) or train(
                    run.config, folder, resume=has_begun(folder)
                )
            except Interrupted as stop:
                print(f"Stopped after step {stop.step} of {run.name}; the same command goes on.")
                return INTERRUPTED
            results.put(run, result)
    path = options.root / "docs" / f"{table.name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = options.table.absolute()
    file = file.relative_to(ROOT) if file.is_relative_to(ROOT) else Path(file.name)
    write_whole(path, page(table, file, runs, results))
    print(f"wrote {path}")
    return 0
