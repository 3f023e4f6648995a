"""The end of a run: one table on the screen, one JSON file beside the metrics."""

from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.train.layers import LayerInfo


def layer_rows(
    layers: list[LayerInfo], metrics: dict[str, Any], rho: list[float | None]
) -> list[dict]:
    """One JSON-like row a layer: what it stored over the test set against what it may store.

    Args:
      layers: of ``describe_layers``.
      metrics: of ``run_test``: ``layers`` and, of a run that prunes, ``live``.
      rho: the configured density of each layer, ``None`` where there is none.
    """
    stats, live = metrics["layers"], metrics.get("live", {})
    return [
        {
            "layer": info.name,
            "spatial_shape": list(info.spatial_shape),
            "channels": info.channels,
            "rho": rho[index],
            "capacity": info.capacity,
            "bound": info.bound,
            "stored": stats["stored"][index],
            "found": stats["found"][index],
            "peak": stats["peak"][index],
            "dropped": stats["dropped"][index],
            "within_bound": (info.shared or stats["stored"][index] <= info.bound * (1 + 1e-6))
            and stats["peak"][index] <= info.capacity,
            **(
                {"live_weights": live[info.name], "weights": info.weights}
                if info.name in live
                else {}
            ),
        }
        for index, info in enumerate(layers)
    ]


def _print_layers(console: Console, result: dict[str, Any]) -> None:
    pruned = any("live_weights" in row for row in result["layers"])
    table = Table(
        title=f"{result['name']}: {result['dataset']}",
        title_justify="left",
        padding=(0, 0 if pruned else 1),  # a column more has to fit into 80 characters
    )
    table.add_column("layer")
    for title in ("size", "entries", "bound", "density", "found", "dropped", "ok"):
        table.add_column(title, justify="right")
    if pruned:
        table.add_column("live", justify="right")
    for row in result["layers"]:
        volume = 1
        for extent in row["spatial_shape"]:
            volume *= extent
        table.add_row(
            row["layer"],
            f"{'x'.join(map(str, row['spatial_shape']))} x {row['channels']}",
            f"{min(row['capacity'], volume)}/{volume}",
            f"{row['bound']:.4f}",
            f"{row['stored']:.4f}",
            f"{row['found']:.4f}",
            f"{max(row['dropped'], 0.0):.1f}",  # of several devices perhaps a rounding below 0
            "yes" if row["within_bound"] else "NO",
            *([_live(row)] if pruned else []),
        )
    console.print(table)
    console.print(
        "entries: what a channel may store, of its volume. density: what it stored, mean\n"
        "over the split. found: before the cut. dropped: entries cut, a sample."
        + ("\nlive: the weights that pruning left." if pruned else ""),
        highlight=False,
    )


def _live(row: dict[str, Any]) -> str:
    return f"{100 * row['live_weights'] / row['weights']:.1f}%" if "weights" in row else ""


def _print_notes(console: Console, result: dict[str, Any]) -> None:
    for note in result["notes"]:
        console.print(note, highlight=False, markup=False)


def print_evaluation(console: Console, result: dict[str, Any]) -> None:
    """The table of an evaluation, from its result."""
    _print_layers(console, result)
    console.print(
        f"{result['split']} accuracy  [bold]{result['accuracy']:.4f}[/bold]  "
        f"(loss {result['loss']:.4f}, {result['images']} images, step {result['steps']})",
        highlight=False,
    )
    _print_notes(console, result)


def print_summary(console: Console, result: dict[str, Any]) -> None:
    """The final table of a run, from its result."""
    _print_layers(console, result)
    test = result["test"]
    console.print(
        f"test accuracy  [bold]{test['accuracy']:.4f}[/bold]  "
        f"(loss {test['loss']:.4f}, {result['epochs']} epochs)",
        highlight=False,
    )
    if result["step_ms"] is not None:  # some step was taken
        first = result["first_step_s"]  # in this process
        console.print(
            f"time per step  [bold]{result['step_ms']:.1f} ms[/bold]  "
            f"(median, batch {result['config']['train']['batch_size']})\n"
            + ("" if first is None else f"first step {first:.1f} s; ")
            + f"{100 * result['input_wait']:.1f} % of the time spent waiting for data",
            highlight=False,
        )
    _print_notes(console, result)
    if result["smoke_test"]:
        console.print(
            "A smoke test: on these digits the accuracy says nothing about the method. On MNIST:\n"
            "  python -m experiments train configs/mnist.yaml data.root=DIR",
            highlight=False,
        )
