"""The figures of a sweep and of a table: settings beside each other, their seeds, the paper."""

from collections.abc import Callable, Sequence

from experiments.report.blocks import Block, Panel, Plot, Text
from experiments.report.files import number
from experiments.report.many import Setting, comparable, scale_of
from experiments.report.record import Point, RunRecord
from experiments.report.traces import PALE, axes, colour, dots, level, line, plain, thinned

MANY = 12
"""Settings up to which the curves of every one are drawn in a colour of its own."""


def accuracy_against_bound(settings: Sequence[Setting]) -> list[Block]:
    """Every seed, the mean, the dense twin and the paper, over the bound of the first convolution."""
    traces = []
    bounds: set[float] = set()
    groups = [
        (label, group)
        for label, group in comparable(settings)
        if any(s.bound is not None and s.accuracies for s in group)
    ]
    bounds = {s.bound for _, group in groups for s in group if s.bound is not None and s.accuracies}
    if not bounds or (len(bounds) < 2 and not any(s.dense for _, g in groups for s in g)):
        return []
    span = (min(bounds) / 1.15, max(bounds) * 1.15)
    for index, (label, group) in enumerate(groups):
        shade, of = colour(index), f": {label}" if label else ""
        sparse = sorted((s for s in group if s.bound is not None and s.accuracies), key=_bound)
        seeds = [
            (_bound(s), run.accuracy, f"seed {run.seed}")
            for s in sparse
            for run in s.done
            if run.accuracy is not None
        ]
        traces.append(
            dots([s[:2] for s in seeds], f"each seed{of}", shade, text=[s[2] for s in seeds])
        )
        means = [(_bound(s), m) for s in sparse if (m := s.mean("accuracy")) is not None]
        traces.append(line(means, f"mean{of}", shade, mode="lines+markers", size=8))
        paper = [(_bound(s), s.paper) for s in sparse if s.paper is not None]
        if paper:
            traces.append(
                dots(paper, f"paper{of}", shade, symbol="diamond-tall", size=11, opacity=0.9)
            )
        for setting in group:
            mean = setting.mean("accuracy") if setting.dense else None
            if mean is not None:
                traces.append(level(mean, span, f"dense twin, mean{of}", shade))
    text = (
        "Test accuracy at the end over the density bound of the first sparse convolution (the axis is logarithmic). "
        "The dense twin is the same network with dense convolutions. Networks that differ in more than the bound "
        "have another colour."
    )
    layout = axes("density bound", "test accuracy", share=True, ticks=sorted(bounds))
    return [Plot("bound", "Accuracy against the bound", text, [Panel(traces, layout)], height=400)]


def curves_by_setting(settings: Sequence[Setting]) -> list[Block]:
    """Test loss and accuracy of every run over the epochs, a colour a setting."""
    shown = [setting for setting in settings if any(run.tests for run in setting.runs)]
    if not shown:
        return [Text("No run has finished an epoch yet.", missing=True)]
    text = "A line a run, a colour a setting." + (
        f" Of {len(shown)} settings the first {MANY}." if len(shown) > MANY else ""
    )
    panels = [
        _over_epochs(title, unit, shown, lambda run, key=key: run.curve(run.tests, key))
        for key, title, unit in (
            ("accuracy", "Test accuracy", "share of images"),
            ("loss", "Test loss", "cross-entropy (nats)"),
        )
    ]
    return [Plot("curves-by-setting", "Test accuracy and loss by setting", text, panels)]


def sparsity_by_setting(settings: Sequence[Setting]) -> list[Block]:
    """Weights left and the time of an epoch over the epochs, and one over the other: of sweeps that prune."""
    shown = [setting for setting in settings if any(run.live for run in setting.runs)][:MANY]
    if not shown:
        return []
    panels = [_over_epochs("Weights left", "weights left (%)", shown, lambda run: run.live)]
    if any(run.step_times for setting in shown for run in setting.runs):
        panels.append(_over_epochs("Time of an epoch", "seconds an epoch", shown, _epoch_times))
        traces = []
        for index, setting in enumerate(shown):
            points = [
                (live, ms, f"epoch {epoch:g}, seed {run.seed}")
                for run in setting.runs
                for epoch, live, ms in _pairs(run)
            ]
            if points:
                traces.append(
                    dots(
                        [p[:2] for p in points],
                        setting.title,
                        colour(index),
                        text=[p[2] for p in points],
                    )
                )
        layout = axes("weights left (%)", "milliseconds a step", zero=True)
        layout["xaxis"]["autorange"] = "reversed"
        panels.append(Panel(traces, layout, title="Step time against live weights"))
    text = (
        "Share of the weights of all sparse convolutions that pruning has left, and the median step of every epoch times "
        "its steps (the paper's Fig. 6, left and middle); on the right a point an epoch. Tests and checkpoints are left "
        "out. Runs side by side share a machine: compare times within a sweep only."
    )
    return [Plot("live-by-setting", "Weights and time by setting", text, panels)]


def density_by_layer(settings: Sequence[Setting]) -> list[Block]:
    """What the layers store and find at the end, by setting."""
    shown = [setting for setting in settings if any(run.layers for run in setting.done)]
    if not shown:
        return [Text("No run has a table of layers yet.", missing=True)]
    panels = []
    for key, title in (("stored", "Stored"), ("found", "Found before the cut")):
        traces = []
        for index, setting in enumerate(shown[:MANY]):
            rows = next(run.layers for run in setting.done if run.layers)
            known = [(str(r.get("layer")), number(r.get(key))) for r in rows]
            trace = line(
                [(0.0, y) for _, y in known if y is not None], setting.title, colour(index)
            )
            trace["x"] = [plain(name) for name, y in known if y is not None]
            traces.append(trace | {"mode": "lines+markers"})
        panels.append(Panel(traces, axes("layer", "density", zero=True), title=title))
    text = (
        "Mean over the test set after the last epoch, of the first finished run of each setting."
        + (f" Of {len(shown)} settings the first {MANY}." if len(shown) > MANY else "")
    )
    return [Plot("density-by-layer", "Density of every layer at the end", text, panels, height=280)]


def against_scale(settings: Sequence[Setting]) -> list[Block]:
    """Weights left, epoch time and accuracy at the end over the regulariser's lambda."""
    scaled = [(value, s) for s in settings if (value := scale_of(s)) is not None and s.done]
    if len({value for value, _ in scaled}) < 2:
        return []
    panels = []
    for what, title, unit in (
        ("live_share", "Weights left", "weights left (%)"),
        ("epoch_s", "Time of an epoch", "seconds an epoch"),
        ("accuracy", "Accuracy", "test accuracy"),
    ):
        points = [
            (value, known, run)
            for value, setting in scaled
            for run in setting.done
            if (known := getattr(run, what)) is not None
        ]
        if not points:
            continue
        seeds = dots(
            [(x, y) for x, y, _ in points],
            "each run",
            colour(0),
            opacity=PALE,
            text=[f"{run.name}, seed {run.seed}" for _, _, run in points],
        )
        values = sorted({value for value, _, _ in points})
        means = [(v, _mean([y for x, y, _ in points if x == v])) for v in values]
        layout = axes(
            "lambda (regularizer.scale)", unit, zero=what != "accuracy", share=what == "accuracy"
        )
        mean = line(means, "mean", colour(0), mode="lines+markers", size=8)
        panels.append(Panel([seeds, mean], layout, title=title))
    text = (
        "At the end of the run, over the strength of the density regularisation (the paper's Fig. 6; there ModelNet40 at "
        "64^3 over 90 epochs)."
    )
    return [Plot("scale", "Against lambda", text, panels, height=260)] if panels else []


def against_axes(settings: Sequence[Setting], done: Sequence[str]) -> list[Block]:
    """Accuracy over every key with several numbers; ``done``: keys that have a figure of their own."""
    panels = []
    keys = dict.fromkeys(key for setting in settings for key in setting.values)
    for key in keys:
        points = [
            (value, accuracy)
            for setting in settings
            if (value := number(setting.values.get(key))) is not None
            for accuracy in setting.accuracies
        ]
        values = sorted({value for value, _ in points})
        if key in done or len(values) < 2:
            continue
        means = [(v, _mean([y for x, y in points if x == v])) for v in values]
        logarithmic = values[0] > 0 and values[-1] / values[0] >= 8
        layout = axes(key, "test accuracy", share=True, ticks=_few(values) if logarithmic else None)
        traces = [
            dots(points, "each run", colour(0), opacity=PALE),
            line(means, "mean over all other settings", colour(0), mode="lines+markers", size=7),
        ]
        panels.append(Panel(traces, layout, title=key))
    if not panels:
        return []
    text = "Test accuracy at the end over one key at a time, whatever the others are."
    return [Plot("axes", "Accuracy against each setting", text, panels, height=260)]


def _over_epochs(
    title: str, unit: str, settings: Sequence[Setting], curve: Callable[[RunRecord], list[Point]]
) -> Panel:
    traces = [
        line(thinned(curve(run)), setting.title, colour(index), width=1.8, opacity=0.85)
        for index, setting in enumerate(settings[:MANY])
        for run in setting.runs
        if curve(run)
    ]
    share = unit.startswith("share")
    return Panel(traces, axes("epoch", unit, zero=not share, share=share), title=title)


def _epoch_times(run: RunRecord) -> list[Point]:
    steps = run.steps_per_epoch
    return [(epoch, ms * steps / 1e3) for epoch, ms in run.step_times] if steps else []


def _pairs(run: RunRecord) -> list[tuple[float, float, float]]:
    times = {round(epoch): ms for epoch, ms in run.step_times}
    return [(x, live, times[round(x)]) for x, live in run.live if round(x) in times]


def _bound(setting: Setting) -> float:
    assert setting.bound is not None
    return setting.bound


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _few(values: Sequence[float]) -> list[float]:
    """At most six of ascending values, the ends among them."""
    if len(values) <= 6:
        return list(values)
    return [values[round(index * (len(values) - 1) / 5)] for index in range(6)]
