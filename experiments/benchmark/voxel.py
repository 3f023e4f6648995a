"""``python -m experiments benchmark voxel``: spatially sparse convolution against spconv, Open3D and dense XLA, on CPU."""

import argparse
from pathlib import Path
from typing import Any

from experiments.benchmark.store import Results
from experiments.benchmark.timing import Effort, alternate, pin_threads
from experiments.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
KEY = ("workload", "channels", "passes", "threads", "peer")


def add_parser(subjects) -> None:
    """Adds ``voxel`` to the subjects of ``benchmark``."""
    parser = subjects.add_parser(
        "voxel",
        help="spatially sparse convolution on CPU",
        description="Time submanifold convolutions on shells of a sphere, map building, and the basic network of spconv's "
        "benchmark, taking turns with spconv and Open3D in an environment of their own (make peers) and with dense XLA. Rows "
        "go to the result file as they come; a later run replaces those that it measures again. Peers run on one thread "
        "only: spconv is wrong on two.",
        epilog="example: python -m experiments benchmark voxel --threads 1 --basic spconv_bench/basic.npz",
    )
    parser.add_argument("--resolutions", type=int, nargs="*", default=(64, 128))
    parser.add_argument("--channels", type=int, nargs="+", default=(16, 32, 64))
    parser.add_argument(
        "--basic", type=Path, metavar="NPZ",
        help="features, coords and spatial_shape of spconv's basic benchmark; left out: not measured",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--peers", type=Path, metavar="PYTHON", default=ROOT / ".venv-peers/bin/python",
        help="interpreter of the environment with spconv and Open3D (default: .venv-peers/bin/python)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="aim for each call's samples (default: 1)"
    )
    parser.add_argument(
        "--repeats", type=int, default=21, help="most samples of a call (default: 21)"
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT / "experiments/results/benchmark_voxel_cpu.json",
        help="the result file (default: experiments/results/benchmark_voxel_cpu.json)",
    )  # fmt: skip
    parser.add_argument(
        "--report", action="store_true",
        help="measure nothing; write docs/benchmarks/voxel.md from the result file",
    )  # fmt: skip
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="where docs/ is (default: the checkout)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures, or writes the report."""
    results = Results(options.output, KEY)
    if options.report:
        from experiments.benchmark.voxel_report import write_report

        print(write_report(results, options.root))
        return 0
    _measure(options, results)
    return 0


def _measure(options: argparse.Namespace, results: Results) -> None:
    if options.repeats < 3 or options.seconds <= 0 or options.threads < 1:
        raise UserError("--repeats must be at least 3, --seconds positive, --threads at least 1")
    if options.basic is not None and not options.basic.is_file():
        raise UserError(f"--basic: there is no file {options.basic}")
    threads = pin_threads(options.threads)
    # From here on: what is imported next makes its threads now.
    import itertools

    from rich.console import Console

    from experiments.benchmark import machine, voxel_workloads
    from experiments.benchmark.voxel_report import line
    from experiments.provenance import provenance

    console = Console(highlight=False)
    load = machine.load_average()
    if load > 0.5:
        console.print(f"load average {load}: if something else is running, these times are worth little")  # fmt: skip
    worker, versions = _worker(options, threads, console)
    run_id = results.begin_run(
        {
            **provenance(),
            "threads": threads,
            "load_average": load,
            "peers": versions,
            "ceilings": machine.ceilings(threads),
        }
    )
    effort = Effort(seconds=options.seconds, repeats=(3, options.repeats))
    workloads: Any = voxel_workloads.shells(tuple(options.resolutions), tuple(options.channels))
    if options.basic is not None:
        workloads = itertools.chain(workloads, [voxel_workloads.basic(options.basic)])
    for workload in workloads:
        for row in measure(workload, worker, threads, effort):
            results.put({**row, "run": run_id})
            console.print(line(row), soft_wrap=True)
        results.save()
    if worker is not None:
        worker.close()


def _worker(options, threads, console):
    """The peers' process, and what is installed there; None without one."""
    from experiments.benchmark.voxel_peers import PeerError, Worker

    if threads != 1:
        console.print("peers are left out: spconv is wrong on more than one thread")
        return None, {}
    if not options.peers.exists():
        console.print(f"peers are missing: there is no {options.peers} (make peers)")
        return None, {}
    worker = Worker(options.peers, threads)
    try:
        return worker, worker.ask(do="versions")
    except PeerError as error:
        console.print(f"peers are missing: {error}")
        return None, {}


def measure(workload, worker, threads: int, effort: Effort) -> list[dict[str, Any]]:
    """One JSON-like row a call; a peer that cannot do it gets a row that says why."""
    from experiments.benchmark.voxel_peers import PeerError

    calls, failed = dict(workload.calls), {}
    for peer, (method, arguments) in workload.peers.items():
        if worker is None:
            break
        try:
            calls[peer] = worker.call(peer, method, arguments)
        except PeerError as error:
            failed[peer] = str(error)
    timings = alternate(calls, effort)
    common = {
        "workload": workload.name,
        "passes": workload.passes,
        "threads": threads,
        "flops": workload.flops,
        **workload.facts,
    }
    rows = [
        {
            **common,
            "peer": peer,
            "ms_median": 1e3 * timing.median,
            "ms_best": 1e3 * timing.best,
            "ms_cold": 1e3 * timing.cold,
            "spread": timing.spread,
            "repeats": timing.repeats,
        }
        for peer, timing in timings.items()
    ]
    return rows + [{**common, "peer": peer, "failed": why} for peer, why in failed.items()]
