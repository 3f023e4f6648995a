"""``python -m experiments benchmark live-weights``: what a network gains as its filters thin out, on CPU."""

import argparse
import itertools
import time
from pathlib import Path
from typing import Any

from experiments.benchmark.store import Results
from experiments.benchmark.timing import Effort, alternate, pin_threads
from experiments.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
KEY = ("workload", "live")

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}

SIZES = {
    "28": ((28, 28), (16, 100)),
    "64": ((64, 64, 64), (1,)),
    "128": ((128, 128, 128), (1,)),
}
"""Of the single layers: resolution -> spatial shape, batch sizes."""


def add_parser(subjects) -> None:
    """Adds ``live-weights`` to the subjects of ``benchmark``."""
    parser = subjects.add_parser(
        "live-weights",
        help="how cost falls with the live weights, on CPU",
        description="Time MNIST's network, its layers and single layers under masks of 100, 50, 30, 10 and 5 % live "
        "weights: one executable for all masks, taking turns. Rows go to the result file as they come; a later "
        "run replaces those that it measures again. Without --trained: the single layers only.",
        epilog="example: python -m experiments benchmark live-weights --trained runs/mnist --sizes 28",
    )
    parser.add_argument(
        "--trained", type=Path, metavar="RUN",
        help="the folder of a run of configs/mnist.yaml: its network is measured, whole and layer by layer",
    )  # fmt: skip
    parser.add_argument(
        "overrides", metavar="KEY=VALUE", nargs="*", help="override a key of the run, as in data.root=DIR"
    )  # fmt: skip
    parser.add_argument(
        "--sizes", nargs="*", default=tuple(SIZES), choices=tuple(SIZES), help="of the single layers"
    )  # fmt: skip
    parser.add_argument(
        "--batches", type=int, nargs="+", default=(16, 100), help="of the trained network"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--clock", choices=tuple(CLOCKS), default="wall",
        help="processor: the time that this process's threads computed, for a machine that does something else, too; "
        "with --threads 1, because waiting threads compute (default: wall)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="aim for each mask's samples (default: 1)"
    )
    parser.add_argument(
        "--repeats", type=int, default=21, help="most samples of a mask (default: 21)"
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT / "experiments/results/live_weights_cpu.json",
        help="the result file (default: experiments/results/live_weights_cpu.json)",
    )  # fmt: skip
    parser.add_argument(
        "--report", action="store_true",
        help="measure nothing; write docs/benchmarks/live-weights.md from the result file",
    )  # fmt: skip
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="where docs/ is (default: the checkout)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures, or writes the report."""
    results = Results(options.output, KEY)
    if options.report:
        from experiments.benchmark.live_report import write_report

        for path in write_report(results, options.root):
            print(path)
        return 0
    _measure(options, results)
    return 0


def _measure(options: argparse.Namespace, results: Results) -> None:
    if options.repeats < 3 or options.seconds <= 0 or min(options.threads, *options.batches) < 1:
        raise UserError(
            "--repeats must be at least 3, --seconds positive, --threads and --batches at least 1"
        )
    threads = pin_threads(options.threads)
    # From here on: what is imported next makes its threads now.
    from rich.console import Console

    from experiments.benchmark import live_workloads, machine
    from experiments.benchmark.live_report import curve_line
    from experiments.provenance import provenance

    console = Console(highlight=False)
    load = machine.load_average()
    if load > 0.5 and options.clock == "wall":
        console.print(
            f"load average {load}: something else is running, these times are worth little "
            "(--clock processor --threads 1 stands it)"
        )
    trained, workloads = None, []
    if options.trained is not None:
        trained = live_workloads.load(
            options.trained, tuple(options.overrides), max(options.batches)
        )
        workloads += [
            live_workloads.network_workloads(trained, options.batches),
            live_workloads.network_layers(trained, max(options.batches)),
        ]
    shapes = [(SIZES[size][0], batch) for size in options.sizes for batch in SIZES[size][1]]
    workloads.append(live_workloads.single_layers(shapes))
    run_id = results.begin_run(
        {
            **provenance(),
            "threads": threads,
            "clock": options.clock,
            "load_average": load,
            "trained": None if trained is None else trained.facts,
        }
    )
    effort = Effort(
        seconds=options.seconds, repeats=(3, options.repeats), clock=CLOCKS[options.clock]
    )
    for workload in itertools.chain(*workloads):
        rows = measure(workload, effort)
        for row in rows:
            results.put({**row, "run": run_id})
        results.save()
        console.print(curve_line(rows), soft_wrap=True)


def measure(workload, effort: Effort) -> list[dict[str, Any]]:
    """One JSON-like row a share of live weights.

    Raises:
      UserError: it was compiled more than once.
    """
    import jax
    import jax.numpy as jnp

    from experiments.benchmark.live_workloads import LIVE

    masks = {live: workload.masks(live) for live in LIVE}
    on_device = {live: jax.tree.map(jnp.asarray, mask) for live, mask in masks.items()}

    def call(live: float) -> object:
        return jax.block_until_ready(workload.run(*workload.arguments, on_device[live]))

    timings = alternate({str(live): lambda live=live: call(live) for live in LIVE}, effort)
    executables = workload.run._cache_size()
    if executables != 1:
        raise UserError(f"{workload.name}: {executables} executables, where one was to serve all")
    return [
        {
            "workload": workload.name,
            "live": live,
            "ms_median": 1e3 * timings[str(live)].median,
            "ms_best": 1e3 * timings[str(live)].best,
            "live_macs": workload.count(masks[live]),
            "live_weights": sum(int(mask.sum()) for mask in masks[live].values()),
            "weights": sum(mask.size for mask in masks[live].values()),
            "group": workload.group,
            "passes": workload.passes,
            "masks": workload.source,
            "spread": timings[str(live)].spread,
            "repeats": timings[str(live)].repeats,
            "executables": executables,
        }
        for live in LIVE
    ]
