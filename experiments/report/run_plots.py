"""The figures of one run."""

from typing import Any

from experiments.report.blocks import Block, Panel, Plot, Text
from experiments.report.files import at, number
from experiments.report.record import Point, RunRecord
from experiments.report.traces import COLOURS, LONGEST, axes, colour, level, line, thinned

TRAIN, TEST = colour(1), colour(0)
ALL = "#7d8590"


def curves(run: RunRecord) -> list[Block]:
    """Loss and accuracy, training and test."""
    if not run.lines:
        return [Text("There are no lines of metrics to draw.", missing=True)]
    panels = []
    for key, title, unit in (
        ("loss", "Loss", "cross-entropy (nats)"),
        ("accuracy", "Accuracy", "share of images"),
    ):
        trained, tested = run.curve(run.training, key), run.curve(run.tests, key)
        traces = []
        if trained:
            traces.append(
                line(thinned(trained), "training", TRAIN, width=1.5, opacity=0.8, mode="lines")
            )
        if tested:
            traces.append(line(thinned(tested), "test", TEST, width=2.5, mode="lines+markers"))
        layout = axes(run.x_title, unit, zero=key == "loss", share=key == "accuracy")
        panels.append(Panel(traces, layout, title=title))
    text = "Test: over the whole test set, dropout off. "
    if run.training:
        text += "Training: means over the steps between two lines of the log, dropout on."
    else:
        text += "The training's own course is not in this file."
    if len(run.training) > LONGEST:
        text += f" Its {len(run.training):,} lines are averaged to {LONGEST} points at most."
    return [Plot("curves", "Loss and accuracy", text, panels)]


def densities(run: RunRecord, bounds: dict[str, float]) -> list[Block]:
    """Density of every layer over the epochs: stored, found, and the bound.

    Args:
      run: what is known of it.
      bounds: of layers, as far as they are known without its result.
    """
    names = run.layer_names("density")
    if not names:
        return [
            Text(
                "Density over the epochs is not known: it stands in metrics.jsonl of the run's folder, and this is "
                "only its result."
                if not run.training
                else "There is no test yet, and with it no density of a layer.",
                missing=True,
            )
        ]
    known = {str(row.get("layer")): number(row.get("bound")) for row in run.layers}
    bounds |= {name: bound for name, bound in known.items() if bound is not None}
    panels = []
    for name in names:
        stored = run.curve(run.tests, "density", name)
        found = run.curve(run.tests, "found", name)
        traces = [
            line(thinned(found), "found before the cut", colour(1), dash="dash"),
            line(thinned(stored), "stored", colour(0)),
        ]
        bound = bounds.get(name)
        drawn = [x for x, _ in stored + found]
        if bound is not None and drawn:
            span = (min(drawn), max(drawn))
            traces.append(level(bound, span, "bound", colour(6), "dot"))
        panels.append(Panel(traces, axes(run.x_title, "density", zero=True), title=name))
    text = (
        "Mean over the test set and the layer's channels: the share of the volume's voxels. What a convolution finds "
        "above its bound is cut, the weakest responses first."
    )
    if not bounds:
        text += (
            " The bounds are not known: they are written with the result, at the end of the run."
        )
    return [Plot("densities", "Density of every layer", text, panels, height=180)]


def dropped(run: RunRecord) -> list[Block]:
    """Entries that were cut, over the epochs."""
    names = run.layer_names("dropped")
    if not names:
        return [Text("Entries dropped over the epochs are not in this file.", missing=True)]
    traces = []
    for index, name in enumerate(names):
        points = run.curve(run.tests, "dropped", name)
        if any(y > 0 for _, y in points):
            traces.append(_of_layer(points, name, index))
    if not traces:
        return [Text("No layer dropped an entry: everything fitted below the bounds.")]
    text = "Responses that did not fit below the bound, summed over the layer's channels; layers that dropped none are left out."
    layout = axes(run.x_title, "entries a sample", zero=True)
    return [Plot("dropped", "Entries dropped", text, [Panel(traces, layout)])]


def live_weights(run: RunRecord) -> list[Block]:
    """Weights that pruning left, by layer."""
    prunes = at(run.config, "pruning") is not None
    if not run.layer_names("live"):
        return [
            Text(
                "Weights left over the epochs are not in this file.", missing=True
            )  # of a run that prunes
            if prunes
            else Text("This run does not prune: all weights stay.")
        ]
    traces: list[dict[str, Any]] = []
    order = run.layer_names("density")
    for index, name in enumerate(run.weights):
        points = [(x, 100 * y / run.weights[name]) for x, y in run.curve(run.tests, "live", name)]
        traces.append(_of_layer(points, name, order.index(name) if name in order else index))
    traces.append(line(thinned(run.live), "all together", ALL, width=4))
    total = sum(run.weights.values())
    text = f"Share of the weights of the sparse convolutions ({total:,.0f} in all) that pruning has left."
    layout = axes(run.x_title, "weights left (%)", zero=True)
    return [Plot("live", "Live weights", text, [Panel(traces, layout)])]


def step_time(run: RunRecord) -> list[Block]:
    """Milliseconds a step, and the share of it that waited."""
    if not run.step_times:
        return [
            Text(
                "Step times over the epochs are not in this file."
                if run.tests
                else "There is no step time yet.",
                missing=True,
            )
        ]
    batch = at(run.config, "train", "batch_size")
    text = (
        f"Median of every epoch; a step is one update from a batch of {batch}. The first step, which compiles, tests "
        "and checkpoints are left out."
    )
    panels = [
        Panel(
            [line(thinned(run.step_times), "step", colour(0))],
            axes("epoch", "milliseconds a step", zero=True),
            title="Time of a step",
        ),
        Panel(
            [line(thinned(run.waiting), "waiting", colour(1))],
            axes("epoch", "waiting for data (%)", zero=True),
            title="Share of it waiting for data",
        ),
    ]
    panels = [panel for panel in panels if panel.traces[0]["x"]]
    return [Plot("steps", "Step time", text, panels, height=240)]


def _of_layer(points: list[Point], name: str, index: int) -> dict[str, Any]:
    """A curve in the colour that the layer has in all figures; those behind the last colour are dashed."""
    return line(
        thinned(points), name, colour(index), dash="solid" if index < len(COLOURS) else "dash"
    )
