"""``python -m experiments benchmark block``: block-sparse layers and SBNet's network against dense ones, on CPU."""

import argparse
from pathlib import Path
from typing import Any

from experiments.benchmark.store import Results
from experiments.benchmark.timing import Effort, pin_threads
from experiments.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
KEY = ("part", "layer", "size", "mask", "frame", "asked_sparsity")
PARTS = ("layers", "network", "frames")


def add_parser(subjects) -> None:
    """Adds ``block`` to the subjects of ``benchmark``."""
    parser = subjects.add_parser(
        "block",
        help="block-sparse layers and networks on CPU",
        description="Measure block convolutions, chains of residual units and SBNet's detector, the reduction of the mask "
        "included, in place on donated buffers, against their dense twins in XLA and torch, alternating: SBNet's Tables 1 to 4 "
        "and 6, Fig. 6 and 7. Rows go to the result file as they come; a later run replaces the rows that it "
        "measures again. Without --kitti: synthetic masks only.",
        epilog="example: python -m experiments benchmark block --kitti DIR --missing",
    )
    grid = parser.add_argument_group("what to measure")
    grid.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    grid.add_argument("--layers", nargs="+", default=("unit", "conv"), choices=("unit", "conv"))
    grid.add_argument(
        "--heights", type=int, nargs="+", default=(400, 200, 100, 50), metavar="H", help="which maps"
    )  # fmt: skip
    grid.add_argument(
        "--sparsities", type=float, nargs="+", default=None, metavar="S", help="of synthetic masks"
    )
    grid.add_argument("--kitti", type=Path, metavar="DIR", help="velodyne/, calib/ and label_2/")
    grid.add_argument("--frames", nargs="+", metavar="NAME", help="of Fig. 7 (default: all)")
    grid.add_argument(
        "--missing", action="store_true", help="only groups with rows that the result file lacks"
    )
    how = parser.add_argument_group("how to measure")
    how.add_argument("--peers", nargs="+", default=("xla", "torch"), choices=("xla", "torch"))
    how.add_argument("--threads", type=int, default=2)
    how.add_argument("--seconds", type=float, default=1.0, help="aim for a contestant's samples")
    how.add_argument("--repeats", type=int, default=21, help="most samples of a contestant")
    how.add_argument("--block-sizes", type=int, default=4, help="how many are timed for a row")
    how.add_argument(
        "--seconds-left", type=float, default=float("inf"), metavar="S",
        help="begin no further group after so many seconds; --missing goes on",
    )  # fmt: skip
    output = parser.add_argument_group("what comes of it")
    output.add_argument(
        "--output", type=Path, default=ROOT / "experiments/results/benchmark_block_cpu.json",
        help="the result file (default: experiments/results/benchmark_block_cpu.json)",
    )  # fmt: skip
    output.add_argument(
        "--report", action="store_true",
        help="measure nothing; write the tables and plots of the documents from the result file",
    )  # fmt: skip
    output.add_argument("--root", type=Path, default=ROOT, help="where README.md and docs/ are")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures, or writes the report."""
    results = Results(options.output, KEY)
    if options.report:
        from experiments.benchmark.block_report import write_report

        for path in write_report(results, options.root):
            print(path)
        return 0
    if options.repeats < 3 or options.seconds <= 0 or min(options.threads, options.block_sizes) < 1:
        raise UserError(
            "--repeats must be at least 3, --seconds positive, --threads and --block-sizes at least 1"
        )
    _measure(options, results)
    return 0


def _measure(options: argparse.Namespace, results: Results) -> None:
    import time

    began = time.monotonic()
    threads = pin_threads(options.threads)
    # From here on: what is imported next makes its threads now.
    from rich.console import Console

    from experiments.benchmark import dense_side, machine
    from experiments.benchmark.block_report import row_line
    from experiments.provenance import PACKAGES, provenance

    console = Console(highlight=False)
    peers = dense_side.available_peers(options.peers)
    for absent in set(options.peers) - set(peers):
        console.print(f"{absent} is not installed (pip install '.[benchmark]'): rows go without it")
    load = machine.load_average()
    if "torch" in peers:
        import torch  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(threads)
    run_id = results.begin_run(
        {**provenance((*PACKAGES, "torch")), "threads": threads, "load_average": load}
    )
    for name, wanted, measure in _work(options, peers):
        if options.missing and wanted <= {tuple(row[k] for k in KEY) for row in results.rows}:
            continue
        if time.monotonic() - began > options.seconds_left:
            console.print("out of time; --missing goes on here")
            break
        console.print(f"[bold]{name}[/bold]")
        for row in measure():
            results.put({**row, "run": run_id})
            console.print(f"  {row_line(row)}", soft_wrap=True)
        results.save()


def _work(options: argparse.Namespace, peers: list[str]):
    """Name, keys of the rows and a function that measures them, group by group."""
    from experiments.benchmark import block_cases as cases

    effort = Effort(seconds=options.seconds, repeats=(3, options.repeats))
    asked = options.sparsities or cases.SPARSITIES
    made: dict[str, Any] = {}

    def once(name, function):
        if name not in made:
            made[name] = function()
        return made[name]

    if "layers" in options.parts:
        from experiments.benchmark.block_measure import Search, measure_group

        masks = cases.synthetic(tuple(asked))
        if options.kitti:
            masks.append(cases.nearest(cases.road_masks(options.kitti, cases.GRID), cases.ROAD))
            masks.append(cases.nearest(cases.box_masks(options.kitti, cases.GRID), cases.BOXES))
        for group in cases.groups(tuple(options.layers)):
            if group.height in options.heights:
                keys = {("layer", group.layer, group.size, *_key(mask)) for mask in masks}
                search = Search(sizes=options.block_sizes)
                yield (
                    str(group),
                    keys,
                    lambda group=group, search=search: measure_group(
                        group, masks, peers, effort, search
                    ),
                )
    rest = [part for part in ("network", "frames") if part in options.parts]
    if not rest or not options.kitti:
        return
    from experiments.benchmark.block_network import Network, measure_network
    from jaxsparse import data

    grid = data.BirdsEyeGrid()
    points = once("points", lambda: dict(cases.sweeps(options.kitti)))
    roads = once("roads", lambda: cases.road_masks(options.kitti, grid))
    size = "x".join(map(str, grid.shape))
    for part in rest:
        if part == "network":
            boxes = cases.nearest(cases.box_masks(options.kitti, grid), cases.BOXES)
            corner = cases.Mask("top-left", "", 0.9, cases.top_left(*grid.shape[:2], 0.9))
            batches = [[corner, cases.nearest(roads, cases.ROAD), boxes]]
        else:
            chosen = [m for m in roads if not options.frames or m.frame in options.frames]
            chosen.sort(key=lambda mask: mask.asked)
            batches = [chosen[i : i + 4] for i in range(0, len(chosen), 4)]
        label = {"network": "network", "frames": "frame"}[part]
        for batch in batches:
            keys = {(label, "network", size, *_key(mask)) for mask in batch}
            needed = {m.frame: points[m.frame] for m in batch if m.frame in points}

            def measure(batch=batch, needed=needed, label=label):
                network = once("network", lambda: Network(grid.shape))
                return measure_network(network, batch, needed, grid, effort, part=label)

            yield f"{part}: {', '.join(m.frame or m.kind for m in batch)}", keys, measure


def _key(mask) -> tuple[str, str, float]:
    return mask.kind, mask.frame, round(mask.asked, 4)
