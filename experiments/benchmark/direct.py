"""``python -m experiments benchmark direct``: direct sparse convolution against dense convolutions, on CPU."""

import argparse
from pathlib import Path

from experiments.benchmark.cases import (
    CHANNELS,
    FILTER_DENSITIES,
    PASSES,
    POINTS,
    RESOLUTIONS,
    SELECTIONS,
    cases,
    groups,
)
from experiments.benchmark.store import KEY, Results
from experiments.benchmark.timing import Effort, pin_threads
from experiments.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def add_parser(subjects) -> None:
    """Adds ``direct`` to the subjects of ``benchmark``."""
    parser = subjects.add_parser(
        "direct",
        help="direct sparse convolution on CPU",
        description="Measure direct.conv against XLA's and torch's dense convolutions in one process, alternating: "
        "ILA-SCNN's Fig. 4 grid and its harder cousins, and its Table 1. Rows go to the result file as they come; "
        "a later run replaces the rows that it measures again. Without options: everything.",
        epilog="example: python -m experiments benchmark direct --resolutions 16 32 --channels 1:8 --passes forward",
    )
    grid = parser.add_argument_group("the part of the grid to measure")
    grid.add_argument("--resolutions", type=int, nargs="+", default=RESOLUTIONS, metavar="R")
    grid.add_argument(
        "--channels", type=_channels, nargs="+", default=CHANNELS, metavar="IN:OUT",
        help="such as 1:8 8:8 8:16",
    )  # fmt: skip
    grid.add_argument("--points", nargs="+", default=POINTS, choices=POINTS)
    grid.add_argument(
        "--filter-densities", type=float, nargs="+", default=FILTER_DENSITIES, metavar="D"
    )
    grid.add_argument("--passes", nargs="+", default=PASSES, choices=PASSES)
    grid.add_argument("--selection", nargs="+", default=SELECTIONS, choices=SELECTIONS)
    grid.add_argument("--table1-only", action="store_true", help="only the bytes of Table 1")
    grid.add_argument("--no-table1", action="store_true", help="only the times")
    grid.add_argument(
        "--missing", action="store_true", help="only groups with rows that the result file lacks"
    )
    how = parser.add_argument_group("how to measure")
    how.add_argument("--peers", nargs="+", default=("xla", "torch"), choices=("xla", "torch"))
    how.add_argument("--threads", type=int, default=2)
    how.add_argument(
        "--seconds", type=float, default=2.0, help="aim for each contestant's samples (default: 2)"
    )
    how.add_argument(
        "--repeats", type=int, default=21, help="most samples of a contestant (default: 21)"
    )
    output = parser.add_argument_group("what comes of it")
    output.add_argument(
        "--output", type=Path, default=ROOT / "experiments/results/benchmark_direct_cpu.json",
        help="the result file (default: experiments/results/benchmark_direct_cpu.json)",
    )  # fmt: skip
    output.add_argument(
        "--report", action="store_true",
        help="measure nothing; write the tables and plots of the documents from the result file",
    )  # fmt: skip
    output.add_argument(
        "--root",
        type=Path,
        default=ROOT,
        help="where README.md and docs/ are (default: the checkout)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures, or writes the report."""
    results = Results(options.output)
    if options.report:
        from experiments.benchmark.report import write_report

        for path in write_report(results, options.root):
            print(path)
        return 0
    _measure(options, results)
    return 0


def _measure(options: argparse.Namespace, results: Results) -> None:
    if options.repeats < 3 or options.seconds <= 0 or options.threads < 1:
        raise UserError("--repeats must be at least 3, --seconds positive, --threads at least 1")
    wanted = list(cases(options.points, options.filter_densities, options.selection))
    selected = groups(options.resolutions, options.channels, options.passes)
    if options.table1_only:
        selected = []
    elif options.missing:
        selected = [group for group in selected if not _complete(results, group, wanted)]
        if not selected:
            print("nothing is missing")
            return
    threads = pin_threads(options.threads)
    # From here on: what is imported next makes its threads now.
    from rich.console import Console

    from experiments.benchmark import dense_side, machine, table1
    from experiments.benchmark.measure import measure_group
    from experiments.benchmark.report import row_line
    from experiments.provenance import PACKAGES, provenance

    console = Console(highlight=False)
    peers = dense_side.available_peers(options.peers)
    for absent in set(options.peers) - set(peers):
        console.print(f"{absent} is not installed (pip install '.[benchmark]'): rows go without it")
    load = machine.load_average()
    if load > 0.5:
        console.print(
            f"load average {load}: something else is running, these times are worth little (torch's "
            "threads wait for each other and suffer most, which flatters jaxsparse)"
        )
    if threads < options.threads:
        console.print(f"this process may use {threads} processors only, not {options.threads}")
    if "torch" in peers:
        import torch  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(threads)

    ceilings = machine.ceilings(threads)
    circumstances = {
        **provenance((*PACKAGES, "torch")),
        "threads": threads,
        "load_average": load,
        **ceilings,
    }
    run_id = results.begin_run(circumstances)
    if not options.no_table1:
        console.print("Table 1: compiling layers of up to 512^3 voxels")
        results.table1 = {"run": run_id, "rows": table1.measure()}
        results.save()
    effort = Effort(seconds=options.seconds, repeats=(3, options.repeats))
    for group in selected:
        console.print(f"[bold]{group}[/bold]")
        for row in measure_group(group, wanted, peers, effort, ceilings):
            results.put({**row, "run": run_id})
            console.print(f"  {row_line(row)}", soft_wrap=True)
        results.save()
    _print_verdicts(console, results)


def _complete(results: Results, group, wanted) -> bool:
    known = {tuple(row[name] for name in KEY) for row in results.rows}
    return all(
        (group.passes, *group.channels, group.resolution, c.points, c.filter_density, c.selection)
        in known
        for c in wanted
    )


def _print_verdicts(console, results: Results) -> None:
    from experiments.benchmark.criteria import judge

    console.print("\n[bold]What is asked[/bold] (times the faster of XLA and torch)")
    for verdict in judge(results):
        word = {True: "yes", False: "NO", None: "  -"}[verdict.ok]
        console.print(f"{word:>4}  {verdict.text}: {verdict.measured}", soft_wrap=True)


def _channels(text: str) -> tuple[int, int]:
    try:
        inner, outer = map(int, text.split(":"))
        if inner < 1 or outer < 1:
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"channels are written IN:OUT, as in 1:8, got {text!r}"
        ) from None
    return inner, outer
