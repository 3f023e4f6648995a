"""Table 2 of ILA-SCNN: time and memory of one epoch of ModelNet40 at several resolutions."""

import itertools
import json
import statistics
import time
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from experiments.config import ExperimentConfig, load_config
from experiments.data import load_dataset, train_batches
from experiments.figures.spec import EpochCostConfig
from experiments.models import build_model
from experiments.optimizers import build_optimizer
from experiments.train.step import make_steps
from jaxsparse.models import OctNet3, octnet3_table

WARM_UP = 2

PAPER = {
    16: {"octnet_s": 16, "sparse_s": 130, "octnet_mb": 3.83, "sparse_mb": 11.25},
    32: {"octnet_s": 66, "sparse_s": 328, "octnet_mb": 20.49, "sparse_mb": 45},
    64: {"octnet_s": 330, "sparse_s": 696, "octnet_mb": 114.23, "sparse_mb": 180},
    128: {"octnet_s": 2043, "sparse_s": 380, "octnet_mb": 549.28, "sparse_mb": 720},
    256: {"octnet_s": None, "sparse_s": 1271, "octnet_mb": None, "sparse_mb": 2880},
}
"""Table 2 as printed (seconds, megabytes), on a Titan Xp; OctNet does not fit at 256^3."""


def measure(config: EpochCostConfig, path: Path) -> list[dict[str, Any]]:
    """A JSON-like row for each resolution and twin; ``path`` is the figure's file."""
    rows = []
    for resolution in config.resolutions:
        for sparse in (True, False) if resolution in config.dense else (True,):
            rows.append(_row(config, path, resolution, sparse))
            print(_progress(rows[-1]), flush=True)
    return rows


def _progress(row: dict[str, Any]) -> str:
    twin = "sparse" if row["sparse"] else "dense"
    return f"{row['resolution']:4d}^3 {twin:6s} {1e3 * row['step_s']:10.1f} ms a step"


def experiment(
    config: EpochCostConfig, path: Path, resolution: int, *, sparse: bool
) -> ExperimentConfig:
    """The experiment of one row: the bounds are 1/r in every sparse stage, as in the paper."""
    settings = {
        **config.set,
        "data.resolution": resolution,
        "train.batch_size": config.batch_size,
        "model.sparse": sparse,
        "model.preset": None,
        "model.densities": None,
    }
    texts = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    stages = len(octnet3_table.column((resolution,) * 3).stages)
    texts.append(f"model.densities={json.dumps([1 / resolution] * stages)}")
    return load_config(path.parent / config.base, texts)


def _row(config: EpochCostConfig, path: Path, resolution: int, sparse: bool) -> dict[str, Any]:
    run = experiment(config, path, resolution, sparse=sparse)
    dataset = load_dataset(run.data)
    model = build_model(run.model, dataset, seed=run.seed)
    steps_per_epoch = len(dataset.train) // run.train.batch_size
    optimizer = build_optimizer(
        run, model, total_steps=steps_per_epoch, steps_per_epoch=steps_per_epoch
    )
    steps = make_steps(model, optimizer, run.seed)
    batches = train_batches(dataset.train, run.train.batch_size, run.seed)
    state, samples = steps.state, []
    memory = _memory(steps, next(batches))
    for number in range(WARM_UP + config.steps):
        batch = next(batches)
        begin = time.perf_counter()
        state, metrics = steps.train(state, batch)
        jax.block_until_ready(metrics["loss"])
        if number >= WARM_UP:
            samples.append(time.perf_counter() - begin)
    return {
        "resolution": resolution,
        "sparse": sparse,
        "dataset": dataset.name,
        "train_size": len(dataset.train),
        "batch_size": run.train.batch_size,
        "optimizer": run.optimizer.kind,
        "steps_per_epoch": steps_per_epoch,
        "samples": samples,
        "step_s": statistics.median(samples),
        "epoch_s": statistics.median(samples) * steps_per_epoch,
        "parameters": _parameters(model),
        **memory,
    }


def _memory(steps: Any, batch: Any) -> dict[str, int | None]:
    """What the compiled step holds besides parameters and optimiser state: the activations and the workspace."""
    compiled = steps.train.lower(steps.state, batch).compile()
    analysis = compiled.memory_analysis()
    return {"temporaries": analysis.temp_size_in_bytes if analysis else None}


def _parameters(model: OctNet3) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def lines(config: EpochCostConfig, rows: list[dict[str, Any]]) -> list[str]:
    """The page behind its title, as Markdown."""
    first = rows[0]
    text = [
        f"Data: {first['dataset']}, {first['train_size']:,} training objects. Setting: batch {first['batch_size']}, "
        f"bounds 1/r in every sparse stage, {first['optimizer']}; the runner's own step, input building, metrics and "
        f"optimiser included. An epoch is the median of {len(first['samples'])} steps times the number of steps. Memory: "
        "what the compiled step sets aside for activations, gradients and workspace, per batch. The paper's times are of "
        "a Titan Xp: the machines differ, so no difference is drawn from them, only the growth with the resolution.",
        "",
        "| resolution | network | a step | an epoch | memory | paper: OctNet | paper: sparse | paper: memory of both |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        paper = PAPER.get(row["resolution"], {})
        octnet = _time(paper.get("octnet_s")) if paper else ""
        sparse = _time(paper.get("sparse_s")) if paper else ""
        held = f"{_mb(paper.get('octnet_mb'))}, {_mb(paper.get('sparse_mb'))}" if paper else ""
        memory = row["temporaries"]
        text.append(
            f"| {row['resolution']}^3 | {'sparse' if row['sparse'] else 'dense twin'} | {1e3 * row['step_s']:.0f} ms "
            f"| {_time(row['epoch_s'])} | {'' if memory is None else f'{memory / 1e6:.0f} MB'} "
            f"| {octnet} | {sparse} | {held} |"
        )
    sparse_rows = [row for row in rows if row["sparse"]]
    text += [
        "",
        "| growth, sparse | time of an epoch: paper | ours | memory: paper | ours |",
        "|---|---|---|---|---|",
    ]
    for small, large in itertools.pairwise(sparse_rows):
        a, b = PAPER.get(small["resolution"]), PAPER.get(large["resolution"])
        times, held = ("", "")
        if a and b:
            times = f"{b['sparse_s'] / a['sparse_s']:.1f}"
            held = f"{b['sparse_mb'] / a['sparse_mb']:.1f}"
        ours = (
            f"{large['temporaries'] / small['temporaries']:.1f}"
            if small["temporaries"] and large["temporaries"]
            else ""
        )
        text.append(
            f"| {small['resolution']}^3 to {large['resolution']}^3 | {times} "
            f"| {large['epoch_s'] / small['epoch_s']:.1f} | {held} | {ours} |"
        )
    return text


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "does not fit"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _mb(value: float | None) -> str:
    return "does not fit" if value is None else f"{value:g} MB"


def draw(config: EpochCostConfig, rows: list[dict[str, Any]], path: Path) -> None:
    """The picture, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    times, memory = figure.subplots(1, 2)
    for sparse, colour in ((True, "#2274a5"), (False, "#9e2a2b")):
        chosen = [row for row in rows if row["sparse"] is sparse]
        if not chosen:
            continue
        label = "sparse" if sparse else "dense twin"
        r = [row["resolution"] for row in chosen]
        times.plot(r, [row["epoch_s"] for row in chosen], "o-", color=colour, label=label)
        held = [(row["resolution"], row["temporaries"]) for row in chosen if row["temporaries"]]
        memory.plot(
            [x for x, _ in held], [y / 1e6 for _, y in held], "o-", color=colour, label=label
        )
    for axes, what in ((times, "an epoch, s"), (memory, "memory of a step, MB")):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(config.resolutions, [str(r) for r in config.resolutions])
        axes.set_xlabel("r")
        axes.set_ylabel(what)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)
