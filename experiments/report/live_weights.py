"""How the time of a step falls with the weights that are left, from the benchmark's result file."""

from pathlib import Path

from experiments.report.blocks import Block, Facts, Panel, Plot, Table
from experiments.report.files import read_object
from experiments.report.run_tables import provenance_facts
from experiments.report.traces import axes, colour, line

FILE = "live_weights_cpu.json"
SPEEDS = [1, 2, 5, 10, 20, 50, 100]


def live_weights(root: Path) -> list[Block]:
    """Nothing where there is no such file.

    Args:
      root: the folder that holds ``experiments/results``.

    Raises:
      ValueError: the file is damaged.
    """
    notes: list[str] = []
    path = root / "experiments" / "results" / FILE
    held = read_object(path, notes)
    if notes:
        raise ValueError(notes[0])
    if held is None:
        return []
    workloads: dict[str, list[dict]] = {}
    for row in held["rows"]:
        workloads.setdefault(str(row["workload"]), []).append(row)
    times, speeds, rows = [], [], []
    for index, (name, measured) in enumerate(workloads.items()):
        measured = sorted(measured, key=lambda row: -row["live"])
        full = measured[0]
        shares = [100 * row["live"] for row in measured]
        median = [row["ms_median"] for row in measured]
        best = [row["ms_best"] for row in measured]
        faster = [full["ms_median"] / ms for ms in median]
        macs = [full["live_macs"] / max(row["live_macs"], 1) for row in measured]
        of = f": {name}" if len(workloads) > 1 else ""
        shade = colour(index)
        for curve, points, dash in (("median", median, "solid"), ("best", best, "dot")):
            pairs = list(zip(shares, points, strict=True))
            times.append(line(pairs, f"{curve}{of}", shade, dash=dash))
        for curve, points, dash in (
            ("time", faster, "solid"),
            ("multiply-adds alone", macs, "dash"),
        ):
            pairs = list(zip(shares, points, strict=True))
            speeds.append(
                line(pairs, f"{curve}{of}", shade, dash=dash, opacity=1 if curve == "time" else 0.6)
            )
        rows += [
            (
                name,
                f"{100 * row['live']:g}",
                f"{row['ms_median']:.2f}",
                f"{row['ms_best']:.2f}",
                f"{speed:.2f}",
                f"{row['live_macs']:,}",
            )
            for row, speed in zip(measured, faster, strict=True)
        ]
    ticks = sorted({100 * row["live"] for row in held["rows"]})
    panels = [
        Panel(times, _reversed("milliseconds", ticks), title="Time"),
        Panel(speeds, _reversed("times the speed of all weights", ticks), title="Speed"),
    ]
    panels[1].layout["yaxis"] |= {
        "type": "log",
        "tickvals": SPEEDS,
        "ticktext": list(map(str, SPEEDS)),
    }
    columns = (
        "workload", "live weights (%)", "median (ms)", "best (ms)", "times as fast", "live multiply-adds",
    )  # fmt: skip
    told = held.get("provenance")
    return [
        Plot(
            "live-weights",
            "Speed against live weights",
            f"One executable, masks of falling density, measured in turns (experiments/results/{FILE}). Both axes of the "
            "right figure are logarithmic; dashed: if time followed the multiply-adds alone.",
            panels,
            height=280,
        ),
        Table("Speed against live weights", columns, rows),
        *([Facts(provenance_facts(told))] if isinstance(told, dict) else []),
    ]


def _reversed(unit: str, ticks: list[float]) -> dict:
    layout = axes("live weights (%)", unit, zero=True, ticks=ticks)
    layout["xaxis"]["autorange"] = "reversed"
    return layout
